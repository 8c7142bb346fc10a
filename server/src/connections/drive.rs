//! One connection, from the handshake to its end.

use std::{
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Marks, Phase, Worker,
    batched::Batched,
    guarded::Guarded,
    inline::Inline,
    parked::{Quiet, park},
    pulse::Pulse,
    spliced::Spliced,
};
use crate::{
    access::Line,
    account::Account,
    respond::{Asked, Body, Share, answer, unread::Unread},
};

/// Serves one connection; returns how many requests were cut.
pub(super) async fn connection(worker: Arc<Worker>, stream: TcpStream, address: IpAddr, secure: bool) -> u64 {
    if !secure {
        let marks = Arc::new(Marks::default());
        return http1(worker, Spliced::new(stream, marks.clone()), marks, address, secure).await;
    }
    // What each stage needs lies on the heap, and goes with it: an idle connection must not keep room for a handshake.
    let Some(mut stream) = Box::pin(shake_hands(&worker, stream, address)).await else { return 0 };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(worker, stream, address).await,
        _ => {
            stream.get_mut().1.set_buffer_limit(Some(SEALED));
            http1(worker, stream, Arc::new(Marks::default()), address, secure).await
        }
    }
}

/// The TLS stream, unless the handshake fails or takes too long, or everything is cut: no request can have come by then.
async fn shake_hands(worker: &Worker, stream: TcpStream, address: IpAddr) -> Option<Box<TlsStream<TcpStream>>> {
    let handshake = TlsAcceptor::from(worker.tls.clone()).accept(stream);
    let mut phase = worker.phase.clone();
    tokio::select! {
        shaken = timeout(worker.settings.patience.handshake, handshake) => match shaken {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => worker.counters.cut_off(),
        },
        () = async { drop(phase.wait_for(|phase| *phase >= Phase::Cutting).await) } => {}
    }
    None
}

async fn http1<S: AsyncRead + AsyncWrite + Quiet + Unpin>(
    worker: Arc<Worker>,
    stream: S,
    marks: Arc<Marks>,
    address: IpAddr,
    secure: bool,
) -> u64 {
    let pulse = Arc::new(Pulse::new());
    let mut phases = worker.phase.clone();
    let stream = Guarded::http1(stream, pulse.clone(), &worker.settings.bounds, marks.clone());
    let mut stream = if secure { stream } else { stream.plain() };
    loop {
        let answering =
            Answering { worker: worker.clone(), pulse: pulse.clone(), marks: marks.clone(), address, secure };
        // On the heap, which has it back while the connection rests.
        match Box::pin(requests(stream, answering)).await {
            Ok(cut) => return cut,
            Err(resting) => stream = resting,
        }
        worker.counters.rests();
        park(&stream, &mut phases, pulse.deadline(&worker.settings.patience)).await;
        worker.counters.stirs();
    }
}

/// How many bytes of records are kept for an HTTP/1 client at most. rustls keeps twice as many if nothing is said, and a reader
/// that stops would have them.
const SEALED: usize = 32 * 1024;

/// How many fields hyper takes if nothing is said. It is not said, as hyper would allocate room for them at each request.
const HYPER_FIELDS: usize = 100;

/// Serves the requests of an HTTP/1 connection; returns how many were cut, or the stream if it rests.
async fn requests<S: AsyncRead + AsyncWrite + Unpin>(
    stream: Guarded<S>,
    answering: Answering,
) -> Result<u64, Guarded<S>> {
    let (worker, pulse, marks) = (answering.worker.clone(), answering.pulse.clone(), answering.marks.clone());
    let (bounds, address) = (&worker.settings.bounds, answering.address);
    let mut builder = http1::Builder::new();
    if bounds.fields != HYPER_FIELDS {
        builder.max_headers(bounds.fields);
    }
    let mut connection = builder
        .half_close(true)
        // Not `pipeline_flush`: with it hyper forgets the last response when unread bytes follow a request.
        .header_read_timeout(None)
        .max_header_size(bounds.head)
        // hyper's smallest buffer is 8 KiB.
        .max_buf_size(bounds.head.max(8192))
        .serve_connection(TokioIo::new(stream), answering);
    // The stream tells hyper that the client is done as soon as that is so; see `Guarded::poll_read`.
    let end = drive(&worker, &pulse, address, Pin::new(&mut connection), Phase::Closing, |_| marks.close(), true).await;
    match end {
        End::Over { cut } => Ok(cut),
        End::Resting => {
            let parts = connection.into_parts();
            let mut stream = parts.io.into_inner();
            stream.put_back(parts.read_buf);
            Err(stream)
        }
    }
}

