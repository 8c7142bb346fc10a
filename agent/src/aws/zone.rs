//! The hosted zone: reading record sets, changing them in one batch, and waiting until all name servers know.

use std::{collections::BTreeSet, fmt, time::Duration};

use aws_sdk_route53::{
    Client,
    types::{AliasTarget, Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType},
};
use tokio::time::{Instant, sleep};

use super::{
    Aws,
    refusal::{POLITE, code, fault},
};
use crate::fault::Fault;

mod answers;

pub use answers::{Many, MultivalueAnswer, Sets};

/// A change is known to all name servers "generally within 60 seconds"; after this it is a fault.
const LONGEST_SYNC: Duration = Duration::from_secs(180);

/// One public hosted zone.
#[derive(Clone, Debug)]
pub struct Zone {
    client: Client,
    id: String,
}

/// The record sets of one name and type, as the zone holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The name, lower case, without the last dot.
    pub name: String,
    /// `A`, `AAAA`, `TXT`, `CNAME`, …
    pub kind: RecordType,
    /// Time to live in seconds; none for an alias.
    pub ttl: Option<u32>,
    /// The values, exactly as the zone holds them: TXT strings in their quotes. An alias has none.
    pub values: Vec<String>,
    /// How Route 53 answers with it.
    pub form: Form,
    /// Id of the health check on it; hosts put none on a simple set.
    pub check: Option<String>,
}

/// How Route 53 answers with a record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// With its values, the same for every client. Hosts write such sets, and multivalue answers ([`MultivalueAnswer`]).
    Simple,
    /// With the addresses of a resource of AWS, or of another set of the zone ("Choosing between alias and non-alias
    /// records" of the developer guide).
    Alias(Alias),
    /// As one of several sets of that name and type, alias or not.
    Routed(RoutingPolicy),
    /// As a traffic policy says, which alone may change it.
    TrafficPolicy,
}

/// The target of an alias: all that a deletion has to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name that it leads to, without the last dot.
    pub target: String,
    /// Id of the hosted zone of that name.
    pub zone: String,
    /// Whether it is left out while its target is unhealthy.
    pub evaluates_health: bool,
}

/// The routing policies of record sets ("Choosing a routing policy" of the developer guide).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutingPolicy {
    /// `Weight`.
    Weighted,
    /// `Region`.
    Latency,
    /// `Failover`.
    Failover,
    /// `GeoLocation`.
    Geolocation,
    /// `GeoProximityLocation`.
    Geoproximity,
    /// `MultiValueAnswer`.
    Multivalue,
    /// `CidrRoutingConfig`.
    IpBased,
    /// One that this program does not know.
    Other,
}

impl fmt::Display for RoutingPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoutingPolicy::Weighted => "weighted",
            RoutingPolicy::Latency => "latency",
            RoutingPolicy::Failover => "failover",
            RoutingPolicy::Geolocation => "geolocation",
            RoutingPolicy::Geoproximity => "geoproximity",
            RoutingPolicy::Multivalue => "multivalue answer",
            RoutingPolicy::IpBased => "IP-based",
            RoutingPolicy::Other => "of a newer kind",
        })
    }
}

impl Records {
    /// Whether it is one of addresses.
    pub(crate) fn is_address(&self) -> bool {
        matches!(self.kind, RecordType::A | RecordType::Aaaa)
    }

    /// A set as hosts write it.
    pub fn simple(name: impl Into<String>, kind: RecordType, ttl: u32, values: Vec<String>) -> Records {
        Records { name: name.into(), kind, ttl: Some(ttl), values, form: Form::Simple, check: None }
    }

    /// Whether it is one as hosts write it: with values, for everybody, and without a health check.
    pub fn is_simple(&self) -> bool {
        self.form == Form::Simple && self.check.is_none()
    }

