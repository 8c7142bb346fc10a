//! What a host wants to hold: names, and the CAs that it may turn to.

use crate::place::Name;

/// The names to certify, and the CAs to ask.
#[derive(Clone, Debug)]
pub(super) struct DesiredCertificate {
    /// The names, the canonical one first.
    pub names: Vec<Name>,
    /// The CAs, the one that is tried first at the beginning. Never empty.
    pub authorities: Vec<AcmeCa>,
}

/// A CA, as far as what to do depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AcmeCa {
    /// URL of its directory.
    pub directory: String,
    /// Profile to order with.
    pub profile: Option<String>,
    /// URL of the directory of its staging environment, where a proof is tried that has failed before.
    pub staging: Option<String>,
}
