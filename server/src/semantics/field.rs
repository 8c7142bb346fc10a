//! Field values: which there are, whatever the protocol (RFC 9110 §5.5, §8.6), and how they are written without a detour
//! through the heap.

use std::{fmt, io::Write};

use bytes::Bytes;

use http::HeaderValue;

/// The value as text, if it is short and may stand in a field.
pub(crate) fn written(value: &impl fmt::Display) -> Option<HeaderValue> {
    let mut buffer = [0; 64];
    let mut rest = &mut buffer[..];
    write!(rest, "{value}").ok()?;
    let used = 64 - rest.len();
    HeaderValue::from_bytes(&buffer[..used]).ok()
}

/// Whether a token, such as a field's name or a method, may hold that byte (RFC 9110 §5.6.2).
pub(crate) const fn is_token(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// A value as HTTP/2 may carry it (RFC 9113 §8.2.1): one of HTTP/1.1 (RFC 9110 §5.5) without the blanks that may stand around
/// it there. `None` for any other.
pub(crate) fn value(bytes: Bytes) -> Option<HeaderValue> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_blank(bytes.first()) || is_blank(bytes.last()) {
        return None;
    }
    HeaderValue::from_maybe_shared(bytes).ok()
}

/// A `Content-Length` (RFC 9110 §8.6), read as its bytes come: digits and nothing else.
///
/// A list of lengths is none, even if all of them are the same: RFC 9110 §8.6 allows to refuse it, and a client that sends one has
/// been confused by somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Length {
    value: u64,
    digits: u8,
}

/// Digits of a length: as many as always fit.
const LENGTH_DIGITS: u8 = 18;

impl Length {
    /// Takes the next byte of the value; `None` for one that may not stand there.
    pub(crate) fn push(&mut self, byte: u8) -> Option<()> {
        if !byte.is_ascii_digit() || self.digits == LENGTH_DIGITS {
            return None;
        }
        self.value = self.value * 10 + u64::from(byte - b'0');
        self.digits += 1;
        Some(())
    }

    /// The length in bytes; `None` if no digit came.
    pub(crate) fn end(self) -> Option<u64> {
        (self.digits > 0).then_some(self.value)
    }

    /// The length that a whole value says; `None` if it says none.
    pub(crate) fn read(value: &[u8]) -> Option<u64> {
        let mut length = Self::default();
        value.iter().try_for_each(|byte| length.push(*byte))?;
        length.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_no_blanks_around_them_and_no_control_characters() {
        for (value_of, expected) in [
            (&b""[..], true),
            (b"a", true),
            (b"a b\tc", true),
            (b"\xe4\xff", true),
            (b" a", false),
            (b"a ", false),
            (b"\ta", false),
            (b"a\t", false),
            (b" ", false),
            (b"\t", false),
            (b"a\0b", false),
            (b"a\rb", false),
            (b"a\nb", false),
            (b"a\x0bb", false),
            (b"a\x7fb", false),
        ] {
            let read = value(Bytes::from_static(value_of));
            assert_eq!(read.is_some(), expected, "{:?}", value_of.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for (value, expected) in [
            (&b"0"[..], Some(0)),
            (b"5", Some(5)),
            (b"0005", Some(5)),
            (b"999999999999999999", Some(999_999_999_999_999_999)),
            (b"", None),
            (b"+5", None),
            (b"-5", None),
            (b"-0", None),
            (b" 5", None),
            (b"5 ", None),
            (b"5,5", None),
            (b"5, 5", None),
            (b"0x5", None),
            (b"5e0", None),
            (b"5.0", None),
            (b"1_000", None),
            (b"\xd9\xa5", None),
            (b"1000000000000000000", None),
            (b"18446744073709551616", None),
        ] {
            assert_eq!(Length::read(value), expected, "{:?}", value.escape_ascii().to_string());
        }
    }

    #[test]
    fn what_is_short_is_written_and_what_is_long_is_not() {
        assert_eq!(written(&"abc").unwrap(), "abc");
        assert_eq!(written(&"a".repeat(64)).unwrap(), "a".repeat(64));
        assert_eq!(written(&"a".repeat(65)), None);
        assert_eq!(written(&"a\nb"), None);
    }
}
