//! What a host found out about a package, left beside it for all others: written once by the first host that knows, with
//! `If-None-Match: *`. A person lifts a verdict by deleting the object.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Document, FIRST, Release, Signed, Version, first, layout, lenient, lenient_texts, lenient_time, never};

/// How many reasons a verdict has, and how long each may be.
const MOST_REASONS: usize = 20;
const LONGEST_REASON: usize = 500;

/// A host's verdict on a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its format, as [`Document`] says.
    #[serde(default = "first")]
    pub format: u32,
    /// Key of the object that was judged.
    #[serde(default, deserialize_with = "lenient")]
    pub key: String,
    /// Its entity tag, quotes included: the bytes it is about, whatever their key.
    pub etag: String,
    /// The version that its publisher gave it (`spothost-version`), if any: any text.
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<String>,
    /// What was found.
    pub verdict: VerdictOutcome,
    /// The instance that found it.
    #[serde(default, deserialize_with = "lenient")]
    pub by: String,
    /// When.
    #[serde(default = "never", serialize_with = "time::serde::rfc3339::serialize", deserialize_with = "lenient_time")]
    pub at: OffsetDateTime,
    /// Why, one sentence each.
    #[serde(default, deserialize_with = "lenient_texts")]
    pub reasons: Vec<String>,
    /// How it was signed, where that is why: signed otherwise it is to be judged again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient_signed")]
    pub signed: Option<Box<Signed>>,
}

/// The verdict itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum VerdictOutcome {
    /// It must not go live anywhere.
    Refused,
    /// It has passed the gate, and was served.
    Good,
    /// Another word, of a later version: every host judges for itself.
    Other(String),
}

impl Verdict {
    /// A verdict on `release` by the instance `by`.
    pub fn on(release: &Release, verdict: VerdictOutcome, by: &str, at: OffsetDateTime, reasons: &[String]) -> Verdict {
        let short = |reason: &String| reason.chars().take(LONGEST_REASON).collect();
        Verdict {
            format: FIRST,
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

    /// The version of the package, where it is a name that this program gives.
    pub fn published_version(&self) -> Option<Version> {
        self.version.as_ref()?.parse().ok()
    }

    /// Whether it says that the package must not go live.
    pub fn refuses(&self) -> bool {
        self.verdict == VerdictOutcome::Refused
    }

    /// Whether it says that the package has gone live well.
    pub fn is_good(&self) -> bool {
        self.verdict == VerdictOutcome::Good
    }

    /// Whether it refuses the package that is signed so, or not at all: a refusal for a signature holds for no other.
    pub fn refuses_signed(&self, signature: Option<&str>) -> bool {
        self.refuses() && self.signed.as_ref().is_none_or(|signed| signed.has(signature))
    }

    /// Whether it is about the bytes of `release`: by their tag, or by the name that their publisher gave them, which an
    /// object has in its key or its metadata. The same bytes have another tag where they were uploaded in other parts.
    pub fn is_about(&self, release: &Release) -> bool {
        let named =
            |version: &String| release.named.as_ref() == Some(version) || layout::is_of_version(&release.key, version);
        self.etag == release.etag || self.version.as_ref().is_some_and(named)
    }
}

/// Reads the condition of a refusal: one that is not understood is there, and met by no signature.
fn lenient_signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Signed>>, D::Error> {
    let value: Option<Value> = Option::deserialize(deserializer)?;
    Ok(value.map(|value| Box::new(serde_json::from_value(value).unwrap_or_default())))
}

impl Document for Verdict {
    const NAME: &'static str = "verdict";
}

impl From<String> for VerdictOutcome {
    fn from(word: String) -> VerdictOutcome {
        match word.as_str() {
            "refused" => VerdictOutcome::Refused,
            "good" => VerdictOutcome::Good,
            _ => VerdictOutcome::Other(word),
        }
    }
}

impl From<VerdictOutcome> for String {
    fn from(outcome: VerdictOutcome) -> String {
        outcome.to_string()
    }
}

impl fmt::Display for VerdictOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            VerdictOutcome::Refused => "refused",
            VerdictOutcome::Good => "good",
            VerdictOutcome::Other(word) => word,
        })
    }
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
        let verdict = Verdict::on(&release, VerdictOutcome::Refused, "i-1", OffsetDateTime::UNIX_EPOCH, &reasons);
        assert_eq!(Verdict::read(&verdict.text()), Ok(verdict.clone()));
        assert!(verdict.text().len() < 64 << 10, "it can be read back");
        let written: serde_json::Value = serde_json::from_slice(&verdict.text()).expect("JSON");
        assert_eq!((&written["format"], &written["verdict"]), (&1.into(), &"refused".into()));
        assert_eq!(written["at"], "1970-01-01T00:00:00Z");
    }

    #[test]
    fn verdict_without_what_it_is_about_or_what_was_found_is_none() {
        for text in
            ["{}", r#"{"format":1,"etag":"b"}"#, r#"{"format":1,"verdict":"good"}"#, r#"{"etag":1,"verdict":"good"}"#]
        {
            assert!(Verdict::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn refusal_for_a_signature_that_is_not_understood_holds_for_none() {
        let refused = |signed: &str| {
            let text = format!(r#"{{"etag":"e","verdict":"refused","signed":{signed}}}"#);
            Verdict::read(text.as_bytes()).expect("a verdict").refuses_signed(Some("a signature"))
        };
        assert!(refused("null") && !refused(r#"{"by":"another way"}"#) && !refused("7"));
    }

    #[test]
    fn verdict_is_about_the_same_bytes_under_any_key() {
        let judged = release("www/site-latest.zip", "\"1\"", Some("v"));
        let verdict = Verdict::on(&judged, VerdictOutcome::Good, "i-1", OffsetDateTime::UNIX_EPOCH, &[]);
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
