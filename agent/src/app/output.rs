//! What a process writes: each line goes to the log, and the last ones are kept to be shown.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How many lines are kept.
const KEPT: usize = 50;
/// How long a line may be; what is longer goes on in the next one.
const LONGEST: usize = 4096;

/// The last lines of a process. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Output(Arc<Mutex<VecDeque<String>>>);

impl Output {
    /// The last lines, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes all that comes, until the last process that writes to it has ended.
    pub(super) async fn take(self, mut from: impl AsyncRead + Unpin) {
        let mut line = Vec::new();
        let mut piece = vec![0; 8192];
        while let Ok(many @ 1..) = from.read(&mut piece).await {
            for byte in &piece[..many] {
                if *byte != b'\n' {
                    line.push(*byte);
                }
                if *byte == b'\n' || line.len() == LONGEST {
                    self.put(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.put(&line);
        }
    }

    fn put(&self, line: &[u8]) {
        let line = printable(line);
        tracing::info!("app | {line}");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The line without what a terminal would take for an order.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn last_lines_are_kept_without_orders_to_a_terminal() {
        let output = Output::default();
        let mut written: Vec<u8> = (0..60).flat_map(|number| format!("line {number}\r\n").into_bytes()).collect();
        written.extend(b"\x1b[2Jgone\n\xff\xfe\nlast");
        output.clone().take(&written[..]).await;
        let lines = output.lines();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0], "line 13");
        assert_eq!(lines[KEPT - 3..], ["\u{FFFD}[2Jgone", "\u{FFFD}\u{FFFD}", "last"]);
    }

    #[tokio::test]
    async fn line_without_an_end_takes_bounded_memory() {
        let output = Output::default();
        output.clone().take(&vec![b'a'; 3 * LONGEST + 1][..]).await;
        assert_eq!(output.lines().iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, LONGEST, 1]);
    }
}
