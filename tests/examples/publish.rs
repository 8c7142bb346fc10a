//! How long a publication takes, and what visitors then load: `spothost publish` beside `zip -9 -r` and `aws s3 cp`.
//!
//! ```sh
//! tests/run --no-run && cargo build --release -p spothost
//! SPOTHOST_BIN=target/release/spothost cargo run --release -p spothost-tests --example publish [FOLDER]
//! ```
//!
//! Without a folder the site is made from a seed: 1,000 files, 60 MB; `tests/setup/sites.sh` brings three real ones. 20 ms are
//! added to every call, and the network is the loopback: the bytes sent are told too, for readers who know the speed of their own. The
//! second time one page has changed. `--best` begins with nothing in its cache.

use std::{
    env, fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fastrand::Rng;
use world::{Account, FaultProxy, Publisher};
use zip::{CompressionMethod, ZipArchive};

const ADDED: Duration = Duration::from_millis(20);
const SEED: u64 = 2026;

/// What a package costs its visitors if each loads every file once, in bytes.
#[derive(Default)]
struct Loaded {
    plain: u64,
    gzip: u64,
    brotli: u64,
    zstandard: u64,
}

#[tokio::main]
async fn main() {
    let publisher = Publisher::of(&Account::new().await).await;
    // What is copied by hand is none of a publisher's files, and a judge of rights would take time of both.
    publisher.aws.allow_everything();
    match env::args().nth(1) {
        Some(folder) => copy(Path::new(&folder), &publisher.folder()),
        None => make(&publisher.folder(), SEED),
    }
    let (files, bytes) = size(&publisher.folder());
    println!("{files} files, {:.1} MB; {} ms added to every call\n", mb(bytes), ADDED.as_millis());
    publisher.aws.delay(ADDED);
    println!("{:<44}{:>9}{:>9}{:>12}{:>8}", "", "time", "CPU", "package", "calls");
    let zipped = by_zip(&publisher, "zip -9 -r, aws s3 cp, first").await;
    change(&publisher.folder());
    by_zip(&publisher, "zip -9 -r, aws s3 cp, one page changed").await;
    change(&publisher.folder());
    let packed = by_us(&publisher, "spothost publish, first", &[]).await;
    change(&publisher.folder());
    by_us(&publisher, "spothost publish, one page changed", &[]).await;
    by_us(&publisher, "spothost publish, nothing changed", &[]).await;
    let cache = publisher.home().join("best").display().to_string();
    let best = by_us(&publisher, "spothost publish --best, first", &["--best", "--cache", &cache]).await;

    println!("\n{:<44}{:>12}{:>12}{:>12}{:>12}", "every file loaded once", "identity", "gzip", "zstd", "br");
    for (name, path) in [("zip -9", zipped), ("spothost publish", packed), ("spothost publish --best", best)] {
        let Loaded { plain, gzip, brotli, zstandard } = loaded(&path);
        let columns = [plain, gzip, zstandard, brotli].map(|bytes| format!("{:>9.2} MB", mb(bytes)));
        println!("{name:<44}{}", columns.concat());
    }
}

/// A run that is being measured.
struct Run {
    begun: Instant,
    cpu: f64,
    calls: usize,
}

impl Run {
    fn begin(aws: &FaultProxy) -> Run {
        Run { begun: Instant::now(), cpu: cpu(), calls: aws.calls().len() }
    }

    fn tell(self, name: &str, package: &Path, aws: &FaultProxy) {
        let time = self.begun.elapsed().as_secs_f64();
        let cpu = cpu() - self.cpu;
        let length = fs::metadata(package).map_or(0, |about| about.len());
        let calls = aws.calls().len() - self.calls;
        println!("{name:<44}{time:>7.2} s{cpu:>7.2} s{:>9.2} MB{calls:>8}", mb(length));
    }
}

/// Seconds that the processors gave to the commands that have ended (`proc_pid_stat(5)`: a hundredth each).
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

async fn by_zip(publisher: &Publisher, name: &str) -> PathBuf {
    let zip = publisher.home().join("by-zip.zip");
    let _ = fs::remove_file(&zip);
    let measured = Run::begin(&publisher.aws);
    run(Command::new("zip").args(["-9", "-r", "-q"]).arg(&zip).arg(".").current_dir(publisher.folder())).await;
    let to = format!("{}by-hand-latest.zip", publisher.place());
    let mut copy = Command::new(tools().join("ground/bin/aws"));
    copy.args(["s3", "cp", "--only-show-errors"]).arg(&zip).arg(to).envs(publisher.variables());
    run(&mut copy).await;
    measured.tell(name, &zip, &publisher.aws);
    zip
}

async fn by_us(publisher: &Publisher, name: &str, further: &[&str]) -> PathBuf {
    let kept = publisher.home().join(if further.is_empty() { "by-us.zip" } else { "by-us-best.zip" });
    let measured = Run::begin(&publisher.aws);
    let folder = publisher.folder();
    let place = publisher.place();
    let mut publish = Command::new(world::binary());
    publish.arg("publish").arg(folder).args(["--to", &place, "--lenient", "--keep"]).arg(&kept).args(further);
    publish.envs(publisher.variables()).stderr(Stdio::null());
    run(&mut publish).await;
    measured.tell(name, &kept, &publisher.aws);
    kept
}

/// Runs it beside the world, which is in this process.
async fn run(command: &mut Command) {
    let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("it is waited for");
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}

/// The folder that `tests/run` has filled.
fn tools() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache/spothost/test-tools");
    env::var_os("SPOTHOST_TEST_HOME").map_or_else(home, PathBuf::from)
}

