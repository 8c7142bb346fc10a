//! Fields that are of one connection alone.

use http::{HeaderName, header};

/// Fields that are of one connection alone (RFC 9110 §7.6.1): the wire has its own.
pub(crate) const FIELDS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Whether a field is one of these.
pub(crate) fn is_one(name: &HeaderName) -> bool {
    matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_these_fields_is_one() {
        assert!(FIELDS.iter().all(is_one) && !is_one(&header::CONTENT_LENGTH));
    }
}
