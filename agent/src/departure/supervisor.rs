//! A restart that no visitor waits for: the process that goes drains beside the one that comes.
//!
//! **The obstacle.** systemd holds the ports, so no client is refused while there is no agent. But on `systemctl restart` it
//! starts the next main process only when the one before has ended, and that had to drain first: one client that reads 10 MB at
//! 320 kB/s made every new visitor wait for 25 s. Neither half of that can be had alone. If the process that goes went on
//! accepting until it has drained, there would always be somebody new to drain, and with real round trips the last of them are
//! either cut or waited for. If it handed its connections over, their TLS sessions, streams and half-read requests would have to
//! go along. And a main process cannot name another in its place any more (`MAINPID=`) once systemd has begun to stop it: it
//! takes that only from a unit that starts, runs or reloads.
//!
//! **The solution.** The main process is a *supervisor* that does nothing but this, and its child is the agent:
//!
//! ```text
//!   systemd ── SIGTERM ──► supervisor ── SIGTERM ──► agent        accepts, and tells visitors to come back on another connection
//!                              │                       │          ends being a host: keepers, records, disk, state file, lock
//!                              │ ◄──── "released" ─────┤
//!   ◄──────── ends ────────────┘                       │          accepts
//!   ── starts ──► supervisor' ──► agent' ─"accepting"─►│          stops accepting, finishes what is under way, ends
//! ```
//!
//! * **No client waits**: until the successor accepts, the old process does. The listening sockets are the same, so both
//!   may accept for a moment. Without a word from the successor (it is an older version, or does not start) the old one accepts
//!   until its time is over.
//! * **One host**: the process that goes is a host no more before its successor starts. Its keepers ran on a runtime that has
//!   ended, with every task and every write to the disk; then the lock of the state folder is let go, and only then the
//!   supervisor ends. If its disk hangs, it is not released, and drains as the main process.
//! * **No orphan**: until it is released the agent is killed with its supervisor (`PR_SET_PDEATHSIG`), so a kill, the watchdog
//!   and the kernel's OOM killer end both. Released, it ends by its own deadline, which a thread of its own enforces.
//! * **One voice**: the agent's messages to systemd, the watchdog's among them, go through the supervisor, so either of them
//!   hanging is noticed, and `NotifyAccess=main` stays. Once released it says nothing any more.
//! * **What only stops does not return early**: when there is no successor (`systemctl stop`, a shutdown), `ExecStopPost=` of the
//!   unit waits for the drain by a lock on a file in the runtime folder, with the network still up.
//! * A host that goes for good (spot notice, leaving its fleet) has no successor here: it drains as the main process, as ever.
//!
//! The unit asks for it with `SPOTHOST_DRAIN=beside`, since it needs `KillMode=process`: with another mode systemd would kill the
//! agent together with its supervisor. A unit that does not ask, and an agent without inherited sockets, run as one process.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::{ExitCode, ExitStatus},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use sd_notify::NotifyState;
use tokio::{
    io::Interest,
    process::{Child, Command},
};

use super::Signals;
use crate::passing;

/// How the unit asks for a drain beside the successor.
const DRAIN: &str = "SPOTHOST_DRAIN";
const BESIDE: &str = "beside";
/// How the agent knows the process that supervises it: by its id.
const SUPERVISOR: &str = "SPOTHOST_SUPERVISOR";
/// The agent's notification when it is no longer a host; `X_` marks fields that are not systemd's (`sd_notify(3)`).
const RELEASED: &str = "X_SPOTHOST=released";
/// What a successor says when it accepts.
const ACCEPTING: &[u8] = b"accepting";
/// How the sockets on which that is waited for are named: this and a process id.
const WAITS: &str = "successor-of-";
/// The file that is locked while a process drains beside a successor.
const DRAINING: &str = "draining";
/// What `ExecStopPost=` of the unit leaves beside it where no successor will come.
const UNFOLLOWED: &str = "unfollowed";
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// systemd takes messages up to this length, and so does a supervisor.
const LONGEST: usize = 4096;
/// How long after its time a process ends that does not do so by itself.
const OVERTIME: Duration = Duration::from_secs(5);
/// How a process ends that had to be made to.
const OVERDUE: i32 = 70;

/// Whether this process is to supervise an agent rather than to be one.
pub fn is_wanted() -> bool {
    let asks = env::var(DRAIN).is_ok_and(|how| how == BESIDE);
    let inherited = ["NOTIFY_SOCKET", "LISTEN_FDS"].iter().all(|name| env::var_os(name).is_some());
    asks && inherited && env::var_os(SUPERVISOR).is_none()
}

