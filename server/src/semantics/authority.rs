//! For whom a request is: `Host` and `:authority` (RFC 9110 §7.2, RFC 9112 §3.2, RFC 9113 §8.3.1).

use std::borrow::Cow;

use http::{
    HeaderValue, Request, StatusCode, Uri, Version, header,
    uri::{Authority, Scheme},
};

use super::target;
use crate::settings::Settings;

/// The names that are served, and what follows from them.
#[derive(Debug)]
pub(crate) struct Names {
    domain: Box<str>,
    also: Vec<Box<str>>,
    aliases: Vec<Box<str>>,
    /// `https://domain`, with the port unless it is the default.
    origin: Box<str>,
    /// `Strict-Transport-Security`, if it is asked for.
    pub(crate) hsts: Option<HeaderValue>,
}

/// How a name is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// With the site.
    Served,
    /// With a redirect to the domain.
    Alias,
}

impl Settings {
    /// The names of these settings, where HTTPS is served on `port`.
    pub(crate) fn names(&self, port: u16) -> Names {
        let lower = |name: &String| name.to_ascii_lowercase().into_boxed_str();
        Names {
            domain: lower(&self.domain),
            also: self.also.iter().map(lower).collect(),
            aliases: self.aliases.iter().map(lower).collect(),
            origin: match port {
                443 => format!("https://{}", self.domain),
                port => format!("https://{}:{port}", self.domain),
            }
            .into(),
            hsts: self.hsts.and_then(|age| HeaderValue::from_str(&format!("max-age={}", age.as_secs())).ok()),
        }
    }
}

impl Names {
    /// How the name that a request is for is served.
    ///
    /// # Errors
    /// 400 where HTTP demands it: `Host` missing, repeated, invalid, or contradicting the target (RFC 9112 §3.2, RFC 9113
    /// §8.3.1); 421 for a scheme or a name that is not served here (RFC 9110 §15.5.20), and for a client that speaks HTTP/1.0 and
    /// names no host. That is so on both ports: somebody else's name that leads here by mistake, or a scanner with an
    /// address, is not sent on to the domain.
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Result<Known, StatusCode> {
        if let Some(known) = self.plainly(request) {
            return Ok(known);
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Err(StatusCode::BAD_REQUEST),
            (Some(host), None) => Some(authority(host).ok_or(StatusCode::BAD_REQUEST)?),
            (None, None) => None,
        };
        let host = host.as_ref().map(|host| HostPort::of(host).ok_or(StatusCode::BAD_REQUEST)).transpose()?;
        let uri = request.uri();
        let target = uri.authority().map(|target| HostPort::of(target).ok_or(StatusCode::BAD_REQUEST)).transpose()?;
        check_scheme(uri)?;
        match (target, host) {
            (None, None) if request.version() < Version::HTTP_11 => Err(StatusCode::MISDIRECTED_REQUEST),
            (None, None) => Err(StatusCode::BAD_REQUEST),
            (None, Some(host)) => self.known(host.host),
            // RFC 9112 §3.2 demands Host beside an absolute target too.
            (Some(_), None) if request.version() == Version::HTTP_11 => Err(StatusCode::BAD_REQUEST),
            (Some(target), None) => self.known(target.host),
            (Some(target), Some(host)) if target.is(host, uri.scheme()) => self.known(host.host),
            (Some(_), Some(_)) => Err(StatusCode::BAD_REQUEST),
        }
    }

    /// The same, for the way that nearly every request has it: the domain itself, with or without a port, and nothing else.
    fn plainly<B>(&self, request: &Request<B>) -> Option<Known> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let domain = |name: &[u8]| match name.split_at_checked(self.domain.len()) {
            Some((host, port)) => host.eq_ignore_ascii_case(self.domain.as_bytes()) && is_port(port),
            None => false,
        };
        match (request.uri().authority(), hosts.next(), hosts.next()) {
            (Some(target), None, None)
                if request.version() == Version::HTTP_2
                    && check_scheme(request.uri()).is_ok()
                    && domain(target.as_str().as_bytes()) =>
            {
                Some(Known::Served)
            }
            (None, Some(host), None) if domain(host.as_bytes()) => Some(Known::Served),
            _ => None,
        }
    }

    /// Where a request for another scheme or name belongs: the same target at the domain over HTTPS.
    pub(crate) fn canonical<B>(&self, request: &Request<B>) -> String {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target } else { "/" };
        format!("{}{target}", self.origin)
    }

    /// The name to which a request came that is `known` here, in lower case, for rules of the package that are for one host
    /// alone. Names that are served as if they were the domain are the domain.
    pub(crate) fn host<B>(&self, known: Known, request: &Request<B>) -> Cow<'_, str> {
        if known == Known::Served {
            return Cow::Borrowed(&self.domain);
        }
        let field = || request.headers().get(header::HOST).and_then(authority);
        let host = request.uri().authority().cloned().or_else(field);
        let host = host.as_ref().map_or("", Authority::host);
        Cow::Owned(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
    }

    /// Whether this is a name that is served, with the site or with a redirect to it.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        self.known(host).is_ok()
    }

    fn known(&self, host: &str) -> Result<Known, StatusCode> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is = |name: &str| name.eq_ignore_ascii_case(host);
        if is(&self.domain) || self.also.iter().any(|name| is(name)) {
            return Ok(Known::Served);
        }
        if self.aliases.iter().any(|name| is(name) || is_below(name, host)) {
            return Ok(Known::Alias);
        }
        Err(StatusCode::MISDIRECTED_REQUEST)
    }
}

