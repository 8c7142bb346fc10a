//! For whom a request is: `Host` and `:authority` (RFC 9110 §7.2, RFC 9112 §3.2, RFC 9113 §8.3.1).

use http::{HeaderValue, Request, StatusCode, Version, header, uri::Authority};

use crate::Settings;

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
    /// 400 where HTTP demands it: `Host` missing in HTTP/1.1, repeated, invalid, or contradicting the target (RFC 9112
    /// §3.2); 421 for a name that is not served here (RFC 9110 §15.5.20). That is so on both ports: somebody else's name
    /// that leads here by mistake, or a scanner with an address, is not sent on to the domain.
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Result<Known, StatusCode> {
        if let Some(known) = self.plainly(request) {
            return Ok(known);
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Err(StatusCode::BAD_REQUEST),
            (Some(host), None) => Some(parse(host).ok_or(StatusCode::BAD_REQUEST)?),
            (None, None) => None,
        };
        let target = request.uri().authority();
        if target.is_some_and(|target| target.as_str().contains('@')) {
            return Err(StatusCode::BAD_REQUEST);
        }
        match (target, host) {
            (None, None) if request.version() == Version::HTTP_11 => Err(StatusCode::BAD_REQUEST),
            (None, None) => Err(StatusCode::MISDIRECTED_REQUEST),
            (None, Some(host)) => self.known(&host),
            // RFC 9112 §3.2 demands Host beside an absolute target too.
            (Some(_), None) if request.version() == Version::HTTP_11 => Err(StatusCode::BAD_REQUEST),
            (Some(target), None) => self.known(target.host()),
            (Some(target), Some(host)) if target.host().eq_ignore_ascii_case(&host) => self.known(&host),
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
                if request.version() == Version::HTTP_2 && domain(target.as_str().as_bytes()) =>
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

/// The host of a valid `Host` field: `uri-host [":" port]` (RFC 9110 §7.2).
fn parse(field: &HeaderValue) -> Option<String> {
    let text = field.to_str().ok()?;
    if text.contains('@') {
        return None;
    }
    let authority: Authority = text.parse().ok()?;
    let port = text.strip_prefix(authority.host())?;
    is_port(port.as_bytes()).then(|| authority.host().to_owned())
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
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn the_host_decides_how_a_request_is_served() {
        let (bad, misdirected) = (Err(StatusCode::BAD_REQUEST), Err(StatusCode::MISDIRECTED_REQUEST));
        for (hosts, expected) in [
            (&["www.example.org"][..], Ok(Known::Served)),
            (&["WWW.example.ORG:8443"], Ok(Known::Served)),
            (&["www.example.org:65535"], Ok(Known::Served)),
            (&["www.example.org:65536"], bad),
            (&["www.example.org:+80"], bad),
            (&["www.example.org8443"], misdirected),
            (&["www.example.org."], Ok(Known::Served)),
            (&["www.example.org:"], Ok(Known::Served)),
            (&["127.0.0.1:1"], Ok(Known::Served)),
            (&["[::1]:1"], Ok(Known::Served)),
            (&["example.org"], Ok(Known::Alias)),
            (&["169.254.169.254"], misdirected),
            (&["other.example"], misdirected),
            (&["www.example.org.evil.example"], misdirected),
            (&[], bad),
            (&[""], bad),
            (&["www.example.org", "www.example.org"], bad),
            (&["www.example.org, other.example"], bad),
            (&["user@www.example.org"], bad),
            (&["www.example.org/path"], bad),
            (&["www.example.org:port"], bad),
            (&["www.example.org:65536"], bad),
            (&["www.exa mple.org"], bad),
        ] {
            assert_eq!(names().of(&request(Version::HTTP_11, "/", hosts)), expected, "{hosts:?}");
        }
    }

    #[test]
    fn an_absolute_target_must_agree_with_the_host() {
        for (version, target, hosts, expected) in [
            (Version::HTTP_11, "http://www.example.org/", &["www.example.org"][..], Ok(Known::Served)),
            (Version::HTTP_11, "http://other.example/", &["www.example.org"], Err(StatusCode::BAD_REQUEST)),
            (Version::HTTP_11, "http://www.example.org/", &["169.254.169.254"], Err(StatusCode::BAD_REQUEST)),
            (Version::HTTP_11, "http://www.example.org/", &[], Err(StatusCode::BAD_REQUEST)),
            (Version::HTTP_11, "http://u@www.example.org/", &["www.example.org"], Err(StatusCode::BAD_REQUEST)),
            (Version::HTTP_2, "https://www.example.org/", &[], Ok(Known::Served)),
            (Version::HTTP_2, "https://other.example/", &[], Err(StatusCode::MISDIRECTED_REQUEST)),
            (Version::HTTP_2, "https://www.example.org/", &["other.example"], Err(StatusCode::BAD_REQUEST)),
            (Version::HTTP_10, "/", &["www.example.org"], Ok(Known::Served)),
            (Version::HTTP_10, "/", &[], Err(StatusCode::MISDIRECTED_REQUEST)),
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
