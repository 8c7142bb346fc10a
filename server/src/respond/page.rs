//! Which file a path means.

use http::StatusCode;

use crate::{
    semantics::target,
    site::{Among, Entry, Place, Site, Slash, Target},
};

/// What a path leads to.
pub(crate) enum Page<'a> {
    /// A file, at its own address.
    File(&'a Entry),
    /// A file that stands in for what is not there.
    Fallback(&'a Entry),
    /// This status, for what is not there or no longer; with the package's own page for it, if it has one.
    Error(StatusCode, Option<&'a Entry>),
    /// Another address: a path, or a URL.
    Moved(StatusCode, String),
}

/// Finds what a decoded path (with its first slash) leads to.
///
/// Rules of the package that are forced come first; then a file of that name, which is always served as it is; then the
/// page with this clean URL (`/about` for `about.html`, `/docs/` for `docs/index.html`), or a redirect to its address; then
/// the other rules; then the fallback of a single-page application; else the nearest `404.html` up the tree.
pub(crate) fn find<'a>(site: &'a Site, path: &str, place: &Place<'_>, may_fall_back: bool) -> Page<'a> {
    if let Some(page) = known(site, path, place) {
        return page;
    }
    let fallback = site.rules().policy.fallback.as_deref().filter(|_| may_fall_back);
    match fallback.and_then(|name| site.file(name)) {
        Some(entry) => Page::Fallback(entry),
        None => Page::Error(StatusCode::NOT_FOUND, nearest_404(site, &path[1..])),
    }
}

/// The same, of what the package has a file or a rule for.
pub(crate) fn known<'a>(site: &'a Site, path: &str, place: &Place<'_>) -> Option<Page<'a>> {
    let redirects = &site.rules().redirects;
    if let Some(target) = redirects.find(path, place, Among::Forced) {
        return Some(follow(site, path, target));
    }
    let name = &path[1..];
    if let Some(entry) = site.file(name) {
        return Some(Page::File(entry));
    }
    if let Some(page) = clean(site, name) {
        let address = page.address(site.rules().policy.slash, name);
        return Some(if address == name {
            Page::File(page.entry)
        } else {
            Page::Moved(StatusCode::PERMANENT_REDIRECT, format!("/{}", target::encode(&address)))
        });
    }
    redirects.find(path, place, Among::All).map(|target| follow(site, path, target))
}

/// What the package has for a name of the site that is not where the site is, or for a request without TLS: only rules for
/// that host say so. Without TLS nothing but a redirect is answered.
pub(crate) fn elsewhere<'a>(site: &'a Site, path: &str, place: &Place<'_>) -> Option<Page<'a>> {
    let target = site.rules().redirects.find(path, place, Among::ForHost)?;
    (place.secure || target.status.is_redirection()).then(|| follow(site, path, target))
}

/// Where a rule leads. A rewrite is to a file of the package; rules are not applied to it again.
fn follow<'a>(site: &'a Site, path: &str, target: Target) -> Page<'a> {
    if target.status.is_redirection() {
        return Page::Moved(target.status, target.to);
    }
    let to = target.to.split(['?', '#']).next().unwrap_or_default();
    let entry = target::path(to).and_then(|to| site.file(&to[1..]).or_else(|| Some(clean(site, &to[1..])?.entry)));
    match entry {
        Some(entry) if target.status == StatusCode::OK => Page::Fallback(entry),
        Some(entry) => Page::Error(target.status, Some(entry)),
        None => {
            let status = if target.status == StatusCode::OK { StatusCode::NOT_FOUND } else { target.status };
            Page::Error(status, nearest_404(site, &path[1..]))
        }
    }
}

/// A page that was found by its clean URL.
struct Clean<'a, 'b> {
    entry: &'a Entry,
    /// The path without the slash at its end; empty for the front page.
    stem: &'b str,
    kind: PageForm,
    /// Whether the package has the page of the other kind, too: then the slash tells the two apart.
    both: bool,
}

/// Where the file of a page lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PageForm {
    /// At `stem/index.html`: its relative links are meant from `/stem/`.
    Folder,
    /// At `stem.html`: its relative links are meant from `/stem`.
    File,
}

