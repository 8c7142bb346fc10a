//! The files of a site's folder: one walk for the server and for the publisher.
//!
//! Symbolic links are followed where they end in the folder, as `latest -> v2` does: a package holds no links, so it holds what
//! they lead to. A link that ends elsewhere would publish files by accident, so it is left out, and told.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use spothost_server::{Hidden, PROGRAM_FOLDER, PackageLimits};
use walkdir::WalkDir;

/// What tools keep beside a program that a site brings: all else of its folder belongs to the package.
const OF_TOOLS: &[&str] = &[".git", ".hg", ".svn", ".DS_Store"];
/// The package's own settings, which visitors never see, and hosts need.
const SETTINGS: &[&str] = &["_headers", "_redirects", "site.toml"];
/// No longer `site.toml` is read, as by hosts.
const LONGEST_SETTING: u64 = 1 << 20;

/// What is said of a folder with more in it than a package may hold.
pub(crate) const TOO_MANY: &str = "it holds more files and folders than a package may: remove files that are not part of the site, or links that multiply folders";

/// The files of a folder, in the order in which they are found, and those that are left out.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The files that a package of the folder holds.
    pub(crate) files: Vec<TreeFile>,
    /// What it leaves out.
    pub(crate) left_out: Vec<LeftOut>,
    /// What could not be looked at, and why.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
    /// Whether there is more than a package may hold: links that lead to folders with links can multiply a folder.
    pub(crate) too_many: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) struct TreeFile {
    /// Its path below the folder.
    pub(crate) inside: PathBuf,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What the file system says of it, or of the file that a link leads to.
    pub(crate) about: fs::Metadata,
}

impl TreeFile {
    /// Whether anybody may execute it.
    pub(crate) fn is_executable(&self) -> bool {
        self.about.permissions().mode() & 0o111 != 0
    }
}

/// Something in a folder that is no part of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Its path below the folder.
    pub(crate) inside: PathBuf,
    /// Why.
    pub(crate) why: ExclusionReason,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inside.display(), self.why)
    }
}

/// Why something is no part of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExclusionReason {
    /// Visitors would never see it: it is what tools leave, or its `site.toml` says so.
    Hidden,
    /// A link that ends outside of the folder, or at something hidden in it: where.
    Elsewhere(PathBuf),
    /// A link to a folder that it lies in itself.
    Loop,
    /// A link to something that is not there.
    Dangling(PathBuf),
    /// Neither a file nor a folder: a pipe, a socket, a device.
    Special,
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExclusionReason::Hidden => f.write_str("is hidden"),
            ExclusionReason::Elsewhere(to) => write!(
                f,
                "is a symbolic link to {}, which is not part of the site: replace the link by a copy of its target (cp -rL)",
                to.display()
            ),
            ExclusionReason::Loop => f.write_str(
                "is a symbolic link to a folder that it lies in, so it has no end: remove it, or redirect its address in _redirects",
            ),
            ExclusionReason::Dangling(to) => write!(f, "is a symbolic link to {}, which is not there: remove it", to.display()),
            ExclusionReason::Special => f.write_str("is neither a file nor a folder: remove it"),
        }
    }
}

impl Tree {
    /// Looks at everything in `folder`, or at the one file that it is, but reads no content.
    pub(crate) fn read(folder: &Path) -> Tree {
        Tree::read_at_most(folder, PackageLimits::default().entries)
    }

