//! Which of a client's responses it needs first (RFC 9218).

use http::{HeaderMap, HeaderName};

/// The field that says so (§4).
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// How urgent a response is: 0 is sent before all others, 7 after them (§4.1).
///
/// Responses that are as urgent take turns, whether they are of use in part or not (`i`, §4.2): who asks for several things
/// at once is not always one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Urgency(u8);

impl Default for Urgency {
    fn default() -> Self {
        Self(3)
    }
}

impl Urgency {
    /// All that there are, the most urgent first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=7).map(Self)
    }

    /// That of a request.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let said = fields.get_all(PRIORITY).iter().filter_map(|value| value.to_str().ok());
        said.filter_map(Self::said).next_back().unwrap_or_default()
    }

    /// What a priority field says of it, the last time it does: `u=1, i`, a dictionary (RFC 8941 §3.2). What is wrong says
    /// nothing (§4).
    pub(super) fn said(value: &str) -> Option<Self> {
        let urgency = |member: &str| match member.trim().strip_prefix("u=")?.as_bytes() {
            [digit @ b'0'..=b'7'] | [digit @ b'0'..=b'7', b';', ..] => Some(Self(digit - b'0')),
            _ => None,
        };
        value.split(',').filter_map(urgency).next_back()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn urgency_is_what_the_field_says_or_3() {
        for (values, expected) in [
            (&[][..], 3),
            (&["u=1"], 1),
            (&["u=0, i"], 0),
            (&["i,u=7"], 7),
            (&["u=2;x=y"], 2),
            (&["u=2, u=5"], 5),
            (&["u=2", "u=4"], 4),
            (&["u=8"], 3),
            (&["u=-1"], 3),
            (&["u=22"], 3),
            (&["U=1"], 3),
            (&["uu=1"], 3),
            (&["u"], 3),
        ] {
            let mut fields = HeaderMap::new();
            values.iter().for_each(|value| {
                fields.append(PRIORITY, HeaderValue::from_static(value));
            });
            assert_eq!(Urgency::of(&fields), Urgency(expected), "{values:?}");
        }
    }
}
