//! Load balancers in front of this server, and what they say of their visitors.

use std::{fmt, net::IpAddr, net::SocketAddr, str::FromStr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A load balancer in front of this server, or a network of them, whose word for whom it asks is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

/// Why a network of load balancers is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no network of load balancers: {why}; write 10.0.0.0/16, or one address")]
pub struct BadTrustedProxy {
    text: String,
    why: &'static str,
}

impl FromStr for TrustedProxy {
    type Err = BadTrustedProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why| BadTrustedProxy { text: text.to_owned(), why };
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network.map_err(|_| bad("it is neither a network nor an address"))? {
            network if network.prefix_len() == 0 => Err(bad("it would trust what every visitor says")),
            network => Ok(Self(network)),
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Whether one of these networks holds the address.
pub(crate) fn holds(trusted: &[TrustedProxy], address: IpAddr) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|proxy| proxy.0.contains(&address))
}

/// What trusted proxies say of the visitor for whom they ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The visitor's address.
    pub(crate) address: Option<IpAddr>,
    /// Whether the visitor has asked over TLS.
    pub(crate) secure: Option<bool>,
    /// The name that the visitor has asked.
    host: Option<Authority>,
}

impl Told {
    /// What `peer` says by `X-Forwarded-For`, `-Proto` and `-Host`, or by `Forwarded` (RFC 7239) where there is no
    /// `X-Forwarded-For`; none if `peer` is not trusted.
    ///
    /// Each proxy adds the address that has asked it at the end, so they are read from there: the visitor is the first that is not
    /// trusted itself, or the last before what is no address. Whatever stands before it may be the visitor's own invention.
    pub(crate) fn by(trusted: &[TrustedProxy], peer: IpAddr, fields: &HeaderMap) -> Option<Self> {
        if !holds(trusted, peer) {
            return None;
        }
        if !fields.contains_key(X_FORWARDED_FOR) {
            return Some(Self::by_forwarded(trusted, fields));
        }
        let mut told = Self::default();
        let mut hops = 0;
        for said in list(fields, &X_FORWARDED_FOR).iter().rev() {
            let Some(address) = address(said) else { break };
            told.address = Some(address);
            hops += 1;
            if !holds(trusted, address) {
                break;
            }
        }
        // As many are the proxies' own; a proxy that sets the field anew leaves fewer.
        let of_the_first = |name: HeaderName| {
            let said = list(fields, &name);
            said.get(said.len().saturating_sub(hops.max(1))).copied()
        };
        told.secure = of_the_first(X_FORWARDED_PROTO).and_then(is_secure);
        told.host = of_the_first(X_FORWARDED_HOST).and_then(|host| host.parse().ok());
        Some(told)
    }

    fn by_forwarded(trusted: &[TrustedProxy], fields: &HeaderMap) -> Self {
        let mut told = Self::default();
        for said in list(fields, &header::FORWARDED).iter().rev() {
            let element = Self::of_element(said);
            let Some(address) = element.address else { break };
            told = element;
            if !holds(trusted, address) {
                break;
            }
        }
        told
    }

    /// The parameters of one element (RFC 7239 §4).
    fn of_element(element: &str) -> Self {
        let mut told = Self::default();
        for pair in outside_quotes(element.as_bytes(), b';', true) {
            let Some((name, value)) = std::str::from_utf8(pair).ok().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => told.address = address(value),
                "proto" => told.secure = is_secure(value),
                "host" => told.host = value.parse().ok(),
                _ => {}
            }
        }
        told
    }

    /// Has the request be for the name that the visitor has asked.
    pub(crate) fn name<B>(&self, request: &mut Request<B>) {
        let Some(host) = &self.host else { return };
        let said = request.headers().get_all(header::HOST).iter().count();
        let is_in_target = request.uri().authority().is_some();
        // Two names are a fault that stays one.
        if said > 1 {
            return;
        }
        if is_in_target {
            let parts = std::mem::take(request.uri_mut()).into_parts();
            let target = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
            let uri = Uri::builder().scheme(parts.scheme.unwrap_or(Scheme::HTTPS)).authority(host.clone());
            *request.uri_mut() = uri.path_and_query(target).build().unwrap_or_default();
        }
        if (said == 1 || !is_in_target)
            && let Ok(value) = HeaderValue::from_str(host.as_str())
        {
            request.headers_mut().insert(header::HOST, value);
        }
    }
}

