//! From a field block to fields (RFC 7541 §3, §6).

use bytes::Bytes;

use super::{
    Field, MalformedBlock, RefusedBlock, TABLE,
    field::{ENTRIES, FieldName, TableEntry},
    huffman,
    table::Table,
};

/// The client's side of a connection's compression.
#[derive(Debug)]
pub(in super::super) struct Decoder {
    table: Table<TableEntry>,
}

/// Takes the fields of a block.
pub(in super::super) trait Sink {
    /// A field of that size (RFC 9113 §6.5.2) follows; whether it is wanted.
    ///
    /// # Errors
    /// There were far too many.
    fn wants(&mut self, size: usize) -> Result<bool, RefusedBlock>;
    /// Takes it.
    fn take(&mut self, field: Field);
}

/// What is left of a block.
struct Rest<'a>(&'a [u8]);

impl Decoder {
    pub(in super::super) fn new() -> Self {
        Self { table: Table::new() }
    }

    /// Decodes a whole block. It is decoded to its end even if a field is not wanted: the table follows from all.
    ///
    /// # Errors
    /// A block that is malformed, or unpacks to more than the sink bears.
    pub(in super::super) fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<(), RefusedBlock> {
        let mut rest = Rest(block);
        let mut first = true;
        while let Some(&octet) = rest.0.first() {
            match octet {
                // An indexed field (§6.1).
                0x80.. => {
                    let entry = self.entry(rest.number(7)?)?;
                    if sink.wants(entry.size)? {
                        sink.take(entry.field.clone());
                    }
                }
                // A literal to be indexed (§6.2.1).
                0x40.. => {
                    let entry = self.literal(&mut rest, 6)?;
                    if sink.wants(entry.size)? {
                        sink.take(entry.field.clone());
                    }
                    self.table.insert(entry);
                }
                // A new size of the table, at the beginning of a block (§4.2, §6.3).
                0x20.. => {
                    let most = rest.number(5)?;
                    if !first || most > TABLE {
                        return Err(MalformedBlock.into());
                    }
                    self.table.resize(most);
                    continue;
                }
                // A literal that is not, or never, to be indexed (§6.2.2, §6.2.3).
                _ => {
                    let entry = self.literal(&mut rest, 4)?;
                    if sink.wants(entry.size)? {
                        sink.take(entry.field);
                    }
                }
            }
            first = false;
        }
        Ok(())
    }

    /// What always holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(in super::super) fn check(&self) {
        self.table.check();
    }

    fn literal(&self, rest: &mut Rest<'_>, prefix: u8) -> Result<TableEntry, MalformedBlock> {
        let name = match rest.number(prefix)? {
            0 => FieldName::parse(&rest.string()?),
            index => self.entry(index)?.name(),
        };
        Ok(TableEntry::new(name, rest.string()?))
    }

    /// The entry of that number, in both tables (§2.3.3).
    fn entry(&self, index: usize) -> Result<&TableEntry, MalformedBlock> {
        let at = index.checked_sub(1).ok_or(MalformedBlock)?;
        ENTRIES.get(at).or_else(|| self.table.entries().get(at - ENTRIES.len())).ok_or(MalformedBlock)
    }
}

