//! `site.toml`: what a package wants of its server. All of it is optional.
//!
//! ```toml
//! slash    = "auto"          # or "add", "strip", "keep": see [`Slash`]
//! fallback = "app.html"      # served with 200 where nothing is found, for single-page applications
//! hide     = ["drafts"]      # further files and folders that visitors never see, see [`Hidden`]
//! show     = [".nojekyll"]   # such as they see although they are hidden otherwise
//!
//! [cache]
//! pages         = "no-cache"                             # everything whose name does not change with its content
//! fingerprinted = "public, max-age=31536000, immutable"  # names such as app.3f9c1a7b.js
//! ```
//!
//! What stands under `[gate]` is told in [`gate`](super::gate), and under `[app]` in [`application`](super::application).

use http::HeaderValue;
use serde::Deserialize;

use super::{
    application::{self, ApplicationRules},
    caching,
    fingerprint::Fingerprint,
    gate::Gate,
    hidden::Hidden,
    name,
    note::Note,
    objection::Objection,
    process::{self, ProcessPlan, ProcessSettings},
};

const FILE: &str = "site.toml";
/// Its keys, and those of `[cache]`.
const KEYS: &[&str] = &["slash", "fallback", "hide", "show", "cache", "gate", "app"];
const CACHE_KEYS: &[&str] = &["pages", "fingerprinted"];

/// What a package wants of its server.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) slash: Slash,
    /// The normalised name of the file that is served where nothing is found.
    pub(crate) fallback: Option<String>,
    /// `Cache-Control` of what is asked for again each time.
    pub(crate) pages: HeaderValue,
    /// `Cache-Control` of what never changes.
    pub(crate) fingerprinted: HeaderValue,
    /// Which files visitors never see.
    pub(crate) hidden: Hidden,
    /// What has to answer before the package goes live.
    pub(crate) gate: Gate,
    /// Which paths an application answers, if there is one.
    pub(crate) app: ApplicationRules,
    /// Whether the package says so: it is made for an application.
    pub(crate) has_app: bool,
    /// The process that it brings for that.
    pub(crate) process: Option<ProcessPlan>,
    /// Why the package may not go live as it is.
    pub(crate) refusals: Vec<Objection>,
}

/// Which addresses a page has, that of `docs/index.html` and that of `about.html`. It is redirected from the others, but
/// for its own name.
///
/// Where there are both `docs.html` and `docs/index.html`, the slash always tells the two apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Slash {
    /// `/docs/` and `/about`: each where its relative links work.
    #[default]
    Auto,
    /// `/docs/` and `/about/`.
    Add,
    /// `/docs` and `/about`.
    Strip,
    /// With and without a slash alike; nothing is redirected.
    Keep,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    slash: Slash,
    fallback: Option<String>,
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    show: Vec<String>,
    #[serde(default)]
    cache: Cache,
    #[serde(default)]
    gate: toml::Table,
    app: Option<toml::Table>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    pages: Option<String>,
    fingerprinted: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            slash: Slash::Auto,
            fallback: None,
            pages: HeaderValue::from_static(caching::REVALIDATE),
            fingerprinted: HeaderValue::from_static(caching::IMMUTABLE),
            hidden: Hidden::default(),
            gate: Gate::default(),
            app: ApplicationRules::default(),
            has_app: false,
            process: None,
            refusals: Vec::new(),
        }
    }
}

impl Policy {
    /// The `Cache-Control` of a file that was asked for by its own name, which has that fingerprint.
    pub(crate) fn caching(&self, fingerprint: Fingerprint) -> HeaderValue {
        match fingerprint {
            Fingerprint::Certain => self.fingerprinted.clone(),
            Fingerprint::Likely | Fingerprint::None => self.pages.clone(),
        }
    }

