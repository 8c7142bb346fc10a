//! Name constraints of a local CA (RFC 5280 §4.2.1.10), which bound the damage of a stolen key.

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::place::Name;

/// The loopback addresses of IPv4, 127.0.0.0/8 (RFC 1122 §3.2.1.3): address and mask.
const LOOPBACK_V4: ([u8; 4], [u8; 4]) = ([127, 0, 0, 0], [255, 0, 0, 0]);
/// The loopback address of IPv6, `::1/128` (RFC 4291 §2.5.3): address and mask.
const LOOPBACK_V6: ([u8; 16], [u8; 16]) = ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [u8::MAX; 16]);

/// The names that a CA may certify: one domain with its subdomains, and the loopback addresses.
///
/// The addresses stand in every confinement: a constraint restricts only names of its own kind, so a CA with constraints on host
/// names alone could certify any address.
pub(super) struct Confinement<'a> {
    domain: &'a str,
}

impl<'a> Confinement<'a> {
    /// The confinement to `domain`; of a wildcard, to the domain below which it stands.
    pub(super) fn to(domain: &'a Name) -> Confinement<'a> {
        let domain = domain.as_str();
        Confinement { domain: domain.strip_prefix("*.").unwrap_or(domain) }
    }

    /// The extension for a new CA. rcgen marks it critical.
    pub(super) fn constraints(&self) -> NameConstraints {
        let permitted_subtrees = vec![
            GeneralSubtree::DnsName(self.domain.to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::V4(LOOPBACK_V4.0, LOOPBACK_V4.1)),
            GeneralSubtree::IpAddress(CidrSubnet::V6(LOOPBACK_V6.0, LOOPBACK_V6.1)),
        ];
        NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }
    }

    /// Whether `ca` is confined so: no wider and no narrower, in a critical extension, and without CAs below it.
    pub(super) fn holds(&self, ca: &X509Certificate<'_>) -> bool {
        let has_no_ca_below = ca
            .basic_constraints()
            .is_ok_and(|found| found.is_some_and(|basic| basic.value.path_len_constraint == Some(0)));
        let Ok(Some(found)) = ca.name_constraints() else { return false };
        let permitted = found.value.permitted_subtrees.iter().flatten().map(|subtree| &subtree.base);
        let v4 = [LOOPBACK_V4.0, LOOPBACK_V4.1].concat();
        let v6 = [LOOPBACK_V6.0, LOOPBACK_V6.1].concat();
        let wanted = [GeneralName::DNSName(self.domain), GeneralName::IPAddress(&v4), GeneralName::IPAddress(&v6)];
        has_no_ca_below && found.critical && permitted.eq(&wanted)
    }
}
