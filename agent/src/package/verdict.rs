//! What a host found out about a package, left beside it for all others.
//!
//! `<prefix>.spothost/verdicts/<entity tag>.json`, written once by the first host that knows, with `If-None-Match: *`.
//! A person lifts a verdict by deleting the object.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Release, Signed};

/// How many reasons a verdict has, and how long each may be.
const MOST_REASONS: usize = 20;
const LONGEST_REASON: usize = 500;

/// The version of this format.
const FORMAT: u32 = 1;

/// What a host found out about a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of this format.
    format: u32,
    /// Key of the object that was judged.
    pub key: String,
    /// Its entity tag, quotes included: the bytes it is about, whatever their key.
    pub etag: String,
    /// The version that its publisher gave it (`spothost-version`), if any.
    pub version: Option<String>,
    /// What was found.
    pub verdict: Outcome,
    /// The instance that found it.
    pub by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Why, one sentence each.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// How it was signed, where that is why: signed otherwise it is to be judged again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Box<Signed>>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It must not go live anywhere.
    Refused,
    /// It has passed the gate, and was served.
    Good,
}

impl Verdict {
    /// A verdict on `release` by the instance `by`.
    pub fn on(release: &Release, verdict: Outcome, by: &str, at: OffsetDateTime, reasons: &[String]) -> Verdict {
        let short = |reason: &String| reason.chars().take(LONGEST_REASON).collect();
        Verdict {
            format: FORMAT,
            key: release.key.clone(),
            etag: release.etag.clone(),
            version: release.named.clone(),
            verdict,
            by: by.to_owned(),
            at,
            reasons: reasons.iter().take(MOST_REASONS).map(short).collect(),
            signed: None,
        }
    }

    /// A verdict that holds only as long as the package is signed like that.
    #[must_use]
    pub fn on_signature(self, signed: Signed) -> Verdict {
        Verdict { signed: Some(Box::new(signed)), ..self }
    }

    /// Reads a verdict; none if it is not one that this program understands.
    pub fn read(text: &[u8]) -> Option<Verdict> {
        let verdict: Verdict = serde_json::from_slice(text).ok()?;
        (verdict.format == FORMAT).then_some(verdict)
    }

    /// As it is written.
    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Whether it says that the package must not go live.
    pub fn refuses(&self) -> bool {
        self.verdict == Outcome::Refused
    }

    /// Whether it is about the bytes of `release`: by their tag, or by the name that their publisher gave them, which an
    /// object has in its key or its metadata. The same bytes have another tag where they were uploaded in other parts.
    pub fn is_about(&self, release: &Release) -> bool {
        let named = |version: &String| {
            release.named.as_ref() == Some(version) || release.key.ends_with(&format!("site-{version}.zip"))
        };
        self.etag == release.etag || self.version.as_ref().is_some_and(named)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.refuses() { "refused" } else { "found good" };
        write!(f, "{outcome} by {} at {}", self.by, crate::clock::moment(self.at))?;
        match self.reasons.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.reasons.join("; ")),
        }
    }
}

/// Where verdicts lie under `prefix`.
pub fn folder(prefix: &str) -> String {
    format!("{prefix}.spothost/verdicts/")
}

/// The key of the verdict on the object with that entity tag.
pub fn key(prefix: &str, etag: &str) -> String {
    format!("{}{}.json", folder(prefix), etag.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(key: &str, etag: &str, named: Option<&str>) -> Release {
        let modified = OffsetDateTime::UNIX_EPOCH;
        Release { named: named.map(str::to_owned), ..Release::plain(key, etag, 1, modified) }
    }

    #[test]
    fn verdict_reads_back_as_it_was_written_and_is_bounded() {
        let release = release("www/site-latest.zip", "\"ab-3\"", Some("20260101T000000Z-0123456789ab"));
        let reasons = vec!["é".repeat(9_000); 90];
        let verdict = Verdict::on(&release, Outcome::Refused, "i-1", OffsetDateTime::UNIX_EPOCH, &reasons);
        assert_eq!(Verdict::read(&verdict.text()), Some(verdict.clone()));
        assert!(verdict.text().len() < 64 << 10, "it can be read back");
        assert_eq!(key("www/", &verdict.etag), "www/.spothost/verdicts/ab-3.json");
        let written: serde_json::Value = serde_json::from_slice(&verdict.text()).expect("JSON");
        assert_eq!((&written["format"], &written["verdict"]), (&1.into(), &"refused".into()));
        assert_eq!(written["at"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_verdict_is_none() {
        for text in [
            "",
            "{}",
            "null",
            "[]",
            "{\"format\":2,\"key\":\"a\",\"etag\":\"b\",\"version\":null,\"verdict\":\"refused\",\"by\":\"c\",\"at\":\"1970-01-01T00:00:00Z\"}",
        ] {
            assert_eq!(Verdict::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn verdict_is_about_the_same_bytes_under_any_key() {
        let judged = release("www/site-latest.zip", "\"1\"", Some("v"));
        let verdict = Verdict::on(&judged, Outcome::Good, "i-1", OffsetDateTime::UNIX_EPOCH, &[]);
        for (other, is) in [
            (release("www/x.zip", "\"1\"", None), true),
            (release("www/site-v.zip", "\"2-5\"", None), true),
            (release("www/y-latest", "\"3\"", Some("v")), true),
            (release("www/site-w.zip", "\"4\"", Some("w")), false),
        ] {
            assert_eq!(verdict.is_about(&other), is, "{other:?}");
        }
    }
}
