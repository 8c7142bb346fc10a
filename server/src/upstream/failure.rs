//! Why an application has given no response, and what its visitor is answered.

use std::{io, time::Duration};

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use rustix::io::Errno;

use super::seldom::Seldom;
use crate::{application::ApplicationAddress, body::Body, respond::plain};

/// Why an application has given no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The package is made for one, and there is none here.
    NoApplication,
    /// It takes no connections.
    Refused,
    /// No connection can be made to it, for want of something on this side.
    Unconnected,
    /// It takes none in time.
    ConnectTimeout,
    /// It closed the connection before its response.
    Terminated,
    /// Its response did not begin in time.
    Late,
    /// Its response breaks the rules of HTTP, or has a head that is too large.
    Malformed,
    /// It did not switch to a protocol that it was asked for as it must.
    BadUpgrade,
    /// The request waited for it for too long.
    Held,
    /// Too many requests wait for it or are under way, or too many WebSockets are open.
    Full,
    /// The content of the request is more than is passed.
    TooLarge,
    /// There is no room for the content of the request.
    NoRoom,
    /// The client broke off its own content.
    Broken,
    /// The request has been here before.
    Loop,
    /// The request may be a replay, and is not safe (RFC 8470 §5.2).
    TooEarly,
    /// A WebSocket was asked for where the package wants none.
    NoWebSocket,
    /// A WebSocket of another version was asked for (RFC 6455 §4.4).
    WrongVersion,
}

impl Failure {
    /// What a visitor is answered.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Refused | Self::Terminated | Self::Malformed | Self::BadUpgrade => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::Late => StatusCode::GATEWAY_TIMEOUT,
            Self::NoApplication | Self::Held | Self::Full | Self::NoRoom | Self::Unconnected => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::NoWebSocket => StatusCode::NOT_FOUND,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::TooEarly => StatusCode::TOO_EARLY,
            Self::WrongVersion => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// Its name in the registry of RFC 9209 §2.3, which access lines and counters use as well.
    pub(crate) const fn error(self) -> &'static str {
        match self {
            Self::NoApplication => "destination_not_found",
            Self::Refused => "connection_refused",
            Self::ConnectTimeout => "connection_timeout",
            Self::Terminated => "connection_terminated",
            Self::Late => "http_response_timeout",
            Self::Malformed => "http_protocol_error",
            Self::BadUpgrade | Self::WrongVersion => "http_upgrade_failed",
            Self::Held => "destination_unavailable",
            Self::Full => "connection_limit_reached",
            Self::TooLarge | Self::Broken => "http_request_error",
            Self::NoRoom | Self::Unconnected => "proxy_internal_error",
            Self::Loop => "proxy_loop_detected",
            Self::TooEarly | Self::NoWebSocket => "http_request_denied",
        }
    }

    /// Why no connection could be made to the application at `address`. What is no refusal of its own is told to the log, once a
    /// second at most: each request may come by it.
    pub(crate) fn to_connect(address: &ApplicationAddress, error: &io::Error) -> Self {
        const LACKS: [Errno; 6] =
            [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::AGAIN];
        const DOWN: [io::ErrorKind; 3] =
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset];
        static TOLD: Seldom = Seldom::new();
        if Errno::from_io_error(error).is_some_and(|error| LACKS.contains(&error)) {
            if TOLD.is_due() {
                tracing::warn!(%address, %error, "the application cannot be asked; if no file descriptors are left, raise LimitNOFILE");
            }
            return Self::Unconnected;
        }
        if !DOWN.contains(&error.kind()) && TOLD.is_due() {
            tracing::warn!(%address, %error, "the application cannot be reached; see that this program may use its address");
        }
        Self::Refused
    }

    /// The response to a visitor. Nothing of what the application said is in it.
    pub(crate) fn response(self, retry_after: Duration) -> Response<Body> {
        let mut response = plain::response(self.status());
        let fields = response.headers_mut();
        if let Ok(said) = HeaderValue::try_from(format!("spothost; error={}", self.error())) {
            fields.insert(PROXY_STATUS, said);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            fields.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        }
        if self == Self::WrongVersion {
            fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}

/// RFC 9209 §2.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_who_failed_and_how() {
        for (failure, status, said) in [
            (Failure::NoApplication, 503, "spothost; error=destination_not_found"),
            (Failure::Refused, 502, "spothost; error=connection_refused"),
            (Failure::Terminated, 502, "spothost; error=connection_terminated"),
            (Failure::Malformed, 502, "spothost; error=http_protocol_error"),
            (Failure::ConnectTimeout, 504, "spothost; error=connection_timeout"),
            (Failure::Late, 504, "spothost; error=http_response_timeout"),
            (Failure::Held, 503, "spothost; error=destination_unavailable"),
            (Failure::Full, 503, "spothost; error=connection_limit_reached"),
            (Failure::Unconnected, 503, "spothost; error=proxy_internal_error"),
            (Failure::NoRoom, 503, "spothost; error=proxy_internal_error"),
            (Failure::TooLarge, 413, "spothost; error=http_request_error"),
            (Failure::Broken, 400, "spothost; error=http_request_error"),
            (Failure::Loop, 508, "spothost; error=proxy_loop_detected"),
            (Failure::TooEarly, 425, "spothost; error=http_request_denied"),
            (Failure::WrongVersion, 426, "spothost; error=http_upgrade_failed"),
        ] {
            let response = failure.response(Duration::from_secs(5));
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["proxy-status"], said);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503, "{failure:?}");
        }
    }

    #[test]
    fn only_an_application_that_refuses_is_waited_for() {
        let address = "http://127.0.0.1:1".parse().unwrap();
        for (error, expected) in [
            (Errno::CONNREFUSED, Failure::Refused),
            (Errno::NOENT, Failure::Refused),
            (Errno::ACCESS, Failure::Refused),
            (Errno::MFILE, Failure::Unconnected),
            (Errno::NFILE, Failure::Unconnected),
            (Errno::ADDRNOTAVAIL, Failure::Unconnected),
        ] {
            assert_eq!(Failure::to_connect(&address, &error.into()), expected, "{error}");
        }
    }
}
