//! What is wrong with a site before it is published.

use std::{cmp::Ordering, fmt};

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
///
/// The worst come first, then what is about one file together, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

    /// What it is about, with a number where that is a line of a file: the tenth comes behind the second.
    fn place(&self) -> (&str, u64, &str) {
        let line = self.about.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?)));
        let (file, line) = line.unwrap_or((&self.about, 0));
        (file, line, &self.about)
    }

    /// A problem that somebody should know of.
    pub(super) fn doubtful(about: impl Into<String>, said: impl fmt::Display) -> Problem {
        Problem { weight: Weight::Doubtful, about: about.into(), said: said.to_string() }
    }
}

impl Ord for Problem {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_place = || self.place().cmp(&other.place());
        self.weight.cmp(&other.weight).then_with(by_place).then_with(|| self.said.cmp(&other.said))
    }
}

impl PartialOrd for Problem {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_lines() {
        let wrong = |about: &str| Problem::wrong(about, "x");
        let mut problems =
            vec![wrong("_redirects:10"), wrong("_redirects:2"), wrong("_redirects"), wrong("_headers:3")];
        problems.push(Problem::doubtful("_headers:1", "x"));
        problems.sort();
        let order: Vec<_> = problems.iter().map(|problem| problem.about.as_str()).collect();
        assert_eq!(order, ["_headers:3", "_redirects", "_redirects:2", "_redirects:10", "_headers:1"]);
    }
}
