//! Route: an Elastic IP leads to one host, and moves to the next.
//!
//! The names lead to its address and stay; what moves is the address, by EC2 and S3 of this region alone: who may move it is
//! claimed beside the packages. The claim is won first and the address moved then, so a host that is ended in between leaves
//! a claim that the next one takes over. A host that was late, and moves the address after another has claimed it, is
//! corrected at that one's next look, and stands aside at its own.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Route, RoutingInputs, all_name_servers_know,
    last_refusal::LastRefusal,
    plan::{DesiredRouting, RoutingPlan},
};
use crate::{
    aws::{
        Aws,
        elastic_ip::{Association, ElasticIp},
        zone::{RecordChange, Records},
    },
    claim::{
        Claim, NameService, Routing,
        store::{ClaimObject, Held},
    },
    fault::Fault,
    place::S3Prefix,
    probe::Heard,
};

mod plan;

use plan::{Move, plan, records, seen_at};

/// How often the records are read that lead to the address, and stay.
const LOOK_AT_RECORDS: Duration = Duration::from_secs(600);
/// How soon they are read again where that was refused, and a change of them is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long EC2 may take to tell that the address has moved, since it is eventually consistent; then it is moved anew.
const SETTLE: Duration = Duration::from_secs(5);

/// An Elastic IP that moves.
pub struct MovingElasticIp {
    allocation: String,
    place: S3Prefix,
    records: Option<(Instant, Result<Vec<Records>, Fault>)>,
    /// A change of the records.
    refused: LastRefusal,
}

/// One look at the Elastic IP and its records.
pub struct AddressFound {
    held: Held,
    address: Association,
    /// The records, as they were last read; none while the address leads elsewhere.
    records: Option<Result<Vec<Records>, Fault>>,
    /// What was said when a change of them was refused just now.
    refused: Option<Fault>,
}

/// A change of the claim, the address or its records, and why.
pub struct AddressChange {
    why: String,
    what: What,
}

enum What {
    /// The claim, or where the address leads; the entity tag of the claim that was read.
    Address(Box<Move>, Option<String>),
    /// The records.
    Names(Vec<RecordChange>),
}

impl MovingElasticIp {
    /// The one of that allocation id, whose claim lies at `place`.
    pub fn new(allocation: String, place: S3Prefix) -> MovingElasticIp {
        MovingElasticIp { allocation, place, records: None, refused: LastRefusal::pausing(AGAIN) }
    }

    fn address(&self, aws: &Aws) -> ElasticIp {
        ElasticIp::new(aws, self.allocation.clone())
    }

    /// Reads the records now and then, once the address leads here.
    async fn look_at_records(&mut self, aws: &Aws, names: &NameService) {
        let fresh =
            |(at, read): &(Instant, Result<_, _>)| at.elapsed() < if read.is_ok() { LOOK_AT_RECORDS } else { AGAIN };
        if self.records.as_ref().is_some_and(fresh) {
            return;
        }
        // Without a zone there are none.
        let Ok(zone) = names.zone(aws) else { return };
        self.records = Some((Instant::now(), names.read(&zone).await));
    }

