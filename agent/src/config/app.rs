//! `[app]` of the host: whether it runs the applications that packages bring, and what they may take.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use spothost_server::ApplicationBounds;

use crate::place::SecretsPlace;

/// Where `spothost-app.socket` listens, as the agent's unit sees it.
const RUNNER: &str = "/run/spothost-app.sock";
/// Where content lies that is too much for memory: on disk, while /tmp may be memory (Amazon Linux 2023).
const SPILL: &str = "/var/tmp";
/// The most processes that an application is told to start.
const MOST_PROCESSES: u32 = 256;

/// How a host runs the applications that packages bring. Without it, it takes no package with one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// What the application and all that it starts may take; the kernel ends it where it takes more.
    #[serde(deserialize_with = "memory")]
    pub memory: MemoryLimit,
    /// Number of processes that the application is told to start (`WEB_CONCURRENCY`).
    #[serde(deserialize_with = "processes")]
    pub processes: u32,
    /// How long a request waits for an application that begins.
    #[serde(deserialize_with = "super::serve::time")]
    pub hold: Duration,
    /// How many requests may wait so; the next one is answered with 503.
    #[serde(deserialize_with = "super::serve::count")]
    pub queue: usize,
    /// Where the values lie that packages need and do not have.
    pub secrets: Option<SecretsPlace>,
    /// The socket at which systemd starts a runner for each connection.
    #[serde(rename = "runner")]
    pub socket: PathBuf,
}

impl Default for App {
    fn default() -> App {
        App {
            memory: MemoryLimit::Percent(55),
            processes: 1,
            hold: Duration::from_secs(30),
            queue: 1000,
            secrets: None,
            socket: RUNNER.into(),
        }
    }
}

impl App {
    /// What visitors may cost while they wait for the application.
    pub fn bounds(&self) -> ApplicationBounds {
        let default = ApplicationBounds::default();
        ApplicationBounds {
            hold: self.hold,
            queue: self.queue,
            queue_per_address: default.queue_per_address.min(self.queue),
            spill: Path::new(SPILL).to_owned(),
            ..default
        }
    }
}

fn memory<'de, D: Deserializer<'de>>(from: D) -> Result<MemoryLimit, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn processes<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let many = u32::deserialize(from)?;
    if (1..=MOST_PROCESSES).contains(&many) {
        Ok(many)
    } else {
        Err(D::Error::custom(format!("`processes` is from 1 to {MOST_PROCESSES}, and not {many}")))
    }
}

/// How much memory a process and all that it starts may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryLimit {
    /// So many hundredths of the memory of the machine.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
}

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<MemoryLimit, String> {
        let said = || {
            format!(
                "{text} is no share of the memory such as 55%, from 10% to 75%, nor a size such as 300 MiB of 32 MiB or more"
            )
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim().parse().ok().filter(|percent| (10..=75).contains(percent));
            return percent.map(MemoryLimit::Percent).ok_or_else(said);
        }
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit.trim() {
            "MiB" => 1_u64 << 20,
            "GiB" => 1 << 30,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(said()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.filter(|bytes| *bytes >= 32 << 20).map(MemoryLimit::Bytes).ok_or_else(said)
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryLimit::Percent(percent) => write!(f, "{percent}%"),
            MemoryLimit::Bytes(bytes) => write!(f, "{} MiB", bytes >> 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_a_share_or_a_size() {
        let table = [
            ("55%", Some(MemoryLimit::Percent(55))),
            ("10 %", Some(MemoryLimit::Percent(10))),
            ("300 MiB", Some(MemoryLimit::Bytes(300 << 20))),
            ("300MiB", Some(MemoryLimit::Bytes(300 << 20))),
            ("2 GB", Some(MemoryLimit::Bytes(2_000_000_000))),
            ("9%", None),
            ("76%", None),
            ("-5%", None),
            ("31 MiB", None),
            ("300", None),
            ("300 KiB", None),
            ("", None),
            ("99999999999999999999 GB", None),
            ("999999999999999 GB", None),
        ];
        for (text, limit) in table {
            assert_eq!(text.parse::<MemoryLimit>().ok(), limit, "{text}");
        }
    }

    #[test]
    fn section_is_read_and_what_is_not_named_has_its_default() {
        let text = "memory = \"300 MiB\"\nprocesses = 2\nhold = \"5s\"\nqueue = 10\nsecrets = \"www/app\"\n";
        let app: App = toml::from_str(text).expect("valid");
        let expected = App {
            memory: MemoryLimit::Bytes(300 << 20),
            processes: 2,
            hold: Duration::from_secs(5),
            queue: 10,
            secrets: Some(SecretsPlace::try_from("www/app".to_owned()).expect("a name")),
            ..App::default()
        };
        assert_eq!(app, expected);
        assert_eq!(app.bounds().queue_per_address, 10);
        assert_eq!(toml::from_str::<App>("").expect("valid"), App::default());
        for (text, says) in [
            ("memory = \"95%\"", "from 10% to 75%"),
            ("processes = 0", "from 1 to 256"),
            ("hold = \"0s\"", "zero is not allowed"),
            ("secrets = 1", "invalid type"),
            ("secrets = \"a b\"", "`a b`"),
            ("role = \"x\"", "unknown field"),
        ] {
            let said = toml::from_str::<App>(text).expect_err(text).to_string();
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
