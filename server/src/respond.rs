//! From a request to its response: pure, and read from top to bottom. One rule a file.

pub(crate) mod fallback;
pub(crate) mod inflated;
pub(crate) mod inflating;
pub(crate) mod page;
pub(crate) mod plain;
pub(crate) mod range;
pub(crate) mod representation;
pub(crate) mod route;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};

pub(crate) use self::{
    inflating::{InflateShare, Inflaters},
    route::{Route, Routed, route},
};
use self::{page::Page, representation::Representation};
use crate::{
    body::Body,
    semantics::{
        authority::{Known, Names},
        conditional::{self, Validators, Verdict},
        target,
    },
    settings::Settings,
    site::{Entry, Place, Site, caching},
};

/// What is known about a request beside its head.
pub(crate) struct Asked<'a> {
    /// The names that are served.
    pub(crate) names: &'a Names,
    pub(crate) settings: &'a Settings,
    /// The site as it is at the request's beginning; the response keeps it.
    pub(crate) site: Option<Arc<Site>>,
    /// What its client may have inflated.
    pub(crate) inflating: InflateShare<'a>,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
}

/// The response to a request. One to HEAD still has the content of GET.
pub(crate) fn answer<B>(asked: &Asked<'_>, request: &Request<B>) -> Response<Body> {
    let mut response = respond(asked, request);
    secure(asked.names, asked.secure, &mut response);
    response
}

/// The response to a request that is refused for its form.
pub(crate) fn refuse(names: &Names, over_tls: bool, status: StatusCode) -> Response<Body> {
    let mut response = plain::response(status);
    secure(names, over_tls, &mut response);
    response
}

/// `Strict-Transport-Security` (RFC 6797 §7.2), over TLS alone.
pub(crate) fn secure(names: &Names, over_tls: bool, response: &mut Response<Body>) {
    if let (true, Some(hsts)) = (over_tls, &names.hsts) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
}

fn respond<B>(asked: &Asked<'_>, request: &Request<B>) -> Response<Body> {
    let known = match asked.names.of(request) {
        Ok(known) => known,
        Err(status) => return plain::response(status),
    };
    if !target::has_its_form(request) {
        return plain::response(StatusCode::BAD_REQUEST);
    }
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => {}
        // What HTTP knows (RFC 9110 §9.3, RFC 5789), but no file bears.
        Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::CONNECT | Method::TRACE => {
            return plain::method_not_allowed();
        }
        _ => return plain::response(StatusCode::NOT_IMPLEMENTED),
    }
    let Some(site) = &asked.site else {
        return plain::no_site_yet(asked.settings.patience.retry_after);
    };
    let host = asked.names.host(known, request);
    let canonical = known == Known::Served && (asked.secure || asked.settings.plain);
    let is_own = |name: &str| asked.names.is_own(name);
    let place = Place { secure: asked.secure, host: &host, canonical, is_own: &is_own };
    if !canonical {
        let moved = || plain::redirect(StatusCode::PERMANENT_REDIRECT, asked.names.canonical(request));
        return elsewhere(asked, site, &place, request).unwrap_or_else(moved);
    }
    if request.method() == Method::OPTIONS {
        return plain::options();
    }
    serve(asked, site, &place, request)
}

/// What the package holds for a request that came where the site is not; see [`page::elsewhere`].
fn elsewhere<B>(
    asked: &Asked<'_>,
    site: &Arc<Site>,
    place: &Place<'_>,
    request: &Request<B>,
) -> Option<Response<Body>> {
    let path = target::path(request.uri().path())?;
    let page = page::elsewhere(site, &path, place)?;
    Some(serve_page(asked, site, &path, place, page, request))
}

/// What the package holds for this target, or the one before it for a fingerprinted file that is no longer there.
fn serve<B>(asked: &Asked<'_>, site: &Arc<Site>, place: &Place<'_>, request: &Request<B>) -> Response<Body> {
    let Some(path) = target::path(request.uri().path()) else {
        return plain::response(StatusCode::BAD_REQUEST);
    };
    let before = site.before(&path[1..]);
    let site = before.as_ref().unwrap_or(site);
    let page = page::find(site, &path, place, fallback::wanted(&path, request.headers()));
    serve_page(asked, site, &path, place, page, request)
}

/// A page of a package, with the fields that it adds.
fn serve_page<B>(
    asked: &Asked<'_>,
    site: &Site,
    path: &str,
    place: &Place<'_>,
    page: Page<'_>,
    request: &Request<B>,
) -> Response<Body> {
    let policy = &site.rules().policy;
    let mut response = match &page {
        Page::File(entry) => file(asked, site, entry, request, policy.caching(entry.fingerprint)),
        // What stands in for something else must never be kept as if it were that.
        Page::Fallback(entry) => file(asked, site, entry, request, HeaderValue::from_static(caching::REVALIDATE)),
        Page::Error(status, Some(entry)) => error_page(asked, site, *status, entry, request),
        Page::Error(status, None) => plain::response(*status),
        Page::Moved(status, to) => return plain::moved(*status, to, request.uri(), policy.pages.clone()),
    };
    let fields = &site.rules().fields;
    if !fields.is_empty() && !response.status().is_server_error() {
        fields.apply(path, place, response.headers_mut());
        if !matches!(page, Page::File(_)) || response.status().is_client_error() {
            caching::never_immutable(response.headers_mut());
        }
    }
    response
}

