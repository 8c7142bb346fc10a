//! Ports that are taken, before anything is served on them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::sync::watch;

use crate::{
    Handler, Identity, Settings, Site,
    files::Files,
    running::{Running, ServeError},
};

/// How many connections the kernel keeps for a thread that is busy; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;

/// How much of what was written may wait in the kernel unsent (`TCP_NOTSENT_LOWAT`). Its default is no bound but the send
/// buffer's, which grows to megabytes: a reader that stops would keep them, and filling it would make others wait.
const UNSENT: u32 = 16 * 1024;

/// How long nothing comes of a client before it is asked whether it is there (`SO_KEEPALIVE`), how long it has to answer, and how
/// often it is asked again. An idle connection does not last so long by default: this is for those that a handler works for, whose
/// client may have lost its power or its network.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For plain HTTP: redirects to HTTPS. Port 0 takes any free one.
    pub http: SocketAddr,
    /// For HTTPS. Port 0 takes any free one.
    pub https: SocketAddr,
}

/// Both listeners, listening: connections are queued by the kernel from now on, and answered once [`serve`](Self::serve)
/// is called.
#[derive(Debug)]
pub struct Bound {
    http: Port,
    https: Port,
}

/// One listener, and what may be done with it.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// Whether the socket is shared with whoever passed it on, so that it must be left as it was.
    pub(crate) lent: bool,
}

impl Bound {
    /// Takes both ports.
    ///
    /// # Errors
    /// [`BindError`] says which port is not to be had, why, and what would cure it.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        let http = Port::take(listen.http)?;
        let https = Port::take(listen.https)?;
        Ok(Self { http, https })
    }

    /// Uses listeners that were made by someone else, such as systemd's socket activation. They are shared by all threads,
    /// and connections that wait in them at the end are left to whoever holds them next.
    ///
    /// # Errors
    /// [`BindError`] if they are no listening sockets.
    pub fn from_listeners(http: TcpListener, https: TcpListener) -> Result<Self, BindError> {
        Ok(Self { http: Port::lent(http)?, https: Port::lent(https)? })
    }

    /// Takes both ports: from `lent` where a listener there has the port, be it on another address, and by itself
    /// where none has. What is left in `lent` is on neither port.
    ///
    /// # Errors
    /// As [`bind`](Self::bind) and [`from_listeners`](Self::from_listeners).
    pub fn bind_or_use(listen: &Listen, lent: &mut Vec<TcpListener>) -> Result<Self, BindError> {
        let mut port = |address: SocketAddr| {
            let has_it = |listener: &mut TcpListener| listener.local_addr().is_ok_and(|at| at.port() == address.port());
            match lent.extract_if(.., has_it).next() {
                Some(listener) => Port::lent(listener),
                None => Port::take(address),
            }
        };
        Ok(Self { http: port(listen.http)?, https: port(listen.https)? })
    }

    /// The address of the HTTP listener, with its real port.
    pub fn http(&self) -> SocketAddr {
        self.http.address
    }

    /// The address of the HTTPS listener, with its real port.
    pub fn https(&self) -> SocketAddr {
        self.https.address
    }

    /// Serves from now on, on threads of its own: one a core, each with its own listeners (SO_REUSEPORT), so nothing is
    /// shared between requests but counters.
    ///
    /// Both watches are followed: without a site every request is answered with 503 and `Retry-After`, without an identity
    /// TLS handshakes are refused with an alert. A request keeps the site that it began with.
    ///
    /// # Errors
    /// [`ServeError`] if a further listener, the access log or a thread cannot be made.
    pub fn serve(
        self,
        settings: Settings,
        site: watch::Receiver<Option<Arc<Site>>>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
    ) -> Result<Running, ServeError> {
        let settings = Arc::new(settings);
        let files = Files::new(settings.clone(), self.https.address.port(), site);
        Running::start(self.http, self.https, settings, Arc::new(files), identity)
    }

    /// Serves as [`serve`](Self::serve) does, but has every request answered by `handler` instead of a site's files. What
    /// `settings` say of names, of HSTS and of plain HTTP is then the handler's concern.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn serve_with(
        self,
        settings: Settings,
        handler: Arc<dyn Handler>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
    ) -> Result<Running, ServeError> {
        Running::start(self.http, self.https, Arc::new(settings), handler, identity)
    }
}

impl Port {
    fn take(address: SocketAddr) -> Result<Self, BindError> {
        let listener =
            refuse_taken(address).and_then(|()| listen(address)).map_err(|error| BindError::new(address, error))?;
        let address = listener.local_addr().map_err(|error| BindError::new(address, error))?;
        Ok(Self { listener, address, lent: false })
    }

    fn lent(listener: TcpListener) -> Result<Self, BindError> {
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
