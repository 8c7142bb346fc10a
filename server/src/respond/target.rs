//! The path of a request's target (RFC 3986 §3.3), decoded once.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The path, which begins with a slash, percent-decoded exactly once.
///
/// `None` for what no honest client sends: dot segments (clients remove them, RFC 3986 §5.2.4), backslashes, control
/// characters and NUL, bytes that are not UTF-8 (overlong forms among them), `%` without two digits, and an encoded slash,
/// which some would read as a segment's end. It could not lead outside anyway: only names of the directory are looked up.
pub(crate) fn path(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.starts_with('/') {
        return None;
    }
    let path = if raw.contains('%') { decode(raw)? } else { Cow::Borrowed(raw) };
    let bytes = path.as_bytes();
    if bytes.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control()) {
        return None;
    }
    // Others than those of ASCII, which cost a decoding.
    if !path.is_ascii() && path.contains(char::is_control) {
        return None;
    }
    let ends_segment = |at: usize| matches!(bytes.get(at + 1), None | Some(b'/'));
    if memchr::memchr_iter(b'.', bytes).any(ends_segment) {
        let dots = |segment: &str| matches!(segment, "." | "..");
        return (!path.split('/').any(dots)).then_some(path);
    }
    Some(path)
}

fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        let digits = rest.as_bytes().get(at + 1..at + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) || digits.eq_ignore_ascii_case(b"2f") {
            return None;
        }
        rest = &rest[at + 3..];
    }
    percent_decode_str(raw).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_exactly_once() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/index.html", "/index.html"),
            ("/a%20b/%C3%A4", "/a b/ä"),
            ("/100%25", "/100%"),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("/..a/b../...", "/..a/b../..."),
            ("/a//b/", "/a//b/"),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(path(raw).as_deref(), Some(decoded), "{raw:?}");
        }
    }

    #[test]
    fn traversal_in_every_spelling_is_no_path() {
        for raw in [
            "",
            "*",
            "index.html",
            "/..",
            "/../etc/passwd",
            "/a/../b",
            "/a/..",
            "/.",
            "/./a",
            "/a/.",
            "/%2e%2e/x",
            "/%2E./x",
            "/.%2e",
            "/a/%2e",
            "/..%2fx",
            "/a%2Fb",
            "/..%5cx",
            "/a\\b",
            "/%00",
            "/a%0ab",
            "/%7f",
            "/%c2%85",
            "/%c0%ae%c0%ae/x",
            "/%c0%af",
            "/%e0%80%af",
            "/%ff",
            "/%",
            "/%2",
            "/%zz",
            "/%u002e",
            "/a%2",
            "/\u{85}",
        ] {
            assert_eq!(path(raw), None, "{raw:?}");
        }
    }
}
