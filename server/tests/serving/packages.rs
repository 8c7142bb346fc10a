//! Which packages are taken, and which are refused.

use bytes::Bytes;
use spothost_server::{PackageLimits, Reason, Refused, Site};

use crate::{
    package::Package,
    zips::{Raw, central, crc32, deflated, end, end64, extra, local, stored, zip, zip_with},
};

fn open(package: impl Into<Bytes>) -> Result<Site, Refused> {
    let site = Site::from_bytes(package.into(), &PackageLimits::default())?;
    site.verify()?;
    Ok(site)
}

/// The reason, as the name of its variant.
fn reason(package: Vec<u8>) -> String {
    match open(package) {
        Ok(_) => "accepted".into(),
        Err(refused) => format!("{:?}", refused.reason()).split(['(', ' ']).next().unwrap().into(),
    }
}

#[test]
fn a_hostile_package_is_refused_with_the_reason() {
    let good = || stored("index.html", "hello");
    let named = |name: &[u8]| vec![good(), Raw { name: name.to_vec(), ..stored("x", "y") }];
    let mode = |mode: u32| vec![good(), Raw { attributes: mode << 16, ..stored("x", "y") }];
    let other = |adjust: fn(&mut Raw)| {
        let mut raw = deflated("x.html", "content");
        adjust(&mut raw);
        vec![good(), raw]
    };
    for (what, entries, expected) in [
        ("absolute", named(b"/etc/passwd"), "Name"),
        ("climbing", named(b"../x"), "Name"),
        ("climbing inside", named(b"a/../../x"), "Name"),
        ("climbing directory", named(b"../x/"), "Name"),
        ("drive", named(b"C:x"), "Name"),
        ("backslash", named(b"a\\x"), "Name"),
        ("climbing on Windows", vec![good(), Raw { made_by: 20, attributes: 0, ..stored("..\\x", "y") }], "Name"),
        ("share on Windows", vec![good(), Raw { made_by: 20, attributes: 0, ..stored("\\\\host\\x", "y") }], "Name"),
        ("both slashes on Windows", vec![good(), Raw { made_by: 20, attributes: 0, ..stored("a\\b/x", "y") }], "Name"),
        ("NUL", named(b"a\0b"), "Name"),
        ("line feed", named(b"a\nb"), "Name"),
        ("C1 control", named("a\u{9b}b".as_bytes()), "Name"),
        (
            "no UTF-8, but it is said so",
            vec![good(), Raw { name: b"\xff\xfe".to_vec(), flags: 1 << 11, ..stored("x", "y") }],
            "Name",
        ),
        ("empty name", named(b""), "Name"),
        ("empty segment", named(b"a//b"), "Name"),
        ("very long name", named(&[b'a'; 5000]), "Name"),
        ("duplicate", vec![good(), good()], "Duplicate"),
        ("duplicate once normalised", vec![good(), stored("./index.html", "other")], "Duplicate"),
        ("link", mode(0o120_777), "Kind"),
        ("pipe", mode(0o010_644), "Kind"),
        ("device", mode(0o060_644), "Kind"),
        ("socket", mode(0o140_644), "Kind"),
        ("encrypted", other(|raw| raw.flags = 1), "Encrypted"),
        ("strongly encrypted", other(|raw| raw.flags = 1 << 6), "Encrypted"),
        ("patch", other(|raw| raw.flags = 1 << 5), "Kind"),
        ("LZMA", other(|raw| raw.method = 14), "Method"),
        ("wrong CRC-32", other(|raw| raw.crc ^= 1), "Damaged"),
        ("larger than declared", other(|raw| raw.size -= 1), "Damaged"),
        ("smaller than declared", other(|raw| raw.size += 1), "Deflate"),
        ("no deflate stream", other(|raw| raw.content[0] = 7), "Deflate"),
        (
            "bytes behind the stream",
            other(|raw| {
                raw.content.push(0);
                raw.packed += 1;
            }),
            "Damaged",
        ),
        ("stored with two lengths", vec![Raw { size: 4, ..good() }], "Contradiction"),
        ("outside the file", other(|raw| raw.offset = Some(1 << 20)), "Contradiction"),
        ("no local header", other(|raw| raw.offset = Some(1)), "Overlap"),
        ("another local name", other(|raw| raw.local_name = Some(b"y.html".to_vec())), "Contradiction"),
        ("other local sizes", other(|raw| raw.local_sizes = Some((raw.crc, raw.packed, 1))), "Contradiction"),
        (
            "two names",
            other(|raw| {
                let field = [&[1][..], &crc32(&raw.name).to_le_bytes(), b"y.html"].concat();
                raw.extra = extra(0x7075, &field);
            }),
            "Name",
        ),
        ("Zip64 sizes missing", other(|raw| raw.size = u32::MAX), "Contradiction"),
        ("same bytes twice", vec![good(), Raw { offset: Some(0), ..good() }], "Overlap"),
        ("nothing but a directory", vec![stored("a/", "")], "Empty"),
        ("nothing but hidden files", vec![stored(".env", "x"), stored("_headers", "")], "Empty"),
        ("directory with content", vec![good(), stored("a/", "x")], "Kind"),
        ("no entry", vec![], "Empty"),
    ] {
        assert_eq!(reason(zip(&entries)), expected, "{what}");
    }
}

