//! Paths with placeholders, as `_redirects` and `_headers` have them.

use crate::semantics::target::ENCODED_SLASH;

/// A path in which `*` stands for anything and `:name` for one segment, or the part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Name(Box<str>),
    Splat,
}

/// What the placeholders of a pattern stood for in one path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Captures<'a>(Vec<(&'a str, &'a str)>);

impl Pattern {
    /// `/*`.
    pub(crate) fn everything() -> Self {
        Self(vec![Piece::Text("/".into()), Piece::Splat])
    }

    /// Reads a pattern: a path, percent-encoded or not, that is decoded once like that of a request. A colon begins a
    /// placeholder at the beginning of a segment, and again in a segment that begins with one; elsewhere it is text, as in
    /// `/wiki/Talk:Main`. Matching takes time linear in the path: there is one `*` at most, and only text behind it.
    ///
    /// # Errors
    /// What is wrong, for a [`Note`](crate::Note).
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path must begin with '/'");
        }
        refuse(text)?;
        let mut pieces = Vec::new();
        let mut done = 0;
        while let Some(found) = text[done..].find(['*', ':']) {
            let at = done + found;
            push_text(&mut pieces, &text[done..at])?;
            let (piece, length) = placeholder(text, at);
            if pieces.contains(&Piece::Splat) && !matches!(piece, Piece::Text(_)) {
                return Err("behind '*' there may be no further placeholder");
            }
            if pieces.contains(&piece) && matches!(piece, Piece::Name(_)) {
                return Err("a placeholder is there twice");
            }
            match piece {
                Piece::Text(text) => push_text(&mut pieces, &text)?,
                piece => pieces.push(piece),
            }
            done = at + length;
        }
        push_text(&mut pieces, &text[done..])?;
        let pattern = Self(pieces);
        if pattern.has_dots() {
            Err("no request has the segment '.' or '..'; browsers take them away")
        } else {
            Ok(pattern)
        }
    }

    /// Whether a segment of its text is a dot segment.
    fn has_dots(&self) -> bool {
        let text = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Name(_) | Piece::Splat => "*",
        });
        text.collect::<String>().split(['/', ENCODED_SLASH]).any(|segment| matches!(segment, "." | ".."))
    }

    /// The path, if it holds no placeholder.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The names that a target may use.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Name(name) => Some(&**name),
            Piece::Splat => Some("splat"),
        })
    }

    /// What the placeholders stand for, if this decoded path (with its first slash) matches. One slash at the end makes no
    /// difference.
    pub(crate) fn matches<'a>(&'a self, path: &'a str) -> Option<Captures<'a>> {
        let mut captures = Vec::new();
        let mut rest = path;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            rest = match piece {
                Piece::Text(text) => match rest.strip_prefix(&**text) {
                    Some(rest) => rest,
                    None if text.strip_suffix('/') == Some(rest) => "",
                    None => return None,
                },
                Piece::Name(name) => {
                    let segment = rest.find('/').unwrap_or(rest.len());
                    let end = match pieces.peek() {
                        Some(Piece::Text(text)) if !text.starts_with('/') => match text.find('/') {
                            // What stands before a slash ends the segment.
                            Some(slash) => rest[..segment].strip_suffix(&text[..slash])?.len(),
                            None => rest[..segment].find(&**text)?,
                        },
                        _ => segment,
                    };
                    captures.push((&**name, &rest[..end]));
                    if end == 0 {
                        return None;
                    }
                    &rest[end..]
                }
                Piece::Splat => {
                    let behind = match pieces.next() {
                        Some(Piece::Text(text)) => text,
                        _ => "",
                    };
                    captures.push(("splat", rest.strip_suffix(behind)?));
                    ""
                }
            };
        }
        matches!(rest, "" | "/").then_some(Captures(captures))
    }
}

impl Captures<'_> {
    /// What a placeholder stood for.
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// What no path of a request can hold, so that the pattern would never match.
fn refuse(text: &str) -> Result<(), &'static str> {
    if text.contains('?') {
        return Err("'?' and what follows is no part of a path; write the path alone, a query is passed on");
    }
    if text.contains('#') {
        return Err("'#' and what follows never reaches a server; write the path alone");
    }
    Ok(())
}