    /// Reads the file, and what it says of the process. If the file is at fault as a whole, the defaults hold and it is noted.
    pub(crate) fn parse(text: &str, notes: &mut Vec<Note>) -> (Self, ProcessSettings) {
        // Some editors put a byte order mark before the first line.
        let text = text.trim_start_matches('\u{feff}');
        let mut unreadable = None;
        let file: File = toml::from_str(text).unwrap_or_else(|error| {
            let line = error.span().map_or(0, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let why = unknown_key(text).unwrap_or_else(|| Objection::package(error.message()));
            notes.push(Note::fault(FILE, line, format!("{why}; the whole file is ignored")));
            unreadable = Some(Gate::unreadable(text, &why));
            File::default()
        });
        let mut note = |text: String| notes.push(Note::fault(FILE, 0, text));
        let defaults = Self::default();
        let mut field = |key: &str, value: Option<String>, default: HeaderValue| match value.map(HeaderValue::try_from)
        {
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                note(format!("cache.{key} has characters that are not allowed in a field"));
                default
            }
            None => default,
        };
        let pages = field("pages", file.cache.pages, defaults.pages);
        let fingerprinted = field("fingerprinted", file.cache.fingerprinted, defaults.fingerprinted);
        let fallback = file.fallback.and_then(|wanted| match name::normalise(wanted.trim_start_matches('/')) {
            Ok(name) => Some(name.text),
            Err(reason) => {
                note(format!("fallback {reason}"));
                None
            }
        });
        let mut gate = unreadable.unwrap_or_else(|| Gate::parse(&file.gate));
        let hidden = Hidden::parse(&file.hide, &file.show, |fault| {
            note(fault.clone());
            // An author who meant to hide something would not want it seen.
            gate.faults.push(Objection::package(fault));
        });
        let has_app = file.app.is_some();
        let mut policy =
            Self { slash: file.slash, fallback, pages, fingerprinted, hidden, gate, has_app, ..Self::default() };
        let process = policy.read_application(file.app.unwrap_or_default(), notes);
        (policy, process)
    }

    /// Reads `[app]`, and what it says of the process.
    fn read_application(&mut self, table: toml::Table, notes: &mut Vec<Note>) -> ProcessSettings {
        let known = [application::KEYS, process::KEYS].concat();
        let mut faults = Vec::new();
        let mut of_routes = toml::Table::new();
        let mut of_process = toml::Table::new();
        for (key, value) in table {
            if application::KEYS.contains(&key.as_str()) {
                of_routes.insert(key, value);
            } else if process::KEYS.contains(&key.as_str()) {
                of_process.insert(key, value);
            } else {
                faults.push(Objection::unknown_key(&key, &known));
            }
        }
        let mut fault = |said: Vec<Objection>| faults.extend(said);
        self.app = ApplicationRules::parse(of_routes).map_err(&mut fault).unwrap_or_default();
        let process = ProcessSettings::parse(of_process).map_err(&mut fault).unwrap_or_default();
        self.refuse(faults.into_iter().map(|fault| fault.of("[app] is not understood")), notes);
        process
    }

    /// Takes the process of the package for the application of it.
    pub(crate) fn run(&mut self, planned: Result<Option<ProcessPlan>, Vec<Objection>>, notes: &mut Vec<Note>) {
        match planned {
            Ok(process) => {
                self.has_app |= process.is_some();
                self.process = process;
            }
            Err(faults) => self.refuse(faults, notes),
        }
        if self.fallback.is_some() && self.has_app && self.refusals.is_empty() && self.app.covers_all() {
            let said = "fallback and [app] routes both take every path where there is no file: leave out fallback, or name the \
                        application's paths, such as routes = [\"/api/*\"]";
            self.refuse([Objection::package(said)], notes);
        }
    }

    fn refuse(&mut self, why: impl IntoIterator<Item = Objection>, notes: &mut Vec<Note>) {
        for objection in why {
            notes.push(Note::fault(FILE, 0, objection.text.clone()));
            self.refusals.push(objection);
        }
    }
}

/// The key at fault of a file in which nothing else is wrong than keys that this version does not know.
fn unknown_key(text: &str) -> Option<Objection> {
    let mut table: toml::Table = text.parse().ok()?;
    let mut unknown = without_unknown(&mut table, KEYS);
    if let Some(toml::Value::Table(cache)) = table.get_mut("cache") {
        unknown = unknown.or(without_unknown(cache, CACHE_KEYS));
    }
    table.try_into::<File>().ok().and(unknown)
}

