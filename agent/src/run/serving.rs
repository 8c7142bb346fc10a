//! The servers: their ports, their feeds, and their counters.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spothost_server::{Bound, Bounds, Counters, Identity, Listen, LiveSite, Running, Settings, metrics};
use tokio::{sync::watch, time::timeout};

use super::{Fatal, remembered::Remembered};
use crate::{
    app::Adoption,
    certificate::self_signed,
    config::{Authority, Config},
    listener::Feeds,
    status::{Board, Served},
};

/// How often the counters are copied to the status.
const COUNTED: Duration = Duration::from_secs(5);
/// How long a CA on this host may take to make the first certificate.
const FIRST_CERTIFICATE: Duration = Duration::from_secs(1);
/// Descriptors for everything but visitors: listeners, the disk, AWS, the CA, other hosts, and this host asking itself.
const OTHER_DESCRIPTORS: usize = 256;

/// Copies the counters to the board, now and then.
pub(super) async fn count(counters: Arc<Counters>, board: Board) {
    let mut now = tokio::time::interval(COUNTED);
    loop {
        now.tick().await;
        board.served(Served {
            requests: counters.requests(),
            failed: counters.responses(5),
            bytes: counters.sent(),
            open: counters.open(),
            turned_away: counters.turned_away(),
            cut: counters.cut(),
        });
    }
}

/// The site does not depend on being measured: an address that is not to be had is said, and left.
pub(super) async fn tell_metrics(address: SocketAddr, counters: Arc<Counters>) {
    match metrics::serve(address, counters).await {
        Ok(never) => match never {},
        Err(error) => tracing::error!(%address, %error, "the metrics endpoint of [serve] did not start"),
    }
}

/// Takes the ports: who connects waits from now on.
pub(super) fn bind(config: &Config, mut inherited: Vec<TcpListener>) -> Result<Bound, Fatal> {
    let listen = Listen { http: config.listen.http, https: config.listen.https };
    let bound = Bound::bind_or_use(&listen, &mut inherited).map_err(|error| Fatal(error.to_string()))?;
    for unused in inherited.iter().filter_map(|listener| listener.local_addr().ok()) {
        tracing::warn!(address = %unused, "systemd holds this address, but [listen] does not name it: clients that connect there wait forever");
    }
    Ok(bound)
}

/// The package, certificate and messages that the servers are fed with.
pub(super) struct Fed {
    sites: watch::Receiver<Option<Arc<LiveSite>>>,
    identities: watch::Receiver<Option<Arc<Identity>>>,
}

/// Feeds the servers with the remembered package and certificate. Without a certificate they begin with one that this host makes itself, unless the
/// CA is here, too, and makes a better one as fast. The application of the package is served with it, if it goes on.
pub(super) fn feeds(config: &Config, remembered: Remembered, adoption: &Adoption) -> Result<(Feeds, Fed), Fatal> {
    // What waits for its certificate says so, whatever site it has.
    let certified = remembered.identity.is_some();
    let shown = match remembered.identity {
        Some(identity) => Some(identity),
        None if config.authority == Authority::Internal => None,
        None => Some(placeholder(config)?),
    };
    let (site, sites) = watch::channel(remembered.package.filter(|_| certified).map(|package| adoption.live(&package)));
    let (identity, identities) = watch::channel(shown);
    Ok((Feeds { site, identity }, Fed { sites, identities }))
}

fn placeholder(config: &Config) -> Result<Arc<Identity>, Fatal> {
    self_signed(&config.names()).map_err(|fault| Fatal(fault.to_string()))
}

/// How many descriptors this process may have: as many as it is allowed to, which is often more than it begins with. None where
/// there is no limit.
fn descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // A sandbox may forbid it, and then gives enough.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if raised.is_ok() { limit.maximum } else { limit.current }
}

/// No more connections than leave descriptors for everything else: strangers who use up all of them would keep the host from its
/// disk, from AWS and from asking itself.
fn within_descriptors(bounds: Bounds, descriptors: Option<u64>) -> Bounds {
    let most = descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let left = most.saturating_sub(OTHER_DESCRIPTORS).max(1);
    if left < bounds.connections {
        tracing::warn!(
            connections = left,
            "[limits] connections is {}; for that raise LimitNOFILE",
            bounds.connections
        );
    }
    Bounds { connections: bounds.connections.min(left), ..bounds }
}

/// Waits for the certificate that the CA on this host makes; who connects meanwhile waits, too. Only without one they
/// are shown a placeholder.
pub(super) async fn show_something(config: &Config, shown: &watch::Sender<Option<Arc<Identity>>>) -> Result<(), Fatal> {
    let mut identities = shown.subscribe();
    if timeout(FIRST_CERTIFICATE, identities.wait_for(Option::is_some)).await.is_ok() {
        return Ok(());
    }
    let placeholder = placeholder(config)?;
    shown.send_if_modified(|shown| {
        let none = shown.is_none();
        if none {
            *shown = Some(placeholder);
        }
        none
    });
    Ok(())
}

/// Answers at once, with 503 until there is a site.
pub(super) fn serve(config: &Config, also: Vec<String>, bound: Bound, fed: Fed) -> Result<Running, Fatal> {
    let settings = Settings {
        aliases: config.aliases.iter().map(ToString::to_string).collect(),
        also,
        hsts: config.serve.hsts,
        plain: config.serve.plain,
        access: config.serve.access(),
        application: config.serve.application.clone(),
        application_bounds: config.app.as_ref().map(crate::config::App::bounds).unwrap_or_default(),
        trusted_proxies: config.serve.trust.clone(),
        patience: config.limits.patience(),
        bounds: within_descriptors(config.limits.bounds(), descriptors()),
        ..Settings::new(config.domain.as_str())
    };
    bound.serve(settings, fed.sites, fed.identities).map_err(|error| Fatal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_never_have_the_last_descriptors() {
        let table = [(None, 16_384), (Some(524_288), 16_384), (Some(1024), 768), (Some(100), 1)];
        for (descriptors, expected) in table {
            let bounds = within_descriptors(Bounds::default(), descriptors);
            assert_eq!(bounds.connections, expected, "{descriptors:?}");
        }
    }
}
