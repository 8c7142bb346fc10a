//! How long a response may be reused (RFC 9111 §5.2, RFC 8246).

use http::{HeaderMap, HeaderValue, header};

/// May be kept, but is asked for each time; a 304 is cheap.
pub(crate) const REVALIDATE: &str = "no-cache";
/// Its name changes with its content, so it is never asked for again.
pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// May not be kept at all.
pub(crate) const NEVER: &str = "no-store";

/// An error may end any time, so it is not kept for ever, whatever `_headers` says of that path.
pub(crate) fn never_immutable(headers: &mut HeaderMap) {
    let immutable =
        |field: &HeaderValue| field.to_str().is_ok_and(|field| field.to_ascii_lowercase().contains("immutable"));
    if headers.get(header::CACHE_CONTROL).is_some_and(immutable) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
    }
}
