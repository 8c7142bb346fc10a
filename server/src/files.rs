//! The handler of a site: a request is answered at once with what the site holds now, or else passed to its application.

use std::{fs::File, sync::Arc};

use http::{Request, Response, StatusCode, Version, header, request::Parts};
use tokio::sync::watch;

use crate::{
    body::{Body, Mapped},
    connections::{Answer, Client, EarlyHints, Handler, Later, RequestBody},
    counters::Counters,
    live_site::LiveSite,
    respond::{self, Asked, InflateShare, Inflaters, Routed},
    semantics::authority::Names,
    settings::Settings,
    site::Site,
    upstream::{Answered, Failure, Upstream, Upstreams},
};

/// Answers with the files of a site, and with the responses of its application.
#[derive(Debug)]
pub(crate) struct Files {
    settings: Arc<Settings>,
    names: Arc<Names>,
    live: watch::Receiver<Option<Arc<LiveSite>>>,
    /// Where responses are inflated.
    inflating: Arc<Inflaters>,
    upstreams: Arc<Upstreams>,
    /// The application of somebody else, whatever the site.
    foreign: Option<Arc<Upstream>>,
}

impl Files {
    /// The files of the site that `live` has, for the names of `settings`, where HTTPS is at that port.
    pub(crate) fn new(
        settings: Arc<Settings>,
        https: u16,
        live: watch::Receiver<Option<Arc<LiveSite>>>,
        counters: Arc<Counters>,
    ) -> Self {
        let upstreams = Upstreams::new(&settings, counters);
        let foreign = settings.application.clone().map(|address| upstreams.at(address));
        let names = Arc::new(settings.names(https));
        let inflating = Inflaters::new(&settings.bounds);
        Self { names, inflating, settings, live, upstreams, foreign }
    }

    /// Whether requests that no file answers are for an application, even where this host runs none.
    fn has_application(&self, site: Option<&Arc<Site>>) -> bool {
        self.foreign.is_some() || site.is_some_and(|site| site.is_for_an_application())
    }

    /// The application of what is served now, if it has one here.
    fn upstream(&self, live: Option<&LiveSite>) -> Option<Arc<Upstream>> {
        self.foreign.clone().or_else(|| live?.upstream(&self.upstreams))
    }

    /// The application's answer, if the request is for it.
    fn pass(
        &self,
        asked: &Asked<'_>,
        live: Option<&LiveSite>,
        request: &mut Request<RequestBody>,
        client: Client,
    ) -> Option<Answer> {
        let route = match respond::route(asked, request)? {
            Routed::Pass(route) => route,
            Routed::Answered(response) => return Some(Answer::Now(response)),
        };
        let Some(upstream) = self.upstream(live) else {
            return Some(Answer::Now(Failure::NoApplication.response(self.settings.patience.retry_after)));
        };
        let site = asked.site.clone()?;
        let (head, body) = std::mem::take(request).into_parts();
        let settings = self.settings.clone();
        let names = self.names.clone();
        let inflating = self.inflating.clone();
        // Over HTTP/1.1 none is sent, as hyper's server sends no response before the last one.
        let hints = (head.version == Version::HTTP_2).then(EarlyHints::default);
        let given = hints.clone();
        let response = async move {
            let send_file = route.send_file;
            let answered = upstream.answer(&head, body, client, route, hints.as_ref()).await;
            let asked = Asked {
                names: &names,
                settings: &settings,
                site: Some(site),
                inflating: InflateShare { places: &inflating, client: client.address },
                secure: client.secure,
            };
            let mut response = send(&asked, &head, answered, send_file);
            // It may know better.
            if !response.headers().contains_key(header::STRICT_TRANSPORT_SECURITY) {
                respond::secure(&names, client.secure, &mut response);
            }
            response
        };
        Some(Answer::Later(Later::with_hints(response, given)))
    }
}

/// The response of an application, or the file of the package that it wants sent instead.
fn send(asked: &Asked<'_>, head: &Parts, answered: Answered, send_file: bool) -> Response<Body> {
    match answered.file.filter(|_| send_file && answered.response.status() == StatusCode::OK) {
        Some(file) => respond::send_file(asked, head, &file, answered.response),
        None => answered.response,
    }
}

impl Handler for Files {
    fn handle(&self, request: &mut Request<RequestBody>, client: Client) -> Answer {
        let live = self.live.borrow();
        let site = live.as_ref().map(|live| live.site.clone());
        // The files alone want no more than that.
        let application = self.has_application(site.as_ref()).then(|| live.clone());
        drop(live);
        let asked = Asked {
            names: &self.names,
            settings: &self.settings,
            site,
            inflating: InflateShare { places: &self.inflating, client: client.address },
            secure: client.secure,
        };
        if let Some(live) = application
            && let Some(answer) = self.pass(&asked, live.as_deref(), request, client)
        {
            return answer;
        }
        // Where it will lie: a response is large, and each move of it is as much work as a field.
        let mut answer = Answer::Now(respond::answer(&asked, request));
        if let Answer::Now(response) = &mut answer {
            response.body_mut().make_own();
            if let Some(site) = asked.site.filter(|_| !client.secure && self.settings.plain) {
                let mapped: Arc<dyn Mapped> = site;
                response.body_mut().lies_in(Arc::downgrade(&mapped));
            }
        }
        answer
    }

    fn takes_websockets(&self) -> bool {
        let live = self.live.borrow();
        let site = live.as_ref().map(|live| &live.site);
        self.has_application(site) && site.is_none_or(|site| site.takes_websockets())
    }

    fn refuse(&self, status: StatusCode, _: &Request<RequestBody>, client: Client) -> Response<Body> {
        let mut response = respond::refuse(&self.names, client.secure, status);
        response.body_mut().make_own();
        response
    }
}

impl Mapped for Site {
    fn position(&self, part: &[u8]) -> Option<(&File, u64)> {
        Site::position(self, part)
    }
}