    /// The same, but ends once there are `most` files and folders.
    fn read_at_most(folder: &Path, most: usize) -> Tree {
        let mut tree = Tree::default();
        let root = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let hidden = Hides::of(folder);
        let mut seen = 0;
        let mut walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    tree.miss(folder, &hidden, error);
                    continue;
                }
            };
            let inside = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned();
            if let Some(why) = unwanted(&entry, &inside, &root, &hidden) {
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
                tree.left_out.push(LeftOut { inside, why });
                continue;
            }
            seen += 1;
            if seen > most {
                tree.too_many = true;
                break;
            }
            if entry.file_type().is_dir() {
                continue;
            }
            match entry.metadata() {
                Ok(about) => tree.files.push(TreeFile { inside, path: entry.into_path(), about }),
                Err(error) => tree.miss(folder, &hidden, error),
            }
        }
        tree
    }

    /// Sorts what a walk could not go into: links that lead nowhere or back are no faults of the disk.
    fn miss(&mut self, folder: &Path, hidden: &Hides, error: walkdir::Error) {
        let path = error.path().unwrap_or(folder).to_owned();
        let inside = path.strip_prefix(folder).unwrap_or(&path).to_owned();
        let leads_to = fs::read_link(&path).ok();
        // Without its folder there is no site.
        let leads_to = leads_to.filter(|_| path != folder);
        let why = match (error.loop_ancestor(), leads_to) {
            (Some(_), _) => Some(ExclusionReason::Loop),
            (None, Some(to)) if fs::metadata(&path).is_err_and(|error| is_nowhere(&error)) => {
                Some(ExclusionReason::Dangling(to))
            }
            (None, _) => None,
        };
        match why {
            // A hidden link is not followed, wherever it leads.
            Some(_) if hidden.file(&inside) || hidden.folder(&inside) => {
                self.left_out.push(LeftOut { inside, why: ExclusionReason::Hidden })
            }
            Some(why) => self.left_out.push(LeftOut { inside, why }),
            None => self.unreadable.push((path, error.into())),
        }
    }
}

/// The rule of what visitors of a folder's site never see.
struct Hides(Hidden);

impl Hides {
    /// From the `site.toml` of that folder, if it has one; other checks report its errors.
    fn of(folder: &Path) -> Hides {
        let path = folder.join("site.toml");
        let readable = fs::metadata(&path).is_ok_and(|about| about.len() <= LONGEST_SETTING);
        let text = if readable { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        Hides(Hidden::of_settings(&text))
    }

    fn file(&self, inside: &Path) -> bool {
        if inside.starts_with(PROGRAM_FOLDER) {
            return is_of_tools(inside);
        }
        let name = inside.to_string_lossy();
        !SETTINGS.contains(&&*name) && self.0.file(&name).is_some()
    }

    fn folder(&self, inside: &Path) -> bool {
        if inside.starts_with(PROGRAM_FOLDER) {
            return is_of_tools(inside);
        }
        self.0.folder(&inside.to_string_lossy()).is_some()
    }
}

/// Whether a link of the site leads to the program, which visitors never see.
fn shows_program(inside: &Path, real: &Path) -> bool {
    real.starts_with(PROGRAM_FOLDER) && !inside.starts_with(PROGRAM_FOLDER)
}

/// Whether something in the folder of a program is of no use to it.
fn is_of_tools(inside: &Path) -> bool {
    OF_TOOLS.iter().any(|name| inside.file_name().is_some_and(|last| last == *name))
}

/// Why an entry is no part of the site whose folder really is `root`, if it is none.
fn unwanted(entry: &walkdir::DirEntry, inside: &Path, root: &Path, hidden: &Hides) -> Option<ExclusionReason> {
    let kind = entry.file_type();
    let is_hidden = |inside: &Path| if kind.is_dir() { hidden.folder(inside) } else { hidden.file(inside) };
    if entry.depth() > 0 && is_hidden(inside) {
        return Some(ExclusionReason::Hidden);
    }
    if entry.depth() > 0
        && let Ok(end) = fs::canonicalize(entry.path())
        && end != root.join(inside)
        && end.strip_prefix(root).map_or(true, |real| is_hidden(real) || shows_program(inside, real))
    {
        // Below a folder that a link leads to, a file is hidden where it really is.
        return Some(if entry.path_is_symlink() { ExclusionReason::Elsewhere(end) } else { ExclusionReason::Hidden });
    }
    (!kind.is_file() && !kind.is_dir()).then_some(ExclusionReason::Special)
}

/// A target that is not there, or links that lead to each other.
fn is_nowhere(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    /// A folder `site` with these files, beside one called `secret.txt`.
    fn folder(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        fs::write(folder.path().join("secret.txt"), "secret").expect("written");
        for name in names {
            let path = site.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, name).expect("written");
        }
        (folder, site)
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.files.iter().filter_map(|leaf| leaf.inside.to_str()).collect()
    }

