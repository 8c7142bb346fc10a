//! What hosts, publishers and operators write for each other. Each document has one type and one file, for its writers and
//! its readers alike, and each key one place: [`layout`].
//!
//! | where | document |
//! |---|---|
//! | beside a package, as the object's metadata | [`Label`] |
//! | `<package>.minisig` | a signature in minisign's format: [`signature`] |
//! | `.spothost/verdicts/` | [`Verdict`] |
//! | `.spothost/hosts/` | [`HostDocument`] |
//! | `.spothost-lease.json`, `.spothost-leaving.json`, `.spothost-early.json`, `.spothost-replacement-N.json` | [`Lease`] |
//! | `.spothost-claim.json` | [`AddressClaim`] |
//! | `package/last-good.json` of the state folder | [`LastGood`] |
//!
//! The vault's document stays with its keeper, as it holds keys and no other part reads it; the status file with the board.
//!
//! # Formats
//!
//! Hosts of several versions share a bucket, and a state folder outlives an upgrade. So every document of JSON follows the same
//! rule, which [`Document::read`] holds:
//!
//! * It says its `format`, a whole number. One that says none is of format 1: some were written before they said it.
//! * A reader takes every format up to its own. A later one it neither uses nor, unless it is the host's own, overwrites, and says
//!   so, with the cure ([`Unreadable::Later`]).
//! * Within a format fields may come. One that a reader does not know is passed over; a value that it does not understand counts
//!   as one that is not there, and the rest of the document holds. Only without what it is about is it none
//!   ([`Unreadable::Foreign`]).
//!
//! This module imports nothing of the agent but [`crate::fault`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::fault::Fault;

mod address_claim;
mod host;
mod label;
mod last_good;
pub mod layout;
mod lease;
mod release;
pub mod signature;
mod verdict;
mod version;

pub use self::{
    address_claim::AddressClaim,
    host::{HostDocument, HostRole},
    label::Label,
    last_good::LastGood,
    layout::Layout,
    lease::Lease,
    release::Release,
    signature::{PackageKey, Signed},
    verdict::{Verdict, VerdictOutcome},
    version::Version,
};

/// The format of every document until one has a second.
const FIRST: u32 = 1;

/// A document of JSON.
pub trait Document: Serialize + DeserializeOwned {
    /// What it is called where it cannot be read.
    const NAME: &'static str;
    /// The format that is written, and the latest that is read.
    const FORMAT: u32 = FIRST;

    /// Reads it.
    ///
    /// # Errors
    /// A later format; a text that is no such document.
    fn read(text: &[u8]) -> Result<Self, Unreadable> {
        let foreign = |error: serde_json::Error| Unreadable::Foreign { name: Self::NAME, why: error.to_string() };
        let DocumentHead { format } = serde_json::from_slice(text).map_err(foreign)?;
        if format > u64::from(Self::FORMAT) {
            return Err(Unreadable::Later { name: Self::NAME, format, known: Self::FORMAT });
        }
        serde_json::from_slice(text).map_err(foreign)
    }

    /// As it is written.
    fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// The common beginning of every document.
#[derive(Deserialize)]
struct DocumentHead {
    #[serde(default = "first_as_read")]
    format: u64,
}

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A later version of the program has written it.
    Later {
        /// What it is.
        name: &'static str,
        /// Its format.
        format: u64,
        /// The latest that this version reads.
        known: u32,
    },
    /// It is no such document.
    Foreign {
        /// What it should be.
        name: &'static str,
        /// Why it is none.
        why: String,
    },
}

impl Unreadable {
    /// The same as a fault, met while `doing` something with the document; `remedy` is what cures one that is none.
    pub fn fault(self, doing: impl Into<String>, remedy: &str) -> Fault {
        match self {
            Unreadable::Later { .. } => {
                Fault::operator(doing, self, "upgrade spothost here to the version that wrote it")
            }
            Unreadable::Foreign { .. } => Fault::operator(doing, self, remedy),
        }
    }
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Later { name, format, known } => {
                write!(
                    f,
                    "it is a {name} of format {format}, and this version of spothost reads format {known} at most"
                )
            }
            Unreadable::Foreign { name, why } => write!(f, "it is no {name}: {why}"),
        }
    }
}

fn first() -> u32 {
    FIRST
}

fn first_as_read() -> u64 {
    u64::from(FIRST)
}

/// Reads a value, or takes the default where it is not understood.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads the texts of a list, and passes over what is none.
fn lenient_texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let values: Vec<Value> = lenient(deserializer)?;
    Ok(values.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
}

/// Reads an instant (RFC 3339), or takes [`never`] where it is not understood.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OffsetDateTime, D::Error> {
    let text: String = lenient(deserializer)?;
    Ok(OffsetDateTime::parse(&text, &Rfc3339).unwrap_or(never()))
}

