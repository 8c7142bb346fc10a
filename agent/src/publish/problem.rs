//! What is wrong with a site before it is published.

use std::fmt;

use serde::Serialize;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// No package can hold it, or no host would serve that package.
    Stops,
    /// It could be served, but hardly as it is meant; published only when somebody says so.
    Wrong,
    /// Somebody should know. It is published.
    Doubtful,
}

/// One problem, with what cures it where that is not plain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub weight: Weight,
    /// What it is about: a file, a line of a file, or the package.
    pub about: String,
    /// What is wrong.
    pub said: String,
}

impl Problem {
    /// A problem that stops a publication.
    pub(super) fn stops(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Stops, about: about.into(), said: said.to_string() }
    }

    /// A problem that stops a publication unless somebody says otherwise.
    pub(super) fn wrong(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Wrong, about: about.into(), said: said.to_string() }
    }

    /// A problem that somebody should know of.
    pub(super) fn doubtful(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Doubtful, about: about.into(), said: said.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.said)
    }
}