    fn left_out(tree: &Tree) -> Vec<(&str, &ExclusionReason)> {
        tree.left_out.iter().filter_map(|out| Some((out.inside.to_str()?, &out.why))).collect()
    }

    #[test]
    fn links_that_end_in_the_folder_are_followed() {
        let (_folder, site) = folder(&["v1/a.html", "v2/a.html", "v2/deep/b.html", "index.html"]);
        symlink("v2", site.join("latest")).expect("a link");
        symlink("latest", site.join("stable")).expect("a link");
        symlink(site.join("index.html"), site.join("v1/home.html")).expect("a link");
        let tree = Tree::read(&site);
        let expected = [
            "index.html",
            "latest/a.html",
            "latest/deep/b.html",
            "stable/a.html",
            "stable/deep/b.html",
            "v1/a.html",
            "v1/home.html",
            "v2/a.html",
            "v2/deep/b.html",
        ];
        assert_eq!((names(&tree), left_out(&tree)), (expected.to_vec(), vec![]));
        assert!(tree.files.iter().all(|leaf| leaf.about.is_file()));
    }

    #[test]
    fn what_is_no_part_of_the_site_is_left_out_with_the_reason() {
        let (folder, site) =
            folder(&["a/x.html", "b/y.html", ".env", ".git/HEAD", ".well-known/z", "__MACOSX/._a", "Thumbs.db"]);
        let outside = fs::canonicalize(folder.path()).expect("there");
        symlink("../secret.txt", site.join("out.txt")).expect("a link");
        symlink("..", site.join("parent")).expect("a link");
        symlink(".env", site.join("env.txt")).expect("a link");
        symlink("gone", site.join("dangling")).expect("a link");
        symlink("self", site.join("self")).expect("a link");
        symlink(".", site.join("here")).expect("a link");
        symlink("../../b", site.join("a/b")).expect("a link");
        symlink("../b", site.join("a/sibling")).expect("a link");
        symlink("../a", site.join("b/back")).expect("a link");
        symlink("nowhere", site.join(".hidden-link")).expect("a link");
        let _socket = UnixListener::bind(site.join("socket")).expect("a socket");
        let tree = Tree::read(&site);
        assert_eq!(names(&tree), [".well-known/z", "a/sibling/y.html", "a/x.html", "b/back/x.html", "b/y.html"]);
        let real = fs::canonicalize(&site).expect("there");
        let expected = [
            (".env", ExclusionReason::Hidden),
            (".git", ExclusionReason::Hidden),
            (".hidden-link", ExclusionReason::Hidden),
            ("Thumbs.db", ExclusionReason::Hidden),
            ("__MACOSX", ExclusionReason::Hidden),
            ("a/b", ExclusionReason::Dangling("../../b".into())),
            ("a/sibling/back", ExclusionReason::Loop),
            ("b/back/b", ExclusionReason::Dangling("../../b".into())),
            ("b/back/sibling", ExclusionReason::Loop),
            ("dangling", ExclusionReason::Dangling("gone".into())),
            ("env.txt", ExclusionReason::Elsewhere(real.join(".env"))),
            ("here", ExclusionReason::Loop),
            ("out.txt", ExclusionReason::Elsewhere(outside.join("secret.txt"))),
            ("parent", ExclusionReason::Elsewhere(outside)),
            ("self", ExclusionReason::Dangling("self".into())),
            ("socket", ExclusionReason::Special),
        ];
        let mut told = left_out(&tree);
        told.sort_by_key(|(name, _)| *name);
        let expected: Vec<_> = expected.iter().map(|(name, why)| (*name, why)).collect();
        assert_eq!(told, expected);
        assert!(tree.unreadable.is_empty(), "{:?}", tree.unreadable);
    }

