//! From fields to a request (RFC 9113 §8).

use std::cell::RefCell;

use http::{
    HeaderMap, Method, Request, Uri, Version, header,
    uri::{Authority, Parts, PathAndQuery, Scheme},
};

use super::hpack::{Field, RefusedBlock, Sink};
use crate::{
    connections::RequestBody,
    semantics::{field::Length, target::ExtendedConnect},
};

/// A field list of more than so many times the limit closes the connection: unpacking it is the attack (HPACK bomb).
const BOMB: usize = 16;

/// A request that breaks the rules of its form (§8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedRequest;

thread_local! {
    /// Room for the fields of requests, as those of one turn want it.
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// How many spare requests are kept, and the most fields that one of them has room for.
const MOST_SPARE: usize = 32;

/// Leaves the room of a request that was answered to the next one.
pub(super) fn leave(request: Request<RequestBody>) {
    let mut fields = request.into_parts().0.headers;
    SPARE.with_borrow_mut(|spare| {
        if fields.capacity() <= MOST_SPARE && spare.len() < MOST_SPARE {
            fields.clear();
            spare.push(fields);
        }
    });
}

/// The fields of a request, as far as they came.
#[derive(Debug)]
pub(super) struct RequestFields {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    /// Whether `:protocol` is WebSocket, if it is said.
    protocol: Option<bool>,
    others: HeaderMap,
    malformed: bool,
    /// Whether a field came that is no pseudo-field; none of these may follow.
    begun: bool,
    /// How many bytes came, as fields count (§6.5.2), and how many are wanted.
    size: usize,
    most: usize,
}

/// A request's head.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<RequestBody>,
    /// Whether it had more fields than are wanted.
    pub(super) too_large: bool,
    /// How long its content is, as it says.
    pub(super) announced: Option<u64>,
}

impl RequestHead {
    /// Whether the client waits to be asked for its content (RFC 9110 §10.1.1).
    pub(super) fn expects(&self) -> bool {
        let mut expected = self.request.headers().get_all(header::EXPECT).iter();
        expected.any(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }
}

impl RequestFields {
    /// Takes fields of up to `most` bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            method: None,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            others: SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| HeaderMap::with_capacity(12)),
            malformed: false,
            begun: false,
            size: 0,
            most,
        }
    }

    /// Makes no request of them, whatever follows.
    pub(super) fn refuse(&mut self) {
        self.malformed = true;
    }

    /// Whether `:protocol` was said.
    pub(super) fn is_extended(&self) -> bool {
        self.protocol.is_some()
    }

    /// Whether these are trailers as they should be: without pseudo-fields (§8.1), and without a length, as it could only
    /// contradict the content before them (RFC 9110 §6.5.1).
    pub(super) fn are_trailers(&self) -> bool {
        let pseudo = self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some();
        !pseudo && !self.malformed && !self.others.contains_key(header::CONTENT_LENGTH)
    }

    /// The fields as trailers; none if they are more than is wanted, as some are missing then.
    pub(super) fn trailers(self) -> Option<HeaderMap> {
        (self.size <= self.most).then_some(self.others)
    }

    /// The request that they make (§8.3.1).
    ///
    /// # Errors
    /// A request that is malformed.
    pub(super) fn head(self) -> Result<RequestHead, MalformedRequest> {
        let method = self.method.filter(|_| !self.malformed).ok_or(MalformedRequest)?;
        let mut parts = Parts::default();
        // An extended CONNECT has what other requests have (RFC 8441 §4).
        let extended = self.protocol.is_some();
        if extended && (method != Method::CONNECT || self.authority.is_none()) {
            return Err(MalformedRequest);
        }
        if method == Method::CONNECT && !extended {
            // It names an authority alone (§8.5).
            if self.scheme.is_some() || self.path.is_some() {
                return Err(MalformedRequest);
            }
            parts.authority = Some(self.authority.ok_or(MalformedRequest)?);
        } else {
            let scheme = self.scheme.ok_or(MalformedRequest)?;
            let path = self.path.ok_or(MalformedRequest)?;
            if path == "*" && method != Method::OPTIONS {
                return Err(MalformedRequest);
            }
            parts.path_and_query = Some(path);
            match self.authority {
                Some(authority) => {
                    parts.scheme = Some(scheme);
                    parts.authority = Some(authority);
                }
                // `Host` may say it instead, but only of a scheme that has one.
                None if scheme != Scheme::HTTPS && scheme != Scheme::HTTP => return Err(MalformedRequest),
                None => {}
            }
        }
        let announced = announced(&self.others)?;
        let mut request = Request::new(RequestBody::empty());
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| MalformedRequest)?;
        *request.headers_mut() = self.others;
        if self.protocol == Some(true) {
            request.extensions_mut().insert(ExtendedConnect);
        }
        Ok(RequestHead { request, too_large: self.size > self.most, announced })
    }

    fn set<T>(slot: &mut Option<T>, value: T, malformed: &mut bool) {
        *malformed |= slot.replace(value).is_some();
    }
}

