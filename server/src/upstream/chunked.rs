//! Content in chunks (RFC 9112 §7.1).

use bytes::{Buf, Bytes};
use http::{HeaderMap, header};

use super::lines::{Lines, Malformed, field};
use crate::semantics::chunk_size::ChunkSize;

/// The most bytes of all extensions of a response together: they are ignored.
const EXTENSIONS: usize = 16 * 1024;
/// The most trailers.
const TRAILERS: usize = 256;

/// Content whose chunks are read one after the other.
#[derive(Debug, Default)]
pub(super) struct ChunkedContent {
    place: ChunkedState,
    size: ChunkSize,
    /// How much of the chunk is still to come.
    left: u64,
    /// Bytes of all extensions so far.
    extensions: usize,
    lines: Lines,
    trailers: HeaderMap,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkedState {
    /// Of the line with a chunk's size.
    #[default]
    Size,
    Data,
    DataCr,
    DataLf,
    Trailers,
    End,
}

impl ChunkedContent {
    /// The next content among these bytes, of one chunk at most; none if more has to come for that, or it is over. What follows it is
    /// left in `bytes`, but for what ends it.
    ///
    /// # Errors
    /// Anything but chunks, trailers that frame a message, or more extensions or trailers than are read.
    pub(super) fn read(&mut self, bytes: &mut Bytes) -> Result<Bytes, Malformed> {
        let mut data = Bytes::new();
        while self.place != ChunkedState::End && !bytes.is_empty() {
            match self.place {
                ChunkedState::Data if !data.is_empty() => break,
                ChunkedState::Data => {
                    data = bytes.split_to(usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()));
                    self.left -= data.len() as u64;
                    if self.left == 0 {
                        self.place = ChunkedState::DataCr;
                    }
                }
                ChunkedState::Trailers => {
                    let Some(line) = self.lines.next(bytes)? else { break };
                    self.read_trailer(line)?;
                }
                _ => {
                    self.place = self.step(bytes[0])?;
                    bytes.advance(1);
                }
            }
        }
        Ok(data)
    }

    /// Whether all of it has come, and its trailers.
    pub(super) fn is_over(&self) -> bool {
        self.place == ChunkedState::End
    }

    /// What follows the content, once all of it has come.
    pub(super) fn into_trailers(self) -> HeaderMap {
        self.trailers
    }

    fn step(&mut self, byte: u8) -> Result<ChunkedState, Malformed> {
        match (self.place, byte) {
            (ChunkedState::Size, byte) => self.read_size(byte),
            (ChunkedState::DataCr, b'\r') => Ok(ChunkedState::DataLf),
            (ChunkedState::DataLf, b'\n') => Ok(ChunkedState::Size),
            _ => Err(Malformed),
        }
    }

    /// The last chunk is empty, and trailers follow it (RFC 9112 §7.1.2).
    fn read_size(&mut self, byte: u8) -> Result<ChunkedState, Malformed> {
        if self.size.push(byte).ok_or(Malformed)? {
            self.left = std::mem::take(&mut self.size).size();
            return Ok(if self.left == 0 { ChunkedState::Trailers } else { ChunkedState::Data });
        }
        self.extensions += usize::from(self.size.is_extended());
        if self.extensions > EXTENSIONS { Err(Malformed) } else { Ok(ChunkedState::Size) }
    }

    /// Trailers end with an empty line. None says how long the content is (RFC 9110 §6.5.1).
    fn read_trailer(&mut self, line: Bytes) -> Result<(), Malformed> {
        if line.is_empty() {
            self.place = ChunkedState::End;
            return Ok(());
        }
        let (name, value) = field(line)?;
        let frames = name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING;
        if frames || self.trailers.len() == TRAILERS {
            return Err(Malformed);
        }
        self.trailers.append(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, what is left behind it, and whether it has come to its end; none at a fault. However the bytes are cut, these are
    /// the same.
    fn read(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>, bool)> {
        let found = [bytes.len(), 1, 3].map(|size| {
            let mut chunked = ChunkedContent::default();
            let mut content = Vec::new();
            let mut left = Vec::new();
            for part in bytes.chunks(size.max(1)) {
                let mut part = Bytes::copy_from_slice(part);
                while !part.is_empty() && !chunked.is_over() {
                    content.extend_from_slice(&chunked.read(&mut part).ok()?);
                }
                left.extend_from_slice(&part);
            }
            Some((content, left, chunked.is_over()))
        });
        assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
        found[0].clone()
    }

    #[test]
    fn chunks_are_read_in_one_way_or_refused() {
        for (bytes, expected) in [
            ("0\r\n\r\n", Some(("", "", true))),
            ("2\r\nhi\r\n0\r\n\r\n", Some(("hi", "", true))),
            ("2\r\nhi\r\n1\r\n!\r\n000\r\n\r\nmore", Some(("hi!", "more", true))),
            ("0000A\r\n0123456789\r\n0\r\n\r\n", Some(("0123456789", "", true))),
            ("1;a=b;c=\"d\";e\r\nx\r\n0\t ;y\r\n\r\n", Some(("x", "", true))),
            ("1\r\n\n\r\n0\r\nA: b\r\nC:\r\n\r\n", Some(("\n", "", true))),
            ("5\r\nhel", Some(("hel", "", false))),
            ("5\r\nhello\r\n0\r\n", Some(("hello", "", false))),
            ("", Some(("", "", false))),
            ("\r\n", None),
            ("zz\r\n", None),
            ("0x5\r\nhello\r\n", None),
            ("+5\r\nhello\r\n", None),
            (" 5\r\nhello\r\n", None),
            ("5 5\r\nhello\r\n", None),
            ("5 \r\nhello\r\n", None),
            (";a\r\nhello\r\n", None),
            ("1000000000000000\r\n", None),
            ("2\nhi\r\n", None),
            ("2\r\nhi\n", None),
            ("2\r\nhi2\r\n", None),
            ("2\r\nhi\r!", None),
            ("2;a\0\r\nhi\r\n", None),
            ("2;a\nb\r\nhi\r\n", None),
            ("0\r\nno colon\r\n", None),
            ("0\r\nA: b\n", None),
            ("0\r\nA: \0\r\n", None),
            ("0\r\n A: b\r\n", None),
            ("0\r\nContent-Length: 0\r\n", None),
            ("0\r\nTransfer-Encoding: chunked\r\n", None),
        ] {
            let expected =
                expected.map(|(content, left, over): (&str, &str, bool)| (content.into(), left.into(), over));
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let extension = |length: usize| format!("1;{}\r\nx\r\n", "a".repeat(length));
        assert!(read(extension(EXTENSIONS - 1).as_bytes()).is_some());
        assert!(read(extension(EXTENSIONS).as_bytes()).is_none());
        assert!(read(extension(10).repeat(EXTENSIONS / 11 + 1).as_bytes()).is_none(), "all together");
        let trailers = |many: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(many));
        assert!(read(trailers(TRAILERS).as_bytes()).unwrap().2);
        assert!(read(trailers(TRAILERS + 1).as_bytes()).is_none());
        assert!(read(format!("0\r\nX: {}\r\n", "y".repeat(70_000)).as_bytes()).is_none());
    }

    #[test]
    fn trailers_follow_the_content() {
        let mut chunked = ChunkedContent::default();
        let mut bytes = Bytes::from_static(b"2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n");
        assert_eq!(chunked.read(&mut bytes).unwrap(), "hi");
        assert!(chunked.is_over() && bytes.is_empty());
        let trailers = chunked.into_trailers();
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["7", "8"]);
    }
}
