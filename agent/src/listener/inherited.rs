//! Sockets that the parent process holds for the agent, as systemd does (`sd_listen_fds(3)`).
//!
//! They outlive the process: who comes while it is being started again waits in their queue and is not refused, and applications go on.

use std::{
    env, io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};

/// Names of what an agent has let its parent keep, rather than the parent made: connections to runners, and, with more behind it, the
/// listeners of their applications.
pub const APPLICATION_CONNECTION: &str = "app-connection";
/// See [`APPLICATION_CONNECTION`].
pub const APPLICATION_LISTENER: &str = "app-listener-";

/// What was passed on to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Where visitors wait.
    pub visitors: Vec<TcpListener>,
    /// Of the applications that go on.
    pub applications: StoredApplications,
}

/// What an agent before this one has stored of its applications.
#[derive(Debug, Default)]
pub struct StoredApplications {
    /// Connections to runners.
    pub connections: Vec<OwnedFd>,
    /// The listeners of their processes, by their names.
    pub listeners: Vec<(String, UnixListener)>,
}

impl Inherited {
    /// All that was passed on to this process, if anything was.
    ///
    /// It takes it out of the environment, so it is called once, before there are threads.
    ///
    /// # Errors
    /// When one of the sockets is none that an agent knows.
    pub fn take() -> io::Result<Inherited> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            if name == APPLICATION_CONNECTION {
                inherited.applications.connections.extend(packets(&mut passed, index)?);
            } else if name.starts_with(APPLICATION_LISTENER) {
                let listener = passed.take_unix_listener(index)?;
                inherited.applications.listeners.extend(listener.map(|listener| (name.to_owned(), listener)));
            } else {
                inherited.visitors.extend(passed.take_tcp_listener(index)?);
            }
        }
        Ok(inherited)
    }
}

/// The connection between an agent and a runner that was passed as that descriptor, if one was.
///
/// # Errors
/// When it is none: a Unix socket of packets (`SOCK_SEQPACKET`).
pub(crate) fn packets(passed: &mut ListenFd, index: usize) -> io::Result<Option<OwnedFd>> {
    let family = i32::from(AddressFamily::UNIX.as_raw());
    let kind = i32::try_from(SocketType::SEQPACKET.as_raw()).map_err(io::Error::other)?;
    passed.take_custom(index, family, kind, "connection of an agent and a runner")
}