async fn http2(worker: Arc<Worker>, stream: Box<TlsStream<TcpStream>>, address: IpAddr) -> u64 {
    let (pulse, marks) = (Arc::new(Pulse::new()), Arc::new(Marks::default()));
    let bounds = &worker.settings.bounds;
    let io = TokioIo::new(Guarded::http2(Batched::new(stream, pulse.clone()), pulse.clone(), bounds, marks.clone()));
    let answering = Answering { worker: worker.clone(), pulse: pulse.clone(), marks, address, secure: true };
    let connection = http2::Builder::new(Inline)
        .max_concurrent_streams(bounds.streams)
        .max_pending_accept_reset_streams(bounds.resets)
        .max_local_error_reset_streams(bounds.errors)
        .max_header_list_size(u32::try_from(bounds.head).unwrap_or(u32::MAX))
        .max_send_buf_size(64 * 1024)
        .serve_connection(io, answering);
    // GOAWAY loses nothing: it names the last request that is answered (RFC 9113 §6.8).
    let close = http2::Connection::graceful_shutdown;
    let mut connection = Box::pin(connection);
    match drive(&worker, &pulse, address, connection.as_mut(), Phase::Lingering, close, false).await {
        End::Over { cut } => cut,
        End::Resting => 0,
    }
}

/// How driving a connection ended.
enum End {
    /// With the connection, and so many requests cut.
    Over { cut: u64 },
    /// With a connection that has waited for its next request for a moment.
    Resting,
}

/// Polls a connection to its end, unless its client is too slow or the drain is. From the phase `from` on it is closed as
/// soon as nothing is lost by it; before, it may be left to rest if `rests` says so.
async fn drive<C>(
    worker: &Worker,
    pulse: &Pulse,
    address: IpAddr,
    mut connection: Pin<&mut C>,
    from: Phase,
    close: impl Fn(Pin<&mut C>),
    rests: bool,
) -> End
where
    C: Future<Output = hyper::Result<()>>,
{
    let patience = &worker.settings.patience;
    let mut due = pin!(sleep_until(pulse.deadline(patience)));
    let mut phases = worker.phase.clone();
    let mut phase = Phase::Serving;
    let mut advanced = pin!(next_phase(&mut phases, phase));
    let mut told = false;
    poll_fn(|context| {
        pulse.begin_turn();
        while phase < Phase::Cutting
            && let Poll::Ready((next, rest)) = advanced.as_mut().poll(context)
        {
            phase = next;
            advanced.set(next_phase(rest, phase));
        }
        if phase == Phase::Cutting {
            return Poll::Ready(End::Over { cut: pulse.under_way() });
        }
        loop {
            if let Poll::Ready(done) = connection.as_mut().poll(context) {
                if let Err(error) = done {
                    refused(worker, address, &error);
                }
                return Poll::Ready(End::Over { cut: 0 });
            }
            let to_tell = !told && phase >= from;
            if to_tell && pulse.settled() {
                told = true;
                close(connection.as_mut());
                continue;
            }
            let deadline = if to_tell { pulse.settles() } else { pulse.deadline(patience) };
            let rest = if rests && phase < from { pulse.rests(patience) } else { None };
            let next = rest.map_or(deadline, |rest| rest.min(deadline));
            if next < due.deadline() {
                due.as_mut().reset(next);
            }
            if due.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if deadline <= now && !to_tell {
                worker.counters.cut_off();
                return Poll::Ready(End::Over { cut: 0 });
            }
            if rest.is_some_and(|rest| rest <= now) {
                return Poll::Ready(End::Resting);
            }
            due.as_mut().reset(next);
        }
    })
    .await
}

/// A connection ended early. If that is for a head that cannot be read, hyper has answered by itself.
fn refused(worker: &Worker, address: IpAddr, error: &hyper::Error) {
    if error.is_parse() {
        let status = match error.is_parse_too_large() {
            true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        worker.counters.answered(status.as_u16());
        if let Some(log) = &worker.log {
            log.push(Line::refused(address, status));
        }
    }
    tracing::debug!(%address, %error, "a connection ended early");
}

/// The phase that follows `current`; cutting, if the server was dropped.
async fn next_phase(phases: &mut watch::Receiver<Phase>, current: Phase) -> (Phase, &mut watch::Receiver<Phase>) {
    let next = phases.wait_for(|phase| *phase > current).await.map_or(Phase::Cutting, |phase| *phase);
    (next, phases)
}

/// Answers the requests of one connection.
struct Answering {
    worker: Arc<Worker>,
    pulse: Arc<Pulse>,
    marks: Arc<Marks>,
    address: IpAddr,
    secure: bool,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.pulse.began();
        let (worker, number) = (&self.worker, self.pulse.requests());
        let closing = *worker.phase.borrow() >= Phase::Lingering;
        let asked = Asked {
            names: &worker.names,
            settings: &worker.settings,
            site: worker.site.borrow().clone(),
            inflating: Share { inflating: &worker.inflating, client: self.address },
            secure: self.secure,
            long_target: self.marks.long_target(number),
            content: self.marks.content(number),
        };
        if !self.secure && asked.settings.plain {
            self.marks.serve_from(asked.site.as_ref());
        }
        let mut response = answer(&asked, &request);
        if request.version() < Version::HTTP_2 && (closing || asked.content || asked.long_target) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut account = Account::new(worker.counters.clone(), self.pulse.clone(), response.status());
        if let Some(log) = &worker.log {
            account.log(log.clone(), Line::begin(self.address, &request, response.status()));
        }
        response.body_mut().charge(account);
        if request.version() == Version::HTTP_2 {
            response.body_mut().outlast(Unread::of(request.into_body(), worker.settings.patience.close));
        }
        ready(Ok(response))
    }
}
