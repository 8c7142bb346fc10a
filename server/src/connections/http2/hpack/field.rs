//! A field as it is kept: parsed once, however often a client repeats it.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{OVERHEAD, table::Counted};
use crate::semantics::{authority::HostPort, field, target};

/// A field of a request, or what makes a request malformed (RFC 9113 §8.2, §8.3).
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Field {
    /// `:method`.
    Method(Method),
    /// `:scheme`.
    Scheme(Scheme),
    /// `:authority`.
    Authority(Authority),
    /// `:path`.
    Path(PathAndQuery),
    /// `:protocol` of an extended CONNECT (RFC 8441 §4), and whether that is WebSocket.
    Protocol(bool),
    /// Any other.
    Other(HeaderName, HeaderValue),
    /// One that no request may have, under this name.
    Malformed(FieldName),
}

/// The name of a field.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum FieldName {
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Other(HeaderName),
    /// No name that a request may have, of so many bytes.
    Malformed(usize),
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub(super) struct TableEntry {
    pub(super) field: Field,
    /// As it counts (RFC 7541 §4.1).
    pub(super) size: usize,
}

impl FieldName {
    pub(super) fn parse(name: &[u8]) -> Self {
        match name {
            b":method" => FieldName::Method,
            b":scheme" => FieldName::Scheme,
            b":authority" => FieldName::Authority,
            b":path" => FieldName::Path,
            b":protocol" => FieldName::Protocol,
            _ => other(name).map_or(FieldName::Malformed(name.len()), FieldName::Other),
        }
    }

    fn length(&self) -> usize {
        match self {
            FieldName::Method => ":method".len(),
            FieldName::Scheme => ":scheme".len(),
            FieldName::Authority => ":authority".len(),
            FieldName::Path => ":path".len(),
            FieldName::Protocol => ":protocol".len(),
            FieldName::Other(name) => name.as_str().len(),
            FieldName::Malformed(length) => *length,
        }
    }
}

/// In lower case, and a token (RFC 9113 §8.2.1): a colon is none, nor is a quotation mark, which `http` takes.
fn other(name: &[u8]) -> Option<HeaderName> {
    let is_token = name.iter().all(|byte| field::is_token(*byte));
    is_token.then(|| HeaderName::from_lowercase(name).ok())?
}

impl Counted for TableEntry {
    fn size(&self) -> usize {
        self.size
    }
}

impl TableEntry {
    pub(super) fn new(name: FieldName, value: Bytes) -> Self {
        let size = name.length() + value.len() + OVERHEAD;
        let field = Field::parse(&name, value).unwrap_or(Field::Malformed(name));
        Self { field, size }
    }

    pub(super) fn name(&self) -> FieldName {
        match &self.field {
            Field::Method(_) => FieldName::Method,
            Field::Scheme(_) => FieldName::Scheme,
            Field::Authority(_) => FieldName::Authority,
            Field::Path(_) => FieldName::Path,
            Field::Protocol(_) => FieldName::Protocol,
            Field::Other(name, _) => FieldName::Other(name.clone()),
            Field::Malformed(name) => name.clone(),
        }
    }
}

impl Field {
    fn parse(name: &FieldName, value: Bytes) -> Option<Self> {
        Some(match name {
            FieldName::Method => Field::Method(Method::from_bytes(&value).ok()?),
            FieldName::Scheme => Field::Scheme(scheme(&value)?),
            FieldName::Authority => Field::Authority(authority(value)?),
            FieldName::Path => Field::Path(path(value)?),
            FieldName::Protocol => {
                let is_token = !value.is_empty() && value.iter().all(|byte| field::is_token(*byte));
                is_token.then(|| Field::Protocol(value.eq_ignore_ascii_case(b"websocket")))?
            }
            FieldName::Other(name) => {
                let value = field::value(value)?;
                (!is_of_connection(name, &value)).then(|| Field::Other(name.clone(), value))?
            }
            FieldName::Malformed(_) => return None,
        })
    }
}

/// `:scheme`, in letters of any case (RFC 3986 §3.1).
fn scheme(value: &[u8]) -> Option<Scheme> {
    let text = str::from_utf8(value).ok().filter(|text| target::is_scheme(text))?;
    match text.to_ascii_lowercase().as_str() {
        "https" => Some(Scheme::HTTPS),
        "http" => Some(Scheme::HTTP),
        other => Scheme::try_from(other).ok(),
    }
}

/// `:authority` names a host, without userinfo (RFC 9113 §8.3.1).
fn authority(value: Bytes) -> Option<Authority> {
    Authority::from_maybe_shared(value).ok().filter(|authority| HostPort::of(authority).is_some())
}

/// `:path` is never empty; it begins with a slash, or is `*` (RFC 9113 §8.3.1).
fn path(value: Bytes) -> Option<PathAndQuery> {
    let begins = value.first() == Some(&b'/') || &*value == b"*";
    let holds = value.iter().all(|byte| target::may_hold(*byte));
    (begins && holds).then(|| PathAndQuery::from_maybe_shared(value).ok())?
}

/// Whether that says something of a connection, which HTTP/2 has frames for (RFC 9113 §8.2.2).
fn is_of_connection(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE => true,
        header::TE => !value.as_bytes().eq_ignore_ascii_case(b"trailers"),
        _ => matches!(name.as_str(), "keep-alive" | "proxy-connection"),
    }
}

/// The static table (RFC 7541 appendix A); its first entry has number 1.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// The same, parsed.
pub(super) static ENTRIES: LazyLock<Vec<TableEntry>> = LazyLock::new(|| {
    let entry = |(name, value): &(&'static str, &'static str)| {
        TableEntry::new(FieldName::parse(name.as_bytes()), Bytes::from_static(value.as_bytes()))
    };
    STATIC.iter().map(entry).collect()
});
