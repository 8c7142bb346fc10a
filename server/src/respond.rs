//! From a request to its response: pure, and read from top to bottom. One HTTP rule a file.

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod caching;
pub(crate) mod coding;
pub(crate) mod conditional;
pub(crate) mod content_type;
pub(crate) mod page;
pub(crate) mod plain;
pub(crate) mod range;
pub(crate) mod representation;
pub(crate) mod target;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use self::{authority::Known, page::Page, representation::Representation};
pub(crate) use self::{authority::Names, body::Body};
use crate::{Settings, Site};

/// What is known about a request beside its head.
pub(crate) struct Asked<'a> {
    /// The names that are served.
    pub(crate) names: &'a Names,
    pub(crate) settings: &'a Settings,
    /// The site as it is at the request's beginning; the response keeps it.
    pub(crate) site: Option<Arc<Site>>,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// Whether its target was cut, because it is too long.
    pub(crate) long_target: bool,
    /// Whether content follows its head.
    pub(crate) content: bool,
}

/// The response to a request.
pub(crate) fn answer<B>(asked: &Asked<'_>, request: &Request<B>) -> Response<Body> {
    let mut response = respond(asked, request);
    if let (true, Some(hsts)) = (asked.secure, &asked.names.hsts) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if request.method() == Method::HEAD {
        withhold(&mut response);
    }
    response
}

/// HEAD has the fields of GET and none of its content (RFC 9110 §9.3.2).
fn withhold(response: &mut Response<Body>) {
    let length = response.body().left();
    if length > 0 {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    *response.body_mut() = Body::empty();
}

fn respond<B>(asked: &Asked<'_>, request: &Request<B>) -> Response<Body> {
    if asked.long_target
        || request.uri().path_and_query().is_some_and(|target| target.as_str().len() > asked.settings.bounds.target)
    {
        return plain::response(StatusCode::URI_TOO_LONG);
    }
    let known = match asked.names.of(request) {
        Ok(known) => known,
        Err(status) => return plain::response(status),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return plain::method_not_allowed();
    }
    let Some(site) = &asked.site else {
        return plain::no_site_yet(asked.settings.patience.retry_after);
    };
    if known == Known::Alias || !(asked.secure || asked.settings.plain) {
        return plain::redirect(StatusCode::PERMANENT_REDIRECT, asked.names.canonical(request));
    }
    if request.method() == Method::OPTIONS {
        return plain::options();
    }
    serve(site, request)
}

fn serve<B>(site: &Arc<Site>, request: &Request<B>) -> Response<Body> {
    let Some(path) = target::path(request.uri().path()) else {
        return plain::response(StatusCode::BAD_REQUEST);
    };
    match page::find(site, &path) {
        Page::File(entry) => match Representation::choose(site, entry, request.headers()) {
            Some(representation) => file(&representation, request),
            None => plain::response(StatusCode::INTERNAL_SERVER_ERROR),
        },
        Page::Missing(entry) => match Representation::choose(site, entry, request.headers()) {
            Some(representation) => with_content(StatusCode::NOT_FOUND, &representation, caching::REVALIDATE),
            None => plain::response(StatusCode::INTERNAL_SERVER_ERROR),
        },
        Page::Nothing => plain::response(StatusCode::NOT_FOUND),
    }
}

/// A file, if the preconditions hold (RFC 9110 §13.2.2), and as much of it as was asked for (§14.2).
fn file<B>(representation: &Representation<'_>, request: &Request<B>) -> Response<Body> {
    let validators = representation.validators();
    match conditional::judge(request.headers(), &validators) {
        conditional::Verdict::Go => {}
        conditional::Verdict::NotModified => return not_modified(representation),
        conditional::Verdict::Failed => return plain::response(StatusCode::PRECONDITION_FAILED),
    }
    let whole = || with_content(StatusCode::OK, representation, caching::of(representation.entry()));
    if request.method() != Method::GET || !conditional::range_applies(request.headers(), &validators) {
        return whole();
    }
    let asked = range::parse(request.headers(), representation.length());
    match asked {
        range::Asked::Whole => whole(),
        range::Asked::Unsatisfiable => plain::range_not_satisfiable(representation.length()),
        range::Asked::Parts(parts) if parts.len() > 1 && !representation.can_seek() => whole(),
        range::Asked::Parts(parts) => partial(representation, &parts),
    }
}

fn with_content(status: StatusCode, representation: &Representation<'_>, caching: &'static str) -> Response<Body> {
    let mut response = Response::new(representation.body());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    *headers = HeaderMap::with_capacity(12);
    headers.insert(header::CONTENT_TYPE, representation.content_type().clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(coding) = representation.coding() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    if status != StatusCode::NOT_FOUND {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    validate(headers, representation, caching, status != StatusCode::NOT_FOUND);
    response
}

/// The fields that a 304 must have as the 200 would (RFC 9110 §15.4.5).
fn validate(headers: &mut HeaderMap, representation: &Representation<'_>, caching: &'static str, validators: bool) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if representation.varies() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    if !validators {
        return;
    }
    let validators = representation.validators();
    headers.insert(header::ETAG, validators.tag);
    if let Some(modified) = validators.modified.and_then(conditional::http_date) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
}

fn not_modified(representation: &Representation<'_>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    validate(response.headers_mut(), representation, caching::of(representation.entry()), true);
    response
}

/// One part, or several as `multipart/byteranges` (RFC 9110 §14.6).
fn partial(representation: &Representation<'_>, parts: &[std::ops::Range<u64>]) -> Response<Body> {
    let mut response = with_content(StatusCode::PARTIAL_CONTENT, representation, caching::of(representation.entry()));
    let length = representation.length();
    match parts {
        [part] => {
            response.headers_mut().insert(header::CONTENT_RANGE, range::content_range(part, length));
            *response.body_mut() = representation.part(part.clone());
        }
        parts => {
            response.headers_mut().insert(header::CONTENT_TYPE, range::multipart_type());
            *response.body_mut() = range::multipart(representation, parts);
        }
    }
    response
}
