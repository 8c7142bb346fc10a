//! Where a process listens, and what its visitors are told of it. It outlives the process: the next one listens at the same place.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    sync::atomic::{
        AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with},
};
use spothost_server::{ApplicationAddress, ApplicationHandle, ListenMode};

use super::Left;
use crate::{listener::APPLICATION_LISTENER, status::systemd};

/// How the names of sockets end.
const SOCKET: &str = "sock";
/// How many connections wait for the process. The kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// The longest path of a Unix socket (unix(7)).
const LONGEST_PATH: usize = 107;

/// A place to listen at. A socket is removed with it, unless its process goes on without this program.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) place: ListenPlace,
    /// What the server is told of the process.
    pub(super) handle: ApplicationHandle,
    /// The name under which systemd keeps the listener, and whether the process goes on without this program; nothing for a process
    /// that ends with it.
    kept: Option<(String, Left)>,
}

/// How a process gets to its place.
#[derive(Debug)]
pub(super) enum ListenPlace {
    /// It is passed this listener.
    Passed { listener: UnixListener, path: PathBuf },
    /// It listens at this port of 127.0.0.1 itself.
    Port(u16),
    /// It makes this socket itself.
    Socket(PathBuf),
}

impl Endpoint {
    /// A place in `folder`, which no other account may enter.
    ///
    /// # Errors
    /// What the operating system says of the socket, or that its path is too long for one.
    pub(super) fn in_folder(folder: &Path, mode: ListenMode) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Processes of an agent before this one may listen in the same folder.
        let path = folder.join(format!("{}-{}.{SOCKET}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        let place = match mode {
            ListenMode::Fd => ListenPlace::Passed { listener: listen_at(&path)?, path },
            ListenMode::Socket => ListenPlace::Socket(checked(path)?),
            // Free at this moment. One that is taken until the process has it is seen as a process that does not begin.
            ListenMode::Port => {
                let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                ListenPlace::Port(free.local_addr()?.port())
            }
        };
        let handle = ApplicationHandle::new(place.address());
        Ok(Self { place, handle, kept: None })
    }

    /// The place of a process that was started by a program before this one, and goes on: its listener and the name under which systemd
    /// keeps that, or its port.
    ///
    /// # Errors
    /// When the listener has no path.
    pub(super) fn adopted(place: Result<(String, UnixListener), u16>, left: Left) -> io::Result<Self> {
        let (place, kept) = match place {
            Err(port) => (ListenPlace::Port(port), None),
            Ok((name, listener)) => {
                let path = path_of(&listener).ok_or_else(|| io::Error::other("a listener without a path"))?;
                (ListenPlace::Passed { listener, path }, Some((name, left)))
            }
        };
        let handle = ApplicationHandle::new(place.address());
        Ok(Self { place, handle, kept })
    }

    /// The same place, whose listener systemd keeps for the next process of this unit. Once `left` is set, its process goes on.
    pub(super) fn kept(mut self, left: Left) -> Self {
        if let ListenPlace::Passed { listener, path } = &self.place {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{APPLICATION_LISTENER}{stem}");
            systemd::store(&name, listener.as_fd());
            self.kept = Some((name, left));
        }
        self
    }

    /// Makes room for another process: one that was killed leaves its socket behind.
    ///
    /// # Errors
    /// What the operating system says of the old socket, or of the listener's copy.
    pub(super) fn for_a_process(&self) -> io::Result<Option<OwnedFd>> {
        match &self.place {
            ListenPlace::Passed { listener, .. } => listener.try_clone().map(|listener| Some(listener.into())),
            ListenPlace::Port(_) => Ok(None),
            ListenPlace::Socket(path) => removed(path).map(|()| None),
        }
    }
}

impl ListenPlace {
    /// By which the agent knows it: the path of a socket, or a port.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Passed { path, .. } | Self::Socket(path) => path.display().to_string(),
            Self::Port(port) => port.to_string(),
        }
    }

    pub(super) fn address(&self) -> ApplicationAddress {
        match self {
            Self::Passed { path, .. } | Self::Socket(path) => ApplicationAddress::Unix(path.clone()),
            Self::Port(port) => ApplicationAddress::Tcp(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, *port))]),
        }
    }
}

/// The path that a listener has.
pub(super) fn path_of(listener: &UnixListener) -> Option<PathBuf> {
    listener.local_addr().ok()?.as_pathname().map(Path::to_owned)
}

/// Removes the sockets in `folder` at which nothing listens: those of programs that were killed.
pub(super) fn remove_deserted(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == SOCKET) && is_deserted(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_deserted(path: &Path) -> bool {
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        connect(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?, &address)
    });
    connected == Err(Errno::CONNREFUSED)
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some((name, left)) = &self.kept {
            if left.load(SeqCst) {
                return;
            }
            systemd::forget(name);
        }
        if let ListenPlace::Passed { path, .. } | ListenPlace::Socket(path) = &self.place {
            let _ = fs::remove_file(path);
        }
    }
}

/// A listener with a longer queue than the standard library gives it.
fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let address = SocketAddrUnix::new(checked(path.to_owned())?)?;
    // An agent that was killed leaves its sockets behind, and the next one counts anew.
    removed(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Removes what lies there, if anything does.
fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn checked(path: PathBuf) -> io::Result<PathBuf> {
    if path.as_os_str().as_bytes().len() > LONGEST_PATH {
        let said = format!("{} is too long for a socket, which may have {LONGEST_PATH} bytes", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, said));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn listener_takes_connections_while_no_process_has_it_and_its_socket_goes_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let endpoint = Endpoint::in_folder(folder.path(), ListenMode::Fd).expect("a listener");
        let ListenPlace::Passed { path, .. } = &endpoint.place else { panic!("{:?}", endpoint.place) };
        let path = path.clone();
        drop(endpoint.for_a_process().expect("a copy").expect("it is passed"));
        let waiting: Vec<_> = (0..200).map(|_| UnixStream::connect(&path).expect("the queue is longer")).collect();
        drop((endpoint, waiting));
        assert!(UnixStream::connect(&path).is_err() && !path.exists());
    }

    #[test]
    fn listener_of_an_agent_that_was_killed_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.sock");
        drop(UnixListener::bind(&path).expect("what a killed agent leaves"));
        let listener = listen_at(&path).expect("there is room");
        UnixStream::connect(&path).expect("it listens");
        drop(listener);
    }

    #[test]
    fn socket_that_a_killed_process_has_left_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let endpoint = Endpoint::in_folder(folder.path(), ListenMode::Socket).expect("a place");
        let ListenPlace::Socket(path) = &endpoint.place else { panic!("{:?}", endpoint.place) };
        drop(UnixListener::bind(path).expect("what a process does"));
        assert!(UnixListener::bind(path).is_err(), "it is left behind");
        assert!(endpoint.for_a_process().expect("room").is_none());
        drop(UnixListener::bind(path).expect("there is room"));
        assert!(endpoint.for_a_process().expect("room").is_none());
        assert!(endpoint.for_a_process().expect("there was none").is_none());
    }

    #[test]
    fn path_that_is_too_long_for_a_socket_is_said_to_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let long = folder.path().join("a".repeat(100));
        for mode in [ListenMode::Fd, ListenMode::Socket] {
            let said = Endpoint::in_folder(&long, mode).expect_err("too long").to_string();
            assert!(said.contains("107 bytes"), "{said}");
        }
    }
}
