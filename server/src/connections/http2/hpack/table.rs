//! The dynamic table of either side (RFC 7541 §2.3.2, §4).

use std::collections::VecDeque;

use super::TABLE;

/// Something that counts so much in a table (§4.1).
pub(super) trait Counted {
    fn size(&self) -> usize;
}

/// Entries, the newest first.
#[derive(Debug)]
pub(super) struct Table<E> {
    entries: VecDeque<E>,
    size: usize,
    most: usize,
}

impl<E: Counted> Table<E> {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), size: 0, most: TABLE }
    }

    pub(super) fn entries(&self) -> &VecDeque<E> {
        &self.entries
    }

    /// How large it may become.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Makes it as large as that at most (§4.3).
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.evict(most);
    }

    /// One that is larger than the table empties it (§4.4).
    pub(super) fn insert(&mut self, entry: E) {
        let size = entry.size();
        self.evict(self.most.saturating_sub(size));
        if size <= self.most {
            self.size += size;
            self.entries.push_front(entry);
        }
    }

    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.size();
        }
    }

    /// What always holds; returns its size.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn check(&self) -> usize {
        assert!(self.size <= self.most && self.most <= TABLE);
        assert_eq!(self.size, self.entries.iter().map(Counted::size).sum::<usize>());
        self.size
    }
}
