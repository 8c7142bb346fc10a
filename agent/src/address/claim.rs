//! The claim: who may move the names, written beside them.
//!
//! One TXT record `_spothost.<domain>` with one string: `spothost=1 epoch=7 instance=i-… launched=… version=…`.
//! The epoch is a fencing token: every batch deletes the exact claim it read and creates one with the next epoch, so
//! Route 53 refuses the batch of a host that read an older one.

use std::{cmp::Ordering, fmt};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{config::Name, host::Host};

/// Who holds the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// One more with every batch.
    pub(super) epoch: u64,
    /// The instance.
    pub(super) instance: String,
    /// When it was launched.
    pub(super) launched: OffsetDateTime,
}

/// The name of the record that holds the claim to `domain`.
pub(super) fn claim_name(domain: &Name) -> String {
    format!("_spothost.{domain}")
}

impl Claim {
    /// The claim of `host` in that epoch.
    pub(super) fn of(host: &Host, epoch: u64) -> Claim {
        Claim { epoch, instance: host.instance.clone(), launched: host.launched }
    }

    /// Reads a TXT value as the zone holds it, in its quotes. Words that are not known are left to newer programs.
    ///
    /// # Errors
    /// In one phrase, why it is no claim.
    pub(super) fn parse(value: &str) -> Result<Claim, String> {
        let not = |why: &str| format!("{value} is no claim of spothost: {why}");
        let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(|| not("no quotes"))?;
        let mut words = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        if words.next() != Some(("spothost", "1")) {
            return Err(not("it does not begin with spothost=1"));
        }
        let (mut epoch, mut instance, mut launched) = (None, None, None);
        for (key, word) in words {
            match key {
                "epoch" => epoch = word.parse().ok(),
                "instance" => instance = Some(word.to_owned()),
                "launched" => launched = OffsetDateTime::parse(word, &Rfc3339).ok(),
                _ => {}
            }
        }
        Ok(Claim {
            epoch: epoch.ok_or_else(|| not("no epoch"))?,
            instance: instance.ok_or_else(|| not("no instance"))?,
            launched: launched.ok_or_else(|| not("no launch time"))?,
        })
    }

    /// How the claimant stands to `host` in the order of launches, which is total: the instance id settles a tie.
    pub(super) fn launched_against(&self, host: &Host) -> Ordering {
        self.launched.cmp(&host.launched).then_with(|| self.instance.cmp(&host.instance))
    }

    /// The value of the TXT record, in its quotes.
    pub(super) fn value(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let launched = self.launched.format(&Rfc3339).map_err(|_| fmt::Error)?;
        let version = env!("CARGO_PKG_VERSION");
        write!(f, "spothost=1 epoch={} instance={} launched={launched} version={version}", self.epoch, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn claim_reads_back_as_it_was_written() {
        let claim = Claim { epoch: 7, instance: "i-0ab".into(), launched: datetime!(2026-11-21 12:00 UTC) };
        assert!(claim.value().len() < 255, "one TXT string holds 255 bytes");
        assert_eq!(Claim::parse(&claim.value()), Ok(claim));
    }

    #[test]
    fn words_of_newer_programs_are_passed_over() {
        let value = "\"spothost=1 epoch=7 departing instance=i-1 mood=good launched=2026-11-21T12:00:00Z\"";
        assert_eq!(Claim::parse(value).map(|claim| claim.epoch), Ok(7));
    }

    #[test]
    fn what_is_no_claim_says_why() {
        let table = [
            ("", "no quotes"),
            ("\"", "no quotes"),
            ("\"v=spf1 -all\"", "does not begin with spothost=1"),
            ("\"spothost=2 epoch=1\"", "does not begin with spothost=1"),
            ("\"spothost=1 epoch=x instance=i launched=2026-11-21T12:00:00Z\"", "no epoch"),
            ("\"spothost=1 epoch=1 launched=2026-11-21T12:00:00Z\"", "no instance"),
            ("\"spothost=1 epoch=1 instance=i launched=yesterday\"", "no launch time"),
        ];
        for (value, reason) in table {
            let why = Claim::parse(value).expect_err(value);
            assert!(why.ends_with(reason), "{why}");
        }
    }
}
