//! The handler of a site: a request is answered at once with what the site holds now, or else passed to its application.

use std::{fs::File, sync::Arc};

use http::{Request, Response, StatusCode, header, request::Parts};
use tokio::sync::watch;

use crate::{
    body::{Body, Mapped},
    connections::{Answer, Client, Handler, RequestBody},
    counters::Counters,
    respond::{self, Asked, InflateShare, Inflaters, Routed},
    semantics::authority::Names,
    settings::Settings,
    site::Site,
    upstream::{Answered, Failure, Turn, Upstream},
};

/// Answers with the files of a site, and with the responses of its application.
#[derive(Debug)]
pub(crate) struct Files {
    settings: Arc<Settings>,
    names: Arc<Names>,
    site: watch::Receiver<Option<Arc<Site>>>,
    /// Where responses are inflated.
    inflating: Arc<Inflaters>,
    application: Option<Arc<Upstream>>,
}

impl Files {
    /// The files of the site that `site` has, for the names of `settings`, where HTTPS is at that port.
    pub(crate) fn new(
        settings: Arc<Settings>,
        https: u16,
        site: watch::Receiver<Option<Arc<Site>>>,
        counters: Arc<Counters>,
    ) -> Self {
        let retry_after = settings.patience.retry_after;
        let application = settings.application.clone();
        let application =
            application.map(|application| Upstream::new(application, counters, &settings.bounds, retry_after));
        let (names, inflating) = (Arc::new(settings.names(https)), Inflaters::new(&settings.bounds));
        Self { names, inflating, settings, site, application }
    }

    /// Whether what no file answers is for an application, be it that there is none here.
    fn has_application(&self, site: Option<&Arc<Site>>) -> bool {
        self.application.is_some() || site.is_some_and(|site| site.is_for_an_application())
    }

    /// The application's answer, if the request is for it.
    fn pass(&self, asked: &Asked<'_>, request: &mut Request<RequestBody>, client: Client) -> Option<Answer> {
        let route = match respond::route(asked, request)? {
            Routed::Pass(route) => route,
            Routed::Answered(response) => return Some(Answer::Now(response)),
        };
        let Some(application) = self.application.clone() else {
            return Some(Answer::Now(Failure::NoApplication.response(self.settings.patience.retry_after)));
        };
        let site = asked.site.clone()?;
        let (head, body) = std::mem::take(request).into_parts();
        let (settings, names, inflating) = (self.settings.clone(), self.names.clone(), self.inflating.clone());
        Some(Answer::later(Turn::new(async move {
            let send_file = route.send_file;
            let answered = application.answer(&head, body, client, route).await;
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
        })))
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
        let asked = Asked {
            names: &self.names,
            settings: &self.settings,
            site: self.site.borrow().clone(),
            inflating: InflateShare { places: &self.inflating, client: client.address },
            secure: client.secure,
        };
        if self.has_application(asked.site.as_ref())
            && let Some(answer) = self.pass(&asked, request, client)
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
