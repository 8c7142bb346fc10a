//! How a verdict is told to people.

use std::fmt;

use crate::{
    clock::moment,
    documents::{Verdict, VerdictOutcome},
};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match &self.verdict {
            VerdictOutcome::Refused => "refused",
            VerdictOutcome::Good => "found good",
            VerdictOutcome::Other(word) => word,
        };
        write!(f, "{outcome} by {} at {}", self.by, moment(self.at))?;
        if !self.reasons.is_empty() {
            write!(f, ": {}", self.reasons.join("; "))?;
        }
        Ok(())
    }
}
