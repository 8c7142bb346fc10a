//! Which file a path means.

use std::borrow::Cow;

use http::StatusCode;

use super::target;
use crate::{
    Site,
    site::{Entry, Slash, Target},
};

/// What a path leads to.
pub(crate) enum Page<'a> {
    /// A file, at its own address.
    File(&'a Entry),
    /// A file that stands in for what is not there.
    Fallback(&'a Entry),
    /// Nothing, but the package has a page for that.
    Missing(&'a Entry),
    /// Another address: a path, or a URL.
    Moved(StatusCode, String),
    /// Nothing.
    Nothing,
}

/// Finds what a decoded path (with its first slash) leads to.
///
/// Rules of the package that are forced come first; then a file of that name, which is always served as it is; then its
/// clean URL: `/about` and `/about/` mean `about.html` or `about/index.html`; then the other rules; then the fallback of a
/// single-page application; else the nearest `404.html` up the tree.
pub(crate) fn find<'a>(site: &'a Site, path: &str, raw: &str, may_fall_back: bool) -> Page<'a> {
    let redirects = &site.rules().redirects;
    if let Some(target) = redirects.find(path, true) {
        return follow(site, path, target);
    }
    let name = &path[1..];
    if let Some(entry) = site.file(name) {
        return Page::File(entry);
    }
    if let Some(entry) = clean(site, name) {
        return match other_address(site.rules().policy.slash, raw) {
            Some(address) => Page::Moved(StatusCode::PERMANENT_REDIRECT, address),
            None => Page::File(entry),
        };
    }
    if let Some(target) = redirects.find(path, false) {
        return follow(site, path, target);
    }
    let fallback = site.rules().policy.fallback.as_deref().filter(|_| may_fall_back);
    match fallback.and_then(|name| site.file(name)) {
        Some(entry) => Page::Fallback(entry),
        None => missing(site, name),
    }
}

/// Where a rule leads. A rewrite is to a file of the package; rules are not applied to it again.
fn follow<'a>(site: &'a Site, path: &str, target: Target) -> Page<'a> {
    if target.status.is_redirection() {
        return Page::Moved(target.status, target.to);
    }
    let to = target.to.split(['?', '#']).next().unwrap_or_default();
    let entry = target::path(to).and_then(|to| site.file(&to[1..]).or_else(|| clean(site, &to[1..])));
    match entry {
        Some(entry) if target.status == StatusCode::OK => Page::Fallback(entry),
        Some(entry) => Page::Missing(entry),
        None => missing(site, &path[1..]),
    }
}

/// The address that a page has under this policy, if it is not the one that was asked for; still percent-encoded.
fn other_address(slash: Slash, raw: &str) -> Option<String> {
    match (slash, raw.strip_suffix('/')) {
        (Slash::Add, None) => Some(format!("{raw}/")),
        (Slash::Strip, Some(shorter)) if !shorter.is_empty() => Some(shorter.to_owned()),
        _ => None,
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
