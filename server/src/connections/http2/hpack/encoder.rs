//! From fields to a field block (RFC 7541 §6).

use std::{collections::HashMap, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    OVERHEAD, TABLE,
    field::STATIC,
    huffman,
    table::{Counted, Table},
};

/// This side of a connection's compression.
#[derive(Debug)]
pub(in super::super) struct Encoder {
    table: Table<IndexedField>,
    /// The smallest size since the last block, and whether the size has changed: both are said in the next one (§4.2).
    least: Option<usize>,
}

#[derive(Debug)]
struct IndexedField {
    digest: u32,
    name: HeaderName,
    value: HeaderValue,
}

/// The first number of the dynamic table (§2.3.3).
const DYNAMIC: usize = STATIC.len() + 1;

/// The number of each name in the static table.
static NAMES: LazyLock<HashMap<HeaderName, usize>> = LazyLock::new(|| {
    let names = STATIC.iter().enumerate().filter(|(_, (name, _))| !name.starts_with(':'));
    names.map(|(at, (name, _))| (HeaderName::from_static(name), at + 1)).collect()
});

impl Encoder {
    pub(in super::super) fn new() -> Self {
        Self { table: Table::new(), least: None }
    }

    /// The client has room for a table of that size (RFC 9113 §6.5.2); no more of it is used than anybody has by default.
    pub(in super::super) fn resize(&mut self, most: usize) {
        let most = most.min(TABLE);
        if most != self.table.most() {
            self.least = Some(self.least.unwrap_or(most).min(most));
            self.table.resize(most);
        }
    }

    /// Says how large the table is, if that has changed.
    fn say_size(&mut self, out: &mut Vec<u8>) {
        if let Some(least) = self.least.take() {
            if least < self.table.most() {
                number(least, 5, 0x20, out);
            }
            number(self.table.most(), 5, 0x20, out);
        }
    }

    /// The block of a response's trailers.
    pub(in super::super) fn trailers(&mut self, fields: &HeaderMap, out: &mut Vec<u8>) {
        self.say_size(out);
        fields.iter().for_each(|(name, value)| self.field(name, value, out));
    }

    /// Begins a response's block.
    pub(in super::super) fn begin(&mut self, status: StatusCode, out: &mut Vec<u8>) {
        self.say_size(out);
        match status.as_u16() {
            200 => out.push(0x88),
            204 => out.push(0x89),
            206 => out.push(0x8a),
            304 => out.push(0x8b),
            400 => out.push(0x8c),
            404 => out.push(0x8d),
            500 => out.push(0x8e),
            _ => {
                // The name is that of number 8.
                out.push(8);
                plain(status.as_str().as_bytes(), out);
            }
        }
    }

    /// One more field of it.
    pub(in super::super) fn field(&mut self, name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
        if let Some(index) = of_one_response(name) {
            number(index, 4, 0, out);
            plain(value.as_bytes(), out);
            return;
        }
        let digest = digest(name, value.as_bytes());
        let same = |entry: &IndexedField| entry.digest == digest && entry.value == *value && entry.name == *name;
        if let Some(at) = self.table.entries().iter().position(same) {
            number(DYNAMIC + at, 7, 0x80, out);
            return;
        }
        match NAMES.get(name) {
            Some(index) => number(*index, 6, 0x40, out),
            None => {
                out.push(0x40);
                string(name.as_str().as_bytes(), out);
            }
        }
        string(value.as_bytes(), out);
        self.table.insert(IndexedField { digest, name: name.clone(), value: value.clone() });
    }
}

impl Counted for IndexedField {
    fn size(&self) -> usize {
        self.name.as_str().len() + self.value.len() + OVERHEAD
    }
}

/// The number of a name whose value another response will hardly have, so that it would only push out what others have.
fn of_one_response(name: &HeaderName) -> Option<usize> {
    match *name {
        header::AGE => Some(21),
        header::CONTENT_LENGTH => Some(28),
        header::CONTENT_RANGE => Some(30),
        header::ETAG => Some(34),
        header::LOCATION => Some(46),
        header::SET_COOKIE => Some(55),
        _ => None,
    }
}

