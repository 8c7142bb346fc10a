//! `_redirects`, as Netlify and Cloudflare Pages read it.
//!
//! One rule a line: `from to [status][!]`; `#` begins a comment; the first rule that matches wins. Where the two differ, this
//! is what holds here:
//!
//! | | Netlify | Cloudflare Pages | here |
//! |---|---|---|---|
//! | a file of that name | wins, unless `!` | loses | wins, unless `!` |
//! | status unsaid | 301 | 302 | 301 |
//! | statuses | 200, 301, 302, 404 and more | 200, 301, 302, 303, 307, 308 | 200, 301, 302, 303, 307, 308, 404 |
//! | `*` | at the end | anywhere | anywhere, once, only text behind it |
//! | one slash at the end | makes no difference | makes one | makes no difference |
//! | query | passed on | passed on | passed on, unless the target has its own |
//! | proxying, conditions, query parameters, other hosts | supported | not supported | not supported: a note |
//! | rules | unlimited | 2,000 plain, 100 with placeholders | 2,000 plain, 500 with placeholders |
//! | length of a line | unlimited | 1,000 | 2,000 bytes |

use std::collections::HashMap;

use http::StatusCode;

use super::{
    note::Note,
    pattern::{Captures, Pattern, name_length},
};
use crate::respond::target;

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: usize,
    to: Box<str>,
    status: StatusCode,
    forced: bool,
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
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(text) = redirects.add(at + 1, line) {
                notes.push(Note { file: FILE, line: at + 1, text });
            }
        }
        redirects
    }

    /// What the first rule says that matches this decoded path (with its first slash). With `forced`, only rules that win
    /// over files count.
    pub(crate) fn find(&self, path: &str, forced: bool) -> Option<Target> {
        if forced && !self.any_forced {
            return None;
        }
        let counts = |rule: &&Rule| rule.forced || !forced;
        let plain = self.plain.get(without_slash(path)).and_then(|rules| rules.iter().find(counts));
        let first = plain.map_or(usize::MAX, |rule| rule.line);
        let dynamic = self.dynamic.iter().take_while(|(_, rule)| rule.line < first).filter(|(_, rule)| counts(&rule));
        for (pattern, rule) in dynamic {
            if let Some(target) = pattern.matches(path).and_then(|captures| rule.target(path, &captures)) {
                return Some(target);
            }
        }
        plain?.target(path, &Captures::default())
    }

    fn add(&mut self, line_number: usize, line: &str) -> Result<(), String> {
        if line.len() > LONGEST_LINE {
            return Err(format!("the line is longer than {LONGEST_LINE} bytes"));
        }
        let line = line.split_once(" #").map_or(line, |(rule, _)| rule);
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (from, to, status) = match words[..] {
            [from, to] => (from, to, "301"),
            [from, to, status] => (from, to, status),
            [_] => return Err("the target is missing: write `from to [status]`".into()),
            _ => return Err("only `from to [status]` is supported: no query parameters, no conditions".into()),
        };
        let (status, forced) = status.strip_suffix('!').map_or((status, false), |status| (status, true));
        let pattern = Pattern::parse(from)?;
        let rule = Rule { line: line_number, to: to.into(), status: status_code(status)?, forced };
        rule.check(&pattern)?;
        self.insert(pattern, rule)
    }

    fn insert(&mut self, pattern: Pattern, rule: Rule) -> Result<(), String> {
        let forced = rule.forced;
        match pattern.literal() {
            Some(_) if self.plain.len() >= MOST_PLAIN => return Err(format!("there are more than {MOST_PLAIN} rules")),
            Some(path) => self.plain.entry(without_slash(path).into()).or_default().push(rule),
            None if self.dynamic.len() >= MOST_DYNAMIC => {
                return Err(format!("there are more than {MOST_DYNAMIC} rules with placeholders"));
            }
            None => self.dynamic.push((pattern, rule)),
        }
        self.any_forced |= forced;
        Ok(())
    }
}

impl Rule {
    /// The target must be a path, or for redirects a URL, and may only use placeholders that the pattern has.
    fn check(&self, pattern: &Pattern) -> Result<(), String> {
        let url = self.to.starts_with("https://") || self.to.starts_with("http://");
        let path = self.to.starts_with('/') && !self.to.starts_with("//");
        if !(path || url && self.status.is_redirection()) {
            return Err(
                "the target must be a path, or for a redirect a URL with http or https; nothing is proxied".into()
            );
        }
        if !self.to.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'<' | b'>' | b'\\')) {
            return Err("the target has characters that must be percent-encoded".into());
        }
        let unknown = used(&self.to).find(|name| !pattern.names().any(|known| known == *name));
        unknown.map_or(Ok(()), |name| Err(format!("the target uses ':{name}', which the path does not have")))
    }

    /// `None` if it leads to where it comes from.
    fn target(&self, path: &str, captures: &Captures<'_>) -> Option<Target> {
        let to = fill(&self.to, captures);
        let leads_nowhere = self.status.is_redirection() && without_slash(&to) == without_slash(path);
        (!leads_nowhere).then_some(Target { to, status: self.status })
    }
}

