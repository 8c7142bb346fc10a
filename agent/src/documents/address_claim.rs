//! The claim to an Elastic IP, as an object beside the packages.

use serde::{Deserialize, Serialize};

use super::{Document, FIRST, first};

/// The claim to an Elastic IP. Replaced only by a conditional write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressClaim {
    /// Its format, as [`Document`] says.
    #[serde(default = "first")]
    pub format: u32,
    /// The claim in words, as the TXT record of a domain has it, without quotes.
    pub claim: String,
}

impl AddressClaim {
    /// The document with that claim.
    pub fn new(claim: String) -> AddressClaim {
        AddressClaim { format: FIRST, claim }
    }
}

impl Document for AddressClaim {
    const NAME: &'static str = "claim to an Elastic IP";
}