/// A number whose first bits are the last of an octet (§5.1) that begins with `first`.
fn number(mut value: usize, prefix: u8, first: u8, out: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if value < most {
        out.push(first | value as u8);
        return;
    }
    out.push(first | most as u8);
    value -= most;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A string (§5.2), coded if that is shorter: it is sent once on a connection.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::coded_length(text);
    if coded < text.len() {
        number(coded, 7, 0x80, out);
        huffman::encode(text, out);
    } else {
        plain(text, out);
    }
}

/// A string as it is: one that each response has anew takes longer to code than to send.
fn plain(text: &[u8], out: &mut Vec<u8>) {
    number(text.len(), 7, 0, out);
    out.extend_from_slice(text);
}

/// Tells most fields apart (FxHash, of eight bytes at a time).
fn digest(name: &HeaderName, value: &[u8]) -> u32 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut digest = name.as_str().len() as u64;
    let mut mix = |word: u64| digest = (digest.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let (words, rest) = value.as_chunks::<8>();
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    mix(rest.iter().fold(value.len() as u64, |word, octet| word << 8 | u64::from(*octet)));
    (digest >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Decoder, Field, RefusedBlock, Sink},
        *,
    };

    #[derive(Default)]
    struct Taken(Vec<(HeaderName, HeaderValue)>);

    impl Sink for Taken {
        fn wants(&mut self, _: usize) -> Result<bool, RefusedBlock> {
            Ok(true)
        }

        fn take(&mut self, field: Field) {
            match field {
                Field::Other(name, value) => self.0.push((name, value)),
                // The status: a field that no request may have.
                Field::Malformed(_) => {}
                field => panic!("{field:?}"),
            }
        }
    }

    fn response(number: usize) -> Vec<(HeaderName, HeaderValue)> {
        let value = |text: String| HeaderValue::try_from(text).unwrap();
        vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_LENGTH, number.into()),
            (header::ETAG, value(format!("\"{number:x}\""))),
            (HeaderName::from_static("x-many"), value(format!("{}{}", "v".repeat(number % 300), number % 90))),
            (header::SET_COOKIE, value(format!("a={number}"))),
            (header::DATE, value(format!("Sat, 28 Nov 2026 17:00:{:02} GMT", number % 60))),
        ]
    }

    #[test]
    fn responses_are_decoded_as_they_were_whatever_the_size_of_the_table() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        for number in 0..3000 {
            match number % 500 {
                100 => encoder.resize(100),
                200 => [50, 3000].into_iter().for_each(|size| encoder.resize(size)),
                300 => encoder.resize(0),
                400 => encoder.resize(1 << 20),
                _ => {}
            }
            let fields = response(number);
            let mut block = Vec::new();
            let mut taken = Taken::default();
            encoder.begin(StatusCode::OK, &mut block);
            fields.iter().for_each(|(name, value)| encoder.field(name, value, &mut block));
            decoder.decode(&block, &mut taken).unwrap();
            assert_eq!(taken.0, fields, "{number}");
            encoder.table.check();
        }
    }

    #[test]
    fn numbers_of_names_are_those_of_the_table() {
        let numbered = NAMES.iter().filter_map(|(name, number)| Some((of_one_response(name)?, *number)));
        let numbered: Vec<_> = numbered.collect();
        assert!(numbered.len() == 6 && numbered.iter().all(|(said, is)| said == is), "{numbered:?}");
    }

    #[test]
    fn what_was_sent_before_is_one_octet() {
        let mut encoder = Encoder::new();
        let block = |encoder: &mut Encoder| {
            let mut block = Vec::new();
            encoder.begin(StatusCode::OK, &mut block);
            encoder.field(&header::VARY, &HeaderValue::from_static("accept-encoding"), &mut block);
            block
        };
        assert!(block(&mut encoder).len() > 10);
        assert_eq!(block(&mut encoder), [0x88, 0xbe]);
    }

    #[test]
    fn a_status_without_a_number_is_said() {
        let mut encoder = Encoder::new();
        let mut block = Vec::new();
        encoder.begin(StatusCode::MISDIRECTED_REQUEST, &mut block);
        assert_eq!(block, b"\x08\x03421");
    }
}
