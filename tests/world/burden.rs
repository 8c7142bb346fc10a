//! Connections that hold up a server that is to end.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpSocket, sync::watch, task::JoinHandle};

use crate::{
    Visitor,
    visitor::{Line, Opened},
};

/// What a slow reader takes at a time, and how often: 320 kB/s.
const PIECE: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(50);
/// So little waits in its kernel that the server notices how slow it is.
const WAITS: u32 = 64 << 10;

/// A reader that takes its time, a client that sends content slowly, and an HTTP/2 connection that is idle.
#[derive(Debug)]
pub struct Burden {
    hurry: watch::Sender<bool>,
    reader: JoinHandle<Result<usize, String>>,
    others: Vec<JoinHandle<()>>,
}

impl Burden {
    /// Opens the connections; the reader has got the beginning of `path`.
    ///
    /// # Panics
    /// When one of them is not served.
    pub async fn lay(visitor: &Visitor, path: &str) -> Burden {
        let (hurry, hurried) = watch::channel(false);
        let reader = reader(visitor, path, hurried).await.expect("the reader is served");
        let others =
            vec![idle(visitor).await.expect("it is answered"), sender(visitor).await.expect("it is connected")];
        Burden { hurry, reader, others }
    }

    /// Whether the reader is still being served.
    pub fn weighs(&self) -> bool {
        !self.reader.is_finished()
    }

    /// Lets the reader take the rest at once; how many bytes it has got in all.
    ///
    /// # Errors
    /// Why they were not all that were announced.
    pub async fn lift(self) -> Result<usize, String> {
        self.hurry.send_replace(true);
        self.others.iter().for_each(JoinHandle::abort);
        self.reader.await.map_err(|error| error.to_string())?
    }
}

async fn reader(
    visitor: &Visitor,
    path: &str,
    mut hurried: watch::Receiver<bool>,
) -> Result<JoinHandle<Result<usize, String>>, String> {
    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
    socket.set_recv_buffer_size(WAITS).map_err(|error| error.to_string())?;
    let stream = socket.connect(visitor.address()).await.map_err(|error| error.to_string())?;
    let (line, _) = visitor.greet(stream, false).await?;
    let Line::One(mut send) = line else { return Err("HTTP/1.1 was asked for".to_owned()) };
    let answer = send.send_request(visitor.request(Method::GET, path, &[], false)).await;
    let mut body = answer.map_err(|error| error.to_string())?.into_body();
    let mut length = next(&mut body).await?.ok_or("nothing came")?;
    Ok(tokio::spawn(async move {
        // The connection goes on for as long as this is kept.
        let _send = send;
        let mut taken = 0;
        while let Some(more) = next(&mut body).await? {
            (length, taken) = (length + more, taken + more);
            // A frame may hold as much as a buffer does: hundreds of kilobytes, where the server writes faster than it is read.
            while taken >= PIECE && !*hurried.borrow() {
                taken -= PIECE;
                let _ = tokio::time::timeout(PAUSE, hurried.wait_for(|hurried| *hurried)).await;
            }
        }
        Ok(length)
    }))
}

async fn next(body: &mut hyper::body::Incoming) -> Result<Option<usize>, String> {
    let frame = body.frame().await.transpose().map_err(|error| error.to_string())?;
    Ok(frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
}

/// An HTTP/2 connection that has asked once.
async fn idle(visitor: &Visitor) -> Result<JoinHandle<()>, String> {
    let (mut line, _) = visitor.connect(true).await?;
    line.send(visitor.request(Method::GET, "/", &[], true)).await?;
    Ok(tokio::spawn(async move {
        let _line = line;
        std::future::pending().await
    }))
}

/// A client that sends a kilobyte now and then, with no end to it.
async fn sender(visitor: &Visitor) -> Result<JoinHandle<()>, String> {
    let Opened { stream, authority } = visitor.open(true).await?;
    let pieces = stream::unfold((), async |()| {
        tokio::time::sleep(PAUSE).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1024]))), ()))
    });
    let (mut send, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::post(format!("https://{authority}/")).body(StreamBody::new(Box::pin(pieces)));
    let request = request.map_err(|error| error.to_string())?;
    Ok(tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        let _ = send.send_request(request).await;
        let _ = connection.await;
    }))
}