    /// Where it leads, as the end of a sentence that begins with its name.
    pub fn leads(&self) -> String {
        match &self.form {
            Form::Simple => format!("leads to {}", self.values.join(" ")),
            Form::Alias(alias) => format!("is an alias of {}", alias.target),
            Form::Routed(routing) => format!("has records with a routing policy ({routing})"),
            Form::TrafficPolicy => "is answered by a traffic policy".to_owned(),
        }
    }
}

/// The types of record that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Text.
    Txt,
    /// Another name.
    Cname,
    /// How browsers reach the site (RFC 9460).
    Https,
}

/// The records at the apex of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apex {
    /// Its name, lower case, without the last dot.
    pub name: String,
    /// Its name servers, likewise.
    pub servers: BTreeSet<String>,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordChange {
    /// Deletes a set whose values must be exactly these; if they differ the whole batch is refused.
    Delete(Records),
    /// Makes a set that must not exist; if it does the whole batch is refused.
    Create(Records),
    /// Makes or replaces a set.
    Upsert(Records),
}

/// The outcome of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// All of it was applied; the id tells when all name servers know.
    Accepted(String),
    /// None of it was applied, because the zone did not hold what the batch said.
    Differed(String),
}

impl Zone {
    /// The zone with that id.
    pub fn new(aws: &Aws, id: String) -> Zone {
        // The keeper decides when to try again: retries of the SDK's own would only add to a throttled account.
        let retries = aws_sdk_route53::config::retry::RetryConfig::disabled();
        let config = aws_sdk_route53::config::Builder::from(&aws.config).retry_config(retries);
        Zone { client: Client::from_conf(config.interceptor(aws.date.clone()).build()), id }
    }

