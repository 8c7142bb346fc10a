//! Who this host is over TLS.

use std::sync::Arc;

use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// A certificate chain and its private key, ready for TLS. It has no `Debug`, so that no key can be logged.
pub struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a chain (the host's own certificate first) and its key (PKCS #8, SEC 1 or PKCS #1) from PEM.
    ///
    /// # Errors
    /// [`BadIdentity`] if either is no PEM, if there is no certificate, or if the key is not the certificate's.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, BadIdentity> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BadIdentity::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(BadIdentity::Empty);
        }
        // The error is not passed on: it could quote what it read.
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| BadIdentity::Key)?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| BadIdentity::Mismatch(error.to_string()))?;
        Ok(Self { certified: Arc::new(certified) })
    }
}

/// Why a chain and a key are no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// The chain is no PEM.
    #[error("the certificate chain is not valid PEM: {0}")]
    Chain(String),
    /// The chain has no certificate.
    #[error("the certificate chain holds no certificate")]
    Empty,
    /// The key is no PEM, or of no known kind.
    #[error("the private key is not valid PEM of a PKCS #8, SEC 1 or PKCS #1 key")]
    Key,
    /// The certificate cannot be used with the key.
    #[error("the certificate cannot be used with the private key: {0}")]
    Mismatch(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["www.example.org".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_chain_with_its_own_key_is_an_identity() {
        let (chain, key) = pair();
        assert!(Identity::from_pem(&chain, &key).is_ok());
    }

    #[test]
    fn a_chain_with_anything_else_is_refused_with_the_reason() {
        let (chain, key) = pair();
        let (_, other) = pair();
        let refused = |chain: &str, key: &str| Identity::from_pem(chain, key).err().unwrap();
        assert!(matches!(refused(&chain, &other), BadIdentity::Mismatch(_)));
        assert_eq!(refused(&chain, "no key"), BadIdentity::Key);
        assert_eq!(refused("", &key), BadIdentity::Empty);
        assert!(matches!(refused(&chain[..chain.len() / 2], &key), BadIdentity::Chain(_) | BadIdentity::Empty));
    }
}
