//! What an access line says, and how it is written.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use serde::Serialize;
use time::{OffsetDateTime, format_description::FormatItem, macros::format_description};

use super::{AccessFormat, Passage};

use crate::clock;

/// One request and its response. Cloning what a request holds costs no copy.
#[derive(Debug)]
pub(crate) struct Line {
    address: IpAddr,
    at: SystemTime,
    method: Method,
    /// `None` where the head could not be read.
    uri: Option<Uri>,
    version: Version,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    status: u16,
    bytes: u64,
    took: Duration,
    /// How it was passed to an application; none if files answered.
    passage: Option<Passage>,
}

/// The status of a request whose client has left before there was a response, as nginx logs it. No client is sent it.
const LEFT: u16 = 499;

#[derive(Serialize)]
struct Json<'a> {
    time: &'a str,
    address: IpAddr,
    method: &'a str,
    target: &'a str,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<JsonPassage>,
}

#[derive(Serialize)]
struct JsonPassage {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_micros: Option<u64>,
    retries: u32,
    held_micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl From<&Passage> for JsonPassage {
    fn from(passage: &Passage) -> Self {
        Self {
            first_byte_micros: passage.first_byte.map(micros),
            retries: passage.retries,
            held_micros: micros(passage.held),
            error: passage.failure,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// RFC 3339.
const JSON_TIME: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const COMBINED_TIME: &[FormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

impl Line {
    /// What is known when a request begins.
    pub(crate) fn begin<B>(address: IpAddr, request: &http::Request<B>) -> Self {
        let field = |name| HeaderMap::get(request.headers(), name).cloned();
        Self {
            address: address.to_canonical(),
            at: clock::now(),
            method: request.method().clone(),
            uri: Some(request.uri().clone()),
            version: request.version(),
            referer: field(header::REFERER),
            agent: field(header::USER_AGENT),
            status: LEFT,
            bytes: 0,
            took: Duration::ZERO,
            passage: None,
        }
    }

    /// A head that could not be read, and was answered with `status`.
    pub(crate) fn refused(address: IpAddr, status: StatusCode) -> Self {
        Self {
            address: address.to_canonical(),
            at: clock::now(),
            // A name that no method has, and that is a token all the same.
            method: Method::from_bytes(b"-").unwrap_or_default(),
            uri: None,
            version: Version::HTTP_11,
            referer: None,
            agent: None,
            status: status.as_u16(),
            bytes: 0,
            took: Duration::ZERO,
            passage: None,
        }
    }

    /// It was passed to an application.
    pub(crate) fn passed(&mut self, passage: Passage) {
        self.passage = Some(passage);
    }

    /// What is known when its response ends, or that there was none.
    pub(crate) fn end(&mut self, status: Option<StatusCode>, bytes: u64) {
        self.status = status.map_or(LEFT, |status| status.as_u16());
        self.bytes = bytes;
        self.took = self.at.elapsed().unwrap_or_default();
    }

    /// Writes the line and its end.
    pub(crate) fn write(&self, format: AccessFormat, out: &mut Vec<u8>) {
        let target = match &self.uri {
            Some(uri) => uri.path_and_query().map_or("*", |target| target.as_str()),
            None => "-",
        };
        match format {
            AccessFormat::Json => self.write_json(target, out),
            AccessFormat::Combined => self.write_combined(target, out),
        }
        out.push(b'\n');
    }

    fn write_json(&self, target: &str, out: &mut Vec<u8>) {
        let line = Json {
            time: &self.time(JSON_TIME),
            address: self.address,
            method: self.method.as_str(),
            target,
            protocol: self.protocol(),
            status: self.status,
            bytes: self.bytes,
            micros: micros(self.took),
            referer: self.referer.as_ref().and_then(|field| field.to_str().ok()),
            agent: self.agent.as_ref().and_then(|field| field.to_str().ok()),
            application: self.passage.as_ref().map(JsonPassage::from),
        };
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(out, &line);
    }

    fn write_combined(&self, target: &str, out: &mut Vec<u8>) {
        let start = format!("{} - - [{}] \"{} ", self.address, self.time(COMBINED_TIME), self.method);
        out.extend_from_slice(start.as_bytes());
        escape(target.as_bytes(), out);
        let middle = format!(" {}\" {} {} \"", self.protocol(), self.status, self.bytes);
        out.extend_from_slice(middle.as_bytes());
        escape(self.referer.as_ref().map_or(b"-", |field| field.as_bytes()), out);
        out.extend_from_slice(b"\" \"");
        escape(self.agent.as_ref().map_or(b"-", |field| field.as_bytes()), out);
        out.push(b'"');
    }

    fn time(&self, format: &[FormatItem<'_>]) -> String {
        OffsetDateTime::from(self.at).format(format).unwrap_or_default()
    }

    fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }
}

/// What a visitor sends can neither end the quotes nor the line, nor hold control characters for a terminal.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => out.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Line {
        /// A line as it could be.
        pub(crate) fn example(target: &str) -> Self {
            let request = http::Request::get(target)
                .header(header::REFERER, HeaderValue::from_bytes(b"a\"b\\\xe4").unwrap())
                .header(header::USER_AGENT, "curl/8")
                .body(())
                .unwrap();
            let mut line = Self::begin([127, 0, 0, 1].into(), &request);
            line.end(Some(StatusCode::NOT_FOUND), 42);
            line.at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_262_400_123);
            line.took = Duration::from_micros(77);
            line
        }
    }

    fn written(format: AccessFormat) -> String {
        let mut out = Vec::new();
        Line::example("/a?b=c").write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_written_in_the_combined_format_with_nothing_left_to_break_it() {
        assert_eq!(
            written(AccessFormat::Combined),
            "127.0.0.1 - - [21/Nov/2026:12:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 404 42 \"a\\x22b\\x5C\\xE4\" \"curl/8\"\n"
        );
    }

    #[test]
    fn a_line_says_how_a_request_was_passed_to_an_application() {
        let mut line = Line::example("/a");
        line.passed(Passage {
            first_byte: Some(Duration::from_micros(900)),
            retries: 1,
            held: Duration::from_millis(2),
            failure: Some("connection_refused"),
        });
        let mut out = Vec::new();
        line.write(AccessFormat::Json, &mut out);
        let passed = "\"application\":{\"first_byte_micros\":900,\"retries\":1,\"held_micros\":2000,\"error\":\"connection_refused\"}}\n";
        assert!(String::from_utf8(out).unwrap().ends_with(passed));
    }

    #[test]
    fn a_line_is_written_as_json() {
        assert_eq!(
            written(AccessFormat::Json),
            "{\"time\":\"2026-11-21T12:00:00.123Z\",\"address\":\"127.0.0.1\",\"method\":\"GET\",\"target\":\"/a?b=c\",\
             \"protocol\":\"HTTP/1.1\",\"status\":404,\"bytes\":42,\"micros\":77,\"agent\":\"curl/8\"}\n"
        );
    }
}
