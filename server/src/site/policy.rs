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
    application::ApplicationRules, caching, fingerprint::Fingerprint, gate::Gate, hidden::Hidden, name, note::Note,
};

const FILE: &str = "site.toml";

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
    /// Why the package may not go live as it is, one sentence each.
    pub(crate) refusals: Vec<String>,
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

    /// Reads the file. If it is at fault as a whole, the defaults hold and it is noted.
    pub(crate) fn parse(text: &str, notes: &mut Vec<Note>) -> Self {
        // Some editors put a byte order mark before the first line.
        let text = text.trim_start_matches('\u{feff}');
        let mut unreadable = None;
        let file: File = toml::from_str(text).unwrap_or_else(|error| {
            unreadable = Some(Gate::unreadable(text, error.message()));
            let line = error.span().map_or(0, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            notes.push(Note::fault(FILE, line, format!("{}; none of it is used", error.message())));
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
            // Whoever meant to hide something would not want it seen.
            gate.faults.push(fault);
        });
        let mut refusals = Vec::new();
        let has_app = file.app.is_some();
        let app = ApplicationRules::parse(&file.app.unwrap_or_default()).unwrap_or_else(|faults| {
            refusals.extend(faults.iter().map(|fault| format!("[app] is not understood: {fault}")));
            ApplicationRules::default()
        });
        if fallback.is_some() && has_app && refusals.is_empty() && app.covers_all() {
            refusals.push(
                "fallback and [app] routes both take every path where there is no file: leave out fallback, or name the \
                 application's paths, such as routes = [\"/api/*\"]"
                    .into(),
            );
        }
        notes.extend(refusals.iter().map(|refusal| Note::fault(FILE, 0, refusal.clone())));
        Self { slash: file.slash, fallback, pages, fingerprinted, hidden, gate, app, has_app, refusals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Policy, Vec<String>) {
        let mut notes = Vec::new();
        let policy = Policy::parse(text, &mut notes);
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
}
