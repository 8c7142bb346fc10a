//! Who may publish: signatures in minisign's format (<https://jedisct1.github.io/minisign/>).

use std::{fs::File, path::Path, str::FromStr};

use minisign::{PublicKey, SignatureBox};

/// What is said of a signature by somebody else.
const NO_KEY: &str = "its signature is of no key of the configuration";

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

/// Whether the file at `path` is signed by one of `keys`; `signature` is the text of a `.minisig` file. Blocking, with
/// bounded memory.
///
/// # Errors
/// In words, why it does not count as signed.
pub(super) fn verify(path: &Path, signature: Option<&str>, keys: &[PackageKey]) -> Result<(), String> {
    if keys.is_empty() {
        return Ok(());
    }
    let signature = signature.ok_or("it is not signed, and the configuration has a `package_key`")?;
    signed_by(path, signature, keys)
        .map_err(|said| said.replace(NO_KEY, "its signature is of no `package_key` of the configuration"))
}

/// Whether one of `keys` has signed the file at `path`; blocking, with bounded memory.
///
/// # Errors
/// In words, why not.
pub(crate) fn signed_by(path: &Path, signature: &str, keys: &[PackageKey]) -> Result<(), String> {
    let signature =
        SignatureBox::from_string(signature).map_err(|error| format!("its signature cannot be read: {error}"))?;
    let mut why = "no key".to_owned();
    for key in keys {
        match verify_with(path, &signature, &key.0) {
            Ok(()) => return Ok(()),
            Err(said) => why = said,
        }
    }
    Err(format!("{NO_KEY}: {why}"))
}

fn verify_with(path: &Path, signature: &SignatureBox, key: &PublicKey) -> Result<(), String> {
    // The legacy format would have the whole package in memory.
    if !signature.is_prehashed() {
        return Err("it is in the legacy format; sign with minisign 0.10 or later, without -l".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    minisign::verify(key, signature, file, true, false, false).map_err(|error| error.to_string())
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

    fn checked(content: &str, signature: Option<&str>, keys: &[&str]) -> Result<(), String> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), content).expect("written");
        let keys: Vec<PackageKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
        verify(file.path(), signature, &keys)
    }

    #[test]
    fn signed_is_what_one_of_the_keys_has_signed() {
        let other = "RWRxoOxzDoUKpSBIRW3kNUSDV3wBAmJFOHBVC8GTJo8UAJVZgx6hdNuk";
        assert_eq!(checked("test", None, &[]), Ok(()), "no key, no signature needed");
        assert_eq!(checked("test", Some(SIGNATURE), &[KEY]), Ok(()));
        assert_eq!(checked("test", Some(SIGNATURE), &[other, KEY]), Ok(()));
        for (content, signature, keys, said) in [
            ("test", None, &[KEY][..], "it is not signed"),
            ("Test", Some(SIGNATURE), &[KEY], "of no `package_key`"),
            ("test", Some(SIGNATURE), &[other], "of no `package_key`"),
            ("test", Some("nonsense"), &[KEY], "cannot be read"),
        ] {
            let why = checked(content, signature, keys).expect_err(said);
            assert!(why.contains(said), "{why}");
        }
        assert!("no key".parse::<PackageKey>().is_err());
    }
}
