//! The store of the system, which most programs read but browsers.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use x509_parser::pem::Pem;

use super::{
    change::{Obstacle, StoreChange},
    distribution::Distribution,
    machine::Machine,
};
use crate::{atomic_file::AtomicFile, certificate::Anchor};

/// Octets of a file with one certificate at most; larger ones are left alone.
const LARGEST: u64 = 64 << 10;
/// Files of the folder that are looked at, at most.
const MOST: usize = 4096;

/// The CAs that the administrator of this machine trusts.
pub(super) struct SystemStore<'a> {
    machine: &'a Machine,
    distribution: &'static Distribution,
}

/// A file of the store with one certificate.
struct StoreFile {
    path: PathBuf,
    text: Vec<u8>,
    der: Vec<u8>,
}

impl<'a> SystemStore<'a> {
    /// The store of `machine`.
    pub(super) fn on(machine: &'a Machine) -> Result<SystemStore<'a>, Obstacle> {
        match Distribution::of(machine) {
            Some(distribution) => Ok(SystemStore { machine, distribution }),
            None => Err(Obstacle::new("none of a kind that spothost knows; the package ca-certificates brings one")),
        }
    }

    /// Makes it hold the current certificate of `anchor`, and none before it.
    pub(super) fn trust(&self, anchor: &Anchor) -> Result<StoreChange, Obstacle> {
        let Some(current) = &anchor.current else { return Ok(StoreChange::WasOut) };
        let found = self.entries(|der| anchor.is_of_it(der))?;
        let is_in = found.iter().any(|entry| entry.der == *current);
        let stale: Vec<StoreFile> = found.into_iter().filter(|entry| entry.der != *current).collect();
        if is_in && stale.is_empty() {
            return Ok(StoreChange::WasIn);
        }
        let add = (!is_in).then(|| self.file_of(anchor));
        // Its own file of before is overwritten, not removed.
        let stale: Vec<StoreFile> = stale.into_iter().filter(|entry| Some(&entry.path) != add.as_ref()).collect();
        self.change(&stale, add.as_deref().map(|to| (anchor.path.as_path(), to)))?;
        Ok(StoreChange::PutIn)
    }

    /// Takes every certificate of `anchors` out of it.
    pub(super) fn distrust(&self, anchors: &[Anchor]) -> Result<StoreChange, Obstacle> {
        let found = self.entries(|der| anchors.iter().any(|anchor| anchor.is_of_it(der)))?;
        if found.is_empty() {
            return Ok(StoreChange::WasOut);
        }
        self.change(&found, None)?;
        Ok(StoreChange::TakenOut)
    }

    /// The file into which the certificate of `anchor` is put.
    fn file_of(&self, anchor: &Anchor) -> PathBuf {
        let name = anchor.name.replace(' ', "-");
        self.folder().join(format!("{name}.{}", self.distribution.ending))
    }

    fn folder(&self) -> PathBuf {
        self.machine.below(self.distribution.anchors)
    }

    /// The files with one certificate that is `wanted`. Files with several are not spothost's.
    fn entries(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<StoreFile>, Obstacle> {
        let folder = self.folder();
        let unreadable = |error: io::Error| Obstacle::new(format!("reading {}: {error}", folder.display()));
        let mut entries = Vec::new();
        for file in fs::read_dir(&folder).map_err(unreadable)?.take(MOST) {
            let path = file.map_err(unreadable)?.path();
            let is_small = path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
            // What another administrator keeps from this person is not of this person's CA.
            let Ok(text) = is_small.then(|| fs::read(&path)).transpose() else { continue };
            let Some(text) = text else { continue };
            let certificates: Vec<_> = Pem::iter_from_buffer(&text).collect();
            if let [Ok(pem)] = certificates.as_slice()
                && wanted(&pem.contents)
            {
                let der = pem.contents.clone();
                entries.push(StoreFile { path, text, der });
            }
        }
        Ok(entries)
    }

    /// Removes files, copies one `(from, to)`, and tells all programs; where one of these fails, the folder is as before.
    fn change(&self, remove: &[StoreFile], add: Option<(&Path, &Path)>) -> Result<(), Obstacle> {
        let paths: Vec<&Path> = remove.iter().map(|entry| entry.path.as_path()).collect();
        let cure = self.distribution.by_hand(&paths, add);
        let folder = self.folder();
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => Obstacle::new("needs root").cured_by(cure.clone()),
            io::ErrorKind::ReadOnlyFilesystem => {
                Obstacle::new(format!("cannot be changed, as {} is on a read-only file system", folder.display()))
            }
            _ => Obstacle::new(format!("writing {}: {error}", folder.display())).cured_by(cure.clone()),
        };
        rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK).map_err(|error| refused(error.into()))?;
        let [program, arguments @ ..] = self.distribution.update(!remove.is_empty()) else { return Ok(()) };
        let missing = || Obstacle::new(format!("{program} is not on the PATH")).cured_by(cure.clone());
        let program_path = self.machine.program(program).ok_or_else(missing)?;
        let before = add.and_then(|(_, to)| fs::read(to).ok());
        let changed = self.write(remove, add).map_err(refused).and_then(|()| {
            let said = self.machine.command(&program_path).args(arguments).output();
            let said = said.map_err(|error| Obstacle::new(format!("running {program}: {error}")))?;
            if said.status.success() {
                return Ok(());
            }
            let last = String::from_utf8_lossy(&said.stderr).trim().lines().last().unwrap_or_default().to_owned();
            Err(Obstacle::new(format!("{program} failed ({}), and nothing was changed: {last}", said.status)))
        });
        if changed.is_err() {
            for entry in remove {
                restore(&entry.path, Some(&entry.text));
            }
            if let Some((_, to)) = add {
                restore(to, before.as_deref());
            }
        }
        changed
    }

    fn write(&self, remove: &[StoreFile], add: Option<(&Path, &Path)>) -> io::Result<()> {
        for entry in remove {
            fs::remove_file(&entry.path)?;
        }
        if let Some((from, to)) = add {
            AtomicFile::at(to).write(&fs::read(from)?)?;
            // Whatever the umask: each program of each person reads it.
            fs::set_permissions(to, fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }
}

/// Gives the file at `path` the content that it had, or takes it away where it was not.
fn restore(path: &Path, content: Option<&[u8]>) {
    let restored = match content {
        Some(content) if fs::read(path).is_ok_and(|there| there == content) => Ok(()),
        Some(content) => AtomicFile::at(path).write(content),
        None if path.exists() => fs::remove_file(path),
        None => Ok(()),
    };
    if let Err(error) = restored {
        tracing::warn!(path = %path.display(), %error, "a file of the system's trust store could not be restored");
    }
}
