//! A server under test.

use std::{net::SocketAddr, num::NonZero, sync::Arc, time::Duration};

use bytes::Bytes;
use spothost_server::{Bound, Drained, Identity, Listen, LiveSite, PackageLimits, Running, ServeError, Settings, Site};
use tokio::sync::watch;

use crate::{
    handler::{Working, Works},
    package::Package,
};

pub(crate) struct Server {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) site: watch::Sender<Option<Arc<LiveSite>>>,
    pub(crate) identity: watch::Sender<Option<Arc<Identity>>>,
    /// The certificate, to be trusted by clients.
    pub(crate) certificate: String,
    running: Running,
}

pub(crate) const DOMAIN: &str = "www.example.org";

impl Server {
    /// Serves the example package with patient defaults.
    pub(crate) fn start() -> Self {
        Self::with(Package::example(), |_| {})
    }

    /// Serves `package` with other settings.
    pub(crate) fn with(package: Vec<u8>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let server = Self::without_site(adjust);
        server.publish(site(package));
        server
    }

    pub(crate) fn without_site(adjust: impl FnOnce(&mut Settings)) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let bound = Bound::bind(&Listen { http: any, https: any }).unwrap();
        Self::on(bound, adjust)
    }

    pub(crate) fn on(bound: Bound, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::answering(bound, adjust, |bound, settings, sites, identities| bound.serve(settings, sites, identities))
    }

    /// Has a handler answer.
    pub(crate) fn handled_by(works: Arc<Works>, adjust: impl FnOnce(&mut Settings)) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let bound = Bound::bind(&Listen { http: any, https: any }).unwrap();
        Self::answering(bound, adjust, |bound, settings, _, identities| {
            bound.serve_with(settings, Arc::new(Working(works)), identities)
        })
    }

    fn answering(
        bound: Bound,
        adjust: impl FnOnce(&mut Settings),
        serve: impl FnOnce(
            Bound,
            Settings,
            watch::Receiver<Option<Arc<LiveSite>>>,
            watch::Receiver<Option<Arc<Identity>>>,
        ) -> Result<Running, ServeError>,
    ) -> Self {
        let mut settings = Settings::new(DOMAIN);
        settings.aliases = vec!["example.org".into()];
        settings.threads = NonZero::new(2);
        adjust(&mut settings);
        let (http, https) = (bound.http(), bound.https());
        let (chain, key) = identity();
        let (site, sites) = watch::channel(None);
        let (identity, identities) = watch::channel(Some(Arc::new(Identity::from_pem(&chain, &key).unwrap())));
        let running = serve(bound, settings, sites, identities).unwrap();
        Self { http, https, site, identity, certificate: chain, running }
    }

    /// Serves this site from now on.
    pub(crate) fn publish(&self, site: Arc<Site>) {
        self.site.send_replace(Some(Arc::new(LiveSite::new(site))));
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    pub(crate) async fn drain(self, soft: u64, hard: u64) -> Drained {
        self.running.drain(Duration::from_millis(soft), Duration::from_millis(hard)).await
    }
}

/// A site from a package that must be good.
pub(crate) fn site(package: Vec<u8>) -> Arc<Site> {
    let site = Site::from_bytes(Bytes::from(package), &PackageLimits::default()).unwrap();
    site.verify().unwrap();
    Arc::new(site)
}

/// A new certificate and its key.
pub(crate) fn identity() -> (String, String) {
    let names = [DOMAIN.to_owned(), "example.org".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
