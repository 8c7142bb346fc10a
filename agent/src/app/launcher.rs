//! Who starts the processes of one version of the package: this program, as its children, or a runner, which systemd starts in a unit
//! of its own.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use tokio::{
    sync::{Mutex, watch},
    time::timeout,
};

use super::Left;
use crate::{
    config::MemoryLimit,
    fault::Fault,
    listener::APPLICATION_CONNECTION,
    process::{
        channel::Channel,
        child::{Child, Streams},
        memory,
        output::Output,
        wire::{HowEnded, Order, ProcessCommand, ProcessFolders, Report, RunningProcess, VERSION},
    },
    status::systemd,
};

/// How long a runner may take to unpack a program.
const UNPACKS: Duration = Duration::from_secs(120);
/// How long one of before may take to say what runs: visitors wait meanwhile.
const KNOWS: Duration = Duration::from_secs(2);
/// How long it may take to answer otherwise.
const ANSWERS: Duration = Duration::from_secs(10);

/// Who starts the processes of one version.
#[derive(Debug)]
pub(super) enum Launcher {
    /// This program. The folders are made.
    Child(ProcessFolders),
    /// A runner.
    Runner(Arc<RunnerClient>),
}

/// A runner for one version, and the connection that keeps it.
#[derive(Debug)]
pub(super) struct RunnerClient {
    place: RunnerPlace,
    package: File,
    connection: Mutex<Option<Connection>>,
    /// The last answer to whether there is memory for another process.
    allows_another: watch::Sender<Option<bool>>,
    /// Whether its process is to go on when this program ends its part.
    left: Left,
}

/// Where runners are reached, and what their processes may take.
#[derive(Clone, Debug)]
pub(super) struct RunnerPlace {
    /// The socket at which systemd starts one for each connection.
    pub(super) socket: PathBuf,
    /// What the process and all that it starts may take.
    pub(super) memory: MemoryLimit,
}

/// A connection to a runner. Dropping it ends the connection, and with it the runner, unless its process is to go on.
#[derive(Debug)]
struct Connection {
    channel: Arc<Channel>,
    folders: ProcessFolders,
    left: Left,
}

/// A process that a program before this one has started, and its runner. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Found {
    /// Taken where the process goes on.
    channel: Option<Channel>,
    folders: ProcessFolders,
    /// What runs.
    pub(super) process: RunningProcess,
    lines: Vec<String>,
}

/// A process that runs.
#[derive(Debug)]
pub(super) enum Running {
    /// As a child.
    Child(Box<Child>),
    /// At a runner.
    Remote(RemoteProcess),
}

/// The process of a runner. Dropping it ends the connection, and with it the process.
#[derive(Debug)]
pub(super) struct RemoteProcess {
    runner: Arc<RunnerClient>,
    channel: Arc<Channel>,
    output: Output,
    pid: u32,
    ended: bool,
    /// Whether systemd stops its unit: it runs until it is ended.
    stopping: bool,
    /// Whether it was asked to end.
    ending: bool,
}

impl Launcher {
    /// The folders of the processes, in which the program is unpacked.
    ///
    /// # Errors
    /// What keeps a runner from being reached, or from unpacking the program.
    pub(super) async fn prepared(&self) -> Result<ProcessFolders, Fault> {
        match self {
            Launcher::Child(folders) => Ok(folders.clone()),
            Launcher::Runner(runner) => runner.prepared().await,
        }
    }

    /// Starts a process, which gets `listener`, if there is one, and whose lines go to `output`.
    ///
    /// # Errors
    /// Why it was not started.
    pub(super) async fn start(
        &self,
        command: &ProcessCommand,
        listener: Option<OwnedFd>,
        output: &Output,
    ) -> Result<Running, Fault> {
        match self {
            Launcher::Child(_) => {
                let streams = Streams::OfApplication { listener, output: output.clone() };
                let child = Child::start(command, streams, None, false);
                let child = child.map_err(|error| Fault::retry("starting the application", error))?;
                Ok(Running::Child(Box::new(child)))
            }
            Launcher::Runner(runner) => {
                let descriptors: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
                let started = runner.start(&Order::Start(command.clone()), &descriptors, output).await;
                if started.is_err() {
                    // Whatever it does now, it is not what was asked for.
                    *runner.connection.lock().await = None;
                }
                started.map(Running::Remote)
            }
        }
    }

