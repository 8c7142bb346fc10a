//! What a process writes: each line goes to a log, and the last ones are kept to be shown.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

/// How many lines are kept.
pub(crate) const KEPT: usize = 50;
/// How long a line may be; what is longer goes on in the next one.
const LONGEST: usize = 4096;
/// How many lines of a second go to the log.
const MOST_LOGGED: usize = 1000;
const SECOND: Duration = Duration::from_secs(1);

/// The last lines of a process. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    lines: Arc<Mutex<Lines>>,
    log: fn(&str),
}

#[derive(Debug)]
struct Lines {
    last: VecDeque<String>,
    /// How many have come in all.
    many: usize,
    /// When this second of the log began, and how many lines have come in it.
    second: Instant,
    in_second: usize,
}

impl Output {
    /// Of a process that has written nothing yet. Its lines go to `log`, 1,000 a second at most.
    pub(crate) fn new(log: fn(&str)) -> Output {
        let lines = Lines { last: VecDeque::new(), many: 0, second: Instant::now(), in_second: 0 };
        Output { lines: Arc::new(Mutex::new(lines)), log }
    }

    /// The last lines, the oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.locked().last.iter().cloned().collect()
    }

    /// How many lines have come, and the last ones of those that came after the first `seen`.
    pub(crate) fn since(&self, seen: usize) -> (usize, Vec<String>) {
        let lines = self.locked();
        let new = (lines.many - seen.min(lines.many)).min(lines.last.len());
        (lines.many, lines.last.iter().skip(lines.last.len() - new).cloned().collect())
    }

    /// Takes lines that came from elsewhere.
    pub(crate) fn keep(&self, lines: Vec<String>) {
        for line in lines {
            let line = line.as_bytes();
            self.put(&line[..line.len().min(LONGEST)]);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all that comes, until the last process that writes to it has ended.
    pub(crate) async fn take(self, mut from: impl AsyncRead + Unpin) {
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
        let (left_out, is_logged) = {
            let mut lines = self.locked();
            lines.keep(line.clone());
            lines.count()
        };
        if left_out > 0 {
            (self.log)(&format!("spothost has left out {left_out} lines: more than {MOST_LOGGED} came in a second"));
        }
        if is_logged {
            (self.log)(&line);
        }
    }
}

impl Lines {
    fn keep(&mut self, line: String) {
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
        self.many += 1;
    }

    /// Counts a line for the log: how many before it were left out, where that is to be said now, and whether it is logged itself.
    fn count(&mut self) -> (usize, bool) {
        let mut left_out = 0;
        if self.second.elapsed() >= SECOND {
            left_out = self.in_second.saturating_sub(MOST_LOGGED);
            self.second = Instant::now();
            self.in_second = 0;
        }
        self.in_second += 1;
        (left_out, self.in_second <= MOST_LOGGED)
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
        let output = Output::new(|_| ());
        let mut written: Vec<u8> = (0..60).flat_map(|number| format!("line {number}\r\n").into_bytes()).collect();
        written.extend(b"\x1b[2Jgone\n\xff\xfe\nlast");
        output.clone().take(&written[..]).await;
        let lines = output.lines();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines[0], "line 13");
        assert_eq!(lines[KEPT - 3..], ["\u{FFFD}[2Jgone", "\u{FFFD}\u{FFFD}", "last"]);
    }

    #[test]
    fn lines_are_told_once_and_the_last_ones_where_there_were_many() {
        let output = Output::new(|_| ());
        output.put(b"one");
        let (seen, lines) = output.since(0);
        assert_eq!((seen, lines), (1, vec!["one".to_owned()]));
        assert_eq!(output.since(seen).1, Vec::<String>::new());
        (0..KEPT + 5).for_each(|number| output.put(number.to_string().as_bytes()));
        let (seen, lines) = output.since(seen);
        assert_eq!((seen, lines.len(), lines[0].as_str()), (KEPT + 6, KEPT, "5"));
        output.keep(vec!["elsewhere".to_owned()]);
        assert_eq!(output.since(seen).1, ["elsewhere"]);
    }

    #[tokio::test(start_paused = true)]
    async fn log_takes_a_thousand_lines_a_second_and_says_how_many_it_left_out() {
        static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let output = Output::new(|line| LOGGED.lock().expect("not poisoned").push(line.to_owned()));
        (0..MOST_LOGGED + 7).for_each(|number| output.put(number.to_string().as_bytes()));
        tokio::time::advance(SECOND).await;
        output.put(b"after");
        let logged = LOGGED.lock().expect("not poisoned").clone();
        assert_eq!(logged.len(), MOST_LOGGED + 2);
        assert!(logged[MOST_LOGGED].contains("left out 7 lines"), "{}", logged[MOST_LOGGED]);
        assert_eq!(logged[MOST_LOGGED + 1], "after");
        assert_eq!(output.lines().len(), KEPT, "the last ones are kept all the same");
    }

    #[tokio::test]
    async fn line_without_an_end_takes_bounded_memory() {
        let output = Output::new(|_| ());
        output.clone().take(&vec![b'a'; 3 * LONGEST + 1][..]).await;
        assert_eq!(output.lines().iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, LONGEST, 1]);
    }
}
