//! What is too large to be looked at.

use http::{Request, StatusCode};

use crate::settings::Bounds;

/// The refusal of a request whose target is too long (RFC 9110 §15.5.15) or that has too many fields (RFC 6585 §5).
pub(crate) fn refusal<B>(bounds: &Bounds, request: &Request<B>) -> Option<StatusCode> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > bounds.target {
        return Some(StatusCode::URI_TOO_LONG);
    }
    // In HTTP/1 hyper has refused it by now.
    (request.headers().len() > bounds.fields).then_some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}