fn loaded(package: &Path) -> Loaded {
    /// A gzip header and trailer, which hosts put around a deflated entry (RFC 1952).
    const FRAME: u64 = 18;
    let file = BufReader::new(fs::File::open(package).expect("a package"));
    let mut zip = ZipArchive::new(file).expect("a zip");
    let names: Vec<String> = zip.file_names().map(|name| name.expect("UTF-8").into_owned()).collect();
    let mut sum = Loaded::default();
    for name in &names {
        let coded = |end: &str| name.strip_suffix(end).is_some_and(|file| names.iter().any(|known| known == file));
        if name.ends_with('/') || coded(".br") || coded(".zst") {
            continue;
        }
        let entry = zip.by_name(name).expect("an entry");
        let plain = entry.size();
        let packed = entry.compressed_size();
        let deflated = entry.compression();
        drop(entry);
        let gzip = if deflated == CompressionMethod::Deflated { packed + FRAME } else { plain };
        let mut beside = |end: &str| zip.by_name(&format!("{name}{end}")).ok().map(|entry| entry.size());
        sum.plain += plain;
        sum.gzip += gzip;
        sum.brotli += beside(".br").unwrap_or(gzip);
        sum.zstandard += beside(".zst").unwrap_or(gzip);
    }
    sum
}

/// Adds a line to one page.
fn change(folder: &Path) {
    let mut pages: Vec<_> =
        walk(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "html")).collect();
    pages.sort();
    let page = pages.first().expect("a page");
    let text = fs::read_to_string(page).expect("UTF-8") + "<!-- changed -->\n";
    fs::write(page, text).expect("written");
}

fn size(folder: &Path) -> (usize, u64) {
    let files = walk(folder);
    let bytes = files.iter().filter_map(|path| fs::metadata(path).ok()).map(|about| about.len()).sum();
    (files.len(), bytes)
}

fn copy(from: &Path, to: &Path) {
    for path in walk(from) {
        let to = to.join(path.strip_prefix(from).expect("it is inside"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        fs::copy(path, to).expect("copied");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let (folders, files): (Vec<_>, Vec<_>) = entries.map(|entry| entry.path()).partition(|path| path.is_dir());
    files.into_iter().chain(folders.iter().flat_map(|folder| walk(folder))).collect()
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A site as they are: pages of prose in a frame that all of them share, scripts, style sheets, and pictures and fonts
/// that are compressed already.
fn make(folder: &Path, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let words = vocabulary(&mut random, 6_000);
    let frame = sentences(&mut random, &words, 2_500, "li");
    let write = |name: String, content: Vec<u8>| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("written");
    };
    for number in 0..600 {
        let length = random.usize(8_000..45_000);
        let body = sentences(&mut random, &words, length, "p");
        let page =
            format!("<!doctype html><html lang=en><title>{number}</title><nav>{frame}</nav><main>{body}</main></html>");
        let name = if number == 0 { "index.html".to_owned() } else { format!("{}/page-{number}.html", number % 40) };
        write(name, page.into_bytes());
    }
    for number in 0..60 {
        let length = random.usize(60_000..320_000);
        write(
            format!("assets/app-{number}.js"),
            code(&mut random, &words, length, ["function ", "{return ", "}", ";"]),
        );
    }
    for number in 0..20 {
        let length = random.usize(30_000..150_000);
        write(format!("assets/style-{number}.css"), code(&mut random, &words, length, [".", "{margin:", "px}", ";"]));
    }
    for number in 0..320 {
        let (kind, most) = if number % 8 == 0 { ("woff2", 60_000) } else { ("png", 185_000) };
        let content = (0..random.usize(10_000..most)).map(|_| random.u8(..)).collect();
        write(format!("media/{number}.{kind}"), content);
    }
}

fn vocabulary(random: &mut Rng, number: usize) -> Vec<String> {
    let syllable = |random: &mut Rng| {
        let mut one_of = |letters: &[u8]| char::from(letters[random.usize(..letters.len())]);
        [one_of(b"bcdfglmnprstv"), one_of(b"aeiou")].into_iter().collect::<String>()
    };
    (0..number).map(|_| (0..random.usize(1..5)).map(|_| syllable(random)).collect()).collect()
}

/// A word; the first ones of the vocabulary are by far the most frequent (Zipf's law).
fn word<'a>(random: &mut Rng, words: &'a [String]) -> &'a str {
    let place = (words.len() as f64).powf(random.f64()) as usize;
    &words[place.min(words.len() - 1)]
}

fn sentences(random: &mut Rng, words: &[String], length: usize, tag: &str) -> String {
    let mut text = String::new();
    while text.len() < length {
        let mark = word(random, words);
        text += &format!("<{tag} class=\"{mark}\"><a href=\"/\">{}</a>", word(random, words));
        for _ in 0..random.usize(8..60) {
            text += " ";
            text += word(random, words);
        }
        text += &format!(".</{tag}>\n");
    }
    text
}

fn code(random: &mut Rng, words: &[String], length: usize, marks: [&str; 4]) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < length {
        let [begin, middle, end, next] = marks;
        let name = word(random, words);
        let value = word(random, words);
        text += &format!("{begin}{name}({value}){middle}{}{end}{next}", random.u16(..));
    }
    text.into_bytes()
}
