//! Signatures in minisign's format (<https://jedisct1.github.io/minisign/>): who may publish packages and programs.

use std::{fmt, fs::File, io, path::Path, str::FromStr};

use aws_lc_rs::digest::{Context, SHA256};
use minisign::{PublicKey, SignatureBox};
use serde::{Deserialize, Serialize};

use super::lenient;

/// One public key, as `minisign -G` prints it: its base64 line.
#[derive(Clone, Debug)]
pub struct PackageKey(PublicKey);

impl FromStr for PackageKey {
    type Err = String;

    fn from_str(text: &str) -> Result<PackageKey, String> {
        let wrong = |error| format!("`{text}` is not the base64 line of a minisign public key: {error}");
        PublicKey::from_base64(text.trim()).map(PackageKey).map_err(wrong)
    }
}

/// What a package was signed with, and who had to have signed it, when it was refused for its signature: signed anew, or
/// where others may publish, that refusal does not hold.
///
/// One that is not understood is the same as no other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Hash of its signature, or that it has none.
    #[serde(default, deserialize_with = "lenient")]
    signature: String,
    /// Hash of the keys of the host that refused it.
    #[serde(default, deserialize_with = "lenient")]
    keys: String,
}

impl Signed {
    /// What the package with that signature is to a host with those keys.
    pub fn of(signature: Option<&str>, keys: &[PackageKey]) -> Signed {
        let mut sorted: Vec<_> = keys.iter().map(|key| key.0.to_base64()).collect();
        sorted.sort_unstable();
        Signed { signature: hash(signature), keys: hash(Some(&sorted.join("\n"))) }
    }

    /// Whether it is about that signature, or about its absence.
    pub fn has(&self, signature: Option<&str>) -> bool {
        self.signature == hash(signature)
    }
}

/// The SHA-256 of a text in hexadecimal digits; none of none.
fn hash(text: Option<&str>) -> String {
    let Some(text) = text else { return "none".to_owned() };
    let mut hash = Context::new(&SHA256);
    hash.update(text.as_bytes());
    hex::encode(hash.finish())
}

/// Why a file does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// There is no signature, and there has to be one.
    Missing,
    /// The text is no signature.
    Malformed(String),
    /// It is in minisign's legacy format, for which the whole file would have to be in memory.
    Legacy,
    /// It is the signature of another key, or of another file.
    OfNoKey(String),
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsigned::Missing => f.write_str("it is not signed"),
            Unsigned::Malformed(why) => write!(f, "its signature cannot be read: {why}"),
            Unsigned::Legacy => {
                f.write_str("its signature is in the legacy format; sign with minisign 0.10 or later, without -l")
            }
            Unsigned::OfNoKey(why) => write!(f, "its signature is of no key of the configuration: {why}"),
        }
    }
}

/// Whether one of `keys` has signed the file at `path`; `signature` is the text of a `.minisig` file. Blocking, with bounded
/// memory.
///
/// # Errors
/// That the file cannot be read.
pub fn verify(path: &Path, signature: Option<&str>, keys: &[PackageKey]) -> io::Result<Result<(), Unsigned>> {
    let Some(signature) = signature else { return Ok(Err(Unsigned::Missing)) };
    let signature = match SignatureBox::from_string(signature) {
        Ok(signature) => signature,
        Err(error) => return Ok(Err(Unsigned::Malformed(error.to_string()))),
    };
    if !signature.is_prehashed() {
        return Ok(Err(Unsigned::Legacy));
    }
    let mut why = "no key".to_owned();
    for key in keys {
        match minisign::verify(&key.0, &signature, File::open(path)?, true, false, false) {
            Ok(()) => return Ok(Ok(())),
            Err(error) if matches!(error.kind(), minisign::ErrorKind::Io) => return Err(io::Error::other(error)),
            Err(error) => why = error.to_string(),
        }
    }
    Ok(Err(Unsigned::OfNoKey(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // A key and its signature of the word "test".
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    fn checked(content: &str, signature: Option<&str>, keys: &[&str]) -> Result<(), Unsigned> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), content).expect("written");
        let keys: Vec<PackageKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
        verify(file.path(), signature, &keys).expect("readable")
    }

    #[test]
    fn refusal_for_a_signature_is_about_that_one_and_those_keys() {
        let other = "RWRxoOxzDoUKpSBIRW3kNUSDV3wBAmJFOHBVC8GTJo8UAJVZgx6hdNuk";
        let of = |signature, keys: &[&str]| {
            Signed::of(signature, &keys.iter().map(|key| key.parse().expect("a key")).collect::<Vec<PackageKey>>())
        };
        let table = [
            (of(Some("a"), &[KEY]), true),
            (of(Some("b"), &[KEY]), false),
            (of(None, &[KEY]), false),
            (of(Some("a"), &[other]), false),
            (of(Some("a"), &[KEY, other]), false),
        ];
        for (signed, same) in table {
            assert_eq!(signed == of(Some("a"), &[KEY]), same, "{signed:?}");
        }
        assert_eq!(of(None, &[KEY, other]), of(None, &[other, KEY]), "in any order");
        assert!(of(Some("a"), &[KEY]).has(Some("a")) && !of(Some("a"), &[KEY]).has(None));
    }

    #[test]
    fn signed_is_what_one_of_the_keys_has_signed() {
        let other = "RWRxoOxzDoUKpSBIRW3kNUSDV3wBAmJFOHBVC8GTJo8UAJVZgx6hdNuk";
        assert_eq!(checked("test", Some(SIGNATURE), &[KEY]), Ok(()));
        assert_eq!(checked("test", Some(SIGNATURE), &[other, KEY]), Ok(()));
        for (content, signature, keys, said) in [
            ("test", None, &[KEY][..], "it is not signed"),
            ("Test", Some(SIGNATURE), &[KEY], "of no key"),
            ("test", Some(SIGNATURE), &[other], "of no key"),
            ("test", Some("nonsense"), &[KEY], "cannot be read"),
        ] {
            let why = checked(content, signature, keys).expect_err(said).to_string();
            assert!(why.contains(said), "{why}");
        }
        assert!("no key".parse::<PackageKey>().is_err());
    }
}
