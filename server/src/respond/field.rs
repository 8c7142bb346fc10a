//! Writing field values without a detour through the heap.

use std::{fmt, io::Write};

use http::HeaderValue;

/// The value as text, if it is short and may stand in a field.
pub(crate) fn written(value: &impl fmt::Display) -> Option<HeaderValue> {
    let mut buffer = [0; 64];
    let mut rest = &mut buffer[..];
    write!(rest, "{value}").ok()?;
    let used = 64 - rest.len();
    HeaderValue::from_bytes(&buffer[..used]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_written_and_what_is_long_is_not() {
        assert_eq!(written(&"abc").unwrap(), "abc");
        assert_eq!(written(&"a".repeat(64)).unwrap(), "a".repeat(64));
        assert_eq!(written(&"a".repeat(65)), None);
        assert_eq!(written(&"a\nb"), None);
    }
}
