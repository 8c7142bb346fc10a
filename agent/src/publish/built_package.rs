//! A folder made into a package, and everything that is wrong with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rayon::prelude::*;
use spothost_server::{PackageLimits, Site};
use time::OffsetDateTime;

use super::{
    Problem, Signer, archive,
    cache::Cache,
    doubts,
    entry::{Effort, PackageEntry, Packer, hash_of},
    folder::{SiteFile, SiteFolder},
    links,
    progress::ByteProgress,
    unpack::unpack,
};
use crate::{documents::Version, fault::Fault, package::program};

/// The longest package, in bytes: S3 copies no longer object in one step
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>), and the pointer is such a copy.
pub(super) const LONGEST_PACKAGE: u64 = 5 << 30;

/// How a site is made into a package.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The site: a folder, or a zip of one.
    pub site: PathBuf,
    /// How hard its files are compressed.
    pub effort: Effort,
    /// The longest file that is published, in bytes.
    pub longest_file: u64,
    /// The folder of what was compressed before; by default in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// The site's own name, if it is known: links to it are its own.
    pub domain: Option<String>,
    /// When all of it was last modified, as its package says; without it hosts take the time of the version.
    pub date: Option<OffsetDateTime>,
}

/// A package that is ready to be published.
#[derive(Debug)]
pub struct BuiltPackage {
    /// Where it lies.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Whether it is for an application.
    pub is_for_an_application: bool,
    /// What it is made of.
    pub stats: BuildStats,
}

/// Figures of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildStats {
    /// Files of the site.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// Further entries that hold files in other codings.
    pub beside: usize,
    /// Files whose compressed forms were in the cache, or that need none.
    pub known: usize,
    /// What was left out because hosts would hide it: paths below the folder.
    pub hidden: Vec<String>,
    /// How long it took to compress.
    pub time: Duration,
}

impl BuiltPackage {
    /// The signature of this package, published at that time: the text of its `.minisig` file.
    ///
    /// # Errors
    /// A package that cannot be read.
    pub fn signed(&self, signer: &Signer, at: OffsetDateTime) -> Result<String, Fault> {
        signer.sign(&self.path, &Version::new(at, &self.sha256))
    }
}

impl BuildOptions {
    /// Makes the package at `path` and looks for everything that is wrong with it. There is none when it could not be
    /// made; then at least one problem stops the publication.
    ///
    /// # Errors
    /// What has nothing to do with the site: the disk that the package is written to.
    pub fn make(&self, path: &Path) -> io::Result<(Option<BuiltPackage>, Vec<Problem>)> {
        let unpacked = match unpack(&self.site)? {
            None => None,
            Some(Ok(unpacked)) => Some(unpacked),
            Some(Err(problem)) => return Ok((None, vec![problem])),
        };
        let site = unpacked.as_ref().map_or(&*self.site, |folder| folder.path());
        let mut folder = SiteFolder::read(site, self.longest_file);
        let cache = Cache::open(self.cache.clone())?;
        let (entries, made) = self.pack(&mut folder, &cache);
        let mut problems = std::mem::take(&mut folder.problems);
        if entries.is_empty() {
            return Ok((None, problems));
        }
        let file = fs::File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        archive::write(&entries, &file, self.date)?;
        cache.sweep();
        let (is_for_an_application, judged) = self.judge(path, &folder.files);
        problems.extend(judged);
        let length = fs::metadata(path)?.len();
        if length > LONGEST_PACKAGE {
            let said = format!(
                "has {length} bytes; S3 copies at most {LONGEST_PACKAGE} in one step: serve the largest files from elsewhere"
            );
            problems.push(Problem::stops("the package", said));
        }
        problems.sort();
        let sha256 = hash_of(path)?;
        let built = BuiltPackage { path: path.to_owned(), length, sha256, is_for_an_application, stats: made };
        Ok((Some(built), problems))
    }

