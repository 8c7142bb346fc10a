//! How far long work is: bars on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal as _,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress of one long work, counted in bytes.
pub(super) struct ByteProgress {
    doing: &'static str,
    bar: ProgressBar,
    total: u64,
    begun: Instant,
    /// When the last line was written; none on a terminal, where there is a bar.
    lines: Option<Mutex<Instant>>,
}

impl ByteProgress {
    /// Begins to show work on `total` bytes, on standard error.
    pub(super) fn new(doing: &'static str, total: u64) -> ByteProgress {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let shape = "{msg:12} {wide_bar} {bytes:>10} of {total_bytes:<10} {eta:>4} left";
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_message(doing);
        let lines = (!terminal).then(|| Mutex::new(Instant::now()));
        ByteProgress { doing, bar, total, begun: Instant::now(), lines }
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        let Some(lines) = &self.lines else { return };
        let Ok(mut last) = lines.try_lock() else { return };
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let done = HumanBytes(self.bar.position());
            let total = HumanBytes(self.total);
            anstream::eprintln!("{}: {done} of {total}", self.doing);
        }
    }

    /// Takes the bar away; how long it took.
    pub(super) fn done(self) -> Duration {
        self.bar.finish_and_clear();
        self.begun.elapsed()
    }
}
