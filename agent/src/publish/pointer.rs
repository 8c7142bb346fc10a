//! What the pointer says of the package it is a copy of.

use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{aws::depot::Object, documents::Version};

const VERSION: &str = "spothost-version";
const SHA256: &str = "spothost-sha256";
const PUBLISHED: &str = "spothost-published";
const SIGNATURE: &str = "spothost-minisig";
/// S3 takes 2 KB of user metadata altogether
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const MOST_METADATA: usize = 1536;

/// What is written beside a package as the object's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its version.
    pub version: Version,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// When somebody decided that this is what is to be served.
    pub published: OffsetDateTime,
    /// Its signature: a whole file in minisign's format.
    pub signature: Option<String>,
}

impl Label {
    /// What an object says, if it was published by this program.
    pub fn of(object: &Object) -> Option<Label> {
        let said = |key: &str| object.metadata.get(key);
        let signature = said(SIGNATURE).and_then(|text| BASE64_STANDARD.decode(text).ok());
        Some(Label {
            version: said(VERSION)?.parse().ok()?,
            sha256: said(SHA256)?.clone(),
            published: OffsetDateTime::parse(said(PUBLISHED)?, &Rfc3339).ok()?,
            signature: signature.and_then(|bytes| String::from_utf8(bytes).ok()),
        })
    }

    /// The same as metadata.
    pub(super) fn metadata(&self) -> HashMap<String, String> {
        let published = self.published.format(&Rfc3339).unwrap_or_default();
        let said = [(VERSION, self.version.to_string()), (SHA256, self.sha256.clone()), (PUBLISHED, published)];
        let signature = self.signature.as_ref().map(|text| BASE64_STANDARD.encode(text));
        let signature = signature.filter(|text| text.len() <= MOST_METADATA).map(|text| (SIGNATURE, text));
        said.into_iter().chain(signature).map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// Whether the pointer may be moved by somebody who decided at `begun` to publish `version`: never over a younger
/// decision. A pointer that was `seen` when the decision was taken is older, whatever its clock said.
pub(super) fn may_move(now: Option<&Object>, seen: Option<&Object>, begun: OffsetDateTime, version: &Version) -> bool {
    let Some(now) = now else { return true };
    if seen.is_some_and(|seen| seen.etag == now.etag && seen.modified == now.modified) {
        return true;
    }
    match Label::of(now) {
        Some(theirs) => (theirs.published, &theirs.version) < (begun, version),
        // Published by other means: by the time that S3 wrote it, which is known to the second.
        None => now.modified < begun,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const BEGUN: OffsetDateTime = datetime!(2026-11-21 12:00:10 UTC);

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    fn object(etag: &str, label: Option<Label>) -> Object {
        let metadata = label.map(|label| label.metadata()).unwrap_or_default();
        Object { etag: etag.to_owned(), length: 1, modified: datetime!(2026-11-21 12:00:00 UTC), metadata }
    }

    fn label(published: OffsetDateTime) -> Label {
        Label { version: version("20261121T120000Z-0123456789ab"), sha256: "0123".into(), published, signature: None }
    }

    #[test]
    fn label_comes_back_from_the_metadata() {
        for signature in [None, Some("untrusted comment: x\nabc\n".to_owned())] {
            let label = Label { signature, ..label(BEGUN) };
            assert_eq!(Label::of(&object("\"1\"", Some(label.clone()))), Some(label));
        }
        assert_eq!(Label::of(&object("\"1\"", None)), None);
        let long = Label { signature: Some("x".repeat(2000)), ..label(BEGUN) };
        assert_eq!(Label::of(&object("\"1\"", Some(long))).and_then(|label| label.signature), None);
    }

    #[test]
    fn pointer_moves_over_what_was_seen_and_over_older_decisions_only() {
        let (ours, second) = (version("20261121T120010Z-aaaaaaaaaaaa"), time::Duration::SECOND);
        let older = object("\"1\"", Some(label(BEGUN - second)));
        let younger = object("\"2\"", Some(label(BEGUN + second)));
        let foreign = object("\"3\"", None);
        let late = Object { modified: BEGUN + second, ..foreign.clone() };
        let table = [
            (None, None, true),
            (Some(&older), None, true),
            (Some(&younger), None, false),
            (Some(&younger), Some(&younger), true),
            (Some(&younger), Some(&older), false),
            (Some(&foreign), Some(&older), true),
            (Some(&late), Some(&older), false),
            (Some(&late), Some(&late), true),
        ];
        for (now, seen, expected) in table {
            assert_eq!(may_move(now, seen, BEGUN, &ours), expected, "{now:?} after {seen:?}");
        }
    }
}
