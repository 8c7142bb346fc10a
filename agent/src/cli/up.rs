//! `spothost up`: the same keepers on local stores.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{BAD_CONFIGURATION, CANNOT_RUN, Log, Stop, run::host};
use crate::{
    boot::Folders,
    certificate::LocalCa,
    config::{Authority, Config, Fleet, Leading, Limits, Listen, Look, OnDeparture, Serve, Succession},
    place::{Name, PackagePlace, VaultPlace},
};

/// Serve a folder or a zip from this machine: the same keepers on local stores, with no cloud at all.
///
/// The certificate comes from a CA of its own, which is made on first use and kept. What the site's own settings say that is
/// not understood is told as a warning, each time the site changes. Ctrl-C drains.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 it was ended; 64 there is no such site; 71 a port is taken, or a folder cannot be written."
)]
pub(super) struct Up {
    /// The site: a folder, or a zip. Changes are swapped in as they are made.
    path: PathBuf,
    /// Where to listen for HTTPS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// Where to listen for plain HTTP, which redirects.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// The name to answer to and to be certified for.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    domain: Name,
    /// Folder for the local CA, the certificate and the package; by default `spothost` in the user's state folder.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    log: Log,
}

impl Up {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("info");
        let path = fs::canonicalize(&self.path);
        let missing = |error| format!("{}: {error}; name a folder with a site, or a zip", self.path.display());
        let path = path.map_err(|error| Stop::new(BAD_CONFIGURATION, missing(error)))?;
        let folders = self.folders(&path)?;
        let ca = LocalCa::open(&folders.local_ca).map_err(|fault| Stop::new(CANNOT_RUN, fault))?;
        let also = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        host(&self.config(path, &folders), &folders, also, || self.greet(&folders, ca.path()))
    }

    fn config(&self, path: PathBuf, folders: &Folders) -> Config {
        Config {
            domain: self.domain.clone(),
            aliases: Vec::new(),
            package: PackagePlace::Disk(path),
            package_keys: Vec::new(),
            vault: VaultPlace::Disk(folders.state.join("identity.json")),
            zone: None,
            contact: None,
            authority: Authority::Internal,
            listen: Listen { http: self.http, https: self.https },
            ttl: 60,
            leading: Leading::Records,
            look: Look { package: std::time::Duration::from_secs(1), ..Look::default() },
            serve: Serve::default(),
            limits: Limits::default(),
            adopt: false,
            on_departure: OnDeparture::default(),
            succession: Succession::default(),
            fleet: Fleet::default(),
            upgrade: None,
        }
    }

    fn folders(&self, path: &Path) -> Result<Folders, Stop> {
        let state = match &self.state_dir {
            Some(folder) => std::path::absolute(folder).map_err(|error| Stop::new(CANNOT_RUN, error))?,
            None => {
                let home = dirs::state_dir().or_else(dirs::data_local_dir);
                let no_home = || Stop::new(CANNOT_RUN, "there is no home folder: say --state-dir");
                home.ok_or_else(no_home)?.join("spothost")
            }
        };
        if state.starts_with(path) {
            let said = format!("the state folder {} must not lie in the site, or it would be served", state.display());
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        // Sites share the CA, which is trusted once, and nothing else.
        let own = state.join(format!("up-{}", name_of(path)));
        Ok(Folders { local_ca: state.join("local-ca"), runtime: own.join("run"), state: own })
    }

    /// Where the site is, and how to trust it; said once it is so.
    fn greet(&self, folders: &Folders, ca: &Path) {
        let port = match self.https.port() {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let ca = ca.display();
        anstream::println!("{}", serving(&format!("https://{}{port}/", self.domain), &self.path));
        anstream::println!("  with curl       curl --cacert {ca} https://{}{port}/", self.domain);
        anstream::println!("  in a browser    trust the local CA: {ca}");
        anstream::println!("  what it does    spothost status --runtime-dir {}", folders.runtime.display());
        anstream::println!("  to end it       Ctrl-C");
    }
}

/// A name for the state of the site at `path`, which two sites never share.
fn name_of(path: &Path) -> String {
    let mut hash = DefaultHasher::new();
    path.hash(&mut hash);
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(32).collect();
    format!("{plain}-{:08x}", hash.finish() as u32)
}

fn serving(url: &str, path: &Path) -> String {
    let bold = anstyle::Style::new().bold();
    format!("{bold}{url}{bold:#} serves {}", path.display())
}
