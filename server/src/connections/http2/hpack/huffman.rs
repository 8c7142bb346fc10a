//! The Huffman code of strings (RFC 7541 §5.2, appendix B).
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, and begin where the shorter
//! ones end. So the lengths say it all.

use super::MalformedBlock;

/// Bits of each octet's code, and of EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
/// The end of a string, which none contains.
const EOS: u16 = 256;
/// The longest code.
const LONGEST: usize = 30;

const CODES: Codes = Codes::new();
/// For each first octet the symbol whose code it begins with, if that has eight bits at most.
static SHORT: [Option<(u8, u8)>; 256] = shorts();

/// The code, in the order of its lengths.
struct Codes {
    /// Of each symbol.
    code: [u32; 257],
    /// All symbols, the shortest codes first.
    symbols: [u16; 257],
    /// Of each length: its first code, where its symbols begin, and how many there are.
    lengths: [(u32, u16, u16); LONGEST + 1],
}

impl Codes {
    const fn new() -> Self {
        let mut codes = Self { code: [0; 257], symbols: [0; 257], lengths: [(0, 0, 0); LONGEST + 1] };
        let mut next = 0_u32;
        let mut used = 0_u16;
        let mut length = 1;
        while length <= LONGEST {
            next <<= 1;
            codes.lengths[length] = (next, used, 0);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    codes.code[symbol] = next;
                    codes.symbols[used as usize] = symbol as u16;
                    codes.lengths[length].2 += 1;
                    next += 1;
                    used += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        codes
    }

    /// The symbol whose code these bits begin with, and the code's length.
    fn symbol(&self, bits: u32) -> (u16, u32) {
        for (length, (first, at, many)) in self.lengths.iter().enumerate().skip(9) {
            let behind = (bits >> (32 - length)).wrapping_sub(*first);
            if behind < u32::from(*many) {
                return (self.symbols[usize::from(*at) + behind as usize], length as u32);
            }
        }
        (EOS, LONGEST as u32)
    }
}

const fn shorts() -> [Option<(u8, u8)>; 256] {
    let mut shorts = [None; 256];
    let mut symbol = 0;
    while symbol < 256 {
        let length = LENGTHS[symbol];
        if length <= 8 {
            let first = (CODES.code[symbol] << (8 - length)) as usize;
            let mut at = first;
            while at < first + (1 << (8 - length)) {
                shorts[at] = Some((symbol as u8, length));
                at += 1;
            }
        }
        symbol += 1;
    }
    shorts
}

/// The string behind its code.
///
/// # Errors
/// A string that contains EOS, or ends with anything but up to seven bits of it.
pub(super) fn decode(coded: &[u8]) -> Result<Vec<u8>, MalformedBlock> {
    // No code has fewer than five bits.
    let mut text = Vec::with_capacity(coded.len() * 8 / 5);
    let mut rest = coded.iter();
    // The next bits come first, and there are `held` of them.
    let mut window = 0_u64;
    let mut held = 0_u32;
    loop {
        while held <= 56
            && let Some(octet) = rest.next()
        {
            window |= u64::from(*octet) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(text);
        }
        let padding = if held < 32 { u32::MAX >> held } else { 0 };
        let bits = (window >> 32) as u32 | padding;
        let (symbol, length) = match SHORT[(bits >> 24) as usize] {
            Some((symbol, length)) => (u16::from(symbol), u32::from(length)),
            None => CODES.symbol(bits),
        };
        if length > held {
            // What is left can only be the beginning of EOS, and less than an octet.
            return if held < 8 && bits == u32::MAX { Ok(text) } else { Err(MalformedBlock) };
        }
        text.push(u8::try_from(symbol).map_err(|_| MalformedBlock)?);
        window <<= length;
        held -= length;
    }
}

/// How long `text` is when it is coded.
pub(super) fn coded_length(text: &[u8]) -> usize {
    text.iter().map(|octet| usize::from(LENGTHS[usize::from(*octet)])).sum::<usize>().div_ceil(8)
}

/// Codes `text`.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut window = 0_u64;
    let mut held = 0_u32;
    for octet in text {
        let length = u32::from(LENGTHS[usize::from(*octet)]);
        window = window << length | u64::from(CODES.code[usize::from(*octet)]);
        held += length;
        while held >= 8 {
            held -= 8;
            out.push((window >> held) as u8);
        }
    }
    if held > 0 {
        out.push((window << (8 - held)) as u8 | 0xff >> held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), coded_length(text));
        out
    }

    #[test]
    fn codes_are_those_of_the_appendix() {
        for (symbol, code) in
            [(0, 0x1ff8), (10, 0x3fff_fffc), (48, 0), (97, 3), (122, 0x7b), (127, 0x0fff_fffc), (249, 0x0fff_fffe)]
        {
            assert_eq!(CODES.code[symbol], code, "{symbol}");
        }
        assert_eq!(CODES.code[usize::from(EOS)], 0x3fff_ffff);
    }

    /// RFC 7541 appendix C.4 and C.6.
    #[test]
    fn examples_are_coded_as_in_the_appendix() {
        for (text, expected) in [
            ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..]),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
            ("302", &[0x64, 0x02]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b]),
        ] {
            assert_eq!(coded(text.as_bytes()), expected, "{text}");
            assert_eq!(decode(expected), Ok(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn every_string_of_two_octets_comes_back() {
        for first in 0..=255 {
            for second in 0..=255 {
                assert_eq!(decode(&coded(&[first, second])), Ok(vec![first, second]));
            }
        }
    }

    #[test]
    fn padding_is_the_beginning_of_eos_and_less_than_an_octet() {
        assert_eq!(decode(&[]), Ok(vec![]));
        assert_eq!(decode(&[0x07]), Ok(vec![b'0']));
        for wrong in [&[0x00][..], &[0x06], &[0x07, 0xff], &[0xff], &[0xff; 4], &[0xff, 0xff, 0xff, 0xfc], &[0xfe]] {
            assert_eq!(decode(wrong), Err(MalformedBlock), "{wrong:?}");
        }
    }
}