    #[test]
    fn what_is_hidden_is_what_hosts_would_hide() {
        let (_folder, site) =
            folder(&["tags/.net/index.html", "drafts/a.html", "private/b.html", "site.toml", "_headers", ".npmrc"]);
        fs::write(site.join("site.toml"), "hide = ['drafts']\n").expect("written");
        symlink("drafts/a.html", site.join("a.html")).expect("a link");
        let tree = Tree::read(&site);
        assert_eq!(names(&tree), ["_headers", "private/b.html", "site.toml", "tags/.net/index.html"]);
        let hidden: Vec<_> = left_out(&tree)
            .into_iter()
            .filter(|(_, why)| **why == ExclusionReason::Hidden)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(hidden, [".npmrc", "drafts"]);
        assert_eq!(tree.left_out.len(), 3, "a link to a draft would publish it");
    }

    #[test]
    fn program_that_the_site_brings_is_part_of_the_package_with_all_that_it_needs() {
        let files =
            [".app/Procfile", ".app/.config/x", ".app/lib/a.py", ".app/lib/.git/HEAD", ".app/.DS_Store", "a/x.html"];
        let (_folder, site) = folder(&files);
        symlink("../.app/lib/a.py", site.join("a/copy.py")).expect("a link");
        symlink("../secret.txt", site.join(".app/secret")).expect("a link");
        let tree = Tree::read(&site);
        assert_eq!(names(&tree), [".app/.config/x", ".app/Procfile", ".app/lib/a.py", "a/x.html"]);
        let out: Vec<_> = left_out(&tree).into_iter().map(|(name, _)| name).collect();
        assert_eq!(out, [".app/.DS_Store", ".app/lib/.git", ".app/secret", "a/copy.py"]);
    }

    #[test]
    fn link_to_a_folder_shows_nothing_that_is_hidden_where_it_really_is() {
        let published = |settings: &str, files: &[&str], link: (&str, &str)| {
            let (_folder, site) = folder(files);
            fs::write(site.join("site.toml"), settings).expect("written");
            symlink(link.0, site.join(link.1)).expect("a link");
            names(&Tree::read(&site)).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let shown = "hide = ['drafts']\nshow = ['.nojekyll']\n";
        assert_eq!(published(shown, &["drafts/a.html"], ("drafts", "preview")), ["site.toml"]);
        assert_eq!(published(shown, &[".git/HEAD", ".git/refs/x"], (".git", "x")), ["site.toml"]);
        let inner = "hide = ['v2/internal']\n";
        let of_v2 = published(inner, &["v2/index.html", "v2/internal/a.html"], ("v2", "latest"));
        assert_eq!(of_v2, ["latest/index.html", "site.toml", "v2/index.html"]);
    }

    #[test]
    fn links_that_multiply_a_folder_are_bounded() {
        let (_folder, site) = folder(&["index.html"]);
        // Twenty folders, each with two links to the next: a million ways to one file.
        for number in 0..20 {
            let folder = site.join(format!("f{number}"));
            fs::create_dir_all(&folder).expect("made");
            for link in ["a", "b"] {
                symlink(format!("../f{}", number + 1), folder.join(link)).expect("a link");
            }
        }
        fs::create_dir_all(site.join("f20")).expect("made");
        fs::write(site.join("f20/x.html"), "x").expect("written");
        let tree = Tree::read_at_most(&site, 500);
        assert!(tree.too_many && tree.files.len() < 500, "{}", tree.files.len());
    }

    #[test]
    fn one_file_is_a_tree_and_a_folder_that_is_not_there_is_none() {
        let (folder, _) = folder(&["index.html"]);
        let tree = Tree::read(&folder.path().join("secret.txt"));
        assert_eq!(tree.files.len(), 1);
        let tree = Tree::read(&folder.path().join("missing"));
        assert_eq!((tree.files.len(), tree.unreadable.len()), (0, 1));
    }
}
