//! `_redirects`, as Netlify and Cloudflare Pages read it.
//!
//! One rule a line: `from to [status][!]`; a word that begins with `#` begins a comment; the first rule that matches wins.
//! `from` is percent-decoded once, as the path of a request is. Where the two differ, this is what holds here:
//!
//! | | Netlify | Cloudflare Pages | here |
//! |---|---|---|---|
//! | a file of that name | wins, unless `!` | loses | wins, unless `!` |
//! | status unsaid | 301 | 302 | 301 |
//! | statuses | 200, 301, 302, 404 and more | 200, 301, 302, 303, 307, 308 | 200, 301, 302, 303, 307, 308, 403, 404, 410, 451 |
//! | `*` | at the end | anywhere | anywhere, once, only text behind it |
//! | `:name` | a whole segment | anywhere | at the beginning of a segment, and again in such a one; `Talk:Main` is text |
//! | one slash at the end | makes no difference | makes one | makes no difference |
//! | query | passed on | passed on | passed on before the fragment, unless the target has its own |
//! | other hosts | supported | not supported | the site's own name and its aliases; for others a note |
//! | proxying, conditions, query parameters | supported | not supported | not supported: a note |
//! | rules | unlimited | 2,000 plain, 100 with placeholders | 2,000 plain, 500 with placeholders |
//! | length of a line | unlimited | 1,000 | 2,000 bytes |

use std::collections::HashMap;

use http::StatusCode;

use super::{
    note::Note,
    pattern::{Captures, Pattern, name_length},
    place::{ForHost, Place, scheme},
};
use crate::semantics::target;

const FILE: &str = "_redirects";
const MOST_PLAIN: usize = 2_000;
const MOST_DYNAMIC: usize = 500;
const LONGEST_LINE: usize = 2_000;

/// The rules of a package, in their order.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    /// Rules without placeholders, by their path without a slash at the end.
    plain: HashMap<Box<str>, Vec<Rule>>,
    dynamic: Vec<(Pattern, Rule)>,
    any_forced: bool,
    any_for_host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: usize,
    host: Option<ForHost>,
    to: Box<str>,
    status: StatusCode,
    forced: bool,
}

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Among {
    /// All of them.
    All,
    /// Those that win over files.
    Forced,
    /// Those for one host alone, all of them: where the site has an alias, nothing else is.
    ForHost,
}

/// What a rule makes of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A path, or for redirects a URL too. Placeholders are filled in.
    pub(crate) to: String,
    pub(crate) status: StatusCode,
}

