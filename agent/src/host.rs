//! Keeper: facts about this instance.
//!
//! They are read from the instance metadata service and never written. Most never change; the public address does:
//! it can come late, and an Elastic IP can be moved, so the facts are read again now and then.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
    time::Duration,
};

use time::OffsetDateTime;

use crate::{
    aws::metadata::Metadata,
    fault::Fault,
    keeper::{Judgement, Keeper, Pace},
    status::Part,
};

/// How often a host that has no public address yet asks for it.
const LOOK_FOR_ADDRESS: Duration = Duration::from_secs(1);
/// How often a complete host is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// No name of a region is longer.
const LONGEST_REGION: usize = 24;

/// Facts about this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Instance id, such as `i-1234567890abcdef0`.
    pub instance: String,
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// Number of the AWS account, where the identity document says it.
    pub account: Option<String>,
    /// Availability zone, such as `eu-central-1a`.
    pub availability_zone: String,
    /// When it was launched (`pendingTime` of the identity document).
    pub launched: OffsetDateTime,
    /// `spot`, `on-demand`, `scheduled` or `capacity-block`.
    pub life_cycle: String,
    /// Public IPv4 address, once there is one.
    pub ipv4: Option<Ipv4Addr>,
    /// Private IPv4 address.
    pub private: Option<Ipv4Addr>,
    /// Global IPv6 address, if there is one.
    pub ipv6: Option<Ipv6Addr>,
    /// Tags of the instance; empty unless the launch template enables them in metadata.
    pub tags: BTreeMap<String, String>,
}

/// One region of one account of AWS: what one EC2 knows of, and where a fleet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Location {
    /// Region and account; none, where either is not one.
    pub fn new(region: &str, account: &str) -> Option<Location> {
        let of_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let region_is_one = (1..=LONGEST_REGION).contains(&region.len()) && region.bytes().all(of_region);
        let account_is_one = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        (region_is_one && account_is_one).then(|| Location { region: region.to_owned(), account: account.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.account)
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        let parts = text.split_once('/');
        let location = parts.and_then(|(region, account)| Location::new(region, account));
        location.ok_or_else(|| format!("{text} is no region and account, such as eu-central-1/123456789012"))
    }
}

impl Host {
    /// Where it is, as far as that is known.
    pub fn location(&self) -> Option<Location> {
        Location::new(&self.region, self.account.as_deref()?)
    }

    /// Whether that address leads to this host.
    pub fn is_at(&self, address: IpAddr) -> bool {
        self.ipv4.map(IpAddr::V4) == Some(address) || self.ipv6.map(IpAddr::V6) == Some(address)
    }

    /// The address that the world reaches this host at, IPv4 before IPv6.
    pub fn public(&self) -> Option<IpAddr> {
        self.ipv4.map(IpAddr::V4).or(self.ipv6.map(IpAddr::V6))
    }
}

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
    type Seen = Host;
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
        let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 54), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
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
