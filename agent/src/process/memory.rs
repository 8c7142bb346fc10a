//! How much memory a process takes, how much it may take, and how much there is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::config::MemoryLimit;

/// What a second process may take more than the first does now: it begins, and the first may grow meanwhile.
const MARGIN: u64 = 64 << 20;

/// The limit in bytes, on this machine; none where its memory is not known.
pub(crate) fn bytes(limit: MemoryLimit) -> Option<u64> {
    match limit {
        MemoryLimit::Bytes(bytes) => Some(bytes),
        MemoryLimit::Percent(percent) => total(Path::new("/proc/meminfo")).map(|all| all / 100 * u64::from(percent)),
    }
}

/// Whether another process like the one that leads this group can run beside it. What cannot be known is taken for enough: a machine
/// without these files has no bound that is known.
pub(crate) fn allows_another(leader: u32) -> bool {
    let Some(available) = available(Path::new("/proc/meminfo")) else { return true };
    let taken = group(Path::new("/proc"), leader);
    available >= (taken + taken / 2).saturating_add(MARGIN)
}

/// Bytes that processes may take without any being killed, as the kernel estimates it (`MemAvailable`, proc_meminfo(5)).
fn available(meminfo: &Path) -> Option<u64> {
    kibibytes(&fs::read_to_string(meminfo).ok()?, "MemAvailable:")
}

/// Bytes of memory that the machine has (`MemTotal`).
fn total(meminfo: &Path) -> Option<u64> {
    kibibytes(&fs::read_to_string(meminfo).ok()?, "MemTotal:")
}

/// Bytes of memory that the processes of a group have, where each has its share of the pages that several have (`Pss`,
/// proc_pid_smaps(5)).
fn group(proc: &Path, leader: u32) -> u64 {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let processes = entries.map(|entry| entry.path()).filter(|folder| group_of(folder) == Some(leader));
    processes
        .filter_map(|folder: PathBuf| kibibytes(&fs::read_to_string(folder.join("smaps_rollup")).ok()?, "Pss:"))
        .sum()
}

/// The process group of a process (proc_pid_stat(5)): its name may hold spaces and parentheses.
fn group_of(folder: &Path) -> Option<u32> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_group_is_that_of_its_processes() {
        let folder = tempfile::tempdir().expect("a folder");
        let process = |pid: u32, stat: &str, pss: u64| {
            let process = folder.path().join(pid.to_string());
            fs::create_dir(&process).expect("made");
            fs::write(process.join("stat"), stat).expect("written");
            fs::write(process.join("smaps_rollup"), format!("Rss: 900 kB\nPss:   {pss} kB\n")).expect("written");
        };
        process(7, "7 (gunicorn) S 1 7 7 0", 100);
        process(8, "8 (a) b (c) R 7 7 7 0", 20);
        process(9, "9 (other) S 1 9 9 0", 3000);
        fs::create_dir(folder.path().join("self")).expect("made");
        assert_eq!(group(folder.path(), 7), 120 * 1024);
        assert_eq!(group(folder.path(), 1), 0);
    }

    #[test]
    fn share_of_the_memory_is_a_part_of_it() {
        let all = total(Path::new("/proc/meminfo"));
        let half = bytes(MemoryLimit::Percent(50));
        assert!(half.zip(all).is_some_and(|(half, all)| half > all / 3 && half < all / 3 * 2), "{half:?} of {all:?}");
        assert_eq!(bytes(MemoryLimit::Bytes(7)), Some(7));
    }

    #[test]
    fn memory_that_is_there_is_the_kernels_estimate() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("meminfo");
        fs::write(&file, "MemTotal: 4096 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n").expect("written");
        assert_eq!(available(&file), Some(2 << 20));
        assert!(available(Path::new("/proc/meminfo")).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(available(&folder.path().join("none")), None);
    }
}
