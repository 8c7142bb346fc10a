//! Listening sockets that outlive the agents they are passed to, as systemd's do (`systemd.socket(5)`).

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex},
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};
use tokio::process::Command;

/// The first descriptor that is passed on (`SD_LISTEN_FDS_START` of `sd_listen_fds(3)`).
const FIRST: i32 = 3;
/// As many as systemd's default `Backlog=`; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;

/// The sockets of one unit. Who connects while no agent runs waits in their queues.
#[derive(Debug)]
pub struct Sockets {
    listeners: Vec<TcpListener>,
    stored: Stored,
}

/// What agents have stored, under which name (`FileDescriptorStoreMax=`, systemd.service(5)).
pub(crate) type Stored = Arc<Mutex<Vec<(String, OwnedFd)>>>;

impl Sockets {
    /// Listens on these addresses, in this order.
    ///
    /// # Panics
    /// When one is taken.
    pub fn listen(addresses: &[SocketAddr]) -> Sockets {
        let listen = |address: &SocketAddr| {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&(*address).into())?;
            socket.listen(BACKLOG)?;
            Ok::<_, std::io::Error>(socket.into())
        };
        let listeners = addresses.iter().map(|address| listen(address).expect("a free port")).collect();
        Sockets { listeners, stored: Stored::default() }
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The names of what is stored, and is still open at its other end.
    pub(crate) fn kept(&self) -> Vec<String> {
        let mut stored = self.stored.lock().expect("no holder panics");
        // systemd closes what has been closed at the other end.
        stored.retain(|(_, descriptor)| !is_hung_up(descriptor));
        stored.iter().map(|(name, _)| name.clone()).collect()
    }

    /// `program` with the sockets and the variables that tell of them. The process id in `LISTEN_PID` is known only in
    /// the process itself, so a shell sets it and becomes the program.
    pub(crate) fn passed_to(&self, program: &Command) -> Command {
        let program = program.as_std();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
        shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.kept();
        let stored = self.stored.lock().expect("no holder panics");
        let listeners =
            self.listeners.iter().map(|listener| ("visitors", OwnedFd::from(listener.try_clone().expect("a copy"))));
        let kept = stored.iter().map(|(name, descriptor)| (name.as_str(), descriptor.try_clone().expect("a copy")));
        let (names, descriptors): (Vec<_>, Vec<_>) = listeners.chain(kept).unzip();
        shell.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        let passed = (FIRST..).zip(descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        shell.fd_mappings(passed.collect()).expect("each descriptor is passed once");
        shell
    }
}

fn is_hung_up(descriptor: &OwnedFd) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).expect("it can be asked");
    polled[0].revents().contains(PollFlags::HUP)
}
