//! Keeper: this host answers for the domain, with that site and that certificate.
//!
//! The servers run from the first second on, be it with 503. This keeper hands them the site and the certificate,
//! swapped in without dropping a connection, and yields only once a real request over TLS, with the real name and to
//! the host's own public address, was answered with them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use spothost_server::{Identity, LiveSite};
use tokio::sync::watch;

use crate::{
    aws::Host,
    certificate::Certificate,
    clock::moment,
    fault::{Cause, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    package::Package,
    place::Name,
    probe::{probe, within},
    status::Part,
};

mod inherited;
mod placeholder;

pub(crate) use inherited::packets;
pub use inherited::{APPLICATION_CONNECTION, APPLICATION_LISTENER, Inherited, StoredApplications};
pub(crate) use placeholder::says_so;
pub use placeholder::{Placeholder, PlaceholderState};

/// How often the host asks itself for its site.
const LOOK: Duration = Duration::from_secs(30);
/// A public address that does not answer within this time cannot be reached from here.
const HAIRPIN: Duration = Duration::from_secs(1);
/// A listening address answers at once, or not at all.
const AT_HOME: Duration = Duration::from_secs(5);

/// The proof that this host answers: its own answer for the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answering {
    /// The address that answered.
    pub at: SocketAddr,
    /// Whether that was the public one.
    pub outside: bool,
    /// Entity tag of the package that is served.
    pub release: String,
    /// The leaf certificate that was shown.
    leaf: Vec<u8>,
}

#[cfg(test)]
impl Answering {
    /// That a host was seen to answer with that package.
    pub(crate) fn with(release: &str) -> Answering {
        let at = SocketAddr::from(([192, 0, 2, 7], 443));
        Answering { at, outside: true, release: release.to_owned(), leaf: Vec::new() }
    }
}

/// Where the servers take site and certificate from.
pub struct Feeds {
    /// The site; none answers 503.
    pub site: watch::Sender<Option<Arc<LiveSite>>>,
    /// The certificate.
    pub identity: watch::Sender<Option<Arc<Identity>>>,
}

/// Keeper of the answer.
pub struct Listener {
    domain: Name,
    https: SocketAddr,
    feeds: Option<Feeds>,
    packages: Kept<Package>,
    certificates: Kept<Certificate>,
    host: Option<Kept<Host>>,
    fed: (Option<Package>, Option<Certificate>),
    /// Whether the site has answered before. Until then the host does not, while the application of its package is down: the names
    /// move only to a host whose application answers. They do not leave one whose application ends later.
    has_answered: bool,
}

/// One look at this host's own answer.
pub enum ListenerObservation {
    /// The servers have not been handed what is held by now.
    Behind,
    /// They have, but something is still missing before they can be asked.
    Incomplete(&'static str),
    /// They were asked.
    Asked(Result<Answering, Fault>),
}

/// The package and certificate that the servers should get, in words.
pub struct Swap(String);

impl Listener {
    /// Feeds the servers that listen on `https`; `host` is none where there is no public address. Without `feeds` another
    /// process runs the servers, and it is taken for granted that they have what is held.
    pub fn new(
        domain: Name,
        https: SocketAddr,
        feeds: Option<Feeds>,
        packages: Kept<Package>,
        certificates: Kept<Certificate>,
        host: Option<Kept<Host>>,
    ) -> Listener {
        Listener { domain, https, feeds, packages, certificates, host, fed: (None, None), has_answered: false }
    }

    fn wanted(&self) -> (Option<Package>, Option<Certificate>) {
        (self.packages.borrow().clone(), self.certificates.borrow().clone())
    }

    /// Where the host is to be asked, and whether that is a public address: a host that gets its only one as an Elastic IP
    /// has none before, and is asked at its private one.
    fn own(&self) -> Option<(IpAddr, bool)> {
        let host = self.host.as_ref()?.borrow();
        let host = host.as_ref()?;
        let private = || host.private.map(|ip| (IpAddr::V4(ip), false));
        host.public().map(|ip| (ip, true)).or_else(private)
    }

    async fn ask(&self, package: &Package, certificate: &Certificate) -> Result<Answering, Fault> {
        let home = reachable(self.https);
        let inside = within(AT_HOME, home, probe(home, &self.domain, &certificate.leaf));
        let Some((ip, outside)) = self.own() else {
            return inside.await.map(|()| self.answering(home, false, package, certificate));
        };
        let own = SocketAddr::new(ip, self.https.port());
        let there = within(HAIRPIN, own, probe(own, &self.domain, &certificate.leaf));
        let (inside, there) = tokio::join!(inside, there);
        match (there, inside) {
            (Ok(()), _) => Ok(self.answering(own, outside, package, certificate)),
            // Where hairpin traffic is not possible, nothing is heard from the public address at all. And where strangers have
            // all the connections there are, this host still answers itself.
            (Err(unreached), Ok(())) if matches!(unreached.cause, Cause::Silence | Cause::Full) => {
                tracing::debug!(fault = %unreached, "the public address cannot be reached from here");
                Ok(self.answering(home, false, package, certificate))
            }
            (Err(fault), Ok(())) | (_, Err(fault)) => Err(fault),
        }
    }

