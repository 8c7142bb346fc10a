//! The same proxy in front of the CA, over TLS.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::uri::Scheme;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{Call, Relay, Rule};
use crate::{World, connection};

/// A proxy in front of the CA for one host; cheap to clone.
///
/// It passes `Host` on, so that the URLs in the CA's directory lead back through it.
#[derive(Clone, Debug)]
pub struct AcmeProxy {
    address: SocketAddr,
    relay: Arc<Relay>,
    folder: Arc<TempDir>,
}

impl AcmeProxy {
    /// Starts one in front of the shared world's CA, with an authority of its own.
    ///
    /// # Panics
    /// When its certificate cannot be made.
    pub async fn start() -> AcmeProxy {
        let world = World::shared();
        AcmeProxy::before(world.acme(), &world.acme_authority()).await
    }

    /// Starts one in front of the CA at `upstream`, whose own HTTPS that authority (PEM) certified.
    ///
    /// # Panics
    /// When its certificate cannot be made.
    pub async fn before(upstream: SocketAddr, certified: &Path) -> AcmeProxy {
        let relay = Relay::new(Scheme::HTTPS, upstream, connection::roots(certified));
        let folder = TempDir::new().expect("a temporary folder");
        let (authority, tls) = identity();
        fs::write(folder.path().join("roots.pem"), authority).expect("a file in a temporary folder");
        let address = connection::serve(relay.clone(), Some(tls)).await;
        AcmeProxy { address, relay, folder: Arc::new(folder) }
    }

    /// What `[acme] directory` is to say.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// What `[acme] roots` is to say.
    pub fn roots(&self) -> PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// Adds a rule; of several that fit a call the first that is left decides.
    pub fn add(&self, rule: Rule) {
        self.relay.state().rules.add(rule);
    }

    /// Lifts every rule.
    pub fn lift(&self) {
        self.relay.state().rules.lift();
    }

    /// Whether every rule has met as many calls as it was for.
    pub fn rules_are_spent(&self) -> bool {
        self.relay.state().rules.are_spent()
    }

    /// Lets every call take so much longer.
    pub fn delay(&self, delay: Duration) {
        self.relay.state().delay = delay;
    }

    /// Every call so far that has ended.
    pub fn calls(&self) -> Vec<Call> {
        self.relay.state().calls.clone()
    }

    /// How many calls of that resource (`newOrder`, `finalize`, …) were answered with success.
    pub fn accepted(&self, resource: &str) -> usize {
        let accepted = |call: &&Call| call.status.is_some_and(|status| status < 300);
        self.calls().iter().filter(|call| call.operation == resource).filter(accepted).count()
    }
}

fn identity() -> (String, ServerConfig) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("valid names").signed_by(&key, &authority).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key);
    let mut config = config.expect("a certificate that fits its key");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (authority.pem(), config)
}
