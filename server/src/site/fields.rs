//! `_headers`, as Netlify and Cloudflare Pages read it.
//!
//! A path, then lines `Name: value`; a line that begins with `#` is a comment; all paths that match count, in their order. A
//! line that begins with `/` or a scheme is a path, any other a field, however far either is indented. Where the two differ,
//! this is what holds here:
//!
//! | | Netlify | Cloudflare Pages | here |
//! |---|---|---|---|
//! | indentation | makes no difference | makes no difference | makes no difference |
//! | said by several paths | joined with a comma | joined with a comma | joined with a comma; `Set-Cookie` sent again; of fields that hold one value the last |
//! | other hosts | not supported | supported | the site's own name and its aliases; for others a note |
//! | what the server says itself | mostly kept | replaced | replaced; `Vary` is added to |
//! | `! Name` | not supported | takes the field away | takes the field away |
//! | placeholders in values | not supported | filled in | not supported: text |
//! | responses to redirects | no | no | no |
//! | framing fields | ignored | some refused | refused: a note |
//! | `Basic-Auth` | supported | not supported | refused: a note |
//! | limits | none | 100 paths, 2,000 characters a line | 500 paths, 64 fields each, 4,000 bytes a line |

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    note::Note,
    pattern::Pattern,
    place::{ForHost, Place, scheme},
};

const FILE: &str = "_headers";
const MOST_PATHS: usize = 500;
const MOST_FIELDS: usize = 64;
const LONGEST_LINE: usize = 4_000;

/// The fields that a package adds to its responses.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<HeaderBlock>);

/// A path, and what its responses have.
#[derive(Debug)]
struct HeaderBlock {
    host: Option<ForHost>,
    path: Pattern,
    changes: Vec<Change>,
}

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
        // Some editors put a byte order mark before the first line.
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line_number = at + 1;
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            let is_path = trimmed.starts_with('/') || scheme(trimmed).is_some();
            let result = match open {
                _ if line.len() > LONGEST_LINE => Err(format!("the line is longer than {LONGEST_LINE} bytes")),
                _ if is_path => {
                    let added = fields.add_path(trimmed);
                    open = Some(added.is_ok());
                    added
                }
                Some(true) => fields.add_change(trimmed).map(|()| None),
                Some(false) => continue,
                None => Err("there is no path above this field".into()),
            };
            match result {
                Ok(None) => {}
                Ok(Some(host)) => notes.push(Note::of_host(FILE, line_number, &host)),
                Err(text) => notes.push(Note::fault(FILE, line_number, text)),
            }
        }
        fields
    }

    /// Whether there is nothing to apply.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes the changes for this decoded path (with its first slash) at this place.
    pub(crate) fn apply(&self, path: &str, place: &Place<'_>, headers: &mut HeaderMap) {
        let mut said: Vec<&HeaderName> = Vec::new();
        let is_for = |block: &&HeaderBlock| block.host.as_ref().is_none_or(|host| host.is_for(place));
        let blocks = self.0.iter().filter(is_for).filter(|block| block.path.matches(path).is_some());
        for change in blocks.flat_map(|block| &block.changes) {
            match change {
                Change::Remove(name) => {
                    headers.remove(name);
                }
                Change::Set(name, value) => {
                    let again = said.contains(&name);
                    said.push(name);
                    if *name == header::SET_COOKIE && again {
                        headers.append(name, value.clone());
                        continue;
                    }
                    let add = *name == header::VARY || (again && !holds_one_value(name));
                    let joined = if add { headers.get(name).and_then(|old| join(old, value)) } else { None };
                    headers.insert(name, joined.unwrap_or_else(|| value.clone()));
                }
            }
        }
    }

    /// Adds a path; the host, if it is for one alone.
    fn add_path(&mut self, line: &str) -> Result<Option<String>, String> {
        if self.0.len() >= MOST_PATHS {
            return Err(format!("there are more than {MOST_PATHS} paths"));
        }
        let line = line
            .split_once([' ', '\t'])
            .filter(|(_, rest)| rest.trim_start().starts_with('#'))
            .map_or(line, |(path, _)| path);
        let (host, path) = ForHost::take(line)?;
        let said = host.as_ref().map(|host| host.host().to_owned());
        self.0.push(HeaderBlock { host, path: Pattern::parse(path)?, changes: Vec::new() });
        Ok(said)
    }

    fn add_change(&mut self, line: &str) -> Result<(), String> {
        let Some(HeaderBlock { changes, .. }) = self.0.last_mut() else { return Ok(()) };
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
    Ok(Change::Set(field_name(name.trim_end())?, value))
}

