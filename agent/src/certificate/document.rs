//! The vault document: what is kept in the secret.

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use spothost_server::Identity;
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};
use zeroize::Zeroizing;

use super::{Certificate, Life, due::Window};
use crate::{config::Name, fault::Fault};

/// The version of the format that this program reads and writes.
const FORMAT: u32 = 1;

/// Secrets Manager holds 65,536 bytes; what is larger is none of ours.
const LARGEST: usize = 64 << 10;

/// What the vault holds. It has no `Debug`: it is full of keys.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Document {
    format: u32,
    /// The account at the CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// The certificate in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Issued>,
    /// The order under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Underway>,
    /// Whether it differs from what was read.
    #[serde(skip)]
    changed: bool,
}

/// An account at a CA.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// URL of the CA's directory.
    pub directory: String,
    /// Account URL and key, as instant-acme writes them.
    credentials: serde_json::Value,
}

/// An order that was made and has not come to its end. Whoever lives next goes on with it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Underway {
    /// Where the CA has it.
    pub url: String,
    /// URL of the directory of the CA.
    pub directory: String,
    /// Profile it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The names it is for.
    pub names: Vec<Name>,
    /// The key that the certificate is to be for, PKCS #8 in PEM.
    pub key: Zeroizing<String>,
}

/// A certificate as a CA issued it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    /// URL of the directory of the CA that issued it, or `internal`.
    pub directory: String,
    /// Profile it was ordered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Chain in PEM, leaf first.
    pub chain: String,
    /// Key in PEM, PKCS #8.
    pub key: Zeroizing<String>,
    /// When the CA would like to renew it, as it last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Window>,
}

impl Default for Document {
    fn default() -> Document {
        Document { format: FORMAT, account: None, certificate: None, order: None, changed: false }
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When the text is none, or was written by a newer program: then nothing may overwrite it.
    pub(super) fn parse(text: &str) -> Result<Document, Fault> {
        const READING: &str = "reading the vault";
        let remedy = "name another secret in `vault`, or restore a version that spothost wrote";
        if text.trim().is_empty() {
            return Ok(Document::default());
        }
        if text.len() > LARGEST {
            return Err(Fault::operator(READING, "the document is larger than 64 KiB", remedy));
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        // serde_json quotes no content, so the text of this error tells no secret.
        let format = serde_json::from_str::<Format>(text).map_err(|error| Fault::operator(READING, error, remedy))?;
        if format.format != FORMAT {
            let said = format!("format {} is not the format {FORMAT} of this program", format.format);
            return Err(Fault::operator(READING, said, "run the version of spothost that wrote it, or a newer one"));
        }
        serde_json::from_str(text).map_err(|error| Fault::operator(READING, error, remedy))
    }

    /// The document as text.
    ///
    /// # Errors
    /// When it would not fit the secret.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, Fault> {
        let text = serde_json::to_string(self).map(Zeroizing::new);
        let text = text.map_err(|error| Fault::retry("writing the vault", error))?;
        match text.len() <= LARGEST {
            true => Ok(text),
            false => Err(Fault::operator("writing the vault", "the document outgrew 64 KiB", "name fewer aliases")),
        }
    }

    /// The account at the CA of that directory.
    pub(super) fn credentials(&self, directory: &str) -> Option<AccountCredentials> {
        let account = self.account.as_ref().filter(|account| account.directory == directory)?;
        serde_json::from_value(account.credentials.clone()).ok()
    }

    /// Keeps an account.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(super) fn set_account(&mut self, directory: &str, credentials: &AccountCredentials) -> Result<(), Fault> {
        let credentials = serde_json::to_value(credentials);
        let credentials = credentials.map_err(|error| Fault::retry("writing down the ACME account", error))?;
        self.account = Some(Account { directory: directory.to_owned(), credentials });
        self.changed = true;
        Ok(())
    }

    /// Whether it differs from what was read.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Says that it is to be stored.
    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    /// Says that it is stored as it is.
    pub(super) fn stored(&mut self) {
        self.changed = false;
    }
}