#[test]
fn a_file_that_is_no_whole_zip_is_refused() {
    let good = zip(&[stored("index.html", "hello")]);
    for (what, file, expected) in [
        ("empty", Vec::new(), "NotAZip"),
        ("HTML", b"<!DOCTYPE html><title>Error</title><p>NoSuchKey and so on and so on</p>".to_vec(), "NotAZip"),
        ("bytes added", [&good[..], b"x"].concat(), "NotAZip"),
        ("bytes added behind zeros", [&good[..], &[0; 600], b"x"].concat(), "NotAZip"),
        ("bytes added before zeros", [&good[..], b"x", &[0; 600]].concat(), "NotAZip"),
        ("nothing but zeros", vec![0; 10_240], "NotAZip"),
        (
            "an end record cut short, and zeros",
            {
                let whole = zip_with(b"", &[stored("a", "b")], b"a comment");
                [&whole[..whole.len() - 20], &[0; 11]].concat()
            },
            "Directory",
        ),
        (
            "an end record in its comment",
            zip_with(b"", &[stored("a", "b")], b"PK\x05\x06 and more of it than a record"),
            "NotAZip",
        ),
    ] {
        assert_eq!(reason(file), expected, "{what}");
    }
    for length in 0..good.len() {
        assert_ne!(reason(good[..length].to_vec()), "accepted", "cut to {length} bytes");
    }
}

#[test]
fn an_end_record_that_lies_is_refused() {
    let lie = |entries, size_off: i64, start_off: i64| {
        let (mut zip, mut directory) = (Vec::new(), Vec::new());
        local(&mut zip, &stored("a", "b"));
        central(&mut directory, &stored("a", "b"), 0);
        let start = zip.len() as i64;
        zip.extend(&directory);
        end(&mut zip, entries, (directory.len() as i64 + size_off) as u32, (start + start_off) as u32, b"");
        zip
    };
    assert_eq!(reason(lie(1, 0, 0)), "accepted");
    for (what, file) in [
        ("more entries", lie(2, 0, 0)),
        ("fewer entries", lie(0, 0, 0)),
        ("a larger directory", lie(1, 1, 0)),
        ("a directory larger than the file", lie(1, 1 << 20, 0)),
        ("a smaller directory", lie(1, -1, 0)),
        ("a directory behind its end", lie(1, 0, 1)),
        ("a Zip64 record that is not there", lie(0xffff, 0, 0)),
    ] {
        assert_eq!(reason(file), "Directory", "{what}");
    }
}

fn zip64(small: (u16, u32, u32), entries: u64, lie: u64) -> Vec<u8> {
    let sizes = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    let entry = Raw { size: u32::MAX, packed: u32::MAX, extra: extra(1, &sizes), ..stored("a", "b") };
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    local(&mut zip, &entry);
    central(&mut directory, &entry, 0);
    let (start, size) = (zip.len() as u64, directory.len() as u64);
    zip.extend(directory);
    end64(&mut zip, entries, size + lie, start);
    let or = |mark, value| if mark == 1 { value as u32 } else { mark };
    end(&mut zip, small.0, or(small.1, size), or(small.2, start), b"");
    zip
}

#[test]
fn zip64_is_read_and_its_lies_are_refused() {
    assert_eq!(reason(zip64((0xffff, u32::MAX, u32::MAX), 1, 0)), "accepted");
    assert_eq!(reason(zip64((1, 1, 1), 1, 0)), "accepted", "without need");
    for (what, file) in [
        ("another count", zip64((2, u32::MAX, u32::MAX), 1, 0)),
        ("another size", zip64((0xffff, 1, u32::MAX), 1, 8)),
        ("a count that is too high", zip64((0xffff, u32::MAX, u32::MAX), 2, 0)),
        ("a size that is too large", zip64((0xffff, u32::MAX, u32::MAX), 1, 1 << 40)),
        ("a size that overflows", zip64((0xffff, u32::MAX, u32::MAX), 1, u64::MAX - 100)),
    ] {
        assert_eq!(reason(file), "Directory", "{what}");
    }
    assert_eq!(reason(zip64((0xffff, u32::MAX, u32::MAX), u64::MAX, 0)), "TooMuch");
}

/// A package whose time in the directory is the last day of this year.
fn from_year(year: u16) -> Vec<u8> {
    let mut package = zip(&[stored("index.html", "hello")]);
    let header = memchr::memmem::find(&package, b"PK\x01\x02").unwrap();
    let date = (year - 1980) << 9 | 12 << 5 | 31;
    package[header + 14..header + 16].copy_from_slice(&date.to_le_bytes());
    package
}

