//! The claim: who may move the names, written beside them.
//!
//! One TXT record `_spothost.<domain>` with one string:
//! `spothost=1 epoch=7 instance=i-… launched=… at=… in=eu-central-1/123456789012 package=… version=…`, with `departing` once
//! its host goes, or `departing=asked` when the fleet was asked for a successor, or with `waiting` while it waits for its
//! first certificate. `in` says which EC2 knows the instance, and whose fleet `target` is about; `also` says the same of the
//! fleet of the last owner that was elsewhere. Programs that do not know a word pass it over.
//! The epoch is a fencing token: every batch deletes the exact claim it read and creates one with the next epoch, so
//! Route 53 refuses the batch of a host that read an older one.

use std::{cmp::Ordering, fmt, net::IpAddr};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    aws::Host,
    documents::layout,
    place::{Location, Name},
};

mod failure_detector;
mod name_service;
mod peer_memory;
pub(crate) mod records;
mod routing;
pub(crate) mod store;
mod takeover;

#[cfg(test)]
pub(crate) use failure_detector::DOUBT;
pub use failure_detector::FailureDetector;
pub use name_service::NameService;
pub(crate) use peer_memory::{PeerMemory, is_alive, told};
pub use routing::{RoutedElsewhere, RoutedHere, Routing};
pub use takeover::{
    Liveness, Takeover, TakeoverReason, could_know, is_instance_id, liveness, takeover, takeover_without_certificate,
};

/// The longest string of a TXT record, in bytes (RFC 1035 §3.3).
const LONGEST: usize = 255;
/// So much of an entity tag at most.
const OF_PACKAGE: usize = 20;
/// Less of an entity tag names nothing.
const LEAST_OF_PACKAGE: usize = 8;

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
    /// Where the instance is, so that others know whether the EC2 that they ask could know it.
    pub location: Option<Location>,
    /// How many hosts the fleet there is to have at rest, as the first claim found it.
    pub target: Option<u32>,
    /// The same of the fleet of the last owner that was elsewhere.
    pub elsewhere: Option<(Location, u32)>,
    /// The package that was served when the claim was written: the first characters of its ETag.
    pub package: Option<String>,
    /// Version of the program that wrote it.
    pub version: Option<String>,
}

/// The name of the record that holds the claim to `domain`.
pub fn claim_name(domain: &Name) -> String {
    layout::claim_record(domain)
}

