//! What a fetched package has to pass before it may go live.

use std::{path::Path, sync::Arc};

use spothost_server::{PackageLimits, Site};

use super::signature::{self, PackageKey};

/// Judges the package at `path`: its signature, its structure and the limits, every entry's CRC, and what its own
/// `[gate]` names. Returns why it must not go live; nothing if it may. Blocking.
pub(super) fn judge(path: &Path, signature: Option<&str>, keys: &[PackageKey]) -> Vec<String> {
    // What is not signed is not even looked into.
    if let Err(reason) = signature::verify(path, signature, keys) {
        return vec![format!("the package is refused: {reason}")];
    }
    let site = match Site::open(path, &PackageLimits::default()) {
        Ok(site) => site,
        Err(refused) => return vec![refused.to_string()],
    };
    match site.verify() {
        Ok(()) => Arc::new(site).gate(),
        Err(refused) => vec![refused.to_string()],
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
            let (mut file, mut content) = (archive.by_index(index).ok()?, Vec::new());
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
                let (from, length) = (random.usize(..good.len()), random.usize(1..300));
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

    #[test]
    fn of_a_thousand_spoilt_packages_none_is_served_that_says_anything_else() {
        let seed =
            std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SPOTHOST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let good = package();
        let (expected, folder) = (files(&good), tempfile::tempdir().expect("a temporary folder"));
        let path = folder.path().join("incoming.zip");
        let mut refused = 0;
        for number in 0..1_000 {
            let bad = spoilt(&good, &mut random);
            fs::write(&path, &bad).expect("written");
            match judge(&path, None, &[]).is_empty() {
                // What nobody reads was spoilt: a time, a comment, the system that made it.
                true => assert_eq!(files(&bad), expected, "number {number}"),
                false => refused += 1,
            }
        }
        fs::write(&path, &good).expect("written");
        assert_eq!(judge(&path, None, &[]), Vec::<String>::new());
        assert!(refused > 700, "{refused} of 1,000 were refused");
    }
}
