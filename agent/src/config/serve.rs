//! How the site is served: headers, logs, and the limits of a client.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};
use spothost_server::{Access, AccessFormat, AccessTo, ApplicationAddress, Bounds, Patience, TrustedProxy};

use super::units::WrittenDuration;

/// How the site is served.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// `Strict-Transport-Security` (RFC 6797) for this long; none is sent by default, because it cannot be taken back.
    #[serde(deserialize_with = "some_time")]
    pub hsts: Option<Duration>,
    /// Where a line per request goes: `stdout` (the journal, under systemd) or a path.
    access: Option<AccessPlace>,
    /// How such a line is written.
    format: Format,
    /// Loopback address at which the counters are told to Prometheus.
    #[serde(deserialize_with = "some_loopback")]
    pub metrics: Option<SocketAddr>,
    /// For how long fingerprinted files of the previous version stay reachable after a swap; zero: not at all.
    #[serde(deserialize_with = "any_time")]
    pub skew: Duration,
    /// Load balancers in front of this host: networks such as `10.0.0.0/16`, or addresses. For whom they ask is what they say.
    #[serde(deserialize_with = "proxies")]
    pub trust: Vec<TrustedProxy>,
    /// Whether plain HTTP serves the site, too, instead of redirecting to HTTPS: as `spothost up` does, and no configuration can.
    #[serde(skip)]
    pub(crate) plain: bool,
    /// The application that answers what no file does: `spothost up --app` names it, and no configuration can.
    #[serde(skip)]
    pub(crate) application: Option<ApplicationAddress>,
    /// Whether the host takes packages that are for an application, also where `application` names none: where the configuration has
    /// `[app]`, and for `spothost up`.
    #[serde(skip)]
    pub(crate) applications: bool,
}

impl Default for Serve {
    fn default() -> Serve {
        Serve {
            hsts: None,
            access: None,
            format: Format::default(),
            metrics: None,
            skew: Duration::from_secs(900),
            trust: Vec::new(),
            plain: false,
            application: None,
            applications: false,
        }
    }
}

/// The limits of a client's cost and time.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections in all.
    #[serde(deserialize_with = "count")]
    connections: usize,
    /// Open connections per IPv4 address or IPv6 /64.
    #[serde(deserialize_with = "count")]
    connections_per_address: usize,
    /// Bytes of a request's head.
    #[serde(deserialize_with = "count")]
    head: usize,
    /// Fields of a request's head.
    #[serde(deserialize_with = "count")]
    fields: usize,
    /// Bytes of a request's target.
    #[serde(deserialize_with = "count")]
    target: usize,
    /// Concurrent HTTP/2 streams of a connection.
    #[serde(deserialize_with = "count")]
    streams: u32,
    /// HTTP/2 streams that a client may have reset before they were looked at.
    #[serde(deserialize_with = "count")]
    resets: usize,
    /// HTTP/2 streams of a connection that a client may have made the server reset.
    #[serde(deserialize_with = "count")]
    errors: usize,
    /// Responses that are inflated at once.
    #[serde(deserialize_with = "count")]
    inflated: usize,
    /// The same of one address.
    #[serde(deserialize_with = "count")]
    inflated_per_address: usize,
    #[serde(deserialize_with = "time")]
    handshake_time: Duration,
    #[serde(deserialize_with = "time")]
    first_time: Duration,
    #[serde(deserialize_with = "time")]
    head_time: Duration,
    #[serde(deserialize_with = "time")]
    idle_time: Duration,
    #[serde(deserialize_with = "time")]
    rest_time: Duration,
    #[serde(deserialize_with = "time")]
    write_time: Duration,
    #[serde(deserialize_with = "time")]
    content_time: Duration,
    #[serde(deserialize_with = "time")]
    close_time: Duration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct AccessPlace(AccessTo);

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Combined,
    Json,
}

impl Serve {
    /// The same, over plain HTTP, too.
    #[must_use]
    pub fn over_plain_http(self) -> Serve {
        Serve { plain: true, ..self }
    }

    /// The same, for packages that are for an application, too, with that one behind it.
    #[must_use]
    pub fn with_application(self, application: Option<ApplicationAddress>) -> Serve {
        Serve { application, applications: true, ..self }
    }

