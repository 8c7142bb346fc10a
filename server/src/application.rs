//! An application that answers what no file does: where it listens, whether it runs, and what may wait for it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    pin::pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Uri, uri::Scheme};
use tokio::sync::{Notify, watch};

/// What the visitors of an application may cost while they wait for it, and for what it sends.
#[derive(Clone, Debug)]
pub struct ApplicationBounds {
    /// How long a request waits for an application that takes no connections; 0 answers 502 at once.
    pub hold: Duration,
    /// How many requests may wait so, in all; the next one is answered with 503.
    pub queue: usize,
    /// The same of one IPv4 address or IPv6 /64.
    pub queue_per_address: usize,
    /// WebSockets that are open, in all.
    pub tunnels: usize,
    /// The same of one IPv4 address or IPv6 /64.
    pub tunnels_per_address: usize,
    /// How long a WebSocket may be silent.
    pub tunnel_idle: Duration,
    /// Where content that is too much for memory lies, in files without a name.
    pub spill: PathBuf,
    /// How many bytes lie there at most, of all requests and responses together.
    pub spilled: u64,
    /// The same of one IPv4 address or IPv6 /64.
    pub spilled_per_address: u64,
}

/// The application of a package, as its visitors find it: where it listens, and whether it runs.
#[derive(Clone, Debug)]
pub struct OwnApplication {
    pub(crate) address: ApplicationAddress,
    state: Arc<ApplicationState>,
    /// Each clone has one, by which the sender knows that there are any.
    up: watch::Receiver<bool>,
}

/// The same application, as the program has it that runs it. It is down until [`set_up`](Self::set_up) says otherwise.
#[derive(Debug)]
pub struct ApplicationHandle {
    address: ApplicationAddress,
    state: Arc<ApplicationState>,
}

#[derive(Debug)]
struct ApplicationState {
    up: watch::Sender<bool>,
    /// Whether no request waits for it while it is down.
    absent: AtomicBool,
    under_way: AtomicUsize,
    /// Told whenever no request is under way.
    idle: Notify,
    /// Changes when the WebSockets and event streams that are open then are to be ended.
    parting: watch::Sender<()>,
    /// The application that has taken its place, to which what waits for it goes.
    next: watch::Sender<Option<Follower>>,
}

/// An application that has taken the place of another. It counts as none of those that a site is served with.
#[derive(Clone, Debug)]
struct Follower {
    address: ApplicationAddress,
    state: Arc<ApplicationState>,
}

/// A request that is under way at an application of a package; nothing where somebody else runs the application.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Option<Arc<ApplicationState>>);

impl ApplicationHandle {
    /// An application that is down, and will listen at `address`.
    pub fn new(address: ApplicationAddress) -> Self {
        let state = ApplicationState {
            up: watch::Sender::new(false),
            absent: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            idle: Notify::new(),
            parting: watch::Sender::new(()),
            next: watch::Sender::new(None),
        };
        Self { address, state: Arc::new(state) }
    }

    /// What is served with a site, by [`LiveSite::with_application`](crate::LiveSite::with_application).
    pub fn application(&self) -> OwnApplication {
        OwnApplication { address: self.address.clone(), state: self.state.clone(), up: self.state.up.subscribe() }
    }

    /// Says whether it runs. While it does not, requests wait within [`ApplicationBounds`], though its listener may take connections:
    /// a request that lies in the queue of a listener whose application is gone is neither sent nor unsent.
    pub fn set_up(&self, up: bool) {
        self.state.up.send_replace(up);
    }

    /// Says whether a person has to do something before it can run: until then, requests are answered with 503 at once.
    pub fn set_absent(&self, absent: bool) {
        self.state.absent.store(absent, SeqCst);
    }

    /// Whether it runs, as was said last.
    pub fn is_up(&self) -> bool {
        *self.state.up.borrow()
    }

    /// Says that `next` has taken its place: requests that wait for this one, or come to it later while it is down, go there.
    pub fn followed_by(&self, next: &ApplicationHandle) {
        if !Arc::ptr_eq(&self.state, &next.state) {
            let follower = Follower { address: next.address.clone(), state: next.state.clone() };
            self.state.next.send_replace(Some(follower));
        }
    }

    /// Resolves once no request is under way, nor any WebSocket open. While the application is down none begins.
    pub async fn idle(&self) {
        loop {
            let mut told = pin!(self.state.idle.notified());
            told.as_mut().enable();
            if self.state.under_way.load(SeqCst) == 0 {
                return;
            }
            told.await;
        }
    }

    /// Ends in good order what would last for ever, so that its clients come back, and reach the process that follows. Both sides of each
    /// WebSocket are told by a Close frame that the server goes away (1001, RFC 6455 §7.4.1), behind the last whole frame, and have five
    /// seconds to close. Each event stream ends as a whole response.
    pub fn end_streams(&self) {
        self.state.parting.send_replace(());
    }

    /// Resolves once no site is served with it.
    pub async fn released(&self) {
        self.state.up.closed().await;
    }
}

