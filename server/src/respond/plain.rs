//! Responses without a file.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, Uri, header};

use crate::{body::Body, site::caching};

/// What may be done with a file (RFC 9110 §9.1).
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// A status and its name.
pub(crate) fn response(status: StatusCode) -> Response<Body> {
    let text = format!("{status}\n");
    let mut response = Response::new(Body::lying(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching::NEVER));
    response
}

/// 405 (RFC 9110 §15.5.6).
pub(crate) fn method_not_allowed() -> Response<Body> {
    let mut response = response(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, ALLOW);
    response
}

/// The answer to OPTIONS (RFC 9110 §9.3.7).
pub(crate) fn options() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, ALLOW);
    response
}

/// A redirect that keeps the method. A `location` that is no field value is answered with 404 instead.
pub(crate) fn redirect(status: StatusCode, location: String) -> Response<Body> {
    let Ok(location) = HeaderValue::try_from(location) else {
        return response(StatusCode::NOT_FOUND);
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// A redirect that the package asks for, with the request's query unless the target has one of its own. Browsers keep a
/// permanent redirect without end unless a field says how long it is good for (RFC 9110 §15.4.2), so that no later package could
/// mend it: `caching` says so.
pub(crate) fn moved(status: StatusCode, to: &str, uri: &Uri, caching: HeaderValue) -> Response<Body> {
    let mut response = redirect(status, with_query(to, uri));
    if response.status().is_redirection() {
        response.headers_mut().insert(header::CACHE_CONTROL, caching);
    }
    response
}

/// A target with the request's query before its fragment, unless it has a query of its own.
fn with_query(to: &str, uri: &Uri) -> String {
    let (place, fragment) = to.split_at(to.find('#').unwrap_or(to.len()));
    match uri.query() {
        Some(query) if !place.contains('?') => format!("{place}?{query}{fragment}"),
        _ => to.to_owned(),
    }
}

/// 503 while there is no site yet (RFC 9110 §15.6.4, §10.2.3).
pub(crate) fn no_site_yet(retry_after: Duration) -> Response<Body> {
    let mut response = response(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    response
}

/// 503 while too many responses are inflated; who accepts gzip is served all the same.
pub(crate) fn busy(retry_after: Duration) -> Response<Body> {
    no_site_yet(retry_after)
}

/// 416 (RFC 9110 §15.5.17).
pub(crate) fn range_not_satisfiable(length: u64) -> Response<Body> {
    let mut response = response(StatusCode::RANGE_NOT_SATISFIABLE);
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_passed_on_before_the_fragment_unless_the_target_has_one() {
        for (to, target, expected) in [
            ("/new", "/old", "/new"),
            ("/new", "/old?a=b", "/new?a=b"),
            ("/new", "/old?", "/new?"),
            ("/help/#faq", "/r/faq?utm_source=n", "/help/?utm_source=n#faq"),
            ("/help/#faq?x", "/r/faq?a", "/help/?a#faq?x"),
            ("/q?x=1#y", "/old?a=b", "/q?x=1#y"),
            ("https://example.com/#top", "/old?a=b", "https://example.com/?a=b#top"),
        ] {
            assert_eq!(with_query(to, &target.parse().unwrap()), expected, "{to} {target}");
        }
    }
}
