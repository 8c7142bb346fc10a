//! Facts about an instance, as its metadata service tells them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use time::OffsetDateTime;

use crate::place::Location;

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

#[cfg(test)]
pub(crate) mod tests {
    use time::macros::datetime;

    use super::*;

    /// A host that was launched so many minutes after noon.
    pub(crate) fn host(instance: &str, minute: i64) -> Host {
        Host {
            instance: instance.into(),
            region: "eu-central-1".into(),
            account: Some("123456789012".into()),
            availability_zone: "eu-central-1a".into(),
            launched: datetime!(2026-11-21 12:00 UTC) + time::Duration::minutes(minute),
            life_cycle: "spot".into(),
            ipv4: Some(Ipv4Addr::new(192, 0, 2, 7)),
            private: None,
            ipv6: None,
            tags: BTreeMap::new(),
        }
    }
}
