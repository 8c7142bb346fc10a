//! The key of a certificate, and the request for one.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use zeroize::Zeroizing;

use crate::{fault::Fault, place::Name};

/// A new key for a certificate: ECDSA P-256, PKCS #8 in PEM.
///
/// # Errors
/// When the machine has no randomness.
pub(super) fn new_key() -> Result<Zeroizing<String>, Fault> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    let key = key.map_err(|error| Fault::retry("making a key", error))?;
    Ok(Zeroizing::new(key.serialize_pem()))
}

/// A request for a certificate for `key` (RFC 2986), in DER. The subject stays empty: names are in the extension.
pub(super) fn request(names: &[Name], key: &str) -> Result<Vec<u8>, Fault> {
    let failed = |error: rcgen::Error| Fault::retry("making the certificate request", error);
    let key = KeyPair::from_pem(key).map_err(failed)?;
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut request = CertificateParams::new(names).map_err(failed)?;
    request.distinguished_name = DistinguishedName::new();
    Ok(request.serialize_request(&key).map_err(failed)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_carries_the_names_and_a_key_of_its_own() {
        let names = ["a.example".parse().expect("a name"), "b.example".parse().expect("a name")];
        let one = new_key().expect("made");
        let two = new_key().expect("made");
        let first = request(&names, &one).expect("made");
        let second = request(&names, &two).expect("made");
        assert!(*one != *two && first != second);
        for name in ["a.example", "b.example"] {
            assert!(first.windows(name.len()).any(|window| window == name.as_bytes()));
        }
    }
}
