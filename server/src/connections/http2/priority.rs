//! Which of a client's responses it needs first (RFC 9218).

use http::{HeaderMap, HeaderName};

/// The field that says so (§4).
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// When a response is sent, beside the others of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Priority {
    pub(super) urgency: Urgency,
    /// Whether parts of it are of use before it is complete (`i`, §4.2): such responses share the connection. Others follow
    /// each other, as half of each would be of no use.
    pub(super) incremental: bool,
}

/// How urgent a response is: 0 is sent before all others, 7 after them (§4.1).
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
}

impl Priority {
    /// That of a request.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let said = fields.get_all(PRIORITY).iter().filter_map(|value| value.to_str().ok());
        said.fold(Self::default(), Self::and)
    }

    /// With what a response says that it knows better (§8).
    pub(super) fn of_response(self, fields: &HeaderMap) -> Self {
        let said = fields.get_all(PRIORITY).iter().filter_map(|value| value.to_str().ok());
        said.fold(self, Self::and)
    }

    /// What a PRIORITY_UPDATE says: all of it, with the default for what it does not mention (§7).
    pub(super) fn updated(value: &[u8]) -> Self {
        str::from_utf8(value).map(|said| Self::default().and(said)).unwrap_or_default()
    }

    /// With what a priority field says, the last time it does: `u=1, i`, a dictionary (RFC 8941 §3.2). What is wrong says
    /// nothing (§4).
    fn and(self, said: &str) -> Self {
        said.split(',').fold(self, Self::and_member)
    }

    fn and_member(mut self, member: &str) -> Self {
        let member = member.split(';').next().unwrap_or_default().trim();
        match member.as_bytes() {
            [b'u', b'=', digit @ b'0'..=b'7'] => self.urgency = Urgency(digit - b'0'),
            b"i" | b"i=?1" => self.incremental = true,
            b"i=?0" => self.incremental = false,
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_response_may_know_better() {
        let fields = |said| HeaderMap::from_iter([(PRIORITY, HeaderValue::from_static(said))]);
        let asked = Priority::of(&fields("u=5, i"));
        assert_eq!(asked.of_response(&HeaderMap::new()), asked);
        assert_eq!(asked.of_response(&fields("u=1")), Priority::of(&fields("u=1, i")));
        assert_eq!(asked.of_response(&fields("i=?0")), Priority::of(&fields("u=5")));
    }

    #[test]
    fn a_priority_is_what_the_field_says_or_3_and_not_incremental() {
        for (values, urgency, incremental) in [
            (&[][..], 3, false),
            (&["u=1"], 1, false),
            (&["u=0, i"], 0, true),
            (&["i,u=7"], 7, true),
            (&["i=?1"], 3, true),
            (&["i=?0"], 3, false),
            (&["i, i=?0"], 3, false),
            (&["i;x=y"], 3, true),
            (&["u=2;x=y"], 2, false),
            (&["u=2, u=5"], 5, false),
            (&["u=2, i", "u=4"], 4, true),
            (&["u=8"], 3, false),
            (&["u=-1"], 3, false),
            (&["u=22"], 3, false),
            (&["U=1, I"], 3, false),
            (&["uu=1, ii"], 3, false),
            (&["u"], 3, false),
            (&["i=1"], 3, false),
            (&["i=?2"], 3, false),
        ] {
            let mut fields = HeaderMap::new();
            values.iter().for_each(|value| {
                fields.append(PRIORITY, HeaderValue::from_static(value));
            });
            let expected = Priority { urgency: Urgency(urgency), incremental };
            assert_eq!(Priority::of(&fields), expected, "{values:?}");
        }
        let expected = Priority { urgency: Urgency(3), incremental: true };
        assert_eq!(Priority::updated(b"i"), expected);
        assert_eq!(Priority::updated(b"u=1\xff"), Priority::default());
    }
}
