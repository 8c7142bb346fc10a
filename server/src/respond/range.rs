//! Range requests (RFC 9110 §14).

use std::{collections::VecDeque, ops::Range};

use http::{HeaderMap, HeaderValue, header};

use super::{inflated::Run, inflating::InflateShare, representation::Representation};
use crate::body::Body;

/// More parts than this are not worth their headers; the request is answered as if it had not asked for parts (§14.2).
const MOST_PARTS: usize = 16;
/// Delimits the parts. It need not be random: clients find the parts by their `Content-Range`, and know the whole length.
const BOUNDARY: &str = "spothost-part-9f2d1c7b4a6e8035";

/// What a `Range` asks for, of a representation of known length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    /// Everything: there is no `Range`, or it is malformed, in another unit, or abusive.
    Whole,
    /// These parts, in the order they were asked for, none empty, none overlapping another.
    Parts(Vec<Range<u64>>),
    /// Only what lies behind the end: 416.
    Unsatisfiable,
}

/// Reads the `Range` field.
pub(crate) fn parse(headers: &HeaderMap, length: u64) -> Ranges {
    let mut fields = headers.get_all(header::RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Ranges::Whole;
    };
    let Some(set) = field.to_str().ok().and_then(bytes_unit) else {
        return Ranges::Whole;
    };
    let mut parts = Vec::new();
    for (count, spec) in
        set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()).enumerate()
    {
        if count == MOST_PARTS {
            return Ranges::Whole;
        }
        match part(spec, length) {
            Some(part) if part.is_empty() => {}
            Some(part) => parts.push(part),
            None => return Ranges::Whole,
        }
    }
    // Overlapping parts make a small request cost many times the file; who asks for that is given the file once.
    if overlap(&parts) {
        return Ranges::Whole;
    }
    if parts.is_empty() { Ranges::Unsatisfiable } else { Ranges::Parts(parts) }
}

/// What follows `bytes=`; the unit is case-insensitive (§14.1), and an empty set is malformed.
fn bytes_unit(field: &str) -> Option<&str> {
    let (unit, set) = field.split_once('=')?;
    let empty = set.trim_matches([' ', '\t', ',']).is_empty();
    (unit.trim().eq_ignore_ascii_case("bytes") && !empty).then_some(set)
}

/// One `first-last`, `first-` or `-suffix` (§14.1.2); empty if it lies behind the end, `None` if it is malformed.
fn part(spec: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(length);
        return Some(length - suffix..length);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    let end = last.saturating_add(1).min(length);
    Some(first.min(end)..end)
}

/// Digits only; a number that is too large is larger than any file.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<_> = parts.iter().map(|part| (part.start, part.end)).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0].1 > pair[1].0)
}

/// `Content-Range` of a part (§14.4).
pub(crate) fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// `Content-Type` of several parts (§14.6).
pub(crate) fn multipart_type() -> HeaderValue {
    HeaderValue::from_str(&format!("multipart/byteranges; boundary={BOUNDARY}"))
        .unwrap_or(HeaderValue::from_static("multipart/byteranges"))
}

/// Several parts (§14.6), in the order they were asked for. Only where they are inflated they are put in the content's order,
/// which is one pass over it; §15.3.7.2 leaves the order to the server. `None` if too much is inflated already.
pub(crate) fn multipart(
    representation: &Representation<'_>,
    parts: &mut [Range<u64>],
    inflating: InflateShare<'_>,
) -> Option<Body> {
    if !representation.can_seek() {
        parts.sort_unstable_by_key(|part| part.start);
    }
    let content_type = representation.content_type().to_str().unwrap_or_default();
    let mut runs: VecDeque<Run> = VecDeque::with_capacity(parts.len() * 2 + 1);
    for part in parts {
        let range = content_range(part, representation.length());
        let range = range.to_str().unwrap_or_default();
        let head = format!("\r\n--{BOUNDARY}\r\ncontent-type: {content_type}\r\ncontent-range: {range}\r\n\r\n");
        runs.push_back(Run::Between(head.into()));
        runs.push_back(Run::Part(part.clone()));
    }
    runs.push_back(Run::Between(format!("\r\n--{BOUNDARY}--\r\n").into()));
    representation.parts(runs, inflating)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
mod tests {
    use super::*;

    fn parse_one(field: &str, length: u64) -> Ranges {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, field.parse().unwrap());
        parse(&headers, length)
    }

    #[test]
    fn ranges_are_read_as_rfc_9110_14_1_2_says() {
        use Ranges::{Parts, Unsatisfiable, Whole};
        for (field, expected) in [
            ("bytes=0-0", Parts(vec![0..1])),
            ("bytes=0-99", Parts(vec![0..100])),
            ("bytes=0-", Parts(vec![0..100])),
            ("bytes=90-1000", Parts(vec![90..100])),
            ("bytes=-10", Parts(vec![90..100])),
            ("bytes=-1000", Parts(vec![0..100])),
            ("BYTES=1-2", Parts(vec![1..3])),
            ("bytes=0-0, ,-1", Parts(vec![0..1, 99..100])),
            ("bytes=50-59,0-9", Parts(vec![50..60, 0..10])),
            ("bytes=0-9,100-200", Parts(vec![0..10])),
            ("bytes=0-18446744073709551616", Parts(vec![0..100])),
            ("bytes=100-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=18446744073709551615-", Unsatisfiable),
            ("bytes=18446744073709551616-18446744073709551617", Unsatisfiable),
            ("bytes=2-1", Whole),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=1--2", Whole),
            ("bytes=0-0,x", Whole),
            ("lines=0-1", Whole),
            ("bytes 0-1", Whole),
            ("bytes=0-9,5-14", Whole),
            ("bytes=0-,0-,0-,0-", Whole),
            (
                "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32",
                Whole,
            ),
        ] {
            assert_eq!(parse_one(field, 100), expected, "{field}");
        }
    }

    #[test]
    fn nothing_of_an_empty_file_can_be_asked_for() {
        assert_eq!(parse_one("bytes=0-0", 0), Ranges::Unsatisfiable);
        assert_eq!(parse_one("bytes=-1", 0), Ranges::Unsatisfiable);
    }
}
