//! Names of entries: normalised and checked once, at opening.

use super::refused::Reason;

/// The normalised form of an entry's name: segments joined by `/`, none of them empty, `.` or `..`.
///
/// A leading `./` and `.` segments are harmless and dropped. Nothing else is repaired: a name that means different things
/// to different readers (backslashes, drives, empty segments, control characters) is refused.
///
/// # Errors
/// [`Reason::Name`] with what is not allowed.
pub(crate) fn normalise(raw: &str) -> Result<Name, Reason> {
    refuse_characters(raw)?;
    let (path, directory) = match raw.strip_suffix('/') {
        Some(path) => (path, true),
        None => (raw, false),
    };
    let mut name = String::with_capacity(path.len());
    for segment in path.split('/') {
        match segment {
            "." => continue,
            ".." => {
                return Err(Reason::Name(
                    "it climbs with '..'; pack it from within its folder: cd site && zip -r ../site.zip .",
                ));
            }
            "" => {
                return Err(Reason::Name(
                    "it has an empty segment; pack it from within its folder: cd site && zip -r ../site.zip .",
                ));
            }
            _ => {}
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(segment);
    }
    if name.is_empty() && !directory {
        return Err(Reason::Name("it is empty; pack the folder anew"));
    }
    Ok(Name { text: name, directory })
}

/// A name that was checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The normalised name, without a trailing slash.
    pub(crate) text: String,
    /// Whether the entry is a directory by its name.
    pub(crate) directory: bool,
}

fn refuse_characters(raw: &str) -> Result<(), Reason> {
    if raw.starts_with('/') {
        return Err(Reason::Name("it is absolute; pack it from within its folder: cd site && zip -r ../site.zip ."));
    }
    if raw.contains('\\') {
        return Err(Reason::Name(
            "it has a backslash; pack it with a slash between folders, as PowerShell 7, 7-Zip and tar -a -cf do",
        ));
    }
    if raw.contains(char::is_control) {
        return Err(Reason::Name("it has a control character; rename it"));
    }
    let bytes = raw.as_bytes();
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err(Reason::Name(
            "it starts with a drive; pack it from within its folder: cd site && zip -r ../site.zip .",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_names_are_normalised() {
        for (raw, text, directory) in [
            ("index.html", "index.html", false),
            ("./a/./b.css", "a/b.css", false),
            ("a/", "a", true),
            ("./", "", true),
            ("ä/ö.txt", "ä/ö.txt", false),
            ("..a/b..", "..a/b..", false),
            ("a b/c:d", "a b/c:d", false),
        ] {
            assert_eq!(normalise(raw), Ok(Name { text: text.into(), directory }), "{raw:?}");
        }
    }

    #[test]
    fn names_that_could_lead_outside_are_refused() {
        for raw in [
            "",
            "/",
            "/etc/passwd",
            "//host/share",
            "../a",
            "a/../b",
            "a/..",
            "..",
            "C:/x",
            "c:x",
            "a\\b",
            "..\\a",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "a//b",
            "a//",
            ".",
        ] {
            assert!(normalise(raw).is_err(), "{raw:?}");
        }
    }
}
