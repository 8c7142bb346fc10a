//! One connection, from the handshake to its end.

use std::{
    future::poll_fn,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, Waker},
};

use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Client, Phase, Worker, exchange::Exchanges, flags::RequestFlags, guarded::Guarded, http2, parked::park,
    session::Session, spliced::Spliced, tcp::Tcp,
};
use crate::{access::Line, activity::Activity};

/// Serves one connection; returns how many requests were cut.
pub(super) async fn connection(worker: Arc<Worker>, stream: TcpStream, address: IpAddr, secure: bool) -> u64 {
    if !secure {
        let flags = Arc::new(RequestFlags::default());
        return http1(worker, Spliced::new(stream, flags.clone()), flags, address, secure).await;
    }
    // What each stage needs lies on the heap, and goes with it: an idle connection must not keep room for a handshake.
    let Some(session) = Box::pin(shake_hands(&worker, stream, address)).await else { return 0 };
    match session.protocol() {
        Some(b"h2") => http2(worker, session, address).await,
        _ => http1(worker, session, Arc::new(RequestFlags::default()), address, secure).await,
    }
}

/// The TLS session, unless the handshake fails or takes too long, or everything is cut: no request can have come by then.
async fn shake_hands(worker: &Worker, stream: TcpStream, address: IpAddr) -> Option<Session> {
    let handshake = TlsAcceptor::from(worker.tls.clone()).accept(stream);
    let mut phase = worker.phase.clone();
    tokio::select! {
        shaken = timeout(worker.settings.patience.handshake, handshake) => match shaken {
            Ok(Ok(stream)) => return Some(Session::new(stream)),
            Ok(Err(error)) => tracing::debug!(%address, %error, "a TLS handshake failed"),
            Err(_) => worker.counters.cut_off(),
        },
        () = async { drop(phase.wait_for(|phase| *phase >= Phase::Cutting).await) } => {}
    }
    None
}

async fn http1<S: AsyncRead + AsyncWrite + Tcp + Unpin>(
    worker: Arc<Worker>,
    stream: S,
    flags: Arc<RequestFlags>,
    address: IpAddr,
    secure: bool,
) -> u64 {
    let activity = Arc::new(Activity::new(&worker.settings.bounds));
    let mut phases = worker.phase.clone();
    let stream = Guarded::new(stream, activity.clone(), &worker.settings.bounds, flags.clone());
    let mut stream = if secure { stream } else { stream.plain() };
    loop {
        let client = Client { address, secure };
        let exchanges = Exchanges { worker: worker.clone(), activity: activity.clone(), flags: flags.clone(), client };
        // On the heap, which has it back while the connection rests.
        match Box::pin(requests(stream, exchanges)).await {
            Ok(cut) => return cut,
            Err(resting) => stream = resting,
        }
        worker.counters.rests();
        park(&stream, &mut phases, activity.deadline(&worker.settings.patience)).await;
        worker.counters.stirs();
    }
}

/// How many fields hyper takes if nothing is said. It is not said, as hyper would allocate room for them at each request.
const HYPER_FIELDS: usize = 100;

/// Serves the requests of an HTTP/1 connection; returns how many were cut, or the stream if it rests.
async fn requests<S: AsyncRead + AsyncWrite + Tcp + Unpin>(
    stream: Guarded<S>,
    exchanges: Exchanges,
) -> Result<u64, Guarded<S>> {
    let worker = exchanges.worker.clone();
    let activity = exchanges.activity.clone();
    let flags = exchanges.flags.clone();
    let bounds = &worker.settings.bounds;
    let address = exchanges.client.address;
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
        .serve_connection(TokioIo::new(stream), exchanges);
    // The stream tells hyper that the client is done as soon as that is so; see `Guarded::poll_read`.
    let end =
        drive(&worker, &activity, address, Pin::new(&mut connection), Phase::Closing, |_| flags.close(), true).await;
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    match end {
        End::Over { cut } => {
            if let Some(tunnel) = flags.switched() {
                let phases = worker.phase.clone();
                // What came before the switch was announced was looked at as a request, and may be changed by that.
                if let Some((stream, early)) = stream.switch(&parts.read_buf) {
                    Box::pin(tunnel.carry(stream, early, phases)).await;
                }
                return Ok(0);
            }
            stream.cut();
            Ok(cut)
        }
        End::Resting => {
            stream.put_back(parts.read_buf);
            Err(stream)
        }
    }
}

async fn http2(worker: Arc<Worker>, session: Session, address: IpAddr) -> u64 {
    let activity = Arc::new(Activity::new(&worker.settings.bounds));
    let flags = Arc::default();
    let client = Client { address, secure: true };
    let exchanges = Exchanges { worker: worker.clone(), activity: activity.clone(), flags, client };
    let mut connection = match http2::Connection::new(session, exchanges) {
        Ok(connection) => Box::pin(connection),
        Err(error) => {
            tracing::debug!(%address, %error, "a connection ended early");
            return 0;
        }
    };
    // GOAWAY loses nothing: it names the last request that is answered (RFC 9113 §6.8).
    let close = |mut connection: Pin<&mut http2::Connection>| connection.close();
    match drive(&worker, &activity, address, connection.as_mut(), Phase::Lingering, close, false).await {
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
async fn drive<C, E>(
    worker: &Worker,
    activity: &Activity,
    address: IpAddr,
    mut connection: Pin<&mut C>,
    from: Phase,
    close: impl Fn(Pin<&mut C>),
    rests: bool,
) -> End
where
    C: Future<Output = Result<(), E>>,
    E: Refusal,
{
    let patience = &worker.settings.patience;
    let mut due = pin!(sleep_until(activity.deadline(patience)));
    let mut phases = worker.phase.clone();
    let mut phase = Phase::Serving;
    let mut advanced = pin!(next_phase(&mut phases, phase));
    let mut told = false;
    let mut driver = Waker::noop().clone();
    poll_fn(|context| {
        activity.begin_turn();
        if !driver.will_wake(context.waker()) {
            driver.clone_from(context.waker());
            activity.driven_by(&driver);
        }
        while phase < Phase::Cutting
            && let Poll::Ready((next, rest)) = advanced.as_mut().poll(context)
        {
            phase = next;
            advanced.set(next_phase(rest, phase));
        }
        if phase == Phase::Cutting {
            return Poll::Ready(End::Over { cut: activity.under_way() });
        }
        loop {
            if let Poll::Ready(done) = connection.as_mut().poll(context) {
                if let Err(error) = done {
                    ended_early(worker, address, &error);
                }
                return Poll::Ready(End::Over { cut: 0 });
            }
            let to_tell = !told && phase >= from;
            if to_tell && activity.settled() {
                told = true;
                close(connection.as_mut());
                continue;
            }
            let deadline = if to_tell { activity.settles() } else { activity.deadline(patience) };
            let rest = if rests && phase < from { activity.rests(patience) } else { None };
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

/// Why a connection ended early.
trait Refusal: std::fmt::Display {
    /// What was answered, if that is for a head that could not be read.
    fn status(&self) -> Option<StatusCode>;
}

impl Refusal for hyper::Error {
    /// hyper has answered by itself.
    fn status(&self) -> Option<StatusCode> {
        self.is_parse().then(|| {
            if self.is_parse_too_large() {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            }
        })
    }
}

impl Refusal for io::Error {
    fn status(&self) -> Option<StatusCode> {
        None
    }
}

fn ended_early(worker: &Worker, address: IpAddr, error: &impl Refusal) {
    if let Some(status) = error.status() {
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