    /// The sets of `name` of the types that matter here; it need not be a host name: `_acme-challenge.example.org`.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn records(&self, name: &str) -> Result<Vec<Records>, Fault> {
        let doing = format!("reading the records of {name} in zone {}", self.id);
        let request = self.client.list_resource_record_sets().hosted_zone_id(&self.id).start_record_name(name);
        // Names are sorted and a name has few types: one page holds all of them.
        let answer = request.max_items(50).send().await;
        let answer = answer.map_err(|error| fault(&doing, "route53:ListResourceRecordSets", &error))?;
        let sets = answer.resource_record_sets().iter().filter_map(records);
        Ok(sets.filter(|set| set.name == name).collect())
    }

    /// The name of the zone and its servers, as its first records say: names are listed in the order of their labels from
    /// the right, so the shortest comes first.
    ///
    /// # Errors
    /// What Route 53 refuses; a zone without NS records, which is never valid.
    pub async fn apex(&self) -> Result<Apex, Fault> {
        let doing = format!("reading the first records of zone {}", self.id);
        // A and AAAA come before NS, and every host may have one of each at this name: a page as large as there is.
        let answer = self.client.list_resource_record_sets().hosted_zone_id(&self.id).max_items(300).send().await;
        let answer = answer.map_err(|error| fault(&doing, "route53:ListResourceRecordSets", &error))?;
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let servers =
            |set: &ResourceRecordSet| set.resource_records().iter().map(|record| plain(record.value())).collect();
        let mut sets = answer.resource_record_sets().iter().filter(|set| *set.r#type() == RrType::Ns);
        let first = sets.next().ok_or_else(|| Fault::retry(&doing, "there is no NS record"))?;
        Ok(Apex { name: plain(first.name()), servers: servers(first) })
    }

    /// Carries out `steps` in one transactional batch: all or nothing.
    ///
    /// # Errors
    /// What Route 53 refuses, other than a zone that does not hold what the batch says.
    pub async fn change(&self, why: &str, steps: &[RecordChange]) -> Result<Changed, Fault> {
        self.send(batch(why, steps)).await
    }

    async fn send(&self, batch: Result<ChangeBatch, aws_sdk_route53::error::BuildError>) -> Result<Changed, Fault> {
        let doing = format!("changing records in zone {}", self.id);
        let batch = batch.map_err(|error| Fault::retry(&doing, error))?;
        let request = self.client.change_resource_record_sets().hosted_zone_id(&self.id).change_batch(batch);
        match request.send().await {
            Ok(answer) => {
                Ok(Changed::Accepted(answer.change_info().map_or_else(String::new, |info| info.id().to_owned())))
            }
            Err(error) if code(&error) == Some("InvalidChangeBatch") => {
                let said = error.as_service_error().map(ToString::to_string).unwrap_or_default();
                let message = invalid_batch_words(&error).unwrap_or(said);
                if differs(&message) {
                    Ok(Changed::Differed(message))
                } else {
                    Err(Fault::operator(doing, message, REFUSED_FOR_GOOD))
                }
            }
            // 5 requests a second are shared by the whole account: what is throttled waits.
            Err(error) => Err(fault(&doing, "route53:ChangeResourceRecordSets", &error)),
        }
    }

    /// Waits until all name servers of the zone know the change with that id.
    ///
    /// # Errors
    /// What Route 53 refuses; no `INSYNC` within three minutes.
    pub async fn in_sync(&self, change: &str) -> Result<(), Fault> {
        let doing = format!("waiting until all name servers know change {change}");
        let begin = Instant::now();
        let mut pause = Duration::from_millis(250);
        while begin.elapsed() < LONGEST_SYNC {
            match self.client.get_change().id(change).send().await {
                Ok(answer) if answer.change_info().is_some_and(|i| *i.status() == ChangeStatus::Insync) => {
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if code(&error) == Some("Throttling") => pause = POLITE,
                Err(error) => return Err(fault(&doing, "route53:GetChange", &error)),
            }
            sleep(pause).await;
            pause = (pause * 2).min(POLITE);
        }
        Err(Fault::retry(doing, format!("still PENDING after {} s", LONGEST_SYNC.as_secs())))
    }
}

/// What cures a batch that Route 53 refuses for what is in it.
const REFUSED_FOR_GOOD: &str = "see that each of `domain` and `aliases` is in the zone of `zone`, and that no other kind of \
                                record stands where theirs are to be";

/// Whether a batch was refused because the zone did not hold what the batch says: all others are refused as often as they
/// are sent. One code stands for both, so the words decide: those that people quote of Route 53.
fn differs(message: &str) -> bool {
    ["Tried to create resource record set", "Tried to delete resource record set"]
        .iter()
        .any(|words| message.contains(words))
}

fn invalid_batch_words<R>(
    error: &aws_sdk_route53::error::SdkError<
        aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError,
        R,
    >,
) -> Option<String> {
    use aws_sdk_route53::operation::change_resource_record_sets::ChangeResourceRecordSetsError as Refused;
    match error.as_service_error()? {
        Refused::InvalidChangeBatch(batch) if !batch.messages().is_empty() => Some(batch.messages().join("; ")),
        other => aws_sdk_route53::error::ProvideErrorMetadata::message(other).map(str::to_owned),
    }
}

fn batch(why: &str, steps: &[RecordChange]) -> Result<ChangeBatch, aws_sdk_route53::error::BuildError> {
    let mut batch = ChangeBatch::builder().comment(why);
    for step in steps {
        batch = batch.changes(change_of(step)?);
    }
    batch.build()
}

fn change_of(step: &RecordChange) -> Result<Change, aws_sdk_route53::error::BuildError> {
    let (action, records) = match step {
        RecordChange::Delete(records) => (ChangeAction::Delete, records),
        RecordChange::Create(records) => (ChangeAction::Create, records),
        RecordChange::Upsert(records) => (ChangeAction::Upsert, records),
    };
    Change::builder().action(action).resource_record_set(set(records)?).build()
}

fn set(records: &Records) -> Result<ResourceRecordSet, aws_sdk_route53::error::BuildError> {
    let set = ResourceRecordSet::builder().name(&records.name).r#type(written(records.kind));
    let set = set.set_health_check_id(records.check.clone());
    if let Form::Alias(alias) = &records.form {
        let target = AliasTarget::builder().dns_name(&alias.target).hosted_zone_id(&alias.zone);
        return set.alias_target(target.evaluate_target_health(alias.evaluates_health).build()?).build();
    }
    let mut set = set.ttl(records.ttl.unwrap_or(60).into());
    for value in &records.values {
        set = set.resource_records(ResourceRecord::builder().value(value).build()?);
    }
    set.build()
}

fn written(kind: RecordType) -> RrType {
    match kind {
        RecordType::A => RrType::A,
        RecordType::Aaaa => RrType::Aaaa,
        RecordType::Txt => RrType::Txt,
        RecordType::Cname => RrType::Cname,
        RecordType::Https => RrType::Https,
    }
}

fn kind_of(kind: &RrType) -> Option<RecordType> {
    match kind {
        RrType::A => Some(RecordType::A),
        RrType::Aaaa => Some(RecordType::Aaaa),
        RrType::Txt => Some(RecordType::Txt),
        RrType::Cname => Some(RecordType::Cname),
        RrType::Https => Some(RecordType::Https),
        _ => None,
    }
}

/// What is none of a-z, 0-9, - and _ is listed in octal ("DNS domain name format" of the developer guide).
fn name_of(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase().replace("\\052", "*")
}

fn records(set: &ResourceRecordSet) -> Option<Records> {
    let kind = kind_of(set.r#type())?;
    Some(Records {
        name: name_of(set.name()),
        kind,
        ttl: set.ttl().and_then(|ttl| u32::try_from(ttl).ok()),
        values: set.resource_records().iter().map(|record| record.value().to_owned()).collect(),
        form: form(set),
        check: set.health_check_id().map(str::to_owned),
    })
}

fn form(set: &ResourceRecordSet) -> Form {
    match (set.traffic_policy_instance_id(), set.set_identifier(), set.alias_target()) {
        (Some(_), _, _) => Form::TrafficPolicy,
        (None, Some(_), _) => Form::Routed(routing(set)),
        (None, None, Some(alias)) => Form::Alias(Alias {
            target: alias.dns_name().trim_end_matches('.').to_ascii_lowercase(),
            zone: alias.hosted_zone_id().to_owned(),
            evaluates_health: alias.evaluate_target_health(),
        }),
        (None, None, None) => Form::Simple,
    }
}

fn routing(set: &ResourceRecordSet) -> RoutingPolicy {
    let known = [
        (set.weight().is_some(), RoutingPolicy::Weighted),
        (set.region().is_some(), RoutingPolicy::Latency),
        (set.failover().is_some(), RoutingPolicy::Failover),
        (set.geo_location().is_some(), RoutingPolicy::Geolocation),
        (set.geo_proximity_location().is_some(), RoutingPolicy::Geoproximity),
        (set.multi_value_answer() == Some(true), RoutingPolicy::Multivalue),
        (set.cidr_routing_config().is_some(), RoutingPolicy::IpBased),
    ];
    known.into_iter().find_map(|(is, routing)| is.then_some(routing)).unwrap_or(RoutingPolicy::Other)
}

#[cfg(test)]
mod tests {
    use aws_sdk_route53::types::{
        CidrRoutingConfig, GeoLocation, GeoProximityLocation, ResourceRecordSetFailover, ResourceRecordSetRegion,
        builders::ResourceRecordSetBuilder,
    };

    use super::*;

    #[test]
    fn every_kind_of_record_set_is_told_from_the_others() {
        let a = || ResourceRecordSet::builder().name("www.example.org.").r#type(RrType::A);
        let value = || ResourceRecord::builder().value("192.0.2.1").build().expect("a value");
        let routed = |set: fn(ResourceRecordSetBuilder) -> ResourceRecordSetBuilder| {
            set(a().set_identifier("one").ttl(60).resource_records(value()))
        };
        let cidr = |set: ResourceRecordSetBuilder| {
            let config = CidrRoutingConfig::builder().collection_id("c").location_name("*").build();
            set.cidr_routing_config(config.expect("complete"))
        };
        let target = AliasTarget::builder().dns_name("D1.cloudfront.net.").hosted_zone_id("Z2FDTNDATAQYW2");
        let target = target.evaluate_target_health(false).build().expect("complete");
        let alias =
            Alias { target: "d1.cloudfront.net".into(), zone: "Z2FDTNDATAQYW2".into(), evaluates_health: false };
        let table = [
            (a().ttl(60).resource_records(value()), Form::Simple),
            (a().alias_target(target.clone()), Form::Alias(alias)),
            (a().traffic_policy_instance_id("t"), Form::TrafficPolicy),
            (routed(|set| set.weight(0)), Form::Routed(RoutingPolicy::Weighted)),
            (a().set_identifier("one").weight(1).alias_target(target), Form::Routed(RoutingPolicy::Weighted)),
            (routed(|set| set.region(ResourceRecordSetRegion::EuCentral1)), Form::Routed(RoutingPolicy::Latency)),
            (routed(|set| set.failover(ResourceRecordSetFailover::Primary)), Form::Routed(RoutingPolicy::Failover)),
            (routed(|set| set.geo_location(GeoLocation::builder().build())), Form::Routed(RoutingPolicy::Geolocation)),
            (
                routed(|set| set.geo_proximity_location(GeoProximityLocation::builder().build())),
                Form::Routed(RoutingPolicy::Geoproximity),
            ),
            (routed(|set| set.multi_value_answer(true)), Form::Routed(RoutingPolicy::Multivalue)),
            (routed(cidr), Form::Routed(RoutingPolicy::IpBased)),
            (routed(|set| set), Form::Routed(RoutingPolicy::Other)),
        ];
        for (set_of, form) in table {
            let read = records(&set_of.build().expect("complete")).expect("an address");
            assert_eq!(read.form, form);
            // What is to be deleted is repeated as it is.
            if let Form::Simple | Form::Alias(_) = form {
                assert_eq!(records(&set(&read).expect("complete")), Some(read));
            }
        }
    }

    #[test]
    fn health_check_is_repeated_in_a_deletion() {
        let checked = ResourceRecordSet::builder().name("a.example.").r#type(RrType::A).ttl(60).health_check_id("c1");
        let checked = checked.resource_records(ResourceRecord::builder().value("192.0.2.1").build().expect("a value"));
        let read = records(&checked.build().expect("complete")).expect("an address");
        assert!(!read.is_simple() && read.form == Form::Simple);
        assert_eq!(set(&read).expect("complete").health_check_id(), Some("c1"));
    }

    #[test]
    fn batch_that_came_too_late_is_told_from_one_that_is_refused_for_good() {
        let set = "[name='www.example.org.', type='A'";
        let table = [
            (format!("Tried to create resource record set {set}] but it already exists"), true),
            (format!("Tried to delete resource record set {set}] but it was not found"), true),
            (
                format!(
                    "[Tried to delete resource record set {set}] but the values provided do not match the current values]"
                ),
                true,
            ),
            ("RRSet with DNS name www.example.com. is not permitted in zone example.org.".to_owned(), false),
            (
                "RRSet of type TXT with DNS name _acme-challenge.example.org. is not permitted because a conflicting RRSet \
                 of type CNAME with the same DNS name already exists in zone example.org."
                    .to_owned(),
                false,
            ),
            ("Invalid Resource Record: 'FATAL problem: InvalidCharacterString encountered with 'x''".to_owned(), false),
            (String::new(), false),
        ];
        for (message, expected) in table {
            assert_eq!(differs(&message), expected, "{message}");
        }
    }
}
