//! One TOML file into types that cannot be wrong.
//!
//! Everything is checked here, with the line and the reason; after loading nothing is validated again.

use std::{fmt, fs, io, net::SocketAddr, ops::Range, path::Path, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    documents::PackageKey,
    place::{Name, PackagePlace, SecretsPlace, VaultPlace},
};

mod app;
mod authority;
mod routing_mode;
mod serve;
mod succession;
mod units;
mod upgrade;

pub use app::{App, MemoryLimit};
pub use authority::{Authority, Ca, Eab};
pub use routing_mode::RoutingMode;
pub use serve::{Limits, Serve};
pub use succession::{Fleet, OnDeparture, Succession, Then};
use units::{WrittenDuration, WrittenSeconds};
pub use upgrade::Upgrade;

/// A configuration larger than this is none.
const LARGEST: u64 = 1 << 20;

/// The configuration of a host.
#[derive(Clone, Debug)]
pub struct Config {
    /// The canonical name.
    pub domain: Name,
    /// Further names: on the certificate, in DNS, redirected to `domain`.
    pub aliases: Vec<Name>,
    /// Where packages are published.
    pub package: PackagePlace,
    /// Who may publish packages; empty: everybody who can write there.
    pub package_keys: Vec<PackageKey>,
    /// Where certificate and account are kept.
    pub vault: VaultPlace,
    /// Id of the hosted zone; without it no DNS is touched.
    pub zone: Option<String>,
    /// Mail address for the account at the CA.
    pub contact: Option<String>,
    /// Who certifies.
    pub authority: Authority,
    /// Where the servers listen.
    pub listen: Listen,
    /// Time to live of the records, in seconds.
    pub ttl: u32,
    /// How often each keeper looks.
    pub look: Look,
    /// How the site is served.
    pub serve: Serve,
    /// How the applications of packages are run; without it they are not.
    pub app: Option<App>,
    /// Where an application that is a child of this program finds what it needs: that of `spothost up`.
    pub developer: Option<SecretsPlace>,
    /// What a client may cost.
    pub limits: Limits,
    /// How people are led to the hosts.
    pub leading: RoutingMode,
    /// Whether records that no host claims may be taken over.
    pub adopt: bool,
    /// What becomes of the records of a host that is taken while no successor follows.
    pub on_departure: OnDeparture,
    /// How hosts follow each other.
    pub succession: Succession,
    /// The fleet that starts them.
    pub fleet: Fleet,
    /// Where newer versions of the program are taken from; without it none is.
    pub upgrade: Option<Upgrade>,
}

/// Where the servers listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Plain HTTP, which redirects.
    pub http: SocketAddr,
    /// HTTPS.
    pub https: SocketAddr,
}

/// How often each keeper looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// For a new package.
    pub package: Duration,
    /// At the records.
    pub address: Duration,
    /// For a notice.
    pub departure: Duration,
}

impl Default for Listen {
    fn default() -> Listen {
        let on_every_address = |port| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        Listen { http: on_every_address(80), https: on_every_address(443) }
    }
}

impl Default for Look {
    fn default() -> Look {
        let seconds = Duration::from_secs;
        Look { package: seconds(10), address: seconds(15), departure: seconds(5) }
    }
}

impl Config {
    /// Reads the configuration at `path`.
    ///
    /// # Errors
    /// The fault, with its line.
    pub fn load(path: &Path) -> Result<Config, BadConfig> {
        let text = read(path).map_err(|error| {
            let said = match error.kind() {
                io::ErrorKind::NotFound => {
                    "there is none: pass --config FILE, or write one with `spothost init`".to_owned()
                }
                _ => error.to_string(),
            };
            BadConfig { place: format!("reading the configuration {}", path.display()), said }
        })?;
        Config::parse(&text).map_err(|(line, said)| BadConfig { place: format!("{}:{line}", path.display()), said })
    }

