//! What a fetched package has to pass before it may go live.

use std::{io, path::Path, sync::Arc};

use spothost_server::{Objection, ObjectionCause, PackageLimits, Reason, Site};

use super::program;
use crate::documents::signature::{PackageKey, Unsigned, verify};

/// The gate's judgement of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It may go live.
    Good,
    /// It must not, for these reasons, on any host.
    Bad(Vec<String>),
    /// This host does not take it, for these reasons; others may.
    NotHere(Vec<String>),
    /// It must not as long as it is signed as it is.
    Unsigned(String),
}

/// What a host demands of packages beside what they demand of themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands {
    /// The keys of which one has to have signed a package; if there are none, no signature is asked for.
    pub(super) keys: Vec<PackageKey>,
    /// Whether they may be for an application.
    pub(super) applications: bool,
}

/// Judges the package at `path`: its signature, its structure and the limits, every entry's CRC, its program, what its own
/// `[gate]` names, and what the host has for it. Blocking.
///
/// # Errors
/// That the file cannot be read here, which is not the package's fault.
pub(super) fn judge(path: &Path, signature: Option<&str>, demands: &Demands) -> io::Result<Judged> {
    // What is not signed is not even looked into.
    if !demands.keys.is_empty()
        && let Err(unsigned) = verify(path, signature, &demands.keys)?
    {
        return Ok(Judged::Unsigned(format!("the package is refused: {}", in_words(&unsigned))));
    }
    let site = match Site::open(path, &PackageLimits::default()) {
        Ok(site) => Arc::new(site),
        Err(refused) => {
            return match refused.reason() {
                Reason::Unreadable(said) => Err(io::Error::other(said.clone())),
                _ => Ok(Judged::Bad(vec![refused.to_string()])),
            };
        }
    };
    if let Err(refused) = site.verify() {
        return Ok(Judged::Bad(vec![refused.to_string()]));
    }
    let mut objections = site.gate();
    let of_program = program::faults(&site).into_iter();
    objections.extend(of_program.map(|text| Objection { text, cause: ObjectionCause::Package }));
    objections.extend(of_host(&site, demands));
    let (of_package, of_host): (Vec<_>, Vec<_>) =
        objections.into_iter().partition(|objection| objection.cause == ObjectionCause::Package);
    let texts = |objections: Vec<Objection>| objections.into_iter().map(|objection| objection.text).collect();
    Ok(match (of_package.is_empty(), of_host.is_empty()) {
        (true, true) => Judged::Good,
        (true, false) => Judged::NotHere(texts(of_host)),
        (false, _) => Judged::Bad(texts(of_package)),
    })
}

/// What this host lacks for the site; nothing of another host is said.
pub(super) fn of_host(site: &Site, demands: &Demands) -> Option<Objection> {
    let needs = || {
        "this host runs no application, and the package is for one ([app] of its site.toml, or .app/Procfile): nothing of it is served here"
            .to_owned()
    };
    let is_too_much = site.is_for_an_application() && !demands.applications;
    let said = if is_too_much { Some(needs()) } else { program::machine_that_differs(site) };
    said.map(|text| Objection { text, cause: ObjectionCause::Host })
}

