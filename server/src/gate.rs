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
    Settings, Site,
    respond::{self, Asked, Body, Places, Share},
    site::{Check, Gate},
};

/// How much of the content is searched for a text.
const SEARCHED: usize = 8 << 20;
/// How many things that are wrong are told.
const MOST_TOLD: usize = 20;

impl Site {
    /// Asks this site, as visitors would, for what the package's own `site.toml` names under `[gate]`, and for its front
    /// page unless `index = false` stands there. Returns what does not answer as it is said to, one sentence each, at most
    /// twenty; nothing when the site may go live. Blocking.
    pub fn gate(self: &Arc<Self>) -> Vec<String> {
        let gate = &self.rules().policy.gate;
        let visitor = Visitor { site: self, settings: Settings::default() };
        let faults = gate.faults.iter().map(|fault| format!("[gate] is not understood: {fault}"));
        let checks = gate.checks.iter().filter_map(|check| visitor.check(check));
        faults.chain(visitor.index(gate)).chain(checks).take(MOST_TOLD).collect()
    }
}

/// Somebody who asks before everybody else may.
struct Visitor<'a> {
    site: &'a Arc<Site>,
    settings: Settings,
}

impl Visitor<'_> {
    fn index(&self, gate: &Gate) -> Option<String> {
        if !gate.index || gate.checks.iter().any(|check| check.target == "/") {
            return None;
        }
        let status = self.ask("/").map_or(StatusCode::BAD_REQUEST, |answer| answer.status());
        let fine = status.is_success() || status.is_redirection();
        let said = "the package has no index page; where that is meant, say index = false under [gate] of site.toml";
        (!fine).then(|| format!("\"/\" answers {}: {said}", status.as_u16()))
    }

    fn check(&self, check: &Check) -> Option<String> {
        self.answers(check).err().map(|said| format!("[gate] {:?} {said}", check.target))
    }

    fn answers(&self, check: &Check) -> Result<(), String> {
        let answer = self.ask_page(check).ok_or("is no target of a request")?;
        if answer.status() != check.status {
            return Err(format!("answers {}, not {}", answer.status().as_u16(), check.status.as_u16()));
        }
        for (name, wanted) in &check.header {
            let mut values = answer.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
            if !values.any(|value| value.contains(wanted.as_str())) {
                return Err(format!("has no field {name} that contains {wanted:?}"));
            }
        }
        let Some(wanted) = &check.contains else { return Ok(()) };
        let content = content(answer).map_err(|error| format!("has content that cannot be read: {error}"))?;
        match memchr::memmem::find(&content, wanted.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(format!("does not contain {wanted:?}")),
        }
    }

    /// The answer to a check. `/docs` may stand for the page at `/docs/`, and `/about/` for the one at `/about`: whoever asks
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
        let request = Request::get(target).header(header::HOST, &self.settings.domain).body(()).ok()?;
        let names = self.settings.names(443);
        let places = Places::new(&self.settings.bounds);
        let asked = Asked {
            names: &names,
            settings: &self.settings,
            inflating: Share { places: &places, client: Ipv4Addr::LOCALHOST.into() },
            site: Some(self.site.clone()),
            secure: true,
            long_target: false,
            too_large: false,
            broken: false,
        };
        Some(respond::answer(&asked, &request))
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
    let (mut body, mut content) = (answer.into_body(), Vec::new());
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