/// The elements of a field that is a list, in their order, those of its repetitions too (RFC 9110 §5.3).
fn list<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let mut elements = Vec::new();
    for line in fields.get_all(name) {
        let line = line.as_bytes();
        let mut end = Quotes::default();
        for byte in line {
            end.pass(*byte);
        }
        // Only Forwarded has quoted strings. One that is not closed was begun by the visitor: what the proxy has added stands apart.
        let heeds = *name == header::FORWARDED && !end.quoted;
        // What is no text has no address, and stands for itself alone.
        let parts = outside_quotes(line, b',', heeds).map(|part| std::str::from_utf8(part).unwrap_or("?").trim());
        elements.extend(parts.filter(|element| !element.is_empty()));
    }
    elements
}

/// Where a text is, with regard to its quoted strings (RFC 9110 §5.6.4).
#[derive(Clone, Copy, Debug, Default)]
struct Quotes {
    quoted: bool,
    escaped: bool,
}

impl Quotes {
    /// Goes beyond that byte; whether it lies outside of them.
    fn pass(&mut self, byte: u8) -> bool {
        let escapes = self.quoted && !self.escaped && byte == b'\\';
        if byte == b'"' && !self.escaped {
            self.quoted = !self.quoted;
        }
        self.escaped = escapes;
        !self.quoted
    }
}

/// The parts between these separators; those within quoted strings are none, where these are heeded.
fn outside_quotes(text: &[u8], separator: u8, heeds: bool) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    text.split(move |byte| {
        let outside = quotes.pass(*byte);
        *byte == separator && (outside || !heeds)
    })
}

