//! A host that has no certificate yet says so, instead of being dark.
//!
//! The servers answer 503 with `Retry-After` behind a certificate that this host has made itself. Once the CA or the vault
//! has failed it, that is better than a name without an address, which resolvers remember for as long as the zone says
//! (RFC 2308 §5): so it is told, and whoever keeps the address leads people here if they are led to nobody else.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::sync::watch;

use super::{AT_HOME, HAIRPIN, reachable};
use crate::{
    aws::Host,
    certificate::Certificate,
    fault::Cause,
    keeper::{Ended, Kept, Yield},
    place::Name,
    probe::{self, within},
};

/// After how long a host that did not say what it waits for is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// This host has no certificate, and was seen to say that it waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting;

/// Watches whether this host waits for its first certificate and says so at `https`, the public address first where it has
/// one; until nobody wants to know any more.
pub async fn watch_waiting(
    (domain, https): (Name, SocketAddr),
    host: Kept<Host>,
    mut certificates: Yield<Certificate>,
    yields: watch::Sender<Option<Waiting>>,
) {
    loop {
        // A try to have one has failed, and no later one went well.
        let failed = *certificates.ended.borrow_and_update() == Ended::Failed;
        let waits = certificates.held.borrow_and_update().is_none() && failed;
        let public = host.borrow().as_ref().and_then(Host::public);
        let says = waits && (yields.borrow().is_some() || says_so(&domain, https, public).await);
        let now = says.then_some(Waiting);
        yields.send_if_modified(|told| std::mem::replace(told, now) != now);
        let missed = waits && !says;
        tokio::select! {
            Ok(()) = certificates.held.changed() => {}
            Ok(()) = certificates.ended.changed(), if !missed => {}
            () = tokio::time::sleep(AGAIN), if missed => {}
            () = yields.closed() => return,
            else => return,
        }
    }
}

async fn says_so(domain: &Name, https: SocketAddr, public: Option<IpAddr>) -> bool {
    let home = reachable(https);
    if within(AT_HOME, home, probe::waits(home, domain)).await.is_err() {
        return false;
    }
    let Some(public) = public.map(|ip| SocketAddr::new(ip, https.port())) else { return true };
    match within(HAIRPIN, public, probe::waits(public, domain)).await {
        Ok(()) => true,
        // Where hairpin traffic is not possible, nothing is heard from the public address at all.
        Err(fault) => matches!(fault.cause, Cause::Silence | Cause::Full),
    }
}
