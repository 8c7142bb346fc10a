//! The vault document: the content of the secret.

use std::fmt;

use instant_acme::AccountCredentials;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use spothost_server::Identity;
use time::OffsetDateTime;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};
use zeroize::Zeroizing;

use super::{
    Certificate, Life,
    desired_certificate::{AcmeCa, DesiredCertificate},
    due::Window,
    ledger::{Ledger, NotBefore},
    limit::{TokenBucket, VERSIONS},
};
use crate::{fault::Fault, place::Name};

#[cfg(any(test, feature = "model"))]
mod sketched;

/// The version of the format that this program writes. It reads those before it.
const FORMAT: u32 = 2;

/// Secrets Manager holds 65,536 bytes; what is larger is none of ours.
const LARGEST: usize = 64 << 10;

/// CAs whose accounts are kept: two, their staging environments, and those that were configured before.
const ACCOUNTS: usize = 6;

/// Versions that an order may take: the attempt, the account, the order, and the certificate or what failed.
const OF_AN_ORDER: u32 = 4;
/// What only spares the next host a question is not written unless so many are left.
const TO_SPARE: u32 = 12;

/// The content of the vault. It has no `Debug`: it is full of keys.
#[derive(Clone, Serialize)]
pub(super) struct VaultDocument {
    format: u32,
    /// The accounts at CAs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<Account>,
    /// The certificate in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Issued>,
    /// The order under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<PendingOrder>,
    /// The attempts at each CA.
    pub ledger: Ledger,
    /// Number of this version: each write, by any host, adds one. Of two versions it tells which is
    /// the older, where a read shows one that is current no more.
    pub written: u64,
    /// How many versions may still be written; none when nothing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<TokenBucket>,
}

/// The reason for which a version of the document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An order from its beginning.
    Order,
    /// The end of an order that was made.
    Resume,
    /// What can be asked for again.
    Memo,
}

/// An account at a CA.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    /// URL of the CA's directory.
    pub directory: String,
    credentials: Credentials,
}

/// Account URL and key, as instant-acme writes them; the key is forgotten with care.
#[derive(Clone, Serialize, Deserialize)]
struct Credentials {
    id: String,
    key_pkcs8: Zeroizing<String>,
    directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    urls: Option<Value>,
}

/// An order at the CA that is not finished. The next host resumes it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PendingOrder {
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
    /// Whether it costs nothing, because it replaces a certificate in the window that the CA gave.
    #[serde(default)]
    pub exempt: bool,
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

/// The result of reading a text as a document.
pub(super) enum Parsed {
    /// A document.
    Whole(VaultDocument),
    /// What is left of one, and what is wrong with the rest.
    Damaged(VaultDocument, String),
    /// None, and nothing that this program wrote: another program's, perhaps.
    Foreign(Fault),
    /// One of a newer program, which is neither used nor overwritten.
    Newer(Fault),
}

impl Default for VaultDocument {
    fn default() -> VaultDocument {
        VaultDocument {
            format: FORMAT,
            accounts: Vec::new(),
            certificate: None,
            order: None,
            ledger: Ledger::default(),
            written: 0,
            versions: None,
        }
    }
}

impl VaultDocument {
    /// Reads a document, or what is left of one.
    pub(super) fn parse(text: &str) -> Parsed {
        if text.trim().is_empty() {
            return Parsed::Whole(VaultDocument::default());
        }
        if text.len() > LARGEST {
            return Parsed::Foreign(foreign("it is larger than 64 KiB"));
        }
        let mut fields = serde_json::Map::new();
        let mut source = serde_json::Deserializer::from_str(text);
        let read = Fields(&mut fields).deserialize(&mut source).and_then(|()| source.end());
        let Some(format) = fields.get("format").and_then(Value::as_u64) else {
            return if is_cut_off(text) {
                Parsed::Damaged(VaultDocument::default(), "it is cut off".to_owned())
            } else {
                Parsed::Foreign(foreign(read.err().map_or_else(|| "it has no `format`".into(), |e| wordless(&e))))
            };
        };
        if format > u64::from(FORMAT) {
            let said = format!("format {format} is newer than the format {FORMAT} of this program");
            let remedy = "run the version of spothost that wrote it, or a newer one";
            return Parsed::Newer(Fault::operator(READING, said, remedy));
        }
        let mut lost: Vec<String> = read.err().map(|error| wordless(&error)).into_iter().collect();
        let document = VaultDocument::salvaged(fields, &mut lost);
        if lost.is_empty() { Parsed::Whole(document) } else { Parsed::Damaged(document, lost.join("; ")) }
    }

