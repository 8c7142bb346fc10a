//! The runner: `spothost app` as systemd starts it, once for each connection of the agent.
//!
//! It unpacks the program of one package, and starts, ends and measures its process as it is told. It decides nothing that the agent can
//! decide; what it sees for itself is whether the wall stands, which it tries before each start, and how the process ended. When the
//! connection ends, so does the process, and then the runner; systemd ends what may be left in its control group.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use spothost_server::{PackageLimits, Site};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until, timeout},
};

use super::{
    cgroup::Cgroup,
    channel::{Channel, Received},
    child::{Child, Streams},
    disk::DiskBound,
    memory,
    output::Output,
    tree::{self, Trees, UnpackError},
    wall::Wall,
    wire::{HowEnded, Order, ProcessCommand, ProcessFolders, Report, RunningProcess, VERSION},
};
use crate::{config::MemoryLimit, secrets::SecretSet};

/// Where the folder of a runner is made: on disk, while /tmp may be memory. In its unit nothing else is there (`PrivateTmp=`).
const FOLDER: &str = "/var/tmp";
/// The folder in it where programs are unpacked.
const TREES: &str = "trees";
/// How often the agent is told what the process has written, and it is looked what that takes of the disk.
const TELLS: Duration = Duration::from_millis(100);
/// How long the agent has to read what it is told.
const READS: Duration = Duration::from_secs(10);
/// How long the agent has, when the unit is stopped, to let requests under way end and to say that the process is to end.
const DRAINS: Duration = Duration::from_secs(15);

/// One connection, and what came of its orders.
struct Runner {
    channel: Channel,
    output: Output,
    /// How many lines the agent has been told.
    told: usize,
    prepared: Option<Prepared>,
    child: Option<(Child, ProcessCommand)>,
    /// What the process may take of the disk.
    disk: Option<DiskBound>,
    stops: Signal,
    /// Until when the agent has to end the process of a unit that is stopped.
    stopped: Option<Instant>,
}

/// The folders of the process.
struct Prepared {
    folder: Folder,
    folders: ProcessFolders,
    cgroup: Option<Cgroup>,
}

/// A folder with read-only trees in it, removed with this.
struct Folder(PathBuf);

/// What happens next.
enum Event {
    Ordered(io::Result<Option<Received<Order>>>),
    Ended(HowEnded),
    Tells,
    /// systemd stops the unit.
    Stopped,
}

/// Carries out the orders of that connection until it ends.
///
/// # Errors
/// What the operating system says of the connection, or that it was no agent's.
pub(crate) async fn serve(connection: OwnedFd) -> io::Result<()> {
    // The application has the same account: it is not to read or write the memory of this process (PR_SET_DUMPABLE(2const)).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let output = Output::new(to_the_journal);
    let channel = Channel::new(connection)?;
    let mut runner = Runner {
        channel,
        output,
        told: 0,
        prepared: None,
        child: None,
        disk: None,
        stops: signal(SignalKind::terminate())?,
        stopped: None,
    };
    let served = runner.serve().await;
    if let Some((child, command)) = runner.child.take() {
        child.end(Duration::from_secs(command.grace)).await;
    }
    served
}

