//! `spothost up`: serves a folder or zip from this machine, by the keepers of a host on local stores.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use sha2::{Digest as _, Sha256};
use spothost_server::{ApplicationAddress, TrustedProxy};

use super::{BAD_CONFIGURATION, CANNOT_RUN, Log, NOT_AS_IT_SHOULD_BE, Stop, run::host};
use crate::{
    certificate::{Anchor, LocalCa},
    clock,
    config::{Authority, Config, Fleet, Limits, Listen, Look, OnDeparture, RoutingMode, Serve, Succession},
    documents::layout,
    folders::Folders,
    package::PackageCache,
    place::{Name, PackagePlace, SecretsPlace, VaultPlace},
    shell::word,
    trust::{Machine, StoreReport, distrust, trust},
};

/// Prefix of the folders of local CAs.
const LOCAL_CA: &str = "local-ca";

/// Serve a folder or a zip from this machine, without any cloud.
///
/// Plain HTTP serves the site as well: browsers treat http://localhost as a secure context, and show no warning. The HTTPS
/// certificate comes from a local CA, which `up` creates on first use and keeps; `--trust` makes the system and the browsers trust
/// it. That CA can certify the domain and the loopback addresses, and nothing else. `up` serves each change of the site within a
/// second, and warns of each setting that it does not understand. Ctrl-C finishes the requests under way, and ends.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   ended by Ctrl-C; with --untrust: no store trusts the local CA
  1   with --untrust: a store may still trust it
  64  there is no such site
  71  a port is in use, or a folder is not writable")]
pub(super) struct UpCommand {
    /// The site: a folder, or a zip; `up` serves each change of it as you make it.
    #[arg(required_unless_present = "untrust")]
    path: Option<PathBuf>,
    /// Pass requests that no file answers to an application on this machine: http://127.0.0.1:8000, or unix:/run/app.sock.
    /// `[app] routes` in the site's site.toml limits this to some paths.
    #[arg(long, value_name = "ADDRESS")]
    app: Option<ApplicationAddress>,
    /// Take what the site `needs` and the environment does not have from this file, with NAME=value a line.
    #[arg(long, value_name = "FILE", conflicts_with = "app")]
    env_file: Option<PathBuf>,
    /// Trust what load balancers in this network, such as 10.0.0.0/16, say of their visitors; may be given several times.
    #[arg(long, value_name = "NETWORK")]
    trust_proxy: Vec<TrustedProxy>,
    /// Address and port to listen on for HTTPS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443", value_parser = super::address)]
    https: SocketAddr,
    /// Address and port to listen on for plain HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = super::address)]
    http: SocketAddr,
    /// Name of the site, which the certificate is for.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    domain: Name,
    /// Folder for the local CA, the certificate and the package; by default `spothost` in the user's state folder.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Open the site in the browser.
    #[arg(long)]
    open: bool,
    /// Add the local CA to the trust stores of the system and your browsers, so that they do not warn of HTTPS.
    #[arg(long)]
    trust: bool,
    /// Remove each local CA of the state folder from these stores, and end.
    #[arg(long, conflicts_with_all = ["trust", "open", "path", "app", "env_file"])]
    untrust: bool,
    #[command(flatten)]
    log: Log,
}

