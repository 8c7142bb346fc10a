//! `spothost diff`: what differs between two releases, or a release and a folder.

use std::{fs, io, path::Path, process::ExitCode};

use clap::Args;
use comfy_table::{Cell, Color};
use indicatif::HumanBytes;
use serde_json::json;

use super::{NOT_AS_IT_SHOULD_BE, Stop, published_at, runtime, table};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    documents::{Layout, Version},
    publish::{Catalogue, FileChange, Side},
};

/// How much of a package's end is read first; its directory mostly lies in that.
const FIRST_TAIL: u64 = 1 << 20;

/// A release, as people name it.
enum ReleaseName {
    Version(Version),
    Latest,
    Previous,
}

impl ReleaseName {
    fn parse(text: &str) -> Result<ReleaseName, Stop> {
        match text {
            "latest" => Ok(ReleaseName::Latest),
            "previous" => Ok(ReleaseName::Previous),
            _ => text.parse().map(ReleaseName::Version).map_err(|_| {
                let said = format!("{text} is no folder, no zip, no version, and neither `latest` nor `previous`");
                Stop::new(NOT_AS_IT_SHOULD_BE, said)
            }),
        }
    }
}

/// Show what differs between two releases, zips or folders.
#[derive(Args)]
pub(super) struct DiffCommand {
    /// A version, `latest`, `previous`, a zip, or a folder.
    before: String,
    /// What to compare it with, named in the same way.
    after: String,
    #[command(flatten)]
    published: published_at::PublishedAt,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl DiffCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let (before, after) = runtime()?.block_on(async {
            let before = self.side(&self.before).await?;
            Ok::<_, Stop>((before, self.side(&self.after).await?))
        })?;
        let changes = before.changes(&after);
        if self.json {
            anstream::println!("{}", json!({ "changes": changes, "same": before.same(&after) }));
        } else if changes.is_empty() {
            anstream::println!("the same {} files", before.same(&after));
        } else {
            anstream::println!("{}\n{}", drawn(&changes), summed(&changes, before.same(&after)));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn side(&self, named: &str) -> Result<Side, Stop> {
        let path = Path::new(named);
        let failed = |error: io::Error| {
            Stop::new(NOT_AS_IT_SHOULD_BE, format!("reading {named}: {error}; name a folder, or a whole zip"))
        };
        if path.is_dir() {
            return Side::of_folder(path).map_err(failed);
        }
        if path.is_file() {
            return fs::File::open(path).and_then(|file| Side::of_zip(io::BufReader::new(file))).map_err(failed);
        }
        let release = ReleaseName::parse(named)?;
        let publisher_bucket = self.published.publisher_bucket().await?;
        let key = key_of(&publisher_bucket, &release).await?;
        directory(&publisher_bucket, &key).await
    }
}

/// The key of the named package.
async fn key_of(publisher_bucket: &PublisherBucket, release: &ReleaseName) -> Result<String, Stop> {
    let layout = Layout::new(&publisher_bucket.place().prefix);
    let none = |said: String| Stop::new(NOT_AS_IT_SHOULD_BE, said);
    match release {
        ReleaseName::Version(version) => Ok(layout.version(version)),
        ReleaseName::Latest => {
            let catalogue = Catalogue::read(publisher_bucket).await?;
            let live = catalogue.live().map(|package| package.key.clone());
            live.ok_or_else(|| none("nothing is published yet".to_owned()))
        }
        ReleaseName::Previous => {
            let catalogue = Catalogue::read(publisher_bucket).await?;
            let before = catalogue.before_live().map(|version| layout.version(version));
            before.ok_or_else(|| {
                none("nothing older than the latest version is published: `spothost releases` lists all".to_owned())
            })
        }
    }
}

/// The files of a package in the bucket, of which no more is read than its directory: the end of a file that is
/// otherwise empty.
async fn directory(publisher_bucket: &PublisherBucket, key: &str) -> Result<Side, Stop> {
    let gone = || Stop::new(NOT_AS_IT_SHOULD_BE, format!("there is no {key}"));
    let length = publisher_bucket.look(key).await?.ok_or_else(gone)?.length;
    let mut tail = FIRST_TAIL;
    loop {
        let end = publisher_bucket.read(key, Some(tail.min(length))).await?.ok_or_else(gone)?;
        let whole = end.len() as u64 >= length;
        match sparse(&end, length).and_then(Side::of_zip) {
            Ok(side) => return Ok(side),
            Err(error) if whole => return Err(Stop::new(NOT_AS_IT_SHOULD_BE, format!("reading {key}: {error}"))),
            Err(_) => tail = tail.saturating_mul(8),
        }
    }
}

fn sparse(end: &[u8], length: u64) -> io::Result<fs::File> {
    use io::{Seek as _, SeekFrom, Write as _};
    let mut file = tempfile::tempfile()?;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length.saturating_sub(end.len() as u64)))?;
    file.write_all(end)?;
    file.rewind()?;
    Ok(file)
}

fn drawn(changes: &[FileChange]) -> comfy_table::Table {
    let mut table = table::headed(&["", "file", "before", "after"]);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| HumanBytes(bytes).to_string());
    for change in changes {
        let (word, colour) = match (change.before, change.after) {
            (None, _) => ("added", Color::Green),
            (_, None) => ("removed", Color::Red),
            _ => ("changed", Color::Yellow),
        };
        let cells = [Cell::new(&change.name), Cell::new(size(change.before)), Cell::new(size(change.after))];
        table.add_row(std::iter::once(Cell::new(word).fg(colour)).chain(cells));
    }
    table
}

fn summed(changes: &[FileChange], same: usize) -> String {
    let added = changes.iter().filter(|change| change.before.is_none()).count();
    let removed = changes.iter().filter(|change| change.after.is_none()).count();
    let changed = changes.len() - added - removed;
    let bytes = |side: fn(&FileChange) -> Option<u64>| HumanBytes(changes.iter().filter_map(side).sum());
    let before = bytes(|change| change.before);
    let after = bytes(|change| change.after);
    format!("{added} added, {changed} changed, {removed} removed, {same} the same; {before} became {after}")
}
