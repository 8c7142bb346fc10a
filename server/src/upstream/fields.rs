//! The fields of requests to an application, and of its responses: those that are of one connection go no further, those that
//! only this server may set are set here.

use std::{cell::RefCell, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts};

use super::{
    connection_options::ConnectionOptions,
    response::{ResponseHead, X_SENDFILE, is_instruction},
};
use crate::{connections::Client, semantics::hop_by_hop};

/// This server's name among proxies (RFC 9110 §7.6.3).
const PSEUDONYM: &str = "spothost";
const VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 spothost");
const VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 spothost");
const VIA_2: HeaderValue = HeaderValue::from_static("2 spothost");

/// Names a file that is to be sent instead, as nginx knows it.
const X_ACCEL_REDIRECT: &str = "x-accel-redirect";
const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
/// RFC 8470 §5.1.
const EARLY_DATA: HeaderName = HeaderName::from_static("early-data");

/// Writes the field lines of a request to an application, but for those that frame its content, those that are about the connection,
/// and these `others`.
///
/// Names with `_` or `.` end here: CGI and all that follows it cannot tell `X-A_B` from `X-A-B`, so that a visitor could say what
/// only this server may.
pub(super) fn write_request(head: &Parts, client: Client, others: &[HeaderName], out: &mut Vec<u8>) {
    let host = authority(head);
    if let Some(host) = &host {
        write_line(header::HOST.as_str(), host.as_bytes(), out);
    }
    let connection = ConnectionOptions::of(&head.headers);
    let splits_cookies = head.version == Version::HTTP_2;
    for (name, value) in &head.headers {
        if ends_here(name) || connection.names(name) || others.contains(name) {
            continue;
        }
        if splits_cookies && *name == header::COOKIE {
            continue;
        }
        if *name == header::MAX_FORWARDS && head.method == Method::OPTIONS {
            write_line(name.as_str(), one_less(value).as_bytes(), out);
            continue;
        }
        write_line(name.as_str(), value.as_bytes(), out);
    }
    if splits_cookies {
        write_cookies(&head.headers, out);
    }
    write_own(head, client, host, out);
}

