//! Listening sockets that outlive the agents they are passed to, as systemd's do (`systemd.socket(5)`).

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use command_fds::{CommandFdExt, FdMapping};
use socket2::{Domain, Socket, Type};
use tokio::process::Command;

/// The first descriptor that is passed on (`SD_LISTEN_FDS_START` of `sd_listen_fds(3)`).
const FIRST: i32 = 3;
/// As many as systemd's default `Backlog=`; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;

/// The sockets of one unit. Who connects while no agent runs waits in their queues.
#[derive(Debug)]
pub struct Sockets(Vec<TcpListener>);

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
        Sockets(addresses.iter().map(|address| listen(address).expect("a free port")).collect())
    }

    /// `program` with the sockets and the variables that tell of them. The process id in `LISTEN_PID` is known only in
    /// the process itself, so a shell sets it and becomes the program.
    pub(crate) fn passed_to(&self, program: &Command) -> Command {
        let program = program.as_std();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
        shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("LISTEN_FDS", self.0.len().to_string());
        let passed = (FIRST..).zip(&self.0).map(|(child_fd, listener)| {
            let parent_fd = OwnedFd::from(listener.try_clone().expect("a descriptor is free"));
            FdMapping { parent_fd, child_fd }
        });
        shell.fd_mappings(passed.collect()).expect("each descriptor is passed once");
        shell
    }
}
