//! Who certifies.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::Wrong;
use crate::place::VaultPlace;

/// Let's Encrypt.
pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Where Let's Encrypt lets proofs be tried (<https://letsencrypt.org/docs/staging-environment/>).
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The CAs that certify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The local CA, for laptops and closed networks.
    Internal,
    /// CAs that speak ACME (RFC 8555), in the order in which they are turned to.
    Acme(Vec<Ca>),
}

/// A CA that speaks ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// URL of its directory.
    pub directory: String,
    /// PEM file with the roots of the CA's own HTTPS, when the system does not know them.
    pub roots: Option<PathBuf>,
    /// Certificate profile to ask for.
    pub profile: Option<String>,
    /// URL of the directory of its staging environment, where a proof that failed is tried before it is tried again.
    pub staging: Option<String>,
    /// The account with the CA that its ACME account is bound to.
    pub eab: Option<Eab>,
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eab {
    /// Key identifier, as the CA gave it.
    pub kid: String,
    /// Where the MAC key is, in base64url. Never in the configuration itself, which everybody on the host can read.
    pub key: VaultPlace,
}

/// `[acme]` as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AcmeTable {
    directory: Option<Spanned<String>>,
    roots: Option<PathBuf>,
    profile: Option<String>,
    staging: Option<Spanned<String>>,
    eab: Option<WrittenEab>,
    fallback: Option<Spanned<WrittenFallback>>,
}

/// `[acme.fallback]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFallback {
    directory: Spanned<String>,
    roots: Option<PathBuf>,
    profile: Option<String>,
    staging: Option<Spanned<String>>,
    eab: Option<WrittenEab>,
}

/// `[acme.eab]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEab {
    kid: Spanned<String>,
    key_file: Option<PathBuf>,
    key_secret: Option<String>,
    key: Option<Spanned<toml::Value>>,
}

impl AcmeTable {
    pub(super) fn checked(self) -> Result<Authority, Wrong> {
        let span = self.directory.as_ref().map(Spanned::span);
        let first = self.directory.as_ref().map_or(LETS_ENCRYPT, |directory| directory.get_ref());
        if first == "internal" {
            let bare = self.roots.is_none() && self.profile.is_none() && self.staging.is_none() && self.eab.is_none();
            return if bare && self.fallback.is_none() {
                Ok(Authority::Internal)
            } else {
                Err((span, "the local CA has neither `roots` nor `profile` nor anything else".to_owned()))
            };
        }
        let first = Ca {
            directory: url(first.to_owned(), span)?,
            roots: self.roots,
            profile: self.profile,
            staging: staging(self.staging, first)?,
            eab: self.eab.map(WrittenEab::checked).transpose()?,
        };
        let mut all = vec![first];
        if let Some(fallback) = self.fallback {
            let span = Some(fallback.span());
            let fallback = fallback.into_inner().checked()?;
            if fallback.directory == all[0].directory {
                return Err((span, "the fallback is the CA that it is to stand in for".to_owned()));
            }
            all.push(fallback);
        }
        Ok(Authority::Acme(all))
    }
}

impl WrittenFallback {
    fn checked(self) -> Result<Ca, Wrong> {
        let span = self.directory.span();
        let directory = self.directory.into_inner();
        Ok(Ca {
            staging: staging(self.staging, &directory)?,
            directory: url(directory, Some(span))?,
            roots: self.roots,
            profile: self.profile,
            eab: self.eab.map(WrittenEab::checked).transpose()?,
        })
    }
}

impl WrittenEab {
    fn checked(self) -> Result<Eab, Wrong> {
        let span = Some(self.kid.span());
        let kid = self.kid.into_inner();
        if let Some(key) = self.key {
            let said = "everybody on the host can read this file: put the key into a file of mode 0600 and name it in \
                        `key_file`, or into a secret and name it in `key_secret`";
            return Err((Some(key.span()), said.to_owned()));
        }
        let key = match (self.key_file, self.key_secret) {
            (Some(path), None) if path.is_absolute() => VaultPlace::Disk(path),
            (None, Some(name)) if !name.starts_with("file:") => {
                VaultPlace::try_from(name).map_err(|said| (span, said))?
            }
            _ => return Err((span, "an `eab` needs `key_file`, an absolute path, or `key_secret`".to_owned())),
        };
        Ok(Eab { kid, key })
    }
}

fn url(url: String, span: Option<std::ops::Range<usize>>) -> Result<String, Wrong> {
    if url.starts_with("https://") {
        Ok(url)
    } else {
        Err((span, format!("`{url}` is neither \"internal\" nor an https:// URL (RFC 8555 §6.1)")))
    }
}

fn staging(staging: Option<Spanned<String>>, directory: &str) -> Result<Option<String>, Wrong> {
    match staging {
        None => Ok((directory == LETS_ENCRYPT).then(|| LETS_ENCRYPT_STAGING.to_owned())),
        Some(none) if none.get_ref() == "none" => Ok(None),
        Some(staging) => {
            let span = Some(staging.span());
            url(staging.into_inner(), span).map(Some)
        }
    }
}
