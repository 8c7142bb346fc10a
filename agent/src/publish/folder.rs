//! What lies in the folder that is to be published.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use spothost_server::{PackageLimits, Site};
use walkdir::{DirEntry, WalkDir};

use super::Problem;
use crate::package::served;

/// The longest file, in bytes, unless somebody says otherwise: a site that holds more is mostly a mistake.
pub const LONGEST_FILE: u64 = 1 << 30;
/// The longest path of a request that hosts take by default (`[limits] target`), in bytes.
const LONGEST_TARGET: usize = 8192;

/// One file of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// Its name in the package: segments with `/` between them.
    pub(super) name: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// The files of a folder in the order of their names, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) files: Vec<File>,
    /// Files and folders whose name begins with a dot, which are left out.
    pub(super) hidden: usize,
    pub(super) problems: Vec<Problem>,
}

impl Folder {
    /// Reads the names of everything in `folder`, but no content. No file may be longer than `longest_file` bytes.
    pub(super) fn read(folder: &Path, longest_file: u64) -> Folder {
        let mut found = Folder::default();
        let mut walk = WalkDir::new(folder).into_iter();
        while let Some(entry) = walk.next() {
            match entry {
                Ok(entry) if entry.depth() > 0 && !served(&entry) => {
                    found.hidden += 1;
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) => found.add(folder, &entry, longest_file),
                Err(error) => {
                    let about = error.path().map(|path| shown(folder, path)).unwrap_or_default();
                    let said = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    found.problems.push(Problem::stops(about, format!("cannot be read: {said}")));
                }
            }
        }
        found.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found.find_collisions();
        if found.files.is_empty() && found.problems.is_empty() {
            found.problems.push(Problem::stops(folder.display().to_string(), "holds no file that could be served"));
        }
        found
    }

    fn add(&mut self, folder: &Path, entry: &DirEntry, longest_file: u64) {
        if entry.file_type().is_dir() {
            return;
        }
        match file(folder, entry, longest_file) {
            Ok(file) => self.files.push(file),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Names that differ only in their case are one file on many machines: whoever made the site on such a one lost
    /// half of it.
    fn find_collisions(&mut self) {
        let mut folded: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for file in &self.files {
            folded.entry(file.name.to_lowercase()).or_default().push(&file.name);
        }
        let collisions = folded.values().filter(|names| names.len() > 1);
        let said = "differ only in upper and lower case; on many machines they are one file";
        let problems = collisions.map(|names| Problem::wrong(names.join(", "), said));
        self.problems.extend(problems);
    }
}

fn file(folder: &Path, entry: &DirEntry, longest_file: u64) -> Result<File, Problem> {
    let (path, about) = (entry.path(), shown(folder, entry.path()));
    if entry.file_type().is_symlink() {
        return Err(Problem::stops(
            about,
            "is a symbolic link, which no package holds; put what it leads to in its place",
        ));
    }
    if !entry.file_type().is_file() {
        return Err(Problem::stops(about, "is neither a file nor a folder"));
    }
    let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
    let name = name.ok_or_else(|| Problem::stops(&about, "has a name that is not UTF-8, which no URL leads to"))?;
    askable(name).map_err(|said| Problem::stops(name, said))?;
    let length = fs::File::open(path).and_then(|file| file.metadata()).map(|about| about.len());
    let length = length.map_err(|error| Problem::stops(name, format!("cannot be read: {error}")))?;
    if length > longest_file {
        let said = format!("has {length} bytes; more than {longest_file} are not published (--max-file)");
        return Err(Problem::stops(name, said));
    }
    Ok(File { name: name.to_owned(), path: path.to_owned(), length })
}

/// Whether a browser can ask for a file of that name.
fn askable(name: &str) -> Result<(), String> {
    Site::may_hold(name, &PackageLimits::default()).map_err(|reason| reason.to_string())?;
    let target = 1 + name.bytes().map(|b| if b.is_ascii_alphanumeric() || b == b'/' { 1 } else { 3 }).sum::<usize>();
    match target > LONGEST_TARGET {
        true => Err(format!("has a name that takes {target} bytes of a URL; hosts take {LONGEST_TARGET}")),
        false => Ok(()),
    }
}

/// The path as people know it: from the folder on.
fn shown(folder: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let path = if inside.as_os_str().is_empty() { path } else { inside };
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    };

    use super::*;
    use crate::publish::Weight;

    fn written(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, name).expect("written");
        }
    }

    #[test]
    fn files_come_in_the_order_of_their_names_and_what_is_hidden_is_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        written(folder.path(), &["b.html", "a/x.css", "a.html", ".git/HEAD", ".env", ".well-known/security.txt"]);
        let read = Folder::read(folder.path(), LONGEST_FILE);
        let names: Vec<_> = read.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, [".well-known/security.txt", "a.html", "a/x.css", "b.html"]);
        assert_eq!((read.hidden, read.problems), (2, vec![]));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        written(path, &["index.html", "A.html", "a.html", "back\\slash", "long.bin"]);
        fs::write(path.join(std::ffi::OsString::from_vec(vec![b'x', 0xff])), "x").expect("written");
        symlink("index.html", path.join("link.html")).expect("a link");
        let _socket = UnixListener::bind(path.join("socket")).expect("a socket");
        fs::write(path.join("long.bin"), vec![0; 200]).expect("written");
        let read = Folder::read(path, 100);
        let told: Vec<_> = read.problems.iter().map(|problem| (problem.weight, problem.to_string())).collect();
        for (weight, text) in [
            (Weight::Stops, "link.html: is a symbolic link"),
            (Weight::Stops, "socket: is neither a file nor a folder"),
            (Weight::Stops, "back\\slash: has a name that is not allowed: it has a backslash"),
            (Weight::Stops, "has a name that is not UTF-8"),
            (Weight::Stops, "long.bin: has 200 bytes"),
            (Weight::Wrong, "A.html, a.html: differ only"),
        ] {
            assert!(told.iter().any(|(w, said)| *w == weight && said.contains(text)), "{text}: {told:?}");
        }
        assert_eq!(told.len(), 6, "{told:?}");
    }

    #[test]
    fn what_cannot_be_read_is_told_and_a_folder_without_files_is_no_site() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let read = Folder::read(folder.path(), LONGEST_FILE);
        assert!(read.problems[0].said.contains("no file"), "{:?}", read.problems);
        let read = Folder::read(&folder.path().join("missing"), LONGEST_FILE);
        assert!(read.problems[0].said.contains("cannot be read"), "{:?}", read.problems);
        written(folder.path(), &["secret.html"]);
        let secret = folder.path().join("secret.html");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("changed");
        // Root may read everything.
        let readable = fs::File::open(&secret).is_ok();
        let read = Folder::read(folder.path(), LONGEST_FILE);
        assert_eq!(read.problems.is_empty(), readable, "{:?}", read.problems);
    }
}
