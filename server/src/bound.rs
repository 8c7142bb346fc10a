//! Ports that are taken, before anything is served on them.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use tokio::sync::watch;

use crate::{
    connections::Handler,
    counters::Counters,
    files::Files,
    identity::Identity,
    live_site::LiveSite,
    port::{BindError, Port},
    running::{Running, ServeError},
    settings::Settings,
};

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
    /// and connections that wait in them at the end are left to the process that holds them next.
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
        site: watch::Receiver<Option<Arc<LiveSite>>>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
    ) -> Result<Running, ServeError> {
        let settings = Arc::new(settings);
        let counters = Arc::new(Counters::default());
        let files = Files::new(settings.clone(), self.https.address.port(), site, counters.clone());
        Running::start(self.http, self.https, settings, Arc::new(files), counters, identity)
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
        Running::start(self.http, self.https, Arc::new(settings), handler, Arc::default(), identity)
    }
}
