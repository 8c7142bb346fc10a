//! The local CA: for laptops and closed networks, where no CA of the world certifies.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

use super::{
    anchor::{Anchor, CERTIFICATE, REPLACED},
    confinement::Confinement,
    document::Issued,
};
use crate::{atomic_file::AtomicFile, clock, fault::Fault, place::Name};

const KEY: &str = "ca-key.pem";

const CA_LIFE: Duration = Duration::days(3650);
/// Leaves are renewed by the same rule as any other, so they may be short.
const LEAF_LIFE: Duration = Duration::days(30);
/// A confined CA is replaced so long before its end: no leaf outlives it.
const REPLACED_BEFORE: Duration = Duration::days(60);
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
        let certificate = folder.join(CERTIFICATE);
        let key = folder.join(KEY);
        if !certificate.exists() {
            make(folder, None).map_err(|error| Fault::operator(doing(), error, "make it writable"))?;
        }
        let unreadable = |error: io::Error| Fault::operator(doing(), error, remedy);
        let pem = fs::read_to_string(&certificate).map_err(unreadable)?;
        let key = fs::read_to_string(&key).map(Zeroizing::new).map_err(unreadable)?;
        let key = KeyPair::from_pem(&key).map_err(|error| Fault::operator(doing(), error, remedy))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| Fault::operator(doing(), error, remedy))?;
        Ok(LocalCa { issuer, pem, path: certificate })
    }

    /// The CA in `folder` that can certify `domain`, its subdomains and the loopback addresses, and nothing else: a CA that a system
    /// may trust. It is made on first use.
    ///
    /// A CA there that can certify more, that is about to expire, or whose key others could read, is replaced: its key is gone,
    /// and its certificate is remembered, so that it can be taken out of the stores that trust it.
    ///
    /// # Errors
    /// What the file system says; files that are not a CA.
    pub fn confined(folder: &Path, domain: &Name, now: OffsetDateTime) -> Result<LocalCa, Fault> {
        let doing = || format!("preparing the local CA in {}", folder.display());
        let unwritable = |error: io::Error| Fault::operator(doing(), error, "make it writable, or say --state-dir");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
        // Sites share the CA: of two that start at once, one makes it. The lock goes with the file.
        let lock = fs::File::open(folder).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        let confinement = Confinement::to(domain);
        if !is_fit(folder, &confinement, now) {
            replace(folder, &confinement).map_err(unwritable)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(unwritable)?;
        LocalCa::open(folder)
    }

    /// Certificate of the CA, to be trusted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Eight hexadecimal digits that no other CA has: the first of the SHA-256 of its certificate in PEM.
    pub fn fingerprint(&self) -> String {
        hex::encode(&Sha256::digest(self.pem.as_bytes())[..4])
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

/// Whether the CA in `folder` is confined so, will outlive its leaves, and has a key that only its owner could read.
fn is_fit(folder: &Path, confinement: &Confinement<'_>, now: OffsetDateTime) -> bool {
    let is_private = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 == 0);
    let Ok(text) = fs::read(folder.join(CERTIFICATE)) else { return false };
    let Some(Ok(pem)) = Pem::iter_from_buffer(&text).next() else { return false };
    let Ok(certificate) = pem.parse_x509() else { return false };
    let end = certificate.validity().not_after.timestamp();
    let outlives_leaves = end > (now + REPLACED_BEFORE).unix_timestamp();
    outlives_leaves && confinement.holds(&certificate) && is_private(&folder.join(KEY))
}

/// Makes a confined CA in the place of the one that `folder` may hold, whose certificate is remembered.
fn replace(folder: &Path, confinement: &Confinement<'_>) -> io::Result<()> {
    let certificate = folder.join(CERTIFICATE);
    match fs::read_to_string(&certificate) {
        Ok(before) => {
            // A file that is no certificate is in no store.
            if matches!(Pem::iter_from_buffer(before.as_bytes()).next(), Some(Ok(pem)) if pem.parse_x509().is_ok()) {
                let replaced = folder.join(REPLACED);
                let earlier = fs::read_to_string(&replaced).unwrap_or_default();
                AtomicFile::at(&replaced).write(format!("{earlier}{before}").as_bytes())?;
            }
            // Without a certificate there is no CA: a crash from here on leaves a folder in which one is to be made.
            fs::remove_file(&certificate)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    make(folder, Some(confinement))
}

fn make(folder: &Path, confinement: Option<&Confinement<'_>>) -> io::Result<()> {
    let mut ca = CertificateParams::default();
    let now = clock::now();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name = rcgen::DistinguishedName::new();
    let mut name = format!("spothost local CA of {}", now.date());
    if let Some(confinement) = confinement {
        name = Anchor::name(folder);
        ca.name_constraints = Some(confinement.constraints());
        // Stores of systems are asked about e-mail and programs, too.
        ca.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }
    ca.distinguished_name.push(DnType::CommonName, name);
    ca.not_before = now - BACKDATED;
    ca.not_after = now + CA_LIFE;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let signed = ca.self_signed(&key).map_err(io::Error::other)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    AtomicFile::at(&folder.join(KEY)).private().write(Zeroizing::new(key.serialize_pem()).as_bytes())?;
    // The certificate last: it says that the CA is complete.
    fs::write(folder.join(CERTIFICATE), signed.pem())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::rustls::{
        self, RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    };

    use super::*;

    fn name(name: &str) -> Name {
        name.parse().expect("a name")
    }

    /// A CA for `domain` in `path`.
    fn confined(path: &Path, domain: &str) -> LocalCa {
        LocalCa::confined(path, &name(domain), clock::now()).expect("a CA")
    }

    /// What rustls says of a certificate for `named` that the key of `ca` has signed.
    fn verified(ca: &LocalCa, named: &str) -> Result<(), rustls::Error> {
        let mut leaf = CertificateParams::new(vec![named.to_owned()]).expect("a name");
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        let signed = leaf.signed_by(&KeyPair::generate().expect("a key"), &ca.issuer).expect("signed");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("PEM")).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("roots");
        let named = ServerName::try_from(named.to_owned()).expect("a name");
        verifier.verify_server_cert(signed.der(), &[], &named, &[], UnixTime::now()).map(|_| ())
    }

    #[test]
    fn confined_ca_certifies_its_domain_and_loopback_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let localhost = confined(&folder.path().join("localhost"), "localhost");
        let named = confined(&folder.path().join("named"), "www.site.example");
        for (ca, accepted, refused) in [
            (&localhost, ["localhost", "127.0.0.1", "::1"], ["www.example.com", "10.0.0.1", "::2"]),
            (&named, ["www.site.example", "127.8.8.8", "a.www.site.example"], ["localhost", "site.example", "8.8.8.8"]),
        ] {
            for named in accepted {
                assert_eq!(verified(ca, named), Ok(()), "{named}");
            }
            for named in refused {
                let said = format!("{:?}", verified(ca, named));
                assert!(said.contains("NameConstraintViolation"), "{named}: {said}");
            }
        }
        let leaf = localhost.issue(&[name("localhost")], clock::now()).expect("issued");
        assert!(leaf.read().is_ok());
    }

    #[test]
    fn ca_that_could_certify_any_name_is_replaced_and_remembered_before_it_is_trusted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca");
        let before = LocalCa::open(&path).expect("made");
        let key = fs::read(path.join(KEY)).expect("a key");
        let after = confined(&path, "localhost");
        assert_ne!(fs::read(path.join(KEY)).expect("a key"), key, "the key of the CA without bounds is gone");
        assert_eq!(confined(&path, "localhost").pem, after.pem, "a fit one is kept");
        let anchor = Anchor::of(&path).expect("readable");
        let der = |ca: &LocalCa| CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("PEM").to_vec();
        assert!(anchor.is_current(&der(&after)) && !anchor.is_current(&der(&before)));
        assert!(anchor.is_of_it(&der(&before)));
        let elsewhere = Anchor::of(&folder.path().join("other")).expect("readable");
        assert!(!elsewhere.is_of_it(&der(&after)) && !elsewhere.is_of_it(&der(&before)));
        fs::remove_dir_all(&path).expect("removed");
        assert!(Anchor::of(&path).expect("readable").is_of_it(&der(&after)), "known by its name");
    }

    #[test]
    fn ca_is_replaced_when_it_expires_when_its_key_was_readable_and_for_another_domain() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ca");
        let mut last = confined(&path, "localhost").pem;
        let mut differs = |what: &str, ca: LocalCa| {
            assert_ne!(ca.pem, last, "{what}");
            last = ca.pem;
        };
        fs::set_permissions(path.join(KEY), fs::Permissions::from_mode(0o644)).expect("set");
        differs("readable", confined(&path, "localhost"));
        differs("another domain", confined(&path, "site.example"));
        let later = clock::now() + CA_LIFE - REPLACED_BEFORE;
        differs("expires", LocalCa::confined(&path, &name("site.example"), later).expect("a CA"));
        assert_eq!(fs::metadata(path.join(KEY)).expect("there").permissions().mode() & 0o777, 0o600);
        let replaced = fs::read_to_string(path.join(REPLACED)).expect("remembered");
        assert_eq!(replaced.matches("BEGIN CERTIFICATE").count(), 3);
    }

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
