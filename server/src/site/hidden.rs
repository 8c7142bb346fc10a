//! Files that visitors never see: what tools leave in a folder, what belongs to the package's settings, and what it says.

use serde::Deserialize;

use super::process::PROGRAM_FOLDER;

/// How many patterns a package may have of each kind.
const MOST: usize = 100;
/// The longest pattern, in bytes.
const LONGEST: usize = 200;

/// The package's own settings.
const SETTINGS: &[&str] = &["_headers", "_redirects", "site.toml"];

/// Names of files and folders that tools leave, and why visitors should not see them. `*` stands for anything; case makes no
/// difference. A folder hides what is in it.
const LEFT: &[(&str, &str)] = &[
    // Version control and what surrounds it.
    (".git", "a repository, with everything that was ever in it"),
    (".hg", "a repository, with everything that was ever in it"),
    (".svn", "a repository, with everything that was ever in it"),
    (".bzr", "a repository, with everything that was ever in it"),
    (".jj", "a repository, with everything that was ever in it"),
    (".github", "workflows of a forge"),
    (".gitlab", "workflows of a forge"),
    (".gitea", "workflows of a forge"),
    (".forgejo", "workflows of a forge"),
    (".circleci", "workflows of continuous integration"),
    (".buildkite", "workflows of continuous integration"),
    (".woodpecker", "workflows of continuous integration"),
    (".husky", "hooks of a repository"),
    // Passwords, keys, and settings of people and programs.
    (".env", "passwords and keys of an application"),
    (".env.*", "passwords and keys of an application"),
    (".ht*", "access rules and passwords of Apache httpd, which never serves them either"),
    (".ssh", "keys of a person"),
    (".gnupg", "keys of a person"),
    (".password-store", "passwords of a person"),
    (".secrets", "passwords and keys"),
    (".private", "what somebody called private"),
    (".aws", "credentials of a cloud"),
    (".azure", "credentials of a cloud"),
    (".gcloud", "credentials of a cloud"),
    (".kube", "credentials of a cluster"),
    (".docker", "credentials of registries"),
    (".config", "settings of a person"),
    (".local", "data of a person's programs"),
    (".terraform", "the state of an infrastructure"),
    (".pulumi", "the state of an infrastructure"),
    (".vagrant", "a virtual machine, with its key"),
    (".serverless", "a deployment, with its settings"),
    // Editors.
    (".idea", "settings of an editor"),
    (".vscode", "settings of an editor, often with passwords for uploads"),
    (".vs", "settings of an editor"),
    (".fleet", "settings of an editor"),
    (".zed", "settings of an editor"),
    (".settings", "settings of an editor"),
    (".obsidian", "settings of an editor"),
    (".history", "older versions of files, kept by an editor"),
    (".*.swp", "a file as it is being edited"),
    (".*.swo", "a file as it is being edited"),
    (".#*", "an editor's lock"),
    (".~lock.*", "an editor's lock"),
    ("*~", "an older version of a file, kept by an editor"),
    // Operating systems.
    (".DS_Store", "names of a folder's files, left by macOS"),
    ("._*", "attributes of a file, left by macOS"),
    ("__MACOSX", "attributes of files, left by macOS in archives"),
    (".AppleDouble", "attributes of files, left by macOS"),
    (".Spotlight-V100", "an index, left by macOS"),
    (".Trashes", "deleted files, left by macOS"),
    (".fseventsd", "a journal, left by macOS"),
    (".TemporaryItems", "temporary files, left by macOS"),
    (".DocumentRevisions-V100", "older versions of files, left by macOS"),
    ("Thumbs.db", "small pictures of a folder's files, left by Windows"),
    ("ehthumbs.db", "small pictures of a folder's files, left by Windows"),
    ("desktop.ini", "settings of a folder, left by Windows"),
    ("$RECYCLE.BIN", "deleted files, left by Windows"),
    (".Trash-*", "deleted files, left by Linux"),
    (".nfs*", "a deleted file that is still open"),
    (".fuse_hidden*", "a deleted file that is still open"),
    // Generators, build tools and package managers.
    (".cache", "a cache"),
    (".parcel-cache", "a cache of Parcel"),
    (".sass-cache", "a cache of Sass"),
    (".jekyll-cache", "a cache of Jekyll"),
    (".doctrees", "a cache of Sphinx"),
    (".quarto", "a cache of Quarto"),
    (".turbo", "a cache of Turborepo"),
    (".nyc_output", "measurements of tests"),
    (".pytest_cache", "a cache of tests"),
    (".mypy_cache", "a cache of a type checker"),
    (".ruff_cache", "a cache of a linter"),
    (".ipynb_checkpoints", "older versions of notebooks"),
    (".next", "the working folder of Next.js"),
    (".nuxt", "the working folder of Nuxt"),
    (".output", "the working folder of Nitro"),
    (".svelte-kit", "the working folder of SvelteKit"),
    (".astro", "the working folder of Astro"),
    (".docusaurus", "the working folder of Docusaurus"),
    (".vitepress", "the sources of VitePress"),
    (".vuepress", "the sources of VuePress"),
    (".contentlayer", "a cache of Contentlayer"),
    (".vercel", "settings of another host"),
    (".netlify", "settings of another host"),
    (".wrangler", "settings of another host"),
    (".firebase", "settings of another host"),
    (".amplify", "settings of another host"),
    (".npm", "a cache of packages"),
    (".yarn", "a cache of packages"),
    (".pnpm-store", "a cache of packages"),
    (".bundle", "settings of a package manager"),
    (".cargo", "settings of a package manager"),
    (".gradle", "a cache of a build"),
    (".mvn", "settings of a build"),
    (".venv", "packages of Python"),
    (".tox", "packages of Python"),
    (".nox", "packages of Python"),
];

