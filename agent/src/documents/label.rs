//! The label of a package: the metadata of its object.

use std::collections::HashMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Version;

/// S3 takes 2 KB of user metadata altogether
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const MOST_METADATA: usize = 1536;

/// What a publisher says of a package: in the metadata of a version's own object, and of the pointer, which is a copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its version.
    pub version: Version,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// When a publisher decided that this version is served.
    pub published: OffsetDateTime,
    /// Its signature: a whole file in minisign's format.
    pub signature: Option<String>,
}

impl Label {
    /// The name of the version in the metadata, as S3 has it without `x-amz-meta-`.
    pub const VERSION: &str = "spothost-version";
    /// Likewise of the SHA-256.
    pub const SHA256: &str = "spothost-sha256";
    /// Likewise of when it was published.
    pub const PUBLISHED: &str = "spothost-published";
    /// Likewise of the signature, which is in base64.
    pub const SIGNATURE: &str = "spothost-minisig";

    /// What that metadata says, if this program has written it.
    pub fn of(metadata: &HashMap<String, String>) -> Option<Label> {
        let said = |name: &str| metadata.get(name);
        let signature = said(Label::SIGNATURE).and_then(|text| BASE64_STANDARD.decode(text).ok());
        Some(Label {
            version: said(Label::VERSION)?.parse().ok()?,
            sha256: said(Label::SHA256)?.clone(),
            published: OffsetDateTime::parse(said(Label::PUBLISHED)?, &Rfc3339).ok()?,
            signature: signature.and_then(|bytes| String::from_utf8(bytes).ok()),
        })
    }

    /// The same as metadata.
    pub fn metadata(&self) -> HashMap<String, String> {
        let published = self.published.format(&Rfc3339).unwrap_or_default();
        let said = [
            (Label::VERSION, self.version.to_string()),
            (Label::SHA256, self.sha256.clone()),
            (Label::PUBLISHED, published),
        ];
        let signature = self.signature.as_ref().map(|text| BASE64_STANDARD.encode(text));
        let signature = signature.filter(|text| text.len() <= MOST_METADATA).map(|text| (Label::SIGNATURE, text));
        said.into_iter().chain(signature).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn label_comes_back_from_the_metadata() {
        let label = Label {
            version: "20261121T120000Z-0123456789ab".parse().expect("a version"),
            sha256: "0123".into(),
            published: datetime!(2026-11-21 12:00:10 UTC),
            signature: None,
        };
        for signature in [None, Some("untrusted comment: x\nabc\n".to_owned())] {
            let label = Label { signature, ..label.clone() };
            assert_eq!(Label::of(&label.metadata()), Some(label));
        }
        assert_eq!(Label::of(&HashMap::new()), None);
        let long = Label { signature: Some("x".repeat(2000)), ..label };
        assert_eq!(Label::of(&long.metadata()).and_then(|label| label.signature), None);
    }

    #[test]
    fn names_of_the_metadata_are_what_they_were_in_every_version_before() {
        let names = [Label::VERSION, Label::SHA256, Label::PUBLISHED, Label::SIGNATURE];
        assert_eq!(names, ["spothost-version", "spothost-sha256", "spothost-published", "spothost-minisig"]);
    }
}
