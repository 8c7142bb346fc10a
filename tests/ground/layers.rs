//! The floors of the agent and of the server, held: `src/lib.rs` of each names its rooms from the top floor down, and no import
//! climbs.
//!
//! An import is a `use` or a path in the code that begins with `crate::` or `super::`, in tests as well.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use world::tools::repository;

/// An import of one room's in another's file.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    file: String,
    line: usize,
    from: String,
    to: String,
}

impl fmt::Display for Arrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} imports {}, which lib.rs names above it", self.file, self.line, self.from, self.to)
    }
}

#[test]
fn no_import_of_the_agent_climbs() {
    no_import_climbs("agent", 300);
}

#[test]
fn no_import_of_the_server_climbs() {
    no_import_climbs("server", 100);
}

#[test]
fn the_picture_of_the_agent_shows_every_room() {
    let lib = fs::read_to_string(repository().join("agent/src/lib.rs")).expect("lib.rs");
    let picture: Vec<&str> = lib.split("//! ```").skip(1).step_by(2).collect();
    let words: Vec<&str> =
        picture.iter().flat_map(|part| part.split(|one: char| !one.is_ascii_lowercase() && one != '_')).collect();
    let rooms = rooms(&lib);
    assert!(rooms.len() > 30, "{} rooms were found, so they are not recognised any more", rooms.len());
    let unseen: Vec<_> = rooms.iter().filter(|room| !words.contains(&room.as_str())).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// Holds a crate to it, in which there are `many` imports between rooms at least.
fn no_import_climbs(krate: &str, many: usize) {
    let sources = repository().join(krate).join("src");
    let lib = fs::read_to_string(sources.join("lib.rs")).expect("lib.rs");
    let rooms = rooms(&lib);
    let mut arrows = Vec::new();
    for path in files(&sources) {
        let file = path.strip_prefix(&sources).expect("a path below").to_str().expect("UTF-8").to_owned();
        // They know all rooms: the crate's root, the program, and the ways into it for the fuzz targets.
        if ["lib.rs", "main.rs", "fuzzing.rs"].contains(&file.as_str()) {
            continue;
        }
        arrows.extend(imports(&file, &fs::read_to_string(&path).expect("a source")));
    }
    assert!(arrows.len() > many, "{} imports were found, so they are not recognised any more", arrows.len());
    for arrow in &arrows {
        let unnamed = [&arrow.from, &arrow.to].into_iter().find(|room| !rooms.contains(room));
        assert_eq!(unnamed, None, "lib.rs names no such room: {krate}/src/{}:{}", arrow.file, arrow.line);
    }
    let climbing: Vec<String> = climbing(&rooms, arrows).iter().map(ToString::to_string).collect();
    assert!(climbing.is_empty(), "{}", climbing.join("\n"));
}

#[test]
fn import_that_climbs_is_told_with_its_file_and_line() {
    let rooms = rooms("//! [`not_this`]\n\npub mod attic;\n\n// The ground.\npub mod hall;\npub mod cellar;\n");
    assert_eq!(rooms, ["attic", "hall", "cellar"]);
    let table: &[(&str, &str, &[&str])] = &[
        ("down", "use crate::cellar::Wine;", &[]),
        ("up", "use std::fmt;\n\nuse crate::attic::Chest;", &["hall.rs:3: hall imports attic"]),
        (
            "among others",
            "use crate::{\n    cellar::Wine,\n    attic::{Chest, Old},\n};",
            &["hall.rs:3: hall imports attic"],
        ),
        ("in code", "fn of() -> u8 {\n    crate::attic::many()\n}", &["hall.rs:2: hall imports attic"]),
        ("by super", "use super::attic;", &["hall.rs:1: hall imports attic"]),
        ("within the room", "use crate::hall::Lamp;\npub(crate) use self::lamp::Lamp;", &[]),
        ("in a test", "mod tests {\n    use super::super::attic::Chest;\n}", &["hall.rs:2: hall imports attic"]),
        ("a test of the room's own", "mod tests {\n    use super::{attic::*, *};\n}\n", &[]),
        ("in a comment", "// use crate::attic::Chest;\n//! See [`crate::attic`].", &[]),
        (
            "as a visibility",
            "pub(crate) fn attic() {}\npub(in crate::attic) fn x() {}",
            &["hall.rs:2: hall imports attic"],
        ),
    ];
    for (what, text, expected) in table {
        let told: Vec<String> = climbing(&rooms, imports("hall.rs", text)).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{what}: {told:?}");
        assert!(told.iter().zip(*expected).all(|(told, begin)| told.starts_with(begin)), "{what}: {told:?}");
    }
    let below = imports("hall/lamp.rs", "use super::super::attic::Chest;\nuse super::attic;\nuse super::Lamp;");
    assert_eq!(climbing(&rooms, below).len(), 1, "a file of a folder is one floor of modules deeper");
}

/// The rooms that `lib` names, from the top.
fn rooms(lib: &str) -> Vec<String> {
    let names = |line: &'_ str| {
        line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
    };
    lib.lines().filter_map(names).collect()
}

