//! Links of a site's own pages that lead nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use rayon::prelude::*;
use spothost_server::Site;
use url::Url;

use super::{Problem, folder::File};

/// Longer pages are not read for links.
const LONGEST_PAGE: u64 = 16 << 20;
/// Where the site is thought to be: a name that nobody has (RFC 2606).
const ORIGIN: &str = "https://site.invalid";

/// What lead nowhere in the pages among `files`, a problem for each target; `site` is the package made of them.
pub(super) fn dead(site: &Site, files: &[File], domain: Option<&str>) -> Vec<Problem> {
    let pages = files.par_iter().filter(|file| is_page(&file.name) && file.length <= LONGEST_PAGE);
    let found: Vec<_> = pages.flat_map_iter(|page| dead_of(site, page, domain)).collect();
    let mut by_target: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (target, page) in found {
        by_target.entry(target).or_default().insert(page);
    }
    by_target.into_iter().map(|(target, pages)| problem(&target, &pages)).collect()
}

fn problem(target: &str, pages: &BTreeSet<&str>) -> Problem {
    let first = pages.first().copied().unwrap_or_default();
    let others = match pages.len() {
        0 | 1 => String::new(),
        2 => "; so does another page".to_owned(),
        several => format!("; so do {} other pages", several - 1),
    };
    Problem::doubtful(first, format!("links to {target}, which is not there{others}"))
}

fn dead_of<'a>(site: &Site, page: &'a File, domain: Option<&str>) -> Vec<(String, &'a str)> {
    // A page that cannot be read by now is no package, which others say.
    let Ok(content) = fs::read(&page.path) else { return Vec::new() };
    let (links, base) = links(&content);
    let bases = addresses(&page.name).into_iter().filter_map(|address| match &base {
        Some(base) => address.join(base).ok(),
        None => Some(address),
    });
    let bases: Vec<_> = bases.collect();
    let is_dead = |link: &&String| bases.iter().all(|base| leads_nowhere(site, base, link, domain));
    links.iter().filter(is_dead).map(|link| (link.clone(), page.name.as_str())).collect()
}

/// The addresses at which a page is known: a relative link means something else where the address ends with a slash.
fn addresses(name: &str) -> Vec<Url> {
    let at = |path: &str| {
        let mut url = Url::parse(ORIGIN).ok()?;
        url.set_path(path);
        Some(url)
    };
    let folder = name.strip_suffix(".html").filter(|stem| !stem.ends_with("index"));
    at(name).into_iter().chain(folder.and_then(|stem| at(&format!("{stem}/")))).collect()
}

fn leads_nowhere(site: &Site, base: &Url, link: &str, domain: Option<&str>) -> bool {
    // What is no URL at all is left to browsers, which are lenient in ways of their own.
    let Ok(target) = base.join(link) else { return false };
    let own = target.host_str() == base.host_str() || domain.is_some_and(|domain| target.host_str() == Some(domain));
    own && matches!(target.scheme(), "http" | "https") && !site.leads_somewhere(target.path())
}

/// What a page links to, and its `<base href>` if it has one.
fn links(content: &[u8]) -> (BTreeSet<String>, Option<String>) {
    let mut emitter = DefaultEmitter::default();
    // So that what looks like a tag in a script is none.
    emitter.naively_switch_states(true);
    let (mut found, mut base) = (BTreeSet::new(), None);
    for Ok(token) in Tokenizer::new_with_emitter(content, emitter) {
        let Token::StartTag(tag) = token else { continue };
        if tag.name.as_slice() == b"base" {
            base = base.or_else(|| attribute(&tag, "href"));
        } else {
            found.extend(links_of(&tag));
        }
    }
    (found, base)
}

