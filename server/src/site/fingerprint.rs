//! Names that change with their content, as bundlers make them.
//!
//! A browser never asks again for a file that is called immutable, so a name that only looks like a fingerprint is a mistake
//! that no later package can mend, while one that is missed costs a 304. A name is therefore believed only where it has the
//! alphabet and the length of a known bundler, and changes between digits and letters more often than words with a number
//! do. `tests/names` holds the output of bundlers and names of other files by which this was measured.
//!
//! | form | made by |
//! |---|---|
//! | `.` or `-`, 8 to 128 hexadecimal digits | webpack, Rspack, Rsbuild, Parcel, Django, Sprockets, Propshaft, Phoenix, Hugo |
//! | `.`, 6 or 7 hexadecimal digits, scripts and styles only | older settings of webpack |
//! | 16 or 20 hexadecimal digits alone | asset modules of Rspack and webpack |
//! | `.` or `-`, 8 of base64url | Rollup, Vite, Rolldown, and what is built on them |
//! | `-`, 8 of upper-case base32 | esbuild, Angular |
//! | the last two without digits, in a folder of such names | as above |
//! | `.` or `-`, 8 or 10 of lower-case base36 | Vite before 4, Bun, ASP.NET Core |
//! | anything in `_app/immutable/` and `_next/static/{chunks,css,media}/` | SvelteKit, Next.js, which promise it |

use std::collections::HashMap;

/// How sure it is that a change of content changes the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fingerprint {
    /// The name is one that people give.
    None,
    /// It could have a fingerprint: enough to go on answering for it a while after it is gone, not to call it immutable.
    Likely,
    /// It has a fingerprint.
    Certain,
}

/// Scripts, styles and what belongs to them.
const CODE: &[&str] = &["js", "mjs", "cjs", "css", "wasm"];
const FONTS: &[&str] = &["eot", "otf", "ttf", "woff", "woff2"];
/// What else bundlers fingerprint. Pages, feeds and downloads have names that people give.
const OTHERS: &[&str] = &[
    "aac", "avif", "flac", "gif", "ico", "jpeg", "jpg", "json", "m4a", "m4v", "mov", "mp3", "mp4", "oga", "ogg", "ogv",
    "png", "svg", "wav", "webm", "webp",
];
/// Folders whose files all have names that change with their content; the framework promises it.
const PROMISED: &[&str] = &["_app/immutable/", "_next/static/chunks/", "_next/static/css/", "_next/static/media/"];
/// Folders that hold nothing but the output of a bundler, so that less of a name is enough.
const BUNDLED: &[&str] = &["_astro/", "_nuxt/"];
/// From how many files on a folder of scripts, styles and media may count as the output of a bundler.
const FEWEST: usize = 4;
/// What follows a fingerprint before the extension.
const MARKS: &[&str] = &[".min", ".chunk", ".bundle", ".module", ".lean"];

/// What the last eight characters of names are like, by which a folder is known as the output of a bundler.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) enum Form {
    /// base64url.
    Base64,
    /// Upper-case base32.
    Base32,
}

impl Form {
    /// Whether a fingerprint in this form beyond doubt.
    fn is_certain(self, word: &str) -> bool {
        match self {
            Self::Base64 => is_base64(word),
            Self::Base32 => is_base32(word),
        }
    }