/// Adds text, percent-decoded once.
fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Ok(());
    }
    let text = decode(text)?;
    match pieces.last_mut() {
        Some(Piece::Text(before)) => *before = format!("{before}{text}").into(),
        _ => pieces.push(Piece::Text(text.into())),
    }
    Ok(())
}

/// The text as the path of a request has it once it is decoded. A `%` that encodes nothing is itself.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let encoded = behind.get(..2).filter(|digits| byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let decoded = encoded.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(match decoded.unwrap_or(byte) {
            b'/' if decoded.is_some() => ENCODED_SLASH as u8,
            b'\\' => return Err("no request has a backslash in its path"),
            control if control.is_ascii_control() => return Err("no request has a control character in its path"),
            other => other,
        });
        rest = if decoded.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).map_err(|_| "the percent-encoded octets are not UTF-8")
}

/// The placeholder at this place, where `*` or `:` stands, and its length. A colon that begins none is text.
fn placeholder(text: &str, at: usize) -> (Piece, usize) {
    let rest = &text[at..];
    if rest.starts_with('*') {
        return (Piece::Splat, 1);
    }
    let segment = &text[text[..at].rfind('/').map_or(0, |slash| slash + 1)..at];
    let again = segment.strip_prefix(':').is_some_and(|name| name_length(name) > 0)
        && !segment.ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_');
    match name_length(&rest[1..]) {
        length if length > 0 && (segment.is_empty() || again) => (Piece::Name(rest[1..=length].into()), length + 1),
        _ => (Piece::Text(":".into()), 1),
    }
}

/// How long the name at the start of `text` is: a letter, then letters, digits and `_`.
pub(crate) fn name_length(text: &str) -> usize {
    if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return 0;
    }
    text.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths_and_say_what_stood_where() {
        for (pattern, path, expected) in [
            ("/", "/", Some(&[][..])),
            ("/a", "/a", Some(&[])),
            ("/a", "/a/", Some(&[])),
            ("/a/", "/a", Some(&[])),
            ("/a", "/ab", None),
            ("/a", "/", None),
            ("/*", "/", Some(&[("splat", "")])),
            ("/*", "/a/b", Some(&[("splat", "a/b")])),
            ("/a/*", "/a/b/c", Some(&[("splat", "b/c")])),
            ("/a/*", "/a/", Some(&[("splat", "")])),
            ("/a/*", "/a", Some(&[("splat", "")])),
            ("/a/*", "/ab", None),
            ("/*.html", "/a/b.html", Some(&[("splat", "a/b")])),
            ("/*.html", "/a/b.css", None),
            ("/:year/:slug", "/2026/x", Some(&[("year", "2026"), ("slug", "x")])),
            ("/:year/:slug", "/2026/x/", Some(&[("year", "2026"), ("slug", "x")])),
            ("/:year/:slug", "/2026", None),
            ("/:year/:slug", "/2026/x/y", None),
            ("/:year/*", "/2026", Some(&[("year", "2026"), ("splat", "")])),
            ("/:id.html", "/7.html", Some(&[("id", "7")])),
            ("/a:b", "/a:b", Some(&[])),
            ("/a:b", "/ax", None),
            ("/wiki/Talk:Main", "/wiki/Talk:Main", Some(&[])),
            ("/:lang-docs/*", "/de-docs/x", Some(&[("lang", "de"), ("splat", "x")])),
            ("/:id.html/:tab", "/7.html/notes", Some(&[("id", "7"), ("tab", "notes")])),
            ("/:id.html/:tab", "/7.htm/notes", None),
            ("/:lang/Talk:Main", "/de/Talk:Main", Some(&[("lang", "de")])),
            ("/:year-:month", "/2026-11", Some(&[("year", "2026"), ("month", "11")])),
            ("/my%20page/:id", "/my page/7", Some(&[("id", "7")])),
            ("/%3Aid", "/:id", Some(&[])),
            ("/%3Aid", "/7", None),
            ("/a: b", "/a: b", Some(&[])),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            let captures = parsed.matches(path);
            assert_eq!(captures.as_ref().map(|captures| &captures.0[..]), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_pattern() {
        for text in ["", "a", "https://example.org/*", "/*/*", "/*/:a", "/:a/:a", "/a?b", "/a#b", "/a/%2e%2E/b", "/./a"]
        {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
