//! A disk that fails: whichever call that changes something on it, at the number that is asked for.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Instance, shared::tools};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// `ENOSPC`: it is full.
    Full,
    /// `EIO`: it is broken.
    Broken,
    /// `EROFS`: it has become read-only, as file systems do that found themselves damaged.
    ReadOnly,
}

/// A folder in which calls fail, in the agent alone. Every creation of a file, write, fsync, rename, removal and truncation
/// through the C library is counted; the rare call that goes to the kernel without it (`fallocate`) is not.
#[derive(Debug)]
pub struct FaultyDisk {
    folder: TempDir,
    control: File,
    control_path: PathBuf,
}

/// Places of the numbers in the control file, as `disk/shim.c` has them.
mod at {
    pub(super) const FAILS_IN: u64 = 0;
    pub(super) const ERROR: u64 = 8;
    pub(super) const LASTS: u64 = 16;
    pub(super) const FAILED: u64 = 24;
    pub(super) const CALLS: u64 = 32;
    pub(super) const END: u64 = 40;
}

impl FaultyDisk {
    /// One on which nothing fails yet, which is the state folder of that instance's agents from now on.
    ///
    /// # Panics
    /// When the library is missing, with the command that sets it up.
    pub fn of(instance: &mut Instance) -> FaultyDisk {
        let library = tools().join("faulty-disk.so");
        assert!(library.exists(), "{} is missing: tests/run sets it up", library.display());
        let folder = TempDir::new().expect("a temporary folder");
        let state = folder.path().join("state");
        let control_path = folder.path().join("control");
        std::fs::create_dir(&state).expect("a folder");
        let control = File::options().read(true).write(true).create_new(true).open(&control_path).expect("a file");
        control.set_len(at::END).expect("room for the numbers");
        let text = |path: &Path| path.display().to_string();
        for (name, value) in [
            ("STATE_DIRECTORY", text(&state)),
            ("LD_PRELOAD", text(&library)),
            ("DISK_CONTROL", text(&control_path)),
            ("DISK_FOLDER", text(&state)),
        ] {
            instance.environment.push((name.to_owned(), value));
        }
        FaultyDisk { folder, control, control_path }
    }

    /// What lies on it.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Lets the call of that number from now on fail (1: the next), and those after it, too, if it `lasts`.
    pub fn fail(&self, call: u32, with: DiskFault, lasts: bool) {
        let error = match with {
            DiskFault::Full => nix::errno::Errno::ENOSPC,
            DiskFault::Broken => nix::errno::Errno::EIO,
            DiskFault::ReadOnly => nix::errno::Errno::EROFS,
        };
        self.write(at::FAILS_IN, 0);
        self.write(at::FAILED, 0);
        self.write(at::ERROR, i64::from(error as i32));
        self.write(at::LASTS, i64::from(lasts));
        self.write(at::FAILS_IN, i64::from(call));
    }

    /// Lets nothing fail any more.
    pub fn mend(&self) {
        self.write(at::FAILS_IN, 0);
    }

    /// How many calls have failed since [`FaultyDisk::fail`].
    pub fn failed(&self) -> i64 {
        self.read(at::FAILED)
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> i64 {
        self.read(at::CALLS)
    }

    fn write(&self, at: u64, number: i64) {
        self.control.write_all_at(&number.to_ne_bytes(), at).expect("the control file is written");
    }

    fn read(&self, at: u64) -> i64 {
        let mut bytes = [0; 8];
        let read = self.control.read_exact_at(&mut bytes, at);
        read.unwrap_or_else(|error| panic!("{} cannot be read: {error}", self.control_path.display()));
        i64::from_ne_bytes(bytes)
    }
}