impl Rest<'_> {
    /// A number whose first bits are the last of an octet (§5.1).
    fn number(&mut self, prefix: u8) -> Result<usize, MalformedBlock> {
        let most = (1_u8 << prefix) - 1;
        let first = self.octet()? & most;
        let mut number = usize::from(first);
        if first < most {
            return Ok(number);
        }
        // Nothing here is as long as 2^28 bytes.
        for shift in [0, 7, 14, 21] {
            let octet = self.octet()?;
            number += usize::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return Ok(number);
            }
        }
        Err(MalformedBlock)
    }

    /// A string (§5.2).
    fn string(&mut self) -> Result<Bytes, MalformedBlock> {
        let coded = self.0.first().is_some_and(|first| *first >= 0x80);
        let length = self.number(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(MalformedBlock)?;
        self.0 = rest;
        Ok(if coded { huffman::decode(text)?.into() } else { Bytes::copy_from_slice(text) })
    }

    fn octet(&mut self) -> Result<u8, MalformedBlock> {
        let (first, rest) = self.0.split_first().ok_or(MalformedBlock)?;
        self.0 = rest;
        Ok(*first)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method, uri::Scheme};

    use super::*;

    /// Takes fields up to a size.
    struct Taken(Vec<Field>, usize);

    impl Sink for Taken {
        fn wants(&mut self, size: usize) -> Result<bool, RefusedBlock> {
            self.1 = self.1.saturating_sub(size);
            Ok(self.1 > 0)
        }

        fn take(&mut self, field: Field) {
            self.0.push(field);
        }
    }

    fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, RefusedBlock> {
        let mut taken = Taken(Vec::new(), 1 << 20);
        decoder.decode(block, &mut taken)?;
        Ok(taken.0)
    }

    fn request(path: &'static str, others: &[(&'static str, &'static str)], scheme: Scheme) -> Vec<Field> {
        let mut fields = vec![
            Field::Method(Method::GET),
            Field::Scheme(scheme),
            Field::Path(path.parse().unwrap()),
            Field::Authority("www.example.com".parse().unwrap()),
        ];
        let other = |(name, value): &(&'static str, &'static str)| {
            Field::Other(HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.extend(others.iter().map(other));
        fields
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 7541 appendix C.3 and C.4: three requests on one connection, as they are and by the Huffman code.
    #[test]
    fn requests_are_decoded_as_in_the_appendix() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::new();
            let expected = [
                (request("/", &[], Scheme::HTTP), 57),
                (request("/", &[("cache-control", "no-cache")], Scheme::HTTP), 110),
                (request("/index.html", &[("custom-key", "custom-value")], Scheme::HTTPS), 164),
            ];
            for (block, (expected, size)) in blocks.iter().zip(expected) {
                assert_eq!(decoded(&mut decoder, &bytes(block)), Ok(expected));
                assert_eq!(decoder.table.check(), size);
            }
        }
    }

    #[test]
    fn oldest_entries_make_room_and_a_large_one_empties_the_table() {
        let mut decoder = Decoder::new();
        let field = |name: u8, length: usize| {
            [
                &[0x40, 1, name, 0x7f][..],
                &[(length - 127) as u8 | 0x80, ((length - 127) >> 7) as u8],
                &vec![b'v'; length],
            ]
            .concat()
        };
        for name in b'a'..b'f' {
            decoded(&mut decoder, &field(name, 1000)).unwrap();
        }
        let names: Vec<_> = decoder.table.entries().iter().map(TableEntry::name).collect();
        assert_eq!(names, [b'e', b'd', b'c'].map(|name| FieldName::parse(&[name])));
        assert_eq!(decoder.table.check(), 3 * 1033);
        assert_eq!(decoded(&mut decoder, &[0x20]), Ok(vec![]), "a table without room");
        assert_eq!((decoder.table.check(), decoder.table.entries().len()), (0, 0));
        decoded(&mut decoder, &[&[0x3f, 0xe1, 0x1f][..], &field(b'g', 200)].concat()).unwrap();
        assert_eq!(decoder.table.entries().len(), 1, "it has its room again");
        decoded(&mut decoder, &field(b'h', 5000)).unwrap();
        assert_eq!((decoder.table.check(), decoder.table.entries().len()), (0, 0));
    }

    #[test]
    fn what_is_not_wanted_is_decoded_all_the_same() {
        let mut decoder = Decoder::new();
        let mut taken = Taken(Vec::new(), 40);
        decoder.decode(&[0x82, 0x40, 1, b'x', 1, b'y'], &mut taken).unwrap();
        assert_eq!(taken.0, []);
        assert_eq!(decoder.table.entries().len(), 1);
    }
}
