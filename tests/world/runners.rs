//! What systemd does for `spothost-app.socket`: it starts a runner for each connection.

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::binary;

/// Runners, each in a network of its own, in which the metadata of the instance are out of reach, or are not.
#[derive(Debug)]
pub struct Runners {
    path: PathBuf,
    started: Arc<Mutex<Vec<Child>>>,
}

impl Runners {
    /// Runners for the connections to `path`, behind a wall.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start(path: &Path) -> Runners {
        // As a filter does, the kernel refuses what is sent, and does not merely know no way.
        Runners::start_with(
            path,
            "ip route add prohibit default && ip -6 route add prohibit default && exec \"$0\" app",
        )
    }

    /// The same with a disk of 64 MiB for their folders.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start_on_a_small_disk(path: &Path) -> Runners {
        let script = "ip route add prohibit default && ip -6 route add prohibit default && \
                      mount -t tmpfs -o size=64m,mode=1777 tmpfs /var/tmp && exec \"$0\" app";
        Runners::start_with(path, script)
    }

    /// The same in a network where there is no way to the metadata, and nothing that forbids one.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start_unconnected(path: &Path) -> Runners {
        Runners::start_with(path, "exec \"$0\" app")
    }

    /// The same in a network where an address of the metadata can be reached.
    ///
    /// # Panics
    /// When it cannot listen there.
    pub fn start_unwalled(path: &Path) -> Runners {
        let script = "ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec \"$0\" app";
        Runners::start_with(path, script)
    }

    fn start_with(path: &Path, script: &'static str) -> Runners {
        let listener = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        listener.bind(&SockAddr::unix(path).expect("a path")).expect("a free path");
        listener.listen(16).expect("it listens");
        let started = Arc::<Mutex<Vec<Child>>>::default();
        let runners = Arc::downgrade(&started);
        thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let Some(started) = runners.upgrade() else { break };
                started.lock().expect("no holder panics").push(runner(connection.into(), script));
            }
        });
        Runners { path: path.to_owned(), started }
    }

    /// Where they are reached.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills all that run, and nothing of what they have started; how many there were.
    ///
    /// # Panics
    /// When it is not allowed to.
    pub fn kill(&self) -> usize {
        let mut started = self.started.lock().expect("no holder panics");
        let mut killed = 0;
        for runner in started.iter_mut() {
            if runner.try_wait().expect("it is ours").is_none() {
                let pid = Pid::from_raw(i32::try_from(runner.id()).expect("a process id"));
                kill(pid, Signal::SIGKILL).expect("it is ours");
                killed += 1;
            }
        }
        killed
    }

    /// How many run.
    ///
    /// # Panics
    /// When that cannot be asked.
    pub fn running(&self) -> usize {
        let mut started = self.started.lock().expect("no holder panics");
        started.iter_mut().map(|runner| usize::from(runner.try_wait().expect("it is ours").is_none())).sum()
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        self.kill();
        // The thread that waits for connections looks whether it is still wanted.
        let waker = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        let _ = SockAddr::unix(&self.path).and_then(|path| waker.connect(&path));
    }
}

/// A runner with that connection, which runs as the last word of that script.
fn runner(connection: OwnedFd, script: &str) -> Child {
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "sh", "-c", script]).arg(binary()).env("LISTEN_FDS", "1");
    let mapped = vec![FdMapping { parent_fd: connection, child_fd: 3 }];
    command.fd_mappings(mapped).expect("one descriptor");
    command.spawn().expect("unshare is there")
}