/// Runs this program again, with the same arguments and listeners, and supervises it to its end or until it is released. Returns
/// how this process is to end.
///
/// # Errors
/// When the agent cannot be started or listened to; nothing runs then.
pub async fn supervise(runtime: &Path) -> io::Result<ExitCode> {
    let signals = Signals::catch()?;
    let messages = Messages::listen(runtime)?;
    let mut agent = messages.start()?;
    let ended = follow(&mut agent, &messages, signals).await;
    if ended.is_err() {
        // It would go on unheard.
        let _ = agent.start_kill();
    }
    ended
}

async fn follow(agent: &mut Child, messages: &Messages, mut signals: Signals) -> io::Result<ExitCode> {
    loop {
        tokio::select! {
            biased;
            message = messages.next() => {
                let (text, descriptors) = message?;
                if text.trim() == RELEASED {
                    return Ok(ExitCode::SUCCESS);
                }
                relay(text.trim_end(), &descriptors);
            },
            ended = agent.wait() => return Ok(ends_like(ended?)),
            _ = signals.next() => pass_on(agent),
        }
    }
}

/// Where the agent sends what systemd is to be told.
struct Messages {
    socket: tokio::net::UnixDatagram,
    path: PathBuf,
}

impl Messages {
    fn listen(runtime: &Path) -> io::Result<Messages> {
        fs::create_dir_all(runtime)?;
        // One name, as there is one supervisor at a time: one that was killed has left its socket.
        let path = runtime.join("notify");
        Ok(Messages { socket: tokio::net::UnixDatagram::bind(cleared(&path)?)?, path })
    }