    /// The same, behind these load balancers.
    #[must_use]
    pub fn behind(self, trust: Vec<TrustedProxy>) -> Serve {
        Serve { trust, ..self }
    }

    /// Where access lines are written, if they are.
    pub fn access(&self) -> Option<Access> {
        let format = match self.format {
            Format::Combined => AccessFormat::Combined,
            Format::Json => AccessFormat::Json,
        };
        self.access.as_ref().map(|place| Access { format, to: place.0.clone() })
    }
}

impl Limits {
    /// How long a client may take.
    pub fn patience(&self) -> Patience {
        Patience {
            handshake: self.handshake_time,
            first: self.first_time,
            head: self.head_time,
            idle: self.idle_time,
            rest: self.rest_time,
            write: self.write_time,
            content: self.content_time,
            close: self.close_time,
            ..Patience::default()
        }
    }

    /// What a client may cost.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            head: self.head,
            fields: self.fields,
            target: self.target,
            streams: self.streams,
            resets: self.resets,
            errors: self.errors,
            inflated: self.inflated,
            inflated_per_address: self.inflated_per_address,
            ..Bounds::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        let patience = Patience::default();
        let bounds = Bounds::default();
        Limits {
            connections: bounds.connections,
            connections_per_address: bounds.connections_per_address,
            head: bounds.head,
            fields: bounds.fields,
            target: bounds.target,
            streams: bounds.streams,
            resets: bounds.resets,
            errors: bounds.errors,
            inflated: bounds.inflated,
            inflated_per_address: bounds.inflated_per_address,
            handshake_time: patience.handshake,
            first_time: patience.first,
            head_time: patience.head,
            idle_time: patience.idle,
            rest_time: patience.rest,
            write_time: patience.write,
            content_time: patience.content,
            close_time: patience.close,
        }
    }
}

impl TryFrom<String> for AccessPlace {
    type Error = String;

    fn try_from(text: String) -> Result<AccessPlace, String> {
        if text == "stdout" {
            return Ok(AccessPlace(AccessTo::Stdout));
        }
        let path = PathBuf::from(&text);
        if path.is_absolute() {
            Ok(AccessPlace(AccessTo::File(path)))
        } else {
            Err(format!("`{text}` is neither \"stdout\" nor an absolute path"))
        }
    }
}

/// A positive count. Zero would serve no client, not even the host that asks itself.
pub(super) fn count<'de, D: Deserializer<'de>, N: TryFrom<i64>>(from: D) -> Result<N, D::Error> {
    let said = i64::deserialize(from)?;
    if said < 1 {
        return Err(D::Error::custom(format!("{said} is not allowed: at least 1")));
    }
    N::try_from(said).map_err(|_| D::Error::custom(format!("{said} is more than this can be")))
}

fn any_time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    WrittenDuration::deserialize(from).map(|WrittenDuration(duration)| duration)
}

pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = any_time(from)?;
    if duration.is_zero() {
        return Err(D::Error::custom("zero is not allowed: a duration such as \"15m\""));
    }
    Ok(duration)
}

fn some_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    time(from).map(Some)
}