/// The instant of what has none.
fn never() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every document as version 0.1.0 wrote it.
    const VERDICT: &str = r#"{"format":1,"key":"www/site-latest.zip","etag":"\"e\"","version":"v7","verdict":"refused",
        "by":"i-1","at":"2026-11-21T12:00:00Z","reasons":["why"]}"#;
    const HOST: &str = r#"{"format":1,"instance":"i-1","role":"owner","version":null,"etag":"\"e\"",
        "since":"2026-11-21T12:00:00Z","address":"192.0.2.1","program":"0.1.0"}"#;
    const LEASE: &str = r#"{"holder":"i-1","number":7,"writing":9,"done":3,"free":true}"#;
    const CLAIM: &str = r#"{"claim":"spothost=1 epoch=7 instance=i-1 launched=2026-11-21T12:00:00Z"}"#;
    const LAST_GOOD: &str = r#"{"source":"s3://b/p/","release":{"key":"k","etag":"\"e\"","version":null,"named":null,
        "length":1,"modified":"1970-01-01T00:00:00Z"},"file":"0123456789abcdef.zip"}"#;

    /// Holds a document against the rule of formats: read as it was and with fields of later versions, told when it is of a later
    /// format, and none without what it is about.
    fn held_to_the_rule<D: Document + PartialEq + fmt::Debug>(text: &str) {
        let read = D::read(text.as_bytes()).expect(text);
        let with = |more: &str| text.replacen('{', &format!("{{{more},"), 1);
        assert_eq!(
            D::read(with(r#""mood":{"is":["good"]}"#).as_bytes()).as_ref(),
            Ok(&read),
            "a field that is not known"
        );
        let written: Value = serde_json::from_slice(&read.text()).expect("JSON");
        assert_eq!(written["format"], D::FORMAT, "{written}");
        assert_eq!(D::read(&read.text()).as_ref(), Ok(&read), "as it is written");
        let later = text.replace(r#""format":1,"#, "").replacen('{', r#"{"format":2,"#, 1);
        let told = D::read(later.as_bytes()).expect_err("a later format");
        assert_eq!(told, Unreadable::Later { name: D::NAME, format: 2, known: 1 });
        assert!(told.fault("reading it", "").to_string().contains("upgrade spothost"));
        for foreign in ["", "null", "[]", "{", "\"x\"", "7", r#"{"format":"one"}"#] {
            let told = D::read(foreign.as_bytes());
            assert!(matches!(told, Err(Unreadable::Foreign { .. })), "{foreign}: {told:?}");
        }
    }

    #[test]
    fn documents_are_read_as_the_rule_of_formats_says() {
        held_to_the_rule::<Verdict>(VERDICT);
        held_to_the_rule::<HostDocument>(HOST);
        held_to_the_rule::<Lease>(LEASE);
        held_to_the_rule::<AddressClaim>(CLAIM);
        held_to_the_rule::<LastGood>(LAST_GOOD);
    }

    #[test]
    fn value_that_is_not_understood_takes_nothing_else_with_it() {
        let verdict = |name: &str, value: Value| {
            let mut text: Value = serde_json::from_str(VERDICT).expect("JSON");
            text[name] = value;
            Verdict::read(text.to_string().as_bytes())
        };
        let whole = Verdict::read(VERDICT.as_bytes()).expect("a verdict");
        for name in ["key", "version", "by", "at", "reasons", "signed"] {
            let read = verdict(name, serde_json::json!({ "of": "a later version" })).expect(name);
            assert!(read.refuses() && read.etag == whole.etag, "{name}: {read:?}");
            assert_eq!(read.by == whole.by, name != "by", "{read:?}");
        }
        let some = verdict("reasons", serde_json::json!([7, "why", null])).expect("a verdict");
        assert_eq!(some.reasons, ["why"]);
        let other = verdict("verdict", "postponed".into()).expect("a verdict");
        assert_eq!((other.refuses(), other.verdict.to_string()), (false, "postponed".to_owned()));

        for (name, value) in [("role", "arbiter"), ("version", "v7"), ("since", "yesterday"), ("address", "nowhere")] {
            let mut text: Value = serde_json::from_str(HOST).expect("JSON");
            text[name] = value.into();
            let read = HostDocument::read(text.to_string().as_bytes()).expect(name);
            assert_eq!((read.instance.as_str(), read.etag.as_deref()), ("i-1", Some("\"e\"")), "{name}");
        }
        for name in ["number", "writing", "done", "free"] {
            let mut text: Value = serde_json::from_str(LEASE).expect("JSON");
            text[name] = "many".into();
            assert_eq!(Lease::read(text.to_string().as_bytes()).expect(name).holder, "i-1", "{name}");
        }
    }
}