/// An address, be it with a port, or in the brackets of IPv6.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn is_secure(protocol: &str) -> Option<bool> {
    match protocol.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> Vec<TrustedProxy> {
        ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"].map(|text| text.parse().unwrap()).to_vec()
    }

    fn told(peer: &str, said: &[(&'static str, &'static str)]) -> Option<Told> {
        let mut fields = HeaderMap::new();
        for (name, value) in said {
            fields.append(*name, HeaderValue::from_static(value));
        }
        Told::by(&trusted(), peer.parse().unwrap(), &fields)
    }

    #[test]
    fn a_network_of_load_balancers_is_one_or_is_refused_with_the_reason() {
        for text in ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::1/128"] {
            assert_eq!(text.parse::<TrustedProxy>().unwrap().to_string(), text);
        }
        assert_eq!("192.0.2.1".parse::<TrustedProxy>().unwrap().to_string(), "192.0.2.1/32");
        for (text, why) in
            [("", "neither"), ("10.0.0.0/33", "neither"), ("lb.example", "neither"), ("::/0", "every visitor")]
        {
            let error = text.parse::<TrustedProxy>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_visitor_is_the_last_address_that_is_not_trusted() {
        for (peer, said, expected) in [
            ("10.0.0.1", "203.0.113.9", Some("203.0.113.9")),
            ("::ffff:10.0.0.1", "203.0.113.9", Some("203.0.113.9")),
            ("2001:db8:1::5", "2001:db8::9", Some("2001:db8::9")),
            // What a visitor has invented stands before its own address.
            ("10.0.0.1", "198.51.100.7, 10.0.0.9, 203.0.113.9", Some("203.0.113.9")),
            ("10.0.0.1", "198.51.100.7,203.0.113.9 , 192.0.2.1, 10.2.3.4", Some("203.0.113.9")),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("10.0.0.1", "203.0.113.9:4711", Some("203.0.113.9")),
            ("10.0.0.1", "[2001:db8::9]:4711", Some("2001:db8::9")),
            ("10.0.0.1", "[2001:db8::9]", Some("2001:db8::9")),
            ("10.0.0.1", "::ffff:203.0.113.9", Some("203.0.113.9")),
            ("10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("10.0.0.1", "203.0.113.9, nonsense", None),
            // It has no quoted strings: a visitor's quotation mark swallows nothing.
            ("10.0.0.1", "\", 203.0.113.9", Some("203.0.113.9")),
            ("10.0.0.1", "198.51.100.7 \"x, 203.0.113.9, 10.0.0.2", Some("203.0.113.9")),
            ("10.0.0.1", "", None),
        ] {
            let told = told(peer, &[("x-forwarded-for", said)]).unwrap();
            assert_eq!(told.address, expected.map(|address| address.parse().unwrap()), "{peer}: {said}");
        }
        for peer in ["203.0.113.1", "192.0.2.2", "::1", "2001:db8:2::5"] {
            assert_eq!(told(peer, &[("x-forwarded-for", "198.51.100.7")]), None, "{peer} is not trusted");
        }
        let mut octets = HeaderMap::new();
        octets.append(X_FORWARDED_FOR, HeaderValue::from_bytes(b"\xe9, 203.0.113.9").unwrap());
        let told_by_octets = Told::by(&trusted(), "10.0.0.1".parse().unwrap(), &octets).unwrap();
        assert_eq!(told_by_octets.address, Some("203.0.113.9".parse().unwrap()));
        let lines =
            [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(told("10.0.0.1", &lines).unwrap().address, Some("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn the_visitors_protocol_and_name_are_those_that_the_first_proxy_was_asked_by() {
        for (said, secure, host) in [
            (
                &[
                    ("x-forwarded-for", "203.0.113.9"),
                    ("x-forwarded-proto", "HTTPS"),
                    ("x-forwarded-host", "www.example.org:8443"),
                ][..],
                Some(true),
                Some("www.example.org:8443"),
            ),
            (
                &[
                    ("x-forwarded-for", "203.0.113.9"),
                    ("x-forwarded-proto", "https, http"),
                    ("x-forwarded-host", "evil, a"),
                ],
                Some(false),
                Some("a"),
            ),
            (&[("x-forwarded-for", "203.0.113.9, 10.0.0.2"), ("x-forwarded-proto", "https, http")], Some(true), None),
            (&[("x-forwarded-for", "203.0.113.9, 10.0.0.2"), ("x-forwarded-proto", "http")], Some(false), None),
            (
                &[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a/b c")],
                None,
                None,
            ),
            (&[("x-forwarded-proto", "https"), ("x-forwarded-host", "a")], None, None),
        ] {
            let told = told("10.0.0.1", said).unwrap();
            assert_eq!((told.secure, told.host.as_ref().map(Authority::as_str)), (secure, host), "{said:?}");
        }
    }

    #[test]
    fn forwarded_is_read_where_there_is_no_x_forwarded_for() {
        for (said, address, secure, host) in [
            (
                "for=203.0.113.9;proto=https;host=www.example.org",
                Some("203.0.113.9"),
                Some(true),
                Some("www.example.org"),
            ),
            ("For=\"[2001:db8::9]:4711\"; Proto=http", Some("2001:db8::9"), Some(false), None),
            (
                "for=198.51.100.7;proto=http, for=203.0.113.9;proto=https;by=10.0.0.2, for=10.0.0.2;proto=http",
                Some("203.0.113.9"),
                Some(true),
                None,
            ),
            ("for=203.0.113.9;host=\"a,b;for=198.51.100.7\"", Some("203.0.113.9"), None, Some("a,b;for=198.51.100.7")),
            ("for=203.0.113.9, for=_hidden", None, None, None),
            // A visitor's quotation mark swallows nothing of the proxy's.
            ("for=\"198.51.100.7, for=203.0.113.9", Some("203.0.113.9"), None, None),
            (
                "for=198.51.100.7;proto=https;host=x;y=\", for=203.0.113.9;proto=http",
                Some("203.0.113.9"),
                Some(false),
                None,
            ),
            ("x=\", for=\"[2001:db8::9]:80\";proto=http", Some("2001:db8::9"), Some(false), None),
            ("x=\"\\, for=\"[2001:db8::9]:80\";proto=http", Some("2001:db8::9"), Some(false), None),
        ] {
            let told = told("10.0.0.1", &[("forwarded", said)]).unwrap();
            assert_eq!(told.address, address.map(|address| address.parse().unwrap()), "{said}");
            assert_eq!((told.secure, told.host.as_ref().map(Authority::as_str)), (secure, host), "{said}");
        }
        let both = [("forwarded", "for=198.51.100.7;proto=http"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(
            told("10.0.0.1", &both),
            Some(Told { address: Some("203.0.113.9".parse().unwrap()), ..Told::default() })
        );
    }

    #[test]
    fn a_request_is_for_the_name_that_the_visitor_has_asked() {
        let told = Told { host: Some(Authority::from_static("www.example.org")), ..Told::default() };
        for (target, host, expected_target, expected_host) in [
            ("/x?y", &["internal"][..], "/x?y", &["www.example.org"][..]),
            ("/x", &[], "/x", &["www.example.org"]),
            ("https://internal/x?y", &[], "https://www.example.org/x?y", &[]),
            ("http://internal/", &["internal"], "http://www.example.org/", &["www.example.org"]),
            ("/x", &["a", "b"], "/x", &["a", "b"]),
        ] {
            let mut request = Request::builder().uri(target);
            for host in host {
                request = request.header(header::HOST, *host);
            }
            let mut request = request.body(()).unwrap();
            told.name(&mut request);
            let hosts: Vec<_> =
                request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap()).collect();
            assert_eq!(
                (request.uri().to_string().as_str(), &hosts[..]),
                (expected_target, expected_host),
                "{target} {host:?}"
            );
        }
    }
}
