//! A handler of one's own: sends back what it is sent, as it comes, and streams of any length. Outside test suites drive it for
//! content in both directions.
//!
//! * `POST` of anything is answered with its content and its `Content-Type`.
//! * `GET /bytes/N` is answered with N bytes, of which each is its place modulo 251, without saying how many.
//! * `GET /later/MILLIS` is answered after so many milliseconds.
//! * `GET /fails/N` fails after N bytes.

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame};
use spothost_server::{Answer, Body, Bound, Client, Handler, Identity, Listen, RequestBody, Settings};
use tokio::sync::watch;

/// Sends back what it is sent, until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// Address of the plain HTTP listener.
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Address of the HTTPS listener.
    #[arg(long, default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    /// PEM file of the certificate chain.
    #[arg(long)]
    cert: PathBuf,
    /// PEM file of the private key.
    #[arg(long)]
    key: PathBuf,
    /// How many threads serve; one per core if it is not said.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
}

/// Answers with what it is sent.
struct Echo;

impl Handler for Echo {
    fn handle(&self, request: &mut Request<RequestBody>, client: Client) -> Answer {
        if request.method() == Method::POST {
            let request = std::mem::take(request);
            return Answer::later(async { echo(request) });
        }
        let path = request.uri().path().trim_start_matches('/');
        let (what, number) = path.split_once('/').unwrap_or_default();
        match (what, number.parse()) {
            ("bytes", Ok(left)) => Answer::Now(Response::new(Body::stream(Counted { at: 0, left, fails: false }))),
            ("fails", Ok(left)) => Answer::Now(Response::new(Body::stream(Counted { at: 0, left, fails: true }))),
            ("later", Ok(millis)) => Answer::later(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Response::new(Body::from(format!("{millis} ms\n")))
            }),
            _ => Answer::Now(self.refuse(StatusCode::NOT_FOUND, request, client)),
        }
    }
}

/// The response flows while the request still comes: what the client does not take back is not read from it.
fn echo(request: Request<RequestBody>) -> Response<Body> {
    let (head, content) = request.into_parts();
    let mut response = Response::new(Body::stream(content));
    if let Some(of) = head.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, of.clone());
    }
    response
}

/// Bytes that tell where they stand.
struct Counted {
    at: u64,
    left: u64,
    fails: bool,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let (from, length) = (self.at, self.left.min(16 * 1024));
        if length == 0 {
            return Poll::Ready(self.fails.then(|| Err(io::Error::other("as was asked for"))));
        }
        self.at += length;
        self.left -= length;
        let bytes: Vec<u8> = (from..from + length).map(|at| (at % 251) as u8).collect();
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let (chain, key) = (std::fs::read_to_string(&arguments.cert)?, std::fs::read_to_string(&arguments.key)?);
    let identity = Identity::from_pem(&chain, &key)?;
    let bound = Bound::bind(&Listen { http: arguments.http, https: arguments.https })?;
    println!("serving at http://{} and https://{}", bound.http(), bound.https());
    let (_identity, identities) = watch::channel(Some(Arc::new(identity)));
    let settings = Settings { threads: arguments.threads, ..Settings::new("localhost") };
    let running = bound.serve_with(settings, Arc::new(Echo), identities)?;
    tokio::signal::ctrl_c().await?;
    let drained = running.drain(Duration::ZERO, Duration::from_secs(10)).await;
    println!("{} requests were cut", drained.requests_cut);
    Ok(())
}