impl Issued {
    /// Reads chain and key.
    ///
    /// # Errors
    /// In one phrase, why it cannot be used.
    pub fn read(&self) -> Result<Certificate, String> {
        let unusable = |why: String| format!("the stored one cannot be used: {why}");
        if !is_whole(&self.chain) {
            return Err(unusable("its chain is cut off".to_owned()));
        }
        let identity = Identity::from_pem(&self.chain, &self.key).map_err(|error| unusable(error.to_string()))?;
        let leaf =
            CertificateDer::from_pem_slice(self.chain.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&leaf).map_err(|error| unusable(error.to_string()))?;
        let validity = parsed.validity();
        let life = Life { not_before: instant(validity.not_before)?, not_after: instant(validity.not_after)? };
        let names = names(&parsed).map_err(unusable)?;
        Ok(Certificate { identity: identity.into(), leaf: leaf.to_vec(), life, names, issued: self.clone().into() })
    }
}

/// Whether every part of a chain has its end: PEM readers pass over a last part that is cut off.
pub(super) fn is_whole(chain: &str) -> bool {
    let (begun, ended) = (chain.matches("-----BEGIN").count(), chain.matches("-----END CERTIFICATE-----").count());
    begun == ended
}

fn instant(at: x509_parser::time::ASN1Time) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(at.timestamp()).map_err(|error| error.to_string())
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, String> {
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.ok_or("it names nobody")?;
    Ok(names.value.general_names.iter().filter_map(host_name).collect())
}

fn host_name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::LocalCa, fault::Cure};

    fn issued(names: &[&str]) -> Issued {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = LocalCa::open(folder.path()).expect("a CA");
        let names: Vec<Name> = names.iter().map(|name| name.parse().expect("a name")).collect();
        ca.issue(&names, OffsetDateTime::now_utc()).expect("issued")
    }

    #[test]
    fn document_reads_back_as_it_was_written() {
        let mut document = Document { certificate: Some(issued(&["a.example", "b.example"])), ..Document::default() };
        document.stored();
        let read = Document::parse(&document.text().expect("fits")).expect("a document");
        let certificate = read.certificate.expect("a certificate").read().expect("usable");
        assert_eq!(certificate.names.iter().map(Name::as_str).collect::<Vec<_>>(), ["a.example", "b.example"]);
        assert!(certificate.life.not_after > OffsetDateTime::now_utc());
    }

    #[test]
    fn text_that_is_no_document_is_something_for_a_person_and_never_overwritten() {
        let long = format!("{{\"format\":1,\"x\":\"{}\"}}", "x".repeat(LARGEST));
        let table = [
            ("-----BEGIN PRIVATE KEY-----", "line 1"),
            ("{}", "missing field `format`"),
            ("{\"format\":2}", "format 2 is not the format 1"),
            ("{\"format\":1,\"certificate\":{}}", "missing field"),
            ("[1]", "line 1"),
            (long.as_str(), "larger than 64 KiB"),
        ];
        for (text, reason) in table {
            let fault = Document::parse(text).err().unwrap_or_else(|| panic!("{text}"));
            assert_eq!(fault.cure, Cure::Operator);
            assert!(fault.said.contains(reason), "{fault} does not say {reason}");
        }
    }

    #[test]
    fn empty_text_is_an_empty_vault() {
        assert!(Document::parse(" \n").expect("empty").certificate.is_none());
    }

    #[test]
    fn certificate_that_cannot_be_used_says_why() {
        let (one, other) = (issued(&["a.example"]), issued(&["a.example"]));
        let table = [
            (Issued { key: other.key.clone(), ..one.clone() }, "cannot be used with the private key"),
            (Issued { chain: String::new(), ..one.clone() }, "holds no certificate"),
            (Issued { chain: one.chain[..one.chain.len() / 3].to_owned(), ..one.clone() }, "cut off"),
            (Issued { chain: one.chain[..one.chain.len() - 9].to_owned(), ..one.clone() }, "cut off"),
            (Issued { chain: one.chain.replace("MI", "MA"), ..one.clone() }, "certificate"),
            (Issued { key: Zeroizing::new("nonsense".into()), ..one.clone() }, "private key is not valid PEM"),
        ];
        for (issued, reason) in table {
            let why = issued.read().err().unwrap_or_else(|| panic!("{reason}"));
            assert!(why.contains(reason), "{why}");
        }
    }
}