fn climbing(rooms: &[String], arrows: Vec<Arrow>) -> Vec<Arrow> {
    let floor = |room: &String| rooms.iter().position(|named| named == room);
    arrows.into_iter().filter(|arrow| floor(&arrow.to) < floor(&arrow.from)).collect()
}

/// All sources in `folder` and below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let sources = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    sources.chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

/// What the file at that path below `src` imports of other rooms.
fn imports(file: &str, text: &str) -> Vec<Arrow> {
    let module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let tokens = tokens(text);
    let inline = inline_modules(text);
    let mut arrows = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || tokens[at - 1].text != "::";
        let goes_on = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if !(begins && goes_on && ["crate", "super"].contains(&token.text)) {
            continue;
        }
        let mut paths = Vec::new();
        written_out(&tokens, at, Vec::new(), &mut paths);
        for (line, path) in paths {
            let to = room_of(&module, inline[line - 1], &path);
            let to = to.filter(|room| *room != module[0]);
            arrows.extend(to.map(|to| Arrow {
                file: file.to_owned(),
                line,
                from: module[0].to_owned(),
                to: to.to_owned(),
            }));
        }
    }
    arrows.dedup();
    arrows
}

/// The room that `path` leads to, in so many `inline` modules of the file which is that `module`; none where that is the
/// crate itself, or only a module of a room's own.
fn room_of<'a>(module: &[&'a str], inline: usize, path: &[&'a str]) -> Option<&'a str> {
    let supers = path.iter().take_while(|segment| **segment == "super").count();
    match path.first() {
        Some(&"crate") => path.get(1).copied(),
        _ if supers == module.len() + inline => path.get(supers).copied(),
        _ => None,
    }
    .filter(|room| *room != "*")
}

struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// The words and signs of the code, without its comments.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, code) in text.lines().enumerate() {
        let mut rest = code.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ if rest.starts_with("::") => 2,
                first => first.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            tokens.push(Token { line: line + 1, text: token });
            rest = after.trim_start();
        }
    }
    tokens
}

/// Writes out the path that begins `at` that token, with those in its braces; the token after it.
fn written_out<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    mut path: Vec<&'a str>,
    paths: &mut Vec<(usize, Vec<&'a str>)>,
) -> usize {
    let text = |at: usize| tokens.get(at).map(|token| token.text);
    loop {
        let Some(token) = tokens.get(at) else { return at };
        if token.text == "{" {
            at += 1;
            while text(at).is_some_and(|text| text != "}") {
                let next = written_out(tokens, at, path.clone(), paths);
                at = next + usize::from(text(next) == Some(","));
            }
            return at + 1;
        }
        path.push(token.text);
        at += 1;
        if text(at) != Some("::") {
            paths.push((token.line, path));
            while text(at) == Some("as") {
                at += 2;
            }
            return at;
        }
        at += 1;
    }
}

/// In how many modules each line stands that are written out in the file itself, as `mod tests { … }` is: by their indents,
/// which `cargo fmt` sees to.
fn inline_modules(text: &str) -> Vec<usize> {
    let mut ends: Vec<String> = Vec::new();
    let mut depths = Vec::new();
    for line in text.lines() {
        if ends.last().is_some_and(|end| end == line) {
            ends.pop();
        }
        depths.push(ends.len());
        let begun = line.trim_start();
        let names_one = begun.starts_with("mod ") || begun.starts_with("pub") && begun.contains(" mod ");
        if names_one && line.ends_with('{') {
            ends.push(format!("{}}}", &line[..line.len() - begun.len()]));
        }
    }
    depths
}
