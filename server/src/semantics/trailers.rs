//! Fields behind the content.

use http::{HeaderMap, HeaderName, header};

use super::hop_by_hop;

/// Fields that say nothing behind the content that they are about (RFC 9110 §6.5.1), beside those of the connection. hyper knows the
/// same.
const NO_TRAILERS: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::DATE,
];

/// The fields that may follow content, if there are any.
pub(crate) fn permitted(mut fields: HeaderMap) -> Option<HeaderMap> {
    for name in hop_by_hop::FIELDS.iter().chain(&NO_TRAILERS) {
        fields.remove(name);
    }
    (!fields.is_empty()).then_some(fields)
}
