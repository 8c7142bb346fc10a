//! The programs of packages on disk: what lies below `.app/`, unpacked once, and read-only.
//!
//! A tree is made beside its place, under another name, and renamed there when it is whole: one that was begun by a process that was
//! killed is never used, and removed by the next. What was unpacked before the machine booted is not used either, as nothing is synced
//! to the disk. The package is read by the same reader that judged it, so that no archive means one thing to the gate and another here:
//! it has no links, no devices, no name that leads outside and none twice.

use std::{
    collections::HashSet,
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};
use spothost_server::{ProgramFile, ProgramPlace, Site};
use walkdir::WalkDir;

use crate::{clock, fault::Fault, package::program};

/// How the names of trees begin that are being made, and removed.
const UNFINISHED: &str = ".new-";
const DISCARDED: &str = ".old-";
/// The lock of the folder: a process holds it while it makes or removes a tree.
const LOCK: &str = "lock";
/// Where the kernel says which boot this is (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// How many trees stay.
const KEPT: usize = 4;
/// How many bytes are read and written at once.
const PIECE: usize = 128 << 10;

/// A folder with unpacked programs. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Trees {
    folder: PathBuf,
    /// The folder in it for the trees of this boot.
    boot: PathBuf,
}

/// Why a program is not unpacked.
#[derive(Debug)]
pub enum UnpackError {
    /// The package is at fault, for these reasons: it would be on any host.
    Package(Vec<String>),
    /// The disk or the file of the package cannot be read or written.
    Disk(io::Error),
}

impl Trees {
    /// The trees in `folder`, which is made if it is missing, for this account alone. What processes before have left unfinished, or
    /// before the machine booted, is removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path) -> io::Result<Trees> {
        let boot = fs::read_to_string(BOOT_ID)?;
        let trees = Trees { folder: folder.to_owned(), boot: folder.join(boot.trim()) };
        private().recursive(true).create(&trees.boot)?;
        let _lock = trees.lock()?;
        for entry in fs::read_dir(&trees.folder)? {
            let path = entry?.path();
            if path != trees.boot && path != trees.folder.join(LOCK) {
                remove(&path)?;
            }
        }
        for entry in fs::read_dir(&trees.boot)? {
            let entry = entry?;
            let name = entry.file_name();
            if [UNFINISHED, DISCARDED].iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
                remove(&entry.path())?;
            }
        }
        Ok(trees)
    }

    /// The tree of the program that `site` brings; it is unpacked unless it is there already. Its folders have the mode 0555, its
    /// files 0444, or 0555 where the package says that they may be executed, or its plan runs them. Blocking.
    ///
    /// # Errors
    /// [`UnpackError::Package`] before a byte is written, where the program is over a limit or contradicts itself.
    pub fn unpack(&self, site: &Site) -> Result<PathBuf, UnpackError> {
        let _lock = self.lock()?;
        let name = name(site);
        let path = self.boot.join(&name);
        if !path.is_dir() {
            let faults = program::faults(site);
            if !faults.is_empty() {
                return Err(UnpackError::Package(faults));
            }
            let unfinished = self.boot.join(format!("{UNFINISHED}{name}"));
            remove(&unfinished)?;
            if let Err(error) = write(site, &unfinished) {
                // Its room is for others.
                if let Err(error) = remove(&unfinished) {
                    tracing::warn!(%error, path = %unfinished.display(), "a part of a program was not removed from disk");
                }
                return Err(error);
            }
            fs::rename(&unfinished, &path)?;
        }
        // It was used last.
        fs::File::open(&path)?.set_modified(clock::now().into())?;
        Ok(path)
    }

    /// Removes all trees but the `count` that were asked for last. Blocking.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep_last(&self, count: usize) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut trees = Vec::new();
        for entry in fs::read_dir(&self.boot)? {
            let entry = entry?;
            trees.push((entry.metadata()?.modified()?, entry.file_name()));
        }
        trees.sort_unstable_by(|one, other| other.cmp(one));
        for (_, name) in trees.iter().skip(count) {
            // What is half removed has no tree's name.
            let discarded = self.boot.join(format!("{DISCARDED}{}", name.to_string_lossy()));
            fs::rename(self.boot.join(name), &discarded)?;
            remove(&discarded)?;
        }
        Ok(())
    }

    /// Waits for the others. The lock ends with the file that is returned, or with the process.
    fn lock(&self) -> io::Result<fs::File> {
        let lock =
            fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(self.folder.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }
}