fn links_of(tag: &StartTag<()>) -> Vec<String> {
    let names: &[&str] = match tag.name.as_slice() {
        b"a" | b"area" => &["href"],
        b"link" => &["href"],
        b"script" | b"iframe" | b"embed" | b"audio" | b"track" => &["src"],
        b"img" | b"source" => &["src", "srcset"],
        b"input" => &["src"],
        b"video" => &["src", "poster"],
        b"object" => &["data"],
        _ => return Vec::new(),
    };
    // Hints to other hosts are no links.
    let relation = attribute(tag, "rel").unwrap_or_default().to_ascii_lowercase();
    if relation.split_ascii_whitespace().any(|word| matches!(word, "preconnect" | "dns-prefetch")) {
        return Vec::new();
    }
    let values = names.iter().filter_map(|name| attribute(tag, name).map(|value| (*name, value)));
    values.flat_map(|(name, value)| if name == "srcset" { candidates(&value) } else { vec![value] }).collect()
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    let value = String::from_utf8_lossy(value.as_slice());
    let value = value.trim();
    (!value.is_empty() && !value.starts_with('#')).then(|| value.to_owned())
}

/// The URLs of a `srcset`: each is followed by a description and a comma (HTML §4.8.4.2.1).
fn candidates(value: &str) -> Vec<String> {
    if value.contains("data:") {
        return Vec::new();
    }
    let first = |candidate: &str| candidate.split_ascii_whitespace().next().map(str::to_owned);
    value.split(", ").flat_map(|part| part.split(",\n")).filter_map(first).collect()
}

fn is_page(name: &str) -> bool {
    name.ends_with(".html") || name.ends_with(".htm")
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, path::PathBuf};

    use spothost_server::PackageLimits;

    use super::*;

    const PAGE: &str = r##"<!doctype html><base href="/a/"><a href="b.html#x">b</a><a href="/gone?q">g</a><a href=mailto:x@y>m</a>
        <a href="https://example.org/x">e</a><a href="#top">t</a><script src="app.js">'<a href="no">'</script>
        <img srcset="one.png 1x, two.png 2x" src="one.png"><link rel=preconnect href="/other"><a href='/%C3%A4'>ä</a>"##;

    #[test]
    fn links_are_what_a_browser_would_ask_for() {
        let (links, base) = links(PAGE.as_bytes());
        let links: Vec<_> = links.iter().map(String::as_str).collect();
        let expected =
            ["/%C3%A4", "/gone?q", "app.js", "b.html#x", "https://example.org/x", "mailto:x@y", "one.png", "two.png"];
        assert_eq!(links, expected);
        assert_eq!(base.as_deref(), Some("/a/"));
    }

    #[test]
    fn link_is_dead_when_no_host_would_lead_anywhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let contents = [
            ("index.html", PAGE),
            (
                "a/b.html",
                "<a href=c>c</a><a href=../b/d>d</a><a href=/missing>m</a><a href=https://www.example.org/none>n</a>",
            ),
            ("a/one.png", ""),
            ("a/app.js", ""),
            ("c.html", "<a href=/missing>"),
            ("a/c.html", ""),
            ("_redirects", "/b/* /c 302"),
            ("ä.html", ""),
        ];
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let files = contents.map(|(name, content)| {
            let path: PathBuf = folder.path().join(name.replace('/', "-"));
            fs::write(&path, content).expect("written");
            zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("started");
            zip.write_all(content.as_bytes()).expect("written");
            File { name: name.to_owned(), path, length: content.len() as u64 }
        });
        let zip = zip.finish().expect("a zip").into_inner();
        let site = Site::from_bytes(zip.into(), &PackageLimits::default()).expect("a package");
        let told: Vec<_> = dead(&site, &files, Some("www.example.org")).iter().map(ToString::to_string).collect();
        let expected = [
            "index.html: links to /gone?q, which is not there",
            "a/b.html: links to /missing, which is not there; so does another page",
            "a/b.html: links to https://www.example.org/none, which is not there",
            "index.html: links to two.png, which is not there",
        ];
        assert_eq!(told, expected);
    }
}
