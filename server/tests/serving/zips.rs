//! Zips written byte by byte, so that every lie can be told.

/// One entry, with whatever its records claim.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) content: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) packed: u32,
    pub(crate) size: u32,
    pub(crate) made_by: u16,
    pub(crate) attributes: u32,
    pub(crate) extra: Vec<u8>,
    pub(crate) offset: Option<u32>,
    /// Written behind the content, such as a data descriptor.
    pub(crate) behind: Vec<u8>,
    /// What the local header declares, if it is something else.
    pub(crate) local_sizes: Option<(u32, u32, u32)>,
}

pub(crate) fn stored(name: &str, content: &str) -> Raw {
    Raw {
        name: name.into(),
        local_name: None,
        content: content.into(),
        method: 0,
        flags: 0,
        crc: crc32(content.as_bytes()),
        packed: content.len() as u32,
        size: content.len() as u32,
        made_by: 0x031e,
        attributes: 0o100_644 << 16,
        extra: Vec::new(),
        offset: None,
        behind: Vec::new(),
        local_sizes: None,
    }
}

/// A deflate stream of one stored block, for short content.
pub(crate) fn deflated(name: &str, content: &str) -> Raw {
    let length = content.len() as u16;
    let mut stream = vec![1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(content.as_bytes());
    Raw { method: 8, packed: stream.len() as u32, content: stream, ..stored(name, content) }
}

pub(crate) fn zip(entries: &[Raw]) -> Vec<u8> {
    zip_with(b"", entries, b"")
}

/// A zip behind `prefix`, with a comment. Offsets count from the archive's start.
pub(crate) fn zip_with(prefix: &[u8], entries: &[Raw], comment: &[u8]) -> Vec<u8> {
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(zip.len() as u32);
        local(&mut zip, entry);
        central(&mut directory, entry, offset);
    }
    let start = zip.len() as u32;
    zip.extend(&directory);
    end(&mut zip, entries.len() as u16, directory.len() as u32, start, comment);
    [prefix, &zip].concat()
}

pub(crate) fn local(zip: &mut Vec<u8>, entry: &Raw) {
    let name = entry.local_name.as_ref().unwrap_or(&entry.name);
    let (crc, packed, size) = entry.local_sizes.unwrap_or((entry.crc, entry.packed, entry.size));
    zip.extend(b"PK\x03\x04\x14\0");
    for field in [entry.flags, entry.method, 0, 0x5b75] {
        zip.extend(field.to_le_bytes());
    }
    for field in [crc, packed, size] {
        zip.extend(field.to_le_bytes());
    }
    zip.extend((name.len() as u16).to_le_bytes());
    zip.extend(0_u16.to_le_bytes());
    zip.extend(name);
    zip.extend(&entry.content);
    zip.extend(&entry.behind);
}

pub(crate) fn central(directory: &mut Vec<u8>, entry: &Raw, offset: u32) {
    directory.extend(b"PK\x01\x02");
    for field in [entry.made_by, 20, entry.flags, entry.method, 0, 0x5b75] {
        directory.extend(field.to_le_bytes());
    }
    for field in [entry.crc, entry.packed, entry.size] {
        directory.extend(field.to_le_bytes());
    }
    for field in [entry.name.len() as u16, entry.extra.len() as u16, 0, 0, 0] {
        directory.extend(field.to_le_bytes());
    }
    directory.extend(entry.attributes.to_le_bytes());
    directory.extend(offset.to_le_bytes());
    directory.extend(&entry.name);
    directory.extend(&entry.extra);
}

pub(crate) fn end(zip: &mut Vec<u8>, entries: u16, size: u32, start: u32, comment: &[u8]) {
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend(entries.to_le_bytes());
    zip.extend(entries.to_le_bytes());
    zip.extend(size.to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend((comment.len() as u16).to_le_bytes());
    zip.extend(comment);
}

/// A Zip64 end record and its locator.
pub(crate) fn end64(zip: &mut Vec<u8>, entries: u64, size: u64, start: u64) {
    let at = zip.len() as u64;
    zip.extend(b"PK\x06\x06");
    zip.extend(44_u64.to_le_bytes());
    zip.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [entries, entries, size, start] {
        zip.extend(field.to_le_bytes());
    }
    zip.extend(b"PK\x06\x07\0\0\0\0");
    zip.extend(at.to_le_bytes());
    zip.extend(1_u32.to_le_bytes());
}

/// An extra field.
pub(crate) fn extra(id: u16, content: &[u8]) -> Vec<u8> {
    [&id.to_le_bytes()[..], &(content.len() as u16).to_le_bytes(), content].concat()
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
