//! Conditional requests (RFC 9110 §13).

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, header};
use httpdate::HttpDate;

use super::field;

use crate::clock;

/// What tells a representation from others (RFC 9110 §8.8).
pub(crate) struct Validators {
    /// Strong, with its quotes.
    pub(crate) tag: HeaderValue,
    /// Seconds since 1970, where it is known.
    pub(crate) modified: Option<u64>,
}

/// What the preconditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Go,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Judges the preconditions in the order of RFC 9110 §13.2.2, for a file that exists.
pub(crate) fn judge(headers: &HeaderMap, validators: &Validators) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        if !matches(headers, header::IF_MATCH, validators, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, header::IF_UNMODIFIED_SINCE), validators.modified)
        && modified > date
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if matches(headers, header::IF_NONE_MATCH, validators, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, header::IF_MODIFIED_SINCE), validators.modified)
        && modified <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// Whether `Range` may be considered: `If-Range` is absent, or its strong validator matches (§13.1.5).
///
/// A date never does: `Last-Modified` of a package is no strong validator, as two versions can share a second (§8.8.2.2).
pub(crate) fn range_applies(headers: &HeaderMap, validators: &Validators) -> bool {
    let mut fields = headers.get_all(header::IF_RANGE).iter();
    match (fields.next(), fields.next()) {
        (None, _) => true,
        (Some(field), None) => *field == validators.tag,
        (Some(_), Some(_)) => false,
    }
}

thread_local! {
    /// Times that were written before, each where its last bits say. The files of a package share a few, and an archive
    /// knows even seconds only.
    static WRITTEN: RefCell<[(u64, HeaderValue); 16]> =
        const { RefCell::new([const { (0, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT")) }; 16]) };
}

/// A time as HTTP writes it (§5.6.7); never later than now, as a `Last-Modified` must not be (§8.8.2.1).
pub(crate) fn http_date(seconds: u64) -> Option<HeaderValue> {
    WRITTEN.with_borrow_mut(|written| {
        let (known, value) = &mut written[(seconds / 2 % 16) as usize];
        if *known == seconds {
            return Some(value.clone());
        }
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let now = clock::now();
        let date = field::written(&HttpDate::from(time.min(now)))?;
        // One that is still to come is another one in a second.
        if time <= now {
            (*known, *value) = (seconds, date.clone());
        }
        Some(date)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether the field lists the tag, or is `*` (§8.8.3.2). Fields are compared as they are: a list that is malformed somewhere
/// still matches by the tags before that.
fn matches(headers: &HeaderMap, name: header::HeaderName, validators: &Validators, comparison: Comparison) -> bool {
    headers.get_all(name).iter().any(|field| lists(field.as_bytes(), validators.tag.as_bytes(), comparison))
}

fn lists(field: &[u8], tag: &[u8], comparison: Comparison) -> bool {
    let mut rest = field.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let (weak, opaque) = match rest.strip_prefix(b"W/") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        // A tag may hold commas, so the quotes delimit it.
        let Some(end) = opaque.strip_prefix(b"\"").and_then(|inner| memchr::memchr(b'"', inner)) else {
            return false;
        };
        let (found, after) = opaque.split_at(end + 2);
        if found == tag && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = after;
    }
}

fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    let mut fields = headers.get_all(name).iter();
    let (field, None) = (fields.next()?, fields.next()) else {
        return None;
    };
    let time = httpdate::parse_http_date(field.to_str().ok()?).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "Sat, 21 Nov 2026 12:00:00 GMT";
    const BEFORE: &str = "Sat, 21 Nov 2026 11:59:59 GMT";
    const AFTER: &str = "Sat, 21 Nov 2026 12:00:01 GMT";

    fn validators() -> Validators {
        let at = httpdate::parse_http_date(AT).unwrap().duration_since(UNIX_EPOCH).unwrap();
        Validators { tag: HeaderValue::from_static("\"a,b\""), modified: Some(at.as_secs()) }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn preconditions_are_judged_in_the_order_of_rfc_9110_13_2_2() {
        use Verdict::{Failed, Go, NotModified};
        for (fields, expected) in [
            (&[][..], Go),
            (&[("if-match", "\"a,b\"")], Go),
            (&[("if-match", "*")], Go),
            (&[("if-match", "\"x\", \"a,b\"")], Go),
            (&[("if-match", "\"x\"")], Failed),
            (&[("if-match", "W/\"a,b\"")], Failed),
            (&[("if-match", "")], Failed),
            (&[("if-match", "\"a,b\""), ("if-unmodified-since", BEFORE)], Go),
            (&[("if-unmodified-since", BEFORE)], Failed),
            (&[("if-unmodified-since", AT)], Go),
            (&[("if-unmodified-since", "yesterday")], Go),
            (&[("if-none-match", "\"a,b\"")], NotModified),
            (&[("if-none-match", "W/\"a,b\"")], NotModified),
            (&[("if-none-match", "\"x\",W/\"y\" , \"a,b\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x\"")], Go),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AFTER)], Go),
            (&[("if-none-match", "a,b")], Go),
            (&[("if-none-match", "\"a,b")], Go),
            (&[("if-modified-since", AT)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Go),
            (&[("if-modified-since", "0")], Go),
            (&[("if-match", "\"x\""), ("if-none-match", "\"a,b\"")], Failed),
            (&[("if-match", "*"), ("if-none-match", "\"a,b\"")], NotModified),
            (&[("if-unmodified-since", AT), ("if-modified-since", AT)], NotModified),
        ] {
            assert_eq!(judge(&headers(fields), &validators()), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_range_applies_only_with_the_same_strong_tag() {
        for (fields, expected) in [
            (&[][..], true),
            (&[("if-range", "\"a,b\"")], true),
            (&[("if-range", "W/\"a,b\"")], false),
            (&[("if-range", "\"x\"")], false),
            (&[("if-range", AT)], false),
            (&[("if-range", "\"a,b\""), ("if-range", "\"a,b\"")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(*name, value.parse().unwrap());
            }
            assert_eq!(range_applies(&map, &validators()), expected, "{fields:?}");
        }
    }

    #[test]
    fn last_modified_is_never_in_the_future() {
        assert_eq!(http_date(0).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        // Again, and another one in the same place.
        for _ in 0..2 {
            for seconds in [784_111_777, 784_111_777 + 32] {
                let written = http_date(seconds).unwrap();
                let read = httpdate::parse_http_date(written.to_str().unwrap()).unwrap();
                assert_eq!(read, UNIX_EPOCH + Duration::from_secs(seconds));
            }
        }
        let far = http_date(u64::from(u32::MAX)).unwrap();
        let far = httpdate::parse_http_date(far.to_str().unwrap()).unwrap();
        assert!(far <= std::time::SystemTime::now());
    }
}