    /// Whether another process like this one can run beside it.
    pub(super) async fn allows_another(&self, leader: u32) -> bool {
        match self {
            Launcher::Child(_) => memory::allows_another(leader),
            Launcher::Runner(runner) => runner.allows_another().await,
        }
    }
}

impl RunnerClient {
    /// A runner at that place for the package that `package` is. Once `left` is set, its process outlives its supervision.
    pub(super) fn new(place: RunnerPlace, package: File, left: Left) -> Arc<RunnerClient> {
        RunnerClient::connected(place, package, left, None)
    }

    fn connected(place: RunnerPlace, package: File, left: Left, connection: Option<Connection>) -> Arc<RunnerClient> {
        let connection = Mutex::new(connection);
        let allows_another = watch::Sender::new(None);
        Arc::new(RunnerClient { place, package, connection, allows_another, left })
    }

    /// The folders of its processes, in which the program is unpacked.
    ///
    /// # Errors
    /// What keeps it from being reached, or from unpacking the program.
    pub(super) async fn prepared(&self) -> Result<ProcessFolders, Fault> {
        let mut connection = self.connection.lock().await;
        if connection.is_none() {
            *connection = Some(self.connect().await?);
        }
        connection.as_ref().map(|connection| connection.folders.clone()).ok_or_else(lost)
    }

    /// Runs a command to its end, with the standard input, output and error of this process.
    ///
    /// # Errors
    /// Why it was not run.
    pub(super) async fn run(self: &Arc<Self>, command: &ProcessCommand) -> Result<HowEnded, Fault> {
        let input = io::stdin();
        let output = io::stdout();
        let error = io::stderr();
        let descriptors = [input.as_fd(), output.as_fd(), error.as_fd()];
        let lines = Output::new(|_| ());
        Ok(self.start(&Order::Run(command.clone()), &descriptors, &lines).await?.ended().await)
    }

