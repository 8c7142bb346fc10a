//! Links of a site's own pages that lead nowhere, seen from where a visitor is: the address of a page, and not its file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use percent_encoding::{AsciiSet, CONTROLS};
use rayon::prelude::*;
use spothost_server::Site;
use url::Url;

use super::{Problem, folder::SiteFile};

/// What must be encoded of a file's name in the path of a URL (RFC 3986 §3.3), so that it stays one.
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'\\');

/// Longer pages are not read for links.
const LONGEST_PAGE: u64 = 16 << 20;
/// Where the site is thought to be: a reserved name (RFC 2606).
const ORIGIN: &str = "https://site.invalid";

/// A file that is shown at other addresses than its own: wherever nothing is found.
const NOT_FOUND: &str = "404.html";
/// Some address at which nothing is, below the folder of such a file.
const NOWHERE: &str = "no/such/page";

/// A link that leads nowhere.
struct Dead<'a> {
    /// As it stands in the page.
    link: String,
    /// The file of the page.
    page: &'a str,
    why: DeadLinkReason,
}

/// Why a link leads nowhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum DeadLinkReason {
    /// Nothing is there.
    Missing,
    /// It would lead somewhere from the page's file, and the page's address is another: that one.
    Address(String),
    /// It leads somewhere from the page's own address, but that page is shown everywhere.
    Everywhere,
}

