//! A connection between an agent and a runner: packets in both directions, each with file descriptors.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect, shutdown, socket_with};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};
use zeroize::Zeroizing;

use crate::passing;

/// The longest message, in bytes: a command has at most 4 KiB of words, 32 KiB of variables and 24 KiB of secrets, and JSON may double
/// them. It fits into the buffer of a socket (`net.core.wmem_default`).
const LONGEST: usize = 128 << 10;

/// One end of a connection of type `SOCK_SEQPACKET`. Tokio knows it as a stream, of which it takes nothing but its readiness.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

/// A message, and the file descriptors that came with it.
#[derive(Debug)]
pub(crate) struct Received<T> {
    pub(crate) message: T,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Channel {
    /// A connection to the runner that is started for it.
    ///
    /// # Errors
    /// What the operating system says: there is no such socket, or it is not for this account.
    pub(crate) fn connect(path: &Path) -> io::Result<Channel> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Channel::new(socket)
    }

    /// The connection that `socket` is.
    ///
    /// # Errors
    /// What the operating system says of it.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Channel> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Channel(UnixStream::from_std(socket)?))
    }

    /// Sends a message, with file descriptors.
    ///
    /// # Errors
    /// What the operating system says, or that the message is too long.
    pub(crate) async fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // It may have secrets.
        let text = Zeroizing::new(serde_json::to_vec(message)?);
        if text.len() > LONGEST {
            let said = format!("a message of {} bytes is longer than {LONGEST}", text.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, said));
        }
        let send = || passing::send(self.0.as_fd(), &text, descriptors);
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// Sends a message that may be lost: it is, where the other end does not read.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn send_lossy<T: Serialize>(&self, message: &T) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        match passing::send(self.0.as_fd(), &text, &[]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }

    /// The next message; none once the other end is closed.
    ///
    /// # Errors
    /// What the operating system says, or that this is no message.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let mut text = Zeroizing::new(vec![0; LONGEST]);
        let received = self.0.async_io(Interest::READABLE, || passing::receive(self.0.as_fd(), &mut text)).await;
        let (length, descriptors) = match received {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            received => received?,
        };
        if length == 0 {
            return Ok(None);
        }
        let message = serde_json::from_slice(&text[..length])?;
        Ok(Some(Received { message, descriptors }))
    }

    /// Ends the connection for all that have a descriptor of it: other processes may.
    pub(crate) fn end(&self) {
        // The other end may have ended it before.
        let _ = shutdown(self.0.as_fd(), Shutdown::Both);
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use rustix::net::{SendFlags, socketpair};
    use serde_json::{Value, json};

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair");
        (Channel::new(one).expect("an end"), Channel::new(other).expect("an end"))
    }

    #[tokio::test]
    async fn message_comes_whole_with_its_descriptor_and_the_end_is_none() {
        let (one, other) = pair();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"passed").expect("written");
        one.send(&json!({"a": "b".repeat(50_000)}), &[file.as_fd()]).await.expect("sent");
        one.send(&json!(2), &[]).await.expect("sent");
        drop(one);
        let first: Received<Value> = other.receive().await.expect("readable").expect("a message");
        assert_eq!(first.message["a"].as_str().map(str::len), Some(50_000));
        let passed = first.descriptors.into_iter().map(fs::File::from).next().expect("it was passed");
        assert_eq!(passed.metadata().expect("a file").len(), 6);
        let second: Received<Value> = other.receive().await.expect("readable").expect("a message");
        assert_eq!((second.message, second.descriptors.is_empty()), (json!(2), true));
        assert!(other.receive::<Value>().await.expect("readable").is_none());
    }

    #[tokio::test]
    async fn message_that_is_too_long_is_not_sent_and_not_taken() {
        let (one, other) = pair();
        let error = one.send(&"x".repeat(LONGEST), &[]).await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        rustix::net::send(&one.0, &vec![b'1'; LONGEST + 1], SendFlags::empty()).expect("sent");
        let error = other.receive::<Value>().await.expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }

    /// A runner must not be brought down by anything that comes over its connection, nor keep what is passed to it.
    #[tokio::test]
    async fn drawn_packets_are_refused() {
        let (one, other) = pair();
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let words = [
            r#"{"order":"#,
            r#""prepare""#,
            r#""start","#,
            r#""words":["#,
            "]",
            "}",
            "\0",
            "99999999999999999999",
            "[[[[",
        ];
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..random.usize(1..8) {
                if random.bool() {
                    bytes.extend(words[random.usize(..words.len())].bytes());
                } else {
                    bytes.push(random.u8(..));
                }
            }
            rustix::net::send(&one.0, &bytes, SendFlags::empty()).expect("sent");
            let received = other.receive::<super::super::wire::Order>().await;
            assert!(received.is_err(), "{:?} is {received:?}", String::from_utf8_lossy(&bytes));
        }
    }
}
