//! The handler of a site's files: a request is answered at once, with what the site holds now.

use std::{fs::File, sync::Arc};

use http::{Request, Response, StatusCode};
use tokio::sync::watch;

use crate::{
    body::{Body, Mapped},
    connections::{Answer, Client, Handler, RequestBody},
    respond::{self, Asked, InflateShare, Inflaters},
    semantics::authority::Names,
    settings::Settings,
    site::Site,
};

/// Answers with the files of a site.
#[derive(Debug)]
pub(crate) struct Files {
    settings: Arc<Settings>,
    names: Names,
    site: watch::Receiver<Option<Arc<Site>>>,
    /// Where responses are inflated.
    inflating: Arc<Inflaters>,
}

impl Files {
    /// The files of the site that `site` has, for the names of `settings`, where HTTPS is at that port.
    pub(crate) fn new(settings: Arc<Settings>, https: u16, site: watch::Receiver<Option<Arc<Site>>>) -> Self {
        Self { names: settings.names(https), inflating: Inflaters::new(&settings.bounds), settings, site }
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
