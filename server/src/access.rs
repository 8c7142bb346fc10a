//! One line per request, written off the hot path.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

mod line;
mod passage;

pub(crate) use self::{line::Line, passage::Passage};

/// Lines that wait to be written; more are dropped and counted, as a log must not slow or fill what it watches.
const MOST_WAITING: usize = 65_536;
/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);

/// Where access lines are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// How a line is written.
    pub format: AccessFormat,
    /// Where it is written.
    pub to: AccessTo,
}

/// How an access line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// A JSON object.
    Json,
    /// The combined format of Apache httpd and nginx.
    Combined,
}

/// Where access lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessTo {
    /// Standard output, which is the journal under systemd.
    Stdout,
    /// Appended to a file. It is rotated by its owner: renamed, and a new one is made here within a second.
    File(PathBuf),
}

/// Takes lines from all threads.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Shared>);

/// Ends the log when dropped: what waits is written first.
#[derive(Debug)]
pub(crate) struct Writing {
    log: Log,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<WaitingLines>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct WaitingLines {
    lines: Vec<Line>,
    dropped: u64,
    /// The writer sleeps until it is woken, so that a line costs no system call while it does not.
    asleep: bool,
    over: bool,
}

impl Log {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// What the operating system says of the file or the thread.
    pub(crate) fn start(access: &Access) -> io::Result<(Self, Writing)> {
        let log = Self(Arc::new(Shared { waiting: Mutex::default(), wake: Condvar::new() }));
        let mut out = Out::open(&access.to)?;
        let format = access.format;
        let writer = log.clone();
        let thread = thread::Builder::new().name("access-log".into()).spawn(move || writer.write(format, &mut out))?;
        Ok((log.clone(), Writing { log, thread: Some(thread) }))
    }

    /// Leaves a line to be written.
    pub(crate) fn push(&self, line: Line) {
        let mut waiting = self.lock();
        if waiting.lines.len() >= MOST_WAITING {
            waiting.dropped += 1;
            return;
        }
        waiting.lines.push(line);
        if std::mem::take(&mut waiting.asleep) {
            self.0.wake.notify_one();
        }
    }

    fn write(&self, format: AccessFormat, out: &mut Out) {
        let mut text = Vec::new();
        loop {
            let (lines, dropped, over) = self.next();
            for line in &lines {
                line.write(format, &mut text);
            }
            if let Err(error) = out.write(&text) {
                tracing::warn!(%error, lines = lines.len(), "access lines are lost; free the disk or repair the file");
            }
            if dropped > 0 {
                tracing::warn!(lines = dropped, "access lines are lost: they come faster than they can be written");
            }
            text.clear();
            if over && lines.is_empty() {
                return;
            }
        }
    }

    /// Waits for lines, gathers for a moment, and takes them.
    fn next(&self) -> (Vec<Line>, u64, bool) {
        let mut waiting = self.lock();
        while waiting.lines.is_empty() && !waiting.over {
            waiting.asleep = true;
            waiting = self.0.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.over {
            drop(waiting);
            thread::sleep(GATHER);
            waiting = self.lock();
        }
        (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.dropped), waiting.over)
    }

    fn lock(&self) -> MutexGuard<'_, WaitingLines> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.log.lock().over = true;
        self.log.0.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has said itself what went wrong.
            let _ = thread.join();
        }
    }
}

/// Where the text goes.
enum Out {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Out {
    fn open(to: &AccessTo) -> io::Result<Self> {
        Ok(match to {
            AccessTo::Stdout => Self::Stdout,
            AccessTo::File(path) => Self::File { file: append(path)?, path: path.clone() },
        })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(text)?;
                out.flush()
            }
            Self::File { path, file } => {
                if was_rotated(path, file) {
                    *file = append(path)?;
                }
                file.write_all(text)
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether another file, or none, has the name now.
fn was_rotated(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    match (path.metadata(), file.metadata()) {
        (Ok(named), Ok(open)) => identity(named) != identity(open),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_their_order_also_across_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let old = folder.path().join("access.log.1");
        let access = Access { format: AccessFormat::Combined, to: AccessTo::File(path.clone()) };
        let (log, writing) = Log::start(&access).unwrap();
        log.push(Line::example("/first"));
        while !std::fs::read_to_string(&path).unwrap().contains("/first") {
            thread::yield_now();
        }
        std::fs::rename(&path, &old).unwrap();
        for number in 0..1_000 {
            log.push(Line::example(&format!("/{number}")));
        }
        drop(writing);
        let text = std::fs::read_to_string(&path).unwrap();
        let numbers: Vec<_> = text.lines().map(|line| line.split(' ').nth(6).unwrap().to_owned()).collect();
        assert_eq!(numbers, (0..1_000).map(|number| format!("/{number}")).collect::<Vec<_>>());
        assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 1);
    }
}
