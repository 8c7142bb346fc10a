//! What must hold whatever an application sends; see [`crate::fuzzing`].

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{lines::Malformed, response::ResponseReader};

/// What is read of the responses of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) heads: Vec<(StatusCode, HeaderMap)>,
    pub(super) content: Vec<u8>,
    pub(super) trailers: HeaderMap,
    /// What is left behind the response.
    pub(super) behind: Vec<u8>,
    /// Whether the response has come to its end.
    pub(super) over: bool,
    /// Whether another request may follow it.
    pub(super) persistent: bool,
}

impl Seen {
    /// What is read where so many bytes come at once.
    pub(super) fn in_pieces(size: usize, to_head: bool, bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut reader, mut seen) = (ResponseReader::new(), Self::default());
        reader.expect(to_head);
        for piece in bytes.chunks(size.max(1)) {
            let read = seen.read(&mut reader, Bytes::copy_from_slice(piece));
            if read.is_err() {
                assert!(!reader.is_over() && reader.read_head(&mut Bytes::from_static(b"HTTP")).is_err());
                return Err(Malformed);
            }
        }
        (seen.over, seen.persistent) = (reader.is_over(), reader.is_persistent());
        Ok(seen)
    }

    fn read(&mut self, reader: &mut ResponseReader, mut bytes: Bytes) -> Result<(), Malformed> {
        while !self.has_final_head() && !bytes.is_empty() {
            if let Some(head) = reader.read_head(&mut bytes)? {
                self.heads.push((head.status, head.fields));
            }
        }
        let switched = self.heads.last().is_some_and(|(status, _)| *status == StatusCode::SWITCHING_PROTOCOLS);
        while self.has_final_head() && !switched {
            let Some(frame) = reader.read_content(&mut bytes)? else { break };
            match frame.into_data() {
                Ok(data) => self.content.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        self.behind.extend_from_slice(&bytes);
        Ok(())
    }

    fn has_final_head(&self) -> bool {
        let is_final = |status: StatusCode| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
        self.heads.last().is_some_and(|(status, _)| is_final(*status))
    }
}

/// What is read does not depend on how the bytes are cut, and nothing is read behind a fault.
pub(crate) fn responses(data: &[u8]) {
    for to_head in [false, true] {
        let whole = Seen::in_pieces(data.len(), to_head, data);
        for size in [1, 7] {
            assert_eq!(Seen::in_pieces(size, to_head, data), whole, "pieces of {size}, to HEAD: {to_head}");
        }
        let Ok(seen) = whole else { continue };
        let told = |(_, fields): &(StatusCode, HeaderMap)| fields.len() <= 256;
        assert!(seen.heads.iter().all(told) && seen.heads.len() <= 11 && seen.trailers.len() <= 256);
        assert!(!to_head || seen.content.is_empty());
    }
}