/// systemd reads standard output into the journal, under the name of the unit.
fn to_the_journal(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

impl Runner {
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            let tells = Instant::now() + TELLS;
            let event = {
                let Runner { channel, child, stops, stopped, .. } = &mut *self;
                let overdue = stopped.unwrap_or(tells);
                tokio::select! {
                    biased;
                    _ = stops.recv(), if stopped.is_none() => Event::Stopped,
                    () = sleep_until(overdue), if stopped.is_some() => return Ok(()),
                    ordered = channel.receive() => Event::Ordered(ordered),
                    how = ended(child) => Event::Ended(how),
                    () = sleep_until(tells), if child.is_some() => Event::Tells,
                }
            };
            match event {
                Event::Ordered(ordered) => match ordered? {
                    Some(Received { message, descriptors }) => {
                        let ends = self.stopped.is_some() && message == Order::End;
                        if let Some(report) = self.carry_out(message, descriptors).await? {
                            self.tell(&report).await?;
                        }
                        if ends {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                Event::Stopped if self.child.is_none() => return Ok(()),
                Event::Stopped => {
                    self.stopped = Some(Instant::now() + DRAINS);
                    self.tell(&Report::Stopping).await?;
                }
                Event::Ended(how) => {
                    self.child = None;
                    self.tell_lines()?;
                    self.tell(&Report::Ended(how)).await?;
                }
                Event::Tells => {
                    self.tell_lines()?;
                    self.bound_disk().await?;
                }
            }
        }
    }

    async fn tell(&self, report: &Report) -> io::Result<()> {
        let told = timeout(READS, self.channel.send(report, &[])).await;
        told.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "the agent does not read")))
    }

    fn tell_lines(&mut self) -> io::Result<()> {
        let (many, mut lines) = self.output.since(self.told);
        self.told = many;
        // The last lines fit into a message.
        let mut room = LINES;
        let fitting = lines.iter().rev().take_while(|line| {
            let left = room.checked_sub(2 * line.len() + 8);
            room = left.unwrap_or_default();
            left.is_some()
        });
        let from = lines.len() - fitting.count();
        lines.drain(..from);
        if lines.is_empty() { Ok(()) } else { self.channel.send_lossy(&Report::Wrote { lines }) }
    }

    /// Ends a process that has taken more of the disk than it may, and removes what it has written.
    async fn bound_disk(&mut self) -> io::Result<()> {
        let Some(why) = self.disk.as_mut().and_then(DiskBound::exceeded) else { return Ok(()) };
        let Some((child, _)) = self.child.take() else { return Ok(()) };
        child.end(Duration::ZERO).await;
        if let Some(disk) = self.disk.take() {
            disk.empty();
        }
        self.tell_lines()?;
        self.tell(&Report::Ended(HowEnded::said(why))).await
    }

    async fn carry_out(&mut self, order: Order, mut descriptors: Vec<OwnedFd>) -> io::Result<Option<Report>> {
        Ok(Some(match order {
            Order::Prepare { version, memory } => self.prepare(version, memory, descriptors.pop()),
            Order::Start(command) => {
                let streams = Streams::OfApplication { listener: descriptors.pop(), output: self.output.clone() };
                self.start(command, streams)
            }
            Order::Run(command) => match descriptors.try_into() {
                Ok(passed) => self.start(command, Streams::Passed(passed)),
                Err(_) => failed("starting a command", "it needs three descriptors"),
            },
            Order::End => {
                let Some((child, command)) = self.child.take() else { return Ok(None) };
                let how = child.end(Duration::from_secs(command.grace)).await;
                self.tell_lines()?;
                Report::Ended(how)
            }
            Order::Measure => {
                let leader = self.child.as_ref().map(|(child, _)| child.pid()).filter(|pid| *pid != 0);
                Report::Memory { allows_another: leader.is_none_or(memory::allows_another) }
            }
            Order::Look => {
                let process = self.child.as_ref();
                Report::Runs {
                    folders: self.prepared.as_ref().map(|prepared| prepared.folders.clone()),
                    process: process
                        .map(|(child, command)| RunningProcess { pid: child.pid(), command: command.clone() }),
                }
            }
        }))
    }

    fn start(&mut self, mut command: ProcessCommand, streams: Streams) -> Report {
        let Some(prepared) = self.prepared.as_ref().filter(|_| self.child.is_none()) else {
            return failed("starting a process", "there is no program, or its process runs");
        };
        if let Some(fault) = Wall::tried().fault() {
            return open(fault);
        }
        match Child::start(&command, streams, prepared.cgroup.as_ref(), true) {
            Ok(child) => {
                let pid = child.pid();
                // The process has them.
                command.secrets = SecretSet::default();
                self.child = Some((child, command));
                self.disk = Some(DiskBound::new(&prepared.folder.0, &prepared.folder.0.join(TREES)));
                Report::Started { pid }
            }
            Err(error) => failed("starting the process", error),
        }
    }

    fn prepare(&mut self, version: u32, limit: MemoryLimit, package: Option<OwnedFd>) -> Report {
        if version != VERSION {
            let why = format!("the agent speaks version {version} of the wire, and the runner {VERSION}");
            let cure = "restart spothost, and the sockets: systemctl restart spothost-app.socket spothost".to_owned();
            return Report::Failed { why, cure: Some(cure) };
        }
        let Some(package) = package else { return failed("preparing", "no package was passed") };
        if self.prepared.is_some() {
            return failed("preparing", "a package is prepared");
        }
        let cgroup = match memory::bytes(limit).map(Cgroup::delegated) {
            Some(Ok(cgroup)) => Some(cgroup),
            Some(Err(error)) => {
                tracing::warn!("the application gets no control group, so its memory is not bounded: {error}");
                None
            }
            None => None,
        };
        match unpacked(package, Path::new(FOLDER)) {
            Ok((folder, folders)) => {
                self.prepared = Some(Prepared { folder, folders: folders.clone(), cgroup });
                Report::Prepared(folders)
            }
            Err(UnpackError::Package(reasons)) => Report::Refused { why: reasons.join("; ") },
            Err(UnpackError::Disk(error)) => failed("unpacking the program", error),
        }
    }
}

/// The room for lines in a message, in bytes as they lie in memory: each may be twice as long as JSON.
const LINES: usize = 64 << 10;

fn failed(doing: &str, error: impl std::fmt::Display) -> Report {
    Report::Failed { why: format!("{doing}: {error}"), cure: None }
}

/// The report that the wall does not stand.
fn open(why: String) -> Report {
    let cure = "spothost-app@.service denies these addresses (IPAddressDeny=), which needs BPF in the kernel and a unit as it was \
                installed: `systemctl cat spothost-app@.service` and `spothost doctor` say more"
        .to_owned();
    Report::Failed { why, cure: Some(cure) }
}

/// Resolves once the process has ended by itself; never without one.
async fn ended(child: &mut Option<(Child, ProcessCommand)>) -> HowEnded {
    match child {
        Some((child, _)) => child.ended().await,
        None => std::future::pending().await,
    }
}

/// Unpacks a package's program into a folder of its own in `place`, with a home and a folder for temporary files beside it.
fn unpacked(package: OwnedFd, place: &Path) -> Result<(Folder, ProcessFolders), UnpackError> {
    let site = Site::from_file(fs::File::from(package), &PackageLimits::default())
        .map_err(|refused| UnpackError::Package(vec![refused.to_string()]))?;
    // Its trees are to be read-only, which the folders of that crate do not bear when they are removed.
    let folder = Folder(tempfile::Builder::new().prefix("spothost-app-").tempdir_in(place)?.keep());
    let tree = Trees::open(&folder.0.join(TREES))?.unpack(&site)?;
    let own = |name: &str| {
        let path = folder.0.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok::<_, io::Error>(path)
    };
    let folders = ProcessFolders { tree: text(tree)?, home: text(own("home")?)?, temporary: text(own("tmp")?)? };
    Ok((folder, folders))
}

fn text(path: PathBuf) -> io::Result<String> {
    path.into_os_string().into_string().map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = tree::remove(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the folder of an application was not removed");
        }
    }
}
