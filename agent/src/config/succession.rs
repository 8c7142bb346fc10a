//! How hosts follow each other: what a host does once another has the names, and when it asks for one.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::serve::{count, time};

/// The fate of a superseded host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It leaves its fleet; without one it stands by.
    Retire,
    /// It stays, as a spare.
    StandBy,
}

/// The fate of the records of a host that is taken before a successor has followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDeparture {
    /// They stay. That a name has no address is remembered by resolvers for as long as the zone says (RFC 2308 §5), often
    /// for longer than the next host needs to come; and the instance that is given the address meanwhile has no certificate.
    #[default]
    Keep,
    /// They are deleted, if they are still exactly as this host made them.
    Remove,
}

/// How hosts follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Succession {
    /// What becomes of a host that another has followed.
    pub then: Then,
    /// How long such a host goes on telling visitors to come back on another connection, from two times to live after
    /// the names have moved. Some resolvers keep an answer for ten minutes, whatever its time to live.
    #[serde(deserialize_with = "time")]
    pub linger: Duration,
    /// After how long an owner that does not answer is taken for dead: longer than a reboot.
    #[serde(deserialize_with = "time")]
    pub silence: Duration,
    /// How long a host may take until it first answers for the domain.
    #[serde(deserialize_with = "time")]
    pub give_up: Duration,
    /// How many hosts that gave up may be replaced in 24 hours, all of them together.
    pub replacements: u32,
    /// Whether a rebalance recommendation asks for a successor.
    pub rebalance: bool,
}

impl Default for Succession {
    fn default() -> Succession {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Succession {
            then: Then::Retire,
            linger: minutes(15),
            silence: minutes(3),
            give_up: minutes(60),
            replacements: 2,
            rebalance: false,
        }
    }
}

/// The fleet that starts hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// Its id (`sfr-…`, `fleet-…`) or the name of its Auto Scaling group; else what the tags of the instance say.
    pub id: Option<String>,
    /// How many hosts it has at rest; else what the first host found.
    #[serde(deserialize_with = "some_count")]
    pub target: Option<u32>,
}

fn some_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    count(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn succession_is_read_and_what_is_not_named_has_its_default() {
        let text = "then = \"stand-by\"\nlinger = \"1m\"\nrebalance = true\n";
        let read: Succession = toml::from_str(text).expect("valid");
        let linger = Duration::from_secs(60);
        assert_eq!(read, Succession { then: Then::StandBy, linger, rebalance: true, ..Succession::default() });
        let fleet: Fleet = toml::from_str("id = \"sfr-1\"\ntarget = 2\n").expect("valid");
        assert_eq!(fleet, Fleet { id: Some("sfr-1".into()), target: Some(2) });
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let table =
            [("then = \"leave\"", "unknown variant"), ("linger = \"0s\"", "zero is not allowed"), ("x = 1", "unknown")];
        for (text, reason) in table {
            let said = toml::from_str::<Succession>(text).expect_err(text).to_string();
            assert!(said.contains(reason), "{said}");
        }
        let said = toml::from_str::<Fleet>("target = 0").expect_err("a fleet of none").to_string();
        assert!(said.contains("at least 1"), "{said}");
    }
}