    /// What of these fields can be read, each for itself; what is wrong with the others goes to `lost`.
    fn salvaged(mut fields: serde_json::Map<String, Value>, lost: &mut Vec<String>) -> VaultDocument {
        let mut document = VaultDocument {
            accounts: field(&mut fields, "accounts", lost).unwrap_or_default(),
            certificate: field(&mut fields, "certificate", lost),
            order: field(&mut fields, "order", lost),
            ledger: field(&mut fields, "ledger", lost).unwrap_or_default(),
            written: field(&mut fields, "written", lost).unwrap_or_default(),
            versions: field(&mut fields, "versions", lost),
            ..VaultDocument::default()
        };
        // Format 1 had one account.
        document.accounts.extend(field::<Account>(&mut fields, "account", lost));
        document
    }

    /// The document as text.
    ///
    /// # Errors
    /// When it would not fit the secret.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, Fault> {
        let text = serde_json::to_string(self).map(Zeroizing::new);
        let text = text.map_err(|error| Fault::retry("writing the vault", error))?;
        if text.len() <= LARGEST {
            Ok(text)
        } else {
            Err(Fault::operator("writing the vault", "the document outgrew 64 KiB", "name fewer aliases"))
        }
    }

    /// The same with what was done until `now` was written: what CAs and the secret were asked for, not what came of it.
    pub(super) fn with_the_past_of(self, now: &VaultDocument) -> VaultDocument {
        VaultDocument { ledger: now.ledger.clone(), versions: now.versions, written: now.written, ..self }
    }

    /// Writes down that it is about to be written.
    pub(super) fn count(&mut self, now: OffsetDateTime) {
        self.written = self.written.saturating_add(1);
        let bucket = self.versions.get_or_insert_with(|| TokenBucket::full(now));
        bucket.spend(VERSIONS, now);
    }

    /// Whether it may be written for that purpose, or why not yet.
    pub(super) fn writable(&self, purpose: Purpose, now: OffsetDateTime) -> Result<(), NotBefore> {
        let needed = match purpose {
            Purpose::Order => OF_AN_ORDER,
            Purpose::Resume => 1,
            Purpose::Memo => TO_SPARE,
        };
        let until = self.versions.map_or(now, |bucket| bucket.holds(needed, VERSIONS, now));
        if until > now {
            Err(NotBefore { until, why: "the secret was written as often as Secrets Manager allows".to_owned() })
        } else {
            Ok(())
        }
    }

    /// How many versions may be written now, and when there is one more; none when all may.
    pub(super) fn versions(&self, now: OffsetDateTime) -> (u32, Option<OffsetDateTime>) {
        let bucket = self.versions.unwrap_or_else(|| TokenBucket::full(now));
        let left = bucket.left(VERSIONS, now);
        (left, (left < VERSIONS.tokens).then(|| bucket.holds(left + 1, VERSIONS, now)))
    }

    /// The account at the CA of that directory.
    pub(super) fn account(&self, directory: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.directory == directory)
    }

    /// Keeps an account, in the place of the one at the same CA.
    pub(super) fn keep_account(&mut self, account: Account) {
        self.forget_account(&account.directory);
        if self.accounts.len() >= ACCOUNTS {
            self.accounts.remove(0);
        }
        self.accounts.push(account);
    }

    /// Forgets the account at the CA of that directory.
    pub(super) fn forget_account(&mut self, directory: &str) {
        self.accounts.retain(|account| account.directory != directory);
    }
}

const READING: &str = "reading the vault";

fn foreign(said: impl fmt::Display) -> Fault {
    let remedy = "name another secret in `vault`, put back what spothost wrote (spothost vault rollback), or bring in a \
                  certificate of your own (spothost vault import)";
    Fault::operator(READING, format!("this is not a document of spothost: {said}"), remedy)
}