    fn parse(text: &str) -> Result<Config, (usize, String)> {
        let at = |span: Option<Range<usize>>, said: String| (line_of(text, span), said);
        let file: File = toml::from_str(text).map_err(|error| at(error.span(), error.message().trim().to_owned()))?;
        file.checked().map_err(|(span, said)| at(span, said))
    }

    /// Where the values lie that packages need and do not have, if anywhere.
    pub fn secrets(&self) -> Option<&SecretsPlace> {
        self.app.as_ref().map_or(self.developer.as_ref(), |app| app.secrets.as_ref())
    }

    /// All names, the canonical one first.
    pub fn names(&self) -> Vec<Name> {
        std::iter::once(&self.domain).chain(&self.aliases).cloned().collect()
    }

    /// Whether anything is kept in AWS, so that credentials and a region are needed.
    pub fn needs_aws(&self) -> bool {
        matches!(self.package, PackagePlace::Bucket(_))
            || matches!(self.vault, VaultPlace::Secret(_))
            || matches!(self.secrets(), Some(SecretsPlace::Secret(_)))
            || self.zone.is_some()
            || self.leading != RoutingMode::Records
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub struct BadConfig {
    place: String,
    said: String,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.said)
    }
}

impl std::error::Error for BadConfig {}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    domain: Spanned<Name>,
    #[serde(default)]
    aliases: Vec<Spanned<Name>>,
    package: PackagePlace,
    package_key: Option<Spanned<OneOrSeveral>>,
    vault: VaultPlace,
    zone: Option<Spanned<String>>,
    contact: Option<Spanned<String>>,
    #[serde(default)]
    acme: authority::AcmeTable,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    dns: Dns,
    #[serde(default)]
    address: routing_mode::Address,
    #[serde(default)]
    look: WrittenLook,
    #[serde(default)]
    serve: Serve,
    app: Option<App>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    succession: Succession,
    #[serde(default)]
    fleet: Fleet,
    upgrade: Option<WrittenUpgrade>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenUpgrade {
    from: Spanned<PackagePlace>,
    key: Spanned<OneOrSeveral>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Dns {
    mode: Option<Spanned<routing_mode::Mode>>,
    ttl: Option<Spanned<WrittenSeconds>>,
    #[serde(default)]
    adopt: bool,
    #[serde(default)]
    on_departure: OnDeparture,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenLook {
    package: Option<Spanned<WrittenDuration>>,
    address: Option<Spanned<WrittenDuration>>,
    departure: Option<Spanned<WrittenDuration>>,
}

type Wrong = (Option<Range<usize>>, String);

impl File {
    fn checked(self) -> Result<Config, Wrong> {
        let span = self.domain.span();
        let domain = self.domain.into_inner();
        if domain.is_wildcard() {
            return Err((
                Some(span),
                format!("`{domain}` is no name to lead visitors to: name a host, and it in `aliases`"),
            ));
        }
        let aliases = distinct(&domain, self.aliases)?;
        let authority = self.acme.checked()?;
        let zone = self.zone.map(checked_zone).transpose()?;
        if zone.is_none() && matches!(authority, Authority::Acme(_)) {
            let said = "without `zone` no certificate can be ordered, because the CA looks for its challenge in DNS: \
                        add zone = \"Z…\", or use the local CA with [acme] directory = \"internal\"";
            return Err((None, said.to_owned()));
        }
        let leading = routing_mode::checked(self.address, self.dns.mode, &self.package, zone.is_some())?;
        let default = Look::default();
        Ok(Config {
            domain,
            aliases,
            package: self.package,
            package_keys: self.package_key.map_or(Ok(Vec::new()), checked_keys)?,
            vault: self.vault,
            zone,
            contact: self.contact.map(checked_contact).transpose()?,
            authority,
            listen: self.listen,
            ttl: self.dns.ttl.map_or(Ok(60), checked_ttl)?,
            look: Look {
                package: self.look.package.map_or(Ok(default.package), checked_look)?,
                address: self.look.address.map_or(Ok(default.address), checked_look)?,
                departure: self.look.departure.map_or(Ok(default.departure), checked_look)?,
            },
            serve: if self.app.is_some() { self.serve.with_application(None) } else { self.serve },
            app: self.app,
            developer: None,
            limits: self.limits,
            leading,
            adopt: self.dns.adopt,
            on_departure: self.dns.on_departure,
            succession: self.succession,
            fleet: self.fleet,
            upgrade: self.upgrade.map(checked_upgrade).transpose()?,
        })
    }
}

fn distinct(domain: &Name, aliases: Vec<Spanned<Name>>) -> Result<Vec<Name>, Wrong> {
    let mut seen = vec![domain.clone()];
    for alias in aliases {
        let span = alias.span();
        let alias = alias.into_inner();
        if seen.contains(&alias) {
            return Err((Some(span), format!("`{alias}` is named twice")));
        }
        seen.push(alias);
    }
    Ok(seen.split_off(1))
}

fn checked_keys(keys: Spanned<OneOrSeveral>) -> Result<Vec<PackageKey>, Wrong> {
    let span = keys.span();
    let keys = match keys.into_inner() {
        OneOrSeveral::One(key) => vec![key],
        OneOrSeveral::Several(keys) => keys,
    };
    // An empty list would let everybody publish, which an operator who writes the key down does not mean.
    if keys.is_empty() {
        return Err((Some(span), "`package_key` names no key; leave it out to take unsigned packages".to_owned()));
    }
    keys.iter().map(|key| key.parse()).collect::<Result<_, _>>().map_err(|said| (Some(span), said))
}

fn checked_upgrade(written: WrittenUpgrade) -> Result<Upgrade, Wrong> {
    let span = Some(written.from.span());
    let PackagePlace::Bucket(from) = written.from.into_inner() else {
        return Err((
            span,
            "newer versions of the program are taken from a bucket alone: s3://bucket/folder/".to_owned(),
        ));
    };
    Ok(Upgrade { from, keys: checked_keys(written.key)? })
}

fn checked_zone(zone: Spanned<String>) -> Result<String, Wrong> {
    let span = zone.span();
    let zone = zone.into_inner();
    let id = zone.trim_start_matches("/hostedzone/");
    let plausible = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if plausible {
        Ok(id.to_owned())
    } else {
        Err((Some(span), format!("`{zone}` is not the id of a hosted zone, such as Z0123456789ABC")))
    }
}

fn checked_contact(contact: Spanned<String>) -> Result<String, Wrong> {
    let span = contact.span();
    let contact = contact.into_inner();
    let address = contact.trim_start_matches("mailto:");
    match address.split_once('@') {
        Some((user, host))
            if !user.is_empty() && host.parse::<Name>().is_ok() && !address.contains(char::is_whitespace) =>
        {
            Ok(address.to_owned())
        }
        _ => Err((Some(span), format!("`{contact}` is not a mail address"))),
    }
}

fn checked_ttl(ttl: Spanned<WrittenSeconds>) -> Result<u32, Wrong> {
    match ttl.get_ref().0 {
        seconds @ 1..=86_400 => Ok(seconds),
        other => Err((Some(ttl.span()), format!("a time to live of {other} s is not between 1 and 86400"))),
    }
}

fn checked_look(look: Spanned<WrittenDuration>) -> Result<Duration, Wrong> {
    let WrittenDuration(every) = *look.get_ref();
    if every >= Duration::from_millis(100) && every <= Duration::from_secs(3600) {
        return Ok(every);
    }
    Err((Some(look.span()), format!("`{}` is not between 100ms and 1h", humantime::format_duration(every))))
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::other("larger than 1 MiB, which no configuration is"));
    }
    fs::read_to_string(path)
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.map_or(0, |span| span.start.min(text.len()));
    text.bytes().take(before).filter(|b| *b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "domain = \"www.example.org\"\npackage = \"s3://example-sites/www/\"\n\
                         vault = \"www.example.org/identity\"\nzone = \"Z0123456789ABC\"\n";

    #[test]
    fn configuration_that_is_not_there_is_said_with_its_cure() {
        let missing = Path::new("/nowhere/spothost.toml");
        let said = Config::load(missing).expect_err("there is none").to_string();
        assert!(said.contains("/nowhere/spothost.toml") && said.contains("pass --config FILE"), "{said}");
        assert!(!said.contains("os error"), "{said}");
    }

    #[test]
    fn one_or_several_package_keys_are_read_and_an_empty_list_is_refused() {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let keys =
            |value: String| Config::parse(&format!("package_key = {value}\n{LEAST}")).map(|c| c.package_keys.len());
        assert_eq!(keys(format!("\"{key}\"")), Ok(1));
        assert_eq!(keys(format!("[\"{key}\", \"{key}\"]")), Ok(2));
        assert!(keys("[]".to_owned()).is_err_and(|(line, said)| line == 1 && said.contains("names no key")));
        assert!(keys("\"abc\"".to_owned()).is_err_and(|(line, said)| line == 1 && said.contains("minisign")));
        assert_eq!(Config::parse(LEAST).map(|config| config.package_keys.len()), Ok(0));
    }

    #[test]
    fn least_configuration_has_the_documented_defaults() {
        let config = Config::parse(LEAST).expect("valid");
        assert_eq!(config.listen.https.to_string(), "[::]:443");
        assert_eq!(config.listen.http.to_string(), "[::]:80");
        assert_eq!(config.ttl, 60);
        assert_eq!(config.look, Look::default());
        assert_eq!(config.serve.skew, Duration::from_secs(15 * 60));
        let Authority::Acme(authorities) = &config.authority else { panic!("{:?}", config.authority) };
        let [first] = &authorities[..] else { panic!("{authorities:?}") };
        assert_eq!((first.directory.as_str(), &first.profile, &first.eab), (authority::LETS_ENCRYPT, &None, &None));
        assert!(first.staging.as_ref().is_some_and(|staging| staging.contains("staging")), "{first:?}");
        assert!(config.needs_aws());
    }

    #[test]
    fn every_documented_key_is_read() {
        let text = format!(
            "aliases = [\"Example.org\"]\ncontact = \"ops@example.org\"\n{LEAST}[acme]\n\
             directory = \"https://ca.example/dir\"\nroots = \"/etc/roots.pem\"\nprofile = \"tlsserver\"\n\
             staging = \"https://staging.example/dir\"\n[acme.fallback]\ndirectory = \"https://other.example/dir\"\n\
             [acme.fallback.eab]\nkid = \"k1\"\nkey_file = \"/etc/spothost/eab\"\n[listen]\n\
             http = \"127.0.0.1:8080\"\nhttps = \"127.0.0.1:8443\"\n[dns]\nttl = 30\nadopt = true\n[succession]\nsilence = \"5m\"\n[fleet]\nid = \"sfr-1\"\n[look]\npackage = \"1s\"\n\
             address = \"2s\"\ndeparture = \"500ms\"\n"
        );
        let config = Config::parse(&text).expect("valid");
        assert_eq!(config.names().iter().map(Name::as_str).collect::<Vec<_>>(), ["www.example.org", "example.org"]);
        assert_eq!(config.contact.as_deref(), Some("ops@example.org"));
        assert_eq!(config.listen.http.port(), 8080);
        let Authority::Acme(authorities) = &config.authority else { panic!("{:?}", config.authority) };
        assert_eq!(authorities[0].staging.as_deref(), Some("https://staging.example/dir"));
        let eab = authorities[1].eab.clone().expect("an external account");
        assert_eq!((eab.kid.as_str(), eab.key), ("k1", VaultPlace::Disk("/etc/spothost/eab".into())));
        assert_eq!((config.ttl, config.look.departure), (30, Duration::from_millis(500)));
        assert!(config.adopt);
        assert_eq!(config.succession.silence, Duration::from_secs(300));
        assert_eq!(config.fleet.id.as_deref(), Some("sfr-1"));
        assert!(config.upgrade.is_none(), "off by default");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_line_and_the_reason() {
        let replaced = |from: &str, to: &str| LEAST.replace(from, to);
        let with = |more: &str| format!("{LEAST}{more}");
        let table = [
            (replaced("domain", "domian"), 1, "unknown field `domian`"),
            (replaced("zone = \"Z0123456789ABC\"\n", ""), 1, "without `zone`"),
            (replaced("package = \"s3://example-sites/www/\"\n", ""), 1, "missing field `package`"),
            (replaced("s3://example-sites/www/", "http://x/"), 2, "neither s3:// nor file:///"),
            (replaced("s3://example-sites/www/", "s3://Example_Sites/"), 2, "is not the name of a bucket"),
            (replaced("www.example.org\"\np", "-x.example.org\"\np"), 1, "begins or ends with a hyphen"),
            (replaced("www.example.org\"\np", "localhost:80\"\np"), 1, "`:`"),
            (replaced("www.example.org/identity", ""), 3, "the name of a secret"),
            (replaced("Z0123456789ABC", "example.org"), 4, "not the id of a hosted zone"),
            (with("aliases = [\"example.org\", \"www.example.org\"]\n"), 5, "named twice"),
            (replaced("www.example.org\"\np", "*.example.org\"\np"), 1, "no name to lead visitors to"),
            (with("contact = \"ops\"\n"), 5, "not a mail address"),
            (with("[acme]\ndirectory = \"http://ca/\"\n"), 6, "nor an https:// URL"),
            (with("[acme]\ndirectory = \"internal\"\nprofile = \"x\"\n"), 6, "neither `roots` nor `profile`"),
            (with("[acme.fallback]\nprofile = \"x\"\n"), 5, "missing field `directory`"),
            (with("[acme]\ndirectory = \"https://a/\"\n[acme.fallback]\ndirectory = \"https://a/\"\n"), 7, "stand in"),
            (with("[acme.eab]\nkid = \"k\"\n"), 6, "needs `key_file`"),
            (with("[acme.eab]\nkid = \"k\"\nkey = \"AAAA\"\n"), 7, "everybody on the host can read"),
            (with("[acme]\nstaging = \"http://a/\"\n"), 6, "nor an https:// URL"),
            (with("[dns]\nttl = 0\n"), 6, "not between 1 and 86400"),
            (with("[look]\npackage = \"soon\"\n"), 6, "`soon`"),
            (with("[look]\npackage = 15\n"), 6, "expected a duration in quotes, such as \"15m\""),
            (with("[succession]\nlinger = 15\n"), 6, "expected a duration in quotes, such as \"15m\""),
            (with("[serve]\nhsts = 365\n"), 6, "expected a duration in quotes, such as \"15m\""),
            (with("[dns]\nttl = \"60\"\n"), 6, "expected a number of seconds without quotes, such as 60"),
            (with("[dns]\nttl = -1\n"), 6, "-1 is no number of seconds"),
            (with("[look]\naddress = \"1us\"\n"), 6, "not between"),
            (with("[listen]\nhttps = \"443\"\n"), 6, "invalid socket address"),
            (with("[surprise]\n"), 5, "unknown field `surprise`"),
            ("domain = \n".to_owned(), 1, ""),
        ];
        for (text, line, reason) in table {
            let (at, said) = Config::parse(&text).expect_err(&text);
            assert!(said.contains(reason), "{said:?} does not say {reason:?} of\n{text}");
            assert_eq!(at, line, "{said} in\n{text}");
        }
    }
}
