//! Lines of a head or of trailers (RFC 9112 §2.1), however they are cut.

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue};

/// The most bytes of a head, or of trailers.
const MOST: usize = 64 * 1024;

/// A response breaks the rules of HTTP, or goes beyond a bound: its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the lines of one head, or of the trailers of one response, off the bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What has come of a line whose end has not.
    partial: Vec<u8>,
    /// How many bytes have come, of all lines.
    came: usize,
}

impl Lines {
    /// The next line, without its end; none if its end is still to come, when `bytes` is used up.
    ///
    /// # Errors
    /// A line that ends by LF alone (RFC 9112 §2.2 lets a recipient take it, and so two of them disagree), or more than 64 KiB.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        let end = memchr::memchr(b'\n', bytes);
        let mut line = bytes.split_to(end.map_or(bytes.len(), |end| end + 1));
        self.came += line.len();
        if self.came > MOST {
            return Err(Malformed);
        }
        if end.is_none() || !self.partial.is_empty() {
            self.partial.extend_from_slice(&line);
        }
        if end.is_none() {
            return Ok(None);
        }
        if !self.partial.is_empty() {
            line = std::mem::take(&mut self.partial).into();
        }
        if !line.ends_with(b"\r\n") {
            return Err(Malformed);
        }
        line.truncate(line.len() - 2);
        Ok(Some(line))
    }

    /// What has come of a line whose end has not.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }
}

/// The name and the value of a field line (RFC 9112 §5), without the white space around the value.
///
/// # Errors
/// A line that is folded (§5.2), a name that is no token or has white space behind it (§5.1), a value with control characters
/// (RFC 9110 §5.5).
pub(super) fn field(mut line: Bytes) -> Result<(HeaderName, HeaderValue), Malformed> {
    // Names are short.
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| Malformed)?;
    line.advance(colon + 1);
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    line.advance(line.iter().take_while(|byte| is_blank(byte)).count());
    line.truncate(line.len() - line.iter().rev().take_while(|byte| is_blank(byte)).count());
    Ok((name, HeaderValue::from_maybe_shared(line).map_err(|_| Malformed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_by_cr_and_lf_however_they_are_cut() {
        let bytes = b"one\r\n\r\ntwo three\r\nfour";
        for size in [bytes.len(), 1, 2, 7] {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for part in bytes.chunks(size) {
                let mut part = Bytes::from_static(part);
                while let Some(line) = lines.next(&mut part).unwrap() {
                    found.push(line);
                }
                assert!(part.is_empty());
            }
            assert_eq!((found, lines.partial()), (vec!["one".into(), Bytes::new(), "two three".into()], &b"four"[..]));
        }
        assert_eq!(Lines::default().next(&mut Bytes::from_static(b"one\n")), Err(Malformed));
        let mut lines = Lines::default();
        let line = Bytes::from([&[b'a'; MOST / 2 - 2][..], b"\r\n"].concat());
        for _ in 0..2 {
            assert_eq!(lines.next(&mut line.clone()).unwrap().unwrap().len(), MOST / 2 - 2);
        }
        assert_eq!(lines.next(&mut Bytes::from_static(b"a")), Err(Malformed), "it is too much");
    }

    #[test]
    fn a_field_line_is_a_token_a_colon_and_a_value() {
        for (line, expected) in [
            ("A: b", Some(("a", "b"))),
            ("A:", Some(("a", ""))),
            ("A:\t b c \t", Some(("a", "b c"))),
            ("a-b!:c:d", Some(("a-b!", "c:d"))),
            ("", None),
            ("a", None),
            (": b", None),
            ("A : b", None),
            (" A: b", None),
            ("\tfolded: b", None),
            ("A B: c", None),
            ("\u{e4}: b", None),
            ("A: b\0", None),
            ("A: b\rc", None),
            ("A: b\x7f", None),
        ] {
            let found = field(Bytes::from_static(line.as_bytes())).ok();
            let expected =
                expected.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(found, expected, "{line:?}");
        }
        let odd = field(Bytes::from_static(b"A: caf\xe9")).unwrap();
        assert_eq!(odd.1.as_bytes(), b"caf\xe9");
    }
}
