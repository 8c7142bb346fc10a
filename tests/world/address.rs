//! Loopback addresses, one for each host of a test.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An address of 127.0.0.0/8 that no other host of this test binary has, and that differs from most of those of test
/// binaries running beside it.
///
/// # Panics
/// After some 60,000 of them.
pub fn own_address() -> IpAddr {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let net = number / 250;
    let host = number % 250 + 1;
    let process = process::id() % 200 + 20;
    Ipv4Addr::new(
        127,
        u8::try_from(process).expect("below 220"),
        u8::try_from(net).expect("fewer than 60,000 hosts"),
        u8::try_from(host).expect("at most 250"),
    )
    .into()
}

/// Two ports of `address` that are free now.
///
/// # Panics
/// When the address has no free ports.
pub(crate) fn free_ports(address: IpAddr) -> (SocketAddr, SocketAddr) {
    // Both are held until both are known: one that was let go of may be given again.
    let [first, second] =
        [0; 2].map(|any| TcpListener::bind((address, any)).expect("a free port of a loopback address"));
    let port = |listener: TcpListener| listener.local_addr().expect("a bound listener has an address");
    (port(first), port(second))
}