    /// Whether it could be one, as all names of a bundler's folder end.
    fn could_be(self, word: &str) -> bool {
        match self {
            Self::Base64 => word.bytes().any(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
            Self::Base32 => is_of_base32(word),
        }
    }

    /// Whether it is hardly a word, and so enough of a fingerprint in a bundler's folder.
    fn is_no_word(self, word: &str) -> bool {
        match self {
            Self::Base64 => is_no_word(word),
            Self::Base32 => is_of_base32(word),
        }
    }
}

/// The folders, among all files of a package, that hold hardly anything but the output of a bundler: nine of ten names end
/// with eight characters of the same form, and one of ten at least is a fingerprint beyond doubt. There a name needs no
/// digits, without which a quarter of such fingerprints are.
pub(crate) fn bundled<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, Form> {
    let mut folders: HashMap<&str, Vec<&str>> = HashMap::new();
    for parts in names.filter_map(Parts::of) {
        folders.entry(parts.folder).or_default().push(parts.stem);
    }
    let form = |stems: &Vec<&str>| {
        let of_form = |form: &Form| {
            let could_be = stems.iter().filter(|stem| last_eight(stem).is_some_and(|word| form.could_be(word))).count();
            let certain =
                stems.iter().filter(|stem| last_eight(stem).is_some_and(|word| form.is_certain(word))).count();
            stems.len() >= FEWEST && could_be * 10 >= stems.len() * 9 && certain * 10 >= stems.len()
        };
        [Form::Base64, Form::Base32].into_iter().find(of_form)
    };
    folders.into_iter().filter_map(|(folder, stems)| Some((folder, form(&stems)?))).collect()
}

/// Whether a file's name (without its first slash) says that a change of content changes the name too; `bundled` are the
/// folders that hold the output of a bundler, see [`bundled`].
pub(crate) fn of(name: &str, bundled: &HashMap<&str, Form>) -> Fingerprint {
    let Some(parts) = Parts::of(name) else { return Fingerprint::None };
    if parts.is_below(PROMISED) || parts.is_certain() || parts.is_among_bundled(bundled) {
        return Fingerprint::Certain;
    }
    if parts.extension != "json" && is_likely(parts.stem) { Fingerprint::Likely } else { Fingerprint::None }
}

/// A name taken apart, of a kind of file that bundlers fingerprint.
struct Parts<'a> {
    folder: &'a str,
    /// The file's name without what stands behind a fingerprint.
    stem: &'a str,
    extension: &'a str,
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
        let (stem, extension) = strip(file, &[".br", ".gz", ".zst", ".map"]).rsplit_once('.')?;
        let known = [CODE, FONTS, OTHERS].iter().any(|extensions| extensions.contains(&extension));
        known.then(|| Self { folder, stem: strip(stem, MARKS), extension })
    }

    /// Whether it lies in or below one of these folders, each with a slash at its end.
    fn is_below(&self, folders: &[&str]) -> bool {
        let folder = format!("/{}/", self.folder);
        folders.iter().any(|known| memchr::memmem::find(folder.as_bytes(), format!("/{known}").as_bytes()).is_some())
    }

    fn is_among_bundled(&self, bundled: &HashMap<&str, Form>) -> bool {
        if let Some(form) = bundled.get(self.folder) {
            return last_eight(self.stem).is_some_and(|word| form.is_no_word(word));
        }
        let whole = (self.stem.len() == 8).then_some(self.stem);
        last_eight(self.stem).or(whole).is_some_and(is_no_word) && self.is_below(BUNDLED)
    }

    fn is_certain(&self) -> bool {
        let stem = self.stem;
        if is_foreign(stem) {
            return false;
        }
        let Some(at) = stem.rfind(['.', '-', '_']) else {
            return matches!(stem.len(), 16 | 20) && is_hexadecimal(stem) && changes(stem) >= 4;
        };
        let separator = stem.as_bytes()[at];
        let word = &stem[at + 1..];
        let code = CODE.contains(&self.extension);
        if is_hexadecimal(word) && changes(word) >= 2 {
            // Content management systems name pictures so, and keep the name when the picture is replaced.
            let by_a_person = separator == b'_' && OTHERS.contains(&self.extension);
            return match word.len() {
                8..=128 => !by_a_person,
                6 | 7 => separator == b'.' && code,
                _ => false,
            };
        }
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if separator != b'_' && matches!(word.len(), 8 | 10) && word.bytes().all(lower) && changes(word) >= 5 {
            return true;
        }
        last_eight(stem).is_some_and(|word| is_base64(word) || is_base32(word))
    }
}

/// `name` without these endings, however many there are.
fn strip<'a>(mut name: &'a str, endings: &[&str]) -> &'a str {
    while let Some(shorter) = endings.iter().find_map(|ending| name.strip_suffix(ending)) {
        name = shorter;
    }
    name
}

/// The last eight characters of a name, if they are of base64url and a `.` or `-` stands before them. They may hold `-` and
/// `_` themselves.
fn last_eight(stem: &str) -> Option<&str> {
    let at = stem.len().checked_sub(9)?;
    let word = stem.get(at + 1..)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (matches!(stem.as_bytes()[at], b'.' | b'-') && word.bytes().all(allowed)).then_some(word)
}

/// Letters of both cases and digits, mixed as in no word: `BX3v9kQ2`, but not `GitHub2x`.
fn is_base64(word: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| word.as_bytes().iter().any(wanted);
    let pairs = word.as_bytes().windows(2);
    // That a capital letter is followed by a small one is as usual in words as in fingerprints.
    let odd = pairs.filter(|pair| {
        kind(pair[0]) != kind(pair[1]) && !(pair[0].is_ascii_uppercase() && pair[1].is_ascii_lowercase())
    });
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) && odd.count() >= 4
}

/// RFC 4648 §6, with digits between letters: `5QYLZ6JD`, but not `WINDOWS7` or `MP3FILES`.
fn is_base32(word: &str) -> bool {
    is_of_base32(word) && changes(word) >= 3
}

fn is_of_base32(word: &str) -> bool {
    word.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
}

