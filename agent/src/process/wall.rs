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

/// How the wall stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wall {
    /// A filter refuses what is sent there.
    Stands,
    /// This address can be sent to.
    Open(IpAddr),
    /// No address can be sent to, and no filter says so: a way there may appear later.
    Unproven,
}

impl Wall {
    /// Tries all addresses.
    pub(crate) fn tried() -> Wall {
        Wall::of(FORBIDDEN.into_iter().map(|address| (address, reach(address))))
    }

    fn of(reached: impl Iterator<Item = (IpAddr, io::Result<()>)>) -> Wall {
        let mut wall = Wall::Unproven;
        for (address, reached) in reached {
            match reached {
                // One filter serves both families, while there may be a way to the addresses of one alone.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => wall = Wall::Stands,
                Err(error) if has_no_way(&error) => {}
                // Everything else, such as a lack of descriptors, proves nothing.
                _ => return Wall::Open(address),
            }
        }
        wall
    }

    /// Why no process begins; nothing while the wall stands.
    pub(crate) fn fault(self) -> Option<String> {
        match self {
            Wall::Stands => None,
            Wall::Open(address) => Some(format!(
                "the application could reach {address}, where the credentials of the instance are"
            )),
            Wall::Unproven => Some(
                "there is no way to the metadata of the instance, and no filter that keeps the application from one that appears later"
                    .to_owned(),
            ),
        }
    }
}

/// Sends a datagram.
fn reach(address: IpAddr) -> io::Result<()> {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((from, 0))?.send_to(&[0], SocketAddr::new(address, PORT)).map(drop)
}

/// Whether there is no way to an address: no route, or no address of its family on this machine.
fn has_no_way(error: &io::Error) -> bool {
    let no_way = [ErrorKind::NetworkUnreachable, ErrorKind::HostUnreachable, ErrorKind::AddrNotAvailable];
    no_way.contains(&error.kind()) || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_stands_where_a_filter_refuses_and_nothing_passes() {
        let failed = |errno: Errno| Err(io::Error::from(errno));
        let one = FORBIDDEN[0];
        let other = FORBIDDEN[3];
        let table = [
            (failed(Errno::PERM), failed(Errno::PERM), Wall::Stands),
            (failed(Errno::ACCESS), failed(Errno::NETUNREACH), Wall::Stands),
            (failed(Errno::PERM), failed(Errno::ADDRNOTAVAIL), Wall::Stands),
            (failed(Errno::PERM), failed(Errno::AFNOSUPPORT), Wall::Stands),
            (failed(Errno::NETUNREACH), failed(Errno::HOSTUNREACH), Wall::Unproven),
            (failed(Errno::PERM), Ok(()), Wall::Open(other)),
            (Ok(()), failed(Errno::PERM), Wall::Open(one)),
            (failed(Errno::MFILE), failed(Errno::PERM), Wall::Open(one)),
            (failed(Errno::NOBUFS), failed(Errno::PERM), Wall::Open(one)),
            (failed(Errno::CONNREFUSED), failed(Errno::PERM), Wall::Open(one)),
        ];
        for (first, second, wall) in table {
            let said = format!("{first:?}, {second:?}");
            assert_eq!(Wall::of([(one, first), (other, second)].into_iter()), wall, "{said}");
        }
    }

    #[test]
    fn address_that_can_be_sent_to_is_in_reach() {
        assert!(reach(Ipv4Addr::LOCALHOST.into()).is_ok());
    }
}
