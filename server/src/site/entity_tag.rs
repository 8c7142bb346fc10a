//! What tells the representations of a file apart (RFC 9110 §8.8.3).

use std::fmt;

/// A strong entity tag: `"crc-size"`, or `"crc-size-g<packed>"` for the re-framed deflate stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag {
    pub(super) crc: u32,
    pub(super) size: u64,
    pub(super) gzip: Option<u64>,
}

/// The longest one: three numbers, and what stands around them.
const LONGEST: usize = 8 + 16 + 16 + 5;

impl fmt::Display for EntityTag {
    /// The tag as it stands in the `ETag` field, with its quotes.
    ///
    /// Nearly every response has one, and `write!` with its widths and bases costs several times as much as all of this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Backwards { bytes: [0; LONGEST], left: LONGEST };
        text.put(b'"');
        if let Some(packed) = self.gzip {
            text.put_hex(packed, 1);
            text.put(b'g');
            text.put(b'-');
        }
        text.put_hex(self.size, 1);
        text.put(b'-');
        text.put_hex(u64::from(self.crc), 8);
        text.put(b'"');
        f.write_str(std::str::from_utf8(&text.bytes[text.left..]).unwrap_or_default())
    }
}

/// Text that is written from its end.
struct Backwards {
    bytes: [u8; LONGEST],
    left: usize,
}

impl Backwards {
    fn put(&mut self, byte: u8) {
        self.left -= 1;
        self.bytes[self.left] = byte;
    }

    /// At least so many digits of it.
    fn put_hex(&mut self, mut number: u64, least: u32) {
        let mut digits = 0;
        while number > 0 || digits < least {
            self.put(b"0123456789abcdef"[(number & 15) as usize]);
            number >>= 4;
            digits += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_written_as_write_would() {
        let numbers = [0, 1, 15, 16, 255, 4096, u64::from(u32::MAX), u64::MAX];
        for (crc, size) in [0, 1, 0xab, u32::MAX].into_iter().flat_map(|crc| numbers.map(|size| (crc, size))) {
            let tag = EntityTag { crc, size, gzip: None };
            assert_eq!(tag.to_string(), format!("\"{crc:08x}-{size:x}\""));
            for packed in numbers {
                let tag = EntityTag { crc, size, gzip: Some(packed) };
                assert_eq!(tag.to_string(), format!("\"{crc:08x}-{size:x}-g{packed:x}\""));
            }
        }
    }
}
