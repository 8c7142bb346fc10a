//! Multivalue answer records: one set for each host at the same name and type, of which Route 53 answers with up to eight
//! that are healthy (developer guide, "Multivalue answer routing").

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet};

use super::{Changed, RecordChange, RecordType, Records, Zone, change_of, fault, kind_of, name_of, records, written};
use crate::fault::Fault;

/// Sets on a page of a list.
const PAGE: i32 = 100;
/// Pages that are read at most: more hosts than these have sets for there are not.
const MOST_PAGES: usize = 20;

/// A host's own set at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultivalueAnswer {
    /// The name, lower case, without the last dot.
    pub name: String,
    /// `A` or `AAAA`.
    pub kind: RecordType,
    /// Time to live in seconds.
    pub ttl: Option<u32>,
    /// The values; a host has one.
    pub values: Vec<String>,
    /// What tells it from the other sets there: the instance id of the host.
    pub identifier: String,
    /// The health check that it is left out by while its host is unhealthy.
    pub check: Option<String>,
}

/// The record sets at a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// Multivalue answers.
    pub answers: Vec<MultivalueAnswer>,
    /// All other sets of the types that matter.
    pub others: Vec<Records>,
}

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Many {
    /// Of a simple set.
    Simple(RecordChange),
    /// Makes or replaces a multivalue answer.
    Upsert(MultivalueAnswer),
    /// Deletes a multivalue answer that must be exactly this; if it differs the whole batch is refused.
    Delete(MultivalueAnswer),
}

impl Zone {
    /// The sets of `name`, however many hosts have one there.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn sets(&self, name: &str) -> Result<Sets, Fault> {
        let doing = format!("reading the records of {name} in zone {}", self.id);
        let mut sets = Sets::default();
        let mut from = (name.to_owned(), None, None);
        for _ in 0..MOST_PAGES {
            let (start, kind, identifier) = from;
            let request = self.client.list_resource_record_sets().hosted_zone_id(&self.id).max_items(PAGE);
            let request = request.start_record_name(start).set_start_record_type(kind);
            let answer = request.set_start_record_identifier(identifier).send().await;
            let answer = answer.map_err(|error| fault(&doing, "route53:ListResourceRecordSets", &error))?;
            let here = answer.resource_record_sets().iter().filter(|set| name_of(set.name()) == name);
            for set in here {
                match read(set) {
                    Some(answer) => sets.answers.push(answer),
                    None => sets.others.extend(records(set)),
                }
            }
            let next = answer.next_record_name().filter(|next| answer.is_truncated() && name_of(next) == name);
            let Some(next) = next else { return Ok(sets) };
            let identifier = answer.next_record_identifier().map(str::to_owned);
            from = (next.to_owned(), answer.next_record_type().cloned(), identifier);
        }
        Err(Fault::retry(doing, format!("there are more than {} sets", PAGE as usize * MOST_PAGES)))
    }

    /// Carries out `steps` in one transactional batch: all or nothing.
    ///
    /// # Errors
    /// What Route 53 refuses, other than a zone that does not hold what the batch says.
    pub async fn change_many(&self, why: &str, steps: &[Many]) -> Result<Changed, Fault> {
        let changes: Result<Vec<_>, _> = steps.iter().map(change).collect();
        let batch = changes.and_then(|changes| ChangeBatch::builder().comment(why).set_changes(Some(changes)).build());
        self.send(batch).await
    }
}

fn change(step: &Many) -> Result<Change, aws_sdk_route53::error::BuildError> {
    let (action, answer) = match step {
        Many::Simple(step) => return change_of(step),
        Many::Upsert(answer) => (ChangeAction::Upsert, answer),
        Many::Delete(answer) => (ChangeAction::Delete, answer),
    };
    let mut set = ResourceRecordSet::builder().name(&answer.name).r#type(written(answer.kind));
    set = set.ttl(answer.ttl.unwrap_or(60).into()).set_identifier(&answer.identifier).multi_value_answer(true);
    set = set.set_health_check_id(answer.check.clone());
    for value in &answer.values {
        set = set.resource_records(ResourceRecord::builder().value(value).build()?);
    }
    Change::builder().action(action).resource_record_set(set.build()?).build()
}

fn read(set: &ResourceRecordSet) -> Option<MultivalueAnswer> {
    let identifier = set.set_identifier().filter(|_| set.multi_value_answer() == Some(true))?;
    Some(MultivalueAnswer {
        name: name_of(set.name()),
        kind: kind_of(set.r#type())?,
        ttl: set.ttl().and_then(|ttl| u32::try_from(ttl).ok()),
        values: set.resource_records().iter().map(|record| record.value().to_owned()).collect(),
        identifier: identifier.to_owned(),
        check: set.health_check_id().map(str::to_owned),
    })
}