/// Whether a field holds one value and no list, so that two of them joined would be none (RFC 9110 §5.3).
fn holds_one_value(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "access-control-allow-credentials"
            | "access-control-allow-origin"
            | "access-control-max-age"
            | "age"
            | "content-disposition"
            | "content-location"
            | "content-type"
            | "cross-origin-embedder-policy"
            | "cross-origin-opener-policy"
            | "cross-origin-resource-policy"
            | "expires"
            | "last-modified"
            | "location"
            | "origin-agent-cluster"
            | "refresh"
            | "retry-after"
            | "server"
            | "service-worker-allowed"
            | "sourcemap"
            | "strict-transport-security"
            | "x-content-type-options"
            | "x-dns-prefetch-control"
            | "x-frame-options"
            | "x-xss-protection"
    )
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
            fields.apply(path, &Place::unknown(), &mut headers);
            assert_eq!(headers.len(), expected.len(), "{path}: {headers:?}");
            for (name, value) in expected {
                assert_eq!(headers[*name], value, "{path}");
            }
        }
    }

    /// What `/a` gets by this file, with its names in lower case.
    fn said(text: &str, path: &str) -> Vec<(String, String)> {
        let (fields, notes) = parse(text);
        assert_eq!(notes, Vec::<String>::new(), "{text}");
        let mut headers = HeaderMap::new();
        fields.apply(path, &Place::unknown(), &mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn indentation_means_nothing_and_paths_are_decoded_once() {
        for (text, path) in [
            ("/*\nX: y", "/a"),
            ("\u{feff}/*\nX: y", "/a"),
            ("  /*\n      X: y", "/a"),
            ("\t/*\n\tX : y", "/a"),
            ("/*\r\nX: y\r\n", "/a"),
            ("/b\n  Z: z\n  /a\nX: y", "/a"),
            ("/a # comment\n  X: y", "/a"),
            ("/my%20page\n  X: y", "/my page"),
            ("/my page\n  X: y", "/my page"),
            ("/caf%C3%A9/*\n  X: y", "/caf\u{e9}/x"),
            ("/caf\u{e9}\n  X: y", "/caf\u{e9}"),
            ("/wiki/Talk:Main\n  X: y", "/wiki/Talk:Main"),
        ] {
            assert_eq!(said(text, path), [("x".to_owned(), "y".to_owned())], "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_joined_is_not() {
        for (name, joined) in [
            ("X-Robots-Tag", true),
            ("Content-Security-Policy", true),
            ("X-Frame-Options", false),
            ("Access-Control-Allow-Origin", false),
        ] {
            let values: Vec<_> = said(&format!("/*\n  {name}: a\n/a\n  {name}: b"), "/a");
            let expected = if joined { "a, b" } else { "b" };
            assert_eq!(values, [(name.to_ascii_lowercase(), expected.to_owned())]);
        }
        let cookies = said("/*\n  Set-Cookie: a=1; Path=/\n  Set-Cookie: b=2\n/a\n  Set-Cookie: c=3", "/a");
        let cookies: Vec<_> = cookies.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(cookies, [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("set-cookie", "c=3")]);
    }

    #[test]
    fn fields_for_a_host_are_added_there_alone_and_noted() {
        let (fields, notes) = parse("https://:project.pages.dev/*\n  X-Robots-Tag: noindex\n/*\n  A: b\n");
        assert!(
            notes.len() == 1 && notes[0].starts_with("_headers:1: this is for :project.pages.dev alone"),
            "{notes:?}"
        );
        for (host, expected) in [("x.pages.dev", 2), ("www.example.org", 1)] {
            let place = Place { secure: true, host, canonical: true, is_own: &|_| true };
            let mut headers = HeaderMap::new();
            fields.apply("/a", &place, &mut headers);
            assert_eq!(headers.len(), expected, "{host}");
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
            ("https://m\u{fc}ller.example/*\n  X: y\n/fine\n  A: b", 1, "xn--"),
            ("/a?b\n  X: y\n/fine\n  A: b", 1, "'?'"),
            ("X: y\n/fine\n  A: b", 1, "no path above"),
            ("x/y\n/fine\n  A: b", 1, "no path above"),
        ] {
            let (fields, notes) = parse(text);
            assert_eq!(notes.len(), 1, "{text}: {notes:?}");
            assert!(
                notes[0].starts_with(&format!("_headers:{line}: ")) && notes[0].contains(about),
                "{text}: {}",
                notes[0]
            );
            let mut headers = HeaderMap::new();
            fields.apply("/fine", &Place::unknown(), &mut headers);
            assert_eq!(headers.len(), 1, "{text}");
        }
    }
}
