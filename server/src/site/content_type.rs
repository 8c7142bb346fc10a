//! Types by extension (RFC 9110 §8.3), with the charset for text.

use http::HeaderValue;

/// The extension of a file's name, without the dot; empty if there is none.
pub(crate) fn extension(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Where the library's table has nothing, is older than IANA's registry, or knows a type that browsers do not take; by
/// extension. With `nosniff` a wrong type is final: a module that is no `text/javascript` does not run.
const OURS: &[(&str, &str)] = &[
    ("210", "model/step"),
    ("age", "application/vnd.age"),
    ("aml", "application/automationml-aml+xml"),
    ("amlx", "application/automationml-amlx+zip"),
    ("avci", "image/avci"),
    ("avcs", "image/avcs"),
    ("avif", "image/avif"),
    ("bary", "model/vnd.bary"),
    ("bdo", "application/vnd.nato.bindingdataobject+xml"),
    ("br", "application/octet-stream"),
    ("btf", "image/prs.btif"),
    ("cjs", "text/javascript"),
    ("cld", "model/vnd.cld"),
    ("cpl", "application/cpl+xml"),
    ("cur", "image/x-icon"),
    ("cwl", "application/cwl"),
    ("dbf", "application/vnd.dbf"),
    ("dcm", "application/dicom"),
    ("dcmp", "application/vnd.dcmp+xml"),
    ("dpx", "image/dpx"),
    ("emf", "image/emf"),
    ("exp", "application/express"),
    ("exr", "image/aces"),
    ("fdf", "application/fdf"),
    ("ged", "text/vnd.familysearch.gedcom"),
    ("ggs", "application/vnd.geogebra.slides"),
    ("gz", "application/gzip"),
    ("ico", "image/x-icon"),
    ("jaii", "image/jaii"),
    ("jais", "image/jais"),
    ("jhc", "image/jphc"),
    ("jpgm", "image/jpm"),
    ("js", "text/javascript"),
    ("jt", "model/jt"),
    ("m2t", "video/mp2t"),
    ("m2ts", "video/mp2t"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4b", "audio/mp4"),
    ("m4p", "application/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("mpf", "application/media-policy-dataset+xml"),
    ("mts", "video/mp2t"),
    ("mvt", "application/vnd.mapbox-vector-tile"),
    ("mxmf", "audio/mobile-xmf"),
    ("mxml", "application/xv+xml"),
    ("nq", "application/n-quads"),
    ("p21", "model/step"),
    ("pls", "audio/x-scpls"),
    ("pml", "application/vnd.ctc-posml"),
    ("prc", "model/prc"),
    ("pyo", "model/vnd.pytha.pyox"),
    ("pyox", "model/vnd.pytha.pyox"),
    ("qxd", "application/vnd.quark.quarkxpress"),
    ("rtf", "application/rtf"),
    ("smi", "application/smil+xml"),
    ("sql", "application/sql"),
    ("step", "model/step"),
    ("stp", "model/step"),
    ("stpnc", "model/step"),
    ("stpx", "model/step+xml"),
    ("stpxz", "model/step-xml+zip"),
    ("stpz", "model/step+zip"),
    ("tgz", "application/gzip"),
    ("u3d", "model/u3d"),
    ("uo", "application/vnd.uoml+xml"),
    ("usda", "model/vnd.usda"),
    ("vcf", "text/vcard"),
    ("vsdx", "application/vnd.visio"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
    ("wgsl", "text/wgsl"),
    ("wif", "application/watcherinfo+xml"),
    ("x3db", "model/x3d+fastinfoset"),
    ("x3dv", "model/x3d-vrml"),
    ("xdcf", "application/vnd.gov.sk.xmldatacontainer+xml"),
    ("xfdf", "application/xfdf"),
    ("xhtm", "application/vnd.pwg-xhtml-print+xml"),
    ("xml", "text/xml"),
    ("xsf", "application/prs.xsf+xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zst", "application/zstd"),
];

/// The content type of files with this extension. Text is UTF-8; without a known extension it is just bytes.
pub(crate) fn of_extension(extension: &str) -> HeaderValue {
    let extension = extension.to_ascii_lowercase();
    let ours = OURS.binary_search_by(|(known, _)| (*known).cmp(&extension)).ok().map(|at| OURS[at].1);
    let known = ours.or_else(|| new_mime_guess::from_ext(&extension).first_raw()).unwrap_or("application/octet-stream");
    let text = if known.starts_with("text/") { format!("{known}; charset=utf-8") } else { known.to_owned() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_charset_and_the_unknown_is_just_bytes() {
        for (name, expected) in [
            ("a/index.html", "text/html; charset=utf-8"),
            ("A.HTML", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.min.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.avif", "image/avif"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("a.webmanifest", "application/manifest+json"),
            ("feed.xml", "text/xml; charset=utf-8"),
            ("a.pdf", "application/pdf"),
            ("a.gz", "application/gzip"),
            ("a.m4a", "audio/mp4"),
            ("a.woff", "font/woff"),
            ("a.otf", "font/otf"),
            ("a.ttf", "font/ttf"),
            ("a.ts", "video/mp2t"),
            ("a.usdz", "model/vnd.usdz+zip"),
            ("a.stl", "model/stl"),
            ("a.obj", "model/obj"),
            ("a.glb", "model/gltf-binary"),
            ("a.rpm", "application/x-rpm"),
            ("a.deb", "application/vnd.debian.binary-package"),
            ("a.cjs", "text/javascript; charset=utf-8"),
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.mp4", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.mp3", "audio/mpeg"),
            ("a.opus", "audio/ogg"),
            ("a.flac", "audio/flac"),
            ("a.jxl", "image/jxl"),
            ("a.jfif", "image/jpeg"),
            ("a.webp", "image/webp"),
            ("favicon.ico", "image/x-icon"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("a.ics", "text/calendar; charset=utf-8"),
            ("a.yaml", "application/yaml"),
            ("a.rss", "application/rss+xml"),
            ("a.xhtml", "application/xhtml+xml"),
            ("a.tgz", "application/gzip"),
            ("a.zst", "application/zstd"),
            ("a.unknown", "application/octet-stream"),
            ("a.d/LICENSE", "application/octet-stream"),
        ] {
            assert_eq!(of_extension(extension(name)), expected, "{name}");
        }
    }

    #[test]
    fn our_own_types_are_sorted_and_needed() {
        assert!(OURS.is_sorted_by(|one, other| one.0 < other.0));
        for (extension, ours) in OURS {
            let theirs = new_mime_guess::from_ext(extension).first_raw();
            // Said here whatever the library says, because browsers insist.
            let insisted = matches!(*extension, "avif" | "js" | "map" | "md" | "wasm" | "webmanifest" | "zst" | "gz");
            assert!(insisted || theirs != Some(ours), "{extension}: the library knows it by now");
        }
    }

    /// `tests/names/types.txt`: an extension, and the types that IANA's registry names for it.
    #[test]
    fn types_are_those_of_the_registry() {
        // Registered for something else that hardly anybody has on a site, or as bytes of any kind; and what browsers insist on.
        let others = ["cjs", "cur", "deb", "dll", "exe", "ico", "iso", "mjs", "msi", "pls", "rs", "xml"];
        let mut seen = 0;
        let mut wrong = Vec::new();
        for line in include_str!("../../tests/names/types.txt").lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let extension = words.next().unwrap();
            let ours = of_extension(extension);
            let ours = ours.to_str().unwrap().trim_end_matches("; charset=utf-8").to_ascii_lowercase();
            seen += 1;
            if !words.any(|word| word == ours) && !others.contains(&extension) {
                wrong.push(format!("{line}: {ours}"));
            }
        }
        assert!(seen > 500 && wrong.is_empty(), "{seen}: {wrong:?}");
    }
}
