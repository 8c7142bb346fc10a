//! How a site is served: names, limits, patience.

use std::{num::NonZero, time::Duration};

use crate::{
    access::Access,
    application::{ApplicationAddress, ApplicationBounds},
    trusted_proxy::TrustedProxy,
};

/// For which names a site is served, and what a client may cost.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The canonical name, in lower case and without a port.
    pub domain: String,
    /// Further names, redirected (308) to `domain`.
    pub aliases: Vec<String>,
    /// Further `Host` names that are served as if they were `domain`, such as `localhost` or an IP literal.
    pub also: Vec<String>,
    /// Serve the site over plain HTTP too, instead of redirecting to HTTPS. For benchmarks and for use behind a proxy.
    pub plain: bool,
    /// `Strict-Transport-Security` (RFC 6797) for this long; `None` sends none.
    pub hsts: Option<Duration>,
    /// Where access lines are written; `None` writes none.
    pub access: Option<Access>,
    /// Where the application of somebody else listens, which answers what no file does, as `[app]` of the package's `site.toml` says;
    /// `None` where there is none but what a package brings ([`LiveSite::with_application`](crate::LiveSite::with_application)).
    pub application: Option<ApplicationAddress>,
    /// What the visitors of an application may cost.
    pub application_bounds: ApplicationBounds,
    /// Load balancers in front of this server. For whom they ask is what they say: for redirects to HTTPS, the application, access lines,
    /// and what one address may cost. As many connections come from one of them as there may be in all.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// How many threads serve, each with its own listener; `None` for one per available core.
    pub threads: Option<NonZero<usize>>,
    /// How long clients may take.
    pub patience: Patience,
    /// What clients may cost.
    pub bounds: Bounds,
}

/// How long a client may take before its connection is cut.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the TLS handshake, counted from the accepted connection.
    pub handshake: Duration,
    /// For the first request, counted from the handshake.
    pub first: Duration,
    /// For a request head, counted from its first byte.
    pub head: Duration,
    /// Between requests, on a connection that is kept open.
    pub idle: Duration,
    /// Between requests, before an HTTP/1.1 connection's buffers are given back. It is not cut; only the memory shows it.
    pub rest: Duration,
    /// For taking the next [`Bounds::progress`] bytes of a response. What a handler takes to answer does not count.
    pub write: Duration,
    /// For sending the next [`Bounds::progress`] bytes of a request's content, or what is left of it, once a handler waits for them.
    pub content: Duration,
    /// For closing its side, once this side is closed; also for the content that a request still has behind its response.
    pub close: Duration,
    /// What `Retry-After` says while there is no site yet.
    pub retry_after: Duration,
}

/// What clients may cost; the newest beyond a bound is refused, everybody else is served.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections per IPv4 address or IPv6 /64.
    pub connections_per_address: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Fields of a request's head (RFC 6585 §5).
    pub fields: usize,
    /// Bytes of a request's target (RFC 9110 §15.5.15).
    pub target: usize,
    /// Concurrent HTTP/2 streams of a connection (RFC 9113 §5.1.2).
    pub streams: u32,
    /// HTTP/2 streams that a client may have reset before they were looked at (CVE-2023-44487), not counting one for each
    /// response that was sent to its end since; the connection ends beyond. Of requests that a handler was working for as many
    /// as [`streams`](Self::streams) may be reset.
    pub resets: usize,
    /// HTTP/2 streams of a connection that a client may have made the server reset (CVE-2025-8671); the connection ends beyond.
    pub errors: usize,
    /// Responses of more than 32 KiB that are inflated at once, for clients that accept no coding: each holds about 75 KiB. One
    /// that gives nothing for a second makes room for others, and so does one of a client that has more of them than another;
    /// the next one is answered with 503.
    pub inflated: usize,
    /// The same of one IPv4 address or IPv6 /64.
    pub inflated_per_address: usize,
    /// Bytes of content that clients of HTTP/2 may send ahead of the handlers that read it, beyond 512 KiB of each connection: as much as
    /// fast uploads over a long way need, 6 MiB each. At the bound uploads go on with windows of 64 KiB (RFC 9113 §6.9).
    pub unread: usize,
    /// The same of one IPv4 address or IPv6 /64.
    pub unread_per_address: usize,
    /// Bytes of a response a client must take within [`Patience::write`], or of content that it must send within
    /// [`Patience::content`].
    pub progress: u64,
}

impl Settings {
    /// The defaults, for this domain.
    pub fn new(domain: impl Into<String>) -> Self {
        Self { domain: domain.into().to_ascii_lowercase(), ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: "localhost".into(),
            aliases: Vec::new(),
            also: Vec::new(),
            plain: false,
            hsts: None,
            access: None,
            application: None,
            application_bounds: ApplicationBounds::default(),
            trusted_proxies: Vec::new(),
            threads: None,
            patience: Patience::default(),
            bounds: Bounds::default(),
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(9),
            first: Duration::from_secs(9),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            rest: Duration::from_millis(250),
            write: Duration::from_secs(22),
            content: Duration::from_secs(30),
            close: Duration::from_secs(2),
            retry_after: Duration::from_secs(5),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_address: 1_024,
            head: 32 * 1024,
            fields: 100,
            target: 8 * 1024,
            streams: 128,
            resets: 20,
            errors: 1_024,
            inflated: 96,
            inflated_per_address: 72,
            unread: 64 << 20,
            unread_per_address: 12 << 20,
            progress: 16 * 1024,
        }
    }
}