/// What may begin with a dot and be meant for visitors all the same: pages, feeds and pictures, such as `tags/.net.html`. All
/// other files that do are settings of tools, such as `.npmrc`, `.nojekyll` or `.eslintrc.json`.
const DOCUMENTS: &[&str] =
    &["atom", "avif", "gif", "htm", "html", "jpeg", "jpg", "png", "rss", "svg", "webp", "xhtml", "xml"];

/// Suffixes of a file in another content coding, which is hidden with the file.
const CODINGS: &[&str] = &[".br", ".gz", ".zst"];

/// Which files of a package visitors never see.
///
/// What tools leave is hidden, by a list with a reason each, and so are files that begin with a dot but for pages, feeds and
/// pictures; folders that begin with a dot are not, unless they are in the list: `tags/.net/` is a page. `site.toml` may say
/// otherwise with `hide` and `show`. `.well-known` is never hidden (RFC 8615), and the package's settings always are.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    hide: Vec<NamePattern>,
    show: Vec<NamePattern>,
}

#[derive(Default, Deserialize)]
struct HiddenSettings {
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    show: Vec<String>,
}

impl Hidden {
    /// Reads `hide` and `show` of a `site.toml`; whatever else stands there, or cannot be read, is left to the server, which
    /// notes it.
    pub fn of_settings(site_toml: &str) -> Self {
        let settings: HiddenSettings = toml::from_str(site_toml.trim_start_matches('\u{feff}')).unwrap_or_default();
        Self::parse(&settings.hide, &settings.show, |_| ())
    }