fn proxies<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TrustedProxy>, D::Error> {
    let said = Vec::<String>::deserialize(from)?;
    said.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

fn some_loopback<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let address = SocketAddr::deserialize(from)?;
    if address.ip().is_loopback() {
        Ok(Some(address))
    } else {
        Err(D::Error::custom(format!(
            "{address} is not a loopback address: metrics are for this machine alone, at an address such as 127.0.0.1:9180"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_how_is_read() {
        let text = "hsts = \"1d\"\naccess = \"/var/log/spothost/access.log\"\nformat = \"json\"\nmetrics = \"127.0.0.1:9180\"\n\
                    trust = [\"10.0.0.0/16\", \"192.0.2.1\"]\n";
        let serve: Serve = toml::from_str(text).expect("valid");
        assert_eq!(serve.hsts, Some(Duration::from_secs(86_400)));
        let to = AccessTo::File("/var/log/spothost/access.log".into());
        assert_eq!(serve.access(), Some(Access { format: AccessFormat::Json, to }));
        assert_eq!(serve.metrics.map(|address| address.port()), Some(9180));
        assert_eq!(serve.trust.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/16", "192.0.2.1/32"]);
        let usual = toml::from_str::<Serve>("").expect("valid");
        assert_eq!((usual.access(), usual.trust), (None, Vec::new()));
    }

    #[test]
    fn limits_that_are_not_named_are_the_servers_own() {
        let limits: Limits = toml::from_str("connections = 7\nidle_time = \"5s\"\n").expect("valid");
        assert_eq!(limits.bounds().connections, 7);
        assert_eq!(limits.bounds().streams, Bounds::default().streams);
        assert_eq!(limits.patience().idle, Duration::from_secs(5));
        assert_eq!(limits.patience().write, Patience::default().write);
    }

    #[test]
    fn every_limit_can_be_set() {
        let text = "connections = 1\nconnections_per_address = 2\nhead = 3\nfields = 4\ntarget = 5\nstreams = 6\nresets = 7\n\
                    errors = 8\ninflated = 9\nhandshake_time = \"1s\"\nfirst_time = \"2s\"\nhead_time = \"3s\"\n\
                    idle_time = \"4s\"\nrest_time = \"5s\"\nwrite_time = \"6s\"\ncontent_time = \"7s\"\n\
                    close_time = \"8s\"\n";
        let limits: Limits = toml::from_str(text).expect("valid");
        let bounds = limits.bounds();
        let patience = limits.patience();
        let counts = [bounds.connections, bounds.connections_per_address, bounds.head, bounds.fields, bounds.target];
        assert_eq!(counts, [1, 2, 3, 4, 5]);
        assert_eq!((bounds.streams, bounds.resets, bounds.errors, bounds.inflated), (6, 7, 8, 9));
        let times = [patience.handshake, patience.first, patience.head, patience.idle, patience.rest, patience.write];
        assert_eq!(times.map(|time| time.as_secs()), [1, 2, 3, 4, 5, 6]);
        assert_eq!((patience.content.as_secs(), patience.close.as_secs()), (7, 8));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let table = [
            ("access = \"access.log\"", "nor an absolute path"),
            ("metrics = \"0.0.0.0:9180\"", "not a loopback address"),
            ("format = \"xml\"", "unknown variant"),
            ("hsts = \"soon\"", "`soon`"),
            ("hsts = \"0s\"", "zero is not allowed"),
            ("trust = [\"0.0.0.0/0\"]", "every visitor"),
            ("trust = [\"lb.internal\"]", "neither a network nor an address"),
            ("hosts = 1", "unknown field"),
        ];
        for (text, reason) in table {
            let said = toml::from_str::<Serve>(text).expect_err(text).to_string();
            assert!(said.contains(reason), "{said}");
        }
    }

    #[test]
    fn limit_that_lets_nobody_in_is_refused() {
        let counts = [
            "connections",
            "connections_per_address",
            "head",
            "fields",
            "target",
            "streams",
            "resets",
            "errors",
            "inflated",
            "inflated_per_address",
        ];
        let times = [
            "handshake_time",
            "first_time",
            "head_time",
            "idle_time",
            "rest_time",
            "write_time",
            "content_time",
            "close_time",
        ];
        let refused = counts.iter().flat_map(|name| ["0", "-1", "\"0\""].map(|value| format!("{name} = {value}")));
        let refused = refused.chain(times.iter().map(|name| format!("{name} = \"0s\"")));
        for line in refused.chain(["streams = 4294967296".to_owned()]) {
            assert!(toml::from_str::<Limits>(&line).is_err(), "{line}");
        }
        // Every limit that there is has its line above: a new one is held to this, too.
        let known = counts.iter().chain(&times).map(|name| (*name).to_owned());
        let all = format!("{:?}", Limits::default());
        let fields = all.trim_start_matches("Limits { ").split(", ").filter_map(|field| field.split_once(": "));
        assert_eq!(fields.map(|(name, _)| name.to_owned()).collect::<Vec<_>>(), known.collect::<Vec<_>>());
        for name in counts {
            assert!(toml::from_str::<Limits>(&format!("{name} = 1")).is_ok(), "{name}");
        }
    }
}