/// Unpacks the program of `site` below the folder `trees`, unless it is there already; where it lies. Those that were asked for last
/// stay, as their processes may still end; older ones are removed. Blocking.
///
/// # Errors
/// What is wrong with the program, or what the file system says.
pub fn unpack_site(site: &Site, trees: &Path) -> Result<PathBuf, Fault> {
    let doing = || format!("unpacking the program of the package into {}", trees.display());
    let trees = Trees::open(trees).map_err(|error| Fault::retry(doing(), error))?;
    let tree = trees.unpack(site).map_err(|error| match error {
        UnpackError::Package(reasons) => {
            Fault::operator(doing(), reasons.join("; "), "fix the program, and publish it again")
        }
        UnpackError::Disk(error) => Fault::retry(doing(), error),
    })?;
    trees.keep_last(KEPT).map_err(|error| Fault::retry(doing(), error))?;
    Ok(tree)
}

/// The name of a site's tree: the first 128 bits of the SHA-256 of its files' names, modes, lengths and checksums, and of the file that
/// is run.
fn name(site: &Site) -> String {
    let mut hash = Sha256::new();
    for file in site.program() {
        let about = [file.length.to_le_bytes(), u64::from(file.crc).to_le_bytes()];
        hash.update(file.path);
        hash.update([0, u8::from(file.is_executable)]);
        hash.update(about.as_flattened());
    }
    hash.update(run(site).unwrap_or_default());
    hex::encode(&hash.finalize()[..16])
}

/// The file of the program that is run, if the package holds it.
fn run(site: &Site) -> Option<&str> {
    match &site.process()?.program {
        ProgramPlace::Package(path) => Some(path),
        ProgramPlace::Host(_) | ProgramPlace::Path(_) => None,
    }
}

/// Makes folders for this account alone.
fn private() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Writes the program of `site` into `root`, which is made.
fn write(site: &Site, root: &Path) -> Result<(), UnpackError> {
    let run = run(site);
    private().create(root)?;
    // Each folder comes after the one that it is in.
    let mut folders = vec![root.to_owned()];
    let mut made = HashSet::from([""]);
    let mut piece = vec![0; PIECE];
    for file in site.program() {
        let parents = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
        for parent in parents {
            if made.insert(parent) {
                let folder = root.join(parent);
                private().create(&folder)?;
                folders.push(folder);
            }
        }
        let is_executable = file.is_executable || run == Some(file.path);
        write_file(file, root, is_executable, &mut piece)?;
    }
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555))?;
    }
    Ok(())
}

fn write_file(
    mut file: ProgramFile<'_>,
    root: &Path,
    is_executable: bool,
    piece: &mut [u8],
) -> Result<(), UnpackError> {
    let mut to = fs::File::options().write(true).create_new(true).mode(0o600).open(root.join(file.path))?;
    loop {
        let read = file.content.read(piece).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => UnpackError::Package(vec![format!(".app/{}: {error}", file.path)]),
            _ => UnpackError::Disk(error),
        })?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
    }
    to.set_permissions(fs::Permissions::from_mode(if is_executable { 0o555 } else { 0o444 }))?;
    Ok(())
}

