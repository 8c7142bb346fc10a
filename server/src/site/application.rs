//! `[app]` of `site.toml`: the paths that an application behind the server answers, and how.
//!
//! ```toml
//! [app]
//! routes    = ["/*", "!/static/*"]  # the paths of the application where no file answers; these are the defaults
//! stream    = ["/upload/*"]         # neither requests nor responses of these are buffered
//! body      = "100 MB"              # the most content of a request (413 above)
//! answer    = "60s"                 # how long the application may take to begin its response (504 after it)
//! websocket = true                  # whether WebSockets are passed to it
//! send_file = false                 # whether X-Sendfile and X-Accel-Redirect may name a file of the package
//! ```
//!
//! The keys of the process that the package brings are in [`process`](super::process). A table that is not understood lets no package pass the gate: its author meant something by it.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use super::{objection::Objection, pattern::Pattern};
use crate::semantics::target::ENCODED_SLASH;

/// The most routes, exclusions among them.
const MOST_ROUTES: usize = 100;
/// The keys of `[app]` that are about routes.
pub(super) const KEYS: &[&str] = &["routes", "stream", "body", "answer", "websocket", "send_file"];
/// The longest time to a response.
const LONGEST_ANSWER: Duration = Duration::from_secs(3600);

/// Which paths are the application's, and how its requests and responses are passed.
#[derive(Debug)]
pub(crate) struct ApplicationRules {
    routes: Routes,
    streamed: Vec<Pattern>,
    /// The most bytes of a request's content.
    pub(crate) body: u64,
    /// How long the application may take until its response begins.
    pub(crate) answer: Duration,
    /// Whether WebSockets are passed to it.
    pub(crate) websocket: bool,
    /// Whether its responses may name a file of the package to be sent instead.
    pub(crate) send_file: bool,
}

/// Patterns of paths, of which some exclude.
#[derive(Debug, Default)]
struct Routes {
    included: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ApplicationTable {
    routes: Vec<String>,
    stream: Vec<String>,
    body: Size,
    answer: String,
    websocket: bool,
    send_file: bool,
}

/// Bytes, as a number or with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

impl Default for ApplicationTable {
    fn default() -> Self {
        Self {
            routes: vec!["/*".into()],
            stream: Vec::new(),
            body: Size::Text("100 MB".into()),
            answer: "60s".into(),
            websocket: true,
            send_file: false,
        }
    }
}

impl Default for ApplicationRules {
    fn default() -> Self {
        Self {
            routes: Routes { included: vec![Pattern::everything()], excluded: Vec::new() },
            streamed: Vec::new(),
            body: 100_000_000,
            answer: Duration::from_secs(60),
            websocket: true,
            send_file: false,
        }
    }
}

impl ApplicationRules {
    /// Reads the keys of `[app]` that are in [`KEYS`].
    ///
    /// # Errors
    /// What is not understood, one sentence each.
    pub(super) fn parse(table: toml::Table) -> Result<Self, Vec<Objection>> {
        let written: ApplicationTable =
            table.try_into().map_err(|error: toml::de::Error| vec![Objection::package(error.message())])?;
        let mut faults = Vec::new();
        let routes = Routes::parse(&written.routes, "routes", &mut faults);
        let streamed = Routes::parse(&written.stream, "stream", &mut faults);
        if !streamed.excluded.is_empty() {
            faults.push("stream has a path that is excluded: name the paths that are streamed".into());
        }
        let body = match &written.body {
            Size::Bytes(bytes) => *bytes,
            Size::Text(text) => text.parse::<ByteSize>().map(|size| size.as_u64()).unwrap_or_else(|error| {
                faults.push(format!("body {text:?} is no size such as \"100 MB\": {error}"));
                0
            }),
        };
        let answer = humantime::parse_duration(&written.answer).unwrap_or_else(|error| {
            faults.push(format!("answer {:?} is no time such as \"60s\": {error}", written.answer));
            Duration::from_secs(1)
        });
        if answer.is_zero() || answer > LONGEST_ANSWER {
            faults.push(format!("answer {:?} is not between \"1ms\" and \"1h\"", written.answer));
        }
        if !faults.is_empty() {
            return Err(faults.into_iter().map(Objection::package).collect());
        }
        let websocket = written.websocket;
        let send_file = written.send_file;
        Ok(Self { routes, streamed: streamed.included, body, answer, websocket, send_file })
    }

    /// Whether the application answers for this decoded path (with its first slash) where no file does.
    ///
    /// Others may take an encoded slash or an empty segment for what it is not here, so both readings of such a path have to
    /// be the application's: no spelling leads past an exclusion.
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.routes.cover(path) && plainer(path).is_none_or(|other| self.routes.cover(&other))
    }

    /// Whether requests for this decoded path, and their responses, are passed on as they come.
    pub(crate) fn streams(&self, path: &str) -> bool {
        self.streamed.iter().any(|pattern| pattern.matches(path).is_some())
    }

