//! Strangers who want a host to look ill.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Visitor, own_address};

/// Streams of each client that has a file inflated and takes nothing of it.
const STREAMS: usize = 96;
/// Before a stranger that was let go comes again.
const PAUSE: Duration = Duration::from_millis(20);
/// Within this time a stranger comes again of itself.
const LONGEST: Duration = Duration::from_secs(20);

/// Clients that ask for much and take nothing, and others that take up all connections; until dropped.
#[derive(Debug)]
pub struct Strangers {
    _all: JoinSet<()>,
    /// How often each kind did what it came for.
    streams: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Strangers {
    /// Two clients have `path` inflated, with no room for it and with room for a byte; others open `connections` connections at
    /// the visitor's address and say nothing, and come again whenever they are let go.
    pub fn come(visitor: &Visitor, path: &str, connections: usize) -> Strangers {
        let mut all = JoinSet::new();
        let streams = Arc::<AtomicUsize>::default();
        let opened = Arc::<AtomicUsize>::default();
        for room in [0, 1] {
            all.spawn(inflating(Stranger::new(visitor), path.to_owned(), room, streams.clone()));
        }
        for _ in 0..connections {
            all.spawn(silent(Stranger::new(visitor), opened.clone()));
        }
        Strangers { _all: all, streams, connections: opened }
    }

    /// How many streams were begun, and how many connections were opened.
    pub fn did(&self) -> (usize, usize) {
        (self.streams.load(Relaxed), self.connections.load(Relaxed))
    }
}

/// One of them, with an address of its own.
struct Stranger {
    visitor: Visitor,
    address: IpAddr,
}

impl Stranger {
    fn new(visitor: &Visitor) -> Stranger {
        Stranger { visitor: visitor.clone(), address: own_address() }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.address, 0).into())?;
        socket.connect(self.visitor.address()).await
    }
}

async fn inflating(stranger: Stranger, path: String, room: u32, begun: Arc<AtomicUsize>) {
    loop {
        let _ = timeout(LONGEST, inflate(&stranger, &path, room, &begun)).await;
        sleep(PAUSE).await;
    }
}

async fn inflate(stranger: &Stranger, path: &str, room: u32, begun: &AtomicUsize) -> Result<(), String> {
    let stream = stranger.connect().await.map_err(|error| error.to_string())?;
    let stream = stranger.visitor.shake_hands(stream, true).await?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(room);
    let (mut send, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut answers = Vec::new();
    let ask = async {
        for _ in 0..STREAMS {
            let request = stranger.visitor.request(Method::GET, path, &[("accept-encoding", "identity")], true);
            answers.push(send.send_request(request).await);
            begun.fetch_add(1, Relaxed);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = connection => {}
        () = ask => {}
    }
    Ok(())
}

async fn silent(stranger: Stranger, opened: Arc<AtomicUsize>) {
    loop {
        if let Ok(stream) = stranger.connect().await {
            opened.fetch_add(1, Relaxed);
            // Until it is let go.
            let _ = timeout(LONGEST, stream.readable()).await;
        }
        sleep(PAUSE).await;
    }
}