    /// The claim first, by compare-and-swap, then the address: a host that has lost the claim never moves it. What is refused
    /// anyway is found before anything is claimed.
    async fn move_here(&self, aws: &Aws, instance: &str, moved: Move, read: Option<String>) -> Result<(), Fault> {
        let store = ClaimObject::new(aws, &self.place);
        let address = self.address(aws);
        match &moved.claim {
            Some(next) => {
                if moved.associate {
                    address.try_to_lead_to(instance).await?;
                }
                store.replace(read.as_deref(), next).await?;
                tracing::info!(claim = %next, "claimed");
            }
            None => {
                let now = store.read().await?.map(|(_, etag)| etag);
                if now != read {
                    return Err(Fault::retry(moved.why, "another host has changed the claim meanwhile"));
                }
            }
        }
        if !moved.associate {
            return Ok(());
        }
        address.lead_to(instance).await?;
        let begun = Instant::now();
        while address.look().await?.to.as_deref() != Some(instance) {
            if begun.elapsed() > SETTLE {
                return Err(Fault::retry(moved.why, "EC2 does not show yet that the address has moved"));
            }
            sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    async fn change_records(
        &mut self,
        aws: &Aws,
        names: &NameService,
        steps: &[RecordChange],
        why: &str,
    ) -> Result<(), Fault> {
        let zone = names.zone(aws)?;
        self.records = None;
        let changed = zone.change(&format!("spothost: {why}"), steps).await?;
        all_name_servers_know(&zone, why, changed).await
    }
}

impl AddressFound {
    fn claim(&self) -> Option<&Claim> {
        self.held.as_ref().map(|(claim, _)| claim)
    }
}

impl Route for MovingElasticIp {
    type Found = AddressFound;
    type Change = AddressChange;
    const ALONE: bool = true;
    const OWN_ADDRESS: bool = false;

    async fn look(&mut self, names: &NameService, inputs: &RoutingInputs) -> Result<AddressFound, Fault> {
        // The claim after the address: what is then done about the address is done with a claim that is not older.
        let address = self.address(&inputs.aws).look().await?;
        let held = ClaimObject::new(&inputs.aws, &self.place).read().await?;
        let instance = &inputs.host.instance;
        let mine = held.as_ref().is_some_and(|(claim, _)| claim.instance == *instance);
        if mine && address.to.as_ref() == Some(instance) {
            self.look_at_records(&inputs.aws, names).await;
        } else {
            self.records = None;
        }
        let records = self.records.as_ref().map(|(_, read)| read.clone());
        Ok(AddressFound { held, address, records, refused: self.refused.lasts().cloned() })
    }

    fn claim(_: &NameService, found: &AddressFound) -> Option<Claim> {
        found.claim().cloned()
    }

    async fn heard(
        names: &NameService,
        inputs: &RoutingInputs,
        AddressFound { address, .. }: &AddressFound,
        claim: &Claim,
    ) -> Heard {
        match claim.at {
            // It is led to by another address than this one, of another region or account.
            Some(at) if at != address.ip => names.heard(&inputs.host, claim).await,
            _ if address.to.as_ref() == Some(&claim.instance) => names.heard_at(address.ip.into()).await,
            _ => Heard::Nothing,
        }
    }

    fn plan(wanted: &DesiredRouting<'_>, found: &AddressFound) -> RoutingPlan<AddressChange> {
        let host = seen_at(found.address.ip, wanted.host);
        let wanted = DesiredRouting { host: &host, ..*wanted };
        let etag = found.held.as_ref().map(|(_, etag)| etag.clone());
        plan(&wanted, found.claim(), &found.address)
            .map(|moved| AddressChange { why: moved.why.clone(), what: What::Address(Box::new(moved), etag) })
    }

    /// The names are to lead to the address, but what keeps them from it is no reason to let go of it.
    fn besides(wanted: &DesiredRouting<'_>, found: &AddressFound) -> Result<Option<AddressChange>, Fault> {
        let (Some(read), Some(claim)) = (&found.records, found.claim()) else { return Ok(None) };
        let host = seen_at(found.address.ip, wanted.host);
        let wanted = DesiredRouting { host: &host, ..*wanted };
        let seen = read.as_ref().map_err(Clone::clone)?;
        let Some(steps) = records(&wanted, claim, seen)? else {
            return wanted.all_lead_here(seen).map(|()| None);
        };
        match &found.refused {
            Some(fault) => Err(fault.clone()),
            None => {
                let why = format!("leading the names to {}, which stays", found.address.ip);
                Ok(Some(AddressChange { why, what: What::Names(steps) }))
            }
        }
    }

    async fn carry_out(
        &mut self,
        aws: &Aws,
        names: &NameService,
        wanted: &DesiredRouting<'_>,
        AddressChange { why, what }: AddressChange,
    ) -> Result<(), Fault> {
        match what {
            What::Address(moved, read) => self.move_here(aws, &wanted.host.instance, *moved, read).await,
            What::Names(steps) => {
                // Route 53 is not what the address depends on: its refusal is kept, and told.
                match self.change_records(aws, names, &steps, &why).await {
                    Ok(()) => self.refused.forget(),
                    Err(fault) => self.refused.note(fault),
                }
                Ok(())
            }
        }
    }

    fn why(change: &AddressChange) -> &str {
        &change.why
    }

    fn holding(held: &Routing) -> String {
        match held {
            Routing::Here(here) => format!("the Elastic IP {} leads here (epoch {})", here.to, here.epoch),
            Routing::Elsewhere(elsewhere) => {
                let Claim { instance, epoch, .. } = &elsewhere.claim;
                let answers = if elsewhere.answers { "answers there" } else { "does not answer there" };
                format!("{instance} holds the Elastic IP (epoch {epoch}) and {answers}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        aws::{host::tests::host, zone::RecordType},
        place::Name,
        routing::plan::wanted,
    };

    #[test]
    fn records_are_judged_by_what_the_look_found_of_them_and_of_their_last_refusal() {
        let ip = Ipv4Addr::new(203, 0, 113, 9);
        let me = host("i-me", 5);
        let names: Vec<Name> = vec!["www.example.org".parse().expect("a name")];
        let denied = Fault::operator("changing records", "AccessDenied", "allow it");
        let right = || Some(Ok(vec![Records::simple("www.example.org", RecordType::A, 60, vec![ip.to_string()])]));
        let change = format!("leading the names to {ip}, which stays");
        let table = [
            ("not read yet", None, None, Ok(None)),
            ("they cannot be read", Some(Err(denied.clone())), None, Err(denied.clone())),
            ("they lead right", right(), None, Ok(None)),
            ("they lead right, whatever was refused before", right(), Some(denied.clone()), Ok(None)),
            ("they lead nowhere", Some(Ok(Vec::new())), None, Ok(Some(change))),
            ("they lead nowhere, and a change was refused", Some(Ok(Vec::new())), Some(denied.clone()), Err(denied)),
        ];
        for (what, records, refused, expected) in table {
            let claim = Claim::of(&seen_at(ip, &me), 4);
            let address = Association { ip, to: Some("i-me".to_owned()) };
            let found = AddressFound { held: Some((claim, "etag".to_owned())), address, records, refused };
            let wanted = wanted(&me, &names);
            assert!(matches!(MovingElasticIp::plan(&wanted, &found), RoutingPlan::Leads(_)), "{what}: it is let go of");
            let besides = MovingElasticIp::besides(&wanted, &found).map(|change| change.map(|change| change.why));
            assert_eq!(besides, expected, "{what}");
        }
    }
}
