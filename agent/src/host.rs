//! Keeper: facts about this instance.
//!
//! They are read from the instance metadata service and never written. Most never change; the public address does:
//! it can come late, and an Elastic IP can be moved, so the facts are read again now and then.

use std::{net::IpAddr, time::Duration};

use crate::{
    aws::{Host, metadata::Metadata},
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    status::Part,
};

/// How often a host that has no public address yet asks for it.
const LOOK_FOR_ADDRESS: Duration = Duration::from_secs(1);
/// How often a complete host is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Keeper of the facts.
pub struct Facts {
    metadata: Metadata,
    complete: bool,
}

impl Facts {
    /// Reads the facts from `metadata`.
    pub fn new(metadata: Metadata) -> Facts {
        Facts { metadata, complete: false }
    }
}

impl Keeper for Facts {
    type Observation = Host;
    type Drift = std::convert::Infallible;
    type Held = Host;
    const PART: Part = Part::Host;

    fn pace(&self) -> Pace {
        Pace {
            look: if self.complete { LOOK_AGAIN } else { LOOK_FOR_ADDRESS },
            observe: Duration::from_secs(15),
            converge: Duration::ZERO,
            longest_pause: Duration::from_secs(1),
        }
    }

    async fn observe(&mut self) -> Result<Host, Fault> {
        let host = self.metadata.host().await?;
        self.complete = host.public().is_some();
        Ok(host)
    }

    fn judge(&self, seen: Host) -> Judgement<Host, Self::Drift> {
        Judgement::Kept(seen)
    }

    async fn converge(&mut self, drift: Self::Drift) -> Result<(), Fault> {
        match drift {}
    }

    fn holding(held: &Host) -> String {
        let address = match (held.ipv4, held.ipv6) {
            (Some(v4), Some(v6)) => format!("{v4} and {v6}"),
            (None, None) => "no public address yet".to_owned(),
            (v4, v6) => v4.map(IpAddr::V4).or(v6.map(IpAddr::V6)).map_or_else(String::new, |ip| ip.to_string()),
        };
        format!("{} ({}) in {}, {address}", held.instance, held.life_cycle, held.availability_zone)
    }

    fn drifting(drift: &Self::Drift) -> String {
        match *drift {}
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{Ipv4Addr, Ipv6Addr},
    };

    use time::macros::datetime;

    use super::*;

    #[test]
    fn host_says_which_address_leads_to_it() {
        let host = |ipv4, ipv6| Host {
            instance: "i-1".into(),
            region: "eu-central-1".into(),
            account: Some("123456789012".into()),
            availability_zone: "eu-central-1a".into(),
            launched: datetime!(2026-11-21 12:00 UTC),
            life_cycle: "spot".into(),
            ipv4,
            private: None,
            ipv6,
            tags: BTreeMap::new(),
        };
        let v4 = Ipv4Addr::new(192, 0, 2, 54);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        let table = [
            (None, None, None, "no public address yet"),
            (Some(v4), None, Some(IpAddr::V4(v4)), "192.0.2.54"),
            (None, Some(v6), Some(IpAddr::V6(v6)), "2001:db8::1"),
            (Some(v4), Some(v6), Some(IpAddr::V4(v4)), "192.0.2.54 and 2001:db8::1"),
        ];
        for (ipv4, ipv6, public, words) in table {
            let host = host(ipv4, ipv6);
            assert_eq!(host.public(), public);
            assert_eq!(Facts::holding(&host), format!("i-1 (spot) in eu-central-1a, {words}"));
        }
    }
}
