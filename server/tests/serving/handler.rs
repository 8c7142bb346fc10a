//! A handler that does what an application may do: waits, streams, fails midway, reads, and does not read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use spothost_server::{Answer, Body, Client, Handler, RequestBody};
use tokio::sync::{Notify, mpsc, watch};

/// A piece of what is streamed.
pub(crate) const PIECE: usize = 16 * 1024;

/// The handler under test, and what the test sees and says of it.
#[derive(Default)]
pub(crate) struct Works {
    /// How many of its answers and streams were begun, and how many dropped.
    pub(crate) begun: AtomicUsize,
    pub(crate) dropped: AtomicUsize,
    /// Pieces that were given of endless streams, and bytes that were read.
    pub(crate) given: AtomicUsize,
    pub(crate) read: AtomicU64,
    /// Lets the handler go on that waits for it.
    pub(crate) go_on: Notify,
    /// The handler may read from now on.
    pub(crate) reads: watch::Sender<bool>,
    /// What is streamed at `/told`, and the errors that readers were told.
    pub(crate) told: Mutex<Option<mpsc::UnboundedReceiver<Result<Bytes, io::Error>>>>,
    pub(crate) errors: Mutex<Vec<String>>,
    /// Content that is neither read nor let go.
    pub(crate) held: Mutex<Vec<RequestBody>>,
}

/// Lives as long as an answer or a stream does.
struct Alive(Arc<Works>);

impl Alive {
    fn new(works: &Arc<Works>) -> Self {
        works.begun.fetch_add(1, SeqCst);
        Self(works.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, SeqCst);
    }
}

impl Works {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What the handler streams at `/told` from now on.
    pub(crate) fn tells(&self) -> mpsc::UnboundedSender<Result<Bytes, io::Error>> {
        let (tell, told) = mpsc::unbounded_channel();
        *self.told.lock().unwrap() = Some(told);
        tell
    }

    /// Waits until that is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Self) -> bool) {
        let begun = std::time::Instant::now();
        while !is(self) {
            assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until all that was begun is over.
    pub(crate) async fn all_dropped(&self, begun: usize) {
        self.until("all is dropped", |works| works.begun.load(SeqCst) == begun && works.dropped.load(SeqCst) == begun)
            .await;
    }

    async fn answer(self: Arc<Self>, request: Request<RequestBody>) -> Response<Body> {
        let alive = Alive::new(&self);
        let (head, content) = request.into_parts();
        match head.uri.path() {
            "/waits" => {
                self.go_on.notified().await;
                Response::new(Body::from(String::from("waited")))
            }
            "/sleeps" => {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                Response::new(Body::from(String::from("slept")))
            }
            "/told" => {
                let told = self.told.lock().unwrap().take().unwrap();
                Response::new(Body::stream(Told(told, alive)))
            }
            "/endless" => Response::new(Body::stream(Pieces { left: u64::MAX, works: alive })),
            "/gigabyte" => Response::new(Body::stream(Pieces { left: 1 << 30, works: alive })),
            "/short" => {
                let mut response = Response::new(Body::stream(Pieces { left: 10, works: alive }));
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("20"));
                response
            }
            "/ten" => {
                let mut response = Response::new(Body::stream(Pieces { left: 10, works: alive }));
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("10"));
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("x-hop"));
                response
            }
            "/with-two-lengths" => {
                let mut response = Response::new(Body::stream(Pieces { left: 10, works: alive }));
                for length in ["10", "11"] {
                    response.headers_mut().append(header::CONTENT_LENGTH, HeaderValue::from_static(length));
                }
                response
            }
            "/trailers" | "/trailers-behind-nothing" | "/trailers-behind-a-length" => {
                let (mut response, left) = match head.uri.path() {
                    "/trailers-behind-nothing" => (Response::new(()), 0),
                    _ => (Response::new(()), 10),
                };
                response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-trailer, set-cookie"));
                if head.uri.path() == "/trailers-behind-a-length" {
                    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("10"));
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("x-trailer", HeaderValue::from_static("t"));
                trailers.insert(header::SET_COOKIE, HeaderValue::from_static("a=b"));
                trailers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                let pieces = Pieces { left, works: alive };
                response.map(|()| Body::stream(pieces.with_trailers(std::future::ready(Some(Ok(trailers))))))
            }
            "/nothing" => {
                let mut response = Response::new(Body::stream(Pieces { left: 10, works: alive }));
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            "/reads" => self.read(content).await,
            "/reads-when-told" => {
                drop(self.reads.subscribe().wait_for(|reads| *reads).await);
                self.read(content).await
            }
            "/reads-elsewhere" => tokio::spawn(async move { self.read(content).await }).await.unwrap(),
            "/reads-elsewhere-and-waits" => {
                let reads = tokio::spawn(async move {
                    let _alive = alive;
                    drop(self.reads.subscribe().wait_for(|reads| *reads).await);
                    let response = self.read(content).await;
                    self.go_on.notified().await;
                    response
                });
                reads.await.unwrap()
            }
            "/holds" => {
                self.held.lock().unwrap().push(content);
                Response::new(Body::from(String::from("held")))
            }
            "/holds-and-says-nothing" => {
                self.held.lock().unwrap().push(content);
                Response::new(Body::empty())
            }
            "/holds-and-streams" => {
                self.held.lock().unwrap().push(content);
                Response::new(Body::stream(Pieces { left: 10, works: alive }))
            }
            "/echo" => Response::new(Body::stream(Echo(content, alive))),
            "/ignores" => {
                drop(content);
                Response::new(Body::from(String::from("ignored")))
            }
            _ => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
        }
    }

    /// Reads all, and answers how much that was, its checksum, and its trailers.
    async fn read(&self, mut content: RequestBody) -> Response<Body> {
        let (mut bytes, mut sum, mut trailers) = (0, crc32fast::Hasher::new(), HeaderMap::new());
        while let Some(frame) = content.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    bytes += data.len() as u64;
                    sum.update(&data);
                    self.read.fetch_add(data.len() as u64, SeqCst);
                }
                Ok(Err(frame)) => trailers = frame.into_trailers().unwrap(),
                Err(error) => {
                    self.errors.lock().unwrap().push(error.to_string());
                    let mut response = Response::new(Body::from(error.to_string()));
                    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
                    return response;
                }
            }
        }
        let trailer = trailers.get("x-trailer").map_or("", |value| value.to_str().unwrap());
        Response::new(Body::from(format!("{bytes} {:x} {trailer}", sum.finalize())))
    }
}

