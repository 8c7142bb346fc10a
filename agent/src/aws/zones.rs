//! The hosted zones of the account, by the names that they hold.

use aws_sdk_route53::Client;

use super::{Aws, refusal::fault};
use crate::{fault::Fault, place::Name};

/// A public hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosted {
    /// Its id.
    pub id: String,
    /// Its name, lower case, without the last dot.
    pub name: String,
}

/// The public zones that hold `name` most closely: several, if there are several of that name; none, if there is none.
///
/// # Errors
/// What Route 53 refuses.
pub async fn holding(aws: &Aws, name: &Name) -> Result<Vec<Hosted>, Fault> {
    let client = Client::new(&aws.config);
    let mut at = Some(name.as_str());
    while let Some(candidate) = at {
        let doing = format!("looking for the hosted zone of {candidate}");
        let answer = client.list_hosted_zones_by_name().dns_name(candidate).max_items(10).send().await;
        let answer = answer.map_err(|error| fault(&doing, "route53:ListHostedZonesByName", &error))?;
        let zones =
            answer.hosted_zones().iter().filter(|zone| !zone.config().is_some_and(|config| config.private_zone()));
        let zones = zones.map(|zone| Hosted {
            id: zone.id().trim_start_matches("/hostedzone/").to_owned(),
            name: zone.name().trim_end_matches('.').to_ascii_lowercase(),
        });
        // They are listed from that name on, in the order of their labels from the right.
        let found: Vec<_> = zones.filter(|zone| zone.name == candidate).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        at = candidate.split_once('.').map(|(_, parent)| parent);
    }
    Ok(Vec::new())
}
