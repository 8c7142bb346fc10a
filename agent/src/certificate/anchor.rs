//! A local CA as trust stores know it: its certificate, and those of the CAs before it.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use x509_parser::{
    pem::Pem,
    prelude::{FromDer as _, X509Certificate},
};

/// File of the CA's certificate in its folder.
pub(super) const CERTIFICATE: &str = "ca.pem";
/// File with the certificates of the CAs that were replaced, whose keys are gone.
pub(super) const REPLACED: &str = "replaced.pem";

/// Octets of a file with certificates at most; more is not a local CA's.
const LARGEST: u64 = 256 << 10;

/// The certificates of the local CA in one folder: the one to trust, and the replaced ones, which nothing must trust any more.
#[derive(Clone, Debug)]
pub struct Anchor {
    /// Common name of the CA's certificate, which no CA in another folder has.
    pub name: String,
    /// Path of the CA's certificate, in PEM.
    pub path: PathBuf,
    /// The CA's certificate in DER; none where the folder holds no CA.
    pub current: Option<Vec<u8>>,
    /// Certificates in DER of the CAs that this one has replaced.
    replaced: Vec<Vec<u8>>,
}

impl Anchor {
    /// The certificates in `folder`, which need not exist.
    ///
    /// # Errors
    /// What the file system says; a file that is no PEM.
    pub fn of(folder: &Path) -> io::Result<Anchor> {
        let path = folder.join(CERTIFICATE);
        let current = certificates(&path)?.into_iter().next();
        Ok(Anchor { name: Anchor::name(folder), path, current, replaced: certificates(&folder.join(REPLACED))? })
    }

    /// The common name of a CA in `folder`: the same for each CA that is ever made there, and another in each other folder.
    pub(super) fn name(folder: &Path) -> String {
        let digest = Sha256::digest(folder.as_os_str().as_bytes());
        format!("spothost local CA {}", hex::encode(&digest[..4]))
    }

    /// Whether `der` is the certificate to trust.
    pub fn is_current(&self, der: &[u8]) -> bool {
        self.current.as_deref() == Some(der)
    }

    /// Whether `der` is a certificate of a CA that this folder holds or held.
    ///
    /// A CA that was removed together with its folder is known by its name.
    pub fn is_of_it(&self, der: &[u8]) -> bool {
        self.is_current(der) || self.replaced.iter().any(|replaced| replaced == der) || self.is_named_so(der)
    }

    fn is_named_so(&self, der: &[u8]) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
        let mut names = certificate.subject().iter_attributes();
        let is_so = names.next().is_some_and(|name| name.as_str().is_ok_and(|name| name == self.name));
        is_so && names.next().is_none() && certificate.subject() == certificate.issuer()
    }
}

/// The certificates in the PEM file at `path`, in DER; none where there is no such file.
fn certificates(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if size > LARGEST {
        return Err(io::Error::other(format!("{} is larger than {LARGEST} octets", path.display())));
    }
    let text = fs::read(path)?;
    let parts: Result<Vec<_>, _> = Pem::iter_from_buffer(&text).map(|pem| pem.map(|pem| pem.contents)).collect();
    parts.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}
