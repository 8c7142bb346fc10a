//! What frames a response, for each protocol and each handler: its length, whether it has content at all, and the fields
//! that are the wire's alone.

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};

use crate::{
    body::Body,
    semantics::{field::Length, hop_by_hop},
};

/// A length that is said twice, and not alike (RFC 9110 §8.6).
struct Contradiction;

/// Makes a response one that can be framed: it has a length where that is known, and no content where there is none (RFC 9110
/// §6.4.1, §9.3.2). One to HEAD says how long the content of GET is (§8.6).
pub(super) fn frame(version: Version, is_head: bool, response: &mut Response<Body>) {
    if !response.body().is_own() {
        adapt(is_head, response);
    }
    let never = is_without_content(response.status());
    // hyper says it for HTTP/1, where it sees the content.
    let says = (is_head || version == Version::HTTP_2) && !never;
    if let Some(length) = response.body().left().filter(|_| says) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    if is_head || never {
        *response.body_mut() = Body::empty();
    }
}

/// Whether a response of this status has no content, whatever was asked.
fn is_without_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Has a handler's response say what is so. One that cannot be sent becomes a 500.
fn adapt(is_head: bool, response: &mut Response<Body>) {
    if response.status().is_informational() {
        fail(response, "it is no final response");
    }
    for name in &hop_by_hop::FIELDS {
        response.headers_mut().remove(name);
    }
    let Ok(said) = said_length(response.headers()) else {
        return fail(response, "it has two lengths");
    };
    let kept = match (response.body().left(), said) {
        // It describes content that is not sent.
        (None | Some(0), Some(_)) if is_head || response.status() == StatusCode::NOT_MODIFIED => said,
        (None, Some(length)) if !is_without_content(response.status()) => {
            response.body_mut().expect(length);
            said
        }
        _ => None,
    };
    match kept {
        Some(length) => drop(response.headers_mut().insert(header::CONTENT_LENGTH, length.into())),
        None => drop(response.headers_mut().remove(header::CONTENT_LENGTH)),
    }
}

/// How long the content is, as a response says; none if it says what is no length.
fn said_length(headers: &HeaderMap) -> Result<Option<u64>, Contradiction> {
    let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = said.next() else { return Ok(None) };
    if said.all(|other: &HeaderValue| other == first) { Ok(Length::read(first.as_bytes())) } else { Err(Contradiction) }
}

fn fail(response: &mut Response<Body>, why: &str) {
    tracing::error!(status = %response.status(), why, "a handler's response cannot be sent, and is replaced by a 500: mend the handler");
    *response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::body::{Body as HttpBody, Frame};

    use super::*;

    /// A stream that says nothing of its length.
    struct Unknown;

    impl HttpBody for Unknown {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
            std::task::Poll::Ready(None)
        }
    }

    /// The status, the lengths that are said, and what is known of the content, of a response to GET or HEAD.
    fn framed(
        version: Version,
        is_head: bool,
        status: u16,
        said: &[&'static str],
        body: Body,
    ) -> (u16, Vec<String>, Option<u64>) {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for length in said {
            response.headers_mut().append(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        frame(version, is_head, &mut response);
        let lengths = response.headers().get_all(header::CONTENT_LENGTH).iter();
        let lengths = lengths.map(|length| length.to_str().unwrap().to_owned()).collect();
        (response.status().as_u16(), lengths, response.body().left())
    }

    #[test]
    fn a_handlers_response_says_what_is_so_or_is_replaced() {
        let five = || Body::from(Bytes::from_static(b"hello"));
        let unknown = || Body::stream(Unknown);
        let one = Version::HTTP_11;
        let two = Version::HTTP_2;
        for (version, is_head, status, said, body, expected) in [
            // What hyper says by itself.
            (one, false, 200, &[][..], five(), (200, &[][..], Some(5))),
            (two, false, 200, &[], five(), (200, &["5"], Some(5))),
            (two, false, 200, &[], Body::empty(), (200, &["0"], Some(0))),
            (two, false, 200, &[], unknown(), (200, &[], None)),
            // Bytes are as long as they are.
            (one, false, 200, &["7"], five(), (200, &[], Some(5))),
            (two, false, 200, &["7"], five(), (200, &["5"], Some(5))),
            (two, false, 200, &["0"], five(), (200, &["5"], Some(5))),
            // A stream is as long as is said of it.
            (one, false, 200, &["7"], unknown(), (200, &["7"], Some(7))),
            (two, false, 200, &["7", "7"], unknown(), (200, &["7"], Some(7))),
            (one, false, 200, &["7, 7"], unknown(), (200, &[], None)),
            (one, false, 200, &["x"], unknown(), (200, &[], None)),
            // HEAD has the length of GET, also where there is none of it.
            (one, true, 200, &[], five(), (200, &["5"], Some(0))),
            (one, true, 200, &[], Body::empty(), (200, &["0"], Some(0))),
            (two, true, 200, &["7"], Body::empty(), (200, &["7"], Some(0))),
            (one, true, 200, &["7", "7"], unknown(), (200, &["7"], Some(0))),
            (one, true, 200, &[], unknown(), (200, &[], Some(0))),
            // 304 may say what 200 would; 204 has nothing to say.
            (two, false, 304, &["7"], Body::empty(), (304, &["7"], Some(0))),
            (two, false, 304, &[], Body::empty(), (304, &[], Some(0))),
            (one, false, 304, &[], five(), (304, &[], Some(0))),
            (one, false, 204, &["7"], unknown(), (204, &[], Some(0))),
            (two, true, 204, &[], Body::empty(), (204, &[], Some(0))),
            // What cannot be sent.
            (one, false, 200, &["5", "6"], five(), (500, &[], Some(0))),
            (two, false, 200, &["5", "6"], unknown(), (500, &["0"], Some(0))),
            (one, true, 200, &["5", "6"], Body::empty(), (500, &["0"], Some(0))),
            (one, false, 101, &[], Body::empty(), (500, &[], Some(0))),
        ] {
            let (status_then, lengths, left) = expected;
            let expected = (status_then, lengths.iter().map(|length| (*length).to_owned()).collect(), left);
            assert_eq!(
                framed(version, is_head, status, said, body),
                expected,
                "{version:?} {is_head} {status} {said:?}"
            );
        }
    }
}