impl UpCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("info");
        let Some(path) = &self.path else { return self.distrust() };
        let missing = |error| format!("{}: {error}; name a folder with a site, or a zip", path.display());
        let site = fs::canonicalize(path).map_err(|error| Stop::new(BAD_CONFIGURATION, missing(error)))?;
        let folders = self.folders(&site)?;
        let ca = LocalCa::confined(&folders.local_ca, &self.domain, clock::now());
        let ca = ca.map_err(|fault| Stop::new(CANNOT_RUN, fault))?;
        let stores = if self.trust { trust(&machine()?, &anchor(&folders.local_ca)?) } else { Vec::new() };
        let also = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        let greet = || self.greet(path, &folders, &ca, &stores);
        host(&self.config(site, &folders, &ca), &folders, also, greet)
    }

    /// Takes each local CA out of the stores.
    fn distrust(&self) -> Result<ExitCode, Stop> {
        let state = self.state()?;
        let mut anchors = vec![anchor(&self.local_ca(&state))?];
        for folder in fs::read_dir(&state).into_iter().flatten().flatten() {
            if folder.file_name().to_str().is_some_and(|name| name.starts_with(LOCAL_CA)) {
                anchors.push(anchor(&folder.path())?);
            }
        }
        let stores = distrust(&machine()?, &anchors);
        for store in &stores {
            anstream::println!("{store}");
        }
        let failed = stores.iter().any(|store| store.done.is_err());
        Ok(if failed { ExitCode::from(NOT_AS_IT_SHOULD_BE) } else { ExitCode::SUCCESS })
    }

    fn config(&self, path: PathBuf, folders: &Folders, ca: &LocalCa) -> Config {
        Config {
            domain: self.domain.clone(),
            aliases: Vec::new(),
            package: PackagePlace::Disk(path),
            package_keys: Vec::new(),
            // What another CA has certified is not used with this one.
            vault: VaultPlace::Disk(folders.state.join(format!("identity-{}.json", ca.fingerprint()))),
            zone: None,
            contact: None,
            authority: Authority::Internal,
            listen: Listen { http: self.http, https: self.https },
            ttl: 60,
            leading: RoutingMode::Records,
            look: Look { package: std::time::Duration::from_secs(1), ..Look::default() },
            serve: Serve::default()
                .over_plain_http()
                .with_application(self.app.clone())
                .behind(self.trust_proxy.clone()),
            app: None,
            developer: Some(SecretsPlace::Environment(self.env_file.clone())),
            limits: Limits::default(),
            adopt: false,
            on_departure: OnDeparture::default(),
            succession: Succession::default(),
            fleet: Fleet::default(),
            upgrade: None,
        }
    }

    fn folders(&self, path: &Path) -> Result<Folders, Stop> {
        let state = self.state()?;
        if state.starts_with(path) {
            let said = format!("the state folder {} must not lie in the site, or it would be served", state.display());
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        // Sites of one domain share the CA, which is trusted once, and nothing else.
        let own = own_folder(&state, path).map_err(|error| Stop::new(CANNOT_RUN, error))?;
        Ok(Folders { local_ca: self.local_ca(&state), runtime: own.join("run"), state: own })
    }

    /// The folder with the state of all sites.
    fn state(&self) -> Result<PathBuf, Stop> {
        if let Some(folder) = &self.state_dir {
            return std::path::absolute(folder).map_err(|error| Stop::new(CANNOT_RUN, error));
        }
        let home = dirs::state_dir().or_else(dirs::data_local_dir);
        let no_home = || Stop::new(CANNOT_RUN, "there is no home folder: say --state-dir");
        Ok(home.ok_or_else(no_home)?.join("spothost"))
    }

    /// The folder of the CA for the domain, below the folder with the state of all sites.
    fn local_ca(&self, state: &Path) -> PathBuf {
        match self.domain.as_str() {
            "localhost" => state.join(LOCAL_CA),
            domain => state.join(format!("{LOCAL_CA}-{}", domain.replace('*', "_"))),
        }
    }

    /// Where the site is, and what to try next; said once it is so, in ten lines at most.
    fn greet(&self, path: &Path, folders: &Folders, ca: &LocalCa, stores: &[StoreReport]) {
        let plain = self.url("http", self.http, 80);
        let secure = self.url("https", self.https, 443);
        let program = program();
        let runtime = word(&folders.runtime);
        let bold = anstyle::Style::new().bold();
        anstream::println!("{bold}{plain}{bold:#} serves {}", path.display());
        anstream::println!("  over HTTPS      {secure}");
        if let Some(app) = &self.app {
            anstream::println!("  the rest from   {app}");
        }
        if self.trust {
            for store in stores {
                anstream::println!("  {store}");
            }
            anstream::println!("  to undo that    {program} up --untrust{}", self.state_option());
        } else {
            anstream::println!("  with curl       curl --cacert {} {secure}", ca.path().display());
            anstream::println!("  in a browser    add --trust, and the system and your browsers trust the local CA");
        }
        anstream::println!("  to try          change a file: a second later it is live");
        anstream::println!("  what it does    {program} status --runtime-dir {runtime}");
        anstream::println!("  to end it       Ctrl-C");
        // A browser that cannot be started is no reason not to serve.
        if self.open
            && let Err(error) = open::that_detached(&plain)
        {
            tracing::warn!(%error, "no browser could be started: open {plain} yourself");
        }
    }

    /// The option that leads another run to the same state folder.
    fn state_option(&self) -> String {
        self.state_dir.as_ref().map(|folder| format!(" --state-dir {}", word(folder))).unwrap_or_default()
    }

    /// The URL of the first page at that address of the host.
    fn url(&self, scheme: &str, at: SocketAddr, usual: u16) -> String {
        match at.port() {
            port if port == usual => format!("{scheme}://{}/", self.domain),
            port => format!("{scheme}://{}:{port}/", self.domain),
        }
    }
}

