//! `spothost publish`: a folder, or a zip of one, becomes what the hosts serve.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    BAD_CONFIGURATION, BAD_SITE, CANNOT_RUN, NOT_AS_IT_SHOULD_BE, SUPERSEDED, Stop, published_at, runtime,
    source_date::{self, SourceDate},
    wait::Patience,
};
use crate::{
    atomic_file::AtomicFile,
    aws::publisher_bucket::PublisherBucket,
    clock,
    documents::layout,
    place::PackagePlace,
    publish::{
        BuildOptions, BuiltPackage, Delivered, Delivery, Effort, LONGEST_FILE, Problem, Signer, Weight,
        unready_for_applications,
    },
};

/// Maximum number of warnings printed; a site can have thousands of them.
const MOST_TOLD: usize = 30;

/// Maximum number of omitted names printed.
const MOST_HIDDEN: usize = 5;

/// Package a folder or a zip, and publish it to the hosts.
///
/// `publish` unpacks a zip and packs it again, so that a zip and a folder with the same files make the same package. It
/// reports all problems of the site together, before it uploads anything.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   published; with --wait: served
  1   a host or AWS refused it
  2   wrong usage
  5   a newer version was published meanwhile
  64  the configuration, the key or the place cannot be used
  65  the site has problems
  71  this machine cannot write the package
  75  try again; with --wait: no host reported in time")]
