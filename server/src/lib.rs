//! Serves an immutable site straight from its zip, over HTTP/1.1 and HTTP/2.
//!
//! **The package is the document root.** Nothing is unpacked: a zip is checked and mapped, and becomes a [`Site`]. A deflated
//! entry goes to the wire as it lies in the zip, re-framed as gzip. A new package is a new `Site` behind one pointer; requests
//! under way finish on the old one. As nothing is ever written and only names of the zip's own directory are looked up, there
//! is no path outside to be led to.
//!
//! It serves `GET` and `HEAD` of files, over TLS for one domain, and passes what no file answers to one [application](ApplicationAddress) on this
//! machine, if there is one. It never runs anything, lists folders, writes, compresses while serving, or sends what neither the
//! package nor the application holds.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc, time::Duration};
//! use spothost_server::{Bound, Identity, Listen, LiveSite, Settings, Site};
//! use tokio::sync::watch;
//!
//! # async fn serve(chain: &str, key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let site = Site::open(Path::new("site.zip"), &Default::default())?;
//! site.verify()?;
//! let bound = Bound::bind(&Listen { http: "[::]:80".parse()?, https: "[::]:443".parse()? })?;
//! let (_site, sites) = watch::channel(Some(Arc::new(LiveSite::new(Arc::new(site)))));
//! let (_identity, identities) = watch::channel(Some(Arc::new(Identity::from_pem(chain, key)?)));
//! let running = bound.serve(Settings::new("www.example.org"), sites, identities)?;
//! running.drain(Duration::from_secs(5), Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! **One seam lies between the wire and the answer**: [`Handler`]. The wire (`connections`) knows HTTP/1.1, HTTP/2 and TLS, who is
//! slow, and when it is to end; it knows no site. Files are answered at once ([`Answer::Now`]); what takes time, or streams, or
//! reads what it is sent, is answered [`Later`](Answer::Later), with back-pressure both ways. [`Bound::serve_with`] takes a handler
//! of your own.
//!
//! Where to look, from the top floor down; no import climbs (`tests/ground/layers.rs`).

#![cfg_attr(not(any(test, feature = "fuzzing")), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(
    any(test, feature = "fuzzing"),
    allow(clippy::disallowed_methods, reason = "tests make their own time and chance")
)]

// What a program calls: both ports are taken, then served.
mod bound;
// A server that runs, until it is drained.
mod running;
// The counters, served to Prometheus.
pub mod metrics;

// What is asked of a package beside its files.

// What it holds, for those who unpack it.
mod contents;
// Whether what its `[gate]` names answers.
mod gate;
// Where its links lead.
mod reach;

// From a connection to its response.

// The handler of a site: its files, and what its application answers.
mod files;
// A site with the application of its package.
mod live_site;
// Requests are passed to the application, and its responses back.
mod upstream;
// The wire: accepts, watches and drains connections. HTTP/1.1 is hyper's behind a stricter reader, HTTP/2 is written here.
mod connections;
// A request of a site becomes its response: pure, one rule a file.
mod respond;
// The package, as it lies.
mod site;
// What a response carries.
mod body;
// How a connection is doing, and what its exchanges come to.
mod activity;
// Rules of HTTP that hold whatever is served, and whatever the protocol.
mod semantics;

// The ground: what a server has beside its connections.

// TLS as it is spoken here: tickets that rotate, a certificate that can change.
mod tls;
// A certificate chain and its key.
mod identity;
// A port that is taken.
mod port;
// A bound for all clients together, and one for each.
mod quota;
// What was served so far.
mod counters;
// For which names a site is served, and what a client may cost.
mod settings;
// Where an application listens, whether it runs, and what may wait for it.
mod application;
// Load balancers in front of this server, and what they say of their visitors.
mod trusted_proxy;
// One line a request, written off the hot path.
mod access;
// The wall clock.
mod clock;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use self::{
    access::{Access, AccessFormat, AccessTo},
    application::{ApplicationAddress, ApplicationBounds, ApplicationHandle, BadApplicationAddress, OwnApplication},
    body::Body,
    bound::{Bound, Listen},
    connections::{Answer, Client, Handler, RequestBody},
    contents::{Content, ProgramFile},
    counters::Counters,
    identity::{BadIdentity, Identity},
    live_site::LiveSite,
    port::BindError,
    running::{Drained, Running, ServeError},
    settings::{Bounds, Patience, Settings},
    site::{
        Check, Hidden, ListenMode, Note, Objection, ObjectionCause, PROGRAM_FOLDER, PackageLimits, ProcessPlan,
        ProgramPlace, Reason, Refused, Site, SwapMode, is_reserved_name, secret_name,
    },
    trusted_proxy::{BadTrustedProxy, TrustedProxy},
};
