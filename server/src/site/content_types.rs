//! The content types of a package, interned.

use std::collections::HashMap;

use http::HeaderValue;

use super::content_type;

/// The content types in use, each once.
#[derive(Default)]
pub(super) struct ContentTypes {
    pub(super) values: Vec<HeaderValue>,
    by_extension: HashMap<Box<str>, u16>,
}

impl ContentTypes {
    /// The place of the type that a file of this name has.
    pub(super) fn of(&mut self, name: &str) -> u16 {
        let extension = content_type::extension(name);
        if let Some(&known) = self.by_extension.get(extension) {
            return known;
        }
        let value = content_type::of_extension(extension);
        let at = self.values.iter().position(|known| *known == value).unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        // There are fewer content types in the world than this.
        let at = u16::try_from(at).unwrap_or(0);
        self.by_extension.insert(extension.into(), at);
        at
    }
}
