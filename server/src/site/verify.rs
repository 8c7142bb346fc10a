//! Reading every entry once, before a package may go live.

use bytes::Bytes;

use super::{
    Entry, Inflate, Method, Site, directory,
    refused::{Reason, Refused},
};

/// Reads every entry of `site`; see [`Site::verify`].
pub(super) fn verify(site: &Site) -> Result<(), Refused> {
    let mut order: Vec<&Entry> = site.entries.iter().collect();
    order.sort_unstable_by_key(|entry| entry.offset);
    for (place, entry) in order.iter().enumerate() {
        let end = order.get(place + 1).map_or(site.directory as u64, |next| next.offset);
        records(site, entry, end)
            .and_then(|packed| content(entry, packed))
            .map_err(|reason| reason.of(site.name(entry)))?;
    }
    Ok(())
}

/// The local header says the same as the directory, and the bytes end before the next entry begins.
fn records(site: &Site, entry: &Entry, end: u64) -> Result<Bytes, Reason> {
    let local = directory::local(&site.zip, entry.offset as usize)
        .ok_or(Reason::Contradiction("its local header is missing"))?;
    let method = match entry.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    if local.method != method {
        return Err(Reason::Contradiction("its two headers name different compression methods"));
    }
    if local.flags & 1 != 0 {
        return Err(Reason::Encrypted);
    }
    if !same_name(local.name, site.name(entry)) {
        return Err(Reason::Contradiction("its two headers name different files"));
    }
    // With bit 3 the sizes follow the bytes in a data descriptor, and what stands here does not count.
    let described_later = local.flags & (1 << 3) != 0;
    let may_be = |small: u32, large: u64| small == u32::MAX || u64::from(small) == large;
    if !described_later
        && (local.crc != entry.crc || !may_be(local.packed, entry.packed) || !may_be(local.size, entry.size))
    {
        return Err(Reason::Contradiction("its two headers declare different sizes or checksums"));
    }
    let packed = site.packed(entry).ok_or(Reason::Contradiction("its bytes reach into the directory"))?;
    if local.data as u64 + entry.packed > end {
        return Err(Reason::Overlap);
    }
    Ok(packed)
}

/// A name in a code page may be another than 437; then it cannot be compared: the directory's Unicode name was taken, and its
/// checksum held. A name within ASCII is the same in every code page.
fn same_name(local: &[u8], name: &str) -> bool {
    match std::str::from_utf8(local) {
        // With backslashes as Windows wrote them, see `raw_name`.
        Ok(local) if local.contains('\\') => {
            super::name::normalise(&local.replace('\\', "/")).is_ok_and(|l| l.text == name)
        }
        Ok(local) => super::name::normalise(local).is_ok_and(|local| local.text == name),
        Err(_) => !name.is_ascii(),
    }
}

fn content(entry: &Entry, packed: Bytes) -> Result<(), Reason> {
    let mut hasher = crc32fast::Hasher::new();
    match entry.method {
        Method::Stored => hasher.update(&packed),
        Method::Deflated => {
            let mut inflate = Inflate::new(packed, entry.size);
            while let Some(piece) = inflate.piece() {
                hasher.update(&piece.map_err(|_| Reason::Deflate)?);
            }
            if !inflate.ends() {
                return Err(Reason::Damaged("it inflates to more than the declared size, or bytes follow its stream"));
            }
        }
    }
    if hasher.finalize() != entry.crc {
        return Err(Reason::Damaged("its CRC-32 does not hold"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::same_name;

    #[test]
    fn names_of_both_headers_are_the_same_or_cannot_be_compared() {
        let table: [(&[u8], &str, bool); 6] = [
            (b"x.png", "x.png", true),
            (b"a\\x.png", "a/x.png", true),
            (b"x.png", "xnpng", false),
            (b"x.pn\xe7", "xnpng", false),
            (b"gr\x81n.png", "gr\u{fc}n.png", true),
            ("gr\u{fc}n.png".as_bytes(), "gr\u{f6}n.png", false),
        ];
        for (local, name, expected) in table {
            assert_eq!(same_name(local, name), expected, "{local:?} {name}");
        }
    }
}
