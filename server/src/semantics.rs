//! Rules of HTTP that hold whatever is served and whatever the protocol: pure, one a file, named after what RFC 9110 calls it.

pub(crate) mod authority;
pub(crate) mod chunk_size;
pub(crate) mod coding;
pub(crate) mod conditional;
pub(crate) mod field;
pub(crate) mod hop_by_hop;
pub(crate) mod limits;
pub(crate) mod target;
pub(crate) mod trailers;
