//! How the fixtures themselves speak HTTP: clients, and servers that can do what a good server never does.

use std::{
    convert::Infallible,
    fs, io,
    net::SocketAddr,
    os::fd::AsFd,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

/// A client for plain HTTP, or for HTTPS under one authority.
pub(crate) type AnyClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client for plain HTTP.
pub(crate) fn plain_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http()
}

/// A client for plain HTTP, and for HTTPS that trusts `roots` alone.
pub(crate) fn client(roots: RootCertStore) -> AnyClient {
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector =
        hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(5)).build(connector)
}

/// The certificates of a PEM file as roots.
///
/// # Panics
/// When the file cannot be read or holds something else.
pub(crate) fn roots(pem: &Path) -> RootCertStore {
    let text = fs::read(pem).unwrap_or_else(|error| panic!("{}: {error}", pem.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        store.add(certificate.expect("PEM of a certificate")).expect("a root");
    }
    store
}

/// What a fixture does with the connection instead of, or after, answering.
pub(crate) enum Outcome {
    /// Sends this.
    Answer(Response<Bytes>),
    /// Announces all of this but sends only so many bytes of the body, and closes.
    Cut(Response<Bytes>, usize),
    /// Closes without a word.
    Close,
    /// Closes with a TCP reset.
    Reset,
    /// Keeps the connection open and never answers.
    Hang,
}

/// What answers the requests of a fixture.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Outcome> + Send;
}

/// Serves HTTP/1.1 on a port of 127.0.0.1, over TLS if `tls` is given, until the test's runtime ends.
///
/// # Panics
/// When no port is free.
pub(crate) async fn serve<H: Handler>(handler: Arc<H>, tls: Option<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port of 127.0.0.1");
    let address = listener.local_addr().expect("a bound listener has an address");
    let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            let tls = tls.clone();
            tokio::spawn(async move {
                // A connection that fails is the client's to notice.
                let _ = one_connection(stream, handler, tls).await;
            });
        }
    });
    address
}

async fn one_connection<H: Handler>(stream: TcpStream, handler: Arc<H>, tls: Option<TlsAcceptor>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let handle = Arc::new(Socket::from(stream.as_fd().try_clone_to_owned()?));
    let service = service_fn(move |request| {
        let handler = handler.clone();
        let handle = handle.clone();
        async move { answered(handler.handle(request).await, &handle).await }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true);
    let served = match tls {
        Some(tls) => builder.serve_connection(TokioIo::new(tls.accept(stream).await?), service).await,
        None => builder.serve_connection(TokioIo::new(stream), service).await,
    };
    served.map_err(io::Error::other)
}

async fn answered(outcome: Outcome, socket: &Socket) -> io::Result<Response<Truncated>> {
    let closed = || io::Error::other("the fixture closes the connection");
    match outcome {
        Outcome::Answer(response) => Ok(response.map(Truncated::whole)),
        Outcome::Cut(response, after) => Ok(response.map(|body| Truncated::after(body, after))),
        Outcome::Close => Err(closed()),
        Outcome::Reset => {
            socket.set_linger(Some(Duration::ZERO))?;
            Err(closed())
        }
        Outcome::Hang => {
            std::future::pending::<Infallible>().await;
            Err(closed())
        }
    }
}

/// A body that announces its length and may break off before it.
pub(crate) struct Truncated {
    announced: u64,
    left: Option<Bytes>,
    end: End,
}

/// What follows the last byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end, as it should be.
    Proper,
    /// A break, once what was sent has left.
    Breaking,
    /// A break, at once.
    Broken,
}

impl Truncated {
    fn whole(body: Bytes) -> Truncated {
        Truncated { announced: body.len() as u64, left: Some(body), end: End::Proper }
    }

    fn after(body: Bytes, length: usize) -> Truncated {
        let kept = body.slice(..length.min(body.len()));
        Truncated { announced: body.len() as u64, left: Some(kept), end: End::Breaking }
    }
}

impl Body for Truncated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.left.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.end {
            End::Proper => Poll::Ready(None),
            // hyper flushes what it has before it asks again, so that the bytes do arrive.
            End::Breaking => {
                self.end = End::Broken;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Broken => Poll::Ready(Some(Err(io::Error::other("the fixture breaks off")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Proper && self.left.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