    /// Reads the patterns; those at fault are left out and told.
    pub(crate) fn parse(hide: &[String], show: &[String], mut fault: impl FnMut(String)) -> Self {
        let mut read = |key: &str, texts: &[String]| {
            if texts.len() > MOST {
                fault(format!("{key} has more than {MOST} patterns; those behind are left out"));
            }
            let parsed = texts.iter().take(MOST).filter_map(|text| match NamePattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(why) => {
                    fault(format!("{key} {text:?} {why}"));
                    None
                }
            });
            parsed.collect()
        };
        Self { hide: read("hide", hide), show: read("show", show) }
    }

    /// Why visitors never see the file of this name, with `/` between its segments; `None` if they do.
    pub fn file(&self, name: &str) -> Option<&'static str> {
        if SETTINGS.contains(&name) {
            return Some("a setting of the package");
        }
        if is_of_the_program(name) {
            return Some("a file of the package's program");
        }
        let plain = CODINGS.iter().find_map(|coding| name.strip_suffix(coding)).unwrap_or(name);
        if self.show.iter().any(|pattern| pattern.matches(name) || pattern.matches(plain)) {
            return None;
        }
        let file = plain.rsplit('/').next().unwrap_or(plain);
        let of_a_tool = || is_setting_of_a_tool(file).then_some("settings of a tool");
        self.said(name).or_else(|| self.said(plain)).or_else(|| left(plain)).or_else(of_a_tool)
    }

    /// Why visitors never see anything in the folder of this name; `None` if they may.
    pub fn folder(&self, name: &str) -> Option<&'static str> {
        if is_of_the_program(name) {
            return Some("files of the package's program");
        }
        // What is shown could lie in it.
        if !self.show.is_empty() {
            return None;
        }
        self.said(name).or_else(|| left(name))
    }

    /// What the package says. Whatever its patterns are, what others must find stays there.
    fn said(&self, name: &str) -> Option<&'static str> {
        let well_known = name.split('/').any(|segment| segment == ".well-known");
        let hides = !well_known && self.hide.iter().any(|pattern| pattern.matches(name));
        hides.then_some("site.toml says so")
    }
}

/// Whether the name is that of the folder with the package's program, or lies in it, whatever the case. Whatever `show` says, none of
/// it is sent.
pub(super) fn is_of_the_program(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    first.eq_ignore_ascii_case(PROGRAM_FOLDER.trim_end_matches('/'))
}

/// Why a name is one that tools leave, by the list.
fn left(name: &str) -> Option<&'static str> {
    let listed = |segment: &str| LEFT.iter().find(|(pattern, _)| is_like(pattern, segment)).map(|(_, reason)| *reason);
    name.split('/').find_map(listed)
}

/// Whether a file that begins with a dot is none for visitors.
fn is_setting_of_a_tool(file: &str) -> bool {
    let Some(rest) = file.strip_prefix('.').filter(|rest| *rest != "well-known") else { return false };
    let extension = rest.rsplit_once('.').map_or("", |(_, extension)| extension);
    !DOCUMENTS.iter().any(|document| document.eq_ignore_ascii_case(extension))
}

/// A pattern of `hide` or `show`: without a slash the name of a file or folder anywhere, with one a path from the root. A
/// folder stands for what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamePattern {
    segments: Vec<Box<str>>,
    from_root: bool,
}

impl NamePattern {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let segments: Vec<Box<str>> = path.strip_prefix('/').unwrap_or(path).split('/').map(Box::from).collect();
        if text.len() > LONGEST {
            return Err("is too long");
        }
        if segments.iter().any(|segment| matches!(&**segment, "" | "." | "..")) {
            return Err("has a segment that no file has");
        }
        if segments.iter().any(|segment| segment.matches('*').count() > 1) {
            return Err("has more than one '*' in a segment");
        }
        Ok(Self { from_root: path.contains('/'), segments })
    }

    fn matches(&self, name: &str) -> bool {
        let mut segments = name.split('/');
        match &self.segments[..] {
            [anywhere] if !self.from_root => segments.any(|segment| is_like(anywhere, segment)),
            path => path.iter().all(|pattern| segments.next().is_some_and(|segment| is_like(pattern, segment))),
        }
    }
}

