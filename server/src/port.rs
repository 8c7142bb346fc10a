//! A port that is taken: one listening socket.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How many connections the kernel keeps for a thread that is busy; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;

/// How much of what was written may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`). Its default is no bound but the send
/// buffer's, which grows to megabytes: a reader that stops would keep them, and filling it would make others wait.
const UNSENT: u32 = 16 * 1024;

/// How long nothing comes of a client before it is asked whether it is there (`SO_KEEPALIVE`), how long it has to answer, and how
/// often it is asked again. An idle connection does not last so long by default: this is for those that a handler works for, whose
/// client may have lost its power or its network.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// One listener, and what may be done with it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// Whether another process passed it on and shares it, so that it must be left as it was.
    pub(crate) lent: bool,
}

impl Port {
    /// Takes the port at `address`, which no other process may have.
    pub(crate) fn take(address: SocketAddr) -> Result<Self, BindError> {
        let listener =
            refuse_taken(address).and_then(|()| listen(address)).map_err(|error| BindError::new(address, error))?;
        let address = listener.local_addr().map_err(|error| BindError::new(address, error))?;
        Ok(Self { listener, address, lent: false })
    }

    /// Uses a listener that was made by someone else.
    pub(crate) fn lent(listener: TcpListener) -> Result<Self, BindError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let address = listener.local_addr().map_err(|error| BindError::new(unknown, error))?;
        fit(&listener).map_err(|error| BindError::new(address, error))?;
        Ok(Self { listener, address, lent: true })
    }

    /// A listener on the same port for one more thread.
    pub(crate) fn one_more(&self) -> Result<Self, BindError> {
        let made = if self.lent { self.listener.try_clone() } else { listen(self.address) };
        let listener = made.map_err(|error| BindError::new(self.address, error))?;
        Ok(Self { listener, address: self.address, lent: self.lent })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // One socket for both families; hosts without IPv6 configure an IPv4 address instead.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    tune(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Gives a listener that someone else made what [`listen`] gives its own.
fn fit(listener: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    if !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
    }
    socket.set_nonblocking(true)?;
    tune(&socket)
}

/// What all connections inherit from their listener.
fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    // A response is written at once, so there is nothing to wait for.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let (time, interval, retries) = KEEPALIVE;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries))
}

/// SO_REUSEPORT would let two processes of one user share a port silently; binding without it shows whether it is free.
fn refuse_taken(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        probe.set_only_v6(false)?;
    }
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

/// A port that is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {}", cure(error))]
pub struct BindError {
    /// Where it was tried.
    pub address: SocketAddr,
    /// What the operating system said.
    #[source]
    pub error: io::Error,
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, error: io::Error) -> Self {
        Self { address, error }
    }
}

fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there (`ss -ltnp` shows it), or choose another port",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; `ip address` shows those it has",
        _ => "see the operating system's reason",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// Whether this server's own listener or a lent one.
    #[test]
    fn a_client_that_says_nothing_is_asked_whether_it_is_there() {
        let any = "127.0.0.1:0".parse().unwrap();
        for port in [Port::take(any).unwrap(), Port::lent(TcpListener::bind(any).unwrap()).unwrap()] {
            port.listener.set_nonblocking(false).unwrap();
            let client = TcpStream::connect(port.address).unwrap();
            let (accepted, _) = port.listener.accept().unwrap();
            let socket = SockRef::from(&accepted);
            assert!(socket.keepalive().unwrap(), "lent: {}", port.lent);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE.0);
            drop(client);
        }
    }
}