/// Removes what lies at `path`, whatever its modes; nothing may be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !about.is_dir() {
        return fs::remove_file(path);
    }
    for entry in WalkDir::new(path) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
        }
    }
    fs::remove_dir_all(path)
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> UnpackError {
        UnpackError::Disk(error)
    }
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Package(reasons) => f.write_str(&reasons.join("; ")),
            UnpackError::Disk(error) => write!(f, "unpacking the program of the package: {error}"),
        }
    }
}

impl std::error::Error for UnpackError {}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::MetadataExt as _};

    use spothost_server::{PackageLimits, Refused};
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// A package with these files below `.app/`, with their modes.
    fn package<N: AsRef<str>>(files: &[(N, u32, &[u8])]) -> fs::File {
        let mut zip = ZipWriter::new(io::BufWriter::new(tempfile::tempfile().expect("a file")));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file("index.html", options).expect("started");
        for (name, mode, content) in files {
            let options =
                if content.len() % 2 == 0 { options } else { options.compression_method(CompressionMethod::Stored) };
            zip.start_file(format!(".app/{}", name.as_ref()), options.unix_permissions(*mode)).expect("started");
            zip.write_all(content).expect("written");
        }
        zip.finish().expect("a zip").into_inner().expect("flushed")
    }

    fn site(file: fs::File) -> Result<Site, Refused> {
        Site::from_file(file, &PackageLimits::default())
    }

    fn site_of<N: AsRef<str>>(files: &[(N, u32, &[u8])]) -> Site {
        site(package(files)).expect("a package")
    }

    /// What lies below a folder: modes, and contents of files.
    fn found(root: &Path) -> BTreeMap<String, (u32, Option<Vec<u8>>)> {
        let mut found = BTreeMap::new();
        for entry in WalkDir::new(root) {
            let entry = entry.expect("readable");
            let name = entry.path().strip_prefix(root).expect("below").display().to_string();
            let about = entry.metadata().expect("readable");
            let content = about.is_file().then(|| fs::read(entry.path()).expect("readable"));
            found.insert(name, (about.mode() & 0o7777, content));
        }
        found
    }

    #[test]
    fn program_is_unpacked_once_a_version_and_read_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let trees = Trees::open(&folder.path().join("a/trees")).expect("opened");
        let long = vec![7; 300_000];
        let files: &[(&str, u32, &[u8])] = &[
            ("bin/server", 0o755, b"#!/bin/sh\n"),
            ("lib/a/b/x.py", 0o666, b"x"),
            ("lib/empty", 0o600, b""),
            ("lib/long", 0o4755, &long),
            ("tool", 0o4711, b"t"),
            ("Tool", 0o644, b"T"),
        ];
        let one = trees.unpack(&site_of(files)).expect("unpacked");
        let folder_mode = || (0o555, None);
        let file = |mode, content: &[u8]| (mode, Some(content.to_vec()));
        let expected = BTreeMap::from([
            (String::new(), folder_mode()),
            ("bin".into(), folder_mode()),
            ("bin/server".into(), file(0o555, b"#!/bin/sh\n")),
            ("lib".into(), folder_mode()),
            ("lib/a".into(), folder_mode()),
            ("lib/a/b".into(), folder_mode()),
            ("lib/a/b/x.py".into(), file(0o444, b"x")),
            ("lib/empty".into(), file(0o444, b"")),
            ("lib/long".into(), file(0o555, &long)),
            ("tool".into(), file(0o555, b"t")),
            ("Tool".into(), file(0o444, b"T")),
        ]);
        assert_eq!(found(&one), expected);
        let inode = |path: &Path| fs::metadata(path).expect("there").ino();
        let before = inode(&one.join("tool"));
        let again = Trees::open(&folder.path().join("a/trees")).expect("opened");
        assert_eq!(again.unpack(&site_of(files)).expect("there"), one);
        assert_eq!(inode(&one.join("tool")), before, "it is not unpacked again");
        let others = [
            trees.unpack(&site_of(&[("tool", 0o755, b"2")])).expect("unpacked"),
            trees.unpack(&site_of(&[("tool", 0o755, b"3")])).expect("unpacked"),
            trees.unpack(&site_of(&[("tool", 0o644, b"3")])).expect("unpacked"),
        ];
        assert_eq!(trees.unpack(&site_of(files)).expect("there"), one);
        trees.keep_last(2).expect("removed");
        let there = |path: &PathBuf| path.join("tool").exists();
        assert_eq!((there(&one), others.each_ref().map(there)), (true, [false, false, true]), "the last two are kept");
        trees.keep_last(0).expect("removed");
        assert_eq!(fs::read_dir(&trees.boot).expect("readable").count(), 0);
    }

    #[test]
    fn tree_that_was_asked_for_before_stays_and_older_ones_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let unpacked = |content: &[u8]| {
            unpack_site(&site_of(&[("x", 0o644, content)]), &folder.path().join("trees")).expect("unpacked")
        };
        let versions: Vec<_> = (0..KEPT + 2).map(|number| unpacked(number.to_string().as_bytes())).collect();
        let gone = versions.iter().filter(|tree| !tree.exists()).count();
        assert_eq!((gone, versions[0].exists(), versions[1].exists()), (2, false, false));
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("written");
        let fault = unpack_site(&site_of(&[("x", 0o644, b"1")]), &file.join("trees")).expect_err("no folder");
        assert_eq!(fault.cure, crate::fault::Cure::Retry);
        let both = site_of(&[("x", 0o644, b"1"), ("x/y", 0o644, b"1")]);
        let fault = unpack_site(&both, folder.path()).expect_err("a file and a folder");
        assert_eq!(fault.cure, crate::fault::Cure::Operator);
    }

    #[test]
    fn program_that_the_package_runs_may_be_executed_whatever_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let trees = Trees::open(folder.path()).expect("opened");
        let files: &[(&str, u32, &[u8])] = &[("Procfile", 0o644, b"web: ./server"), ("server", 0o644, b"x")];
        let tree = trees.unpack(&site_of(files)).expect("unpacked");
        assert_eq!(found(&tree)["server"].0, 0o555);
    }

    #[test]
    fn what_was_left_unfinished_or_is_of_an_earlier_boot_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let trees = Trees::open(folder.path()).expect("opened");
        let kept = trees.unpack(&site_of(&[("x", 0o644, b"x")])).expect("unpacked");
        for begun in [trees.boot.join(".new-1"), trees.boot.join(".old-2"), folder.path().join("another-boot")] {
            fs::create_dir_all(begun.join("a/b")).expect("made");
            fs::write(begun.join("a/b/c"), "c").expect("written");
            fs::set_permissions(begun.join("a/b"), fs::Permissions::from_mode(0o555)).expect("changed");
            fs::set_permissions(begun.join("a"), fs::Permissions::from_mode(0o555)).expect("changed");
        }
        // The very name that the next one needs.
        let next = site_of(&[("x", 0o644, b"y")]);
        fs::create_dir_all(trees.boot.join(format!(".new-{}/half", name(&next)))).expect("made");
        let next = trees.unpack(&next).expect("unpacked all the same");
        let trees = Trees::open(&trees.folder).expect("opened");
        let mut left: Vec<_> = fs::read_dir(&trees.boot).expect("readable").flatten().map(|e| e.path()).collect();
        left.sort();
        let mut expected = vec![kept, next];
        expected.sort();
        assert_eq!(left, expected);
        assert!(!folder.path().join("another-boot").exists());
    }

    #[test]
    fn process_that_is_killed_while_it_unpacks_leaves_nothing_that_is_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let files: Vec<(String, u32, &[u8])> =
            (0..1000).map(|number| (format!("d{}/f{number}", number % 50), 0o644, &b"some content"[..])).collect();
        let zip = package(&files);
        let packed = site(zip.try_clone().expect("a file")).expect("a package");
        let mut whole = 0;
        for microseconds in [0, 2_000, 10_000, 40_000] {
            let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
            command.args(["--exact", "app::tree::tests::unpacks_for_another_process", "--nocapture"]);
            command.env("SPOTHOST_TEST_TREES", folder.path()).stdin(zip.try_clone().expect("a file"));
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("started");
            // It has begun once it says so.
            let mut said = String::new();
            let mut out = io::BufReader::new(child.stdout.take().expect("its output"));
            while !said.contains("begins") && io::BufRead::read_line(&mut out, &mut said).expect("readable") > 0 {}
            std::thread::sleep(std::time::Duration::from_micros(microseconds));
            child.kill().expect("killed");
            child.wait().expect("ended");
            let trees = Trees::open(folder.path()).expect("opened");
            let path = trees.boot.join(name(&packed));
            if path.exists() {
                whole += 1;
                assert_eq!(found(&path).len(), 1000 + 50 + 1, "a tree that is there is whole");
                trees.keep_last(0).expect("removed");
            }
            let tree = trees.unpack(&packed).expect("unpacked");
            assert_eq!(found(&tree).len(), 1000 + 50 + 1);
            trees.keep_last(0).expect("removed");
        }
        assert!(whole < 4, "none was killed while it unpacked");
    }

    /// The process that is killed by the test above; on its own it has nothing to do.
    #[test]
    fn unpacks_for_another_process() {
        use std::os::fd::AsFd as _;
        let Some(folder) = std::env::var_os("SPOTHOST_TEST_TREES") else { return };
        let zip = io::stdin().as_fd().try_clone_to_owned().map(fs::File::from).expect("the package");
        let trees = Trees::open(Path::new(&folder)).expect("opened");
        println!("begins");
        trees.unpack(&site(zip).expect("a package")).expect("unpacked");
    }

    #[test]
    fn archive_that_is_hostile_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let trees = Trees::open(&folder.path().join("trees")).expect("opened");
        let deep = format!("{}x", "d/".repeat(program::DEEPEST + 1));
        let long = "n".repeat(256);
        let far = format!("{}x", format!("{}/", "p".repeat(200)).repeat(6));
        let many: Vec<(String, u32, &[u8])> =
            (0..=program::MOST_FILES).map(|number| (number.to_string(), 0o644, &b""[..])).collect();
        type Files<'a> = Vec<(String, u32, &'a [u8])>;
        let table: Vec<(Files<'_>, &str)> = vec![
            (vec![("../out".into(), 0o644, b"x")], "climbs"),
            (vec![("a/../../out".into(), 0o644, b"x")], "climbs"),
            (vec![("/etc/x".into(), 0o644, b"x")], "empty segment"),
            (vec![("a\\b".into(), 0o644, b"x")], "backslash"),
            (vec![("a\u{1}".into(), 0o644, b"x")], "control character"),
            (vec![("a".into(), 0o644, b"x"), ("./a".into(), 0o644, b"y")], "there twice"),
            (vec![("link".into(), 0o120_777, b"/etc/passwd")], "symbolic link"),
            (vec![("a".into(), 0o644, b"x"), ("a/b".into(), 0o644, b"y")], ".app/a is a file and a folder"),
            (vec![("a/b/c".into(), 0o644, b"x"), ("a/b".into(), 0o644, b"y")], ".app/a/b is a file and a folder"),
            (vec![(deep, 0o644, b"x")], "folders deep"),
            (vec![(long, 0o644, b"x")], "longer than 255 bytes"),
            (vec![(far, 0o644, b"x")], "longer than 1024 bytes"),
            (many, "files, 50000 are allowed"),
        ];
        for (files, said) in table {
            let refused = match site(with_modes(&files)) {
                Err(refused) => refused.to_string(),
                Ok(site) => match trees.unpack(&site).expect_err(said) {
                    UnpackError::Package(reasons) => reasons.join("; "),
                    UnpackError::Disk(error) => panic!("{said}: {error}"),
                },
            };
            assert!(refused.contains(said), "{said}: {refused}");
            assert_eq!(fs::read_dir(&trees.boot).expect("readable").count(), 0, "{said}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
    }

    /// A package whose entries have these whole modes: the writer of zips keeps the kind of an entry for itself.
    fn with_modes(files: &[(String, u32, &[u8])]) -> fs::File {
        use std::os::unix::fs::FileExt as _;
        let file = package(files);
        let mut zip = zip::ZipArchive::new(io::BufReader::new(file.try_clone().expect("a file"))).expect("a zip");
        for (index, (_, mode, _)) in files.iter().enumerate().filter(|(_, (_, mode, _))| *mode > 0o7777) {
            let at = zip.by_index_raw(index + 1).expect("an entry").central_header_start() + 38;
            file.write_all_at(&(mode << 16).to_le_bytes(), at).expect("written");
        }
        file
    }

    #[test]
    fn of_drawn_names_each_is_refused_or_lies_where_it_says() {
        let seed =
            std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("SPOTHOST_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("beside"), "untouched").expect("written");
        let trees = Trees::open(&folder.path().join("trees")).expect("opened");
        let parts = [
            "a", "b", "..", ".", "", "/", "\\", "~", "C:", "a\0", "\u{202e}", "é", "e\u{301}", "lock", ".new-", "-rf",
            " ", "x y", "\n",
        ];
        let mut unpacked = 0;
        let mut refused = 0;
        for number in 0..1_000 {
            let count = random.usize(1..4);
            let files: Vec<(String, u32, &[u8])> = (0..count)
                .map(|_| {
                    let depth = random.usize(1..5);
                    let name: Vec<&str> = (0..depth).map(|_| parts[random.usize(..parts.len())]).collect();
                    (name.join("/"), 0o644 | random.u32(..8), &b"content"[..])
                })
                .collect();
            let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default();
            zip.start_file("index.html", options).expect("started");
            // The writer refuses some of them itself.
            let all = files.iter().all(|(name, mode, content)| {
                let options = options.unix_permissions(*mode);
                zip.start_file(format!(".app/{name}"), options).is_ok() && zip.write_all(content).is_ok()
            });
            let Some(bytes) = all.then(|| zip.finish().expect("a zip").into_inner()) else { continue };
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&bytes).expect("written");
            let Ok(site) = site(file) else {
                refused += 1;
                continue;
            };
            match trees.unpack(&site) {
                Ok(tree) => {
                    unpacked += 1;
                    let expected: HashSet<String> = site.program().map(|file| file.path.to_owned()).collect();
                    let lies = found(&tree).into_iter().filter(|(_, (_, content))| content.is_some());
                    assert_eq!(lies.map(|(name, _)| name).collect::<HashSet<_>>(), expected, "number {number}");
                }
                Err(UnpackError::Package(_)) => refused += 1,
                Err(UnpackError::Disk(error)) => panic!("number {number}: {error}"),
            }
            trees.keep_last(0).expect("removed");
        }
        assert!(unpacked > 50 && refused > 300, "{unpacked} of them were unpacked, {refused} refused");
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).expect("readable").flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["beside", "trees"]);
        assert_eq!(fs::read_to_string(folder.path().join("beside")).expect("there"), "untouched");
    }

    #[test]
    fn program_of_the_size_of_django_is_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let trees = Trees::open(folder.path()).expect("opened");
        let text: Vec<u8> = (0..10_900u32).map(|n| b' ' + (n.wrapping_mul(2_654_435_761) >> 27) as u8).collect();
        let files: Vec<(String, u32, &[u8])> =
            (0..4_681).map(|number| (format!("lib/p{}/m{number}.py", number % 300), 0o644, &text[..])).collect();
        let site = site_of(&files);
        let tree = trees.unpack(&site).expect("unpacked");
        assert_eq!(found(&tree).into_iter().filter(|(_, (_, content))| content.is_some()).count(), files.len());
    }
}
