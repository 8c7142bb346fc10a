//! The claim: who may move the names, written beside them.
//!
//! One TXT record `_spothost.<domain>` with one string:
//! `spothost=1 epoch=7 instance=i-… launched=… at=… package=… version=…`, with `departing` once its host goes, or
//! `departing=asked` when the fleet was asked for a successor, or with `waiting` while it waits for its first certificate.
//! The epoch is a fencing token: every batch deletes the exact claim it read and creates one with the next epoch, so
//! Route 53 refuses the batch of a host that read an older one.

use std::{cmp::Ordering, fmt, net::IpAddr};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{config::Name, host::Host};

/// Who holds the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// One more with every batch.
    pub epoch: u64,
    /// The instance.
    pub instance: String,
    /// When it was launched.
    pub launched: OffsetDateTime,
    /// Where it answers. The records say that too, but people can change them by hand.
    pub at: Option<IpAddr>,
    /// Whether it says that it goes, so that anybody may follow.
    pub departing: bool,
    /// Whether it can only say yet that it waits for its certificate, so that any host which has one may follow.
    pub waiting: bool,
    /// Whether it has asked the fleet for a successor, whose place is to be given back once it is gone.
    pub asked: bool,
    /// The host that was passed over, because it was silent or said that it goes: it may not take the names back by
    /// being the younger one.
    pub over: Option<String>,
    /// How many hosts the fleet is to have at rest, as the first claim found it.
    pub target: Option<u32>,
    /// The package that was served when the claim was written: the beginning of its entity tag.
    pub package: Option<String>,
    /// Version of the program that wrote it.
    pub version: Option<String>,
}

/// The name of the record that holds the claim to `domain`.
pub fn claim_name(domain: &Name) -> String {
    format!("_spothost.{domain}")
}

/// As much of a word as a claim has room for, without what would end it.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')).take(20).collect()
}

impl Claim {
    /// The claim of `host` in that epoch, written by this program.
    pub fn of(host: &Host, epoch: u64) -> Claim {
        Claim {
            epoch,
            instance: host.instance.clone(),
            launched: host.launched,
            at: host.public(),
            departing: false,
            waiting: false,
            asked: false,
            over: None,
            target: None,
            package: None,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// The same with that package, named by its entity tag.
    #[must_use]
    pub fn serving(self, etag: &str) -> Claim {
        Claim { package: Some(word(etag)).filter(|package| !package.is_empty()), ..self }
    }

    /// Reads a TXT value as the zone holds it, in its quotes. Words that are not known are left to newer programs.
    ///
    /// # Errors
    /// In one phrase, why it is no claim.
    pub fn parse(value: &str) -> Result<Claim, String> {
        let not = |why: &str| format!("{value} is no claim of spothost: {why}");
        let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or_else(|| not("no quotes"))?;
        let mut words = text.split_ascii_whitespace().map(|word| word.split_once('=').unwrap_or((word, "")));
        if words.next() != Some(("spothost", "1")) {
            return Err(not("it does not begin with spothost=1"));
        }
        let (mut epoch, mut instance, mut launched) = (None, None, None);
        let (mut at, mut departing, mut waiting, mut asked) = (None, false, false, false);
        let (mut over, mut target, mut package, mut version) = (None, None, None, None);
        for (key, word) in words {
            match key {
                "epoch" => epoch = word.parse().ok(),
                "instance" => instance = Some(word.to_owned()).filter(|word| !word.is_empty()),
                "launched" => launched = OffsetDateTime::parse(word, &Rfc3339).ok(),
                "at" => at = word.parse().ok(),
                "departing" => (departing, asked) = (true, word == "asked"),
                "waiting" => waiting = true,
                "over" => over = Some(word.to_owned()),
                "target" => target = word.parse().ok(),
                "package" => package = Some(word.to_owned()),
                "version" => version = Some(word.to_owned()),
                _ => {}
            }
        }
        Ok(Claim {
            epoch: epoch.ok_or_else(|| not("no epoch"))?,
            instance: instance.ok_or_else(|| not("no instance"))?,
            launched: launched.ok_or_else(|| not("no launch time"))?,
            at,
            departing,
            waiting,
            asked,
            over,
            target,
            package,
            version,
        })
    }

    /// How the claimant stands to `host` in the order of launches, which is total: the instance id settles a tie.
    pub fn launched_against(&self, host: &Host) -> Ordering {
        self.launched.cmp(&host.launched).then_with(|| self.instance.cmp(&host.instance))
    }

    /// The value of the TXT record, in its quotes.
    pub fn value(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let launched = self.launched.format(&Rfc3339).map_err(|_| fmt::Error)?;
        write!(f, "spothost=1 epoch={} instance={} launched={launched}", self.epoch, self.instance)?;
        if let Some(at) = self.at {
            write!(f, " at={at}")?;
        }
        if let Some(over) = &self.over {
            write!(f, " over={over}")?;
        }
        if let Some(target) = self.target {
            write!(f, " target={target}")?;
        }
        if let Some(package) = &self.package {
            write!(f, " package={package}")?;
        }
        if let Some(version) = &self.version {
            write!(f, " version={version}")?;
        }
        // Of one that goes, nothing else matters.
        match (self.departing, self.asked) {
            (false, _) if self.waiting => f.write_str(" waiting"),
            (false, _) => Ok(()),
            (true, false) => f.write_str(" departing"),
            (true, true) => f.write_str(" departing=asked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use time::macros::datetime;

    use super::*;

    fn full() -> Claim {
        Claim {
            epoch: 10_000_000_000,
            instance: "i-0123456789abcdef0".into(),
            launched: datetime!(2026-11-21 12:00 UTC),
            at: Some(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff).into()),
            departing: true,
            waiting: false,
            asked: true,
            over: Some("i-0fedcba9876543210".into()),
            target: Some(10_000),
            package: None,
            version: Some("0.1.0".into()),
        }
        .serving("\"d41d8cd98f00b204e9800998ecf8427e-10000\"")
    }

    #[test]
    fn claim_reads_back_as_it_was_written() {
        assert!(full().value().len() < 257, "one TXT string holds 255 bytes, and its quotes come beside them");
        assert_eq!(Claim::parse(&full().value()), Ok(full()));
        let unasked = Claim { asked: false, ..full() };
        assert_eq!(Claim::parse(&unasked.value()), Ok(unasked));
        let waiting = Claim { departing: false, asked: false, waiting: true, ..full() };
        assert!(waiting.value().len() < 257);
        assert_eq!(Claim::parse(&waiting.value()), Ok(waiting));
        let least = Claim {
            at: None,
            departing: false,
            asked: false,
            over: None,
            target: None,
            package: None,
            version: None,
            ..full()
        };
        assert_eq!(Claim::parse(&least.value()), Ok(least));
    }

    #[test]
    fn package_is_one_word_whatever_its_entity_tag_is() {
        let claim = full().serving("\"a b\"=\u{e9}\\c");
        assert_eq!(claim.package.as_deref(), Some("abc"));
        assert_eq!(Claim::parse(&claim.value()), Ok(claim));
    }

    #[test]
    fn words_of_newer_programs_are_passed_over() {
        let value = "\"spothost=1 epoch=7 merry instance=i-1 mood=good launched=2026-11-21T12:00:00Z\"";
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
