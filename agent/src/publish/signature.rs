//! Signatures in minisign's format (<https://jedisct1.github.io/minisign/>).

use std::{env, fs, path::Path};

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use minisign::{PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use zeroize::Zeroizing;

use crate::{documents::Version, fault::Fault};

/// The variable that holds the password of the key, where it has one.
const PASSWORD: &str = "SPOTHOST_SIGN_PASSWORD";

/// Bytes of a secret key (<https://jedisct1.github.io/minisign/#secret-key-format>): algorithms of signature, key derivation and
/// checksum, salt, two limits, the number of the key, the key itself (seed and public key), and the checksum.
const LENGTH: usize = 2 + 2 + 2 + 32 + 8 + 8 + 8 + 64 + 32;
/// Where the algorithm stands that derives from a password what the key is encrypted with; zeros where it is not.
const DERIVATION: std::ops::Range<usize> = 2..4;
/// Where the key stands.
const KEY: std::ops::Range<usize> = 62..126;
/// Bytes of the seed, which is the first half of the key (RFC 8032 §5.1.5).
const SEED: usize = 32;
/// A file that is longer is no key.
const LONGEST: u64 = 64 * 1024;

/// A key that signs packages.
pub struct Signer {
    secret: SecretKey,
    public: PublicKey,
}

/// The content of a file with a secret key.
enum Holds {
    /// The key itself, as `minisign -G -W` writes it.
    Plain(SecretKey),
    /// The key, encrypted with a password.
    Encrypted(SecretKeyBox),
}

impl Signer {
    /// The signer with the secret key in that file, as `minisign -G` makes it, with a password or without (`-W`).
    ///
    /// # Errors
    /// A file that cannot be read or is no secret key; a password that is missing or wrong. All of it is for a person.
    pub fn load(path: &Path) -> Result<Signer, Fault> {
        let password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        Signer::unlocked(path, password.map(Zeroizing::new))
    }

    fn unlocked(path: &Path, password: Option<Zeroizing<String>>) -> Result<Signer, Fault> {
        let doing = || format!("reading the signing key {}", path.display());
        let fault = |(said, remedy): (String, &str)| Fault::operator(doing(), said, remedy);
        let text = read(path).map_err(|said| fault((said, NAME_ONE)))?;
        let secret = match holds(&text).map_err(fault)? {
            Holds::Plain(secret) => secret,
            Holds::Encrypted(boxed) => {
                let missing = || ("it is encrypted, and there is no password".to_owned(), SET_PASSWORD);
                let password = password.ok_or_else(missing).map_err(fault)?;
                let opened = boxed.into_secret_key(Some(password.to_string()));
                opened.map_err(|error| fault((error.to_string(), SET_PASSWORD)))?
            }
        };
        let public = PublicKey::from_secret_key(&secret).map_err(|error| fault((error.to_string(), NAME_ONE)))?;
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

/// What would cure a file that is no secret key.
const NAME_ONE: &str = "name the secret key that `minisign -G` has written, mostly ~/.minisign/minisign.key";
/// What would cure an encrypted key without its password.
const SET_PASSWORD: &str =
    "set SPOTHOST_SIGN_PASSWORD to the password of the key, or take one without (`minisign -G -W`)";

/// The text of a file that can be a key.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LONGEST {
        return Err(format!("it has {length} bytes, which no key has"));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string())
}

/// The key in a file with that text; else the fault, and its cure.
///
/// minisign itself writes no checksum into a key that is not encrypted (`-W`), and its library takes none without one. So such a
/// key is held against its own second half, which is the public key.
fn holds(text: &str) -> Result<Holds, (String, &'static str)> {
    let wrong = |said: &str| (said.to_owned(), NAME_ONE);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_comment(line));
    // The last one: who has pasted it into a variable of a CI may have lost the comment, and with it the line breaks.
    let encoded = lines.next_back().ok_or_else(|| wrong("it is empty"))?;
    let bytes = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| wrong("it is no key of minisign, which are in base64"))?;
    if bytes.len() == PUBLIC_LENGTH {
        return Err(wrong("it is a public key; a package is signed with the secret one"));
    }
    if bytes.len() != LENGTH || !bytes.starts_with(b"Ed") {
        return Err(wrong("it is no secret key of minisign"));
    }
    if bytes.get(DERIVATION) != Some(&[0, 0]) {
        return Ok(Holds::Encrypted(SecretKeyBox::from(format!("untrusted comment: \n{encoded}\n"))));
    }
    let damaged = || {
        ("it is damaged: its two halves do not fit each other".to_owned(), "make a new key, or take it from a backup")
    };
    let (seed, public) = bytes.get(KEY).and_then(|key| key.split_at_checked(SEED)).ok_or_else(damaged)?;
    Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| damaged())?;
    SecretKey::from_bytes(&bytes).map(Holds::Plain).map_err(|error| wrong(&error.to_string()))
}

/// Bytes of a public key: algorithm, number and key.
const PUBLIC_LENGTH: usize = 2 + 8 + 32;

