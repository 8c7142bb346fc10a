//! The NSS databases of browsers, which `certutil` of NSS reads and writes.

use std::{ffi::OsString, fs, io::Read as _, os::unix::fs::DirBuilderExt as _, path::Path, process::Output};

use x509_parser::pem::Pem;

use super::{
    browser::is_database,
    change::{Obstacle, StoreChange},
    distribution::Distribution,
    machine::Machine,
};
use crate::certificate::Anchor;

/// Trusted as a CA of servers, and for nothing else: `certutil -t`.
const FOR_SERVERS: &str = "C,,";
/// How the names of all CAs of this program begin, those of earlier versions included.
const BEGIN: &str = "spothost local CA";
/// Certificates that are removed from a database at once, at most.
const MOST: usize = 64;
/// Octets of a database that are searched without `certutil`, at most.
const LARGEST: u64 = 64 << 20;

/// The program that changes NSS databases.
pub(super) struct Certutil<'a> {
    machine: &'a Machine,
    program: Result<std::path::PathBuf, Obstacle>,
}

/// A certificate of a database.
struct NssCertificate {
    nickname: String,
    /// Whether it is trusted as a CA of servers.
    is_trusted: bool,
    /// The certificates of that nickname, in DER.
    certificates: Vec<Vec<u8>>,
}

impl<'a> Certutil<'a> {
    /// The one of `machine`; where it is missing, each database is an obstacle.
    pub(super) fn on(machine: &'a Machine) -> Certutil<'a> {
        let missing = || {
            let missing = Obstacle::new("certutil is not installed");
            match Distribution::of(machine) {
                Some(distribution) => missing.cured_by(format!("sudo {}", distribution.brings_certutil)),
                None => missing,
            }
        };
        Certutil { machine, program: machine.program("certutil").ok_or_else(missing) }
    }

    /// Makes the database in the folder `database` trust the current certificate of `anchor`, and none before it.
    pub(super) fn trust(&self, database: &Path, anchor: &Anchor) -> Result<StoreChange, Obstacle> {
        let Some(current) = &anchor.current else { return Ok(StoreChange::WasOut) };
        self.make(database)?;
        let found = self.entries(database, std::slice::from_ref(anchor))?;
        if let [entry] = found.as_slice()
            && entry.is_trusted
            && entry.certificates == [current.clone()]
        {
            return Ok(StoreChange::WasIn);
        }
        self.remove(database, &found)?;
        let certificate = anchor.path.as_os_str();
        let arguments = ["-A", "-t", FOR_SERVERS, "-n", &anchor.name, "-i"].map(OsString::from);
        self.run(database, arguments.into_iter().chain([certificate.to_owned()]))?;
        Ok(StoreChange::PutIn)
    }

    /// Takes every certificate of `anchors` out of the database in the folder `database`.
    pub(super) fn distrust(&self, database: &Path, anchors: &[Anchor]) -> Result<StoreChange, Obstacle> {
        let cannot_hold_one = self.program.is_err() && !may_hold_one(database);
        if cannot_hold_one || !is_database(database) {
            return Ok(StoreChange::WasOut);
        }
        let found = self.entries(database, anchors)?;
        if found.is_empty() {
            return Ok(StoreChange::WasOut);
        }
        self.remove(database, &found)?;
        Ok(StoreChange::TakenOut)
    }

    /// Makes the database where there is none.
    fn make(&self, database: &Path) -> Result<(), Obstacle> {
        if is_database(database) {
            return Ok(());
        }
        self.program.as_ref().map_err(Clone::clone)?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(database);
        made.map_err(|error| Obstacle::new(format!("making {}: {error}", database.display())))?;
        self.run(database, ["-N", "--empty-password"].map(OsString::from)).map(|_| ())
    }

    /// The entries of that database whose certificates are all of `anchors`.
    fn entries(&self, database: &Path, anchors: &[Anchor]) -> Result<Vec<NssCertificate>, Obstacle> {
        let listed = self.run(database, [OsString::from("-L")])?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let mut entries: Vec<NssCertificate> = Vec::new();
        for (nickname, trust) in listed.lines().filter_map(listed_certificate) {
            let is_listed = entries.iter().any(|entry| entry.nickname == nickname);
            if is_listed || !nickname.starts_with(BEGIN) {
                continue;
            }
            let arguments = ["-L", "-a", "-n", nickname].map(OsString::from);
            let shown = self.run(database, arguments)?.stdout;
            let certificates: Vec<Vec<u8>> = Pem::iter_from_buffer(&shown).flatten().map(|pem| pem.contents).collect();
            let is_of_it = |der: &Vec<u8>| anchors.iter().any(|anchor| anchor.is_of_it(der));
            if !certificates.is_empty() && certificates.iter().all(is_of_it) {
                let is_trusted = trust.split(',').next().is_some_and(|servers| servers.contains('C'));
                entries.push(NssCertificate { nickname: nickname.to_owned(), is_trusted, certificates });
            }
        }
        Ok(entries)
    }

    /// Removes them, each as often as it is there: certificates with one subject share a nickname.
    fn remove(&self, database: &Path, entries: &[NssCertificate]) -> Result<(), Obstacle> {
        for entry in entries {
            for _ in entry.certificates.iter().take(MOST) {
                self.run(database, ["-D", "-n", &entry.nickname].map(OsString::from))?;
            }
        }
        Ok(())
    }

    fn run(&self, database: &Path, arguments: impl IntoIterator<Item = OsString>) -> Result<Output, Obstacle> {
        let program = self.program.as_ref().map_err(Clone::clone)?;
        let mut folder = OsString::from("sql:");
        folder.push(database);
        let failed = |said: String| Obstacle::new(format!("certutil on {}: {said}", database.display()));
        let mut command = self.machine.command(program);
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        if arguments.first().is_some_and(|first| first != "-N") {
            // A database with a password is an obstacle: certutil would ask for it at the terminal.
            command.args(["-f", "/dev/null"]);
        }
        let said = command.args(arguments).arg("-d").arg(folder).output().map_err(|error| failed(error.to_string()))?;
        if said.status.success() {
            return Ok(said);
        }
        let text = String::from_utf8_lossy(&said.stderr);
        Err(failed(text.trim().lines().last().map_or_else(|| said.status.to_string(), str::to_owned)))
    }
}

/// Nickname and trust flags in a line of `certutil -L`; none in its heading.
fn listed_certificate(line: &str) -> Option<(&str, &str)> {
    let (nickname, trust) = line.trim_end().rsplit_once(' ')?;
    let is_trust = trust.matches(',').count() == 2 && !trust.contains('/');
    is_trust.then(|| (nickname.trim_end(), trust))
}

/// Whether a certificate of this program may be in a database, as SQLite keeps names as they are. One that was removed may
/// leave its name behind.
fn may_hold_one(database: &Path) -> bool {
    let Ok(file) = fs::File::open(database.join("cert9.db")) else { return false };
    let mut content = Vec::new();
    let read = file.take(LARGEST).read_to_end(&mut content);
    read.is_err() || content.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}
