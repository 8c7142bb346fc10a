//! From a request to a response that is accounted for, whatever the protocol.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
};

use http::{HeaderValue, Request, Response, Version, header};
use hyper::{body::Incoming, service::Service};

use super::{Marks, Phase, Pulse, Worker};
use crate::{
    access::Line,
    account::Account,
    respond::{Asked, Body, Share, answer},
};

/// Answers the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Answering {
    pub(super) worker: Arc<Worker>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) marks: Arc<Marks>,
    pub(super) address: IpAddr,
    pub(super) secure: bool,
}

impl Answering {
    /// The response to `request`, of which not all fields were kept if it was `too_large`.
    pub(super) fn answer<B>(&self, request: &Request<B>, too_large: bool) -> Response<Body> {
        self.pulse.began();
        let (worker, number) = (&self.worker, self.pulse.requests());
        let closing = *worker.phase.borrow() >= Phase::Lingering;
        let asked = Asked {
            names: &worker.names,
            settings: &worker.settings,
            site: worker.site.borrow().clone(),
            inflating: Share { inflating: &worker.inflating, client: self.address },
            secure: self.secure,
            long_target: self.marks.long_target(number),
            too_large,
            content: self.marks.content(number),
        };
        if !self.secure && asked.settings.plain {
            self.marks.serve_from(asked.site.as_ref());
        }
        let mut response = answer(&asked, request);
        if request.version() < Version::HTTP_2 && (closing || asked.content || asked.long_target) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut account = Account::new(worker.counters.clone(), self.pulse.clone(), response.status());
        if let Some(log) = &worker.log {
            account.log(log.clone(), Line::begin(self.address, request, response.status()));
        }
        response.body_mut().charge(account);
        response
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        ready(Ok(self.answer(&request, false)))
    }
}