/// Takes the keys out of `table` that are not `known`, and tells of one of them.
fn without_unknown(table: &mut toml::Table, known: &[&str]) -> Option<Objection> {
    let first = table.keys().find(|key| !known.contains(&key.as_str())).map(|key| Objection::unknown_key(key, known));
    table.retain(|key, _| known.iter().any(|known| *key == **known));
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::objection::ObjectionCause;

    fn parse(text: &str) -> (Policy, Vec<String>) {
        let mut notes = Vec::new();
        let (policy, _) = Policy::parse(text, &mut notes);
        (policy, notes.iter().map(Note::to_string).collect())
    }

    #[test]
    fn everything_is_optional_and_may_be_said() {
        let (policy, notes) = parse("");
        assert_eq!((policy.slash, policy.fallback, notes.len()), (Slash::Auto, None, 0));
        let (policy, notes) = parse("\u{feff}slash = 'add'");
        assert_eq!((policy.slash, notes.len()), (Slash::Add, 0));
        let (policy, notes) = parse(
            "slash = 'strip'\nfallback = '/app.html'\n[cache]\npages = 'max-age=60'\nfingerprinted = 'max-age=61'",
        );
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!((policy.slash, policy.fallback.as_deref()), (Slash::Strip, Some("app.html")));
        assert_eq!(
            (policy.pages.to_str().unwrap(), policy.fingerprinted.to_str().unwrap()),
            ("max-age=60", "max-age=61")
        );
    }

    #[test]
    fn what_is_at_fault_is_noted_and_the_defaults_hold() {
        for (text, begins) in [
            ("slash = 'auto'\nslahs = 'add'", "site.toml:2: unknown field `slahs`"),
            ("slash = 'maybe'", "site.toml:1: unknown variant `maybe`"),
            ("slash = ", "site.toml:1: "),
            ("fallback = '../x'", "site.toml: fallback "),
            ("[cache]\npages = \"a\\nb\"", "site.toml: cache.pages "),
            ("hide = ['a//b']", "site.toml: hide \"a//b\" "),
            ("show = '.x'", "site.toml:1: "),
        ] {
            let (policy, notes) = parse(text);
            assert!(notes.len() == 1 && notes[0].starts_with(begins), "{text}: {notes:?}");
            assert_eq!((policy.slash, policy.fallback), (Slash::Auto, None));
        }
    }

    /// Why a package with that `site.toml` may not go live, and for whom that holds.
    fn refusals(text: &str) -> Vec<Objection> {
        let (mut policy, process) = Policy::parse(text, &mut Vec::new());
        policy.run(process.plan(None, |_| true), &mut Vec::new());
        policy.gate.faults.into_iter().chain(policy.refusals).collect()
    }

    #[test]
    fn what_this_version_does_not_know_is_no_fault_of_the_package() {
        for (text, cause) in [
            ("[app]\nrequires = ['KEY']", ObjectionCause::Version),
            ("[app]\nswap = 'later'", ObjectionCause::Version),
            ("[app]\nroutes = ['api']", ObjectionCause::Package),
            ("[app]\nenv.PORT = '1'", ObjectionCause::Package),
            ("later = 1\n[app]", ObjectionCause::Version),
            ("[later]\nx = 1\n[gate]\n'/' = 200", ObjectionCause::Version),
            ("[cache]\nlater = 1\n[gate]", ObjectionCause::Version),
            ("slash = 'maybe'\n[app]", ObjectionCause::Package),
            // What else is wrong is the package's fault, whatever is unknown beside it.
            ("later = 1\nslash = 1\n[app]", ObjectionCause::Package),
            ("[gate]\n'/' = { later = 1 }", ObjectionCause::Version),
            ("[gate]\nlater = 1", ObjectionCause::Version),
            ("[gate]\n'/' = 99", ObjectionCause::Package),
        ] {
            let refusals = refusals(text);
            assert!(refusals.len() == 1 && refusals[0].cause == cause, "{text}: {refusals:?}");
        }
        let both = refusals("[app]\nrequires = []\nlater = 1\nbody = 'much'");
        let causes: Vec<_> = both.iter().map(|objection| objection.cause).collect();
        assert_eq!(causes, [ObjectionCause::Version, ObjectionCause::Version, ObjectionCause::Package], "{both:?}");
        assert_eq!(refusals("[app]\nrun = 'x'\nroutes = ['/api/*']"), []);
        assert_eq!(refusals("fallback = 'a.html'\n[app]\nrun = 'x'").len(), 1, "both take every path");
    }

    #[test]
    fn known_keys_are_those_that_are_read() {
        let keys_of = |error: toml::de::Error| {
            error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let read = toml::from_str::<File>("unknown = 1").map_err(keys_of).err().unwrap();
        assert_eq!(read, KEYS);
        let read = toml::from_str::<Cache>("unknown = 1").map_err(keys_of).err().unwrap();
        assert_eq!(read, CACHE_KEYS);
    }
}
