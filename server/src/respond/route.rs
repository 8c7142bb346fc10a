//! Whether a request is for the application: files come first for GET and HEAD, and the package's routes say what of the rest.

use http::{HeaderMap, Method, Request, Response, StatusCode, header};

use super::{Asked, page, plain};
use crate::{
    body::Body,
    semantics::{
        authority::Known,
        target::{self, ExtendedConnect},
    },
    site::{ApplicationRules, Place},
};

/// How a request is passed, as the package says.
#[derive(Debug)]
pub(crate) struct Route {
    /// Whether its content and its response are passed as they come.
    pub(crate) streamed: bool,
    /// The most bytes of its content.
    pub(crate) body: u64,
    /// How long the application may take until its response begins, and between two parts of it.
    pub(crate) answer: std::time::Duration,
    /// Whether a WebSocket may be opened.
    pub(crate) websocket: bool,
    /// Whether the application may name a file of the package to be sent.
    pub(crate) send_file: bool,
    /// Fields that the package adds to the response where the application does not say them.
    pub(crate) fields: HeaderMap,
}

/// What is done with a request that no file answers.
#[derive(Debug)]
pub(crate) enum Routed {
    /// It is the application's.
    Pass(Route),
    /// It would be, but is answered here: it came where the site is not, and is led there with its method, or its path is none.
    Answered(Response<Body>),
}

/// What is done with a request that no file answers; none if files answer it, or say that there is none.
///
/// Its path is compared as it is decoded; it is passed as it came.
pub(crate) fn route<B>(asked: &Asked<'_>, request: &Request<B>) -> Option<Routed> {
    let known = asked.names.of(request).ok()?;
    let site = asked.site.as_ref()?;
    let opens = request.extensions().get::<ExtendedConnect>().is_some();
    if !opens && (!target::has_its_form(request) || is_answered_here(request)) {
        return None;
    }
    let Some(path) = target::path(request.uri().path()) else {
        return Some(Routed::Answered(plain::response(StatusCode::BAD_REQUEST)));
    };
    let rules = &site.rules().policy.app;
    if !rules.covers(&path) {
        return None;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let canonical = known == Known::Served && (asked.secure || asked.settings.plain);
    if !canonical {
        let moved = || plain::redirect(StatusCode::PERMANENT_REDIRECT, asked.names.canonical(request));
        return (!is_read).then(|| Routed::Answered(moved()));
    }
    let host = asked.names.host(known, request);
    let is_own = |name: &str| asked.names.is_own(name);
    let place = Place { secure: asked.secure, host: &host, canonical, is_own: &is_own };
    if is_read && (site.before(&path[1..]).is_some() || page::known(site, &path, &place).is_some()) {
        return None;
    }
    let mut fields = HeaderMap::new();
    site.rules().fields.apply(&path, &place, &mut fields);
    Some(Routed::Pass(passed(rules, &path, fields)))
}

fn passed(rules: &ApplicationRules, path: &str, fields: HeaderMap) -> Route {
    Route {
        streamed: rules.streams(path),
        body: rules.body,
        answer: rules.answer,
        websocket: rules.websocket,
        send_file: rules.send_file,
        fields,
    }
}

/// Whether a request is for this server and no other: CONNECT would make a tunnel and TRACE show what was added to it (RFC 9110
/// §9.3.6, §9.3.8), `OPTIONS *` is about this server (§9.3.7), and one that may be passed no further ends here (§7.6.2).
fn is_answered_here<B>(request: &Request<B>) -> bool {
    match *request.method() {
        Method::CONNECT | Method::TRACE => true,
        Method::OPTIONS => {
            let last = request.headers().get(header::MAX_FORWARDS).is_some_and(|value| value.as_bytes() == b"0");
            last || request.uri().path() == "*"
        }
        _ => false,
    }
}
