//! The problems of a site before it is published.

use std::fmt;

use serde::Serialize;
use spothost_server::Refused;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// No package can hold it, or no host would serve that package.
    Stops,
    /// It could be served, but hardly as it is meant; published only with `--lenient`.
    Wrong,
    /// A note for a person. It is published.
    Doubtful,
}

/// One problem, with what cures it where that is not plain. They are ordered as people read them: the worst first, then file by
/// file, and within a file by its lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// How much it matters.
    pub weight: Weight,
    /// What it is about: a file, or the package.
    pub about: String,
    /// The line of that file, counted from 1; none where all of it is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong.
    pub said: String,
}

impl Problem {
    /// A problem that stops a publication.
    pub(super) fn stops(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Stops, about: about.into(), line: None, said: said.to_string() }
    }

    /// What a host would say of a package that it does not serve.
    pub(super) fn refused(refused: &Refused) -> Problem {
        Problem::stops(refused.entry().unwrap_or("the package"), refused.reason())
    }

    /// A problem that stops a publication, unless `--lenient` is given.
    pub(super) fn wrong(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Wrong, about: about.into(), line: None, said: said.to_string() }
    }

    /// The same problem, of a line of that file; 0 stands for all of it, as in [`spothost_server::Note`].
    #[must_use]
    pub(super) fn at_line(self, line: usize) -> Problem {
        Problem { line: Some(line).filter(|line| *line > 0), ..self }
    }

    /// A problem that is only noted.
    pub(super) fn doubtful(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Doubtful, about: about.into(), line: None, said: said.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.about, self.said),
            None => write!(f, "{}: {}", self.about, self.said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_as_people_read_them() {
        let mut problems = [
            Problem::doubtful("_redirects", "d").at_line(1),
            Problem::wrong("_redirects", "c").at_line(10),
            Problem::wrong("_redirects", "b").at_line(9),
            Problem::wrong("_redirects", "a").at_line(0),
            Problem::wrong("_headers", "e").at_line(100),
            Problem::stops("x.html", "f"),
        ];
        problems.sort();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let expected =
            ["x.html: f", "_headers:100: e", "_redirects: a", "_redirects:9: b", "_redirects:10: c", "_redirects:1: d"];
        assert_eq!(told, expected);
    }
}
