//! `[gate]` of `site.toml`: what has to answer, and how, before the package goes live.
//!
//! ```toml
//! [gate]
//! index         = true                        # the front page answers; false for a package that has none
//! "/about"      = 200
//! "/old"        = { status = 301, header = { location = "/about" } }
//! "/search?q=x" = { contains = "Nothing found" }
//! ```
//!
//! A value is a status, or a table of `status` (200 if it is not said), `header` (each field has to contain the text) and
//! `contains` (a text of the content). A gate that is not understood lets nothing pass: its author meant something by it.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, StatusCode};
use memchr::memmem;
use serde::Deserialize;

use super::objection::Objection;

/// No package needs more, and all of them are asked before it goes live.
const MOST_CHECKS: usize = 1_000;

/// What has to answer, and how.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Whether the front page has to answer, with itself or with a redirect.
    pub(crate) index: bool,
    /// What else has to.
    pub(crate) checks: Vec<Check>,
    /// What was not understood.
    pub(crate) faults: Vec<Objection>,
}

/// How one target has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Path and query; begins with `/`.
    pub target: String,
    /// The status.
    pub status: StatusCode,
    /// Fields, and what each of them has to contain.
    pub header: Vec<(HeaderName, String)>,
    /// What the content has to contain.
    pub contains: Option<String>,
}

impl Check {
    /// Holds an answer against the status and the fields.
    ///
    /// # Errors
    /// The part of a sentence about what is wrong, which the target begins.
    pub fn fits(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
        if status != self.status {
            return Err(format!("answers {}, not {}", status.as_u16(), self.status.as_u16()));
        }
        for (name, wanted) in &self.header {
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            if !values.any(|value| value.contains(wanted.as_str())) {
                return Err(format!("has no field {name} that contains {wanted:?}"));
            }
        }
        Ok(())
    }

    /// Holds the content of an answer against what it has to contain.
    ///
    /// # Errors
    /// As [`fits`](Self::fits).
    pub fn is_contained(&self, content: &[u8]) -> Result<(), String> {
        let missing = self.contains.as_ref().filter(|wanted| memmem::find(content, wanted.as_bytes()).is_none());
        missing.map_or(Ok(()), |wanted| Err(format!("does not contain {wanted:?}")))
    }
}

/// The keys of a check.
const KEYS: &[&str] = &["status", "header", "contains"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    status: Option<u16>,
    #[serde(default)]
    header: BTreeMap<String, String>,
    contains: Option<String>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { index: true, checks: Vec::new(), faults: Vec::new() }
    }
}

impl Gate {
    /// Reads the table.
    pub(crate) fn parse(table: &toml::Table) -> Self {
        let mut gate = Self::default();
        for (key, value) in table {
            match (key.as_str(), value) {
                ("index", toml::Value::Boolean(index)) => gate.index = *index,
                ("index", _) => gate.faults.push(Objection::package("index is neither true nor false")),
                (target, value) if target.starts_with('/') => match check(target, value) {
                    Ok(check) => gate.checks.push(check),
                    Err(fault) => {
                        gate.faults.push(Objection { text: format!("{target:?} {}", fault.text), ..fault });
                    }
                },
                (other, _) => gate
                    .faults
                    .push(Objection::version(format!("{other:?} is neither `index` nor a path that begins with /"))),
            }
        }
        if gate.checks.len() > MOST_CHECKS {
            let said = format!("{} paths, {MOST_CHECKS} are allowed", gate.checks.len());
            gate.faults.push(Objection::package(said));
            gate.checks.clear();
        }
        gate
    }

    /// The gate of a `site.toml` that cannot be read: closed, if it speaks of one at all, or of an application, or of files that
    /// no visitor may see.
    pub(crate) fn unreadable(text: &str, why: &Objection) -> Self {
        let begins = |line: &str| line.trim_start().trim_start_matches('[').trim_start().to_owned();
        let speaks =
            text.lines().map(begins).any(|line| ["gate", "hide", "app"].iter().any(|key| line.starts_with(key)));
        let faults = if speaks { vec![why.clone().of("site.toml cannot be read")] } else { Vec::new() };
        Self { faults, ..Self::default() }
    }
}