    /// The next one, and the descriptors that are to be kept; this process keeps none of them.
    async fn next(&self) -> io::Result<(String, Vec<OwnedFd>)> {
        let mut room = [0; LONGEST];
        loop {
            match self.socket.async_io(Interest::READABLE, || passing::receive(self.socket.as_fd(), &mut room)).await {
                Ok((length, descriptors)) => {
                    if let Ok(text) = str::from_utf8(&room[..length]) {
                        return Ok((text.to_owned(), descriptors));
                    }
                }
                // Longer than systemd would take it.
                Err(error) if error.kind() == ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut agent = Command::new(env::current_exe()?);
        // The listeners and the watchdog's time are the child's now, whatever process they were meant for.
        agent.args(env::args_os().skip(1)).env_remove("LISTEN_PID").env_remove("WATCHDOG_PID");
        agent.env("NOTIFY_SOCKET", &self.path).env(SUPERVISOR, getpid().as_raw_pid().to_string());
        agent.spawn()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn relay(text: &str, descriptors: &[OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let told = if descriptors.is_empty() {
        sd_notify::notify(&[NotifyState::Custom(text)])
    } else {
        sd_notify::notify_with_fds(&[NotifyState::Custom(text)], &descriptors)
    };
    if let Err(error) = told {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

fn pass_on(agent: &Child) {
    let pid = agent.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        tracing::warn!(%error, "no signal to end could be sent to the agent");
    }
}

/// Ends as the agent did, so that systemd sees what became of it.
fn ends_like(ended: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    if let Some(signal) = ended.signal().and_then(Signal::from_named_raw) {
        if signal == Signal::TERM || signal == Signal::INT {
            // It was told to end before it could catch that, and had nothing to end yet.
            return ExitCode::SUCCESS;
        }
        tracing::error!(?signal, "the agent was killed");
        // Whatever signal it was, this process leaves no core; see `LimitCORE=0`.
        let _ = kill_process(getpid(), signal);
    }
    ended.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// An agent's right to go on beside a successor, once it is a host no more.
#[derive(Debug)]
pub struct SupervisedAgent(Pid);

impl SupervisedAgent {
    /// That of this process, if it is supervised. From now on it is killed with its supervisor.
    ///
    /// # Errors
    /// When its supervisor has ended by now: another one may have been started, with an agent of its own.
    pub fn here() -> io::Result<Option<SupervisedAgent>> {
        let Some(said) = env::var_os(SUPERVISOR) else { return Ok(None) };
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let said = said.to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw);
        match said.filter(|said| getppid() == Some(*said)) {
            Some(supervisor) => Ok(Some(SupervisedAgent(supervisor))),
            None => Err(io::Error::other("the supervisor has ended")),
        }
    }

    /// Lets the supervisor end, so that a successor is started: this process must be a host no more, and have `time` at most to
    /// drain in.
    ///
    /// # Errors
    /// When the successor could not be heard, or the supervisor not told; then nothing has changed.
    pub fn release(self, runtime: &Path, time: Duration) -> io::Result<Released> {
        let path = runtime.join(format!("{WAITS}{}", getpid().as_raw_pid()));
        let socket = UnixDatagram::bind(cleared(&path)?)?;
        socket.set_nonblocking(true)?;
        let draining = fs::File::create(runtime.join(DRAINING))?;
        draining.try_lock_shared().map_err(io::Error::from)?;
        let released = Released { socket, path, _draining: draining };
        set_parent_process_death_signal(None)?;
        let told = sd_notify::notify(&[NotifyState::Custom(RELEASED)]);
        if told.is_err() && getppid() == Some(self.0) {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            told?;
        }
        thread::spawn(move || {
            thread::sleep(time + OVERTIME);
            tracing::error!("the drain did not end in time");
            std::process::exit(OVERDUE);
        });
        Ok(released)
    }
}

/// A process that drains beside its successor.
#[derive(Debug)]
pub struct Released {
    socket: UnixDatagram,
    path: PathBuf,
    _draining: fs::File,
}

impl Released {
    /// Waits until a successor accepts; for ever, if none says so.
    pub async fn succeeded(&self) {
        let socket = self.socket.try_clone().and_then(tokio::net::UnixDatagram::from_std);
        let Ok(socket) = socket else { return std::future::pending().await };
        let mut buffer = [0; ACCEPTING.len()];
        while socket.recv(&mut buffer).await.is_ok_and(|length| &buffer[..length] != ACCEPTING) {}
    }

    /// Waits until it is said that no successor comes, as on `systemctl stop` and at a shutdown.
    pub async fn unfollowed(&self) {
        while !self.path.with_file_name(UNFOLLOWED).exists() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Released {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells the process that drains beside this one that it accepts.
pub fn accepts(runtime: &Path) {
    let Ok(entries) = fs::read_dir(runtime) else { return };
    let waits =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(WAITS.as_bytes()));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(waits) {
        let told = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(ACCEPTING, &path)
        });
        // One that was killed has left its socket.
        if told.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The path, with nothing there that a process of the same id has left.
fn cleared(path: &Path) -> io::Result<&Path> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn agent_that_was_told_to_end_before_it_could_listen_has_not_failed() {
        for (ended, expected) in [(15, ExitCode::SUCCESS), (2, ExitCode::SUCCESS), (3 << 8, ExitCode::from(3))] {
            let code = ends_like(ExitStatus::from_raw(ended));
            assert_eq!(format!("{code:?}"), format!("{expected:?}"), "{ended}");
        }
    }

    #[tokio::test]
    async fn successor_is_heard_by_all_who_wait_and_what_the_dead_left_is_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let waiting = |name: &str| {
            let path = folder.path().join(format!("{WAITS}{name}"));
            let socket = UnixDatagram::bind(&path).expect("a socket");
            socket.set_nonblocking(true).expect("a flag");
            let draining = fs::File::create(folder.path().join(DRAINING)).expect("a file");
            draining.try_lock_shared().expect("shared by all who drain");
            Released { socket, path, _draining: draining }
        };
        let one = waiting("1");
        let two = waiting("2");
        let dead = folder.path().join(format!("{WAITS}3"));
        drop(UnixDatagram::bind(&dead).expect("a socket"));
        let another = folder.path().join("notify");
        drop(UnixDatagram::bind(&another).expect("a socket"));

        accepts(folder.path());
        tokio::join!(one.succeeded(), two.succeeded());
        assert!(!dead.exists() && another.exists());
        let stop = fs::File::create(folder.path().join(DRAINING)).expect("a file");
        let waits = tokio::time::timeout(LOOK * 2, one.unfollowed());
        assert!(waits.await.is_err(), "nobody has said that no successor comes");
        fs::write(folder.path().join(UNFOLLOWED), "").expect("written");
        one.unfollowed().await;
        drop(one);
        assert!(stop.try_lock().is_err(), "somebody still drains");
        drop(two);
        assert!(stop.try_lock().is_ok(), "nobody does");
        assert!(!folder.path().join(format!("{WAITS}1")).exists());
    }
}
