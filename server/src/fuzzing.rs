//! What reads bytes from outside, each with what must hold whatever they are.
//!
//! The fuzz targets in `server/fuzz` call these functions, and so does a bounded run of mutations in the tests of this
//! module, which needs no nightly compiler.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use crate::{
    connections::{self, Found, Scan},
    respond::range,
    semantics::{coding::Wanted, conditional, target},
    site::{Among, Fields, PackageLimits, Place, Policy, Redirects, Site},
    upstream,
};

/// A whole package: what is opened and verified can be read to the end, under names that lead nowhere else.
pub fn package(data: &[u8]) {
    let limits = PackageLimits { entries: 100, ..PackageLimits::default() };
    let Ok(site) = Site::from_bytes(Bytes::copy_from_slice(data), &limits) else { return };
    assert!(site.files() > 0);
    let verified = site.verify().is_ok();
    for entry in site.entries() {
        let name = site.name(entry);
        assert!(!name.split('/').any(|segment| matches!(segment, "" | "." | "..")), "{name:?}");
        assert!(!name.contains(['\\', '\0']), "{name:?}");
        assert!(!verified || site.packed(entry).is_some());
    }
}

/// The path of a target: decoded once, without a way up.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(path) = target::path(text) else { return };
    assert!(path.starts_with('/') && !path.contains(['\\', '\0', '\n', '\r']));
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path:?}");
}

/// `Range`: parts that lie inside and do not overlap.
pub fn ranges(data: &[u8]) {
    let Some(headers) = with_field(header::RANGE, data) else { return };
    for length in [0, 1, 1_000, u64::MAX] {
        let range::Ranges::Parts(mut parts) = range::parse(&headers, length) else { continue };
        parts.sort_unstable_by_key(|part| part.start);
        assert!(!parts.is_empty() && parts.iter().all(|part| part.start < part.end && part.end <= length));
        assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}

/// `Accept-Encoding`: weights are at most 1.
pub fn accept_encoding(data: &[u8]) {
    let Some(headers) = with_field(header::ACCEPT_ENCODING, data) else { return };
    let Wanted { brotli, zstandard, gzip, identity } = Wanted::of(&headers);
    assert!([brotli, zstandard, gzip, identity].iter().all(|weight| *weight <= 1_000));
}

/// The conditional fields: they are judged, whatever they say.
pub fn conditions(data: &[u8]) {
    let validators =
        conditional::Validators { tag: HeaderValue::from_static("\"tag\""), modified: Some(1_000_000_000) };
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
    ] {
        let Some(headers) = with_field(name, data) else { return };
        conditional::judge(&headers, &validators);
        conditional::range_applies(&headers, &validators);
    }
}

/// `_redirects`: no path becomes a redirect to another host, and every target is a field value.
pub fn redirects(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let redirects = Redirects::parse(text, &mut Vec::new());
    for path in ["/", "//evil.example", "/a/b//c/", "/a:b/ä %", "/x/\u{2028}"] {
        let elsewhere = Place { secure: false, host: "a.example", canonical: false, is_own: &|_| true };
        let asked = [(Place::unknown(), Among::All), (Place::unknown(), Among::Forced), (elsewhere, Among::ForHost)];
        for (place, among) in asked {
            let Some(target) = redirects.find(path, &place, among) else { continue };
            assert!(!target.to.starts_with("//") && HeaderValue::from_str(&target.to).is_ok(), "{target:?}");
        }
    }
}

/// `_headers`: they are applied, whatever they say, and never frame a message.
pub fn fields(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let fields = Fields::parse(text, &mut Vec::new());
    let mut headers = HeaderMap::new();
    for path in ["/", "/a/b"] {
        fields.apply(path, &Place::unknown(), &mut headers);
    }
    assert!(!headers.contains_key(header::TRANSFER_ENCODING) && !headers.contains_key(header::CONTENT_LENGTH));
}

/// `site.toml`: it is read, whatever it says.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut policy, process) = Policy::parse(text, &mut Vec::new());
    policy.run(process.plan(Some(text), |_| true), &mut Vec::new());
}

/// The bytes of an HTTP/1 connection: what is found does not depend on how they are cut.
pub fn heads(data: &[u8]) {
    let mut whole = Scan::new(64);
    let found = whole.look(data);
    let mut single = Scan::new(64);
    let first = (0..data.len()).map(|at| (at, single.look(&data[at..=at]))).find(|(_, found)| *found != Found::Fine);
    match (found, first) {
        (Found::Fault(at), Some((other, Found::Fault(0))))
        | (Found::Broken(at), Some((other, Found::Broken(0))))
        | (Found::LongTarget(at), Some((other, Found::LongTarget(0)))) => {
            assert_eq!(at, other);
        }
        (Found::Fine, None) => {
            assert_eq!(
                (whole.begun(), whole.between_requests(), whole.inside_head()),
                (single.begun(), single.between_requests(), single.inside_head())
            );
        }
        (found, first) => panic!("{found:?} in one piece, {first:?} in single bytes"),
    }
}