fn is_comment(line: &str) -> bool {
    line.to_ascii_lowercase().contains("comment:")
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    // Made by minisign 0.11: `minisign -G -W`, and `minisign -G`, whose password takes a gigabyte to try.
    const PLAIN: &str = "untrusted comment: minisign encrypted secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAuEyrw2wTagX7hEyROLMDLgflvuO+lmpp4f83xherrw1ydfbiO7NnI7YA1QEiBgfRi9L0lbecCy+Cdy4UaKX5pSRjdlnrVHNAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    const PLAIN_PUBLIC: &str = "RWS4TKvDbBNqBbYA1QEiBgfRi9L0lbecCy+Cdy4UaKX5pSRjdlnrVHNA";
    const ENCRYPTED: &str = "untrusted comment: minisign encrypted secret key\nRWRTY0IyJs1pLL9xXEV03CS8vyj8pU/k/TAEkEkFPT+IuAmNEugAAAACAAAAAAAAAEAAAAAABPlBxZbWslOTDpuhDd4QH9b1GV+SIsZYiHCiyjvv2sjpGAG+x8ZnDMwxrsg8cSVkyzBb1ot5zQ6OSl2bTHTAoMtqHpkZxcM7kcWHO++iTLMOQXARofHHu2i/aiAC/+MEsh7YV6LwHDw=\n";

    /// A key with the password "secret word" that takes less, and its public key.
    fn encrypted() -> (String, String) {
        let pair = KeyPair::generate_encrypted_keypair(Some("secret word".to_owned())).expect("a key");
        (pair.sk.to_box(None).expect("a key").into_string(), pair.pk.to_base64())
    }

    fn loaded(text: &str, password: Option<&str>) -> Result<Signer, Fault> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), text).expect("written");
        Signer::unlocked(file.path(), password.map(|password| Zeroizing::new(password.to_owned())))
    }

    #[test]
    fn keys_are_taken_as_people_have_them() {
        let encoded = PLAIN.lines().nth(1).expect("a line");
        let ours = KeyPair::generate_unencrypted_keypair().expect("a key");
        let (ours, public) = (ours.sk.to_box(None).expect("a key").into_string(), ours.pk.to_base64());
        let (encrypted, encrypted_public) = encrypted();
        for (text, password, expected) in [
            (PLAIN.to_owned(), None, PLAIN_PUBLIC),
            // A password that is set for another key does no harm.
            (PLAIN.to_owned(), Some("other"), PLAIN_PUBLIC),
            (PLAIN.replace('\n', "\r\n"), None, PLAIN_PUBLIC),
            (PLAIN.trim_end().to_owned(), None, PLAIN_PUBLIC),
            (format!("\u{feff}{PLAIN}"), None, PLAIN_PUBLIC),
            (format!("\n{PLAIN}\n\n"), None, PLAIN_PUBLIC),
            (format!("untrusted comment: der Schlüssel von www.example.org\n{encoded}"), None, PLAIN_PUBLIC),
            (encoded.to_owned(), None, PLAIN_PUBLIC),
            (ours, None, &*public),
            (encrypted.replace('\n', "\r\n"), Some("secret word"), &*encrypted_public),
        ] {
            let signer = loaded(&text, password).unwrap_or_else(|fault| panic!("{text:?}: {fault}"));
            assert_eq!(signer.public_key(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_usable_key_says_what_to_do() {
        let encoded = PLAIN.lines().nth(1).expect("a line");
        let mut damaged = BASE64_STANDARD.decode(encoded).expect("base64");
        damaged[70] ^= 1;
        let damaged = BASE64_STANDARD.encode(damaged);
        for (text, password, said, remedy) in [
            (ENCRYPTED, None, "there is no password", "SPOTHOST_SIGN_PASSWORD"),
            (&encrypted().0, Some("wrong"), "Wrong password", "SPOTHOST_SIGN_PASSWORD"),
            (PLAIN_PUBLIC, None, "a public key", "minisign -G"),
            (&damaged, None, "damaged", "backup"),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n",
                None,
                "no key of minisign",
                "minisign -G",
            ),
            ("AAAA", None, "no secret key", "minisign -G"),
            ("", None, "empty", "minisign -G"),
            (&"x".repeat(100_000), None, "100000 bytes", "minisign -G"),
        ] {
            let fault = loaded(text, password).err().unwrap_or_else(|| panic!("{text:?} is taken"));
            assert!(fault.said.contains(said), "{text:?}: {fault}");
            assert!(fault.remedy.as_ref().is_some_and(|told| told.contains(remedy)), "{text:?}: {fault}");
        }
        assert!(Signer::load(Path::new("/no/such/key")).is_err_and(|fault| fault.remedy.is_some()));
    }

    #[test]
    fn what_is_signed_can_be_verified_with_the_public_key() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let package = folder.path().join("site.zip");
        fs::write(&package, "content").expect("written");
        let version = "20261121T120000Z-0123456789ab".parse().expect("a version");
        for (key, password) in [(PLAIN, None), (&*encrypted().0, Some("secret word"))] {
            let signer = loaded(key, password).expect("a signer");
            let signature = signer.sign(&package, &version).expect("a signature");
            assert!(signer.has_signed(&signature) && !signer.has_signed("x"));
            let public = PublicKey::from_base64(&signer.public_key()).expect("a public key");
            let signature = SignatureBox::from_string(&signature).expect("a signature");
            assert!(signature.trusted_comment().expect("a comment").contains("site-20261121T120000Z-0123456789ab.zip"));
            let verify = |content: &str| {
                minisign::verify(&public, &signature, std::io::Cursor::new(content), true, false, false)
            };
            assert!(verify("content").is_ok() && verify("Content").is_err());
        }
    }
}
