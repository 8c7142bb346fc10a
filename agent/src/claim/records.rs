//! The claim as the zone holds it, and the batches by which a host that goes says so. Pure.

use super::{Claim, claim_name};
use crate::{
    aws::{
        Host,
        zone::{Form, RecordChange, RecordType, Records},
    },
    fault::Fault,
    place::Name,
};

/// One batch, and why it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeBatch {
    /// In one phrase.
    pub(crate) why: String,
    /// The batch.
    pub(crate) steps: Vec<RecordChange>,
}

/// The claim that the zone holds, and the record it stands in.
///
/// # Errors
/// Where something else stands there.
pub(crate) fn claim<'a>(domain: &Name, seen: &'a [Records]) -> Result<Option<(Claim, &'a Records)>, Fault> {
    let name = claim_name(domain);
    let here = |kind: RecordType| seen.iter().find(|set| set.name == name && set.kind == kind);
    if let Some(set) = here(RecordType::Cname) {
        let remedy = "remove that record: spothost writes there who holds the names, and nothing can stand beside it";
        return Err(Fault::operator(
            format!("reading the claim {name}"),
            format!("a CNAME, which {}", set.leads()),
            remedy,
        ));
    }
    let Some(written) = here(RecordType::Txt) else { return Ok(None) };
    match read(written) {
        Ok(claim) => Ok(Some((claim, written))),
        Err(why) => {
            let remedy = "remove that record if it is not needed; it stands where spothost writes who holds the names";
            Err(Fault::operator(format!("reading the claim {name}"), why, remedy))
        }
    }
}

/// The batch by which the host that holds the names says that it goes; none where it does not hold them, or has said so.
/// `asked`: the fleet was asked for a successor, and had `target` hosts to have before.
///
/// # Errors
/// Where something else stands in the claim's place.
pub(crate) fn departing(
    host: &Host,
    domain: &Name,
    seen: &[Records],
    asked: bool,
    target: Option<u32>,
) -> Result<Option<ChangeBatch>, Fault> {
    let Some((claim, written)) = claim(domain, seen)? else { return Ok(None) };
    let Some(next) = claim.given_up(host, asked, target) else { return Ok(None) };
    let ttl = written.ttl.unwrap_or(60);
    let why = format!("saying that {} goes", host.instance);
    Ok(Some(ChangeBatch { why, steps: fence(domain, Some(written), &next, ttl) }))
}

/// A compare-and-swap of the claim: the whole batch is refused unless it stands as it was read.
pub(crate) fn fence(domain: &Name, written: Option<&Records>, next: &Claim, ttl: u32) -> Vec<RecordChange> {
    let record = Records::simple(claim_name(domain), RecordType::Txt, ttl, vec![next.value()]);
    written.cloned().map(RecordChange::Delete).into_iter().chain([RecordChange::Create(record)]).collect()
}

fn read(written: &Records) -> Result<Claim, String> {
    if written.form != Form::Simple {
        return Err(format!("it {}", written.leads()));
    }
    match written.values.as_slice() {
        [value] => Claim::parse(value),
        values => Err(format!("there are {} values", values.len())),
    }
}

/// The public addresses of `host` as records hold them, IPv4 before IPv6.
pub(crate) fn addresses(host: &Host) -> Vec<String> {
    host.ipv4.map(|ip| ip.to_string()).into_iter().chain(host.ipv6.map(|ip| ip.to_string())).collect()
}