    fn answering(&self, at: SocketAddr, outside: bool, package: &Package, certificate: &Certificate) -> Answering {
        Answering { at, outside, release: package.release.etag.clone(), leaf: certificate.leaf.clone() }
    }
}

impl Keeper for Listener {
    type Observation = ListenerObservation;
    type Drift = Swap;
    type Held = Answering;
    const PART: Part = Part::Listener;
    const NEEDS: &'static [Part] = &[Part::Package, Part::Certificate];

    fn pace(&self) -> Pace {
        Pace {
            look: LOOK,
            observe: Duration::from_secs(10),
            converge: Duration::from_secs(5),
            longest_pause: Duration::from_secs(5),
        }
    }

    async fn woken(&mut self) {
        let host = async {
            match &mut self.host {
                Some(host) => {
                    let _ = host.changed().await;
                }
                None => std::future::pending().await,
            }
        };
        let awaited = self.fed.0.as_ref().filter(|package| package.live.awaits_application()).map(|of| of.live.clone());
        let application = async {
            match awaited {
                Some(live) => live.application_is_up().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.packages.changed() => {}
            _ = self.certificates.changed() => {}
            () = application => {}
            () = host => {}
        }
    }

    async fn observe(&mut self) -> Result<ListenerObservation, Fault> {
        if self.feeds.is_none() {
            self.fed = self.wanted();
        }
        if self.fed != self.wanted() {
            return Ok(ListenerObservation::Behind);
        }
        Ok(match &self.fed {
            (None, None) => ListenerObservation::Incomplete("the package and the certificate"),
            (None, Some(_)) => ListenerObservation::Incomplete("the package"),
            (Some(_), None) => ListenerObservation::Incomplete("the certificate"),
            (Some(package), Some(_)) if !self.has_answered && package.live.awaits_application() => {
                ListenerObservation::Incomplete("the application")
            }
            (Some(package), Some(certificate)) => {
                let asked = self.ask(package, certificate).await;
                self.has_answered |= asked.is_ok();
                ListenerObservation::Asked(asked)
            }
        })
    }

    fn judge(&self, seen: ListenerObservation) -> Judgement<Answering, Swap> {
        match seen {
            ListenerObservation::Incomplete(need) => Judgement::Waits(need.to_owned()),
            ListenerObservation::Asked(Ok(answering)) => Judgement::Kept(answering),
            ListenerObservation::Asked(Err(fault)) => Judgement::Refused(fault),
            ListenerObservation::Behind => {
                let (package, certificate) = self.wanted();
                let release = package.map(|package| format!("{} {}", package.release.key, package.release.etag));
                let until = certificate
                    .map(|certificate| format!("the certificate until {}", moment(certificate.life.not_after)));
                let parts: Vec<_> = release.into_iter().chain(until).collect();
                Judgement::Drifted { drift: Swap(parts.join(" with ")), meanwhile: None }
            }
        }
    }

    async fn converge(&mut self, _: Swap) -> Result<(), Fault> {
        let wanted = self.wanted();
        let Some(feeds) = &self.feeds else { return Ok(()) };
        if let Some(certificate) = &wanted.1 {
            feeds.identity.send_replace(Some(certificate.identity.clone()));
        }
        // Browsers refuse a site behind an untrusted certificate: until a trusted one is there, visitors get 503 with `Retry-After`.
        if let (Some(package), Some(_)) = &wanted {
            feeds.site.send_replace(Some(package.live.clone()));
        }
        self.fed = wanted;
        Ok(())
    }

    fn holding(held: &Answering) -> String {
        let seen = if held.outside { "seen from outside" } else { "seen from inside" };
        format!("{} answers with {}, {seen}", held.at, held.release.trim_matches('"'))
    }

    fn drifting(drift: &Swap) -> String {
        format!("serving {}", drift.0)
    }
}

/// Where a listener on `address` can be reached from this host.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // A listener on [::] hears IPv4 as well, which every host has.
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip == Ipv6Addr::LOCALHOST => IpAddr::V6(ip),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_on_every_address_is_reached_at_home() {
        let table = [
            ("[::]:443", "127.0.0.1:443"),
            ("0.0.0.0:443", "127.0.0.1:443"),
            ("192.0.2.1:8443", "192.0.2.1:8443"),
            ("[::1]:1", "[::1]:1"),
        ];
        for (address, expected) in table {
            assert_eq!(reachable(address.parse().expect(address)).to_string(), expected);
        }
    }
}
