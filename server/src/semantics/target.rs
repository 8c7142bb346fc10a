//! A request's target: which bytes and which form it may have (RFC 9112 §3.2, RFC 9113 §8.3.1), and its path (RFC 3986 §3.3),
//! decoded once.

use std::borrow::Cow;

use http::{Method, Request};

/// Whether a target may hold that byte. A fragment never comes with one (RFC 9112 §3.2), and blanks and control characters
/// end it for some. Bytes beyond ASCII are borne, as there are clients who send them as they were typed.
pub(crate) const fn may_hold(byte: u8) -> bool {
    matches!(byte, b'!' | b'"' | b'$'..=b'~' | 0x80..)
}

/// Says of a request of HTTP/2 with the method CONNECT that it opens a WebSocket over its stream (RFC 8441 §5): its target is that of
/// any other request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExtendedConnect;

/// Whether a request's target has a form that its method may have (RFC 9112 §3.2): an authority with its port for CONNECT
/// alone (RFC 9110 §9.3.6), `*` for OPTIONS alone, and a path for all others.
pub(crate) fn has_its_form<B>(request: &Request<B>) -> bool {
    let method = request.method();
    let uri = request.uri();
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

/// Stands in a decoded path for a slash that was percent-encoded. It ends no segment for this server and is part of no
/// file's name, because neither a name nor a path may hold a control character; others might read it as a segment's end.
pub(crate) const ENCODED_SLASH: char = '\u{1}';

/// The path, which begins with a slash, percent-decoded exactly once; an encoded slash becomes [`ENCODED_SLASH`].
///
/// `None` for what no honest client sends: dot segments (clients remove them, RFC 3986 §5.2.4), backslashes, control
/// characters and NUL, bytes that are not UTF-8 (overlong forms among them), and `%` without two digits. It could not lead
/// outside anyway: only names of the directory are looked up.
pub(crate) fn path(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.starts_with('/') || raw.bytes().any(refused) {
        return None;
    }
    let path = if raw.contains('%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
    // Others than those of ASCII, which cost a decoding.
    if !path.is_ascii() && path.contains(|c: char| c.is_control() && c != ENCODED_SLASH) {
        return None;
    }
    let bytes = path.as_bytes();
    let ends_segment = |at: usize| matches!(bytes.get(at + 1), None | Some(b'/' | 1));
    if memchr::memchr_iter(b'.', bytes).any(ends_segment) {
        let dots = |segment: &str| matches!(segment, "." | "..");
        return (!path.split(['/', ENCODED_SLASH]).any(dots)).then_some(path);
    }
    Some(path)
}

/// A decoded path as it stands in a URL: the inverse of [`path`].
pub(crate) fn encode(path: &str) -> String {
    let parts = path.split(ENCODED_SLASH).map(|part| percent_encoding::utf8_percent_encode(part, PATH).to_string());
    parts.collect::<Vec<_>>().join("%2F")
}

fn decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        bytes.extend_from_slice(&rest[..at]);
        let byte = octet(rest.get(at + 1..at + 3)?)?;
        if refused(byte) {
            return None;
        }
        bytes.push(if byte == b'/' { ENCODED_SLASH as u8 } else { byte });
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest);
    String::from_utf8(bytes).ok()
}

/// The octet that two hexadecimal digits stand for (RFC 3986 §2.1).
fn octet(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(value(*high)? * 16 + value(*low)?).ok()
}

/// Whether no path may hold this byte, encoded or not.
fn refused(byte: u8) -> bool {
    byte == b'\\' || byte.is_ascii_control()
}

/// What must be encoded in a path (RFC 3986 §3.3).
const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

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
            ("/a%2Fb", "/a\u{1}b"),
            ("/a%2fb/c%2F", "/a\u{1}b/c\u{1}"),
            ("/a%252Fb", "/a%2Fb"),
        ] {
            assert_eq!(path(raw).as_deref(), Some(decoded), "{raw:?}");
        }
    }

    #[test]
    fn a_path_is_encoded_so_that_it_is_decoded_alike() {
        for (decoded, raw) in [
            ("/a b/ä", "/a%20b/%C3%A4"),
            ("/100%?#", "/100%25%3F%23"),
            ("/a\u{1}b", "/a%2Fb"),
            ("/a%2Fb", "/a%252Fb"),
            ("/~user/a:b@c,d;e=f", "/~user/a:b@c,d;e=f"),
        ] {
            assert_eq!(encode(decoded), raw);
            assert_eq!(path(raw).as_deref(), Some(decoded));
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
            "/a%2F..",
            "/a%2f%2e%2e%2Fb",
            "/.%2Fx",
            "/..%5cx",
            "/a\\b",
            "/%00",
            "/%01",
            "/\u{1}",
            "/a\u{1}%20",
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
            "/%+1",
            "/%u002e",
            "/a%2",
            "/\u{85}",
        ] {
            assert_eq!(path(raw), None, "{raw:?}");
        }
    }
}
