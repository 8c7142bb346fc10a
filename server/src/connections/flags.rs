//! What the stream of an HTTP/1 connection and its exchanges tell each other.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::tunnel::Tunnel;
use crate::body::Mapped;

/// Flags of one connection, of which some are of one request.
#[derive(Default)]
pub(crate) struct RequestFlags {
    /// The number of the request whose target was too long, and was cut; 0 for none. Bytes are looked at before the requests
    /// before them are answered, so it must be said which one is meant.
    long_target: AtomicU64,
    /// Whether what is under way is dropped when the client closes its side. Who asks for a file may close it and wait.
    cancels: AtomicBool,
    /// The connection is to end as soon as nothing is under way.
    closing: AtomicBool,
    /// Whether the last response's content ends where the connection does, and nowhere else.
    until_close: AtomicBool,
    /// Where the last response lies mapped, where its file may be sent as it is.
    mapped: Mutex<Option<Weak<dyn Mapped>>>,
    /// What the connection becomes behind the last response.
    tunnel: Mutex<Option<Tunnel>>,
}

impl RequestFlags {
    /// The target of the request with this number is too long.
    pub(super) fn cut_target(&self, request: u64) {
        self.long_target.store(request, Relaxed);
    }

    /// Whether this is the number of the request whose target was too long.
    pub(super) fn long_target(&self, request: u64) -> bool {
        self.long_target.load(Relaxed) == request
    }

    /// Whether the request under way is dropped when the client closes its side.
    pub(super) fn cancel_if_left(&self, cancels: bool) {
        self.cancels.store(cancels, Relaxed);
    }

    pub(super) fn cancels(&self) -> bool {
        self.cancels.load(Relaxed)
    }

    /// Whether the next response's content ends with the connection (RFC 9112 §6.3): neither a length nor a last chunk tells a
    /// client whether it has all.
    pub(super) fn lasts_until_close(&self, does: bool) {
        self.until_close.store(does, Relaxed);
    }

    pub(super) fn until_close(&self) -> bool {
        self.until_close.load(Relaxed)
    }

    /// The next response lies there.
    pub(super) fn serve_from(&self, mapped: Option<Weak<dyn Mapped>>) {
        *self.mapped.lock().unwrap_or_else(PoisonError::into_inner) = mapped;
    }

    /// Where the last response lies, unless that was let go of meanwhile.
    pub(super) fn mapped(&self) -> Option<Arc<dyn Mapped>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// The response that is sent switches to another protocol.
    pub(super) fn switch(&self, tunnel: Option<Tunnel>) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = tunnel;
    }

    /// What the connection becomes, if the last response has switched to another protocol.
    pub(super) fn switched(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Relaxed)
    }
}

impl std::fmt::Debug for RequestFlags {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RequestFlags").field("closing", &self.closing).finish_non_exhaustive()
    }
}
