//! TLS as it is spoken here: 1.2 and 1.3, with tickets that rotate and a certificate that can change.

use std::{fmt, sync::Arc};

use tokio::sync::watch;
use tokio_rustls::rustls::{
    Error, ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::identity::Identity;

/// One configuration for all threads, so that a ticket of one is good for the others.
///
/// # Errors
/// If the library of cryptography was built without what TLS needs.
pub(crate) fn configuration(identity: watch::Receiver<Option<Arc<Identity>>>) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Latest(identity)));
    // The protocol follows from this alone, it is never guessed from bytes (RFC 7301).
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => {
            tracing::warn!(%error, "no session tickets: every handshake will be a full one")
        }
    }
    Ok(Arc::new(config))
}

/// The certificate of the latest identity; without one the handshake ends with an alert.
struct Latest(watch::Receiver<Option<Arc<Identity>>>);

impl ResolvesServerCert for Latest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().as_ref().map(|identity| identity.certified.clone())
    }
}

impl fmt::Debug for Latest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Latest")
    }
}