    /// Compresses all files on all cores. What fails is added to the folder's problems.
    fn pack(&self, folder: &mut SiteFolder, cache: &Cache) -> (Vec<PackageEntry>, BuildStats) {
        let bytes = folder.files.iter().map(|file| file.length).sum();
        let progress = ByteProgress::new("compressing", bytes);
        let names = folder.files.iter().map(|file| file.name.as_str()).collect();
        let packer = Packer { cache, effort: self.effort, names };
        let known = AtomicUsize::new(0);
        // The longest first, so that no core is left with one at the end.
        let mut order: Vec<_> = folder.files.iter().collect();
        order.sort_by_key(|file| std::cmp::Reverse(file.length));
        let pack = |file: &&SiteFile| {
            let packed = packer.pack(file);
            progress.add(file.length);
            packed.map(|(entries, was_known)| {
                known.fetch_add(usize::from(was_known), Ordering::Relaxed);
                entries
            })
        };
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        // One by one, and not in pieces of the whole: neighbours are alike in length.
        for packed in order.par_iter().with_max_len(1).map(pack).collect::<Vec<_>>() {
            match packed {
                Ok(packed) => entries.extend(packed),
                Err(problem) => problems.push(problem),
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let made = BuildStats {
            files: folder.files.len(),
            bytes,
            beside: entries.iter().filter(|entry| entry.beside).count(),
            known: known.into_inner(),
            hidden: std::mem::take(&mut folder.hidden),
            time: progress.done(),
        };
        folder.problems.extend(problems);
        (entries, made)
    }

    /// Whether the package is for an application, what a host would say of it, and where its pages lead to nothing.
    fn judge(&self, path: &Path, files: &[SiteFile]) -> (bool, Vec<Problem>) {
        let opened = Site::open(path, &PackageLimits::default()).and_then(|site| site.verify().map(|()| site));
        let site = match opened {
            Ok(site) => Arc::new(site),
            Err(refused) => return (false, vec![Problem::refused(&refused)]),
        };
        // Rules for another host are no fault of the site's; those for its own name need no word.
        let own = |host: &String| self.domain.as_ref() == Some(host);
        let notes = site.notes().iter().filter(|note| !note.host.as_ref().is_some_and(own)).map(|note| {
            let problem = if note.is_fault { Problem::wrong } else { Problem::doubtful };
            problem(note.file, &note.text).at_line(note.line)
        });
        // What hosts hold against a package before it goes live.
        let gate = site.gate().into_iter().map(|said| Problem::stops("the gate", said));
        let program = program::faults(&site).into_iter().map(|said| Problem::stops("the program", said));
        let problems = notes
            .chain(gate)
            .chain(program)
            .chain(doubts::of_program(&site, files))
            .chain(links::dead(&site, files, self.domain.as_deref()))
            .collect();
        (site.is_for_an_application(), problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Weight;

    fn build_options(folder: &Path, cache: &Path) -> BuildOptions {
        BuildOptions {
            site: folder.to_owned(),
            effort: Effort::USUAL,
            longest_file: 1 << 20,
            cache: Some(cache.to_owned()),
            domain: None,
            date: None,
        }
    }

    fn written(folder: &Path, files: &[(&str, &[u8])]) {
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, content).expect("written");
        }
    }

    fn text(word: &str) -> Vec<u8> {
        (0..4000).map(|n| format!("{word} {} ", n * 7919 % 4001)).collect::<String>().into_bytes()
    }

    #[test]
    fn same_files_make_the_same_bytes_wherever_and_whenever() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut random = fastrand::Rng::with_seed(7);
        let noise: Vec<u8> = (0..40_000).map(|_| random.u8(..)).collect();
        let files: &[(&str, &[u8])] = &[
            ("index.html", b"<a href=a/page>"),
            ("a/page.html", &text("page")),
            ("a/noise.bin", &noise),
            ("b.png", &[7; 50_000]),
            ("empty.txt", b""),
        ];
        let mut hashes = Vec::new();
        for (number, cache) in [(1, "one"), (2, "two"), (3, "one")] {
            let site = folder.path().join(format!("site-{number}"));
            let mut files = files.to_vec();
            files.rotate_left(number);
            written(&site, &files);
            fs::File::open(site.join("index.html"))
                .and_then(|file| {
                    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64))
                })
                .expect("changed");
            let path = folder.path().join("site.zip");
            let (built, problems) = build_options(&site, &folder.path().join(cache)).make(&path).expect("made");
            assert_eq!(problems, []);
            let built = built.expect("a package");
            assert_eq!(
                (built.stats.files, built.stats.beside, built.stats.bytes),
                (5, 2, files.iter().map(|f| f.1.len() as u64).sum())
            );
            // The name of the last row's cache was seen before: nothing is compressed again.
            assert_eq!(built.stats.known == 5, number == 3, "{:?}", built.stats);
            hashes.push((built.sha256, fs::read(&path).expect("readable")));
        }
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn long_stored_entry_begins_with_a_page_and_a_coding_of_the_site_s_own_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        let page = text("word");
        written(
            &site,
            &[
                ("index.html", &page),
                ("index.html.br", b"the site's own"),
                ("x.png", &[1; 40_000]),
                ("y.png", &[2; 100]),
            ],
        );
        let path = folder.path().join("site.zip");
        let (built, problems) = build_options(&site, &folder.path().join("cache")).make(&path).expect("made");
        assert_eq!(problems, []);
        assert_eq!(built.expect("a package").stats.beside, 1, "zst alone");
        let mut zip = zip::ZipArchive::new(fs::File::open(path).expect("readable")).expect("a zip");
        for index in 0..zip.len() {
            let entry = zip.by_index(index).expect("an entry");
            let long = entry.compression() == zip::CompressionMethod::Stored && entry.size() >= 32 * 1024;
            assert!(!long || entry.data_start().is_some_and(|at| at % 4096 == 0), "{:?}", entry.name());
        }
        assert_eq!(zip.by_name("index.html.br").expect("there").size(), 14);
    }

    #[test]
    fn zip_of_a_site_makes_the_package_that_its_folder_makes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        written(
            &site,
            &[("index.html", &text("page")), ("a/b.txt", b"b"), ("empty.txt", b""), ("_headers", b"/*\n  X-A: b\n")],
        );
        // As macOS packs it, deflated and stored, with what no site holds.
        let packed = folder.path().join("site.zip");
        let mut zip = zip::ZipWriter::new(fs::File::create(&packed).expect("made"));
        for (name, content, method) in [
            ("a/", &b""[..], zip::CompressionMethod::Stored),
            ("a/b.txt", b"b", zip::CompressionMethod::Stored),
            ("__MACOSX/._index.html", b"x", zip::CompressionMethod::Stored),
            (".DS_Store", b"x", zip::CompressionMethod::Stored),
            ("_headers", b"/*\n  X-A: b\n", zip::CompressionMethod::Deflated),
            ("./empty.txt", b"", zip::CompressionMethod::Deflated),
            ("index.html", &text("page"), zip::CompressionMethod::Deflated),
        ] {
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            zip.start_file(name, options).expect("started");
            io::Write::write_all(&mut zip, content).expect("written");
        }
        zip.finish().expect("a zip");
        let made = |from: &Path| {
            let to = folder.path().join("made.zip");
            let (built, problems) = build_options(from, &folder.path().join("cache")).make(&to).expect("made");
            assert_eq!(problems, []);
            built.expect("a package")
        };
        let from_folder = made(&site);
        let from_zip = made(&packed);
        assert_eq!(from_folder.sha256, from_zip.sha256);
        assert_eq!(from_zip.stats.hidden, [".DS_Store", "__MACOSX"]);
    }

    #[test]
    fn program_is_packed_with_its_modes_and_without_what_visitors_load() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        let page = text("<a href=/nowhere>");
        written(
            &site,
            &[
                ("index.html", b"home"),
                ("site.toml", b"[app]\nrun = './server'\n"),
                (".app/server", &text("server")),
                (".app/Server", b"S"),
                (".app/templates/x.html", &page),
                (".app/tool", b"t"),
            ],
        );
        for name in [".app/server", ".app/tool"] {
            fs::set_permissions(site.join(name), fs::Permissions::from_mode(0o755)).expect("changed");
        }
        let made = |from: &Path, to: &str| {
            let to = folder.path().join(to);
            let (built, problems) = build_options(from, &folder.path().join("cache")).make(&to).expect("made");
            assert_eq!(problems, []);
            (built.expect("a package"), to)
        };
        let (built, path) = made(&site, "made.zip");
        assert_eq!((built.stats.beside, built.stats.hidden.len()), (0, 0));
        let opened = Site::open(&path, &PackageLimits::default()).expect("a package");
        let program: Vec<_> = opened.program().map(|file| (file.path, file.is_executable)).collect();
        let expected = [("Server", false), ("server", true), ("templates/x.html", false), ("tool", true)];
        assert_eq!((program, opened.files()), (expected.to_vec(), 1));
        assert_eq!(made(&path, "again.zip").0.sha256, built.sha256, "a zip makes what its folder makes");
    }

    #[test]
    fn program_that_no_host_would_run_is_not_published() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (number, (files, said)) in [
            (&[("site.toml", &b"[app]\nrun = 'bin/none'\n"[..])][..], "has no file .app/bin/none"),
            (&[("site.toml", b"[app]\nlater = 1\n")], "unknown field `later`"),
            (
                &[
                    (".app/Procfile", b"web: ./x"),
                    (".app/x", b"\xcf\xfa\xed\xfe\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00"),
                ],
                "for macOS",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let site = folder.path().join(number.to_string());
            written(&site, &[("index.html", b"home")]);
            written(&site, files);
            let (_, problems) =
                build_options(&site, &folder.path().join("cache")).make(&folder.path().join("x.zip")).expect("made");
            let stops: Vec<_> = problems.iter().filter(|problem| problem.weight == Weight::Stops).collect();
            assert!(stops.len() == 1 && stops[0].said.contains(said), "{said}: {problems:?}");
        }
    }

    #[test]
    fn zip_that_no_host_would_serve_is_told_with_its_cure() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("site.zip");
        fs::write(&path, "no zip").expect("written");
        let (built, problems) =
            build_options(&path, folder.path()).make(&folder.path().join("made.zip")).expect("told");
        assert!(built.is_none() && problems.len() == 1 && problems[0].weight == Weight::Stops, "{problems:?}");
        assert!(problems[0].said.contains("name a folder or a zip"), "{problems:?}");
    }

    #[test]
    fn date_of_the_source_is_that_of_every_entry_and_keeps_the_bytes_the_same() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        written(&site, &[("index.html", &text("page")), ("x.png", &[7; 40_000]), ("empty.txt", b"")]);
        let at = time::macros::datetime!(2026-11-21 12:00:04 UTC);
        let made = |date, cache: &str| {
            let to = folder.path().join("made.zip");
            let build_options = BuildOptions { date, ..build_options(&site, &folder.path().join(cache)) };
            build_options.make(&to).expect("made").0.expect("a package").sha256
        };
        let dated = made(Some(at), "one");
        let mut zip =
            zip::ZipArchive::new(fs::File::open(folder.path().join("made.zip")).expect("there")).expect("a zip");
        for index in 0..zip.len() {
            let entry = zip.by_index(index).expect("an entry");
            assert_eq!(entry.last_modified(), archive::dos_time(at).ok(), "{:?}", entry.name());
        }
        let site = Site::open(&folder.path().join("made.zip"), &PackageLimits::default()).expect("a package");
        site.verify().expect("local and central headers agree");
        assert_eq!(made(Some(at), "two"), dated);
        assert_eq!(made(Some(at + Duration::from_secs(1)), "one"), dated, "a zip knows even seconds");
        assert_ne!(made(None, "one"), dated);
    }

    #[test]
    fn what_is_wrong_with_settings_and_links_is_told_together() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        let gate = b"[gate]\n\"/missing\" = 200\n";
        written(
            &site,
            &[
                ("index.html", b"<a href=/gone>"),
                ("_redirects", b"/a /b 999\n"),
                ("INDEX.html", b""),
                ("site.toml", gate),
            ],
        );
        let (built, problems) =
            build_options(&site, &folder.path().join("cache")).make(&folder.path().join("site.zip")).expect("made");
        assert!(built.is_some());
        let told: Vec<_> =
            problems.iter().map(|problem| (problem.weight, problem.about.as_str(), problem.line)).collect();
        let expected = [
            (Weight::Stops, "the gate", None),
            (Weight::Wrong, "INDEX.html, index.html", None),
            (Weight::Wrong, "_redirects", Some(1)),
            (Weight::Doubtful, "index.html", None),
        ];
        assert_eq!(told, expected);
    }
}
