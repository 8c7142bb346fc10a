//! Faults in a package's own settings, and what else should be known of them.

use std::fmt;

/// What somebody should know of a line of `_redirects`, `_headers`, `site.toml` or `.app/Procfile`: mostly a fault; then the line is
/// left out, the rest holds, the site is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file at fault, as it is named in the package.
    pub file: &'static str,
    /// The line at fault, counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong, and what would cure it.
    pub text: String,
    /// The host for which alone the line is, in lower case; labels that begin with `*` or `:` stand for any. Nothing is wrong
    /// with such a line: it is obeyed where that is the site's own name or an alias.
    pub host: Option<String>,
    /// Whether something is wrong with it.
    pub is_fault: bool,
}

impl Note {
    /// A line at fault, or with 0 a file.
    pub(crate) fn fault(file: &'static str, line: usize, text: impl Into<String>) -> Self {
        Self { file, line, text: text.into(), host: None, is_fault: true }
    }

    /// A line with which nothing is wrong, but which does not do all that its author may expect.
    pub(crate) fn hint(file: &'static str, line: usize, text: impl Into<String>) -> Self {
        Self { is_fault: false, ..Self::fault(file, line, text) }
    }

    /// A line that is for one host alone.
    pub(crate) fn of_host(file: &'static str, line: usize, host: &str) -> Self {
        let text = format!("this is for {host} alone, and obeyed if that is the site's domain or an alias");
        Self { file, line, text, host: Some(host.to_owned()), is_fault: false }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}
