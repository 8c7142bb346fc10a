//! Inflating an entry piece by piece, with bounded memory.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

/// How much of the content is inflated at once.
pub(crate) const PIECE: usize = 32 * 1024;

/// A deflate stream being read (RFC 1951).
#[derive(Debug)]
pub(crate) struct Inflate {
    packed: Bytes,
    state: Decompress,
    /// Bytes of content still to come, as the directory declares.
    left: u64,
}

impl Inflate {
    /// Reads `packed`, which is declared to hold `size` bytes.
    pub(crate) fn new(packed: Bytes, size: u64) -> Self {
        Self { packed, state: Decompress::new(false), left: size }
    }

    /// The next piece, at most 32 KiB; `None` at the end of the declared content, checked to be the end of the stream.
    pub(crate) fn piece(&mut self) -> Option<Result<Vec<u8>, Damaged>> {
        if self.left == 0 {
            return None;
        }
        let want = self.left.min(PIECE as u64) as usize;
        let mut piece = Vec::with_capacity(want);
        let filled = self.fill(&mut piece, want);
        // A vector may be larger than was asked for, so the stream may yield more than is left.
        match filled.and_then(|()| self.left.checked_sub(piece.len() as u64).ok_or(Damaged)) {
            Ok(left) => {
                self.left = left;
                Some(Ok(piece))
            }
            Err(damaged) => {
                self.left = 0;
                Some(Err(damaged))
            }
        }
    }

    /// How many bytes of content are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Whether the stream ends where its content and its bytes end. Call it after the last piece.
    pub(crate) fn ends(mut self) -> bool {
        let mut excess = Vec::with_capacity(1);
        while excess.is_empty() {
            let before = self.state.total_in();
            let rest = self.rest();
            match self.state.decompress_vec(&rest, &mut excess, FlushDecompress::Finish) {
                Ok(Status::StreamEnd) => {
                    return excess.is_empty() && self.state.total_in() == self.packed.len() as u64;
                }
                Ok(_) if self.state.total_in() > before => {}
                _ => return false,
            }
        }
        false
    }

    fn fill(&mut self, piece: &mut Vec<u8>, want: usize) -> Result<(), Damaged> {
        while piece.len() < want {
            let consumed = self.state.total_in();
            let produced = piece.len();
            let rest = self.rest();
            let status = self.state.decompress_vec(&rest, piece, FlushDecompress::None).map_err(|_| Damaged)?;
            let stuck = self.state.total_in() == consumed && piece.len() == produced;
            if stuck || (status == Status::StreamEnd && piece.len() < want) {
                return Err(Damaged);
            }
        }
        Ok(())
    }

    fn rest(&self) -> Bytes {
        self.packed.slice(self.state.total_in() as usize..)
    }
}

/// The stream is no deflate stream, or holds less than is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deflate stream is damaged")]
pub(crate) struct Damaged;
