//! What lies in the folder that is to be published.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use spothost_server::{PROGRAM_FOLDER, PackageLimits, Site};

use super::Problem;
use crate::package::{ExclusionReason, LeftOut, TOO_MANY, Tree, TreeFile};

/// The longest file by default, in bytes: a site that holds more is mostly a mistake.
pub const LONGEST_FILE: u64 = 1 << 30;
/// The longest path of a request that hosts take by default (`[limits] target`), in bytes.
const LONGEST_TARGET: usize = 8192;

/// One file of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SiteFile {
    /// Its name in the package: segments with `/` between them.
    pub(super) name: String,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its length in bytes.
    pub(super) length: u64,
    /// Whether it is of the package's program, and may be executed.
    pub(super) is_executable: bool,
}

impl SiteFile {
    /// Whether it is of the package's program, which visitors never see.
    pub(super) fn is_of_the_program(&self) -> bool {
        self.name.starts_with(PROGRAM_FOLDER)
    }
}

/// The files of a folder in the order of their names, and their problems.
#[derive(Debug, Default)]
pub(super) struct SiteFolder {
    pub(super) files: Vec<SiteFile>,
    /// What is left out because it is hidden: its paths below the folder.
    pub(super) hidden: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl SiteFolder {
    /// Reads the names of everything in `folder`, but no content. No file may be longer than `longest_file` bytes.
    pub(super) fn read(folder: &Path, longest_file: u64) -> SiteFolder {
        let mut found = SiteFolder::default();
        let tree = Tree::read(folder);
        for left_out in &tree.left_out {
            found.leave_out(left_out);
        }
        for (path, error) in &tree.unreadable {
            let said = format!(
                "cannot be read: {error}; name a folder or a zip, and make all of it readable for the publisher"
            );
            found.problems.push(Problem::stops(shown(folder, path), said));
        }
        if tree.too_many {
            found.problems.push(Problem::stops(folder.display().to_string(), TOO_MANY));
        }
        for leaf in &tree.files {
            match file(leaf, longest_file) {
                Ok(file) => found.files.push(file),
                Err(problem) => found.problems.push(problem),
            }
        }
        found.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found.find_collisions();
        if found.files.is_empty() && found.problems.is_empty() {
            let said = "holds no file that could be served: name the folder that the site was built into";
            found.problems.push(Problem::stops(folder.display().to_string(), said));
        }
        found
    }

    fn leave_out(&mut self, left_out: &LeftOut) {
        let about = left_out.inside.display().to_string();
        match left_out.why {
            ExclusionReason::Hidden => self.hidden.push(about),
            // All that lies in it has an address already.
            ExclusionReason::Loop => self.problems.push(Problem::wrong(about, &left_out.why)),
            ExclusionReason::Elsewhere(_) | ExclusionReason::Dangling(_) | ExclusionReason::Special => {
                self.problems.push(Problem::stops(about, &left_out.why));
            }
        }
    }

    /// Names that differ only in their case are one file on many machines: the author of the site on such a one lost
    /// half of it.
    fn find_collisions(&mut self) {
        let mut folded: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.is_of_the_program()) {
            folded.entry(file.name.to_lowercase()).or_default().push(&file.name);
        }
        let collisions = folded.values().filter(|names| names.len() > 1);
        let said = "differ only in upper and lower case; on many machines they are one file";
        let problems = collisions.map(|names| Problem::wrong(names.join(", "), said));
        self.problems.extend(problems);
    }
}

fn file(leaf: &TreeFile, longest_file: u64) -> Result<SiteFile, Problem> {
    let unnamed = || {
        let said = "has a name that is not UTF-8, which no URL leads to: rename it (convmv does so for a whole folder)";
        Problem::stops(leaf.inside.display().to_string(), said)
    };
    let name = leaf.inside.to_str().ok_or_else(unnamed)?;
    if name.contains('\\') {
        let said = "has a backslash in its name: it was unpacked from an archive of Windows PowerShell 5, whose folders other tools \
                    do not find; publish that archive itself, or make it with PowerShell 7, 7-Zip or tar -a -cf site.zip";
        return Err(Problem::stops(name, said));
    }
    askable(name).map_err(|said| Problem::stops(name, said))?;
    fs::File::open(&leaf.path).map_err(|error| {
        Problem::stops(name, format!("cannot be read: {error}; make it readable for the publisher"))
    })?;
    let length = leaf.about.len();
    if length > longest_file {
        let said = format!("has {length} bytes; more than {longest_file} are not published (--max-file)");
        return Err(Problem::stops(name, said));
    }
    let is_executable = name.starts_with(PROGRAM_FOLDER) && leaf.is_executable();
    Ok(SiteFile { name: name.to_owned(), path: leaf.path.clone(), length, is_executable })
}

