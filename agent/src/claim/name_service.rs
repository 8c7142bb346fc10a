//! The names and their records, as hosts and people read them, and as a host that goes leaves them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::future::try_join_all;

use super::{
    Claim, claim_name,
    store::{ClaimObject, ClaimStore},
};
use crate::{
    aws::{
        Aws, Host,
        elastic_ip::ElasticIp,
        zone::{Records, Zone},
    },
    config::{Config, RoutingMode},
    fault::Fault,
    place::Name,
    probe::{self, Heard},
};

/// How long another host may take to answer.
const PROBE: Duration = Duration::from_secs(5);

/// The names, the records they should have, and the zone that holds them.
#[derive(Clone, Debug)]
pub struct NameService {
    /// The names, the canonical one first.
    pub names: Vec<Name>,
    /// Id of the hosted zone; an Elastic IP can do without.
    pub zone: Option<String>,
    /// Time to live of the records, in seconds.
    pub ttl: u32,
    /// The port at which every host of the names answers.
    pub port: u16,
    /// How people are led to the hosts.
    pub leading: RoutingMode,
}

impl NameService {
    /// The records of `config`'s names, where it names a zone or an Elastic IP.
    pub fn of(config: &Config) -> Option<NameService> {
        let names = config.names();
        let port = config.listen.https.port();
        let leading = config.leading.clone();
        if config.zone.is_none() && leading == RoutingMode::Records {
            return None;
        }
        Some(NameService { names, zone: config.zone.clone(), ttl: config.ttl, port, leading })
    }

    /// Id of the hosted zone; empty without one.
    pub fn zone_id(&self) -> &str {
        self.zone.as_deref().unwrap_or_default()
    }

    /// The hosted zone.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn zone(&self, aws: &Aws) -> Result<Zone, Fault> {
        let zone = self.zone.clone().ok_or_else(|| Fault::operator("reading records", "no zone", "name a `zone`"))?;
        Ok(Zone::new(aws, zone))
    }

    /// All records of the names and the claim.
    ///
    /// # Errors
    /// What Route 53 refuses.
    pub async fn read(&self, zone: &Zone) -> Result<Vec<Records>, Fault> {
        let claim = self.names.first().map(claim_name).unwrap_or_default();
        // The claim alone first: a Route 53 that refuses this is not asked more.
        let mut records = zone.records(&claim).await?;
        let sets = try_join_all(self.names.iter().map(|name| zone.records(name.as_str()))).await?;
        records.extend(sets.into_iter().flatten());
        Ok(records)
    }

    /// Whether the host of that claim answers for the domain, at the address that the claim says: the records may have been
    /// changed by hand, which says nothing about their host.
    pub async fn answers(&self, claim: &Claim) -> bool {
        match claim.at {
            Some(ip) => self.answers_at(ip).await,
            None => false,
        }
    }

    /// What `host` hears from the host of another's claim, at the address that the claim says. Where that is an address of its
    /// own by now, the other one is not there any more.
    pub async fn heard(&self, host: &Host, claim: &Claim) -> Heard {
        match claim.at {
            Some(ip) if !host.is_at(ip) => self.heard_at(ip).await,
            _ => Heard::Nothing,
        }
    }

    /// Whether the host at that address answers for the domain. One that turns a probe away has all the connections it may
    /// have: that is visitors' doing, or strangers', and no reason to move the names.
    pub async fn answers_at(&self, ip: IpAddr) -> bool {
        self.heard_at(ip).await.answers()
    }

    /// What is heard from the host at that address.
    pub async fn heard_at(&self, ip: IpAddr) -> Heard {
        match self.names.first() {
            Some(domain) => probe::heard(SocketAddr::new(ip, self.port), domain, PROBE).await,
            None => Heard::Nothing,
        }
    }

    /// Where the claim is stored; none where people are led to every host, since no host holds the names alone.
    fn store(&self, aws: &Aws) -> Result<Option<ClaimStore>, Fault> {
        Ok(match &self.leading {
            RoutingMode::Records => {
                let no_name = || Fault::operator("reading the claim", "no name", "name a `domain`");
                let domain = self.names.first().ok_or_else(no_name)?;
                Some(ClaimStore::Record(self.zone(aws)?, domain.clone()))
            }
            RoutingMode::ElasticIp(_, place) => Some(ClaimStore::Object(ClaimObject::new(aws, place))),
            RoutingMode::Multivalue => None,
        })
    }

    /// The claim as it stands; none where people are led to every host.
    ///
    /// # Errors
    /// What Route 53 or S3 refuses; something else in the claim's place.
    pub async fn claim(&self, aws: &Aws) -> Result<Option<Claim>, Fault> {
        match self.store(aws)? {
            Some(store) => store.read().await,
            None => Ok(None),
        }
    }

    /// Says in the claim that `host` goes, if it holds the names; whether it had to be said. `asked`: the fleet was
    /// asked for a successor, and had `target` hosts to have before.
    ///
    /// # Errors
    /// What Route 53 or S3 refuses; a claim that was changed meanwhile.
    pub async fn depart(&self, aws: &Aws, host: &Host, asked: bool, target: Option<u32>) -> Result<bool, Fault> {
        match self.store(aws)? {
            Some(store) => store.depart(host, asked, target).await,
            None => Ok(false),
        }
    }

    /// Whether the Elastic IP leads to the host of that claim; true where there is none, or where that host is led to by
    /// another.
    ///
    /// # Errors
    /// What EC2 refuses.
    pub async fn leads_to(&self, aws: &Aws, claim: &Claim) -> Result<bool, Fault> {
        let RoutingMode::ElasticIp(allocation, _) = &self.leading else { return Ok(true) };
        let association = ElasticIp::new(aws, allocation.clone()).look().await?;
        let by_another = claim.at.is_some_and(|at| at != association.ip);
        Ok(by_another || association.to.as_ref() == Some(&claim.instance))
    }
}