    /// Starts a process, as `order` says.
    async fn start(
        self: &Arc<Self>,
        order: &Order,
        descriptors: &[BorrowedFd<'_>],
        output: &Output,
    ) -> Result<RemoteProcess, Fault> {
        let channel = self.channel().await.ok_or_else(lost)?;
        let pid = started(&channel, order, descriptors, output).await?;
        Ok(RemoteProcess::new(self.clone(), channel, output.clone(), pid))
    }

    async fn allows_another(&self) -> bool {
        let Some(channel) = self.channel().await else { return true };
        self.allows_another.send_replace(None);
        let mut answered = self.allows_another.subscribe();
        let asked = async {
            channel.send(&Order::Measure, &[]).await.ok()?;
            // The one who waits for the end of the process reads what the runner says.
            answered.wait_for(Option::is_some).await.ok().and_then(|allows| *allows)
        };
        // Where it is not known, one follows the other: that is slower, and safe.
        timeout(ANSWERS, asked).await.ok().flatten().unwrap_or(false)
    }

    async fn channel(&self) -> Option<Arc<Channel>> {
        self.connection.lock().await.as_ref().map(|connection| connection.channel.clone())
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let RunnerPlace { socket, memory } = &self.place;
        let doing = format!("starting a runner by {}", socket.display());
        let channel = Channel::connect(socket).map_err(|error| unreachable(&doing, error))?;
        let order = Order::Prepare { version: VERSION, memory: *memory };
        let sent = channel.send(&order, &[self.package.as_fd()]).await;
        sent.map_err(|error| Fault::retry(&doing, error))?;
        let answered = timeout(UNPACKS, channel.receive::<Report>()).await;
        let answered = answered.map_err(|_| Fault::retry(&doing, "it does not answer"))?;
        let answered = answered.map_err(|error| Fault::retry(&doing, error))?;
        match answered.map(|received| received.message) {
            Some(Report::Prepared(folders)) => {
                systemd::store(APPLICATION_CONNECTION, channel.as_fd());
                Ok(Connection { channel: Arc::new(channel), folders, left: self.left.clone() })
            }
            Some(Report::Refused { why }) => Err(Fault::operator(
                "unpacking the program of the package",
                why,
                "fix the program, and publish it again",
            )),
            Some(Report::Failed { why, cure }) => Err(failed(&doing, why, cure)),
            Some(other) => Err(Fault::retry(&doing, format!("it says {other:?}"))),
            None => Err(Fault::operator(
                doing,
                "it ended at once",
                "`journalctl --unit 'spothost-app@*'` says why; where the unit limits connections, those of before still end",
            )),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.left.load(SeqCst) {
            // This descriptor is closed when the program ends: visitors whose requests it still finishes need the process.
            std::mem::forget(self.channel.clone());
        } else {
            self.channel.end();
        }
    }
}

impl Found {
    /// What runs at the other end of that connection; none, where nothing does, or it is none that this program knows.
    pub(super) async fn at(connection: OwnedFd) -> Option<Found> {
        let channel = Channel::new(connection).ok()?;
        let mut lines = Vec::new();
        let asked = async {
            channel.send(&Order::Look, &[]).await.ok()?;
            loop {
                match channel.receive::<Report>().await.ok()??.message {
                    Report::Runs { folders, process } => return folders.zip(process),
                    Report::Wrote { lines: wrote } => lines.extend(wrote),
                    // Of what another has asked for.
                    _ => {}
                }
            }
        };
        match timeout(KNOWS, asked).await.ok().flatten() {
            Some((folders, process)) => Some(Found { channel: Some(channel), folders, process, lines }),
            None => {
                tracing::warn!("ending a runner of the previous agent: it runs no known application");
                channel.end();
                None
            }
        }
    }

    /// The folders of the process.
    pub(super) fn folders(&self) -> &ProcessFolders {
        &self.folders
    }

    /// The process, with the launcher that starts it again; its last lines go to `output`.
    pub(super) fn adopted(
        mut self,
        place: RunnerPlace,
        package: File,
        left: Left,
        output: &Output,
    ) -> Option<(Launcher, Running)> {
        output.keep(std::mem::take(&mut self.lines));
        let channel = Arc::new(self.channel.take()?);
        let connection = Connection { channel: channel.clone(), folders: self.folders.clone(), left: left.clone() };
        let runner = RunnerClient::connected(place, package, left, Some(connection));
        let process = RemoteProcess::new(runner.clone(), channel, output.clone(), self.process.pid);
        Some((Launcher::Runner(runner), Running::Remote(process)))
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            channel.end();
        }
    }
}

/// Starts a process at the runner; its process id there.
async fn started(
    channel: &Channel,
    order: &Order,
    descriptors: &[BorrowedFd<'_>],
    output: &Output,
) -> Result<u32, Fault> {
    const DOING: &str = "starting the application";
    let sent = channel.send(order, descriptors).await;
    sent.map_err(|error| Fault::retry(DOING, error))?;
    let answered = async {
        loop {
            let received = channel.receive::<Report>().await.map_err(|error| Fault::retry(DOING, error))?;
            match received.map(|received| received.message) {
                Some(Report::Started { pid }) => return Ok(pid),
                Some(Report::Wrote { lines }) => output.keep(lines),
                Some(Report::Failed { why, cure }) => return Err(failed(DOING, why, cure)),
                // Of the previous runner, or of a question whose asker has gone.
                Some(Report::Ended(_) | Report::Memory { .. } | Report::Runs { .. }) => {}
                Some(other) => return Err(Fault::retry(DOING, format!("the runner says {other:?}"))),
                None => return Err(lost()),
            }
        }
    };
    timeout(ANSWERS, answered).await.map_err(|_| Fault::retry(DOING, "the runner does not answer"))?
}

impl Running {
    /// The process id of its first process, where it runs.
    pub(super) fn pid(&self) -> u32 {
        match self {
            Running::Child(child) => child.pid(),
            Running::Remote(remote) => remote.pid,
        }
    }

    /// Whether it still runs, though [`ended`](Self::ended) has resolved: it is to be ended once no request is under way.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self, Running::Remote(remote) if remote.stopping)
    }

    /// Resolves once it has ended by itself, or is to end; why.
    pub(super) async fn ended(&mut self) -> HowEnded {
        match self {
            Running::Child(child) => child.ended().await,
            Running::Remote(remote) => remote.ended().await,
        }
    }

    /// Ends it: SIGTERM, and SIGKILL for what is left after its grace; how it ended.
    pub(super) async fn end(self, grace: Duration) -> HowEnded {
        match self {
            Running::Child(child) => child.end(grace).await,
            Running::Remote(remote) => remote.end(grace).await,
        }
    }
}

impl RemoteProcess {
    fn new(runner: Arc<RunnerClient>, channel: Arc<Channel>, output: Output, pid: u32) -> RemoteProcess {
        RemoteProcess { runner, channel, output, pid, ended: false, stopping: false, ending: false }
    }

