//! Serves an immutable site straight from its zip, over HTTP/1.1 and HTTP/2.
//!
//! **The package is the document root.** Nothing is unpacked: a zip is checked and mapped, and becomes a [`Site`]. A deflated
//! entry goes to the wire as it lies in the zip, re-framed as gzip. A new package is a new `Site` behind one pointer; requests
//! under way finish on the old one. As nothing is ever written and only names of the zip's own directory are looked up, there
//! is no path outside to be led to.
//!
//! It serves `GET` and `HEAD` of files, over TLS for one domain. It never runs anything, proxies anything, lists folders,
//! writes, compresses while serving, or sends what the package does not hold.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc, time::Duration};
//! use spothost_server::{Bound, Identity, Listen, Settings, Site};
//! use tokio::sync::watch;
//!
//! # async fn serve(chain: &str, key: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let site = Site::open(Path::new("site.zip"), &Default::default())?;
//! site.verify()?;
//! let bound = Bound::bind(&Listen { http: "[::]:80".parse()?, https: "[::]:443".parse()? })?;
//! let (_site, sites) = watch::channel(Some(Arc::new(site)));
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
//! Where to look: [`Site`] is the package, `respond` turns a request into its response and `files` is its handler, `semantics` has
//! the rules of HTTP that both sides share, `connections` accepts, watches and drains; HTTP/1.1 is hyper's behind a stricter
//! reader, HTTP/2 is written in `connections/http2`.

mod access;
mod bound;
mod connections;
mod contents;
mod counters;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gate;
mod identity;
pub mod metrics;
mod quota;
mod reach;
mod respond;
mod running;
mod semantics;
mod settings;
mod site;
mod tls;

pub use self::{
    access::{Access, AccessFormat, AccessTo},
    bound::{BindError, Bound, Listen},
    connections::{Answer, Body, Client, Handler, RequestBody},
    contents::Content,
    counters::Counters,
    identity::{BadIdentity, Identity},
    running::{Drained, Running, ServeError},
    settings::{Bounds, Patience, Settings},
    site::{Hidden, Note, PackageLimits, Reason, Refused, Site},
};
