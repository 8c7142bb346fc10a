//! `_headers`, as Netlify and Cloudflare Pages read it.
//!
//! A path, then indented lines `Name: value`; `#` begins a comment; all paths that match count, in their order. Where the two
//! differ, this is what holds here:
//!
//! | | Netlify | Cloudflare Pages | here |
//! |---|---|---|---|
//! | said by several paths | joined with a comma | joined with a comma | joined with a comma |
//! | what the server says itself | mostly kept | replaced | replaced; `Vary` is added to |
//! | `! Name` | not supported | takes the field away | takes the field away |
//! | placeholders in values | not supported | filled in | not supported: text |
//! | responses to redirects | no | no | no |
//! | framing fields | ignored | some refused | refused: a note |
//! | `Basic-Auth` | supported | not supported | refused: a note |
//! | limits | none | 100 paths, 2,000 characters a line | 500 paths, 64 fields each, 4,000 bytes a line |

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{note::Note, pattern::Pattern};

const FILE: &str = "_headers";
const MOST_PATHS: usize = 500;
const MOST_FIELDS: usize = 64;
const LONGEST_LINE: usize = 4_000;

/// The fields that a package adds to its responses.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(Pattern, Vec<Change>)>);

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Set(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Fields {
    /// Reads the file; lines at fault are left out and noted.
    pub(crate) fn parse(text: &str, notes: &mut Vec<Note>) -> Self {
        let mut fields = Self::default();
        // Fields below a path that is left out are left out with it.
        let mut open = None;
        for (at, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let indented = line.starts_with([' ', '\t']);
            let result = match indented {
                _ if line.len() > LONGEST_LINE => Err(format!("the line is longer than {LONGEST_LINE} bytes")),
                true if open == Some(true) => fields.add_change(trimmed),
                true if open.is_none() => Err("there is no path above this field".into()),
                true => continue,
                false => {
                    let added = fields.add_path(trimmed);
                    open = Some(added.is_ok());
                    added
                }
            };
            if let Err(text) = result {
                notes.push(Note { file: FILE, line: at + 1, text });
            }
        }
        fields
    }

    /// Whether there is nothing to apply.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the changes for this decoded path (with its first slash).
    pub(crate) fn apply(&self, path: &str, headers: &mut HeaderMap) {
        let mut said: Vec<&HeaderName> = Vec::new();
        let changes =
            self.0.iter().filter(|(pattern, _)| pattern.matches(path).is_some()).flat_map(|(_, changes)| changes);
        for change in changes {
            match change {
                Change::Remove(name) => {
                    headers.remove(name);
                }
                Change::Set(name, value) => {
                    let add = *name == header::VARY || said.contains(&name);
                    let joined = if add { headers.get(name).and_then(|old| join(old, value)) } else { None };
                    headers.insert(name, joined.unwrap_or_else(|| value.clone()));
                    said.push(name);
                }
            }
        }
    }

    fn add_path(&mut self, path: &str) -> Result<(), String> {
        if self.0.len() >= MOST_PATHS {
            return Err(format!("there are more than {MOST_PATHS} paths"));
        }
        self.0.push((Pattern::parse(path)?, Vec::new()));
        Ok(())
    }

    fn add_change(&mut self, line: &str) -> Result<(), String> {
        let Some((_, changes)) = self.0.last_mut() else { return Ok(()) };
        if changes.len() >= MOST_FIELDS {
            return Err(format!("there are more than {MOST_FIELDS} fields for this path"));
        }
        changes.push(change(line)?);
        Ok(())
    }
}

fn change(line: &str) -> Result<Change, String> {
    if let Some(name) = line.strip_prefix('!') {
        return Ok(Change::Remove(field_name(name.trim())?));
    }
    let (name, value) = line.split_once(':').ok_or("write `Name: value`, or `! Name` to take a field away")?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "the value has characters that are not allowed")?;
    Ok(Change::Set(field_name(name)?, value))
}

/// A field whose value is the server's own business is refused: it frames the message, or says what the package cannot know.
fn field_name(name: &str) -> Result<HeaderName, String> {
    let parsed: HeaderName = name.parse().map_err(|_| format!("{name:?} is no field name"))?;
    match parsed.as_str() {
        "connection" | "content-encoding" | "content-length" | "content-range" | "date" | "etag" | "host"
        | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade" => {
            Err(format!("{name} is set by the server alone"))
        }
        "basic-auth" => Err("passwords are not supported: what is in the package is public".into()),
        _ => Ok(parsed),
    }
}

fn join(old: &HeaderValue, new: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&[old.as_bytes(), b", ", new.as_bytes()].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Fields, Vec<String>) {
        let mut notes = Vec::new();
        let fields = Fields::parse(text, &mut notes);
        (fields, notes.iter().map(Note::to_string).collect())
    }

    #[test]
    fn all_paths_that_match_count_in_their_order() {
        let (fields, notes) = parse(
            "# everywhere\n/*\n  X-Frame-Options: DENY\n  Link: </a>\n  Vary: Cookie\n\n/docs/*\n\tLink: </b>\n  ! X-Frame-Options\n  Cache-Control: max-age=60\n",
        );
        assert_eq!(notes, Vec::<String>::new());
        for (path, expected) in [
            (
                "/x",
                &[
                    ("x-frame-options", "DENY"),
                    ("link", "</a>"),
                    ("cache-control", "no-cache"),
                    ("vary", "accept-encoding, Cookie"),
                ][..],
            ),
            (
                "/docs/x",
                &[("link", "</a>, </b>"), ("cache-control", "max-age=60"), ("vary", "accept-encoding, Cookie")],
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
            fields.apply(path, &mut headers);
            assert_eq!(headers.len(), expected.len(), "{path}: {headers:?}");
            for (name, value) in expected {
                assert_eq!(headers[*name], value, "{path}");
            }
        }
    }

    #[test]
    fn a_line_at_fault_is_left_out_and_noted() {
        for (text, line, about) in [
            ("  X: y\n/fine\n  A: b", 1, "no path above"),
            ("/x\n  no colon\n/fine\n  A: b", 2, "`Name: value`"),
            ("/x\n  Content-Length: 1\n/fine\n  A: b", 2, "by the server alone"),
            ("/x\n  Transfer-Encoding: chunked\n/fine\n  A: b", 2, "by the server alone"),
            ("/x\n  B@d: 1\n/fine\n  A: b", 2, "no field name"),
            ("/x\n  Good: \u{7}\n/fine\n  A: b", 2, "not allowed"),
            ("/x\n  Basic-Auth: a:b\n/fine\n  A: b", 2, "public"),
            ("https://example.org/*\n  X: y\n/fine\n  A: b", 1, "other hosts"),
        ] {
            let (fields, notes) = parse(text);
            assert_eq!(notes.len(), 1, "{text}: {notes:?}");
            assert!(
                notes[0].starts_with(&format!("_headers:{line}: ")) && notes[0].contains(about),
                "{text}: {}",
                notes[0]
            );
            let mut headers = HeaderMap::new();
            fields.apply("/fine", &mut headers);
            assert_eq!(headers.len(), 1, "{text}");
        }
    }
}
