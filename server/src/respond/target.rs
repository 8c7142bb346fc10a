//! A request's target: which bytes and which form it may have (RFC 9112 §3.2, RFC 9113 §8.3.1), and its path (RFC 3986 §3.3),
//! decoded once.

use std::borrow::Cow;

use http::{Method, Request};
use percent_encoding::percent_decode_str;

/// Whether a target may hold that byte. A fragment never comes with one (RFC 9112 §3.2), and blanks and control characters
/// end it for some. Bytes beyond ASCII are borne, as there are clients who send them as they were typed.
pub(crate) const fn may_hold(byte: u8) -> bool {
    matches!(byte, b'!' | b'"' | b'$'..=b'~' | 0x80..)
}

/// Whether a request's target has a form that its method may have (RFC 9112 §3.2): an authority with its port for CONNECT
/// alone (RFC 9110 §9.3.6), `*` for OPTIONS alone, and a path for all others.
pub(crate) fn has_its_form<B>(request: &Request<B>) -> bool {
    let (method, uri) = (request.method(), request.uri());
    match uri.path_and_query() {
        None => method == Method::CONNECT && uri.port().is_some(),
        Some(_) if method == Method::CONNECT => false,
        Some(target) if target == "*" => method == Method::OPTIONS,
        Some(_) => true,
    }
}

/// Whether that is a scheme (RFC 3986 §3.1).
pub(crate) fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

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
    fn a_target_holds_no_blank_no_control_character_and_no_fragment() {
        let refused: Vec<u8> = (0..=255).filter(|byte| !may_hold(*byte)).collect();
        assert_eq!(refused, (0..=b' ').chain([b'#', 0x7f]).collect::<Vec<_>>());
    }

    #[test]
    fn each_method_has_its_form_of_target() {
        for (method, target, expected) in [
            (Method::GET, "/", true),
            (Method::GET, "/a?b", true),
            (Method::GET, "http://a/", true),
            (Method::GET, "http://a?b", true),
            (Method::GET, "*", false),
            (Method::GET, "a", false),
            (Method::GET, "a:80", false),
            (Method::OPTIONS, "*", true),
            (Method::OPTIONS, "/", true),
            (Method::OPTIONS, "a:80", false),
            (Method::CONNECT, "a:80", true),
            (Method::CONNECT, "a", false),
            (Method::CONNECT, "a:", false),
            (Method::CONNECT, "/", false),
            (Method::CONNECT, "*", false),
            (Method::CONNECT, "http://a:80/", false),
        ] {
            let request = Request::builder().method(&method).uri(target).body(()).unwrap();
            assert_eq!(has_its_form(&request), expected, "{method} {target}");
        }
    }

    #[test]
    fn a_scheme_begins_with_a_letter() {
        for (text, expected) in [
            ("https", true),
            ("HTTP", true),
            ("coap+tcp", true),
            ("a1.-", true),
            ("", false),
            ("1a", false),
            ("+a", false),
            ("a:", false),
            ("a~", false),
            ("a b", false),
            ("\u{e4}", false),
        ] {
            assert_eq!(is_scheme(text), expected, "{text:?}");
        }
    }

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