/// How long the content is, as the request says: once, as in HTTP/1.1 (RFC 9110 §8.6).
fn announced(fields: &HeaderMap) -> Result<Option<u64>, MalformedRequest> {
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(MalformedRequest);
    }
    Length::read(length.as_bytes()).map(Some).ok_or(MalformedRequest)
}

impl Sink for RequestFields {
    fn wants(&mut self, size: usize) -> Result<bool, RefusedBlock> {
        self.size += size;
        if self.size > self.most.saturating_mul(BOMB) { Err(RefusedBlock::Bomb) } else { Ok(self.size <= self.most) }
    }

    fn take(&mut self, field: Field) {
        let malformed = &mut self.malformed;
        *malformed |= self.begun && !matches!(field, Field::Other(..));
        match field {
            Field::Method(method) => Self::set(&mut self.method, method, malformed),
            Field::Scheme(scheme) => Self::set(&mut self.scheme, scheme, malformed),
            Field::Authority(authority) => Self::set(&mut self.authority, authority, malformed),
            Field::Path(path) => Self::set(&mut self.path, path, malformed),
            Field::Protocol(protocol) => Self::set(&mut self.protocol, protocol, malformed),
            Field::Other(name, value) => {
                self.begun = true;
                // No more of them than a map can hold were wanted.
                let _ = self.others.try_append(name, value);
            }
            Field::Malformed(_) => *malformed = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::{super::hpack::FieldName, *};

    fn other(name: &'static str, value: &'static str) -> Field {
        Field::Other(HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    fn head(fields: impl IntoIterator<Item = Field>) -> Result<RequestHead, MalformedRequest> {
        let mut all = RequestFields::new(100);
        for field in fields {
            if all.wants(10) == Ok(true) {
                all.take(field);
            }
        }
        all.head()
    }

    fn get() -> Vec<Field> {
        vec![
            Field::Method(Method::GET),
            Field::Scheme(Scheme::HTTPS),
            Field::Authority("www.example.org".parse().unwrap()),
            Field::Path("/a?b".parse().unwrap()),
        ]
    }

    #[test]
    fn fields_make_a_request() {
        let whole = head(get().into_iter().chain([other("content-length", "7"), other("x", "1"), other("x", "2")]));
        let RequestHead { request, too_large, announced } = whole.unwrap();
        assert_eq!(request.uri(), "https://www.example.org/a?b");
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_2));
        assert_eq!(request.headers().get_all("x").iter().count(), 2);
        assert_eq!((too_large, announced), (false, Some(7)));
        let without_authority = get().into_iter().filter(|field| !matches!(field, Field::Authority(_)));
        assert_eq!(head(without_authority).unwrap().request.uri(), "/a?b");
    }

    #[test]
    fn too_many_fields_are_counted_and_the_first_ones_kept() {
        let many = (0..7).map(|_| other("x", "y"));
        let RequestHead { request, too_large, .. } = head(get().into_iter().chain(many)).unwrap();
        assert_eq!((request.headers().len(), too_large), (6, true));
        assert_eq!(
            (0..161).try_fold(RequestFields::new(100), |mut all, _| all.wants(10).map(|_| all)).err(),
            Some(RefusedBlock::Bomb)
        );
    }

    #[test]
    fn what_makes_no_request_is_malformed() {
        let without = |at: usize| {
            let mut fields = get();
            fields.remove(at);
            fields
        };
        let twice = |at: usize| [get(), vec![get().remove(at)]].concat();
        let ftp = || Field::Scheme("ftp".parse().unwrap());
        let connect = |more: Vec<Field>| [vec![Field::Method(Method::CONNECT)], more].concat();
        for (what, fields) in [
            ("nothing", vec![]),
            ("no method", without(0)),
            ("no scheme", without(1)),
            ("no path", without(3)),
            ("two methods", twice(0)),
            ("two schemes", twice(1)),
            ("two authorities", twice(2)),
            ("two paths", twice(3)),
            ("a field before the path", [without(3), vec![other("x", "y"), get().remove(3)]].concat()),
            ("a field that may not be", [get(), vec![Field::Malformed(FieldName::Malformed(1))]].concat()),
            ("a length that is none", [get(), vec![other("content-length", "-1")]].concat()),
            ("a length with a sign", [get(), vec![other("content-length", "+1")]].concat()),
            ("a list of lengths", [get(), vec![other("content-length", "1, 1")]].concat()),
            ("two lengths", [get(), vec![other("content-length", "1"), other("content-length", "2")]].concat()),
            ("one length twice", [get(), vec![other("content-length", "1"), other("content-length", "1")]].concat()),
            ("another scheme, and no authority", [without(2)[..1].to_vec(), vec![ftp(), get().remove(3)]].concat()),
            ("an asterisk", [without(3), vec![Field::Path("*".parse().unwrap())]].concat()),
            ("CONNECT to nobody", connect(vec![])),
            ("CONNECT with a path", connect(get().split_off(2))),
        ] {
            assert!(head(fields).is_err(), "{what}");
        }
        assert!(head(connect(vec![get().remove(2)])).is_ok());
    }
}
