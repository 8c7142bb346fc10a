//! Route: simple records lead to one host, and move to the next.
//!
//! All names and the claim move in one transactional batch, so two hosts can never both have moved them.

use super::{
    Route, RoutingInputs, all_name_servers_know,
    plan::{DesiredRouting, RoutingPlan},
};
use crate::{
    aws::{
        Aws, Host,
        zone::{Changed, Records},
    },
    claim::{
        Claim, NameService, Routing,
        records::{self, ChangeBatch},
    },
    config::RoutingMode,
    fault::Fault,
};

pub(crate) mod plan;

use plan::{plan, removal};

/// Records that move.
pub struct MovingRecords;

impl Route for MovingRecords {
    /// The record sets at the names and at the claim.
    type Found = Vec<Records>;
    type Change = ChangeBatch;
    const ALONE: bool = true;
    const OWN_ADDRESS: bool = true;

    async fn look(&mut self, names: &NameService, inputs: &RoutingInputs) -> Result<Vec<Records>, Fault> {
        names.read(&names.zone(&inputs.aws)?).await
    }

    fn claim(names: &NameService, found: &Vec<Records>) -> Option<Claim> {
        // Something else in its place is refused when it is planned for.
        let (claim, _) = records::claim(names.names.first()?, found).ok()??;
        Some(claim)
    }

    fn plan(wanted: &DesiredRouting<'_>, found: &Vec<Records>) -> RoutingPlan<ChangeBatch> {
        plan(wanted, found)
    }

    fn besides(wanted: &DesiredRouting<'_>, found: &Vec<Records>) -> Result<Option<ChangeBatch>, Fault> {
        wanted.all_lead_here(found).map(|()| None)
    }

    async fn carry_out(
        &mut self,
        aws: &Aws,
        names: &NameService,
        _: &DesiredRouting<'_>,
        change: ChangeBatch,
    ) -> Result<(), Fault> {
        let zone = names.zone(aws)?;
        let changed = zone.change(&format!("spothost: {}", change.why), &change.steps).await?;
        all_name_servers_know(&zone, &change.why, changed).await
    }

    fn why(change: &ChangeBatch) -> &str {
        &change.why
    }

    fn holding(held: &Routing) -> String {
        held.to_string()
    }
}

/// Removes the records that lead to `host`, if it still holds the names and they are as it made them; whether it did.
///
/// # Errors
/// What Route 53 refuses.
pub async fn remove(names: &NameService, aws: &Aws, host: &Host) -> Result<bool, Fault> {
    // An Elastic IP leads to no instance once its own is gone, and its records stay.
    if names.leading != RoutingMode::Records {
        return Ok(false);
    }
    let zone = names.zone(aws)?;
    let records = names.read(&zone).await?;
    let Some(change) = removal(host, &names.names, &records)? else { return Ok(false) };
    let changed = zone.change(&format!("spothost: {}", change.why), &change.steps).await?;
    Ok(matches!(changed, Changed::Accepted(_)))
}
