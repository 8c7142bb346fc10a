//! Asking a site for what its own `[gate]` names, before it goes live.

use std::{
    net::Ipv4Addr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use http::{Request, Response, StatusCode, header};
use hyper::body::Body as _;

use crate::{
    body::Body,
    respond::{self, Asked, InflateShare, Inflaters},
    semantics::{authority::Names, limits},
    settings::Settings,
    site::{Check, Gate, Objection, Site},
};

/// Bytes of the content that are searched for a text.
const SEARCHED: usize = 8 << 20;
/// Maximum number of objections returned.
const MOST_TOLD: usize = 20;

impl Site {
    /// Asks this site, as visitors would, for what the package's own `site.toml` names under `[gate]`, and for its front
    /// page unless `index = false` stands there. Returns what does not answer as it is said to, and what of `[gate]` and `[app]` is
    /// not understood, at most twenty; nothing when the site may go live. Blocking.
    pub fn gate(self: &Arc<Self>) -> Vec<Objection> {
        let gate = &self.rules().policy.gate;
        let visitor = Visitor::of(self);
        let faults = gate.faults.iter().map(|fault| fault.clone().of("[gate] is not understood"));
        let checks = gate.checks.iter().filter_map(|check| visitor.check(check));
        let answers = visitor.index(gate).into_iter().chain(checks).map(Objection::package);
        let refusals = self.rules().policy.refusals.iter().cloned();
        faults.chain(refusals).chain(answers).take(MOST_TOLD).collect()
    }

    /// What `[gate]` says of targets that the application answers, which [`gate`](Self::gate) cannot ask.
    pub fn application_checks(self: &Arc<Self>) -> Vec<Check> {
        let visitor = Visitor::of(self);
        let checks = self.rules().policy.gate.checks.iter();
        checks.filter(|check| visitor.is_the_applications(&check.target)).cloned().collect()
    }
}

impl Site {
    /// Why there is no front page, as far as the names of the files tell, and what would cure it.
    fn without_index(&self) -> String {
        let names = || self.visible();
        if let Some(folder) = only(names().map(|name| name.split_once('/').map(|(folder, _)| folder))) {
            return format!(
                "all of the package lies in {folder}/: package what is in that folder, not the folder itself \
                 (spothost publish {folder}, or cd {folder} && zip -r ../site.zip .)"
            );
        }
        let is_index = |name: &str| {
            let (stem, extension) = name.rsplit_once('.').unwrap_or_default();
            matches!(stem.to_ascii_lowercase().as_str(), "index" | "default" | "home")
                && matches!(extension.to_ascii_lowercase().as_str(), "html" | "htm" | "xhtml")
        };
        if let Some(name) = names().filter(|name| is_index(name)).min() {
            return format!("the front page is index.html, and there is {name}: rename it");
        }
        let below = names().filter_map(|name| name.strip_suffix("/index.html").filter(|folder| !folder.contains('/')));
        if let Some(folder) = only(below.map(Some)) {
            return format!(
                "index.html lies in {folder}/: package what is in that folder, or redirect to it in _redirects (/ /{folder}/ 302)"
            );
        }
        "the package has no index page: add index.html, or, where none is meant, say index = false under [gate] of site.toml".into()
    }
}

/// The value that all items share, if there are any.
fn only<'a>(mut all: impl Iterator<Item = Option<&'a str>>) -> Option<&'a str> {
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// A client that asks a site before it goes live.
struct Visitor<'a> {
    site: &'a Arc<Site>,
    names: Names,
    places: Arc<Inflaters>,
    settings: Settings,
}

impl<'a> Visitor<'a> {
    fn of(site: &'a Arc<Site>) -> Self {
        let settings = Settings::default();
        let names = settings.names(443);
        let places = Inflaters::new(&settings.bounds);
        Visitor { site, names, places, settings }
    }

    fn index(&self, gate: &Gate) -> Option<String> {
        if !gate.index || gate.checks.iter().any(|check| check.target == "/") || self.is_the_applications("/") {
            return None;
        }
        let status = self.ask("/").map_or(StatusCode::BAD_REQUEST, |answer| answer.status());
        let fine = status.is_success() || status.is_redirection();
        (!fine).then(|| format!("\"/\" answers {}: {}", status.as_u16(), self.site.without_index()))
    }

    /// Whether the application answers this target; the gate here does not ask it.
    fn is_the_applications(&self, target: &str) -> bool {
        let Some(request) = self.request(target) else { return false };
        self.site.rules().policy.has_app && respond::route(&self.asked(), &request).is_some()
    }

    fn check(&self, check: &Check) -> Option<String> {
        if self.is_the_applications(&check.target) {
            return None;
        }
        self.answers(check).err().map(|said| format!("[gate] {:?} {said}", check.target))
    }

    fn answers(&self, check: &Check) -> Result<(), String> {
        let answer = self.ask_page(check).ok_or("is no target of a request")?;
        check.fits(answer.status(), answer.headers())?;
        if check.contains.is_none() {
            return Ok(());
        }
        let content = content(answer).map_err(|error| format!("has content that cannot be read: {error}"))?;
        check.is_contained(&content)
    }

    /// The answer to a check. `/docs` may stand for the page at `/docs/`, and `/about/` for the one at `/about`: a check that asks
    /// for the page is led there, unless the check is for the redirect itself.
    fn ask_page(&self, check: &Check) -> Option<Response<Body>> {
        let answer = self.ask(&check.target)?;
        if check.status.is_redirection() || answer.status() != StatusCode::PERMANENT_REDIRECT {
            return Some(answer);
        }
        let address = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
        match address.filter(|address| differ_by_a_slash(&check.target, address)) {
            Some(address) => self.ask(address),
            None => Some(answer),
        }
    }

    fn ask(&self, target: &str) -> Option<Response<Body>> {
        let request = self.request(target)?;
        Some(match limits::refusal(&self.settings.bounds, &request) {
            Some(status) => respond::refuse(&self.names, true, status),
            None => respond::answer(&self.asked(), &request),
        })
    }

    fn request(&self, target: &str) -> Option<Request<()>> {
        Request::get(target).header(header::HOST, &self.settings.domain).body(()).ok()
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            names: &self.names,
            settings: &self.settings,
            inflating: InflateShare { places: &self.places, client: Ipv4Addr::LOCALHOST.into() },
            site: Some(self.site.clone()),
            secure: true,
        }
    }
}

/// Whether two targets are the same but for a slash at the end of their paths.
fn differ_by_a_slash(one: &str, other: &str) -> bool {
    let parts = |target: &str| {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        (path.trim_end_matches('/').to_owned(), query.map(str::to_owned))
    };
    parts(one) == parts(other)
}

/// The first bytes of the content. It never waits for anything but its turn.
fn content(answer: Response<Body>) -> std::io::Result<Vec<u8>> {
    let mut body = answer.into_body();
    let mut content = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    while content.len() < SEARCHED {
        let frame = match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Pending => continue,
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => frame?,
        };
        let Ok(mut data) = frame.into_data() else { continue };
        let take = data.remaining().min(SEARCHED - content.len());
        content.extend_from_slice(&data.copy_to_bytes(take));
    }
    Ok(content)
}