pub(super) struct PublishCommand {
    /// The site: a folder, or a zip of one.
    site: PathBuf,
    #[command(flatten)]
    target: published_at::Target,
    /// Sign the package with this secret key of minisign; its password, if it has one, is in SPOTHOST_SIGN_PASSWORD.
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Build the package and report problems, but upload nothing.
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Publish despite likely mistakes: names that differ only in case, lines of settings that are not understood.
    #[arg(long)]
    lenient: bool,
    #[command(flatten)]
    waiting: Patience,
    /// Compress as much as possible: a few percent less for visitors, for tens of times the work.
    #[arg(long)]
    best: bool,
    /// Quality of the .br files, 1 (fast) to 11 (small), instead of the default; 0 makes none.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u32).range(0..=11))]
    brotli: Option<u32>,
    /// Make no .zst files.
    #[arg(long)]
    no_zstd: bool,
    /// Time that visitors see as Last-Modified: seconds since 1970, or 2026-11-21T12:00:00Z; without a value
    /// SOURCE_DATE_EPOCH, or else the time of the last commit. By default it is the time of the version.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true)]
    source_date: Option<Option<SourceDate>>,
    /// Size of the largest file that may be published, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = LONGEST_FILE)]
    max_file: u64,
    /// Folder of the compression cache; by default `spothost/publish` in the user's cache folder.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep a copy of the package in this file.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl PublishCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let begun = clock::now();
        let place = if self.dry_run { None } else { Some(self.target.published().place()?) };
        if let Some((PackagePlace::Disk(to), _)) = &place {
            self.can_be_put(to)?;
        }
        let unusable = |fault| Stop::new(BAD_CONFIGURATION, fault);
        let signer = self.sign.as_deref().map(Signer::load).transpose().map_err(unusable)?;
        let date = self.source_date.as_ref().map(|said| source_date::found(said.as_ref(), &self.site)).transpose()?;
        let folder = tempfile::tempdir().map_err(|error| Stop::new(CANNOT_RUN, error))?;
        let path = folder.path().join("site.zip");
        let domain = place.as_ref().and_then(|(_, domain)| domain.as_ref()).map(ToString::to_string);
        let built = self.made(&path, domain, date)?;
        if let Some(keep) = &self.keep {
            copied(&path, keep)?;
        }
        match place {
            None => self.tell_dry(&built),
            Some((PackagePlace::Disk(to), _)) => self.put(&built, signer.as_ref(), begun, &to),
            Some((PackagePlace::Bucket(_), _)) => runtime()?.block_on(self.deliver(&built, signer.as_ref(), begun)),
        }
    }

    /// Refuses a place on disk that no package can be written to, before any work is done for it.
    fn can_be_put(&self, to: &Path) -> Result<(), Stop> {
        if to.is_dir() {
            let said = format!("{} is a folder, which is served as it is; name a zip", to.display());
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        if self.waiting.is_wanted() {
            let said = "--wait needs a bucket: only there do hosts report what they serve; leave it out";
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        Ok(())
    }

    fn effort(&self) -> Effort {
        let effort = if self.best { Effort::BEST } else { Effort::USUAL };
        let brotli = self.brotli.map_or(effort.brotli, |quality| Some(quality).filter(|quality| *quality > 0));
        let zstandard = effort.zstandard.filter(|_| !self.no_zstd);
        Effort { brotli, zstandard, ..effort }
    }

    /// Makes the package, and reports all problems of the site together.
    fn made(&self, path: &Path, domain: Option<String>, date: Option<OffsetDateTime>) -> Result<BuiltPackage, Stop> {
        let build_options = BuildOptions {
            site: self.site.clone(),
            effort: self.effort(),
            longest_file: self.max_file,
            cache: self.cache.clone(),
            domain,
            date,
        };
        let made =
            build_options.make(path).map_err(|error| Stop::new(CANNOT_RUN, format!("making the package: {error}")))?;
        let (built, problems) = made;
        tell(&problems);
        let stops = |problem: &&Problem| match problem.weight {
            Weight::Stops => true,
            Weight::Wrong => !self.lenient,
            Weight::Doubtful => false,
        };
        let stopping = problems.iter().filter(stops).count();
        match built {
            Some(built) if stopping == 0 => {
                if !self.json {
                    anstream::println!("{}", figures(&built));
                }
                Ok(built)
            }
            _ => {
                let can_be_lenient = problems.iter().filter(stops).all(|problem| problem.weight == Weight::Wrong);
                let hint = if can_be_lenient { "; --lenient publishes it all the same" } else { "" };
                let plural = if stopping == 1 { "" } else { "s" };
                Err(Stop::new(BAD_SITE, format!("nothing was published: {stopping} problem{plural}{hint}")))
            }
        }
    }

    async fn deliver(
        &self,
        built: &BuiltPackage,
        signer: Option<&Signer>,
        begun: OffsetDateTime,
    ) -> Result<ExitCode, Stop> {
        let publisher_bucket = self.target.published().publisher_bucket().await?;
        if built.is_for_an_application {
            warn_of_hosts(&publisher_bucket).await;
        }
        let delivery = Delivery::begin(&publisher_bucket, begun).await?;
        let delivered = delivery.publish(built, signer).await?;
        ended(&publisher_bucket, &delivered, &self.waiting, self.json).await
    }

    fn tell_dry(&self, built: &BuiltPackage) -> Result<ExitCode, Stop> {
        if self.json {
            anstream::println!("{}", json!({ "published": false, "sha256": built.sha256, "length": built.length }));
        } else {
            anstream::println!("nothing was uploaded (--dry-run); SHA-256 {}", built.sha256);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// On disk a package is a file that is renamed over the one before. Its signature comes first: a host that finds the one
    /// without the other would refuse it.
    fn put(
        &self,
        built: &BuiltPackage,
        signer: Option<&Signer>,
        begun: OffsetDateTime,
        to: &Path,
    ) -> Result<ExitCode, Stop> {
        if let Some(signer) = signer {
            let signature = built.signed(signer, begun)?;
            let beside = PathBuf::from(layout::signature(&to.display().to_string()));
            let written = fs::write(&beside, signature);
            written.map_err(|error| Stop::new(CANNOT_RUN, format!("writing {}: {error}", beside.display())))?;
        }
        copied(&built.path, to)?;
        if self.json {
            anstream::println!("{}", json!({ "published": true, "sha256": built.sha256, "length": built.length }));
        } else {
            anstream::println!("{} is published", to.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints how a publication or a rollback ended, waits if the caller asked for it, and returns the exit code.
pub(super) async fn ended(
    publisher_bucket: &PublisherBucket,
    delivered: &Delivered,
    waiting: &Patience,
    as_json: bool,
) -> Result<ExitCode, Stop> {
    let (label, etag, sent, said) = match delivered {
        Delivered::Live { label, etag, sent, rivals } => {
            for rival in rivals {
                let until = "hosts that follow it look for others once a minute; remove it";
                anstream::eprintln!("warning: {rival} says that it is the latest too: {until}");
            }
            (label, etag, *sent, "is what hosts are to serve")
        }
        Delivered::Unchanged { label, etag } => {
            (label, etag, 0, "is what hosts are to serve already: nothing was uploaded")
        }
        Delivered::Superseded { by } => {
            let by = by.as_ref().map_or("something published by other means".to_owned(), ToString::to_string);
            return Err(Stop::new(SUPERSEDED, format!("{by} was published meanwhile, is newer, and stays")));
        }
        Delivered::Refused { version, reasons } => {
            let said = format!("{version} was refused by a host before:\n  {}", reasons.join("\n  "));
            return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
        }
    };
    if !as_json {
        let sent = if sent == 0 { String::new() } else { format!(" ({} sent)", HumanBytes(sent)) };
        anstream::println!("{} {said}{sent}", label.version);
    }
    let served = waiting.wait(publisher_bucket, label, etag, as_json).await?;
    if as_json {
        let told = json!({
            "published": true,
            "version": label.version,
            "sha256": label.sha256,
            "etag": etag,
            "sent": sent,
            "unchanged": matches!(delivered, Delivered::Unchanged { .. }),
            "served_by": served,
        });
        anstream::println!("{told}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Names the hosts that would not take a package that is for an application.
async fn warn_of_hosts(publisher_bucket: &PublisherBucket) {
    match unready_for_applications(publisher_bucket).await {
        Ok(hosts) => {
            for host in hosts {
                anstream::eprintln!("warning: {host}");
            }
        }
        Err(fault) => anstream::eprintln!("warning: whether the hosts run applications is not known: {fault}"),
    }
}

fn copied(from: &Path, to: &Path) -> Result<(), Stop> {
    let copied = fs::File::open(from)
        .and_then(|mut package| AtomicFile::at(to).write_with(|file| io::copy(&mut package, file).map(drop)));
    copied.map_err(|error| {
        Stop::new(CANNOT_RUN, format!("writing {}: {error}; name a file in a folder that can be written", to.display()))
    })
}

/// The contents of a package, in one line.
fn figures(built: &BuiltPackage) -> String {
    let made = &built.stats;
    let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let hidden = match made.hidden.len() {
        0 => String::new(),
        number => {
            let names = made.hidden.iter().take(MOST_HIDDEN).map(String::as_str).collect::<Vec<_>>().join(", ");
            let others = if number > MOST_HIDDEN { ", …" } else { "" };
            format!("; {} left out, because hidden ({names}{others})", plural(number, "name"))
        }
    };
    let time = Duration::from_millis(u64::try_from(made.time.as_millis()).unwrap_or(u64::MAX));
    format!(
        "{}, {}, packed into {} in {}: {} known, {} beside them{hidden}",
        plural(made.files, "file"),
        HumanBytes(made.bytes),
        HumanBytes(built.length),
        humantime::format_duration(time),
        made.known,
        plural(made.beside, "coding"),
    )
}

/// Every problem, the worst first.
fn tell(problems: &[Problem]) {
    let (doubtful, others): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| problem.weight == Weight::Doubtful);
    let red = anstyle::AnsiColor::Red.on_default();
    let yellow = anstyle::AnsiColor::Yellow.on_default();
    for problem in others {
        anstream::eprintln!("{red}problem{red:#} {problem}");
    }
    for problem in doubtful.iter().take(MOST_TOLD) {
        anstream::eprintln!("{yellow}warning{yellow:#} {problem}");
    }
    if doubtful.len() > MOST_TOLD {
        anstream::eprintln!("{yellow}warning{yellow:#} and {} more", doubtful.len() - MOST_TOLD);
    }
}
