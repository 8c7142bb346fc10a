//! The sources of certificates: ACME CAs, or the local CA.

use std::{path::PathBuf, sync::Mutex};

use super::{
    Vault,
    acme::Acme,
    desired_certificate::{AcmeCa, DesiredCertificate},
    issuance::{Issuance, Preparation},
};
use crate::{
    aws::{Aws, Host, lease::LeaseObject, zone::Zone},
    config::{self, Config},
    documents::Layout,
    fault::Fault,
    keeper::Kept,
    place::{Name, PackagePlace, S3Prefix},
};

/// The source of certificates: ACME CAs, or the local CA.
pub enum Certifier {
    /// The local CA in this folder, made when the first certificate is.
    Internal(PathBuf),
    /// CAs that speak ACME, convinced by records in the zone.
    Acme(Box<ByAcme>),
}

/// The clients and settings that an ACME order needs.
pub struct ByAcme {
    authorities: Vec<Acme>,
    zone: String,
    lease: Option<S3Prefix>,
    pub(super) aws: Kept<Aws>,
    host: Option<Kept<Host>>,
    /// What was last seen of the zone.
    prepared: Mutex<Preparation>,
}

impl Certifier {
    /// The one that `config` names; a local CA lies in `local_ca`. `host` is who orders.
    pub fn new(config: &Config, local_ca: PathBuf, aws: Kept<Aws>, host: Option<Kept<Host>>) -> Certifier {
        let (config::Authority::Acme(authorities), Some(zone)) = (&config.authority, &config.zone) else {
            return Certifier::Internal(local_ca);
        };
        let authorities = authorities.iter().map(|ca| Acme::new(ca.clone(), config.contact.clone())).collect();
        let lease = match &config.package {
            PackagePlace::Bucket(bucket) => Some(bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        Certifier::Acme(Box::new(ByAcme {
            authorities,
            zone: zone.clone(),
            lease,
            aws,
            host,
            prepared: Mutex::default(),
        }))
    }

    /// What is wanted, when it is for `names`.
    pub(super) fn wanted(&self, names: Vec<Name>) -> DesiredCertificate {
        let authorities = match self {
            Certifier::Internal(_) => vec![AcmeCa { directory: "internal".to_owned(), ..AcmeCa::default() }],
            Certifier::Acme(by) => by.authorities.iter().map(|acme| acme.authority.clone()).collect(),
        };
        DesiredCertificate { names, authorities }
    }
}

impl ByAcme {
    /// The CA with that directory.
    pub(super) fn authority(&self, directory: &str) -> Option<&Acme> {
        self.authorities.iter().find(|acme| acme.authority.directory == directory)
    }

    /// The clients and settings for an issuance now.
    pub(super) fn issuance<'a>(
        &'a self,
        wanted: &'a DesiredCertificate,
        vault: &'a Vault,
        insist: bool,
    ) -> Result<Issuance<'a>, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("ordering a certificate", "the region is not known yet"))?;
        let lease = self
            .lease
            .as_ref()
            .map(|place| LeaseObject::new(&aws, place.bucket.clone(), Layout::new(&place.prefix).order_lease()));
        let host = self.host.as_ref().and_then(|host| host.borrow().clone());
        let holder = host.map_or_else(|| format!("process {}", std::process::id()), |host| host.instance);
        let zone = Zone::new(&aws, self.zone.clone());
        let authorities = &self.authorities;
        let prepared = &self.prepared;
        Ok(Issuance { wanted, vault, authorities, aws, zone, prepared, lease, holder, insist })
    }
}
