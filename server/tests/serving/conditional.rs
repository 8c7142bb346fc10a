//! Conditional requests and ranges (RFC 9110 §13 and §14), from end to end.

use crate::{
    client::{get, request},
    package::{Package, noise, text},
    server::Server,
};

#[tokio::test]
async fn a_matching_tag_is_answered_with_304_and_the_fields_of_the_200() {
    let server = Server::start();
    for coding in ["gzip", "identity"] {
        let accept = format!("Accept-Encoding: {coding}");
        let whole = get(&server, "/", &[&accept]).await;
        let tag = format!("If-None-Match: {}", whole.field("etag").unwrap());
        for method in ["GET", "HEAD"] {
            let unchanged = request(&server, method, "/", &[&accept, &tag]).await;
            assert_eq!((unchanged.status, unchanged.content.len()), (304, 0));
            for field in ["etag", "vary", "cache-control", "last-modified"] {
                assert_eq!(unchanged.field(field), whole.field(field), "{field}");
            }
            assert!(unchanged.field("date").is_some());
        }
        let other = get(&server, "/docs/", &[&accept, &tag]).await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn a_precondition_that_fails_is_answered_with_412() {
    let server = Server::start();
    assert_eq!(get(&server, "/", &["If-Match: \"other\""]).await.status, 412);
    assert_eq!(get(&server, "/", &["If-Unmodified-Since: Sat, 21 Nov 2026 11:59:59 GMT"]).await.status, 412);
    assert_eq!(get(&server, "/", &["If-Match: *"]).await.status, 200);
    assert_eq!(get(&server, "/", &["If-Modified-Since: Sat, 21 Nov 2026 12:00:00 GMT"]).await.status, 304);
}

#[tokio::test]
async fn one_range_is_answered_with_that_part_of_any_representation() {
    let server = Server::start();
    let (image, page) = (noise(100_000), text("home", 22_000).into_bytes());
    let coded = get(&server, "/", &["Accept-Encoding: gzip"]).await.content;
    for (target, coding, whole) in [("/logo.png", "identity", image), ("/", "identity", page), ("/", "gzip", coded)] {
        let (accept, length) = (format!("Accept-Encoding: {coding}"), whole.len());
        for (range, part) in [
            ("0-0".to_owned(), 0..1),
            ("0-9".to_owned(), 0..10),
            ("5-20".to_owned(), 5..21),
            (format!("{}-", length - 9), length - 9..length),
            ("-5".to_owned(), length - 5..length),
            (format!("{}-{}", length / 2, length + 5), length / 2..length),
        ] {
            let response = get(&server, target, &[&accept, &format!("Range: bytes={range}")]).await;
            assert_eq!(
                (response.status, &response.content[..]),
                (206, &whole[part.clone()]),
                "{target} {coding} {range}"
            );
            let expected = format!("bytes {}-{}/{length}", part.start, part.end - 1);
            assert_eq!(response.field("content-range"), Some(&expected[..]));
        }
        let behind = get(&server, target, &[&accept, &format!("Range: bytes={length}-")]).await;
        let expected = format!("bytes */{length}");
        assert_eq!((behind.status, behind.field("content-range")), (416, Some(&expected[..])));
    }
}

#[tokio::test]
async fn several_ranges_are_answered_as_multipart() {
    let server = Server::start();
    let response = get(&server, "/logo.png", &["Range: bytes=100-109,0-9,-1"]).await;
    let expected = multipart("image/png", &noise(100_000), &[100..110, 0..10, 99_999..100_000]);
    assert_eq!((response.status, response.content), (206, expected));
}

/// One pass over the content yields all parts, in its order and in pieces of any length.
#[tokio::test]
async fn several_ranges_of_a_file_that_must_be_inflated_are_answered_as_multipart() {
    let long = text("long", 400_000)[..300_000].to_owned();
    let server = Server::with(Package::new().deflated("long.txt", &long).finish(), |settings| {
        settings.bounds.inflated = 1;
    });
    let parts = [0..10, 10..40_000, 65_530..65_540, 100_000..180_000, 299_990..300_000];
    let asked = "Range: bytes=100000-179999,0-9,10-39999,-10,65530-65539";
    for _ in 0..2 {
        let response = get(&server, "/long.txt", &[asked]).await;
        let expected = multipart("text/plain; charset=utf-8", long.as_bytes(), &parts);
        assert_eq!((response.status, response.content == expected), (206, true));
    }
}

/// What RFC 9110 §14.6 makes of these parts of `content`.
fn multipart(kind: &str, content: &[u8], parts: &[std::ops::Range<usize>]) -> Vec<u8> {
    let boundary = "spothost-part-9f2d1c7b4a6e8035";
    let mut expected = Vec::new();
    for part in parts {
        let (first, last, length) = (part.start, part.end - 1, content.len());
        let range = format!("content-range: bytes {first}-{last}/{length}");
        expected.extend_from_slice(format!("\r\n--{boundary}\r\ncontent-type: {kind}\r\n{range}\r\n\r\n").as_bytes());
        expected.extend_from_slice(&content[part.clone()]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    expected
}

#[tokio::test]
async fn ranges_that_overlap_or_do_not_apply_are_answered_with_the_whole() {
    let server = Server::start();
    let tag = get(&server, "/logo.png", &[]).await.field("etag").unwrap().to_owned();
    for (fields, status) in [
        (vec!["Range: bytes=0-,0-,0-,0-".to_owned()], 200),
        (vec!["Range: bytes=0-9".into(), "If-Range: \"other\"".into()], 200),
        (vec!["Range: bytes=0-9".into(), "If-Range: Sat, 21 Nov 2026 12:00:00 GMT".into()], 200),
        (vec!["Range: bytes=0-9".into(), format!("If-Range: {tag}")], 206),
        (vec!["Range: bytes=0-9".into(), format!("If-None-Match: {tag}")], 304),
        (vec!["Range: lines=0-9".into()], 200),
    ] {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(get(&server, "/logo.png", &fields).await.status, status, "{fields:?}");
    }
    let head = request(&server, "HEAD", "/logo.png", &["Range: bytes=0-9"]).await;
    assert_eq!((head.status, head.field("content-length")), (200, Some("100000")));
}
