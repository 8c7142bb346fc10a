//! The wall: no process of a package reaches the metadata of the instance, which hold the credentials of its role, nor the addresses
//! at which containers are given theirs.
//!
//! systemd builds it (`IPAddressDeny=`, systemd.resource-control(5)), and builds nothing where the kernel cannot (it "fails open"). So
//! it is tried: a datagram to each address must be refused by the kernel before it leaves. Nothing is said of what a wall looks like
//! to TCP, where the kernel lets a connection time out rather than refuse it.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use rustix::io::Errno;

/// The addresses: of instance metadata ("Access instance metadata", EC2 User Guide), and of container credentials of ECS and of EKS Pod
/// Identity ("Container credential provider", AWS SDKs and Tools Reference Guide).
pub(crate) const FORBIDDEN: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023)),
];

/// The port of all of them.
const PORT: u16 = 80;

/// The first address that this process can send to; none while the wall stands.
pub(crate) fn hole() -> Option<IpAddr> {
    FORBIDDEN.into_iter().find(|address| !is_out_of_reach(&reach(*address)))
}

/// The sentence about a wall that does not stand.
pub(crate) fn is_open(address: IpAddr) -> String {
    format!("the application could reach {address}, where the credentials of the instance are")
}

/// Sends a datagram.
fn reach(address: IpAddr) -> io::Result<()> {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((from, 0))?.send_to(&[0], SocketAddr::new(address, PORT)).map(drop)
}

/// Whether that is how the kernel refuses: a filter (`EPERM`, `EACCES`), or no way there at all. Everything else, such as a lack of
/// descriptors, proves nothing.
fn is_out_of_reach(reached: &io::Result<()>) -> bool {
    let Err(error) = reached else { return false };
    let no_way = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable, ErrorKind::AddrNotAvailable];
    error.kind() == ErrorKind::PermissionDenied
        || no_way.contains(&error.kind())
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_the_kernel_is_a_wall() {
        let failed = |errno: Errno| Err(io::Error::from(errno));
        let table = [
            (Ok(()), false),
            (failed(Errno::PERM), true),
            (failed(Errno::ACCESS), true),
            (failed(Errno::NETUNREACH), true),
            (failed(Errno::HOSTUNREACH), true),
            (failed(Errno::ADDRNOTAVAIL), true),
            (failed(Errno::AFNOSUPPORT), true),
            (failed(Errno::MFILE), false),
            (failed(Errno::NOBUFS), false),
            (failed(Errno::CONNREFUSED), false),
        ];
        for (reached, walled) in table {
            assert_eq!(is_out_of_reach(&reached), walled, "{reached:?}");
        }
    }

    #[test]
    fn address_that_can_be_sent_to_is_in_reach() {
        assert!(!is_out_of_reach(&reach(Ipv4Addr::LOCALHOST.into())));
    }
}
