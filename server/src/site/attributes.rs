//! What a directory header says of its entry.

use std::borrow::Cow;

use super::{Method, directory::Header, refused::Reason};

/// The entry's name as text. Names without the UTF-8 flag are taken if they are valid UTF-8 all the same; else the
/// Unicode path field (APPNOTE §4.6.9) counts, if its checksum shows that it belongs to this name; else they are in code page
/// 437 (APPNOTE D.1).
///
/// Old writers on Windows separate by backslashes, against APPNOTE §4.4.17; where they have put nothing else, as they do,
/// slashes are meant.
pub(super) fn raw_name<'a>(header: &Header<'a>) -> Result<Cow<'a, str>, Reason> {
    let name = text_name(header)?;
    let from_windows = matches!(header.system, 0 | 10 | 14) && name.contains('\\') && !name.contains('/');
    Ok(if from_windows { name.replace('\\', "/").into() } else { name })
}

fn text_name<'a>(header: &Header<'a>) -> Result<Cow<'a, str>, Reason> {
    let unicode = header
        .extra(0x7075)
        .and_then(|field| Some((field.get(1..5)?, field.get(5..)?)))
        .filter(|(crc, _)| **crc == crc32fast::hash(header.name).to_le_bytes())
        .and_then(|(_, name)| std::str::from_utf8(name).ok());
    match (std::str::from_utf8(header.name), unicode) {
        (Ok(name), Some(unicode)) if name != unicode => Err(Reason::Name("it has two different ones")),
        (Ok(name), _) => Ok(name.into()),
        (Err(_), Some(unicode)) => Ok(unicode.into()),
        (Err(_), None) if header.flags & UTF8 != 0 => Err(Reason::Name("it is not UTF-8, as it is said to be")),
        (Err(_), None) => Ok(from_code_page_437(header.name).into()),
    }
}

/// The flag of a name in UTF-8 (APPNOTE §4.4.4).
const UTF8: u16 = 1 << 11;

/// What the bytes from 128 on stand for in code page 437, that of the IBM PC.
const CODE_PAGE_437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// A name in code page 437. The library's own table is not public, and a crate for 128 characters would be larger than they.
pub(super) fn from_code_page_437(name: &[u8]) -> String {
    let high = |byte: u8| CODE_PAGE_437.chars().nth(usize::from(byte & 0x7f)).unwrap_or(char::REPLACEMENT_CHARACTER);
    name.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { high(byte) }).collect()
}

/// Whether the entry is a directory; refuses everything that is neither that nor a regular file.
pub(super) fn kind(header: &Header<'_>, directory: bool) -> Result<bool, Reason> {
    match header.attributes >> 28 {
        // Writers without Unix modes leave the upper half empty; some give directories the mode of a file.
        0 | 0o10 => Ok(directory),
        0o04 => Ok(true),
        0o12 => Err(Reason::Kind("a symbolic link")),
        0o01 => Err(Reason::Kind("a pipe")),
        0o14 => Err(Reason::Kind("a socket")),
        0o02 | 0o06 => Err(Reason::Kind("a device")),
        _ => Err(Reason::Kind("something unknown")),
    }
}

/// Whether the Unix mode, where the writer knew one, lets somebody execute the entry.
pub(super) fn is_executable(header: &Header<'_>) -> bool {
    header.attributes >> 16 & 0o111 != 0
}

/// How the entry lies; refuses what is encrypted, patched, compressed otherwise, or contradicts itself.
pub(super) fn method(header: &Header<'_>) -> Result<Method, Reason> {
    const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
    const PATCH: u16 = 1 << 5;
    if header.flags & ENCRYPTED != 0 {
        return Err(Reason::Encrypted);
    }
    if header.flags & PATCH != 0 {
        return Err(Reason::Kind("a patch"));
    }
    match header.method {
        0 if header.packed != header.size => Err(Reason::Contradiction("it is stored, but its two lengths differ")),
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflated),
        other => Err(Reason::Method(other)),
    }
}

/// Seconds since 1970, 0 if unknown. The extended timestamp is UTC (extra field 0x5455); the DOS time has no zone and is
/// taken as UTC. What lies at the first day of DOS time was put there by a reproducible build and says nothing.
pub(super) fn modified(header: &Header<'_>) -> u32 {
    if let Some([flags, time @ ..]) = header.extra(0x5455)
        && flags & 1 != 0
        && let Some(time) = time.first_chunk::<4>()
    {
        return u32::try_from(i32::from_le_bytes(*time)).unwrap_or(0);
    }
    let date = u32::from(header.date);
    let time = u32::from(header.time);
    let year = 1980 + (date >> 9);
    let month = date >> 5 & 15;
    let day = date & 31;
    if !(1..=12).contains(&month) || day == 0 || (year, month, day) == (1980, 1, 1) {
        return 0;
    }
    let seconds = (time >> 11) * 3600 + (time >> 5 & 63) * 60 + (time & 31) * 2;
    // DOS time goes on to 2107, which is later than 32 bits of seconds hold.
    days_since_1970(year, month, day)
        .checked_mul(86_400)
        .and_then(|midnight| midnight.checked_add(seconds))
        .unwrap_or(0)
}

/// Days of the proleptic Gregorian calendar, for years from 1980 to 2107.
fn days_since_1970(year: u32, month: u32, day: u32) -> u32 {
    // Years are counted from March, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    days - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_page_437_has_a_character_for_each_byte() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        assert_eq!(from_code_page_437(b"caf\x82 \x80\x9b\xa0\xb0\xc4\xe1\xf1\xfd\xff~"), "caf\u{e9} Ç¢á░─ß±²\u{a0}~");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, days) in
            [((1980, 1, 2), 3653), ((2000, 2, 29), 11_016), ((2026, 11, 21), 20_778), ((2107, 12, 31), 50_402)]
        {
            assert_eq!(days_since_1970(date.0, date.1, date.2), days, "{date:?}");
        }
    }
}
