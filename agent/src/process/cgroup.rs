//! The control group of a process: what it and all that it starts may take, whether the kernel killed some of it for memory, and how
//! all of it is ended at once.
//!
//! systemd delegates the runner's own group to it (`Delegate=`, systemd.resource-control(5)). A group that has members may not limit
//! them below itself ("no internal processes", cgroups(7)), so the runner moves itself into one child and its process into another.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Where the unified hierarchy is mounted (cgroups(7)).
const ROOT: &str = "/sys/fs/cgroup";
/// The groups of the runner and of its process.
const RUNNER: &str = "runner";
const PROCESS: &str = "app";

/// How many tasks the process and all that it starts may have (`pids.max`, cgroups(7)): fewer than the unit (`TasksMax=512`), so that one
/// that forks without end takes none that its runner needs.
const TASKS: u32 = 448;

/// The control group of a process that may have none yet.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes the group below the one of this process, which moves aside. All members together may take so many bytes of memory.
    ///
    /// # Errors
    /// What the kernel says: most often, that the group is not delegated to this account.
    pub(crate) fn delegated(memory: u64) -> io::Result<Cgroup> {
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let own = own(&text)
            .ok_or_else(|| io::Error::new(ErrorKind::Unsupported, "this system has no unified control groups"))?;
        let own = Path::new(ROOT).join(own.trim_start_matches('/'));
        Cgroup::below(&own, memory)
    }

    fn below(own: &Path, memory: u64) -> io::Result<Cgroup> {
        // Beside the hierarchies of version 1 the unified one is mounted elsewhere, if at all, and there is a plain folder.
        let controllers = own.join("cgroup.controllers");
        fs::metadata(&controllers).map_err(|error| told(&controllers, error))?;
        let runner = own.join(RUNNER);
        make(&runner)?;
        write(&runner.join("cgroup.procs"), "0")?;
        write(&own.join("cgroup.subtree_control"), "+memory +pids")?;
        let process = own.join(PROCESS);
        make(&process)?;
        write(&process.join("memory.max"), &memory.to_string())?;
        write(&process.join("pids.max"), &TASKS.to_string())?;
        // Where there is swap, an application that thrashes takes the disk from all others. Kernels without it have no such file.
        let _ = write(&process.join("memory.swap.max"), "0");
        // All of it or nothing: half an application answers worse than none, which is started again.
        write(&process.join("memory.oom.group"), "1")?;
        Ok(Cgroup(process))
    }

    /// The file by which a process becomes a member.
    pub(crate) fn members(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Whether it has no member.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_to_string(self.members()).is_ok_and(|members| members.trim().is_empty())
    }

    /// Kills all members. Before Linux 5.14 nothing does that at once; systemd kills what is left when the unit ends.
    pub(crate) fn kill(&self) {
        if let Err(error) = write(&self.0.join("cgroup.kill"), "1") {
            tracing::warn!(%error, "the control group of the application is not killed at once");
        }
    }

    /// How many of its members the kernel has killed for memory.
    pub(crate) fn killed_for_memory(&self) -> u64 {
        fs::read_to_string(self.0.join("memory.events")).ok().and_then(|events| killed(&events)).unwrap_or_default()
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(told(folder, error)),
        _ => Ok(()),
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text).map_err(|error| told(file, error))
}

fn told(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The group of a process in the unified hierarchy, by `/proc/PID/cgroup`.
fn own(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::")).filter(|own| own.starts_with('/') && !own.contains("/../"))
}

fn killed(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_group_and_its_kills_are_read_as_the_kernel_writes_them() {
        assert_eq!(own("0::/system.slice/spothost-app@1.service\n"), Some("/system.slice/spothost-app@1.service"));
        assert_eq!(own("12:pids:/x\n1:name=systemd:/init\n0::/init.scope\n"), Some("/init.scope"));
        for none in ["", "1:name=systemd:/x\n", "0::/../outside\n"] {
            assert_eq!(own(none), None, "{none}");
        }
        assert_eq!(killed("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(killed("low 0\n"), None);
    }

    #[test]
    fn process_may_have_fewer_tasks_than_its_unit() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("cgroup.controllers"), "memory pids").expect("as the kernel has it");
        Cgroup::below(folder.path(), 1 << 30).expect("a group");
        let read = |file: &str| fs::read_to_string(folder.path().join("app").join(file)).expect("written");
        assert_eq!((read("pids.max"), read("memory.max")), ("448".to_owned(), (1 << 30).to_string()));
    }

    #[test]
    fn group_that_is_not_delegated_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = Cgroup::below(&folder.path().join("none"), 1).expect_err("there is none").to_string();
        assert!(error.contains("none/cgroup.controllers"), "{error}");
        // Root could make all of it there: a process would be a member of nothing, and never be seen to end.
        let error = Cgroup::below(folder.path(), 1).expect_err("it is no group").to_string();
        assert!(error.contains("cgroup.controllers"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).map(Iterator::count).ok(), Some(0));
    }
}