fn status_code(text: &str) -> Result<StatusCode, String> {
    match text {
        "200" | "301" | "302" | "303" | "307" | "308" | "404" => text.parse().map_err(|_| "no status".into()),
        _ => Err(format!("status {text} is not supported; use 200, 301, 302, 303, 307, 308 or 404")),
    }
}

/// The placeholders that a target uses.
fn used(target: &str) -> impl Iterator<Item = &str> {
    let path = target.find("://").map_or(target, |at| &target[at + 3..]);
    path.split(':').skip(1).filter_map(|after| match name_length(after) {
        0 => None,
        length => Some(&after[..length]),
    })
}

/// The target with what the placeholders stood for, percent-encoded. A path cannot become another host's: it never begins
/// with two slashes, whatever the visitor asked for.
fn fill(target: &str, captures: &Captures<'_>) -> String {
    let scheme = target.find("://").map_or(0, |at| at + 3);
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

    #[test]
    fn the_first_rule_that_matches_wins() {
        let (redirects, notes) = parse(
            "# comment\n\n/old /new\n/a/* /b/:splat 302\n/a/x /never\n/blog/:year/:slug /posts/:slug-:year 308 # why\n/app/* /app.html 200\n\
             /loop/* /loop/:splat\n/ext/* https://example.com:8443/:splat 307\n/gone /gone.html 404\n/s/* /:splat\n/query /q?x=1\n/* /index.html 200\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        for (path, to, status) in [
            ("/old", "/new", 301),
            ("/old/", "/new", 301),
            ("/a/x", "/b/x", 302),
            ("/a/ä b?", "/b/%C3%A4%20b%3F", 302),
            ("/blog/2026/hello", "/posts/hello-2026", 308),
            ("/app/deep/path", "/app.html", 200),
            ("/loop/x", "/index.html", 200),
            ("/ext/a/b", "https://example.com:8443/a/b", 307),
            ("/gone", "/gone.html", 404),
            ("/s//evil.example", "/evil.example", 301),
            ("/query", "/q?x=1", 301),
            ("/", "/index.html", 200),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(redirects.find(path, false), Some(Target { to: to.into(), status }), "{path}");
            assert_eq!(redirects.find(path, true), None, "{path} is not forced");
        }
    }

    #[test]
    fn forced_rules_win_over_files() {
        let (redirects, _) = parse("/a /b\n/a /c 302!\n/x/* /y 200!\n");
        assert_eq!(redirects.find("/a", true).unwrap().to, "/c");
        assert_eq!(redirects.find("/a", false).unwrap().to, "/b");
        assert_eq!(redirects.find("/x/1", true).unwrap().to, "/y");
    }

    #[test]
    fn a_line_at_fault_is_left_out_and_noted() {
        let long = format!("/a /{}", "b".repeat(2_000));
        for (line, about) in [
            ("/a", "the target is missing"),
            ("/a /b 418", "status 418 is not supported"),
            ("/a /b 301 Country=de", "no conditions"),
            ("/a id=:id /b 301", "no query parameters"),
            ("/a https://example.com/ 200", "nothing is proxied"),
            ("/a //example.com", "nothing is proxied"),
            ("/a javascript:alert(1)", "nothing is proxied"),
            ("https://example.org/a /b", "other hosts are not supported"),
            ("/a/* /b/:spalt", "':spalt'"),
            ("/*/x/* /b", "behind '*'"),
            ("/a /b\u{e4}", "percent-encoded"),
            (&long, "longer than 2000 bytes"),
        ] {
            let (redirects, notes) = parse(&format!("{line}\n/fine /target"));
            assert_eq!(notes.len(), 1, "{line}");
            assert!(notes[0].starts_with("_redirects:1: ") && notes[0].contains(about), "{line}: {}", notes[0]);
            assert!(redirects.find("/fine", false).is_some(), "{line}");
        }
        let many: String = (0..2_001).map(|number| format!("/{number} /x\n")).collect();
        assert_eq!(parse(&many).1, ["_redirects:2001: there are more than 2000 rules"]);
    }
}