    async fn ended(&mut self) -> HowEnded {
        loop {
            let why = match self.channel.receive::<Report>().await {
                Ok(Some(received)) => match received.message {
                    Report::Wrote { lines } => {
                        self.output.keep(lines);
                        continue;
                    }
                    Report::Memory { allows_another } => {
                        self.runner.allows_another.send_replace(Some(allows_another));
                        continue;
                    }
                    // Asked for the end, it waits for that.
                    Report::Stopping if self.ending => continue,
                    Report::Stopping => {
                        self.stopping = true;
                        return HowEnded::said("its unit was stopped");
                    }
                    Report::Ended(how) => {
                        self.ended = true;
                        return how;
                    }
                    other => format!("its runner says {other:?}"),
                },
                Ok(None) => "its runner has ended".to_owned(),
                Err(error) => format!("its runner was lost: {error}"),
            };
            self.close().await;
            return HowEnded::said(why);
        }
    }

    async fn end(mut self, grace: Duration) -> HowEnded {
        self.ending = true;
        let asked = async {
            match self.channel.send(&Order::End, &[]).await {
                Ok(()) => self.ended().await,
                Err(error) => HowEnded::said(format!("its runner was lost: {error}")),
            }
        };
        let how = timeout(grace + ANSWERS, asked).await;
        let how = how.unwrap_or_else(|_| HowEnded::said("its runner does not answer"));
        if !self.ended {
            self.close().await;
        }
        how
    }

    /// Ends the connection, and with it the runner.
    async fn close(&mut self) {
        self.ended = true;
        *self.runner.connection.lock().await = None;
    }
}

impl Drop for RemoteProcess {
    fn drop(&mut self) {
        if !self.ended
            && !self.runner.left.load(SeqCst)
            && let Ok(mut connection) = self.runner.connection.try_lock()
        {
            *connection = None;
        }
    }
}

fn failed(doing: &str, why: String, cure: Option<String>) -> Fault {
    match cure {
        Some(cure) => Fault::operator(doing, why, cure),
        None => Fault::retry(doing, why),
    }
}

fn lost() -> Fault {
    Fault::retry("starting the application", "its runner has ended")
}

/// The fault of a socket that cannot be connected to.
fn unreachable(doing: &str, error: io::Error) -> Fault {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied => Fault::operator(
            doing,
            error,
            "spothost-app.socket is not there: install it and spothost-app@.service, as the program's packages do, then say \
             `systemctl start spothost-app.socket` and `systemctl restart spothost`",
        ),
        _ => Fault::retry(doing, error),
    }
}
