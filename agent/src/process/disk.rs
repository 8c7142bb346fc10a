//! How much of the disk a process may take: half of what was free when it began.
//!
//! No file system of a host bounds an account that is there for a moment, and systemd bounds `PrivateTmp=` by nothing but the memory of a
//! tmpfs. So the runner looks how much is free, which costs nothing, and counts what its process holds only where half of it is gone.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{fs::statvfs, process::getuid};

use super::tree;

/// Counting takes at most this share of the time, however many files there are.
const SHARE: u32 = 20;
/// A file of nothing takes so much in its folder and the table of files, as a bound on their number.
const LEAST: u64 = 1 << 10;
/// The folders of temporary files, which are the process's own where systemd made them so.
const TEMPORARY: [&str; 2] = ["/var/tmp", "/tmp"];
/// What systemd calls them where they are (`PrivateTmp=`, systemd.exec(5)).
const PRIVATE: &str = "systemd-private-";

/// The bound of a process that begins now.
#[derive(Debug)]
pub(crate) struct DiskBound {
    places: Vec<Place>,
    /// The unpacked program, which is read-only and was there before.
    program: PathBuf,
    /// Not counted again before that.
    next: Instant,
}

/// A folder that it may write to, and how many bytes were free on its file system.
#[derive(Debug)]
struct Place {
    folder: PathBuf,
    free: u64,
}

impl DiskBound {
    /// The bound of a process whose own folder is `folder`, where its `program` is unpacked.
    pub(crate) fn new(folder: &Path, program: &Path) -> DiskBound {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut folders: Vec<_> =
            TEMPORARY.iter().filter(|path| is_private(&mounts, path)).map(PathBuf::from).collect();
        if !folders.iter().any(|private| folder.starts_with(private)) {
            folders.push(folder.to_owned());
        }
        let place = |folder: PathBuf| Some(Place { free: free(&folder).ok()?, folder });
        let places = folders.into_iter().filter_map(place).collect();
        DiskBound { places, program: program.to_owned(), next: Instant::now() }
    }

    /// Why the process is to be ended, if it is: it holds more than half of what was free.
    pub(crate) fn exceeded(&mut self) -> Option<String> {
        let begun = Instant::now();
        if begun < self.next {
            return None;
        }
        let mut counted = false;
        let exceeded = self.places.iter().find_map(|place| {
            let bound = place.free / 2;
            if free(&place.folder).is_ok_and(|free| free >= place.free - bound) {
                return None;
            }
            counted = true;
            let held = held(&place.folder, &self.program);
            (held > bound).then(|| {
                let held = held >> 20;
                let bound = bound >> 20;
                format!("it took more of the disk than it may ({held} MiB, of {bound} MiB), and was killed")
            })
        });
        if counted {
            self.next = Instant::now() + begun.elapsed().max(Duration::from_millis(1)) * SHARE;
        }
        exceeded
    }

    /// Removes what the process has written.
    pub(crate) fn empty(&self) {
        for place in &self.places {
            empty(&place.folder, &self.program);
        }
    }
}

/// Bytes that any account may still take.
fn free(folder: &Path) -> io::Result<u64> {
    let of = statvfs(folder)?;
    Ok(of.f_bavail.saturating_mul(of.f_frsize))
}

/// Bytes on disk of what lies below `folder`, but for the program, and of what was removed there and is still open.
fn held(folder: &Path, program: &Path) -> u64 {
    let Ok(own) = fs::symlink_metadata(folder) else { return 0 };
    let mut seen = HashSet::new();
    let mut bytes = 0_u64;
    let mut count = |file: &fs::Metadata| {
        if file.dev() == own.dev() && seen.insert(file.ino()) {
            bytes = bytes.saturating_add((file.blocks() * 512).max(LEAST));
        }
    };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            if path == program {
                continue;
            }
            count(&file);
            if file.is_dir() {
                folders.push(path);
            }
        }
    }
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_own = process.metadata().is_ok_and(|process| process.uid() == getuid().as_raw());
        let open = is_own.then(|| fs::read_dir(process.path().join("fd")).ok()).flatten();
        for descriptor in open.into_iter().flatten().flatten() {
            let path = fs::read_link(descriptor.path()).unwrap_or_default();
            // The kernel adds that it was removed to its path.
            let is_there = path.starts_with(folder) && path.to_string_lossy().ends_with(" (deleted)");
            if let Ok(file) = fs::metadata(descriptor.path())
                && is_there
                && file.nlink() == 0
            {
                count(&file);
            }
        }
    }
    bytes
}

/// Removes what lies below `folder`, but for the program and the folders that lead there or are its neighbours.
fn empty(folder: &Path, program: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if path == program {
            continue;
        }
        let removed = if program.starts_with(&path) || program.parent() == Some(folder) && is_folder {
            empty(&path, program);
            Ok(())
        } else if is_folder {
            tree::remove(&path)
        } else {
            fs::remove_file(&path)
        };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "a file of the application was not removed");
        }
    }
}

/// Whether systemd has made that folder for this unit alone, by `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn is_private(mounts: &str, folder: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let root = fields.next();
        let point = fields.next();
        point == Some(folder) && root.is_some_and(|root| root.contains(PRIVATE))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_unit_are_told_from_those_of_the_machine() {
        let mounts = "100 90 254:1 /var/tmp/systemd-private-1f-spothost-app@0.service-x/tmp /var/tmp rw - ext4 /dev/vda rw\n\
                      101 90 0:30 / /tmp rw - tmpfs tmpfs rw\n";
        assert!(is_private(mounts, "/var/tmp"));
        assert!(!is_private(mounts, "/tmp") && !is_private(mounts, "/var") && !is_private("", "/var/tmp"));
    }

    #[test]
    fn what_a_process_holds_is_counted_without_its_program_and_with_what_it_removed() {
        let own = tempfile::tempdir().expect("a folder");
        let folder = own.path();
        let program = folder.join("trees");
        let home = folder.join("home");
        fs::create_dir_all(program.join("lib")).expect("made");
        fs::create_dir_all(home.join("deep")).expect("made");
        fs::write(program.join("lib/large"), vec![1; 1 << 20]).expect("written");
        let before = held(folder, &program);
        assert!(before < 100 << 10, "{before}");
        fs::write(home.join("deep/written"), vec![1; 1 << 20]).expect("written");
        let removed = fs::File::create(folder.join("removed")).expect("made");
        fs::write(folder.join("removed"), vec![1; 1 << 20]).expect("written");
        fs::remove_file(folder.join("removed")).expect("removed");
        let now = held(folder, &program);
        assert!((before + (2 << 20)..before + (3 << 20)).contains(&now), "{now}");
        drop(removed);
        empty(folder, &program);
        assert!(program.join("lib/large").exists() && home.exists() && !home.join("deep").exists());
        assert!(held(folder, &program) < 100 << 10);
    }

    #[test]
    fn a_process_that_holds_less_than_half_of_what_was_free_goes_on() {
        let own = tempfile::tempdir().expect("a folder");
        let mut bound = DiskBound::new(own.path(), &own.path().join("trees"));
        assert_eq!(bound.exceeded(), None);
        for place in &mut bound.places {
            // As if it had taken nearly all of it; it holds nothing.
            place.free = place.free.saturating_mul(100);
        }
        assert_eq!(bound.exceeded(), None);
        fs::write(own.path().join("written"), vec![1; 1 << 20]).expect("written");
        bound.places = vec![Place { folder: own.path().to_owned(), free: free(own.path()).expect("known") }];
        assert_eq!(bound.exceeded(), None);
    }
}