/// As much of a word as a claim has room for, without what would end it.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')).take(OF_PACKAGE).collect()
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
            location: host.location(),
            target: None,
            elsewhere: None,
            package: None,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// Whether the claimant may be in that region of that account: it is not, where both are known and differ. Older
    /// programs do not say where they are.
    pub fn may_be_in(&self, here: Option<&Location>) -> bool {
        match (&self.location, here) {
            (Some(there), Some(here)) => there == here,
            _ => true,
        }
    }

    /// How many hosts the fleet `here` has at rest, as far as the claim tells: another fleet's number says nothing of it.
    pub fn target_in(&self, here: Option<&Location>) -> Option<u32> {
        if self.may_be_in(here) {
            self.target
        } else {
            self.elsewhere.as_ref().filter(|(there, _)| Some(there) == here).map(|(_, target)| *target)
        }
    }

    /// In which epoch a host of the fleet `here` has asked it for a successor, whose place is to be given back.
    pub fn asked_in(&self, here: Option<&Location>) -> Option<u64> {
        (self.asked && self.may_be_in(here)).then_some(self.epoch)
    }

    /// What the claim of a host that is `here` hands on of a fleet elsewhere.
    pub fn elsewhere_of(&self, here: Option<&Location>) -> Option<(Location, u32)> {
        match (self.may_be_in(here), &self.location, self.target) {
            (false, Some(there), Some(target)) => Some((there.clone(), target)),
            (false, _, _) => None,
            (true, _, _) => self.elsewhere.clone(),
        }
    }

    /// The same with that package, named by its entity tag.
    #[must_use]
    pub fn serving(self, etag: &str) -> Claim {
        Claim { package: Some(word(etag)).filter(|package| !package.is_empty()), ..self }
    }

    /// The claim by which `host` says that it goes; none where it is not its own, or says so. `asked`: the fleet was asked for a
    /// successor, and had `target` hosts to have before.
    fn given_up(self, host: &Host, asked: bool, target: Option<u32>) -> Option<Claim> {
        let is_due = self.instance == host.instance && !self.departing;
        let target = self.target.or(target);
        is_due.then(|| Claim { epoch: self.epoch + 1, departing: true, asked, target, ..self })
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
        let mut epoch = None;
        let mut instance = None;
        let mut launched = None;
        let mut at = None;
        let mut departing = false;
        let mut waiting = false;
        let mut asked = false;
        let mut over = None;
        let mut location = None;
        let mut target = None;
        let mut elsewhere = None;
        let mut package = None;
        let mut version = None;
        for (key, word) in words {
            match key {
                "epoch" => epoch = word.parse().ok(),
                "instance" => instance = Some(word.to_owned()).filter(|word| !word.is_empty()),
                "launched" => launched = OffsetDateTime::parse(word, &Rfc3339).ok(),
                "at" => at = word.parse().ok(),
                "departing" => (departing, asked) = (true, word == "asked"),
                "waiting" => waiting = true,
                "over" => over = Some(word.to_owned()),
                "in" => location = word.parse().ok(),
                "target" => target = word.parse().ok(),
                "also" => elsewhere = also(word),
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
            location,
            target,
            elsewhere,
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

fn also(word: &str) -> Option<(Location, u32)> {
    let (location, target) = word.split_once(':')?;
    Some((location.parse().ok()?, target.parse().ok()?))
}

impl fmt::Display for Claim {
    /// One string of a TXT record holds it, whatever it says: where there is no room, less of the package is named, and the
    /// fleet elsewhere is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.before().map_err(|_| fmt::Error)?;
        let after = self.after();
        let also = self.elsewhere.as_ref().map(|(there, target)| format!(" also={there}:{target}")).unwrap_or_default();
        let room = LONGEST.saturating_sub(before.len() + after.len());
        let package = |length: usize| match &self.package {
            Some(package) => format!(" package={}", package.get(..length).unwrap_or(package)),
            None => String::new(),
        };
        let also = if package(LEAST_OF_PACKAGE).len() + also.len() <= room { also } else { String::new() };
        let fits = |length: &usize| package(*length).len() + also.len() <= room;
        let package = (LEAST_OF_PACKAGE..=OF_PACKAGE).rev().find(fits).map(package).unwrap_or_default();
        write!(f, "{before}{also}{package}{after}")
    }
}

impl Claim {
    fn before(&self) -> Result<String, time::error::Format> {
        let launched = self.launched.format(&Rfc3339)?;
        let mut words = vec![
            "spothost=1".to_owned(),
            format!("epoch={}", self.epoch),
            format!("instance={}", self.instance),
            format!("launched={launched}"),
        ];
        words.extend(self.at.map(|at| format!("at={at}")));
        words.extend(self.over.as_ref().map(|over| format!("over={over}")));
        words.extend(self.location.as_ref().map(|location| format!("in={location}")));
        words.extend(self.target.map(|target| format!("target={target}")));
        Ok(words.join(" "))
    }

    fn after(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" version={version}")).unwrap_or_default();
        // Of one that goes, nothing else matters.
        let state = match (self.departing, self.asked) {
            (false, _) if self.waiting => " waiting",
            (false, _) => "",
            (true, false) => " departing",
            (true, true) => " departing=asked",
        };
        format!("{version}{state}")
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
            location: Some(location("eu-central-1")),
            target: Some(10_000),
            elsewhere: None,
            package: None,
            version: Some("0.1.0".into()),
        }
        .serving("\"d41d8cd98f00b204e9800998ecf8427e-10000\"")
    }

    fn location(region: &str) -> Location {
        Location { region: region.to_owned(), account: "123456789012".to_owned() }
    }

    #[test]
    fn claim_reads_back_as_it_was_written() {
        assert!(full().value().len() <= LONGEST + 2, "one TXT string holds 255 bytes, and its quotes come beside them");
        assert_eq!(Claim::parse(&full().value()), Ok(full()));
        let unasked = Claim { asked: false, ..full() };
        assert_eq!(Claim::parse(&unasked.value()), Ok(unasked));
        let waiting = Claim { departing: false, asked: false, waiting: true, ..full() };
        assert!(waiting.value().len() <= LONGEST + 2);
        assert_eq!(Claim::parse(&waiting.value()), Ok(waiting));
        let least = Claim {
            at: None,
            departing: false,
            asked: false,
            over: None,
            location: None,
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
    fn string_has_room_for_what_others_decide_by() {
        // With an IPv4 address, as most have it, nothing is left out.
        let usual = Claim {
            epoch: 100,
            at: Some([192, 0, 2, 254].into()),
            target: Some(1),
            elsewhere: Some((location("eu-central-1"), 2)),
            ..full()
        };
        assert!(usual.value().len() <= LONGEST + 2, "{}", usual.value().len());
        assert_eq!(Claim::parse(&usual.value()), Ok(usual));
        // At the most the fleet elsewhere is forgotten, and less of the package is named.
        let crowded = Claim {
            location: Some(location("us-isof-south-1")),
            elsewhere: Some((location("ap-southeast-7"), 10)),
            version: Some("10.20.30-rc.40".into()),
            ..full()
        };
        let read = Claim::parse(&crowded.value()).expect("a claim");
        assert!(crowded.value().len() <= LONGEST + 2, "{}", crowded.value().len());
        assert!(read.package.as_ref().is_some_and(|package| package.len() >= LEAST_OF_PACKAGE), "{read}");
        assert_eq!((read.location, read.target, read.over), (crowded.location, crowded.target, crowded.over));
    }

    #[test]
    fn claim_of_another_region_or_account_says_nothing_of_the_fleet_here() {
        let here = location("eu-central-1");
        let there = location("us-east-1");
        let account = Location { account: "999999999999".to_owned(), ..here.clone() };
        let claimed = |location: Option<&Location>, elsewhere: Option<(Location, u32)>| Claim {
            location: location.cloned(),
            target: Some(2),
            elsewhere,
            ..full()
        };
        let known = Some((here.clone(), 1));
        let table = [
            ("here", claimed(Some(&here), None), true, Some(2), None),
            ("an older program", claimed(None, None), true, Some(2), None),
            ("another region", claimed(Some(&there), None), false, None, Some((there.clone(), 2))),
            ("another account", claimed(Some(&account), None), false, None, Some((account.clone(), 2))),
            (
                "another region, after one of here",
                claimed(Some(&there), known),
                false,
                Some(1),
                Some((there.clone(), 2)),
            ),
            (
                "here, after one elsewhere",
                claimed(Some(&here), Some((there.clone(), 3))),
                true,
                Some(2),
                Some((there, 3)),
            ),
        ];
        for (what, claim, is_here, target, elsewhere) in table {
            let here = Some(&here);
            assert_eq!((claim.may_be_in(here), claim.target_in(here)), (is_here, target), "{what}");
            assert_eq!((claim.asked_in(here).is_some(), claim.elsewhere_of(here)), (is_here, elsewhere), "{what}");
        }
    }

    #[test]
    fn location_that_is_none_is_passed_over() {
        for word in
            ["", "eu-central-1", "eu-central-1/", "/123456789012", "eu-central-1/12", "EU/123456789012", "a b/1"]
        {
            let value = format!("\"spothost=1 epoch=7 in={word} instance=i-1 launched=2026-11-21T12:00:00Z\"");
            assert_eq!(Claim::parse(&value).map(|claim| claim.location), Ok(None), "{word}");
        }
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
