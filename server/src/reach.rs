//! What somebody who makes a package asks before it is published.

use http::HeaderMap;

use crate::{
    PackageLimits, Reason, Site,
    respond::{fallback, page, page::Page, target},
    site::normalise,
};

impl Site {
    /// Whether a package within `limits` may hold a file of this name.
    ///
    /// # Errors
    /// [`Reason::Name`], which is what a package with it would be refused for.
    pub fn may_hold(name: &str, limits: &PackageLimits) -> Result<(), Reason> {
        if name.len() > limits.name {
            return Err(Reason::Name("it is too long"));
        }
        normalise(name).map(drop)
    }

    /// Whether a path, percent-encoded and with its first slash, leads a visitor to something: a file, a fallback, or
    /// another address by one of the package's own rules.
    pub fn leads_somewhere(&self, path: &str) -> bool {
        let Some(decoded) = target::path(path) else { return false };
        let found = page::find(self, &decoded, path, fallback::wanted(&decoded, &HeaderMap::new()));
        matches!(found, Page::File(_) | Page::Fallback(_) | Page::Moved(..))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn path_leads_where_visitors_would_be_led() {
        let files = [
            ("index.html", "i"),
            ("a/b.html", "b"),
            ("ä.txt", "t"),
            ("_redirects", "/old /a/b 301\n"),
            ("404.html", "n"),
        ];
        let site = Site::from_bytes(zip(&files).into(), &PackageLimits::default()).unwrap();
        for (path, leads) in [
            ("/", true),
            ("/index.html", true),
            ("/a/b", true),
            ("/a/b/", true),
            ("/%C3%A4.txt", true),
            ("/old", true),
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
    fn name_is_judged_as_at_opening() {
        let limits = PackageLimits::default();
        for (name, may) in [("a/b.html", true), ("a\\b", false), ("c:x", false), ("a/../b", false)] {
            assert_eq!(Site::may_hold(name, &limits).is_ok(), may, "{name}");
        }
        assert!(Site::may_hold(&"x".repeat(5000), &limits).is_err());
    }
}
