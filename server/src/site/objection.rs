//! Why a package may not go live as it is, and for whom that holds.

use std::fmt;

/// One reason why a package may not go live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// What stands in the way, in one sentence.
    pub text: String,
    /// For whom it holds.
    pub cause: ObjectionCause,
}

/// For whom an [`Objection`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectionCause {
    /// The package is at fault, whichever host reads it.
    Package,
    /// The package says something that this version of the program does not know, such as a key of `site.toml`. Another version may
    /// know it, so that it holds for this host alone.
    Version,
    /// The host lacks what the package needs, such as leave to run its process, or the machine that its program is built for. Other
    /// hosts may have it.
    Host,
}

impl Objection {
    /// An objection that holds for every host.
    pub(crate) fn package(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: ObjectionCause::Package }
    }

    /// An objection to something that this version does not know.
    pub(crate) fn version(text: impl Into<String>) -> Self {
        Self { text: text.into(), cause: ObjectionCause::Version }
    }

    /// An objection to a key that this version does not know, beside those that it does.
    pub(crate) fn unknown_key(key: &str, known: &[&str]) -> Self {
        let known = known.join(", ");
        Self::version(format!(
            "unknown field `{key}`: correct its name, or have the hosts run a version of spothost that knows it (this one knows {known})"
        ))
    }

    /// The same, said of a part of the settings.
    #[must_use]
    pub(crate) fn of(self, part: &str) -> Self {
        Self { text: format!("{part}: {}", self.text), ..self }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
