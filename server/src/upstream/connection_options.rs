//! The field `Connection` of a message.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What `Connection` says (RFC 9110 §7.6.1, RFC 9112 §9.3).
#[derive(Debug, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// The fields that it names.
    pub(super) names: Vec<HeaderName>,
}

impl ConnectionOptions {
    /// Those of a message with these fields.
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut options = Self::default();
        fields.get_all(header::CONNECTION).iter().for_each(|value| options.read(value));
        options
    }

    /// Adds what one of its values says.
    pub(super) fn read(&mut self, value: &HeaderValue) {
        for option in value.as_bytes().split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if let Ok(name) = HeaderName::from_bytes(option) {
                self.names.push(name);
            }
        }
    }

    /// Whether a field of this name is about the connection alone.
    pub(super) fn names(&self, name: &HeaderName) -> bool {
        self.names.contains(name)
    }
}
