//! Where a process listens, and what its visitors are told of it. It outlives the process: the next one listens at the same place.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use spothost_server::{ApplicationAddress, ApplicationHandle, ListenMode};

/// How many connections wait for the process. The kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 1024;
/// The longest path of a Unix socket (unix(7)).
const LONGEST_PATH: usize = 107;

/// A place to listen at. A socket is removed with it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) place: ListenPlace,
    /// What the server is told of the process.
    pub(super) handle: ApplicationHandle,
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
        let path = folder.join(format!("{}.sock", NEXT.fetch_add(1, Relaxed)));
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
        Ok(Self { place, handle })
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
    pub(super) fn address(&self) -> ApplicationAddress {
        match self {
            Self::Passed { path, .. } | Self::Socket(path) => ApplicationAddress::Unix(path.clone()),
            Self::Port(port) => ApplicationAddress::Tcp(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, *port))]),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
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
