//! What systemd is told: READY, the status line, and that the watchdog may rest.
//!
//! The protocol is `sd_notify(3)`; outside systemd there is no `NOTIFY_SOCKET` and nothing is said.

use std::{os::fd::BorrowedFd, time::Duration};

use sd_notify::NotifyState;

use super::{Board, HostPhase};

/// Says READY: the listeners answer, be it with 503, so a slow S3 never makes systemd end a booting host.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Asks systemd to keep `descriptor` under `name` until it is closed at its other end or removed: the next process of this unit, be this
/// one killed or restarted, inherits it beside its sockets (`FileDescriptorStoreMax=`, systemd.service(5)).
pub fn store(name: &str, descriptor: BorrowedFd<'_>) {
    let states = [NotifyState::FdStore, NotifyState::FdName(name)];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[descriptor]) {
        tracing::debug!(%error, name, "systemd was not asked to keep a descriptor");
    }
}

/// Lets systemd forget the descriptors of that name.
pub fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Passes the status line and the end on to systemd, and strokes the watchdog at half its time.
///
/// This runs on the runtime that runs the keepers: when that hangs, the watchdog is no longer stroked. Nor is it once a
/// part has stopped looking: such a host serves what it has and heals nothing, and a new process does.
pub async fn follow(board: Board) {
    let mut status = board.watch();
    let stroke = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |time| time / 2);
    let mut strokes = tokio::time::interval(stroke);
    let mut said = String::new();
    loop {
        let (line, phase) = {
            let now = status.borrow_and_update();
            (now.line(), now.phase)
        };
        if line != said {
            tell(&[NotifyState::Status(&line)]);
            if matches!(phase, HostPhase::Departing | HostPhase::Gone) {
                tell(&[NotifyState::Stopping]);
            }
            said = line;
        }
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            _ = strokes.tick() => match board.overdue() {
                None => tell(&[NotifyState::Watchdog]),
                Some(part) => tracing::error!("{part} has stopped looking: the watchdog may start the agent again"),
            },
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}