/// A capital letter elsewhere than at the start, beside small ones, which few words have.
fn is_no_word(word: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| word.as_bytes()[1..].iter().any(wanted);
    has(u8::is_ascii_uppercase) && word.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Names whose random part is an identity and not a fingerprint: UUIDs (RFC 9562), and Unsplash's names of photographs.
fn is_foreign(stem: &str) -> bool {
    let groups: Vec<&str> = stem.rsplitn(6, ['-', '.', '_']).collect();
    let lengths: Vec<usize> = groups.iter().take(5).map(|group| group.len()).collect();
    let hexadecimal = |count: usize| groups.iter().take(count).all(|group| is_hexadecimal(group));
    let uuid = lengths == [12, 4, 4, 4, 8] && hexadecimal(5);
    let photograph = groups.len() >= 3 && lengths[..2] == [12, 13] && groups[2].ends_with("photo");
    uuid || photograph
}

/// Hexadecimal digits, the letters all small or all capital.
fn is_hexadecimal(word: &str) -> bool {
    let all = |letters: std::ops::RangeInclusive<u8>| word.bytes().all(|b| b.is_ascii_digit() || letters.contains(&b));
    !word.is_empty() && (all(b'a'..=b'f') || all(b'A'..=b'F'))
}

/// How often digits and other characters follow each other: once in `version2`, three times in `3f9c1a7b` at least.
fn changes(word: &str) -> usize {
    word.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count()
}

fn kind(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

/// A last word of letters and digits as fingerprints can have it, whatever else it may be.
fn is_likely(stem: &str) -> bool {
    let word = stem.rfind(['.', '-', '_']).map_or("", |at| &stem[at + 1..]);
    let has = |wanted: fn(&u8) -> bool| word.as_bytes().iter().any(wanted);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    let wide = (8..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let hexadecimal = word.len() >= 6 && is_hexadecimal(word);
    mixed && (wide || hexadecimal) || last_eight(stem).is_some_and(is_no_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Fingerprint {
        super::of(name, &HashMap::new())
    }

    #[test]
    fn only_names_with_a_fingerprint_are_immutable() {
        for name in [
            "app-3f9c1a7b.js",
            "index-BX3v9kQ2.css",
            "app.55e7cbb9ba48.css",
            "main.a1b2c3d4e5f6a7b8.js",
            "app.3f9c1a.js",
            "assets/index-BX3v9kQ2.css",
            "_app/immutable/chunks/x.D4gk28aZ.js",
            "_app/immutable/nodes/0.DxKJ.js",
            "main.5d41402abc4b2a76b9719d911017c592.css",
            "main.8e0d62a03f.chunk.js",
            "app.3f9c1a.js.map",
            "app.3f9c1a.js.br",
            "app-908e25f4bf641868d8683022a5b62f54b8f26e3f6ce0ff0a8e2a9a1ab6ac4a2c.js",
            "style_0a1b2c3d.woff2",
            "02c6875d9ec99a0f19b0.png",
            "main-5QYLZ6JD.js",
            "blog/_next/static/chunks/0cz1d0mv5g_q7.js",
            "_astro/photo.D8Qc9-Jl.png",
            "_nuxt/error-404._yXoGkXB.css",
            "logo-3F9C1A7B.png",
        ] {
            assert_eq!(of(name), Fingerprint::Certain, "{name}");
        }
        for name in [
            "logo-version2.png",
            "style-bootstrap5.css",
            "feed-podcast1.json",
            "resume-january2026.pdf",
            "setup-windows10.exe",
            "app.js",
            "app.min.js",
            "jquery-3.7.1.min.js",
            "photo-20260112.jpg",
            "report-2026.pdf",
            "well-documented.js",
            "facade.js",
            "the-facade.js",
            "index-3f9c1a7b.html",
            "v2-abc.js",
            "3f9c1a7b",
            "3f9c1a7b.js",
            // Found among real files.
            "_Uint8Array.js",
            "chacha20-poly1305.js",
            "custom-elementsv1.js",
            "fa-v4compatibility.woff2",
            "es.math.f16round.js",
            "5b6bd808-0399-4ee6-9395-344688761dfa.json",
            "photo-1500530855697-b586d89ba3ee.jpg",
            // Words, years, sizes, formats, colours and identities of others.
            "cafe2024.css",
            "menu-cafe2024.css",
            "swatch-1e90ff.png",
            "img-1e90ff.css",
            "clip-1080p60fps.mp4",
            "icon-Mp4ToGif.png",
            "screenshot-Win10x64.png",
            "badge-GitHub2x.png",
            "logo-WINDOWS7.png",
            "logo-MP3FILES.png",
            "polyfills-i18nl10n.js",
            "style-html5css3.css",
            "thumb-dQw4w9WgXcQ.jpg",
            "product-B08N5WRWNW.jpg",
            "edited-e1583247261327.jpg",
            "portrait_1a2b3c4d5e.jpg",
            "205e460b479e2e5b48aec07710c08d50.png",
            "my-photo-a1.png",
            "_astro/hero-Portrait.png",
            "_nuxt/builds/latest.json",
            "_next/static/build-1/_buildManifest.js",
            "app-3f9c1a7b.zip",
            "ä-ä1ä2ä3ä4.js",
        ] {
            assert_ne!(of(name), Fingerprint::Certain, "{name}");
        }
    }

    #[test]
    fn names_that_could_have_a_fingerprint_are_told_from_those_that_have_none() {
        for (name, expected) in [
            ("assets/index-DrPULWqc.js", Fingerprint::Likely),
            ("assets/bg0-BhrELEdg.png", Fingerprint::Likely),
            ("chunk-26HALFTP.js", Fingerprint::Likely),
            ("149.5647958a.css", Fingerprint::Likely),
            ("logo-version2.png", Fingerprint::Likely),
            ("resume-january2026.pdf", Fingerprint::None),
            ("feed-podcast1.json", Fingerprint::None),
            ("app.js", Fingerprint::None),
            ("index.html", Fingerprint::None),
        ] {
            assert_eq!(of(name), expected, "{name}");
        }
    }

    /// `tests/names/bundled.txt`: a line `## bundler: at least so many of a hundred`, then names; those with `!` have none.
    #[test]
    fn real_output_of_bundlers_is_recognised_and_nothing_else_in_it() {
        let text = include_str!("../../tests/names/bundled.txt");
        let sections: Vec<_> = text.split("\n## ").skip(1).collect();
        assert!(sections.len() > 10, "{}", sections.len());
        for section in sections {
            let (title, names) = section.split_once('\n').unwrap();
            let least: usize = title.rsplit_once(": ").unwrap().1.parse().unwrap();
            let all = || names.lines().filter(|name| !name.is_empty()).map(|name| name.trim_start_matches('!'));
            let folders = bundled(all());
            let is_certain = |name: &str| super::of(name, &folders) == Fingerprint::Certain;
            let (without, with): (Vec<_>, Vec<_>) =
                names.lines().filter(|name| !name.is_empty()).partition(|name| name.starts_with('!'));
            let wrong: Vec<_> = without.iter().filter(|name| is_certain(&name[1..])).collect();
            assert!(wrong.is_empty(), "{title}: {wrong:?}");
            let found = with.iter().filter(|name| is_certain(name)).count();
            assert!(found * 100 >= least * with.len(), "{title}: {found} of {}", with.len());
        }
    }

    #[test]
    fn a_folder_is_a_bundler_s_only_if_hardly_anything_else_lies_there() {
        let bundlers = ["a/x-DrPULWqc.js", "a/y-BhrELEdg.png", "a/z-BX3v9kQ2.css", "a/w-Bmrodni9.js"];
        assert_eq!(bundled(bundlers.into_iter()), HashMap::from([("a", Form::Base64)]));
        let folders = bundled(bundlers.into_iter());
        for (name, expected) in [
            ("a/y-BhrELEdg.png", Fingerprint::Certain),
            ("b/y-BhrELEdg.png", Fingerprint::Likely),
            ("a/logo-version2.png", Fingerprint::Likely),
            ("a/logo-portrait.png", Fingerprint::None),
        ] {
            assert_eq!(super::of(name, &folders), expected, "{name}");
        }
        for other in ["a/logo.png", "a/logo-portrait.png", "a/main.css"] {
            assert_eq!(bundled(bundlers.into_iter().chain([other])), HashMap::new(), "{other}");
        }
        // A page and a download say nothing of a folder, and so do a few files and those of which none is beyond doubt.
        assert_eq!(bundled(bundlers.into_iter().chain(["a/index.html", "a/x.zip"])).len(), 1);
        assert_eq!(bundled(bundlers.into_iter().take(3)).len(), 0);
        assert_eq!(
            bundled(["a/x-MyWebApp.js", "a/y-MyWebApp.js", "a/z-GitHubMk.js", "a/w-OpenType.js"].into_iter()).len(),
            0
        );
    }

    #[test]
    fn no_name_of_a_thousand_real_files_is_immutable() {
        let names = include_str!("../../tests/names/others.txt").lines().filter(|line| !line.starts_with('#'));
        let names: Vec<_> = names.collect();
        assert!(names.len() >= 1_000, "{}", names.len());
        let wrong: Vec<_> = names.iter().filter(|name| of(name) == Fingerprint::Certain).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
