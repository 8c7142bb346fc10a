//! The fields of requests to an application, and of its responses: those that are of one connection go no further, those that
//! only this server may set are set here.

use std::{cell::RefCell, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

use crate::{connections::Client, semantics::hop_by_hop};

/// This server's name among proxies (RFC 9110 §7.6.3).
const PSEUDONYM: &str = "spothost";
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 spothost");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 spothost");
const VIA_2: HeaderValue = HeaderValue::from_static("2 spothost");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names a file that is to be sent instead, as Apache, lighttpd and Rack know it.
pub(super) const X_SENDFILE: HeaderName = HeaderName::from_static("x-sendfile");
/// The same, as nginx knows it.
pub(super) const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// RFC 8470 §5.1.
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Fields of a request that end here: an application takes them for this server's word, or they are about its connection or the
/// framing of its content, which are made anew.
const ENDING: [&str; 20] = [
    "content-length",
    "early-data",
    "expect",
    "forwarded",
    "front-end-https",
    "host",
    "path-info",
    "proxy",
    "proxy-authorization",
    "remote-user",
    "script-name",
    "te",
    "trailer",
    "via",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];
/// The same of all names that begin so.
const ENDING_PREFIXES: [&str; 4] = ["x-forwarded-", "x-accel-", "x-sendfile", "client-cert"];

/// The fields of a request to an application, but for those that frame its content.
///
/// Names with `_` or `.` end here: CGI and all that follows it cannot tell `X-A_B` from `X-A-B`, so that a visitor could say what
/// only this server may.
pub(super) fn of_request(head: &Parts, client: Client) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(head.headers.len() + 12);
    let host = authority(head);
    if let Some(host) = &host {
        fields.insert(header::HOST, host.clone());
    }
    let connection = ConnectionOptions::of(&head.headers);
    let mut cookies: Option<Vec<u8>> = None;
    for (name, value) in &head.headers {
        if ends_here(name) || connection.names(name) {
            continue;
        }
        if *name == header::COOKIE && head.version == Version::HTTP_2 {
            // Split to be packed better (RFC 9113 §8.2.3).
            let joined = cookies.get_or_insert_default();
            if !joined.is_empty() {
                joined.extend_from_slice(b"; ");
            }
            joined.extend_from_slice(value.as_bytes());
            continue;
        }
        let value = if *name == header::MAX_FORWARDS && head.method == Method::OPTIONS {
            one_less(value)
        } else {
            value.clone()
        };
        fields.append(name, value);
    }
    if let Some(cookies) = cookies.and_then(|cookies| HeaderValue::from_bytes(&cookies).ok()) {
        fields.insert(header::COOKIE, cookies);
    }
    if takes_trailers(&head.headers) {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    set_own(&mut fields, head, client, host);
    fields
}

/// What this server says of a client: the same for all requests of a connection.
#[derive(Clone)]
struct ForClient {
    client: Client,
    host: Option<HeaderValue>,
    address: HeaderValue,
    forwarded: HeaderValue,
}

thread_local! {
    /// That of the request before.
    static LAST: RefCell<Option<ForClient>> = const { RefCell::new(None) };
}

impl ForClient {
    fn of(client: Client, host: Option<&HeaderValue>) -> Option<Self> {
        let last = LAST.with_borrow(|last| {
            last.as_ref().filter(|last| last.client == client && last.host.as_ref() == host).cloned()
        });
        last.or_else(|| {
            let made = Self::make(client, host)?;
            LAST.set(Some(made.clone()));
            Some(made)
        })
    }

    fn make(client: Client, host: Option<&HeaderValue>) -> Option<Self> {
        let address = client.address.to_canonical();
        let protocol = client.protocol();
        let mut forwarded = match address {
            IpAddr::V4(address) => format!("for={address};proto={protocol}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={protocol}"),
        };
        if let Some(host) = host.and_then(|host| host.to_str().ok()) {
            forwarded.push_str(&format!(";host=\"{host}\""));
        }
        let address = HeaderValue::try_from(address.to_string()).ok()?;
        Some(Self { client, host: host.cloned(), address, forwarded: HeaderValue::try_from(forwarded).ok()? })
    }
}

