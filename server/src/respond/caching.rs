//! How long a response may be reused (RFC 9111 §5.2, RFC 8246).

use http::{HeaderMap, HeaderValue, header};

use crate::site::{Entry, Policy};

/// May be kept, but is asked for each time; a 304 is cheap.
pub(crate) const REVALIDATE: &str = "no-cache";
/// Its name changes with its content, so it is never asked for again.
pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// May not be kept at all.
pub(crate) const NEVER: &str = "no-store";

/// The `Cache-Control` of a file that was asked for by its own name.
pub(crate) fn of(policy: &Policy, entry: &Entry) -> HeaderValue {
    if entry.fingerprinted { policy.fingerprinted.clone() } else { policy.pages.clone() }
}

/// An error may end any time, so it is not kept for ever, whatever `_headers` says of that path.
pub(crate) fn never_immutable(headers: &mut HeaderMap) {
    let immutable = |field: &HeaderValue| field.to_str().is_ok_and(|field| field.contains("immutable"));
    if headers.get(header::CACHE_CONTROL).is_some_and(immutable) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
    }
}

/// Whether a name carries a fingerprint of its content, as bundlers make them: `app.3f9c1a.js`, `app-3f9c1a7b.js`.
///
/// Before the extension stands, behind a `.`, `-` or `_`, a word of hexadecimal digits (6 or more), or of 8 to 32 letters
/// and digits as base 32, 36, 58 or 64 make them. It must hold a digit and a letter, so that neither dates, versions nor
/// words count; and it must have a kind of file that bundlers fingerprint, which pages are not.
pub(crate) fn fingerprinted(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = strip(file, &[".br", ".gz", ".zst", ".map"]);
    let Some((stem, extension)) = file.rsplit_once('.') else {
        return false;
    };
    if matches!(extension, "html" | "htm" | "xml" | "txt" | "xhtml") {
        return false;
    }
    let stem = strip(stem, &[".min", ".chunk", ".bundle", ".module"]);
    let Some(at) = stem.rfind(['.', '-', '_']) else {
        return false;
    };
    is_fingerprint(&stem[at + 1..])
}

/// `name` without these endings, however many there are.
fn strip<'a>(mut name: &'a str, endings: &[&str]) -> &'a str {
    while let Some(shorter) = endings.iter().find_map(|ending| name.strip_suffix(ending)) {
        name = shorter;
    }
    name
}

fn is_fingerprint(word: &str) -> bool {
    let all = |allowed: fn(&u8) -> bool| word.as_bytes().iter().all(allowed);
    let some = |wanted: fn(&u8) -> bool| word.as_bytes().iter().any(wanted);
    let mixed = some(u8::is_ascii_digit) && some(u8::is_ascii_alphabetic);
    let hexadecimal = word.len() >= 6 && all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let wider = (8..=32).contains(&word.len()) && all(u8::is_ascii_alphanumeric);
    mixed && (hexadecimal || wider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_fingerprint_are_immutable() {
        for (name, expected) in [
            ("app.3f9c1a.js", true),
            ("app-3f9c1a7b.js", true),
            ("assets/index-BX3v9kQ2.css", true),
            ("_app/immutable/chunks/x.D4gk28aZ.js", true),
            ("main.5d41402abc4b2a76b9719d911017c592.css", true),
            ("main.8e0d62a03f.chunk.js", true),
            ("app.3f9c1a.js.map", true),
            ("app.3f9c1a.js.br", true),
            ("style_0a1b2c3d.woff2", true),
            ("app.js", false),
            ("app.min.js", false),
            ("jquery-3.7.1.min.js", false),
            ("photo-20260112.jpg", false),
            ("report-2026.pdf", false),
            ("well-documented.js", false),
            ("facade.js", false),
            ("the-facade.js", false),
            ("index-3f9c1a7b.html", false),
            ("v2-abc.js", false),
            ("3f9c1a7b", false),
            ("3f9c1a7b.js", false),
        ] {
            assert_eq!(fingerprinted(name), expected, "{name}");
        }
    }
}
