//! The local CA: for laptops and closed networks, where no CA of the world certifies.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::document::Issued;
use crate::{atomic_file::AtomicFile, clock, fault::Fault, place::Name};

const CA_LIFE: Duration = Duration::days(3650);
/// Leaves are renewed by the same rule as any other, so they may be short.
const LEAF_LIFE: Duration = Duration::days(30);
/// A leaf is valid from a little before now, for the clocks of others.
const BACKDATED: Duration = Duration::hours(1);

/// A CA whose key lies in a folder that only its owner can read.
pub struct LocalCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    path: PathBuf,
}

impl LocalCa {
    /// The CA in `folder`, made on first use.
    ///
    /// # Errors
    /// What the file system says; files that are not a CA.
    pub fn open(folder: &Path) -> Result<LocalCa, Fault> {
        let doing = || format!("opening the local CA in {}", folder.display());
        let remedy = "remove the folder, and trust the CA that is then made anew";
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca-key.pem"));
        if !certificate.exists() {
            make(folder, &certificate, &key).map_err(|error| Fault::operator(doing(), error, "make it writable"))?;
        }
        let unreadable = |error: io::Error| Fault::operator(doing(), error, remedy);
        let pem = fs::read_to_string(&certificate).map_err(unreadable)?;
        let key = fs::read_to_string(&key).map(Zeroizing::new).map_err(unreadable)?;
        let key = KeyPair::from_pem(&key).map_err(|error| Fault::operator(doing(), error, remedy))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| Fault::operator(doing(), error, remedy))?;
        Ok(LocalCa { issuer, pem, path: certificate })
    }

    /// Certificate of the CA, to be trusted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Issues a certificate for `names` with a key of its own.
    ///
    /// # Errors
    /// When the names cannot stand in a certificate.
    pub fn issue(&self, names: &[Name], now: OffsetDateTime) -> Result<Issued, Fault> {
        let failed = |error: rcgen::Error| Fault::retry("issuing a certificate", error);
        let mut wanted: Vec<String> = names.iter().map(ToString::to_string).collect();
        if wanted.iter().any(|name| name == "localhost") {
            wanted.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
        }
        let mut leaf = CertificateParams::new(wanted).map_err(failed)?;
        leaf.not_before = now - BACKDATED;
        leaf.not_after = now + LEAF_LIFE;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyPair::generate().map_err(failed)?;
        let signed = leaf.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = format!("{}{}", signed.pem(), self.pem);
        let key = Zeroizing::new(key.serialize_pem());
        Ok(Issued { directory: "internal".to_owned(), profile: None, chain, key, renewal: None })
    }
}

fn make(folder: &Path, certificate: &Path, key_path: &Path) -> io::Result<()> {
    let mut ca = CertificateParams::default();
    let now = clock::now();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, format!("spothost local CA of {}", now.date()));
    ca.not_before = now - BACKDATED;
    ca.not_after = now + CA_LIFE;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let signed = ca.self_signed(&key).map_err(io::Error::other)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    AtomicFile::at(key_path).private().write(Zeroizing::new(key.serialize_pem()).as_bytes())?;
    // The certificate last: it says that the CA is complete.
    fs::write(certificate, signed.pem())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn ca_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca");
        let first = LocalCa::open(&path).expect("made");
        let second = LocalCa::open(&path).expect("opened");
        assert_eq!(first.pem, second.pem);
        let mode = |name: &str| fs::metadata(path.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode("ca-key.pem"), 0o600);
        assert_eq!(mode("") & 0o077, 0);
    }

    #[test]
    fn ca_that_was_damaged_is_something_for_a_person() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca");
        LocalCa::open(&path).expect("made");
        fs::write(path.join("ca-key.pem"), "nonsense").expect("written");
        assert!(LocalCa::open(&path).is_err());
    }
}
