//! File descriptors that travel with messages over Unix sockets (`SCM_RIGHTS`, unix(7)).

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

/// The most descriptors of a message.
const MOST: usize = 4;

/// Sends a message, with at most four descriptors.
///
/// # Errors
/// What the operating system says.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "a message has too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a message into `room`: its length, and the descriptors that came with it. None are inherited by programs that this one
/// executes.
///
/// # Errors
/// What the operating system says, or that the message or its descriptors were too much for the room; those that came are closed then.
pub(crate) fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(room)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(ErrorKind::InvalidData, "a message is longer than it may be"));
    }
    Ok((received.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Seek as _, Write as _},
        os::{fd::AsFd as _, unix::net::UnixDatagram},
    };

    use super::*;

    #[test]
    fn descriptor_comes_with_its_message() {
        let (one, other) = UnixDatagram::pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"passed").expect("written");
        send(one.as_fd(), b"with", &[file.as_fd()]).expect("sent");
        send(one.as_fd(), b"without", &[]).expect("sent");
        let mut room = [0; 16];
        let (length, mut descriptors) = receive(other.as_fd(), &mut room).expect("a message");
        assert_eq!((&room[..length], descriptors.len()), (&b"with"[..], 1));
        let mut passed = File::from(descriptors.remove(0));
        let mut text = String::new();
        passed.rewind().expect("a file");
        passed.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "passed");
        let (length, descriptors) = receive(other.as_fd(), &mut room).expect("a message");
        assert_eq!((&room[..length], descriptors.len()), (&b"without"[..], 0));
        send(one.as_fd(), &[b'x'; 17], &[]).expect("sent");
        assert_eq!(receive(other.as_fd(), &mut room).expect_err("too long").kind(), ErrorKind::InvalidData);
    }
}