impl Client {
    fn protocol(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// The fields that only this server sets.
fn set_own(fields: &mut HeaderMap, head: &Parts, client: Client, host: Option<HeaderValue>) {
    if let Some(said) = ForClient::of(client, host.as_ref()) {
        fields.insert(header::FORWARDED, said.forwarded);
        fields.insert(X_FORWARDED_FOR, said.address.clone());
        fields.insert(X_REAL_IP, said.address);
    }
    if let Some(host) = host {
        fields.insert(X_FORWARDED_HOST, host);
    }
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(client.protocol()));
    if let Ok(id) = HeaderValue::from_bytes(&request_id()) {
        fields.insert(X_REQUEST_ID, id);
    }
    // Those before this server come first.
    for via in head.headers.get_all(header::VIA) {
        fields.append(header::VIA, via.clone());
    }
    fields.append(header::VIA, via(head.version));
}

/// 128 bits by chance, in hexadecimal digits.
fn request_id() -> [u8; 32] {
    let id = fastrand::u128(..);
    std::array::from_fn(|at| b"0123456789abcdef"[(id >> (4 * at)) as usize & 15])
}

/// The name that a request is for, as it was checked: once, be it in its target or in `Host` (RFC 9112 §3.2, RFC 9113 §8.3.1).
fn authority(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(header::HOST).cloned(),
    }
}

fn via(version: Version) -> HeaderValue {
    match version {
        Version::HTTP_2 => VIA_2,
        Version::HTTP_10 => VIA_1_0,
        _ => VIA_1_1,
    }
}

fn ends_here(name: &HeaderName) -> bool {
    let text = name.as_str();
    ENDING.binary_search(&text).is_ok()
        || text.bytes().any(|byte| matches!(byte, b'_' | b'.'))
        || ENDING_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || hop_by_hop::FIELDS.contains(name)
}

/// How often a request may still be passed on behind here (RFC 9110 §7.6.2). What is no number is kept.
fn one_less(value: &HeaderValue) -> HeaderValue {
    let number = value.to_str().ok().and_then(|value| value.parse::<u64>().ok());
    number.map_or_else(|| value.clone(), |number| number.saturating_sub(1).into())
}