/// A file, if the preconditions hold (RFC 9110 §13.2.2), and as much of it as was asked for (§14.2).
fn file<B>(
    asked: &Asked<'_>,
    site: &Site,
    entry: &Entry,
    request: &Request<B>,
    caching: HeaderValue,
) -> Response<Body> {
    let Some(representation) = Representation::choose(site, entry, request.headers()) else {
        return plain::response(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let validators = representation.validators();
    match conditional::judge(request.headers(), &validators) {
        Verdict::Go => {}
        Verdict::NotModified => return not_modified(&representation, validators, caching),
        Verdict::Failed => return plain::response(StatusCode::PRECONDITION_FAILED),
    }
    let mut parts = Vec::new();
    if request.method() == Method::GET && conditional::range_applies(request.headers(), &validators) {
        match range::parse(request.headers(), representation.length()) {
            range::Ranges::Unsatisfiable => return plain::range_not_satisfiable(representation.length()),
            range::Ranges::Parts(asked) => parts = asked,
            range::Ranges::Whole => {}
        }
    }
    let Some(body) = fill(&representation, &mut parts, asked.inflating) else {
        return plain::busy(asked.settings.patience.retry_after);
    };
    let mut response = Response::new(body);
    *response.headers_mut() = HeaderMap::with_capacity(12);
    describe(response.headers_mut(), &representation);
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validate(response.headers_mut(), &representation, validators, caching);
    tell_parts(&mut response, &representation, &parts);
    response
}

/// The file of the package that an application wants sent in place of its content, be it one that visitors never see otherwise.
/// Ranges, preconditions and codings are those of the file; what the application says of it, and of its visitor, is kept.
pub(crate) fn send_file(asked: &Asked<'_>, head: &Parts, file: &HeaderValue, said: Response<Body>) -> Response<Body> {
    let text = file.to_str().unwrap_or_default();
    let text = text.split('?').next().unwrap_or_default().trim_start_matches('/');
    let path = format!("/{text}");
    let site = asked.site.as_ref().filter(|_| matches!(head.method, Method::GET | Method::HEAD));
    let entry = site.and_then(|site| Some((site, site.any_file(&target::path(&path)?[1..])?)));
    let Some((site, entry)) = entry else {
        tracing::warn!(
            file = text,
            path = head.uri.path(),
            "the application names a file to be sent that the package does not hold"
        );
        return plain::response(StatusCode::NOT_FOUND);
    };
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    let mut response = self::file(asked, site, entry, &request, site.rules().policy.pages.clone());
    response.body_mut().make_own();
    let fields = said.headers();
    let of_the_file = [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
        header::ETAG,
        header::LAST_MODIFIED,
        header::VARY,
        header::DATE,
    ];
    let in_parts = response.status() == StatusCode::PARTIAL_CONTENT
        && response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    for name in fields.keys().filter(|name| !of_the_file.contains(name)) {
        if *name == header::CONTENT_TYPE && (in_parts || !response.status().is_success()) {
            continue;
        }
        response.headers_mut().remove(name);
        for value in fields.get_all(name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    *response.extensions_mut() = said.into_parts().0.extensions;
    response
}

/// The package's own page for what is not there.
fn error_page<B>(
    asked: &Asked<'_>,
    site: &Site,
    status: StatusCode,
    entry: &Entry,
    request: &Request<B>,
) -> Response<Body> {
    let Some(representation) = Representation::choose(site, entry, request.headers()) else {
        return plain::response(status);
    };
    let Some(body) = representation.body(asked.inflating) else {
        return plain::response(status);
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    describe(response.headers_mut(), &representation);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching::REVALIDATE));
    response
}

/// 304, with the fields that the 200 would have and that matter to a cache (RFC 9110 §15.4.5).
fn not_modified(representation: &Representation<'_>, validators: Validators, caching: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    vary(response.headers_mut(), representation);
    validate(response.headers_mut(), representation, validators, caching);
    response
}

/// The fields that say what the content is (RFC 9110 §8).
fn describe(headers: &mut HeaderMap, representation: &Representation<'_>) {
    headers.insert(header::CONTENT_TYPE, representation.content_type().clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(coding) = representation.coding() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    vary(headers, representation);
}

fn vary(headers: &mut HeaderMap, representation: &Representation<'_>) {
    if representation.varies() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The fields by which a cache asks again (RFC 9110 §8.8, RFC 9111 §5.2).
fn validate(
    headers: &mut HeaderMap,
    representation: &Representation<'_>,
    validators: Validators,
    caching: HeaderValue,
) {
    headers.insert(header::CACHE_CONTROL, caching);
    headers.insert(header::ETAG, validators.tag);
    if let Some(modified) = representation.last_modified() {
        headers.insert(header::LAST_MODIFIED, modified);
    }
}

/// Everything, one part, or several parts as `multipart/byteranges` (RFC 9110 §14.6); `None` if too much is inflated already.
fn fill(
    representation: &Representation<'_>,
    parts: &mut [std::ops::Range<u64>],
    inflating: InflateShare<'_>,
) -> Option<Body> {
    match parts {
        [] => representation.body(inflating),
        [part] => representation.part(part.clone(), inflating),
        parts => range::multipart(representation, parts, inflating),
    }
}

/// What tells parts from the whole (RFC 9110 §15.3.7).
fn tell_parts(response: &mut Response<Body>, representation: &Representation<'_>, parts: &[std::ops::Range<u64>]) {
    let (name, value) = match parts {
        [] => return,
        [part] => (header::CONTENT_RANGE, range::content_range(part, representation.length())),
        _ => (header::CONTENT_TYPE, range::multipart_type()),
    };
    response.headers_mut().insert(name, value);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
}
