//! Accepting connections, and stopping without losing one.

use std::{io, net::IpAddr, pin::pin, sync::Arc, time::Duration};

use socket2::{SockFilter, SockRef};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Phase, Worker, all_cut, drive, place::ConnectionPermit};

/// How long a listener that is about to close waits for handshakes that are under way.
const LAST_CALL: Duration = Duration::from_millis(300);

/// Accepts and serves until the drain is over; returns how many requests were cut.
pub(super) async fn accept(worker: Arc<Worker>, listener: TcpListener, secure: bool, lent: bool) -> u64 {
    let mut phase = worker.phase.clone();
    let mut connections = JoinSet::new();
    accept_until_closing(&worker, &listener, secure, &mut phase, &mut connections).await;
    if !lent {
        empty_queue(&worker, &listener, secure, &mut connections).await;
    }
    drop(listener);
    all_cut(connections).await
}

async fn accept_until_closing(
    worker: &Arc<Worker>,
    listener: &TcpListener,
    secure: bool,
    phase: &mut watch::Receiver<Phase>,
    connections: &mut JoinSet<u64>,
) {
    // An error means that the server was dropped without a drain.
    let mut closing = pin!(async { drop(phase.wait_for(|phase| *phase >= Phase::Closing).await) });
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => admit(worker, stream, address.ip(), secure, connections),
                Err(error) => rest(error).await,
            },
            Some(_) = connections.join_next() => {}
            () = &mut closing => return,
        }
    }
}

/// Accepts what waits in the kernel's queue. New connections are kept out meanwhile, or the queue might never be seen empty;
/// clients repeat an unanswered SYN, and reach the process that listens then.
async fn empty_queue(worker: &Arc<Worker>, listener: &TcpListener, secure: bool, connections: &mut JoinSet<u64>) {
    if let Err(error) = refuse_syn(listener) {
        tracing::debug!(%error, "new connections cannot be kept out while the queue is emptied");
    }
    while let Ok(accepted) = timeout(LAST_CALL, listener.accept()).await {
        match accepted {
            Ok((stream, address)) => admit(worker, stream, address.ip(), secure, connections),
            Err(error) => rest(error).await,
        }
        if *worker.phase.borrow() >= Phase::Cutting || worker.phase.has_changed().is_err() {
            return;
        }
    }
}

/// A packet filter that drops segments that ask for a new connection: SYN without ACK. The flags are a TCP header's byte 13
/// (RFC 9293 §3.1), and a filter on a TCP socket sees the segment from its header on.
fn refuse_syn(listener: &TcpListener) -> io::Result<()> {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_ACK: u32 = 0x12;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN_ACK),
        SockFilter::new(JUMP_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

fn admit(worker: &Arc<Worker>, stream: TcpStream, address: IpAddr, secure: bool, connections: &mut JoinSet<u64>) {
    let local = stream.local_addr().ok().map(|local| local.ip());
    let Some(place) = ConnectionPermit::take(worker, address, local) else { return };
    let worker = worker.clone();
    connections.spawn(async move {
        let cut = drive::connection(worker, stream, address, secure).await;
        drop(place);
        cut
    });
}

/// A connection that was reset while it waited says nothing about the next one. Everything else, such as no file descriptor
/// being left, will not be better at once.
async fn rest(error: io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "connections cannot be accepted for now; if no file descriptors are left, raise LimitNOFILE");
    sleep(Duration::from_millis(100)).await;
}
