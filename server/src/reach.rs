//! What somebody who makes a package asks before it is published.

use http::HeaderMap;

use crate::{
    respond::{
        fallback,
        page::{self, Page},
    },
    semantics::target,
    site::{PackageLimits, Place, Reason, Site, normalise},
};

/// How many redirects a visitor is followed through: browsers give up at twenty (Fetch §4.4, "HTTP-redirect fetch").
const MOST_REDIRECTS: usize = 20;

impl Site {
    /// Whether a package within `limits` may hold a file of this name.
    ///
    /// # Errors
    /// [`Reason::Name`], which is what a package with it would be refused for.
    pub fn may_hold(name: &str, limits: &PackageLimits) -> Result<(), Reason> {
        if name.len() > limits.name {
            return Err(Reason::Name("it is too long; shorten it"));
        }
        normalise(name).map(drop)
    }

    /// Whether a path, percent-encoded and with its first slash, leads a visitor to something: a file, a fallback, or by the
    /// package's own rules in the end to one of these, to its application, or to another site.
    pub fn leads_somewhere(&self, path: &str) -> bool {
        let mut path = path.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let Some(decoded) = target::path(&path) else { return false };
            match page::find(self, &decoded, &Place::unknown(), fallback::wanted(&decoded, &HeaderMap::new())) {
                Page::File(_) | Page::Fallback(_) => return true,
                Page::Error(..) => return self.is_the_applications(&decoded),
                Page::Moved(_, to) if !to.starts_with('/') => return true,
                Page::Moved(_, to) => to.split(['?', '#']).next().unwrap_or_default().clone_into(&mut path),
            }
        }
        false
    }

    /// Whether an application answers for a decoded path for which the package has neither a file nor a rule.
    fn is_the_applications(&self, path: &str) -> bool {
        let policy = &self.rules().policy;
        policy.has_app && policy.app.covers(path) && page::known(self, path, &Place::unknown()).is_none()
    }

    /// The address at which visitors get the file of this name: percent-encoded, with its first slash. From there a browser
    /// resolves the relative links of a page. `None` for a file that is never sent.
    ///
    /// With `slash = "auto"` (see `site.toml`) that is where the relative links of a page work: `/docs/` for
    /// `docs/index.html`, `/about` for `about.html`. With `add` and `strip` it may be another (`/docs`, `/about/`), and links
    /// that are relative to the file lead elsewhere.
    pub fn address(&self, name: &str) -> Option<String> {
        let stem = name.strip_suffix(".html");
        let folder = name.strip_suffix("index.html").filter(|folder| folder.is_empty() || folder.ends_with('/'));
        let addresses = match (folder, stem) {
            (Some(folder), _) => vec![folder.to_owned(), folder.trim_end_matches('/').to_owned()],
            (None, Some(stem)) => vec![stem.to_owned(), format!("{stem}/")],
            (None, None) => Vec::new(),
        };
        let mut paths = addresses.into_iter().chain([name.to_owned()]).map(|address| format!("/{address}"));
        let is_there = |path: &String| matches!(page::find(self, path, &Place::unknown(), false), Page::File(entry) if self.name(entry) == name);
        paths.find(is_there).map(|path| target::encode(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::zipped;

    #[test]
    fn path_leads_where_visitors_would_be_led() {
        let files = [
            ("index.html", "i"),
            ("a/b.html", "b"),
            ("ä.txt", "t"),
            ("docs/index.html", "d"),
            (
                "_redirects",
                "/old /a/b?x#y 301\n/older /old\n/away https://example.org/\n/gone /nowhere\n/round /again\n/again /round\n",
            ),
            ("404.html", "n"),
        ];
        let site = Site::from_bytes(zipped(&files).into(), &PackageLimits::default()).unwrap();
        for (path, leads) in [
            ("/", true),
            ("/index.html", true),
            ("/a/b", true),
            ("/a/b/", true),
            ("/%C3%A4.txt", true),
            ("/old", true),
            ("/older", true),
            ("/away", true),
            ("/gone", false),
            ("/round", false),
            ("/docs", true),
            ("/docs/", true),
            ("/a", false),
            ("/A/b", false),
            ("/_redirects", false),
            ("/../x", false),
            ("x", false),
        ] {
            assert_eq!(site.leads_somewhere(path), leads, "{path}");
        }
    }

    #[test]
    fn path_may_lead_to_the_application() {
        let files = [
            ("index.html", "i"),
            ("_redirects", "/gone /nowhere 410\n/old /api/new\n"),
            ("site.toml", "[app]\nroutes = ['/api/*', '!/api/internal/*']"),
        ];
        let site = Site::from_bytes(zipped(&files).into(), &PackageLimits::default()).unwrap();
        for (path, leads) in
            [("/", true), ("/api/x", true), ("/old", true), ("/api/internal/x", false), ("/gone", false), ("/x", false)]
        {
            assert_eq!(site.leads_somewhere(path), leads, "{path}");
        }
    }

    #[test]
    fn address_of_a_file_is_where_visitors_get_it() {
        for (slash, docs, about) in [
            ("auto", "/docs/", "/about"),
            ("add", "/docs/", "/about/"),
            ("strip", "/docs", "/about"),
            ("keep", "/docs/", "/about"),
        ] {
            let policy = format!("slash = '{slash}'");
            let files = [
                ("index.html", "i"),
                ("about.html", "a"),
                ("docs/index.html", "d"),
                ("both.html", "b"),
                ("both/index.html", "b"),
                ("ä b.html", "u"),
                ("logo.png", "l"),
                ("moved.html", "m"),
                ("site.toml", &policy),
                ("_redirects", "/moved* /about 301!\n"),
            ];
            let site = Site::from_bytes(zipped(&files).into(), &PackageLimits::default()).unwrap();
            for (name, address) in [
                ("index.html", Some("/")),
                ("about.html", Some(about)),
                ("docs/index.html", Some(docs)),
                ("both.html", Some("/both")),
                ("both/index.html", Some("/both/")),
                ("ä b.html", Some(if slash == "add" { "/%C3%A4%20b/" } else { "/%C3%A4%20b" })),
                ("logo.png", Some("/logo.png")),
                ("moved.html", None),
                ("site.toml", None),
                ("nothing.html", None),
            ] {
                assert_eq!(site.address(name).as_deref(), address, "{slash} {name}");
            }
        }
    }

    #[test]
    fn name_is_judged_as_at_opening() {
        let limits = PackageLimits::default();
        for (name, may) in [("a/b.html", true), ("a\\b", false), ("c:x", false), ("a/../b", false)] {
            assert_eq!(Site::may_hold(name, &limits).is_ok(), may, "{name}");
        }
        assert!(Site::may_hold(&"x".repeat(5000), &limits).is_err());
    }
}