/// Writes a field line (RFC 9112 §5).
pub(super) fn write_line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes the cookies of a request as one field: over HTTP/2 they are split to be packed better (RFC 9113 §8.2.3).
fn write_cookies(fields: &HeaderMap, out: &mut Vec<u8>) {
    let mut cookies = fields.get_all(header::COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first.as_bytes());
    for cookie in cookies {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(cookie.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Field lines that say for whom this server asks: the same for all requests of a connection.
struct ForClient {
    client: Client,
    host: Option<HeaderValue>,
    lines: Vec<u8>,
}

thread_local! {
    /// Those of the request before.
    static LAST: RefCell<Option<ForClient>> = const { RefCell::new(None) };
}

impl ForClient {
    fn is_for(&self, client: Client, host: Option<&HeaderValue>) -> bool {
        self.client == client && self.host.as_ref() == host
    }

    fn new(client: Client, host: Option<HeaderValue>) -> Self {
        let address = client.address.to_canonical();
        let protocol = client.protocol();
        let mut forwarded = match address {
            IpAddr::V4(address) => format!("for={address};proto={protocol}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={protocol}"),
        };
        if let Some(host) = host.as_ref().and_then(|host| host.to_str().ok()) {
            forwarded.push_str(&format!(";host=\"{host}\""));
        }
        let address = address.to_string();
        let mut lines = Vec::with_capacity(256);
        write_line(header::FORWARDED.as_str(), forwarded.as_bytes(), &mut lines);
        write_line("x-forwarded-for", address.as_bytes(), &mut lines);
        write_line("x-real-ip", address.as_bytes(), &mut lines);
        if let Some(host) = &host {
            write_line("x-forwarded-host", host.as_bytes(), &mut lines);
        }
        write_line("x-forwarded-proto", protocol.as_bytes(), &mut lines);
        Self { client, host, lines }
    }
}

impl Client {
    fn protocol(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// Writes the fields that only this server sets.
fn write_own(head: &Parts, client: Client, host: Option<HeaderValue>, out: &mut Vec<u8>) {
    LAST.with_borrow_mut(|last| {
        let known = last.take().filter(|known| known.is_for(client, host.as_ref()));
        let said = last.insert(known.unwrap_or_else(|| ForClient::new(client, host)));
        out.extend_from_slice(&said.lines);
    });
    write_line("x-request-id", &request_id(), out);
    // Those before this server come first.
    for via in head.headers.get_all(header::VIA) {
        write_line(header::VIA.as_str(), via.as_bytes(), out);
    }
    write_line(header::VIA.as_str(), via(head.version).as_bytes(), out);
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

/// Whether a field of a request, or of its trailers, ends here: an application takes it for this server's word, or it is about the
/// connection or the framing of the content, which are made anew.
pub(super) fn ends_here(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_for_this_server(text)
        || ENDING_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || text.bytes().any(|byte| matches!(byte, b'_' | b'.'))
        || hop_by_hop::is_one(name)
}

/// Whether no visitor says a field of this name to an application.
fn is_for_this_server(name: &str) -> bool {
    matches!(
        name,
        "content-length"
            | "early-data"
            | "expect"
            | "forwarded"
            | "front-end-https"
            | "host"
            | "path-info"
            | "proxy"
            | "proxy-authorization"
            | "remote-user"
            | "script-name"
            | "te"
            | "trailer"
            | "via"
            | "x-original-url"
            | "x-real-ip"
            | "x-request-id"
            | "x-rewrite-url"
            | "x-scheme"
            | "x-url-scheme"
    )
}

/// What names begin with that no visitor says either.
const ENDING_PREFIXES: [&str; 4] = ["x-forwarded-", "x-accel-", "x-sendfile", "client-cert"];

/// How often a request may still be passed on behind here (RFC 9110 §7.6.2). What is no number is kept.
fn one_less(value: &HeaderValue) -> HeaderValue {
    let number = value.to_str().ok().and_then(|value| value.parse::<u64>().ok());
    number.map_or_else(|| value.clone(), |number| number.saturating_sub(1).into())
}

/// Whether the sender takes trailers (RFC 9110 §10.1.4).
pub(super) fn takes_trailers(fields: &HeaderMap) -> bool {
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

/// The fields of a response without what its `Connection` names and what is for this server; this server is added to those it came by.
pub(super) fn of_response(head: ResponseHead) -> HeaderMap {
    let mut fields = head.fields;
    for name in &head.options.names {
        fields.remove(name);
    }
    while head.instructs
        && let Some(name) = fields.keys().find(|name| is_instruction(name.as_str())).cloned()
    {
        fields.remove(name);
    }
    fields.append(header::VIA, via(head.version));
    fields
}

/// The same of a switch of protocols: to which, the server says itself.
pub(super) fn of_switch(head: ResponseHead) -> HeaderMap {
    let mut fields = of_response(head);
    for name in &hop_by_hop::FIELDS {
        fields.remove(name);
    }
    fields
}

/// The file that an application wants sent instead of the content of its response.
pub(super) fn file(head: &ResponseHead) -> Option<HeaderValue> {
    let named = [X_ACCEL_REDIRECT, X_SENDFILE].into_iter().find_map(|name| head.fields.get(name));
    named.filter(|_| head.instructs).cloned()
}

/// Whether the content of a response is an event stream (HTML §9.2).
pub(super) fn is_event_stream(head: &ResponseHead) -> bool {
    let kind = head.fields.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whether an application wants its response passed on as it comes: an event stream, or by nginx's field.
pub(super) fn is_streamed(head: &ResponseHead) -> bool {
    let events = is_event_stream(head);
    let says_no = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"no");
    events || (head.instructs && head.fields.get(X_ACCEL_BUFFERING).is_some_and(says_no))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use http::Request;

    use super::*;
    use crate::upstream::response::ResponseReader;

    const CLIENT: Client = Client { address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), secure: true };

    fn head(version: Version, target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The field lines of a request to an application.
    fn written(head: &Parts, client: Client) -> HeaderMap {
        let mut lines = Vec::new();
        write_request(head, client, &[], &mut lines);
        let mut lines = bytes::Bytes::from(lines);
        let mut reader = crate::upstream::lines::Lines::default();
        let mut fields = HeaderMap::new();
        while let Some(line) = reader.next(&mut lines).unwrap() {
            let (name, value) = crate::upstream::lines::field(line).unwrap();
            fields.append(name, value);
        }
        fields
    }

    fn passed(version: Version, target: &str, fields: &[(&str, &[u8])]) -> HeaderMap {
        written(&head(version, target, fields), CLIENT)
    }

    /// The head of a response with these lines.
    fn response(lines: &str) -> ResponseHead {
        let mut reader = ResponseReader::new();
        reader.expect(false);
        let mut bytes = bytes::Bytes::from(format!("HTTP/1.1 204 x\r\n{lines}\r\n"));
        *reader.read_head(&mut bytes).unwrap().unwrap()
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
        let lines = "Connection: X-Hop , close\r\nConnection: x-other\r\nX-Hop: 1\r\nX-Other: 2\r\nX-Kept: 3\r\n\
                    Keep-Alive: timeout=5\r\nX-Accel-Expires: 0\r\nX-Accel-Expires: 1\r\nX-Sendfile: /etc/passwd\r\n";
        let response = of_response(response(lines));
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
        let fields = written(&head(Version::HTTP_2, "https://a/", &[]), six);
        assert_eq!(
            (&fields["forwarded"], &fields["host"]),
            (&"for=\"[::1]\";proto=http;host=\"a\"".parse().unwrap(), &"a".parse().unwrap())
        );
        let mapped = Client { address: "::ffff:192.0.2.9".parse().unwrap(), secure: false };
        assert_eq!(written(&head(Version::HTTP_11, "/", &[]), mapped)["x-forwarded-for"], "192.0.2.9");
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
    fn who_takes_trailers_says_so() {
        for (te, takes) in [("gzip, trailers", true), ("Trailers", true), ("gzip", false), ("trailers;q=0", false)] {
            assert_eq!(takes_trailers(&head(Version::HTTP_11, "/", &[("te", te.as_bytes())]).headers), takes, "{te}");
        }
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
            assert_eq!(is_streamed(&response(&format!("{name}: {value}\r\n"))), streamed, "{name}: {value}");
        }
    }
}