/// Why a package does not count as signed, with the key of the configuration that says who has to sign it.
fn in_words(unsigned: &Unsigned) -> String {
    match unsigned {
        Unsigned::Missing => format!("{unsigned}, and the configuration has a `package_key`"),
        Unsigned::OfNoKey(why) => format!("its signature is of no `package_key` of the configuration: {why}"),
        Unsigned::Malformed(_) | Unsigned::Legacy => unsigned.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs,
        io::{Cursor, Read as _},
    };

    use super::*;
    use crate::package::pack::pack;

    fn package() -> Vec<u8> {
        let site = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in
            [("index.html", "home\n"), ("about.html", "about\n"), ("app.3f9c1a.js", "js\n"), ("x.png", "\0")]
        {
            fs::write(site.path().join(name), text.repeat(200)).expect("written");
        }
        let zip = site.path().join(".zip");
        pack(site.path(), fs::File::create(&zip).expect("made")).expect("packed");
        fs::read(zip).expect("readable")
    }

    /// Every file with its content, as another reader of zips has it.
    fn files(zip: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).ok()?;
        let mut files = BTreeMap::new();
        for index in 0..archive.len() {
            let mut file = archive.by_index(index).ok()?;
            let mut content = Vec::new();
            file.read_to_end(&mut content).ok()?;
            files.insert(file.name().ok()?.into_owned(), content);
        }
        Some(files)
    }

    /// What a clumsy upload, a bad disk or a wrong answer makes of a package.
    fn spoilt(good: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bad = good.to_vec();
        match random.u8(0..8) {
            0 => bad.truncate(random.usize(..good.len())),
            1 => bad.extend((0..random.usize(1..100)).map(|_| random.u8(..))),
            2 => bad = b"<!doctype html><title>503 Slow Down</title>\n".repeat(random.usize(0..40)),
            3 => {
                let from = random.usize(..good.len());
                let length = random.usize(1..300);
                bad.iter_mut().skip(from).take(length).for_each(|byte| *byte = 0);
            }
            _ => {
                for _ in 0..random.usize(1..4) {
                    bad[random.usize(..good.len())] ^= 1 << random.u8(0..8);
                }
            }
        }
        bad
    }

    /// Whether the same bit of the same byte was flipped at two places: where these are the names of an entry in both of its headers,
    /// it has another name for every reader.
    fn is_renamed(good: &[u8], bad: &[u8]) -> bool {
        let flipped: Vec<_> = good.iter().zip(bad).filter(|(good, bad)| good != bad).collect();
        good.len() == bad.len()
            && flipped.len() < 4
            && flipped.iter().any(|one| flipped.iter().filter(|other| one == *other).count() > 1)
    }

    #[test]
    fn file_that_cannot_be_read_here_says_nothing_of_the_package() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        judge(&folder.path().join("gone.zip"), None, &Demands::default()).expect_err("it is not there");
    }

    #[test]
    fn package_for_an_application_is_taken_where_one_may_run_and_no_other_host_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let judged = |applications, files: &[(&str, &[u8])]| {
            let path = folder.path().join("site.zip");
            let mut zip = zip::ZipWriter::new(fs::File::create(&path).expect("made"));
            for (name, content) in [("index.html", &b"home"[..])].iter().chain(files) {
                zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("started");
                std::io::Write::write_all(&mut zip, content).expect("written");
            }
            zip.finish().expect("a zip");
            judge(&path, None, &Demands { applications, ..Demands::default() }).expect("readable")
        };
        let procfile = (".app/Procfile", &b"web: ./server"[..]);
        for files in [
            &[("site.toml", &b"[app]\nroutes = ['/api/*']"[..])][..],
            &[(".app/Procfile", b"web: python3 x.py")],
            &[procfile, (".app/server", b"#!/bin/sh\n")],
        ] {
            assert_eq!(judged(true, files), Judged::Good, "{files:?}");
            let Judged::NotHere(said) = judged(false, files) else { panic!("{files:?}") };
            assert!(said.len() == 1 && said[0].contains("this host runs no application"), "{said:?}");
        }
        // What the package itself proves wrong is wrong everywhere.
        let for_macos = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00";
        for (files, reason) in [
            (&[procfile][..], "the package has no file .app/server"),
            (&[procfile, (".app/server", for_macos)], ".app/server is a program for macOS"),
            (
                &[procfile, (".app/server", b"x"), (".app/a", b"x"), (".app/a/b", b"x")],
                ".app/a is a file and a folder at once",
            ),
        ] {
            for applications in [true, false] {
                let Judged::Bad(said) = judged(applications, files) else { panic!("{files:?}") };
                assert!(said.len() == 1 && said[0].contains(reason), "{said:?}");
            }
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_held_against_no_package() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        fs::create_dir(&site).expect("made");
        fs::write(site.join("index.html"), "home").expect("written");
        for (settings, expected) in [
            ("", Judged::Good),
            ("[app]\nlater = 1", Judged::NotHere(vec!["unknown field `later`".to_owned()])),
            ("[app]\nlater = 1\nbody = 'much'", Judged::Bad(vec!["body \"much\" is no size".to_owned()])),
        ] {
            fs::write(site.join("site.toml"), settings).expect("written");
            let zip = folder.path().join("site.zip");
            pack(&site, fs::File::create(&zip).expect("made")).expect("packed");
            match (
                judge(&zip, None, &Demands { applications: true, ..Demands::default() }).expect("readable"),
                expected,
            ) {
                (Judged::Good, Judged::Good) => {}
                (Judged::NotHere(said), Judged::NotHere(expected)) | (Judged::Bad(said), Judged::Bad(expected)) => {
                    assert!(said.len() == 1 && said[0].contains(&expected[0]), "{settings}: {said:?}");
                }
                (judged, _) => panic!("{settings}: {judged:?}"),
            }
        }
    }

    #[test]
    fn of_a_thousand_spoilt_packages_none_is_served_that_says_anything_else() {
        let seed =
            std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SPOTHOST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let good = package();
        let expected = files(&good);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("incoming.zip");
        let mut refused = 0;
        for number in 0..1_000 {
            let bad = spoilt(&good, &mut random);
            if is_renamed(&good, &bad) {
                continue;
            }
            fs::write(&path, &bad).expect("written");
            match judge(&path, None, &Demands::default()).expect("readable") {
                // Only a field without effect was damaged: a time, a comment, the system that made it.
                Judged::Good => assert_eq!(files(&bad), expected, "number {number}"),
                Judged::Bad(_) | Judged::NotHere(_) | Judged::Unsigned(_) => refused += 1,
            }
        }
        fs::write(&path, &good).expect("written");
        assert_eq!(judge(&path, None, &Demands::default()).ok(), Some(Judged::Good));
        assert!(refused > 700, "{refused} of 1,000 were refused");
    }
}