impl OwnApplication {
    /// A request begins, unless the application is down.
    pub(crate) fn begin(&self) -> Option<UnderWay> {
        // Counted first: a request that is not counted yet finds the application down once it was said to be.
        self.state.under_way.fetch_add(1, SeqCst);
        let begun = UnderWay(Some(self.state.clone()));
        self.is_up().then_some(begun)
    }

    /// Whether it runs.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Whether no request waits for it.
    pub(crate) fn is_absent(&self) -> bool {
        self.state.absent.load(SeqCst)
    }

    /// The application that has taken its place, the last one of several, where this one is down.
    pub(crate) fn current(&self) -> OwnApplication {
        let mut current = self.clone();
        while !current.is_up() {
            let next = current.state.next.borrow().clone();
            match next {
                Some(next) => current = next.application(),
                None => break,
            }
        }
        current
    }

    /// Changes when the WebSockets and event streams that were asked for before are to be ended.
    pub(crate) fn parting(&self) -> watch::Receiver<()> {
        self.state.parting.subscribe()
    }

    /// Resolves once it runs, or one that has taken its place does; never, if neither is run any more.
    pub(crate) async fn comes_up(&self) {
        let mut current = self.clone();
        loop {
            let mut next = current.state.next.subscribe();
            let is_up = async {
                if current.up.clone().wait_for(|up| *up).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let followed = async {
                let followed = next.wait_for(Option::is_some).await.map(|next| next.clone());
                match followed {
                    Ok(next) => next,
                    Err(_) => std::future::pending().await,
                }
            };
            let followed = tokio::select! {
                biased;
                () = is_up => return,
                next = followed => next,
            };
            match followed {
                Some(next) => current = next.application(),
                None => return,
            }
        }
    }
}

impl Follower {
    fn application(&self) -> OwnApplication {
        OwnApplication { address: self.address.clone(), state: self.state.clone(), up: self.state.up.subscribe() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(state) = &self.0
            && state.under_way.fetch_sub(1, SeqCst) == 1
        {
            state.idle.notify_waiters();
        }
    }
}

/// Where an application listens, on this machine alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplicationAddress {
    /// TCP, at a loopback address. `localhost` is both 127.0.0.1 and `[::1]`, in this order.
    Tcp(Vec<SocketAddr>),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why an address of an application is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no address of an application: {why}; write http://127.0.0.1:8000 or unix:/run/app.sock")]
pub struct BadApplicationAddress {
    text: String,
    why: &'static str,
}

impl Default for ApplicationBounds {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(10),
            queue: 1_000,
            queue_per_address: 250,
            tunnels: 10_000,
            tunnels_per_address: 256,
            tunnel_idle: Duration::from_secs(3600),
            spill: std::env::temp_dir(),
            spilled: 2 << 30,
            spilled_per_address: 512 << 20,
        }
    }
}

impl FromStr for ApplicationAddress {
    type Err = BadApplicationAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why| BadApplicationAddress { text: text.to_owned(), why };
        if let Some(path) = text.strip_prefix("unix:") {
            // Linux takes 107 bytes (unix(7)).
            return match path.len() {
                0 => Err(bad("it names no socket")),
                108.. => Err(bad("a path of a socket has 107 bytes at most")),
                _ => Ok(Self::Unix(path.into())),
            };
        }
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(bad("it is reached over plain HTTP, as it is on this machine"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad("a path is not taken: visitors' paths are passed as they are"));
        }
        let port = uri.port_u16().ok_or_else(|| bad("it names no port"))?;
        let host = uri.host().unwrap_or_default();
        let addresses: Vec<IpAddr> = match host.trim_start_matches('[').trim_end_matches(']') {
            "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            literal => literal.parse().ok().into_iter().collect(),
        };
        if addresses.is_empty() || !addresses.iter().all(|address| address.to_canonical().is_loopback()) {
            return Err(bad("only an application on this machine is passed requests: 127.0.0.1, [::1] or localhost"));
        }
        Ok(Self::Tcp(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()))
    }
}

impl fmt::Display for ApplicationAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addresses) if addresses.len() > 1 => {
                let port = addresses.first().map_or(0, SocketAddr::port);
                write!(formatter, "http://localhost:{port}")
            }
            Self::Tcp(addresses) => addresses.iter().try_for_each(|address| write!(formatter, "http://{address}")),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_is_on_this_machine() {
        for text in ["http://127.0.0.1:8000", "http://localhost:3000", "http://[::1]:1", "unix:/run/app.sock", "unix:a"]
        {
            let address: ApplicationAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(
            "http://127.0.0.1:8000/".parse::<ApplicationAddress>().unwrap().to_string(),
            "http://127.0.0.1:8000"
        );
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, why) in [
            ("", "no URL"),
            ("127.0.0.1:8000", "plain HTTP"),
            ("https://127.0.0.1:8000", "plain HTTP"),
            ("http://127.0.0.1", "no port"),
            ("http://127.0.0.1:8000/app", "a path is not taken"),
            ("http://127.0.0.1:8000?a", "a path is not taken"),
            ("http://169.254.169.254:80", "on this machine"),
            ("http://example.org:80", "on this machine"),
            ("unix:", "names no socket"),
            (&long, "107 bytes"),
        ] {
            let error = text.parse::<ApplicationAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
