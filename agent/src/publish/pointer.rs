//! Whether the pointer may be moved.

use time::OffsetDateTime;

use crate::{
    aws::publisher_bucket::Object,
    documents::{Label, Version},
};

/// Whether the pointer may be moved by a publisher who decided at `begun` to publish `version`: never over a younger
/// decision. A pointer that was `seen` when the decision was taken is older, whatever its clock said.
pub(super) fn may_move(now: Option<&Object>, seen: Option<&Object>, begun: OffsetDateTime, version: &Version) -> bool {
    let Some(now) = now else { return true };
    if seen.is_some_and(|seen| seen.etag == now.etag && seen.modified == now.modified) {
        return true;
    }
    match Label::of(&now.metadata) {
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
    fn pointer_moves_over_what_was_seen_and_over_older_decisions_only() {
        let ours = version("20261121T120010Z-aaaaaaaaaaaa");
        let second = time::Duration::SECOND;
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
