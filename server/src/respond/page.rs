//! Which file a path means.

use std::borrow::Cow;

use crate::{Site, site::Entry};

/// What a path leads to.
pub(crate) enum Page<'a> {
    /// A file.
    File(&'a Entry),
    /// Nothing, but the package has a page for that.
    Missing(&'a Entry),
    /// Nothing.
    Nothing,
}

/// Finds the file for a decoded path without its first slash. A file's own name always means that file; else `/about` and
/// `/about/` mean `about.html` or `about/index.html`; else the nearest `404.html` up the tree is the answer.
pub(crate) fn find<'a>(site: &'a Site, path: &str) -> Page<'a> {
    if let Some(entry) = site.file(path) {
        return Page::File(entry);
    }
    match clean(site, path) {
        Some(entry) => Page::File(entry),
        None => missing(site, path),
    }
}

/// The page with this clean URL.
fn clean<'a>(site: &'a Site, path: &str) -> Option<&'a Entry> {
    let (stem, directory) = match path.strip_suffix('/') {
        Some(stem) => (stem, true),
        None => (path, path.is_empty()),
    };
    if stem.ends_with('/') {
        return None;
    }
    let index: Cow<'_, str> = if stem.is_empty() { "index.html".into() } else { format!("{stem}/index.html").into() };
    let file = || {
        if stem.is_empty() { None } else { site.file(&format!("{stem}.html")) }
    };
    // The slash says which of the two is meant where there are both.
    if directory { site.file(&index).or_else(file) } else { file().or_else(|| site.file(&index)) }
}

fn missing<'a>(site: &'a Site, path: &str) -> Page<'a> {
    let mut folder = path;
    while let Some((parent, _)) = folder.rsplit_once('/') {
        if let Some(entry) = site.file(&format!("{parent}/404.html")) {
            return Page::Missing(entry);
        }
        folder = parent;
    }
    site.file("404.html").map_or(Page::Nothing, Page::Missing)
}