fn machine() -> Result<Machine, Stop> {
    Machine::here().ok_or_else(|| {
        Stop::new(CANNOT_RUN, "there is no home folder in which browsers keep what they trust: set HOME")
    })
}

/// What stores know of the local CA in `folder`.
fn anchor(folder: &Path) -> Result<Anchor, Stop> {
    let unreadable = |error| Stop::new(CANNOT_RUN, format!("reading the local CA in {}: {error}", folder.display()));
    Anchor::of(folder).map_err(unreadable)
}

/// The folder for the state of the site at `path`, which two sites never share: named after it and the SHA-256 of its path.
///
/// Earlier versions hashed the path in another way. What they kept of this site, as its note of the last good package says, gets
/// the new name.
fn own_folder(state: &Path, path: &Path) -> io::Result<PathBuf> {
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    let begin = format!("up-{plain}-");
    let own = state.join(format!("{begin}{}", hex::encode(&Sha256::digest(path.as_os_str().as_bytes())[..4])));
    if own.exists() || !state.exists() {
        return Ok(own);
    }
    let source = PackagePlace::Disk(path.to_owned()).to_string();
    for folder in fs::read_dir(state)?.flatten() {
        let is_named_so = folder.file_name().to_str().is_some_and(|name| name.starts_with(&begin));
        let package_cache = PackageCache::new(folder.path().join(layout::PACKAGE_FOLDER), source.clone());
        if is_named_so && package_cache.is_of_its_source() {
            fs::rename(folder.path(), &own)?;
            break;
        }
    }
    Ok(own)
}

/// This program as it was called, for commands that people copy: after `cargo up` no folder of `PATH` has it.
fn program() -> String {
    env::args_os().next().map_or_else(|| "spothost".to_owned(), |program| word(Path::new(&program)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::{Document as _, LastGood, Release};

    #[test]
    fn state_of_a_site_has_one_name_and_what_an_earlier_version_kept_of_it_gets_that() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = folder.path().join("spothost");
        let site = Path::new("/srv/www.example");
        let own = own_folder(&state, site).expect("a name");
        assert_eq!(own, state.join("up-www-85409570"), "nothing is kept yet");
        for (name, of) in [("up-www-0123abcd", "/srv/other/www.example"), ("up-www-89abcdef", "/srv/www.example")] {
            let package = state.join(name).join(layout::PACKAGE_FOLDER);
            fs::create_dir_all(&package).expect("made");
            let release = Release::plain(of, "\"1\"", 1, time::OffsetDateTime::UNIX_EPOCH);
            let note = LastGood::new(of.to_owned(), release, "0123456789abcdef.zip".to_owned());
            fs::write(package.join(layout::LAST_GOOD), note.text()).expect("written");
        }
        assert_eq!(own_folder(&state, site).expect("a name"), own);
        let mut kept: Vec<_> = fs::read_dir(&state).expect("readable").flatten().map(|entry| entry.path()).collect();
        kept.sort_unstable();
        let mut expected = vec![state.join("up-www-0123abcd"), own];
        expected.sort_unstable();
        assert_eq!(kept, expected);
    }
}