impl Redirects {
    /// Reads the rules; lines at fault are left out and noted.
    pub(crate) fn parse(text: &str, notes: &mut Vec<Note>) -> Self {
        let mut redirects = Self::default();
        // Some editors put a byte order mark before the first line.
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line_number = at + 1;
            match redirects.add(line_number, line) {
                Ok(None) => {}
                Ok(Some(host)) => notes.push(Note::of_host(FILE, line_number, &host)),
                Err(text) => notes.push(Note::fault(FILE, line_number, text)),
            }
        }
        redirects
    }

    /// What the first rule says that counts and matches this decoded path (with its first slash) at this place.
    pub(crate) fn find(&self, path: &str, place: &Place<'_>, among: Among) -> Option<Target> {
        let none = match among {
            Among::All => false,
            Among::Forced => !self.any_forced,
            Among::ForHost => !self.any_for_host,
        };
        if none {
            return None;
        }
        let counts = |rule: &Rule| match among {
            Among::All => rule.is_for(place),
            Among::Forced => rule.forced && rule.is_for(place),
            Among::ForHost => rule.host.is_some() && rule.is_for(place),
        };
        let plain = self.plain.get(without_slash(path)).into_iter().flatten().filter(|rule| counts(rule));
        let mut plain = plain.filter_map(|rule| Some((rule.line, rule.target(path, place, &Captures::default())?)));
        let first = plain.next();
        let before = first.as_ref().map_or(usize::MAX, |(line, _)| *line);
        let dynamic = self.dynamic.iter().take_while(|(_, rule)| rule.line < before).filter(|(_, rule)| counts(rule));
        for (pattern, rule) in dynamic {
            if let Some(target) = pattern.matches(path).and_then(|captures| rule.target(path, place, &captures)) {
                return Some(target);
            }
        }
        first.map(|(_, target)| target)
    }

    /// Adds the rule of a line, if there is one; the host, if it is for one alone.
    fn add(&mut self, line_number: usize, line: &str) -> Result<Option<String>, String> {
        let words: Vec<&str> = line.split_ascii_whitespace().take_while(|word| !word.starts_with('#')).collect();
        let (from, to, status) = match words[..] {
            [] => return Ok(None),
            _ if line.len() > LONGEST_LINE => return Err(format!("the line is longer than {LONGEST_LINE} bytes")),
            [from, to] => (from, to, "301"),
            [from, to, status] => (from, to, status),
            [_] => return Err("the target is missing: write `from to [status]`".into()),
            _ => return Err("only `from to [status]` is supported: no query parameters, no conditions".into()),
        };
        let (status, forced) = status.strip_suffix('!').map_or((status, false), |status| (status, true));
        let (host, from) = ForHost::take(from)?;
        let pattern = Pattern::parse(from)?;
        let status = status_code(status)?;
        let said = host.as_ref().map(|host| host.host().to_owned());
        let rule = Rule { line: line_number, host, to: written(to, status)?.into(), status, forced };
        rule.check(&pattern)?;
        self.insert(pattern, rule)?;
        Ok(said)
    }

    fn insert(&mut self, pattern: Pattern, rule: Rule) -> Result<(), String> {
        let forced = rule.forced;
        let for_host = rule.host.is_some();
        match pattern.literal() {
            Some(_) if self.plain.len() >= MOST_PLAIN => return Err(format!("there are more than {MOST_PLAIN} rules")),
            Some(path) => self.plain.entry(without_slash(path).into()).or_default().push(rule),
            None if self.dynamic.len() >= MOST_DYNAMIC => {
                return Err(format!("there are more than {MOST_DYNAMIC} rules with placeholders"));
            }
            None => self.dynamic.push((pattern, rule)),
        }
        self.any_forced |= forced;
        self.any_for_host |= for_host;
        Ok(())
    }
}

impl Rule {
    fn is_for(&self, place: &Place<'_>) -> bool {
        self.host.as_ref().is_none_or(|host| host.is_for(place))
    }

    /// The target may only use placeholders that the pattern has, and none for its host: a visitor would choose where it leads.
    fn check(&self, pattern: &Pattern) -> Result<(), String> {
        let host = scheme(&self.to).map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if pattern.names().any(|name| host.contains(&format!(":{name}"))) {
            return Err("a visitor would choose the target's host; write a slash before the placeholder".into());
        }
        let unknown = used(&self.to).find(|name| !pattern.names().any(|known| known == *name));
        unknown.map_or(Ok(()), |name| Err(format!("the target uses ':{name}', which the path does not have")))
    }

    /// `None` if it leads to where it comes from.
    fn target(&self, path: &str, place: &Place<'_>, captures: &Captures<'_>) -> Option<Target> {
        let to = fill(&self.to, captures);
        (!(self.status.is_redirection() && leads_back(&to, path, place))).then_some(Target { to, status: self.status })
    }
}