/// The host and the port that an authority names: `uri-host [":" port]` (RFC 9110 §7.2), without userinfo (§4.2.4).
///
/// The one reader of `Host`, of `:authority` and of absolute targets: two that differ somewhere are how a request is for
/// one site to a cache, and for another one to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostPort<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> HostPort<'a> {
    /// `None` if the authority names no host, or a port that there cannot be.
    pub(crate) fn of(authority: &'a Authority) -> Option<Self> {
        let host = authority.host();
        // Userinfo would stand before the host.
        let port = authority.as_str().strip_prefix(host)?;
        if host.is_empty() || !is_port(port.as_bytes()) {
            return None;
        }
        Some(Self { host, port: port.strip_prefix(':').and_then(|digits| digits.parse().ok()) })
    }

    /// Whether that is the same place, where a port that is not said is that of the scheme (RFC 9110 §4.2.3).
    fn is(self, other: Self, scheme: Option<&Scheme>) -> bool {
        let unsaid = if scheme == Some(&Scheme::HTTP) { 80 } else { 443 };
        let port = |place: Self| place.port.unwrap_or(unsaid);
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

/// Refuses a target that is for another protocol: what is no scheme is bad, and what is one is misdirected (RFC 9110 §7.4).
/// The scheme is not compared with the port: a proxy that ends TLS before this server says `http` here, or `https` there.
fn check_scheme(uri: &Uri) -> Result<(), StatusCode> {
    match uri.scheme() {
        None => Ok(()),
        Some(scheme) if *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP => Ok(()),
        Some(scheme) if target::is_scheme(scheme.as_str()) => Err(StatusCode::MISDIRECTED_REQUEST),
        Some(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// The authority that a `Host` field holds.
fn authority(field: &HeaderValue) -> Option<Authority> {
    field.to_str().ok()?.parse().ok()
}

/// `[":" port]` (RFC 9110 §7.2), of a port that there can be.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] => true,
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
        }
        _ => false,
    }
}

/// Whether `host` is what a wildcard stands for: one label before its end (RFC 9525 §6.3).
fn is_below(wildcard: &str, host: &str) -> bool {
    let end = wildcard.strip_prefix('*').filter(|end| end.len() < host.len() && host.is_ascii());
    end.is_some_and(|end| {
        let (label, rest) = host.split_at(host.len() - end.len());
        rest.eq_ignore_ascii_case(end) && !label.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut settings = Settings::new("www.Example.org");
        settings.aliases = vec!["example.org".into()];
        settings.also = vec!["127.0.0.1".into(), "[::1]".into()];
        settings.names(8443)
    }

    #[test]
    fn wildcard_stands_for_one_label() {
        let table = [
            ("a.example.org", true),
            ("A.Example.Org", true),
            ("a.b.example.org", false),
            ("example.org", false),
            (".example.org", false),
            ("aexample.org", false),
        ];
        for (host, below) in table {
            assert_eq!(is_below("*.example.org", host), below, "{host}");
        }
        assert!(!is_below("example.org", "a.example.org"));
    }

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, host.as_bytes());
        }
        request.body(()).unwrap()
    }

    const BAD: Result<Known, StatusCode> = Err(StatusCode::BAD_REQUEST);
    const MISDIRECTED: Result<Known, StatusCode> = Err(StatusCode::MISDIRECTED_REQUEST);
    const SERVED: Result<Known, StatusCode> = Ok(Known::Served);

    /// Wherever an authority stands, it is judged alike.
    #[test]
    fn the_host_decides_how_a_request_is_served() {
        for (host, expected) in [
            ("www.example.org", SERVED),
            ("WWW.example.ORG:8443", SERVED),
            ("www.example.org:65535", SERVED),
            ("www.example.org:65536", BAD),
            ("www.example.org:4294967376", BAD),
            ("www.example.org:+80", BAD),
            ("www.example.org:-1", BAD),
            ("www.example.org:port", BAD),
            ("www.example.org:80:80", BAD),
            ("www.example.org: 80", BAD),
            ("www.example.org8443", MISDIRECTED),
            ("www.example.org.", SERVED),
            ("www.example.org:", SERVED),
            ("127.0.0.1:1", SERVED),
            ("[::1]:1", SERVED),
            ("[::1]x", BAD),
            ("[::1", BAD),
            ("::1", BAD),
            ("example.org", Ok(Known::Alias)),
            ("169.254.169.254", MISDIRECTED),
            ("other.example", MISDIRECTED),
            ("www.example.org.evil.example", MISDIRECTED),
            ("", BAD),
            (":8443", BAD),
            ("www.example.org,other.example", MISDIRECTED),
            ("www.example.org, other.example", BAD),
            ("user@www.example.org", BAD),
            ("user:password@www.example.org:8443", BAD),
            ("@www.example.org", BAD),
            ("www.example.org/path", BAD),
            ("www.example.org?query", BAD),
            ("www.example.org#fragment", BAD),
            ("www.example.org\\x", BAD),
            ("www.ex%61mple.org", BAD),
            ("www.exa mple.org", BAD),
            ("www.ex\u{e4}mple.org", BAD),
        ] {
            assert_eq!(names().of(&request(Version::HTTP_11, "/", &[host])), expected, "Host: {host}");
            assert_eq!(names().of(&request(Version::HTTP_2, "/", &[host])), expected, "Host: {host} in HTTP/2");
            // What cannot even be part of a target is refused before it gets here.
            let target = host.parse::<Authority>().ok().and_then(|authority| {
                Uri::builder().scheme("https").authority(authority).path_and_query("/").build().ok()
            });
            let judged = target.map_or(BAD, |target| names().of(&request(Version::HTTP_2, &target.to_string(), &[])));
            assert_eq!(judged, expected, ":authority: {host}");
        }
        for version in [Version::HTTP_11, Version::HTTP_2] {
            for hosts in [&[][..], &["www.example.org", "www.example.org"], &["www.example.org", ""]] {
                assert_eq!(names().of(&request(version, "/", hosts)), BAD, "{version:?} {hosts:?}");
            }
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_the_host() {
        const HTTP_11: Version = Version::HTTP_11;
        const HTTP_2: Version = Version::HTTP_2;
        for (version, target, hosts, expected) in [
            (HTTP_11, "http://www.example.org/", &["www.example.org"][..], SERVED),
            (HTTP_11, "http://www.example.org:80/", &["www.example.org"], SERVED),
            (HTTP_11, "http://www.example.org/", &["www.example.org:443"], BAD),
            (HTTP_11, "http://other.example/", &["www.example.org"], BAD),
            (HTTP_11, "http://www.example.org/", &["169.254.169.254"], BAD),
            (HTTP_11, "http://www.example.org/", &[], BAD),
            (HTTP_11, "http://u@www.example.org/", &["www.example.org"], BAD),
            (HTTP_11, "http://www.example.org:65536/", &["www.example.org:65536"], BAD),
            (HTTP_11, "ftp://www.example.org/", &["www.example.org"], MISDIRECTED),
            (HTTP_11, "1ftp://www.example.org/", &["www.example.org"], BAD),
            (HTTP_2, "https://www.example.org/", &[], SERVED),
            (HTTP_2, "http://www.example.org/", &[], SERVED),
            (HTTP_2, "ftp://www.example.org/", &[], MISDIRECTED),
            (HTTP_2, "https://www.example.org:443/", &["WWW.example.org"], SERVED),
            (HTTP_2, "https://www.example.org:8443/", &["www.example.org:9443"], BAD),
            (HTTP_2, "https://other.example/", &[], MISDIRECTED),
            (HTTP_2, "https://www.example.org/", &["other.example"], BAD),
            (HTTP_2, "https://www.example.org/", &["www.example.org", "www.example.org"], BAD),
            (Version::HTTP_10, "/", &["www.example.org"], SERVED),
            (Version::HTTP_10, "/", &[], MISDIRECTED),
        ] {
            assert_eq!(names().of(&request(version, target, hosts)), expected, "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn the_canonical_place_keeps_target_and_query() {
        for (target, location) in [
            ("/a%20b?c=d&e", "https://www.example.org:8443/a%20b?c=d&e"),
            ("http://example.org//x", "https://www.example.org:8443//x"),
            ("*", "https://www.example.org:8443/"),
        ] {
            assert_eq!(names().canonical(&request(Version::HTTP_11, target, &[])), location);
        }
    }
}
