//! Keeper: a host that has no certificate yet says so, instead of being dark.
//!
//! The servers answer 503 with `Retry-After` behind a certificate that this host has made itself. Once the CA or the vault
//! has failed it, that is better than a name without an address, which resolvers remember for as long as the zone says
//! (RFC 2308 §5): so it is told, and the keeper of the route leads people here if they are led to no other host.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{AT_HOME, HAIRPIN, reachable};
use crate::{
    aws::Host,
    certificate::Certificate,
    fault::{Cause, Fault},
    keeper::{Ended, Judgement, Keeper, Kept, Pace, Yield},
    place::Name,
    probe::{self, within},
    status::Part,
};

/// After how long a host that did not say what it waits for is asked again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a certificate; that it comes is a reason to look at once.
const LOOK: Duration = Duration::from_secs(60);

/// Whether this host has no certificate, and was seen to say that it waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceholderState {
    /// It has one, or may soon have.
    No,
    /// It says that it waits.
    Says,
}

/// Whether `waiting` says that this host waits for its certificate.
pub(crate) fn says_so(waiting: &Kept<PlaceholderState>) -> bool {
    *waiting.borrow() == Some(PlaceholderState::Says)
}

/// Keeper of what a host without a certificate says.
pub struct Placeholder {
    domain: Name,
    https: SocketAddr,
    host: Kept<Host>,
    certificates: Yield<Certificate>,
    /// Whether it was seen to say so since it has had to.
    said: bool,
}

impl Placeholder {
    /// Watches whether this host waits for its first certificate and says so at `https`, the public address first where it has
    /// one.
    pub fn new(domain: Name, https: SocketAddr, host: Kept<Host>, certificates: Yield<Certificate>) -> Placeholder {
        Placeholder { domain, https, host, certificates, said: false }
    }

    async fn ask(&self) -> Result<(), Fault> {
        let home = reachable(self.https);
        within(AT_HOME, home, probe::waits(home, &self.domain)).await?;
        let public: Option<IpAddr> = self.host.borrow().as_ref().and_then(Host::public);
        let Some(public) = public.map(|ip| SocketAddr::new(ip, self.https.port())) else { return Ok(()) };
        match within(HAIRPIN, public, probe::waits(public, &self.domain)).await {
            // Where hairpin traffic is not possible, nothing is heard from the public address at all.
            Err(fault) if !matches!(fault.cause, Cause::Silence | Cause::Full) => Err(fault),
            _ => Ok(()),
        }
    }
}

impl Keeper for Placeholder {
    type Observation = Result<PlaceholderState, Fault>;
    type Drift = std::convert::Infallible;
    type Held = PlaceholderState;
    const PART: Part = Part::Placeholder;
    const NEEDS: &'static [Part] = &[Part::Certificate];
    // What a host says that has no certificate is seen of those that run.
    const CHECKED: bool = false;

    fn pace(&self) -> Pace {
        Pace { look: LOOK, observe: Duration::from_secs(10), converge: Duration::ZERO, longest_pause: AGAIN }
    }

    async fn woken(&mut self) {
        self.certificates.changed().await;
    }

    async fn observe(&mut self) -> Result<Self::Observation, Fault> {
        // A try to have one has failed, and no later one went well.
        let failed = *self.certificates.ended.borrow_and_update() == Ended::Failed;
        let waits = self.certificates.held.borrow_and_update().is_none() && failed;
        if !waits {
            self.said = false;
            return Ok(Ok(PlaceholderState::No));
        }
        if !self.said {
            if let Err(fault) = self.ask().await {
                return Ok(Err(fault));
            }
            self.said = true;
        }
        Ok(Ok(PlaceholderState::Says))
    }

    fn judge(&self, seen: Self::Observation) -> Judgement<PlaceholderState, Self::Drift> {
        match seen {
            Ok(waiting) => Judgement::Kept(waiting),
            Err(fault) => Judgement::Unseen { held: PlaceholderState::No, fault },
        }
    }

    async fn converge(&mut self, drift: Self::Drift) -> Result<(), Fault> {
        match drift {}
    }

    fn holding(held: &PlaceholderState) -> String {
        match held {
            PlaceholderState::No => "nothing to say".to_owned(),
            PlaceholderState::Says => "visitors are told that this host waits for its certificate".to_owned(),
        }
    }

    fn drifting(drift: &Self::Drift) -> String {
        match *drift {}
    }
}