/// What leads nowhere in the pages among `files`: a problem for each target, and one for all links that only the addresses of
/// their pages break; `site` is the package made of them.
pub(super) fn dead(site: &Site, files: &[SiteFile], domain: Option<&str>) -> Vec<Problem> {
    let is_read = |file: &&SiteFile| is_page(&file.name) && file.length <= LONGEST_PAGE && !file.is_of_the_program();
    let pages = files.par_iter().filter(is_read);
    let found: Vec<_> = pages.flat_map_iter(|page| dead_of(site, page, domain)).collect();
    let mut by_target: BTreeMap<(&DeadLinkReason, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut displaced = Vec::new();
    for dead in &found {
        match dead.why {
            DeadLinkReason::Address(_) => displaced.push(dead),
            DeadLinkReason::Missing | DeadLinkReason::Everywhere => {
                by_target.entry((&dead.why, &dead.link)).or_default().insert(dead.page);
            }
        }
    }
    let missing = by_target.into_iter().map(|((why, target), pages)| problem(why, target, &pages));
    missing.chain(displacement(&displaced)).collect()
}

fn problem(why: &DeadLinkReason, target: &str, pages: &BTreeSet<&str>) -> Problem {
    let first = pages.first().copied().unwrap_or_default();
    let others = match pages.len() {
        0 | 1 => String::new(),
        2 => "; so does another page".to_owned(),
        several => format!("; so do {} other pages", several - 1),
    };
    let said = match why {
        DeadLinkReason::Everywhere => format!(
            "links to {target}, which is not there wherever else this page is shown, such as at /{NOWHERE}: begin it with a slash{others}"
        ),
        DeadLinkReason::Missing | DeadLinkReason::Address(_) => {
            format!("links to {target}, which is not there{others}")
        }
    };
    Problem::doubtful(first, said)
}

/// The one problem of all links that would work from the files of their pages, and do not from their addresses.
fn displacement(displaced: &[&Dead<'_>]) -> Option<Problem> {
    let first = displaced.first()?;
    let DeadLinkReason::Address(address) = &first.why else { return None };
    let pages: BTreeSet<_> = displaced.iter().map(|dead| dead.page).collect();
    let links = displaced.len();
    let of = pages.len();
    let [links_are, pages] =
        [(links, "link"), (of, "page")].map(|(n, word)| format!("{n} {word}{}", if n == 1 { "" } else { "s" }));
    let lead = if links == 1 { "leads" } else { "lead" };
    let said = format!(
        "by its `slash` {links_are} of {pages} {lead} nowhere, such as {} in {}, whose address is {address}: leave `slash` out, or begin \
         links with a slash",
        first.link, first.page
    );
    Some(Problem::doubtful("site.toml", said))
}

fn dead_of<'a>(site: &Site, page: &'a SiteFile, domain: Option<&str>) -> Vec<Dead<'a>> {
    // A page without an address is read by no visitor.
    let Some(address) = site.address(&page.name) else { return Vec::new() };
    // A page that cannot be read by now is no package, which others say.
    let Ok(content) = fs::read(&page.path) else { return Vec::new() };
    let (links, base) = links(&content);
    let from = |path: &str| {
        let at = Url::parse(ORIGIN).and_then(|origin| origin.join(path)).ok()?;
        base.as_ref().map_or(Some(at.clone()), |base| at.join(base).ok())
    };
    let file = format!("/{}", percent_encoding::utf8_percent_encode(&page.name, IN_PATH));
    let folder = file.rfind('/').map_or("/", |slash| &file[..=slash]);
    let everywhere =
        page.name.rsplit('/').next().filter(|name| *name == NOT_FOUND).map(|_| format!("{folder}{NOWHERE}"));
    let Some(here) = from(&address) else { return Vec::new() };
    let there = from(&file);
    let everywhere = everywhere.and_then(|path| from(&path));
    let leads_nowhere_from =
        |base: &Option<Url>, link: &str| base.as_ref().is_some_and(|base| leads_nowhere(site, base, link, domain));
    let why = |link: &str| match leads_nowhere(site, &here, link, domain) {
        true if there.is_some() && !leads_nowhere_from(&there, link) => Some(DeadLinkReason::Address(address.clone())),
        true => Some(DeadLinkReason::Missing),
        false => leads_nowhere_from(&everywhere, link).then_some(DeadLinkReason::Everywhere),
    };
    let dead = links.iter().filter_map(|link| why(link).map(|why| Dead { link: link.clone(), page: &page.name, why }));
    dead.collect()
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
    let mut found = BTreeSet::new();
    let mut base = None;
    for Ok(token) in Tokenizer::new_with_emitter(content, emitter) {
        let Token::StartTag(tag) = token else { continue };
        if tag.name.as_slice() == b"base" {
            base = base.or_else(|| attribute(&tag, "href"));
        } else {
            // Hundreds of places of one page are one link to it.
            let pages = links_of(&tag).into_iter().map(|link| link.split('#').next().unwrap_or_default().to_owned());
            found.extend(pages.filter(|link| !link.is_empty()));
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

    const PAGE: &str = r##"<!doctype html><base href="/a/"><a href="b.html#x">b</a><a href="b.html#y">b</a><a href="/gone?q">g</a><a href=mailto:x@y>m</a>
        <a href="https://example.org/x">e</a><a href="#top">t</a><script src="app.js">'<a href="no">'</script>
        <img srcset="one.png 1x, two.png 2x" src="one.png"><link rel=preconnect href="/other"><a href='/%C3%A4'>ä</a>"##;

    #[test]
    fn links_are_what_a_browser_would_ask_for() {
        let (links, base) = links(PAGE.as_bytes());
        let links: Vec<_> = links.iter().map(String::as_str).collect();
        let expected =
            ["/%C3%A4", "/gone?q", "app.js", "b.html", "https://example.org/x", "mailto:x@y", "one.png", "two.png"];
        assert_eq!(links, expected);
        assert_eq!(base.as_deref(), Some("/a/"));
    }

    /// What is told of a site of these files.
    fn told(contents: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let write = |(name, content): &(&str, &str)| {
            let path: PathBuf = folder.path().join(name.replace('/', "-"));
            fs::write(&path, content).expect("written");
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).expect("started");
            zip.write_all(content.as_bytes()).expect("written");
            SiteFile { name: (*name).to_owned(), path, length: content.len() as u64, is_executable: false }
        };
        let files: Vec<_> = contents.iter().map(write).collect();
        let zip = zip.finish().expect("a zip").into_inner();
        let site = Site::from_bytes(zip.into(), &PackageLimits::default()).expect("a package");
        dead(&site, &files, Some("www.example.org")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn link_is_dead_when_no_host_would_lead_anywhere() {
        let told = told(&[
            ("index.html", PAGE),
            (
                "a/b.html",
                "<a href=c>c</a><a href=../b/d>d</a><a href=/missing>m</a><a href=https://www.example.org/none>n</a>",
            ),
            ("a/one.png", ""),
            ("a/app.js", ""),
            ("c.html", "<a href=/missing>"),
            ("a/c.html", ""),
            (
                "_redirects",
                "/b/* /c 302\n/old /gone 301\n/round /round-again\n/round-again /round\n/away https://example.org/ 301",
            ),
            ("ä.html", "<a href=/old><a href=/round><a href=/away><a href='ä'>"),
        ]);
        let expected = [
            "index.html: links to /gone?q, which is not there",
            "a/b.html: links to /missing, which is not there; so does another page",
            "ä.html: links to /old, which is not there",
            "ä.html: links to /round, which is not there",
            "a/b.html: links to https://www.example.org/none, which is not there",
            "index.html: links to two.png, which is not there",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn links_are_resolved_from_the_address_that_a_visitor_is_at() {
        let pages = [
            ("index.html", "<a href=docs><a href=about>"),
            ("docs/index.html", "<img src=a.png><a href=../about/><a href=./>"),
            ("docs/a.png", ""),
            ("about.html", "<img src=docs/a.png><a href=about>"),
        ];
        // By default a page has the one address from which its links work.
        assert_eq!(told(&pages), Vec::<String>::new());
        for (slash, expected) in [
            ("strip", "such as a.png in docs/index.html, whose address is /docs"),
            ("add", "such as about in about.html, whose address is /about/"),
        ] {
            let policy = format!("slash = \"{slash}\"");
            let told = told(&[&pages[..], &[("site.toml", &policy)]].concat());
            assert!(
                told.len() == 1 && told[0].starts_with("site.toml: by its `slash`") && told[0].contains(expected),
                "{told:?}"
            );
        }
        // From a wrong address nothing of this would be told.
        let told = told(&[("index.html", ""), ("docs/index.html", "<img src=docs/a.png>"), ("docs/a.png", "")]);
        assert_eq!(told, ["docs/index.html: links to docs/a.png, which is not there"]);
    }

    #[test]
    fn page_that_is_shown_everywhere_needs_links_that_work_everywhere() {
        let told = told(&[
            ("index.html", ""),
            ("style.css", ""),
            ("404.html", "<link rel=stylesheet href=style.css><a href=/>home</a><img src=/style.css><a href='#top'>"),
            ("de/404.html", "<base href=/de/><a href=index.html>"),
            ("de/index.html", ""),
        ]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("404.html: links to style.css, which is not there wherever else"), "{told:?}");
    }
}
