//! The certificate of a host that has none yet: it lets port 443 answer instead of being dark.

use std::sync::Arc;

use spothost_server::Identity;

use crate::{clock, fault::Fault, place::Name};

/// A self-signed identity for `names`, which lives in memory only.
///
/// # Errors
/// When the names cannot stand in a certificate.
pub fn self_signed(names: &[Name]) -> Result<Arc<Identity>, Fault> {
    let failed = |error: String| Fault::retry("generating the self-signed placeholder", error);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = rcgen::CertificateParams::new(names).map_err(|error| failed(error.to_string()))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "spothost, waiting for its certificate");
    let now = clock::now();
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(7);
    let key = rcgen::KeyPair::generate().map_err(|error| failed(error.to_string()))?;
    let signed = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
    let key = zeroize::Zeroizing::new(key.serialize_pem());
    let identity = Identity::from_pem(&signed.pem(), &key).map_err(|error| failed(error.to_string()))?;
    Ok(Arc::new(identity))
}
