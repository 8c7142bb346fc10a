//! Signatures in minisign's format (<https://jedisct1.github.io/minisign/>).

use std::{env, fs, path::Path};

use minisign::{PublicKey, SecretKey, SecretKeyBox, SignatureBox};

use super::Version;
use crate::fault::Fault;

/// The variable that holds the password of the key, where it has one.
const PASSWORD: &str = "SPOTHOST_SIGN_PASSWORD";

/// Who signs packages.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

impl Signer {
    /// The signer with the secret key in that file, as `minisign -G` makes it.
    ///
    /// # Errors
    /// A file that cannot be read or is no secret key; a password that is missing or wrong.
    pub fn load(path: &Path) -> Result<Signer, Fault> {
        let doing = || format!("reading the signing key {}", path.display());
        let remedy = format!("name a secret key of minisign, and its password in {PASSWORD} if it has one");
        let fault = |said: &dyn std::fmt::Display| Fault::operator(doing(), said, &*remedy);
        let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
        let boxed = || SecretKeyBox::from_string(&text);
        let secret = match env::var(PASSWORD) {
            Ok(password) => boxed().and_then(|boxed| boxed.into_secret_key(Some(password))),
            Err(_) => boxed().and_then(SecretKeyBox::into_unencrypted_secret_key),
        };
        let secret = secret.map_err(|error| fault(&error))?;
        let public = PublicKey::from_secret_key(&secret).map_err(|error| fault(&error))?;
        Ok(Signer { secret, public })
    }

    /// The signature of the file at `path`, which is the package of that version: a whole signature file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn sign(&self, path: &Path, version: &Version) -> Result<String, Fault> {
        let failed = |said: String| Fault::retry(format!("signing {}", path.display()), said);
        let file = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let trusted = format!("timestamp:{}\tfile:site-{version}.zip\thashed", version.at().unix_timestamp());
        let signed =
            minisign::sign(Some(&self.public), &self.secret, file, Some(&trusted), Some("signature of a site"));
        Ok(signed.map_err(|error| failed(error.to_string()))?.into_string())
    }

    /// Whether a signature was made with this key, by what it says.
    pub(super) fn has_signed(&self, signature: &str) -> bool {
        SignatureBox::from_string(signature).is_ok_and(|signature| signature.keynum() == self.public.keynum())
    }

    /// The public key, as `package_key` of the configuration names it.
    pub fn public_key(&self) -> String {
        self.public.to_base64()
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn what_is_signed_can_be_verified_with_the_public_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (key, package) = (folder.path().join("key"), folder.path().join("site.zip"));
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key");
        fs::write(&key, pair.sk.to_box(None).expect("a key").into_string()).expect("written");
        fs::write(&package, "content").expect("written");
        let signer = Signer::load(&key).expect("a signer");
        let version = "20261121T120000Z-0123456789ab".parse().expect("a version");
        let signature = signer.sign(&package, &version).expect("a signature");
        assert!(signer.has_signed(&signature) && !signer.has_signed("x"));
        let public = PublicKey::from_base64(&signer.public_key()).expect("a public key");
        let signature = SignatureBox::from_string(&signature).expect("a signature");
        assert!(signature.trusted_comment().expect("a comment").contains("site-20261121T120000Z-0123456789ab.zip"));
        let verify =
            |content: &str| minisign::verify(&public, &signature, std::io::Cursor::new(content), true, false, false);
        assert!(verify("content").is_ok() && verify("Content").is_err());
    }

    #[test]
    fn what_is_no_key_is_something_for_a_person() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        assert!(Signer::load(&path).is_err_and(|fault| fault.remedy.is_some()));
        fs::write(&path, "not a key").expect("written");
        assert!(Signer::load(&path).is_err_and(|fault| fault.remedy.is_some()));
    }
}