    /// Whether every path is the application's.
    pub(crate) fn covers_all(&self) -> bool {
        self.routes.excluded.is_empty() && self.routes.included.iter().any(|pattern| *pattern == Pattern::everything())
    }
}

impl Routes {
    fn parse(written: &[String], key: &str, faults: &mut Vec<String>) -> Self {
        let mut routes = Self::default();
        if written.len() > MOST_ROUTES {
            faults.push(format!("{key} has {} paths, {MOST_ROUTES} are allowed", written.len()));
            return routes;
        }
        for text in written {
            let (excludes, path) = match text.strip_prefix('!') {
                Some(path) => (true, path),
                None => (false, text.as_str()),
            };
            match Pattern::parse(path) {
                Ok(pattern) if excludes => routes.excluded.push(pattern),
                Ok(pattern) => routes.included.push(pattern),
                Err(why) => faults.push(format!("{key} {text:?}: {why}")),
            }
        }
        routes
    }

    fn cover(&self, path: &str) -> bool {
        let matched = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path).is_some());
        matched(&self.included) && !matched(&self.excluded)
    }
}

/// The path as a program reads it that takes an encoded slash for a slash, and several slashes for one; none if that is the
/// same.
fn plainer(path: &str) -> Option<String> {
    if !path.contains(ENCODED_SLASH) && !path.contains("//") {
        return None;
    }
    let mut plain = String::with_capacity(path.len());
    for character in path.chars() {
        let character = if character == ENCODED_SLASH { '/' } else { character };
        if character != '/' || !plain.ends_with('/') {
            plain.push(character);
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ApplicationRules, Vec<Objection>> {
        ApplicationRules::parse(text.parse().unwrap())
    }

    #[test]
    fn everything_is_optional_and_may_be_said() {
        let rules = parse("").unwrap();
        assert_eq!(
            (rules.body, rules.answer, rules.websocket, rules.send_file),
            (100_000_000, Duration::from_secs(60), true, false)
        );
        assert!(rules.covers("/") && rules.covers("/a/b") && rules.covers_all() && !rules.streams("/"));
        let rules = parse(
            "routes = ['/api/*', '/admin/*', '!/api/old']\nstream = ['/api/events']\nbody = 10\nanswer = '1m'\nwebsocket = false\nsend_file = true",
        )
        .unwrap();
        assert_eq!(
            (rules.body, rules.answer, rules.websocket, rules.send_file),
            (10, Duration::from_secs(60), false, true)
        );
        assert!(rules.streams("/api/events") && !rules.streams("/api/x") && !rules.covers_all());
        assert_eq!(parse("body = '2 MiB'").unwrap().body, 2 << 20);
    }

    #[test]
    fn known_keys_are_those_that_are_read() {
        let faults = parse("unknown = 1").unwrap_err();
        assert_eq!(faults[0].text.split('`').skip(3).step_by(2).collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn no_spelling_of_a_path_leads_past_an_exclusion() {
        let rules = parse("routes = ['/*', '!/internal/*', '!/metrics']").unwrap();
        for (path, covered) in [
            ("/", true),
            ("/a//b", true),
            ("/a\u{1}b", true),
            ("/internal", false),
            ("/internal/", false),
            ("/internal/a", false),
            ("//internal/a", false),
            ("/internal//a", false),
            ("/internal\u{1}a", false),
            ("/\u{1}internal/a", false),
            ("/internals", true),
            ("/metrics", false),
            ("/metrics/", false),
            ("//metrics", false),
            ("/metrics\u{1}", false),
        ] {
            assert_eq!(rules.covers(path), covered, "{path:?}");
        }
        let rules = parse("routes = ['/api/*']").unwrap();
        for (path, covered) in [("/api/a", true), ("/api\u{1}a", false), ("//api/a", false), ("/apis", false)] {
            assert_eq!(rules.covers(path), covered, "{path:?}");
        }
    }

    #[test]
    fn table_that_is_not_understood_says_why() {
        let many = format!("routes = [{}]", "'/a', ".repeat(101));
        for (text, said) in [
            ("routs = ['/*']", "unknown field `routs`"),
            ("routes = ['api']", "routes \"api\": "),
            ("routes = ['/*/*']", "routes \"/*/*\": "),
            ("stream = ['!/a']", "stream has a path that is excluded"),
            ("body = 'much'", "body \"much\" is no size"),
            ("answer = 'soon'", "answer \"soon\" is no time"),
            ("answer = '0s'", "is not between"),
            ("answer = '2h'", "is not between"),
            ("websocket = 1", "invalid type"),
            (&many, "101 paths, 100 are allowed"),
        ] {
            let faults = parse(text).unwrap_err();
            assert!(faults.len() == 1 && faults[0].text.contains(said), "{text}: {faults:?}");
        }
    }
}