/// Whether this target leads a request for `path` back to where it came.
fn leads_back(to: &str, path: &str, place: &Place<'_>) -> bool {
    let rest = match scheme(to) {
        Some((secure, rest)) => {
            let (host, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            if !place.is_same(if secure { "https" } else { "http" }, host) {
                return false;
            }
            rest
        }
        None => to,
    };
    let to = rest.split(['?', '#']).next().unwrap_or_default();
    let to = target::path(if to.is_empty() { "/" } else { to });
    to.is_some_and(|to| without_slash(&to) == without_slash(path))
}

fn status_code(text: &str) -> Result<StatusCode, String> {
    match text {
        "200" | "301" | "302" | "303" | "307" | "308" | "403" | "404" | "410" | "451" => {
            text.parse().map_err(|_| "no status".into())
        }
        _ => Err(format!("status {text} is not supported; use 200, 301, 302, 303, 307, 308, 403, 404, 410 or 451")),
    }
}

/// The target as it may stand in a field: a path, or for redirects a URL, with what must be percent-encoded encoded.
fn written(to: &str, status: StatusCode) -> Result<String, String> {
    let url = scheme(to).map(|(_, rest)| rest);
    let path = to.starts_with('/') && !to.starts_with("//");
    if !(path || url.is_some() && status.is_redirection()) {
        return Err("the target must be a path, or for a redirect a URL with http or https; nothing is proxied".into());
    }
    let start = url.map_or(0, |rest| to.len() - rest.len() + rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (origin, rest) = to.split_at(start);
    let is_host = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\');
    if !origin.bytes().all(is_host) {
        return Err("the target's host has characters that it may not have; write it in its form with xn--".into());
    }
    if rest.contains(char::is_control) {
        return Err("the target has a control character".into());
    }
    let mut written = origin.to_owned();
    for (at, part) in rest.split('%').enumerate() {
        if at > 0 {
            let encoded = part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
            written.push_str(if encoded { "%" } else { "%25" });
        }
        written.extend(percent_encoding::utf8_percent_encode(part, NO_URL));
    }
    Ok(written)
}

/// What no URL may hold but percent-encoded, wherever it stands (RFC 3986 §2).
const NO_URL: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The placeholders that a target uses. A colon within a word, as in `/wiki/Talk:Main`, begins none, unless the path has a
/// placeholder of that name.
fn used(target: &str) -> impl Iterator<Item = &str> {
    let start = scheme(target).map_or(0, |(_, rest)| target.len() - rest.len());
    let path = &target[start..];
    path.match_indices(':').filter_map(move |(at, _)| {
        let within = path[..at].ends_with(|before: char| before.is_ascii_alphanumeric());
        match name_length(&path[at + 1..]) {
            0 => None,
            _ if within => None,
            length => Some(&path[at + 1..=at + length]),
        }
    })
}

/// The target with what the placeholders stood for, percent-encoded. A path cannot become another host's: it never begins
/// with two slashes, whatever the visitor asked for.
fn fill(target: &str, captures: &Captures<'_>) -> String {
    let scheme = scheme(target).map_or(0, |(_, rest)| target.len() - rest.len());
    let mut filled = target[..scheme].to_owned();
    let mut rest = &target[scheme..];
    while let Some(at) = rest.find(':') {
        filled.push_str(&rest[..at]);
        let length = name_length(&rest[at + 1..]);
        let name = &rest[at + 1..at + 1 + length];
        match captures.of(name) {
            Some(value) => filled.push_str(&target::encode(value)),
            None => filled.push_str(&rest[at..at + 1 + length]),
        }
        rest = &rest[at + 1 + length..];
    }
    filled.push_str(rest);
    if scheme == 0 && filled.starts_with("//") {
        return format!("/{}", filled.trim_start_matches('/'));
    }
    filled
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Redirects, Vec<String>) {
        let mut notes = Vec::new();
        let redirects = Redirects::parse(text, &mut notes);
        (redirects, notes.iter().map(Note::to_string).collect())
    }

    fn find(redirects: &Redirects, path: &str, among: Among) -> Option<(String, u16)> {
        redirects.find(path, &Place::unknown(), among).map(|target| (target.to, target.status.as_u16()))
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let (redirects, notes) = parse(
            "# comment\n\n/old /new\n/a/* /b/:splat 302\n/a/x /never\n/blog/:year/:slug /posts/:slug-:year 308 # why\n/app/* /app.html 200\n\
             /loop/* /loop/:splat\n/ext/* https://example.com:8443/:splat 307\n/gone /gone.html 404\n/s/* /:splat\n/query /q?x=1\n\
             /away /gone.html 410\n/* /index.html 200\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        for (path, to, status) in [
            ("/old", "/new", 301),
            ("/old/", "/new", 301),
            ("/a/x", "/b/x", 302),
            ("/a/ä b?", "/b/%C3%A4%20b%3F", 302),
            ("/a/b\u{1}c", "/b/b%2Fc", 302),
            ("/blog/2026/hello", "/posts/hello-2026", 308),
            ("/app/deep/path", "/app.html", 200),
            ("/loop/x", "/index.html", 200),
            ("/ext/a/b", "https://example.com:8443/a/b", 307),
            ("/gone", "/gone.html", 404),
            ("/away", "/gone.html", 410),
            ("/s//evil.example", "/evil.example", 301),
            ("/query", "/q?x=1", 301),
            ("/", "/index.html", 200),
        ] {
            assert_eq!(find(&redirects, path, Among::All), Some((to.into(), status)), "{path}");
            assert_eq!(find(&redirects, path, Among::Forced), None, "{path} is not forced");
        }
    }

    #[test]
    fn a_rule_is_read_as_the_editor_and_the_keyboard_left_it() {
        for (line, path, expected) in [
            ("\u{feff}/a /b", "/a", Some("/b")),
            ("\u{feff}# note\n/a /b", "/a", Some("/b")),
            ("/a /b\t# comment", "/a", Some("/b")),
            ("/a\t\t/b\t302\t#comment", "/a", Some("/b")),
            ("  /a /b  ", "/a", Some("/b")),
            ("/a /b\r\n/c /d\r\n", "/c", Some("/d")),
            ("/my%20page /a", "/my page", Some("/a")),
            ("/caf%C3%A9 /b", "/caf\u{e9}", Some("/b")),
            ("/caf%c3%a9/* /b/:splat", "/caf\u{e9}/x y", Some("/b/x%20y")),
            ("/alte%20seiten/* /neu/:splat", "/alte seiten/x", Some("/neu/x")),
            ("/100% /b", "/100%", Some("/b")),
            ("/100%25 /b", "/100%", Some("/b")),
            ("/%252F /b", "/%2F", Some("/b")),
            ("/a%2Fb /b", "/a\u{1}b", Some("/b")),
            ("/%3Aname /b", "/:name", Some("/b")),
            ("/a%2A /b", "/a*", Some("/b")),
            ("/a /\u{fc}ber", "/a", Some("/%C3%BCber")),
            ("/a /\u{fc}ber#\u{e4}", "/a", Some("/%C3%BCber#%C3%A4")),
            ("/a /100%", "/a", Some("/100%25")),
            ("/a /100%25", "/a", Some("/100%25")),
            ("/a /{x}|\"y\"", "/a", Some("/%7Bx%7D%7C%22y%22")),
            ("/a /x\\y", "/a", Some("/x%5Cy")),
            ("/a https://example.com/\u{fc}?q=\u{fc}", "/a", Some("https://example.com/%C3%BC?q=%C3%BC")),
            ("/a HTTPS://example.com/", "/a", Some("HTTPS://example.com/")),
            ("/wiki/Talk:Main /talk", "/wiki/Talk:Main", Some("/talk")),
            ("/wiki/Talk:Main /talk", "/wiki/TalkX", None),
            ("/talk /wiki/Talk:Main", "/talk", Some("/wiki/Talk:Main")),
            ("/n/:id /wiki/Number:id", "/n/7", Some("/wiki/Number7")),
            ("/n/:id /x?id=:id#:id", "/n/7", Some("/x?id=7#7")),
            ("/b/:year-:month /:month/:year", "/b/2026-11", Some("/11/2026")),
        ] {
            let (redirects, notes) = parse(line);
            assert_eq!(notes, Vec::<String>::new(), "{line:?}");
            let found = find(&redirects, path, Among::All).map(|(to, _)| to);
            assert_eq!(found.as_deref(), expected, "{line:?} {path}");
        }
    }

    #[test]
    fn forced_rules_win_over_files() {
        let (redirects, _) = parse("/a /b\n/a /c 302!\n/x/* /y 200!\n");
        assert_eq!(find(&redirects, "/a", Among::Forced).unwrap().0, "/c");
        assert_eq!(find(&redirects, "/a", Among::All).unwrap().0, "/b");
        assert_eq!(find(&redirects, "/x/1", Among::Forced).unwrap().0, "/y");
    }

    #[test]
    fn a_rule_never_leads_back_to_where_the_request_came() {
        let is_own = |name: &str| matches!(name, "www.example.org" | "example.org");
        let at = |secure, host, canonical| Place { secure, host, canonical, is_own: &is_own };
        let home = at(true, "www.example.org", true);
        for (rule, path, place, expected) in [
            ("/a /a", "/a", home, None),
            ("/a /a/", "/a", home, None),
            ("/a /a?x=1", "/a", home, None),
            ("/a /a#x", "/a", home, None),
            ("/caf\u{e9}/* /caf%C3%A9/:splat", "/caf\u{e9}/x", home, None),
            ("/* https://www.example.org/:splat", "/x", home, None),
            ("/* https://WWW.example.org:443/:splat", "/x", home, None),
            ("/* https://www.example.org", "/", home, None),
            // An alias is sent here, and so is HTTP.
            ("/* https://www.example.org:3000/:splat", "/x", home, Some("https://www.example.org:3000/x")),
            ("/* https://example.org/:splat", "/x", home, None),
            ("/* http://www.example.org/:splat", "/x", home, None),
            ("/* https://example.com/:splat", "/x", home, Some("https://example.com/x")),
            ("/* https://www.example.org/y/:splat", "/x", home, Some("https://www.example.org/y/x")),
            ("https://www.example.org/* https://example.org/:splat", "/x", home, None),
            (
                "https://example.org/* https://www.example.org/:splat",
                "/x",
                at(true, "example.org", false),
                Some("https://www.example.org/x"),
            ),
            (
                "http://www.example.org/* https://www.example.org/:splat",
                "/x",
                at(false, "www.example.org", false),
                Some("https://www.example.org/x"),
            ),
            ("http://example.org/* http://example.org/:splat", "/x", at(false, "example.org", false), None),
        ] {
            let (redirects, _) = parse(rule);
            let found = redirects.find(path, &place, Among::All).map(|target| target.to);
            assert_eq!(found.as_deref(), expected, "{rule} {path} {place:?}");
        }
    }

    #[test]
    fn a_rule_for_a_host_is_obeyed_there_alone_and_noted() {
        let (redirects, notes) = parse("https://blog.example.org/* /blog/:splat 302!\n/x /y\n");
        let said = "_redirects:1: this is for blog.example.org alone";
        assert!(notes.len() == 1 && notes[0].starts_with(said), "{notes:?}");
        let blog = Place { secure: true, host: "blog.example.org", canonical: false, is_own: &|_| true };
        for (path, place, among, expected) in [
            ("/a", blog, Among::All, Some("/blog/a")),
            ("/a", blog, Among::Forced, Some("/blog/a")),
            ("/a", blog, Among::ForHost, Some("/blog/a")),
            ("/x", Place::unknown(), Among::All, Some("/y")),
            ("/x", Place::unknown(), Among::ForHost, None),
            ("/a", Place::unknown(), Among::All, None),
            ("/a", Place { secure: false, ..blog }, Among::All, None),
        ] {
            let found = redirects.find(path, &place, among).map(|target| target.to);
            assert_eq!(found.as_deref(), expected, "{path} {place:?} {among:?}");
        }
    }

    #[test]
    fn a_line_at_fault_is_left_out_and_noted() {
        let long = format!("/a /{}", "b".repeat(2_000));
        for (line, about) in [
            ("/a", "the target is missing"),
            ("/a # /b", "the target is missing"),
            ("/a /b 418", "status 418 is not supported"),
            ("/a /b 301 Country=de", "no conditions"),
            ("/a id=:id /b 301", "no query parameters"),
            ("/a https://example.com/ 200", "nothing is proxied"),
            ("/a //example.com", "nothing is proxied"),
            ("/a javascript:alert(1)", "nothing is proxied"),
            ("/a https://m\u{fc}ller.example/", "xn--"),
            ("https://m\u{fc}ller.example/ /a", "xn--"),
            ("a /b", "must begin with '/'"),
            ("/a?x=1 /b", "'?'"),
            ("/a#x /b", "'#'"),
            ("/a/../b /c", "'.' or '..'"),
            ("/a%00 /c", "control character"),
            ("/a\\b /c", "backslash"),
            ("/a%ff /c", "not UTF-8"),
            ("/a/* /b/:spalt", "':spalt'"),
            ("/* https://example.com:splat", "write a slash before"),
            ("/* https://:splat.example.com/", "write a slash before"),
            ("/:lang/* https://:lang.example.com/:splat", "write a slash before"),
            ("/*/x/* /b", "behind '*'"),
            ("/a /b\u{7f}", "control character"),
            (&long, "longer than 2000 bytes"),
        ] {
            let (redirects, notes) = parse(&format!("{line}\n/fine /target"));
            assert_eq!(notes.len(), 1, "{line}: {notes:?}");
            assert!(notes[0].starts_with("_redirects:1: ") && notes[0].contains(about), "{line}: {}", notes[0]);
            assert!(find(&redirects, "/fine", Among::All).is_some(), "{line}");
        }
        let many: String = (0..2_001).map(|number| format!("/{number} /x\n")).collect();
        assert_eq!(parse(&many).1, ["_redirects:2001: there are more than 2000 rules"]);
    }
}