/// These works, as a handler.
pub(crate) struct Working(pub(crate) Arc<Works>);

impl Handler for Working {
    fn handle(&self, request: &mut Request<RequestBody>, client: Client) -> Answer {
        assert!(client.address.is_loopback());
        if request.uri().path() == "/now" {
            return Answer::Now(Response::new(Body::from(String::from("now"))));
        }
        if let "/now-framed" | "/now-with-two-lengths" = request.uri().path() {
            let mut response = Response::new(Body::from(String::from("now")));
            let fields = response.headers_mut();
            if request.uri().path() == "/now-framed" {
                frame_wrongly(fields);
            } else {
                for length in ["3", "4"] {
                    fields.append(header::CONTENT_LENGTH, HeaderValue::from_static(length));
                }
            }
            return Answer::Now(response);
        }
        if request.uri().path() == "/leaves" {
            return Answer::later(async { Response::new(Body::from(String::from("left"))) });
        }
        Answer::later(self.0.clone().answer(std::mem::take(request)))
    }

    fn refuse(&self, status: StatusCode, _: &Request<RequestBody>, _: Client) -> Response<Body> {
        let mut response = Response::new(Body::from(String::from("refused")));
        *response.status_mut() = status;
        frame_wrongly(response.headers_mut());
        response
    }
}

/// Says of a response what is the wire's to say, and is not so.
fn frame_wrongly(fields: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_LENGTH, "1000"),
        (header::TRANSFER_ENCODING, "chunked"),
        (header::CONNECTION, "keep-alive, x-hop"),
        (HeaderName::from_static("keep-alive"), "timeout=5"),
        (HeaderName::from_static("proxy-connection"), "keep-alive"),
        (header::UPGRADE, "h2c"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
}

/// What a test says, as it says it.
struct Told(mpsc::UnboundedReceiver<Result<Bytes, io::Error>>, #[expect(dead_code, reason = "it is dropped")] Alive);

impl HttpBody for Told {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

/// Pieces of bytes, as many as there is room for.
struct Pieces {
    left: u64,
    works: Alive,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        static ZEROS: [u8; PIECE] = [0; PIECE];
        let length = self.left.min(PIECE as u64);
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left -= length;
        self.works.0.given.fetch_add(1, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS[..length as usize])))))
    }
}

/// What comes, as it comes.
struct Echo(RequestBody, #[expect(dead_code, reason = "it is dropped")] Alive);

impl HttpBody for Echo {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
