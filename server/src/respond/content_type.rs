//! Types by extension (RFC 9110 §8.3), with the charset for text.

use http::HeaderValue;
use mime_guess::mime;

/// The extension of a file's name, without the dot; empty if there is none.
pub(crate) fn extension(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The content type of files with this extension. Text is UTF-8; without a known extension it is just bytes.
pub(crate) fn of_extension(extension: &str) -> HeaderValue {
    let known = match extension.to_ascii_lowercase().as_str() {
        // Each of these is younger than the table of the library, or more precise than it.
        "br" | "zst" => Some("application/octet-stream"),
        "gz" => Some("application/gzip"),
        "js" | "mjs" => Some("text/javascript; charset=utf-8"),
        "map" => Some("application/json"),
        "webmanifest" => Some("application/manifest+json"),
        "avif" => Some("image/avif"),
        "ico" => Some("image/x-icon"),
        "md" => Some("text/markdown; charset=utf-8"),
        "wasm" => Some("application/wasm"),
        _ => None,
    };
    if let Some(known) = known {
        return HeaderValue::from_static(known);
    }
    let guess = mime_guess::from_ext(extension).first_or_octet_stream();
    let text = match guess.type_() {
        mime::TEXT => format!("{guess}; charset=utf-8"),
        _ => guess.to_string(),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_charset_and_the_unknown_is_just_bytes() {
        for (name, expected) in [
            ("a/index.html", "text/html; charset=utf-8"),
            ("A.HTML", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.min.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.avif", "image/avif"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.webmanifest", "application/manifest+json"),
            ("feed.xml", "text/xml; charset=utf-8"),
            ("a.pdf", "application/pdf"),
            ("a.gz", "application/gzip"),
            ("a.unknown", "application/octet-stream"),
            ("a.d/LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(of_extension(extension(name)), expected, "{name}");
        }
    }
}
