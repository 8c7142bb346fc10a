//! Faults in a package's own settings.

use std::fmt;

/// A fault in `_redirects`, `_headers` or `site.toml`: the line is left out, the rest holds, the site is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file at fault, as it is named in the package.
    pub file: &'static str,
    /// The line at fault, counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong, and what would cure it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}
