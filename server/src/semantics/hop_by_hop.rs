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
