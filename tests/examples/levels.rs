//! What each level of each encoder makes of a site, and how long it takes: the figures by which `spothost publish` has its levels.
//!
//! ```sh
//! tests/setup/sites.sh sites
//! cargo run --release -p spothost-tests --example levels sites/*
//! ```
//!
//! Counted are the files that are worth compressing at all. Times are those of one core, without what other processes took of it.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use flate2::{Compression, write::DeflateEncoder};

/// Brotli's window as `publish` has it.
const WINDOW: i32 = 22;

/// What makes a coded form of a content.
type Encode = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// An encoder at one level.
struct Encoder {
    name: String,
    encode: Encode,
}

fn main() {
    for folder in env::args().skip(1).map(PathBuf::from) {
        let files: Vec<_> = walk(&folder).iter().map(|path| fs::read(path).expect("readable")).collect();
        let all: usize = files.iter().map(Vec::len).sum();
        let worth = |content: &&Vec<u8>| (deflate(content, 6).len() + 18) as f64 <= content.len() as f64 * 0.95;
        let worth: Vec<_> = files.iter().filter(worth).collect();
        let bytes: usize = worth.iter().map(|content| content.len()).sum();
        println!(
            "{}: {} files, {:.1} MB; {} of them, {:.1} MB, are worth compressing",
            folder.display(),
            files.len(),
            mb(all),
            worth.len(),
            mb(bytes)
        );
        println!("  {:<16}{:>10}{:>10}{:>10}", "", "MB", "s", "MB/s");
        for encoder in encoders() {
            let begun = on_core();
            let coded: usize = worth.iter().map(|content| (encoder.encode)(content).len()).sum();
            let seconds = on_core() - begun;
            println!("  {:<16}{:>10.2}{seconds:>10.2}{:>10.0}", encoder.name, mb(coded), mb(bytes) / seconds);
        }
    }
}

fn encoders() -> Vec<Encoder> {
    let named = |name: String, encode: Encode| Encoder { name, encode };
    let deflates = [6, 7, 8, 9]
        .map(|level| named(format!("deflate {level}"), Box::new(move |content: &[u8]| deflate(content, level))));
    let zstandards = [3, 6, 9, 12, 15, 19].map(|level| {
        let encode = move |content: &[u8]| zstd::bulk::compress(content, level).expect("memory takes everything");
        named(format!("zstd {level}"), Box::new(encode))
    });
    let brotlis = [3, 4, 5, 6, 7, 8, 9, 10, 11]
        .map(|quality| named(format!("br {quality}"), Box::new(move |content: &[u8]| brotli(content, quality))));
    deflates.into_iter().chain(zstandards).chain(brotlis).collect()
}

fn deflate(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn brotli(content: &[u8], quality: i32) -> Vec<u8> {
    let parameters =
        brotli::enc::BrotliEncoderParams { quality, lgwin: WINDOW, size_hint: content.len(), ..Default::default() };
    let mut coded = Vec::new();
    brotli::BrotliCompress(&mut &*content, &mut coded, &parameters).expect("memory takes everything");
    coded
}

/// Seconds that this thread had a core (`/proc/thread-self/schedstat`, in nanoseconds), or where that is not told, seconds.
fn on_core() -> f64 {
    static BEGUN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds =
        told.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).filter(|ran| *ran > 0.0);
    nanoseconds.map_or_else(|| BEGUN.get_or_init(Instant::now).elapsed().as_secs_f64(), |ran| ran / 1e9)
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let (folders, files): (Vec<_>, Vec<_>) = entries.map(|entry| entry.path()).partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| walk(folder))).collect()
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