/// Whether the sender takes trailers (RFC 9110 §10.1.4).
fn takes_trailers(fields: &HeaderMap) -> bool {
    let mut codings =
        fields.get_all(header::TE).iter().filter_map(|value| value.to_str().ok()).flat_map(|te| te.split(','));
    codings.any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

/// Whether a request has come by here before (RFC 9110 §7.6.3).
pub(super) fn has_come_by(fields: &HeaderMap) -> bool {
    let hops =
        fields.get_all(header::VIA).iter().filter_map(|value| value.to_str().ok()).flat_map(|via| via.split(','));
    hops.filter_map(|hop| hop.split_whitespace().nth(1)).any(|by| by.eq_ignore_ascii_case(PSEUDONYM))
}

/// Whether a request came in early data of TLS before some other proxy (RFC 8470 §5.1).
pub(super) fn is_early(fields: &HeaderMap) -> bool {
    fields.contains_key(EARLY_DATA)
}

/// Takes out of a response what is of its connection alone, or for this server; adds this server to those it came by.
pub(super) fn of_response(version: Version, fields: &mut HeaderMap) {
    let connection = ConnectionOptions::of(fields);
    let ends = |name: &&HeaderName| {
        name.as_str().starts_with("x-accel-")
            || **name == X_SENDFILE
            || hop_by_hop::FIELDS.contains(name)
            || connection.names(name)
    };
    let ending: Vec<HeaderName> = fields.keys().filter(ends).cloned().collect();
    for name in ending {
        fields.remove(name);
    }
    fields.append(header::VIA, via(version));
}

/// Whether an application wants its response passed on as it comes: an event stream, or by nginx's field.
pub(super) fn is_streamed(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let events = kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"));
    events || fields.get(X_ACCEL_BUFFERING).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"))
}

/// The fields that `Connection` names (RFC 9110 §7.6.1).
struct ConnectionOptions(Vec<HeaderName>);

impl ConnectionOptions {
    fn of(fields: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in fields.get_all(header::CONNECTION) {
            // What every client says, and names no field.
            if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close") {
                continue;
            }
            let said = value.as_bytes().split(|byte| *byte == b',');
            names.extend(said.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()));
        }
        Self(names)
    }

    fn names(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use http::Request;

    use super::*;

    const CLIENT: Client = Client { address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), secure: true };

    fn head(version: Version, target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn passed(version: Version, target: &str, fields: &[(&str, &[u8])]) -> HeaderMap {
        of_request(&head(version, target, fields), CLIENT)
    }

    #[test]
    fn fields_that_end_here_are_sorted_as_they_are_looked_up() {
        assert!(ENDING.is_sorted());
    }

    #[test]
    fn what_a_visitor_may_not_say_ends_here() {
        let names = [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Ssl",
            "X-Forwarded-Protocol",
            "X-Forwarded-Prefix",
            "X-Real-Ip",
            "X-Scheme",
            "X-Url-Scheme",
            "Front-End-Https",
            "Proxy",
            "Script-Name",
            "Path-Info",
            "Remote-User",
            "X-Accel-Redirect",
            "X-Accel-Buffering",
            "X-Sendfile",
            "X-Sendfile-Type",
            "X-Original-Url",
            "X-Rewrite-Url",
            "Client-Cert",
            "Client-Cert-Chain",
            "X_Forwarded_For",
            "X.Y",
            "X-A_B",
            "Expect",
            "Keep-Alive",
            "Proxy-Connection",
            "Upgrade",
            "Transfer-Encoding",
            "Content-Length",
            "X-Request-Id",
            "Early-Data",
            "Proxy-Authorization",
            "Trailer",
        ];
        for name in names {
            let fields = passed(Version::HTTP_11, "/", &[("host", b"a"), (name, b"visitor")]);
            let said = fields.values().any(|value| value == "visitor");
            assert!(!said, "{name}: {fields:?}");
        }
        for name in [
            "Accept",
            "Authorization",
            "Cookie",
            "Origin",
            "X-Requested-With",
            "Content-Type",
            "Upgrade-Insecure-Requests",
        ] {
            let fields = passed(Version::HTTP_11, "/", &[("host", b"a"), (name, b"visitor")]);
            assert_eq!(fields[name], "visitor");
        }
    }

    #[test]
    fn fields_that_connection_names_go_neither_way() {
        let fields: &[(&str, &[u8])] = &[
            ("host", b"a"),
            ("connection", b"X-Hop , close,TE"),
            ("connection", b"x-other"),
            ("x-hop", b"1"),
            ("x-other", b"2"),
            ("x-kept", b"3"),
        ];
        let passed = passed(Version::HTTP_11, "/", fields);
        assert!(!passed.contains_key("x-hop") && !passed.contains_key("x-other") && !passed.contains_key("connection"));
        assert_eq!(passed["x-kept"], "3");
        let mut response = head(Version::HTTP_11, "/", &fields[1..]).headers;
        response.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        response.insert("x-accel-expires", HeaderValue::from_static("0"));
        response.insert("x-sendfile", HeaderValue::from_static("/etc/passwd"));
        of_response(Version::HTTP_11, &mut response);
        let left: Vec<_> = response.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("x-kept", "3"), ("via", "1.1 spothost")]);
    }

    #[test]
    fn only_this_server_says_for_whom_it_asks() {
        let fields = passed(Version::HTTP_11, "/", &[("host", b"www.example.org:8443"), ("via", b"1.1 cdn")]);
        for (name, value) in [
            ("host", "www.example.org:8443"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-real-ip", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "www.example.org:8443"),
            ("forwarded", "for=192.0.2.7;proto=https;host=\"www.example.org:8443\""),
        ] {
            assert_eq!(fields.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
        assert_eq!(fields.get_all("via").iter().collect::<Vec<_>>(), ["1.1 cdn", "1.1 spothost"]);
        assert_eq!(fields["x-request-id"].len(), 32);
        let six = Client { address: Ipv6Addr::LOCALHOST.into(), secure: false };
        let fields = of_request(&head(Version::HTTP_2, "https://a/", &[]), six);
        assert_eq!(
            (&fields["forwarded"], &fields["host"]),
            (&"for=\"[::1]\";proto=http;host=\"a\"".parse().unwrap(), &"a".parse().unwrap())
        );
        let mapped = Client { address: "::ffff:192.0.2.9".parse().unwrap(), secure: false };
        assert_eq!(of_request(&head(Version::HTTP_11, "/", &[]), mapped)["x-forwarded-for"], "192.0.2.9");
    }

    #[test]
    fn repeated_fields_and_odd_bytes_are_kept_as_they_are() {
        let fields: &[(&str, &[u8])] =
            &[("accept", b"b"), ("x-a", b"1"), ("accept", b"a"), ("x-a", b""), ("x-o", b"\xe4\xff")];
        let passed = passed(Version::HTTP_11, "/", fields);
        assert_eq!(passed.get_all("accept").iter().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(passed.get_all("x-a").iter().collect::<Vec<_>>(), ["1", ""]);
        assert_eq!(passed["x-o"].as_bytes(), b"\xe4\xff");
    }

    #[test]
    fn cookies_of_http_2_are_one_field_again() {
        let fields: &[(&str, &[u8])] = &[("cookie", b"a=b"), ("x", b"y"), ("cookie", b"c=d")];
        assert_eq!(
            passed(Version::HTTP_2, "https://a/", fields).get_all("cookie").iter().collect::<Vec<_>>(),
            ["a=b; c=d"]
        );
        assert_eq!(passed(Version::HTTP_11, "/", fields).get_all("cookie").iter().count(), 2);
    }

    #[test]
    fn trailers_are_asked_for_where_the_visitor_takes_them() {
        let te = |te: &'static [u8]| passed(Version::HTTP_11, "/", &[("te", te)]);
        let fields = te(b"gzip, trailers");
        assert_eq!((&fields["te"], &fields["connection"]), (&"trailers".parse().unwrap(), &"te".parse().unwrap()));
        assert!(!te(b"gzip").contains_key("te"));
    }

    #[test]
    fn a_request_that_has_come_by_is_known() {
        for (via, has) in [
            (&["1.1 spothost"][..], true),
            (&["1.1 a, 2 SpotHost (x)"], true),
            (&["1.1 a", "1.1 spothost"], true),
            (&["1.1 spothosts", "spothost", "1.1 a (spothost)"], false),
            (&[], false),
        ] {
            let fields: Vec<_> = via.iter().map(|via| ("via", via.as_bytes())).collect();
            assert_eq!(has_come_by(&head(Version::HTTP_11, "/", &fields).headers), has, "{via:?}");
        }
    }

    #[test]
    fn event_streams_are_not_buffered_nor_what_asks_not_to_be() {
        for (name, value, streamed) in [
            ("content-type", "text/event-stream", true),
            ("content-type", "Text/Event-Stream; charset=utf-8", true),
            ("content-type", "text/html", false),
            ("x-accel-buffering", "no", true),
            ("x-accel-buffering", "yes", false),
        ] {
            assert_eq!(
                is_streamed(&head(Version::HTTP_11, "/", &[(name, value.as_bytes())]).headers),
                streamed,
                "{name}: {value}"
            );
        }
    }
}
