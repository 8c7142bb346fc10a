//! Who certifies, with what it takes.

use std::path::PathBuf;

use super::{Vault, acme::Acme, issuance::Issuance};
use crate::{
    aws::{Aws, lease::LeaseObject, zone::Zone},
    config::{self, Authority, Config, Name, PackagePlace},
    fault::Fault,
    host::Host,
    keeper::Kept,
};

/// Who certifies, with what it takes.
pub enum Certifier {
    /// The local CA in this folder, made when the first certificate is.
    Internal(PathBuf),
    /// A CA that speaks ACME, convinced by records in the zone.
    Acme(Box<ByAcme>),
}

/// What it takes to be certified by ACME.
pub struct ByAcme {
    pub(super) authority: Acme,
    zone: String,
    lease: Option<config::Bucket>,
    pub(super) aws: Kept<Aws>,
    host: Option<Kept<Host>>,
}

impl Certifier {
    /// The one that `config` names; a local CA lies in `local_ca`. `host` is who orders.
    pub fn new(config: &Config, local_ca: PathBuf, aws: Kept<Aws>, host: Option<Kept<Host>>) -> Certifier {
        let (Authority::Acme { directory, roots, profile }, Some(zone)) = (&config.authority, &config.zone) else {
            return Certifier::Internal(local_ca);
        };
        let authority = Acme {
            directory: directory.clone(),
            roots: roots.clone(),
            profile: profile.clone(),
            contact: config.contact.clone(),
        };
        let lease = match &config.package {
            PackagePlace::Bucket(bucket) => Some(bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        Certifier::Acme(Box::new(ByAcme { authority, zone: zone.clone(), lease, aws, host }))
    }

    /// URL of the directory of the CA, or `internal`.
    pub(super) fn directory(&self) -> &str {
        match self {
            Certifier::Internal(_) => "internal",
            Certifier::Acme(by) => &by.authority.directory,
        }
    }
}

impl ByAcme {
    /// What it takes to have a certificate issued now.
    pub(super) fn issuance<'a>(
        &'a self,
        names: &'a [Name],
        vault: &'a Vault,
        insist: bool,
    ) -> Result<Issuance<'a>, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("ordering a certificate", "the region is not known yet"))?;
        let lease = self
            .lease
            .as_ref()
            .map(|place| LeaseObject::new(&aws, place.bucket.clone(), format!("{}.spothost-lease.json", place.prefix)));
        let host = self.host.as_ref().and_then(|host| host.borrow().clone());
        let holder = host.map_or_else(|| format!("process {}", std::process::id()), |host| host.instance);
        Ok(Issuance {
            names,
            vault,
            authority: &self.authority,
            zone: Zone::new(&aws, self.zone.clone()),
            lease,
            holder,
            insist,
        })
    }
}
