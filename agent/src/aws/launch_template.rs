//! The launch template by which a fleet starts the hosts of a site.

use super::{
    Aws,
    compute::{Adapter, Compute as _},
};
use crate::fault::Fault;

pub use super::compute::{LaunchTemplate, TemplateVersion};

/// The launch template with the tag `spothost:domain` of that site; none when this account and region have none.
///
/// # Errors
/// What EC2 refuses; several templates with that tag, of which nothing says which one the fleet uses.
pub async fn of_site(aws: &Aws, domain: &str) -> Result<Option<LaunchTemplate>, Fault> {
    let doing = format!("looking for the launch template of {domain}");
    let mut found = Adapter::new(aws).launch_templates(domain, &doing).await?;
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|template| template.id.as_str()).collect();
        let said = format!("{} have the tag spothost:domain={domain}", ids.join(" and "));
        return Err(Fault::operator(doing, said, "take the tag from those that no fleet uses: aws ec2 delete-tags"));
    }
    Ok(found.pop())
}
