//! How an HTTP/2 connection begins: the preface, and SETTINGS behind it (RFC 9113 §3.4).

/// Where the type of the first frame lies: behind 24 bytes of preface, and 3 of the frame's length (§4.1).
const FIRST_TYPE: usize = 24 + 3;
const SETTINGS: u8 = 4;
/// What no client may send (§8.4), so that h2 ends the connection with an error of the protocol.
const PUSH_PROMISE: u8 = 5;

/// Looks at the first bytes of a connection. h2 checks the preface, but takes any frame behind it.
#[derive(Debug, Default)]
pub(super) struct Preface {
    /// How many bytes were looked at.
    seen: usize,
}

impl Preface {
    /// Makes a first frame that is not SETTINGS one that is an error. However the bytes are cut.
    pub(super) fn look(&mut self, bytes: &mut [u8]) {
        let Some(at) = FIRST_TYPE.checked_sub(self.seen) else { return };
        self.seen += bytes.len();
        if let Some(kind) = bytes.get_mut(at)
            && *kind != SETTINGS
        {
            *kind = PUSH_PROMISE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_may_come_first_however_the_bytes_are_cut() {
        let begin =
            |kind: u8| [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0"[..], &[kind, 0, 0, 0, 0, 0, 0, 0, 8, 1, 9]].concat();
        for (kind, expected) in [(4, 4), (0, 5), (1, 5), (5, 5), (6, 5), (0xee, 5)] {
            let (whole, expected) = (begin(kind), begin(expected));
            for cut in 1..whole.len() {
                let (mut preface, mut bytes) = (Preface::default(), whole.clone());
                bytes.chunks_mut(cut).for_each(|piece| preface.look(piece));
                assert_eq!(bytes, expected, "{kind}, in pieces of {cut}");
            }
        }
    }
}