#[test]
fn odd_but_good_packages_are_taken() {
    let good = || stored("index.html", "hello");
    let described = Raw {
        flags: 1 << 3,
        local_sizes: Some((0, 0, 0)),
        behind: b"PK\x07\x08descriptor..".to_vec(),
        ..deflated("a", "b")
    };
    let code_page = Raw {
        name: b"\x84.txt".to_vec(),
        extra: extra(0x7075, &[&[1][..], &crc32(b"\x84.txt").to_le_bytes(), "ä.txt".as_bytes()].concat()),
        ..stored("x", "y")
    };
    let windows = |name: &str| Raw { made_by: 10 << 8 | 20, attributes: 0, ..stored(name, "") };
    let dos = Raw { made_by: 20, attributes: 0x20, ..good() };
    for (what, file) in [
        ("plain", zip(&[good(), deflated("a.html", "a")])),
        ("data descriptor", zip(&[described, good()])),
        ("prefix", zip_with(b"#!/bin/sh\nexit\n", &[good()], b"")),
        ("comment", zip_with(b"", &[good()], b"made by hand")),
        ("zeros behind its end", [&zip(&[good()])[..], &[0]].concat()),
        ("the last block filled with zeros, as bsdtar does", [&zip(&[good()])[..], &[0; 10_240]].concat()),
        ("more zeros than a comment is long", [&zip(&[good()])[..], &[0; 200_000]].concat()),
        ("zeros behind a comment", [&zip_with(b"", &[good()], b"made by hand")[..], &[0; 512]].concat()),
        ("zeros behind Zip64", [&zip64((0xffff, u32::MAX, u32::MAX), 1, 0)[..], &[0; 512]].concat()),
        ("a name in code page 437", zip(&[Raw { name: b"caf\x82.html".to_vec(), ..good() }])),
        ("dot names", zip(&[stored("./index.html", "hello"), stored("./", ""), stored("./a/./b", "x")])),
        ("UTF-8 without the flag", zip(&[stored("ä/ö.txt", "hello")])),
        ("a Unicode name beside one in a code page", zip(&[code_page])),
        ("directories", zip(&[stored("a/", ""), Raw { attributes: 0o040_755 << 16, ..stored("b/", "") }, good()])),
        ("made on DOS", zip(&[dos])),
        ("backslashes from Windows", zip(&[windows("assets\\x.css"), windows("assets\\"), good()])),
        (
            "resource forks from macOS",
            zip(&[good(), stored("__MACOSX/._index.html", "fork"), stored(".DS_Store", "x")]),
        ),
        ("padding in the extra field", zip(&[Raw { extra: vec![0, 0, 0], ..good() }])),
        ("from the last year of DOS time", from_year(2107)),
        ("from the first year of DOS time", from_year(1980)),
        ("empty file", zip(&[stored("empty.txt", "")])),
        ("a gap between entries", zip(&[Raw { behind: vec![0; 100], ..good() }, stored("b", "c")])),
        ("case differs", zip(&[stored("A", "1"), stored("a", "2")])),
    ] {
        assert!(open(file).is_ok(), "{what}");
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let bomb = Raw { size: 1 << 30, ..deflated("bomb", "small") };
    let entries: Vec<_> = (0..3).map(|number| Raw { name: format!("{number}").into(), ..bomb.clone() }).collect();
    assert_eq!(reason(zip(&entries)), "TooMuch");
    // Within the limit, what inflates to more than it declares is left as soon as that is seen.
    let zeros = vec![0; 10 << 20];
    let mut package = Package::new().deflated("zeros", &zeros).finish();
    let size = (zeros.len() as u32).to_le_bytes();
    for at in 0..package.len() - 4 {
        if package[at..at + 4] == size {
            package[at..at + 4].copy_from_slice(&1000_u32.to_le_bytes());
        }
    }
    assert_eq!(reason(package), "Damaged");
}

#[test]
fn limits_hold() {
    let entries: Vec<_> = (0..10).map(|number| stored(&format!("file-{number}"), "x")).collect();
    let package = Bytes::from(zip(&entries));
    let with = |limits: PackageLimits| Site::from_bytes(package.clone(), &limits).map(|site| site.files());
    assert_eq!(with(PackageLimits { entries: 10, names: 60, ..PackageLimits::default() }), Ok(10));
    for limits in [
        PackageLimits { entries: 9, ..PackageLimits::default() },
        PackageLimits { names: 59, ..PackageLimits::default() },
    ] {
        assert!(matches!(with(limits).unwrap_err().reason(), Reason::TooMuch(_)));
    }
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    let package = zip(&[stored("index.html", "hello"), deflated("a.css", "body{}")]);
    for at in 0..package.len() * 8 {
        let mut flipped = package.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        // Neither a panic nor other content under a name that was there.
        let Ok(site) = open(flipped) else { continue };
        assert!(site.files() >= 1);
    }
}

#[test]
fn a_refusal_names_the_entry_and_the_reason() {
    let refused = open(zip(&[stored("index.html", "x"), stored("../evil", "y")])).unwrap_err();
    assert_eq!(refused.entry(), Some("../evil"));
    assert_eq!(
        refused.to_string(),
        "the package is refused: entry \"../evil\" has a name that is not allowed: it climbs with '..'; \
         pack it from within its folder: cd site && zip -r ../site.zip ."
    );
}