/// Whether a browser can ask for a file of that name.
fn askable(name: &str) -> Result<(), String> {
    Site::may_hold(name, &PackageLimits::default()).map_err(|reason| reason.to_string())?;
    let target = 1 + name.bytes().map(|b| if b.is_ascii_alphanumeric() || b == b'/' { 1 } else { 3 }).sum::<usize>();
    if target > LONGEST_TARGET {
        Err(format!("has a name that takes {target} bytes of a URL; hosts take {LONGEST_TARGET}: rename it"))
    } else {
        Ok(())
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
        let read = SiteFolder::read(folder.path(), LONGEST_FILE);
        let names: Vec<_> = read.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, [".well-known/security.txt", "a.html", "a/x.css", "b.html"]);
        assert_eq!((read.hidden, read.problems), (vec![".env".to_owned(), ".git".to_owned()], vec![]));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        written(path, &["index.html", "A.html", "a.html", "back\\slash", "long.bin"]);
        fs::write(path.join(std::ffi::OsString::from_vec(vec![b'x', 0xff])), "x").expect("written");
        symlink("/etc/hostname", path.join("link.html")).expect("a link");
        symlink("gone.html", path.join("dangling.html")).expect("a link");
        symlink(".", path.join("loop")).expect("a link");
        let _socket = UnixListener::bind(path.join("socket")).expect("a socket");
        fs::write(path.join("long.bin"), vec![0; 200]).expect("written");
        let read = SiteFolder::read(path, 100);
        let told: Vec<_> = read.problems.iter().map(|problem| (problem.weight, problem.to_string())).collect();
        for (weight, text) in [
            (Weight::Stops, "link.html: is a symbolic link to /etc/hostname, which is not part of the site: replace"),
            (Weight::Stops, "dangling.html: is a symbolic link to gone.html, which is not there: remove it"),
            (Weight::Wrong, "loop: is a symbolic link to a folder that it lies in"),
            (Weight::Stops, "socket: is neither a file nor a folder"),
            (Weight::Stops, "back\\slash: has a backslash in its name: it was unpacked from"),
            (Weight::Stops, "has a name that is not UTF-8"),
            (Weight::Stops, "long.bin: has 200 bytes"),
            (Weight::Wrong, "A.html, a.html: differ only"),
        ] {
            assert!(told.iter().any(|(w, said)| *w == weight && said.contains(text)), "{text}: {told:?}");
        }
        assert_eq!(told.len(), 8, "{told:?}");
    }

    #[test]
    fn link_that_ends_in_the_folder_is_what_it_leads_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        written(folder.path(), &["index.html", "v2/a.html"]);
        symlink("v2", folder.path().join("latest")).expect("a link");
        let read = SiteFolder::read(folder.path(), LONGEST_FILE);
        let names: Vec<_> = read.files.iter().map(|file| (file.name.as_str(), file.length)).collect();
        assert_eq!(names, [("index.html", 10), ("latest/a.html", 9), ("v2/a.html", 9)]);
        assert_eq!(read.problems, []);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_a_folder_without_files_is_no_site() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let read = SiteFolder::read(folder.path(), LONGEST_FILE);
        assert!(read.problems[0].said.contains("no file"), "{:?}", read.problems);
        let read = SiteFolder::read(&folder.path().join("missing"), LONGEST_FILE);
        assert!(read.problems[0].said.contains("cannot be read"), "{:?}", read.problems);
        written(folder.path(), &["secret.html"]);
        let secret = folder.path().join("secret.html");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("changed");
        // Root may read everything.
        let readable = fs::File::open(&secret).is_ok();
        let read = SiteFolder::read(folder.path(), LONGEST_FILE);
        assert_eq!(read.problems.is_empty(), readable, "{:?}", read.problems);
    }
}
