//! A site as it is served: its files and the application that its package brings, which change in one.

use std::sync::{Arc, OnceLock};

use crate::{
    application::OwnApplication,
    site::Site,
    upstream::{Upstream, Upstreams},
};

/// A site as it is served. A request is answered with the files and by the application of one and the same package.
#[derive(Debug)]
pub struct LiveSite {
    pub(crate) site: Arc<Site>,
    application: Option<OwnApplication>,
    /// The connections to that application, from the first request on.
    upstream: OnceLock<Arc<Upstream>>,
}

impl LiveSite {
    /// The files of a site. What none of them answers is for the application of [`Settings`](crate::Settings), if there is one.
    pub fn new(site: Arc<Site>) -> Self {
        Self { site, application: None, upstream: OnceLock::new() }
    }

    /// The files of a site, with the application of its package.
    pub fn with_application(site: Arc<Site>, application: OwnApplication) -> Self {
        Self { application: Some(application), ..Self::new(site) }
    }

    /// Whether requests wait for the application of the package, which is down.
    pub fn awaits_application(&self) -> bool {
        self.application.as_ref().is_some_and(|application| !application.is_up())
    }

    /// Resolves once the application of the package is up; at once where it brings none.
    pub async fn application_is_up(&self) {
        if let Some(application) = &self.application {
            application.comes_up().await;
        }
    }

    /// The connections to the application of the package, if it brings one.
    pub(crate) fn upstream(&self, upstreams: &Arc<Upstreams>) -> Option<Arc<Upstream>> {
        let application = self.application.as_ref()?;
        Some(self.upstream.get_or_init(|| upstreams.of(application.clone())).clone())
    }
}
