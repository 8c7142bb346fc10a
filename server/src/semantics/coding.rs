//! Which content coding a client wants (RFC 9110 §12.5.3).

use http::{HeaderMap, header};

/// How much a client wants each coding, in thousandths; 0 is "not at all".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) brotli: u16,
    pub(crate) zstandard: u16,
    pub(crate) gzip: u16,
    pub(crate) identity: u16,
}

impl Wanted {
    /// What a request without `Accept-Encoding` is answered with: many who send none cannot decode.
    const IDENTITY: Self = Self { brotli: 0, zstandard: 0, gzip: 0, identity: 1000 };

    /// Reads `Accept-Encoding`. Fields that are malformed count as absent, member by member.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
        if fields.peek().is_none() {
            return Self::IDENTITY;
        }
        let mut brotli = None;
        let mut zstandard = None;
        let mut gzip = None;
        let mut identity = None;
        let mut any = None;
        let members = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
        for (coding, weight) in members.filter_map(member) {
            let slot = match coding {
                coding if coding.eq_ignore_ascii_case("br") => &mut brotli,
                coding if coding.eq_ignore_ascii_case("zstd") => &mut zstandard,
                coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => &mut gzip,
                coding if coding.eq_ignore_ascii_case("identity") => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            // Said twice, the first counts.
            slot.get_or_insert(weight);
        }
        let or_any = |said: Option<u16>| said.or(any).unwrap_or(0);
        Self {
            brotli: or_any(brotli),
            zstandard: or_any(zstandard),
            gzip: or_any(gzip),
            // Identity is refused only by `identity;q=0`, or `*;q=0` without it. Unsaid, it is wanted least.
            identity: identity.or(any.filter(|weight| *weight == 0)).unwrap_or(1),
        }
    }
}

/// `coding [;q=weight]`.
fn member(member: &str) -> Option<(&str, u16)> {
    let (coding, weight) = member.split_once(';').map_or((member, None), |(coding, weight)| (coding, Some(weight)));
    let coding = coding.trim_matches([' ', '\t']);
    let weight = match weight {
        None => 1000,
        Some(weight) => thousandths(weight.trim_matches([' ', '\t']))?,
    };
    (!coding.is_empty()).then_some((coding, weight))
}

/// `q=0.123` (RFC 9110 §12.4.2): at most three digits, at most 1.
fn thousandths(weight: &str) -> Option<u16> {
    let weight = weight.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction =
        fraction.bytes().fold((0, 100), |(sum, place), digit| (sum + u16::from(digit - b'0') * place, place / 10)).0;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_the_rfc_says() {
        for (field, [brotli, zstandard, gzip, identity]) in [
            ("", [0, 0, 0, 1]),
            ("gzip", [0, 0, 1000, 1]),
            ("gzip, deflate, br, zstd", [1000, 1000, 1000, 1]),
            ("GZIP;Q=0.5 , br ; q=1.000", [1000, 0, 500, 1]),
            ("*", [1000, 1000, 1000, 1]),
            ("*;q=0", [0, 0, 0, 0]),
            ("gzip;q=0, *;q=0.25", [250, 250, 0, 1]),
            ("identity;q=0, gzip;q=0.001", [0, 0, 1, 0]),
            ("identity, *;q=0", [0, 0, 0, 1000]),
            ("x-gzip", [0, 0, 1000, 1]),
            ("gzip;q=0, gzip;q=1", [0, 0, 0, 1]),
            ("gzip;q=1.001, br;q=2, zstd;q=0.1234", [0, 0, 0, 1]),
            ("gzip;q=, br;q, zstd;level=3", [0, 0, 0, 1]),
            (",,;q=1,gzip,", [0, 0, 1000, 1]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, field.parse().unwrap());
            assert_eq!(Wanted::of(&headers), Wanted { brotli, zstandard, gzip, identity }, "{field:?}");
        }
        assert_eq!(Wanted::of(&HeaderMap::new()), Wanted::IDENTITY);
    }
}