/// Whether a segment is as the pattern says, with one `*` at most, whatever the case.
fn is_like(pattern: &str, segment: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(segment) };
    let start = start.as_bytes();
    let end = end.as_bytes();
    let segment = segment.as_bytes();
    segment.len() >= start.len() + end.len()
        && segment[..start.len()].eq_ignore_ascii_case(start)
        && segment[segment.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_leave_is_hidden_and_what_people_name_is_not() {
        let hidden = Hidden::default();
        for name in [
            ".env",
            ".env.local",
            ".ENV",
            "a/.env.production",
            ".git/config",
            "a/.git/config",
            ".git/index.html",
            ".gitignore",
            ".github/workflows/x.yml",
            ".DS_Store",
            "docs/.DS_Store",
            "._index.html",
            "__MACOSX/x.html",
            "a/.htaccess",
            ".htpasswd",
            ".npmrc",
            ".netrc",
            ".nojekyll",
            ".buildinfo",
            ".eslintrc.json",
            ".gitlab-ci.yml",
            ".index.html.swp",
            ".vscode/sftp.json",
            "index.html~",
            "Thumbs.db",
            ".well-known/.DS_Store",
            ".well-known/.x",
            ".env.br",
            ".npmrc.gz",
            "_redirects",
            "_headers",
            "site.toml",
            ".app",
            ".app/server",
            ".app/index.html",
            ".app/a/.well-known/x",
            ".App/index.html",
        ] {
            assert!(hidden.file(name).is_some(), "{name:?}");
        }
        for name in [
            "tags/.net/index.html",
            "tags/.net/feed.xml",
            "tags/.net.html",
            "tags/.net.html.br",
            "tags/.net.rss",
            ".net/a/b.css",
            ".gitops/index.html",
            ".well-known/security.txt",
            ".well-known/acme-challenge/x",
            ".well-known",
            "a/.well-known/x",
            "a/_redirects",
            "a/.app/index.html",
            ".apple/index.html",
            "a.b",
            "environment/env",
            "git/config",
            "cvs/index.html",
            "curriculum/~me/index.html",
        ] {
            assert_eq!(hidden.file(name), None, "{name:?}");
        }
        for (folder, is) in [
            (".git", true),
            (".app", true),
            (".app/lib", true),
            ("a/.git", true),
            ("tags/.net", false),
            (".well-known", false),
            ("__MACOSX", true),
        ] {
            assert_eq!(hidden.folder(folder).is_some(), is, "{folder:?}");
        }
        assert!(LEFT.iter().all(|(_, reason)| !reason.is_empty()));
    }

    #[test]
    fn a_package_says_what_else_is_hidden_and_what_is_not() {
        let with = |hide: &[&str], show: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let mut faults = Vec::new();
            let hidden = Hidden::parse(&owned(hide), &owned(show), |fault| faults.push(fault));
            assert_eq!(faults, Vec::<String>::new());
            hidden
        };
        for (hide, show, name, is) in [
            (&["drafts"][..], &[][..], "drafts/a.html", true),
            (&["drafts"], &[], "blog/drafts/a.html", true),
            (&["drafts/"], &[], "drafts/a.html", true),
            (&["/drafts"], &[], "blog/drafts/a.html", false),
            (&["/drafts"], &[], "drafts/a.html", true),
            (&["blog/*.md"], &[], "blog/a.md", true),
            (&["blog/*.md"], &[], "blog/a/b.md", false),
            (&["*.map"], &[], "assets/app.js.map", true),
            (&["*.map"], &[], "assets/app.js.map.br", true),
            (&["secret.html"], &[], "secret.html.zst", true),
            (&["*.map"], &["assets/*"], "assets/app.js.map", false),
            (&[], &[".nojekyll"], ".nojekyll", false),
            (&[], &[".git"], ".git/config", false),
            (&[], &["site.toml"], "site.toml", true),
            (&[], &[".app"], ".app/index.html", true),
            (&[], &["*"], ".app/server", true),
            (&[".*"], &[], "tags/.net/index.html", true),
            (&[".*"], &[], ".well-known/security.txt", false),
            (&["*"], &[], ".well-known/security.txt", false),
            (&[".well-known"], &[], ".well-known/security.txt", false),
            (&[".well-known/*"], &[], ".well-known/security.txt", false),
        ] {
            assert_eq!(with(hide, show).file(name).is_some(), is, "hide {hide:?} show {show:?} {name}");
        }
        let settings = Hidden::of_settings("\u{feff}slash = 'add'\nhide = ['drafts']\n[gate]\n'/x' = 404\n");
        assert!(settings.file("drafts/x").is_some() && settings.file("x").is_none());
        assert!(Hidden::of_settings("hide = ").file("drafts/x").is_none());
    }

    #[test]
    fn a_pattern_at_fault_is_left_out_and_told() {
        for wrong in ["", "/", "a//b", "../x", "**/x", &"x".repeat(201)] {
            let mut faults = Vec::new();
            let hidden = Hidden::parse(&[wrong.to_owned(), "fine".into()], &[], |fault| faults.push(fault));
            assert_eq!(faults.len(), 1, "{wrong}");
            assert!(hidden.file("fine").is_some() && hidden.file("x").is_none());
        }
    }
}
