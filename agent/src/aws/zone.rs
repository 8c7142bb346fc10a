//! The hosted zone: reading record sets, changing them in one batch, and waiting until all name servers know.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_route53::{
    Client,
    types::{Change, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType},
};
use tokio::time::{Instant, sleep};

use super::{
    Aws,
    refusal::{POLITE, code, fault},
};
use crate::fault::Fault;

mod answers;

pub use answers::{Answer, Many, Sets};

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
    pub kind: Kind,
    /// Time to live in seconds; none for an alias of AWS's own kind.
    pub ttl: Option<u32>,
    /// The values, exactly as the zone holds them: TXT strings in their quotes.
    pub values: Vec<String>,
    /// Whether they are one of several sets of that name and type (weighted, multivalue …).
    pub routed: bool,
}

/// The types of record that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Text.
    Txt,
    /// Another name.
    Cname,
}

/// What a zone says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apex {
    /// Its name, lower case, without the last dot.
    pub name: String,
    /// Its name servers, likewise.
    pub servers: BTreeSet<String>,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Deletes a set whose values must be exactly these; if they differ the whole batch is refused.
    Delete(Records),
    /// Makes a set that must not exist; if it does the whole batch is refused.
    Create(Records),
    /// Makes or replaces a set.
    Upsert(Records),
}

/// What came of a batch.
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
    /// What Route 53 refuses; a zone without NS records, which there is none.
    pub async fn apex(&self) -> Result<Apex, Fault> {
        let doing = format!("reading the first records of zone {}", self.id);
        let answer = self.client.list_resource_record_sets().hosted_zone_id(&self.id).max_items(20).send().await;
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
    pub async fn change(&self, why: &str, steps: &[Step]) -> Result<Changed, Fault> {
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
                Ok(Changed::Differed(message))
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

fn batch(why: &str, steps: &[Step]) -> Result<ChangeBatch, aws_sdk_route53::error::BuildError> {
    let mut batch = ChangeBatch::builder().comment(why);
    for step in steps {
        batch = batch.changes(change_of(step)?);
    }
    batch.build()
}

fn change_of(step: &Step) -> Result<Change, aws_sdk_route53::error::BuildError> {
    let (action, records) = match step {
        Step::Delete(records) => (ChangeAction::Delete, records),
        Step::Create(records) => (ChangeAction::Create, records),
        Step::Upsert(records) => (ChangeAction::Upsert, records),
    };
    Change::builder().action(action).resource_record_set(set(records)?).build()
}

fn set(records: &Records) -> Result<ResourceRecordSet, aws_sdk_route53::error::BuildError> {
    let kind = written(records.kind);
    let mut set = ResourceRecordSet::builder().name(&records.name).r#type(kind).ttl(records.ttl.unwrap_or(60).into());
    for value in &records.values {
        set = set.resource_records(ResourceRecord::builder().value(value).build()?);
    }
    set.build()
}

fn written(kind: Kind) -> RrType {
    match kind {
        Kind::A => RrType::A,
        Kind::Aaaa => RrType::Aaaa,
        Kind::Txt => RrType::Txt,
        Kind::Cname => RrType::Cname,
    }
}

fn kind_of(kind: &RrType) -> Option<Kind> {
    match kind {
        RrType::A => Some(Kind::A),
        RrType::Aaaa => Some(Kind::Aaaa),
        RrType::Txt => Some(Kind::Txt),
        RrType::Cname => Some(Kind::Cname),
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
        routed: set.set_identifier().is_some(),
    })
}
