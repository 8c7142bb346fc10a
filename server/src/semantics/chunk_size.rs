//! The line that says how large a chunk is (RFC 9112 §7.1).

/// Digits of a size: no chunk is larger than 2^60 bytes.
const DIGITS: u8 = 15;

/// Such a line, read byte by byte: the size in hexadecimal digits, extensions, which are ignored, CR and LF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkSize {
    place: ChunkSizeState,
    size: u64,
    digits: u8,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkSizeState {
    /// A digit, or what ends them.
    #[default]
    Size,
    /// Behind white space, where an extension must follow.
    Blank,
    Extension,
    Lf,
}

impl ChunkSize {
    /// Takes the next byte; whether it is the last one of the line. `None` for a byte that may not stand here: nothing is changed by it.
    #[inline]
    pub(crate) fn push(&mut self, byte: u8) -> Option<bool> {
        self.place = match (self.place, byte) {
            (ChunkSizeState::Size, byte) if byte.is_ascii_hexdigit() => self.lengthen(byte)?,
            (ChunkSizeState::Size | ChunkSizeState::Blank, b' ' | b'\t') if self.digits > 0 => ChunkSizeState::Blank,
            (ChunkSizeState::Size | ChunkSizeState::Blank, b';') if self.digits > 0 => ChunkSizeState::Extension,
            (ChunkSizeState::Size, b'\r') if self.digits > 0 => ChunkSizeState::Lf,
            (ChunkSizeState::Extension, b'\r') => ChunkSizeState::Lf,
            (ChunkSizeState::Extension, b'\t' | 0x20..=0x7e | 0x80..) => ChunkSizeState::Extension,
            (ChunkSizeState::Lf, b'\n') => return Some(true),
            _ => return None,
        };
        Some(false)
    }

    /// The size, as far as it was read.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the last byte was of an extension, or of the white space before it.
    pub(crate) fn is_extended(&self) -> bool {
        matches!(self.place, ChunkSizeState::Blank | ChunkSizeState::Extension)
    }

    fn lengthen(&mut self, digit: u8) -> Option<ChunkSizeState> {
        if self.digits == DIGITS {
            return None;
        }
        self.digits += 1;
        self.size = self.size * 16 + u64::from(char::from(digit).to_digit(16)?);
        Some(ChunkSizeState::Size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_size_and_extensions() {
        for (line, expected) in [
            (&b"0\r\n"[..], Some(0)),
            (b"1aF\r\n", Some(0x1af)),
            (b"fffffffffffffff\r\n", Some((1 << 60) - 1)),
            (b"5;a=b\r\n", Some(5)),
            (b"5 \t;a=\"b\xff\"\r\n", Some(5)),
            (b"", None),
            (b"\r\n", None),
            (b";a\r\n", None),
            (b" 5\r\n", None),
            (b"5 \r\n", None),
            (b"5 5\r\n", None),
            (b"5\n", None),
            (b"5;a\n", None),
            (b"5\r\r\n", None),
            (b"5;\0\r\n", None),
            (b"-5\r\n", None),
            (b"0x5\r\n", None),
            (b"0000000000000000\r\n", None),
        ] {
            let mut size = ChunkSize::default();
            let ended = line.iter().try_fold(false, |ended, byte| if ended { None } else { size.push(*byte) });
            assert_eq!((ended == Some(true)).then_some(size.size()), expected, "{}", line.escape_ascii());
        }
    }
}