impl Clean<'_, '_> {
    /// The address of the page, decoded and without its first slash, where it was asked for as `name`.
    fn address(&self, slash: Slash, name: &str) -> String {
        let kind = match slash {
            Slash::Keep => return name.to_owned(),
            Slash::Add if !self.both => PageForm::Folder,
            Slash::Strip if !self.both => PageForm::File,
            Slash::Auto | Slash::Add | Slash::Strip => self.kind,
        };
        match kind {
            PageForm::Folder if !self.stem.is_empty() => format!("{}/", self.stem),
            _ => self.stem.to_owned(),
        }
    }
}

/// The page with this clean URL.
fn clean<'a, 'b>(site: &'a Site, name: &'b str) -> Option<Clean<'a, 'b>> {
    let (stem, slash) = match name.strip_suffix('/') {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    // An empty segment is in no file's name.
    if stem.ends_with('/') || (stem.is_empty() && slash) {
        return None;
    }
    let file = |stem: &str| if stem.is_empty() { None } else { site.file(&format!("{stem}.html")) };
    let folder = site.file(&if stem.is_empty() { "index.html".to_owned() } else { format!("{stem}/index.html") });
    match (folder, file(stem)) {
        (Some(entry), other) if slash || other.is_none() => {
            Some(Clean { entry, stem, kind: PageForm::Folder, both: other.is_some() })
        }
        // `docs/index` is the page of the folder `docs`.
        (other, Some(entry)) => {
            Some(match stem.strip_suffix("index").map(|folder| (folder, folder.strip_suffix('/'))) {
                Some((_, Some(folder))) => {
                    Clean { entry, stem: folder, kind: PageForm::Folder, both: file(folder).is_some() }
                }
                Some(("", None)) => Clean { entry, stem: "", kind: PageForm::Folder, both: false },
                _ => Clean { entry, stem, kind: PageForm::File, both: other.is_some() },
            })
        }
        (_, None) => None,
    }
}

fn nearest_404<'a>(site: &'a Site, path: &str) -> Option<&'a Entry> {
    let mut folder = path;
    while let Some((parent, _)) = folder.rsplit_once('/') {
        if let Some(entry) = site.file(&format!("{parent}/404.html")) {
            return Some(entry);
        }
        folder = parent;
    }
    site.file("404.html")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::site::{PackageLimits, zipped};

    /// Every page is reached in one hop at most, whatever the policy and however it is asked for, and each answers at one
    /// address but for its own name.
    #[test]
    fn every_page_has_one_address_and_every_other_leads_there_in_one_hop() {
        let pages = [
            "index.html",
            "about.html",
            "docs/index.html",
            "both.html",
            "both/index.html",
            "ä b/c.html",
            "index/index.html",
        ];
        for slash in ["auto", "add", "strip"] {
            let policy = format!("slash = '{slash}'");
            let mut files: Vec<_> = pages.iter().map(|name| (*name, *name)).collect();
            files.push(("site.toml", &policy));
            let site = Site::from_bytes(Bytes::from(zipped(&files)), &PackageLimits::default()).unwrap();
            let stems = ["", "index", "about", "docs", "docs/index", "both", "both/index", "ä b/c", "index/index"];
            let mut direct = std::collections::BTreeMap::<&str, Vec<String>>::new();
            for name in stems.iter().flat_map(|stem| [format!("/{stem}"), format!("/{stem}/")]) {
                match find(&site, &name, &Place::unknown(), false) {
                    Page::File(entry) => direct.entry(site.name(entry)).or_default().push(name),
                    Page::Moved(status, to) => {
                        assert_eq!(status, StatusCode::PERMANENT_REDIRECT);
                        let path = target::path(&to).unwrap();
                        assert!(
                            matches!(find(&site, &path, &Place::unknown(), false), Page::File(_)),
                            "{slash}: {name} to {to}"
                        );
                    }
                    Page::Error(..) => assert_eq!(name, "//", "{slash}"),
                    Page::Fallback(_) => panic!("{slash}: {name}"),
                }
            }
            assert_eq!(direct.len(), pages.len(), "{slash}: {direct:?}");
            assert!(direct.values().all(|addresses| addresses.len() == 1), "{slash}: {direct:?}");
        }
    }
}