/// The bytes of an application's responses to GET and HEAD: what is read does not depend on how they are cut, and nothing is read
/// behind a fault.
pub fn responses(data: &[u8]) {
    upstream::responses(data);
}

/// The frames of a WebSocket: where they end does not depend on how they are cut.
pub fn tunnels(data: &[u8]) {
    connections::frames_of_websocket(data);
}

/// The bytes of an HTTP/1 connection: hyper finds the requests in them that the scan finds, and no others.
pub fn requests(data: &[u8]) {
    connections::requests(data);
}

/// The frames of an HTTP/2 connection: what comes of them does not depend on how they are cut.
pub fn frames(data: &[u8]) {
    connections::frames(data);
}

/// Field blocks of HPACK: what was decoded is encoded so that it is decoded alike.
pub fn field_blocks(data: &[u8]) {
    connections::field_blocks(data);
}

fn with_field(name: header::HeaderName, data: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_bytes(data).ok()?);
    Some(headers)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    };

    use super::*;

    /// Changes samples at random for a moment, and says how to see a failure again.
    struct Mutations {
        seed: u64,
        state: u64,
        input: Vec<u8>,
    }

    impl Mutations {
        /// The seed comes from `MUTATION_SEED`, or is another one each time.
        fn new() -> Self {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
            let seed = std::env::var("MUTATION_SEED").ok().map_or(now | 1, |seed| seed.parse().unwrap());
            Self { seed, state: seed, input: Vec::new() }
        }

        fn run(mut self, samples: &[&[u8]], words: &[&[u8]], target: fn(&[u8])) {
            let end = Instant::now() + Duration::from_millis(700);
            let mut runs = 0;
            while runs < 200 || (Instant::now() < end && runs < 200_000) {
                self.input = samples[self.below(samples.len())].to_vec();
                for _ in 0..=self.below(4) {
                    self.mutate(words);
                }
                target(&self.input);
                runs += 1;
            }
        }

        fn mutate(&mut self, words: &[&[u8]]) {
            let at = self.below(self.input.len() + 1);
            match self.below(6) {
                0 if at < self.input.len() => self.input[at] ^= 1 << self.below(8),
                1 if at < self.input.len() => self.input[at] = self.below(256) as u8,
                2 => self.input.truncate(at),
                3 => {
                    let end = (at + self.below(16)).min(self.input.len());
                    let piece = self.input[at..end].to_vec();
                    self.input.splice(at..at, piece);
                }
                4 => {
                    let word = words[self.below(words.len())];
                    let end = (at + word.len()).min(self.input.len());
                    self.input.splice(at..end, word.iter().copied());
                }
                _ => {
                    let word = words[self.below(words.len())];
                    self.input.splice(at..at, word.iter().copied());
                }
            }
        }

        /// xorshift64.
        fn below(&mut self, limit: usize) -> usize {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state % limit.max(1) as u64) as usize
        }
    }

    impl Drop for Mutations {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!(
                    "MUTATION_SEED={} shows this again; the input was {:?}",
                    self.seed,
                    self.input.escape_ascii().to_string()
                );
            }
        }
    }

    fn example() -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let deflated = stored.compression_method(zip::CompressionMethod::Deflated);
        for (name, content, options) in [
            ("index.html", "hello hello hello hello", deflated),
            ("a/b.txt", "x", stored),
            ("_redirects", "/a /b", stored),
            ("big", "y", stored.large_file(true)),
        ] {
            writer.start_file(name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_mutated_package_is_refused_or_good() {
        let words: [&[u8]; 8] = [
            b"PK\x01\x02",
            b"PK\x05\x06",
            b"PK\x06\x06",
            b"PK\x06\x07",
            b"../",
            b"\xff\xff\xff\xff",
            b"\0\0",
            b"\x01\0\x08\0",
        ];
        Mutations::new().run(&[&example()], &words, package);
    }

    #[test]
    fn mutated_paths_never_lead_up() {
        Mutations::new().run(
            &[b"/index.html", b"/a/%2e%2e/b", b"/%C3%A4?x"],
            &[b"..", b"%2e", b"%", b"/", b"\\", b"%00", b"%c0%ae"],
            path,
        );
    }

    #[test]
    fn mutated_fields_are_read_or_ignored() {
        let words: [&[u8]; 8] = [b"-", b",", b"bytes=", b"0", b"18446744073709551615", b";q=", b"\"", b"W/"];
        Mutations::new().run(&[b"bytes=0-9,20-,-5"], &words, ranges);
        Mutations::new().run(&[b"gzip;q=0.5, br, *;q=0"], &words, accept_encoding);
        Mutations::new().run(&[b"\"a\", W/\"tag\"", b"Sat, 21 Nov 2026 12:00:00 GMT"], &words, conditions);
    }

    #[test]
    fn mutated_settings_are_read_or_noted() {
        let words: [&[u8]; 10] =
            [b"*", b":a", b"/", b"200!", b"https://", b"\n", b": ", b"\"\"\"", b"%2F", b"http://a.example"];
        Mutations::new().run(&[b"/a/* /b/:splat 302\n/:a/x /:a 200!\n/s/* /:splat"], &words, redirects);
        Mutations::new().run(&[b"/*\n  X: y\n  ! Z\n/a\n  Vary: b"], &words, fields);
        Mutations::new().run(&[b"slash = 'add'\nfallback = 'x'\n[cache]\npages = 'y'"], &words, policy);
    }

    #[test]
    fn mutated_requests_are_judged_alike_however_they_are_cut_and_by_hyper() {
        let samples: [&[u8]; 3] = [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        ];
        let words: [&[u8]; 10] = [
            b"\r\n",
            b"\n",
            b":",
            b" ",
            b";",
            b"0\r\n",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding:",
            b"\r\n\r\n",
            b"\0",
        ];
        Mutations::new().run(&samples, &words, heads);
        Mutations::new().run(&samples, &words, requests);
    }

    #[test]
    fn responses_do_not_depend_on_how_they_are_cut() {
        let samples: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nhi",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nuntil it ends",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
        ];
        let words: [&[u8]; 8] = [
            b"\r\n",
            b"\n",
            b" ",
            b"204",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"HTTP/1.1 ",
            b"\0",
        ];
        Mutations::new().run(&samples, &words, responses);
    }

    #[test]
    fn tunnels_do_not_depend_on_how_they_are_cut() {
        let samples: [&[u8]; 3] =
            [b"\x81\x05hello\x88\x02\x03\xe9", b"\x82\x7e\x01\x00", b"\x81\x85\x01\x02\x03\x04hello"];
        let words: [&[u8]; 4] = [b"\x7e", b"\x7f", b"\xff", b"\x00\x00\x00\x00\x00\x00\x00\x01"];
        Mutations::new().run(&samples, &words, tunnels);
    }

    /// The values of trailers are for hyper to refuse too, which then reads nothing more.
    #[test]
    fn control_characters_in_trailers_break_the_content() {
        let head = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n";
        for trailer in ["A:\x12b", "A: \x0c", "A:\0b", "A: b\x7f", "A: \x01", "A: b"] {
            requests(format!("{head}{trailer}\r\n\r\nGET / HTTP/1.1\r\n\r\n").as_bytes());
        }
    }

    #[test]
    fn mutated_frames_are_taken_alike_however_they_are_cut() {
        let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\x10\0";
        let get = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01a";
        let post = b"\0\0\x06\x01\x04\0\0\0\x03\x83\x87\x84\x41\x01a\0\0\x02\0\x01\0\0\0\x03xy";
        let cut = b"\0\0\x03\x01\x01\0\0\0\x05\x82\x87\x84\0\0\x03\x09\x04\0\0\0\x05\x41\x01a";
        let others =
            b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\x09\0\0\x08\x06\0\0\0\0\0pingpong\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
        let samples: [&[u8]; 3] = [
            &[&settings[..], get, others].concat(),
            &[&settings[..], post, others, get].concat(),
            &[&settings[..], cut, post].concat(),
        ];
        let words: [&[u8]; 8] =
            [settings, get, post, cut, others, b"\0\0\0\x01\x05\0\0\0\x07", b"\x7f\xff\xff\xff", b"\0\0\0\0"];
        Mutations::new().run(&samples, &words, frames);
    }

    #[test]
    fn mutated_field_blocks_are_decoded_or_refused() {
        let samples: [&[u8]; 2] = [
            b"\x11\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x0c\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x1e\x40\x0acustom-key\x0ccustom-value\xbe\x3f\xe1\x1f\x04\x20\x3f\x01\xbe",
        ];
        let words: [&[u8]; 6] =
            [b"\xbe\xbf", b"\x40\x01x\x01y", b"\x20", b"\x3f\xe1\x1f", b"\x00\x81\x1f\x00", b"\x5f\x00\x7f"];
        Mutations::new().run(&samples, &words, field_blocks);
    }
}
