//! Paths with placeholders, as `_redirects` and `_headers` have them.

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
    /// Reads a pattern. Matching takes time linear in the path: there is one `*` at most, and only text behind it.
    ///
    /// # Errors
    /// What is wrong, for a [`Note`](crate::Note).
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path must begin with '/'; rules for other hosts are not supported");
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['*', ':']) {
            push_text(&mut pieces, &rest[..at]);
            rest = &rest[at..];
            let (piece, length) = placeholder(rest);
            if pieces.contains(&Piece::Splat) && !matches!(piece, Piece::Text(_)) {
                return Err("behind '*' there may be no further placeholder");
            }
            if pieces.contains(&piece) && matches!(piece, Piece::Name(_)) {
                return Err("a placeholder is there twice");
            }
            match piece {
                Piece::Text(text) => push_text(&mut pieces, &text),
                piece => pieces.push(piece),
            }
            rest = &rest[length..];
        }
        push_text(&mut pieces, rest);
        Ok(Self(pieces))
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
                        Some(Piece::Text(text)) if !text.starts_with('/') => rest[..segment].find(&**text)?,
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

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Piece::Text(before)) = pieces.last_mut() {
        *before = format!("{before}{text}").into();
        return;
    }
    pieces.push(Piece::Text(text.into()));
}

/// The placeholder at the start of `rest`, which begins with `*` or `:`, and its length. A colon without a name is text.
fn placeholder(rest: &str) -> (Piece, usize) {
    if rest.starts_with('*') {
        return (Piece::Splat, 1);
    }
    match name_length(&rest[1..]) {
        0 => (Piece::Text(":".into()), 1),
        length => (Piece::Name(rest[1..=length].into()), length + 1),
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
            ("/a:b", "/ax", Some(&[("b", "x")])),
            ("/a: b", "/a: b", Some(&[])),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            let captures = parsed.matches(path);
            assert_eq!(captures.as_ref().map(|captures| &captures.0[..]), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_pattern() {
        for text in ["", "a", "https://example.org/*", "/*/*", "/*/:a", "/:a/:a"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