/// Where JSON is none. The words of serde_json can quote what they found in the place of something else, which may be a key.
fn wordless(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "it is another kind of JSON",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is no JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// Whether a text that cannot be read begins as ours do, or has what only ours have.
fn is_cut_off(text: &str) -> bool {
    const BEGINNING: &str = "{\"format\":";
    let text = text.trim_start();
    let begins = text.starts_with(BEGINNING) || (text.len() > 1 && BEGINNING.starts_with(text));
    begins || (text.contains("\"directory\"") && text.contains("\"key"))
}

fn field<T: DeserializeOwned>(
    fields: &mut serde_json::Map<String, Value>,
    name: &str,
    lost: &mut Vec<String>,
) -> Option<T> {
    let read = serde_json::from_value(fields.remove(name)?);
    read.map_err(|_| lost.push(format!("`{name}` cannot be read"))).ok()
}

/// The fields of a JSON object, up to where it breaks off.
struct Fields<'a>(&'a mut serde_json::Map<String, Value>);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains_key(&name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            self.0.insert(name, map.next_value()?);
        }
        Ok(())
    }
}

impl Account {
    /// An account at the CA of that directory.
    ///
    /// # Errors
    /// When the credentials are not as instant-acme writes them.
    pub(super) fn new(directory: &str, credentials: &AccountCredentials) -> Result<Account, Fault> {
        let failed = |error| Fault::retry("writing down the ACME account", error);
        let text = serde_json::to_string(credentials).map(Zeroizing::new).map_err(failed)?;
        let credentials = serde_json::from_str(&text).map_err(failed)?;
        Ok(Account { directory: directory.to_owned(), credentials })
    }

    /// What instant-acme opens it with, if it can be read.
    pub(super) fn credentials(&self) -> Option<AccountCredentials> {
        let text = Zeroizing::new(serde_json::to_string(&self.credentials).ok()?);
        serde_json::from_str(&text).ok()
    }

    /// URL of the account at the CA.
    pub(super) fn url(&self) -> &str {
        &self.credentials.id
    }
}

impl PendingOrder {
    /// Whether it is what is wanted from `authority` now.
    pub(super) fn is_for(&self, wanted: &DesiredCertificate, authority: &AcmeCa) -> bool {
        self.directory == authority.directory && self.profile == authority.profile && self.names == wanted.names
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
        let issued = self.clone().into();
        Ok(Certificate { identity: identity.into(), leaf: leaf.to_vec(), life, names, notes: Vec::new(), issued })
    }
}

/// Whether every part of a chain has its end: PEM readers pass over a last part that is cut off.
pub(super) fn is_whole(chain: &str) -> bool {
    let begun = chain.matches("-----BEGIN").count();
    let ended = chain.matches("-----END CERTIFICATE-----").count();
    begun == ended
}

