//! When a single-page application answers for a path that is not there.

use http::{HeaderMap, header};

/// Whether a request for this path is for a page: its last segment has no extension, or the client wants HTML by name. A
/// script or an image that is missing is missing, and never a page with another type.
pub(crate) fn wanted(path: &str, headers: &HeaderMap) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    let html = |field: &http::HeaderValue| field.to_str().is_ok_and(|field| field.contains("text/html"));
    !last.contains('.') || headers.get_all(header::ACCEPT).iter().any(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fall_back_and_missing_assets_do_not() {
        for (path, accept, expected) in [
            ("/", "*/*", true),
            ("/users/7", "*/*", true),
            ("/v1.2/users", "*/*", true),
            ("/app.js", "*/*", false),
            ("/logo.png", "image/avif,image/*", false),
            ("/users/a.b", "text/html,application/xhtml+xml", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(wanted(path, &headers), expected, "{path} {accept}");
        }
    }
}