fn check(target: &str, value: &toml::Value) -> Result<Check, Objection> {
    if let toml::Value::Table(table) = value
        && let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str()))
    {
        return Err(Objection::unknown_key(unknown, KEYS));
    }
    known_check(target, value).map_err(Objection::package)
}

fn known_check(target: &str, value: &toml::Value) -> Result<Check, String> {
    let written = match value {
        toml::Value::Integer(status) => Written {
            status: Some(u16::try_from(*status).map_err(|_| format!("has no status: {status}"))?),
            header: BTreeMap::new(),
            contains: None,
        },
        toml::Value::Table(table) => table.clone().try_into().map_err(|e: toml::de::Error| e.message().to_owned())?,
        _ => return Err("is neither a status nor a table of `status`, `header` and `contains`".into()),
    };
    let status = written.status.unwrap_or(200);
    let known = (200..600).contains(&status);
    let status = StatusCode::from_u16(status).ok().filter(|_| known).ok_or(format!("has no status: {status}"))?;
    let field = |(name, contains): (String, String)| {
        HeaderName::try_from(&name).map(|name| (name, contains)).map_err(|_| format!("has no header: {name}"))
    };
    let header = written.header.into_iter().map(field).collect::<Result<_, _>>()?;
    Ok(Check { target: target.to_owned(), status, header, contains: written.contains })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Gate {
        Gate::parse(&text.parse().expect("TOML"))
    }

    #[test]
    fn gate_is_read_as_it_is_written() {
        let gate = parse(
            "index = false\n'/a' = 200\n'/b' = { contains = 'x' }\n'/c' = { status = 301, header = { Location = '/a' } }",
        );
        assert!(!gate.index && gate.faults.is_empty(), "{gate:?}");
        let check = |target: &str, status| Check {
            target: target.into(),
            status: StatusCode::from_u16(status).expect("a status"),
            header: Vec::new(),
            contains: None,
        };
        assert_eq!(gate.checks.len(), 3);
        assert_eq!(gate.checks[0], check("/a", 200));
        assert_eq!(gate.checks[1], Check { contains: Some("x".into()), ..check("/b", 200) });
        let header = vec![(http::header::LOCATION, "/a".to_owned())];
        assert_eq!(gate.checks[2], Check { header, ..check("/c", 301) });
        assert!(parse("").index);
    }

    #[test]
    fn gate_that_is_not_understood_says_why() {
        for (text, said) in [
            ("index = 1", "index is neither"),
            ("'about' = 200", "neither `index` nor a path"),
            ("'/a' = 99", "no status"),
            ("'/a' = 700", "no status"),
            ("'/a' = -1", "no status"),
            ("'/a' = 'yes'", "neither a status nor a table"),
            ("'/a' = { stauts = 200 }", "unknown field"),
            ("'/a' = { header = { 'a b' = 'x' } }", "no header"),
        ] {
            let gate = parse(text);
            assert!(gate.faults.len() == 1 && gate.faults[0].text.contains(said), "{text}: {:?}", gate.faults);
        }
    }

    #[test]
    fn known_keys_are_those_that_are_read() {
        let error = toml::from_str::<Written>("unknown = 1").err().expect("unknown");
        assert_eq!(error.message().split('`').skip(3).step_by(2).collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn file_that_cannot_be_read_closes_the_gate_it_speaks_of() {
        for (text, faults) in
            [("slash = ", 0), ("slash = \n[ gate ]", 1), ("gate.'/a' = = 1", 1), ("hide = ['drafts'", 1)]
        {
            assert_eq!(Gate::unreadable(text, &Objection::package("x")).faults.len(), faults, "{text}");
        }
    }
}