fn instant(at: x509_parser::time::ASN1Time) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp(at.timestamp()).map_err(|error| error.to_string())
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, String> {
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.ok_or("it names no host")?;
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
    use crate::certificate::LocalCa;

    fn issued(names: &[&str]) -> Issued {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = LocalCa::open(folder.path()).expect("a CA");
        let names: Vec<Name> = names.iter().map(|name| name.parse().expect("a name")).collect();
        ca.issue(&names, OffsetDateTime::now_utc()).expect("issued")
    }

    fn whole(text: &str) -> VaultDocument {
        match VaultDocument::parse(text) {
            Parsed::Whole(document) => document,
            Parsed::Damaged(_, why) => panic!("damaged: {why}"),
            Parsed::Foreign(fault) | Parsed::Newer(fault) => panic!("{fault}"),
        }
    }

    fn stored() -> String {
        let mut document =
            VaultDocument { certificate: Some(issued(&["a.example", "b.example"])), ..VaultDocument::default() };
        document.keep_account(Account::sketched("https://ca.example/"));
        document.ledger.attempt("https://ca.example/", true, OffsetDateTime::now_utc());
        document.text().expect("fits").to_string()
    }

    #[test]
    fn document_reads_back_as_it_was_written() {
        let read = whole(&stored());
        assert_eq!(read.account("https://ca.example/").map(Account::url), Some("https://ca.example/account/1"));
        let certificate = read.certificate.expect("a certificate").read().expect("usable");
        assert_eq!(certificate.names.iter().map(Name::as_str).collect::<Vec<_>>(), ["a.example", "b.example"]);
        assert!(certificate.life.not_after > OffsetDateTime::now_utc());
    }

    #[test]
    fn document_of_the_format_before_is_read_with_its_account() {
        let text = r#"{"format":1,"account":{"directory":"https://ca.example/","credentials":
            {"id":"https://ca.example/account/7","key_pkcs8":"AAAA","directory":"https://ca.example/"}}}"#;
        let read = whole(text);
        assert_eq!(read.account("https://ca.example/").map(Account::url), Some("https://ca.example/account/7"));
        assert!(read.text().expect("fits").starts_with("{\"format\":2,\"accounts\":["));
    }

    #[test]
    fn text_that_is_no_document_of_ours_is_told_from_one_that_is_damaged() {
        let long = format!("{{\"format\":1,\"x\":\"{}\"}}", "x".repeat(LARGEST));
        let table = [
            ("-----BEGIN PRIVATE KEY-----", "foreign", "line 1"),
            ("{}", "foreign", "no `format`"),
            ("{\"username\":\"admin\",\"password\":\"AAAA\"}", "foreign", "no `format`"),
            ("[1]", "foreign", "another kind of JSON"),
            ("\"AAAA\"", "foreign", "another kind of JSON"),
            (long.as_str(), "foreign", "larger than 64 KiB"),
            ("{\"format\":3}", "newer", "format 3 is newer than the format 2"),
            ("{\"format\":4294967299,\"x\":", "newer", "is newer"),
            ("{\"for", "damaged", "cut off"),
            ("{\"format\":2,\"accounts\":[", "damaged", "ends too early"),
            ("{\"format\":1,\"certificate\":{}}", "damaged", "`certificate` cannot be read"),
            ("{\"format\":2,\"ledger\":7}", "damaged", "`ledger` cannot be read"),
        ];
        for (text, expected, reason) in table {
            let (kind, said) = match VaultDocument::parse(text) {
                Parsed::Whole(_) => ("whole", String::new()),
                Parsed::Damaged(_, why) => ("damaged", why),
                Parsed::Foreign(fault) => ("foreign", fault.to_string()),
                Parsed::Newer(fault) => ("newer", fault.to_string()),
            };
            assert_eq!(kind, expected, "{text}: {said}");
            assert!(said.contains(reason), "{said} does not say {reason}");
            assert!(!said.contains("AAAA"), "the fault repeats the secret");
        }
    }

    #[test]
    fn what_is_still_good_in_a_damaged_document_is_used() {
        let text = stored();
        // Cut off in the middle of the certificate: the accounts before it are whole.
        let cut = text.find("BEGIN CERTIFICATE").expect("a chain");
        let Parsed::Damaged(left, _) = VaultDocument::parse(&text[..cut]) else { panic!("not damaged") };
        assert!(left.certificate.is_none() && left.account("https://ca.example/").is_some());
        // The certificate is whole, and the accounts are not.
        let Parsed::Damaged(left, why) = VaultDocument::parse(&text.replace("\"id\"", "\"xx\"")) else {
            panic!("not damaged")
        };
        assert!(left.certificate.is_some_and(|issued| issued.read().is_ok()) && left.accounts.is_empty());
        assert_eq!(why, "`accounts` cannot be read");
    }

    #[test]
    fn empty_text_is_an_empty_vault() {
        assert!(whole(" \n").certificate.is_none());
    }

    #[test]
    fn key_of_the_account_is_not_that_of_a_certificate() {
        let document = whole(&stored());
        let key = crate::certificate::key::new_key().expect("made");
        let account = serde_json::to_string(&document.accounts).expect("JSON");
        let body = key.lines().nth(1).expect("base64");
        assert!(!account.contains(body));
    }

    #[test]
    fn certificate_that_cannot_be_used_says_why() {
        let one = issued(&["a.example"]);
        let other = issued(&["a.example"]);
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
