//! Keeper: the site that the bucket holds is the site we have.
//!
//! A package is fetched beside the running site, held against what the store says of its bytes, judged, kept on disk as
//! the last good one, and only then yielded. One that does not pass the gate changes nothing: what is held stays, and a
//! verdict is left beside the package, so that no other host takes it either, until a person deletes it. A host that holds
//! nothing takes the last good one instead. A fault on the way is never the package's: it is fetched again.
//!
//! A package that brings a process is on trial until that was well here: as long, the last good one stays on the disk beside it,
//! for a program that is started again meanwhile, and nobody is told that the new one is good. A host that has no other, as one that was
//! just launched, takes the newest that other hosts found good where the process of the newest of all is not well.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use spothost_server::{LiveSite, OwnApplication, PackageLimits, Site};
use tokio::time::Instant;

use crate::{
    aws::{
        Host,
        checksum::{Bytes, sha256},
    },
    clock::{self, moment},
    documents::{PackageKey, Release, Signed, Verdict, VerdictOutcome},
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    status::Part,
};

pub(crate) mod decision;
mod disk_space;
mod download;
#[cfg(test)]
mod follows;
mod gate;
pub(crate) mod last_good;
pub(crate) mod native_target;
mod newest;
mod pack;
mod package_cache;
pub(crate) mod program;
pub(crate) mod refusals;
mod source;
mod tree;
mod trial;
mod verdict;

pub use package_cache::PackageCache;
pub use source::Source;

use decision::{HeldPackage, LookedAt, NewestStanding, PackageCall, Search, is_noted_at_once};
use download::{DownloadProgress, note_of};
use gate::{Demands, Judged};
use newest::NewestPackage;
pub(crate) use newest::{moved, newest};
use refusals::Refusals;
use source::Fetched;
pub(crate) use tree::{ExclusionReason, LeftOut, TOO_MANY, Tree, TreeFile};
use trial::{Trial, TrialOutcome};

/// A new package is served for this long before it is called good.
const SERVED_FIRST: Duration = Duration::from_secs(1);
/// How long to wait before a verdict is tried to be written again.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// Of how many packages is remembered that they were told of.
const MOST_TOLD: usize = 64;

/// A release and the site that is served from it.
#[derive(Clone)]
pub struct Package {
    /// What was published.
    pub release: Release,
    /// Its files.
    pub site: Arc<Site>,
    /// What is served: the files, and the application of the package where its process runs.
    pub live: Arc<LiveSite>,
    /// Whether its process, if it brings one, was well here.
    pub(crate) trial: Trial,
    /// What else a person should know.
    notes: Vec<String>,
}

impl Package {
    fn of(release: Release, site: Site) -> Package {
        let site = Arc::new(site.published(release.published()));
        let live = Arc::new(LiveSite::new(site.clone()));
        let trial = if site.process().is_some() { Trial::pending() } else { Trial::passed() };
        Package { release, site, live, trial, notes: Vec::new() }
    }

    /// The same, served with the application that it brings.
    #[must_use]
    pub(crate) fn with_application(self, application: OwnApplication) -> Package {
        let live = Arc::new(LiveSite::with_application(self.site.clone(), application));
        Package { live, ..self }
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Package) -> bool {
        self.release.is(&other.release) && Arc::ptr_eq(&self.live, &other.live)
    }
}

/// How packages are followed.
#[derive(Clone, Debug)]
pub struct Following {
    /// How often to look.
    pub look: Duration,
    /// For how long fingerprinted files of the previous version stay reachable.
    pub skew: Duration,
    /// The keys of which one has to sign a package; if there are none, no signature is asked for.
    pub keys: Vec<PackageKey>,
    /// Whether this host takes packages that are for an application, be it a process of its own or one that runs beside. If not, it
    /// declines such a package.
    pub applications: bool,
    /// Whether this host runs the processes that packages bring, and a package is on trial until its process was well.
    pub processes: bool,
}

/// Keeper of the package.
pub struct Packages {
    source: Source,
    package_cache: PackageCache,
    following: Following,
    host: Option<Kept<Host>>,
    held: Option<Package>,
    /// Whether what is held is not noted as the last good package yet.
    unnoted: bool,
    /// How the last look found the trial of what is held.
    trial: Option<TrialOutcome>,
    /// The newest package that the last look found, and its verdict, if there is one.
    newest: Option<(Release, Option<Verdict>)>,
    refusals: Refusals,
    pending_verdicts: PendingVerdicts,
    progress: DownloadProgress,
}

/// Verdicts that are still to be left beside their packages.
#[derive(Default)]
struct PendingVerdicts {
    /// Each with the time at which it is due. Every package that was judged has its own: a bad one that follows at once
    /// takes nothing from the good one before it.
    due: Vec<(Verdict, Instant)>,
    /// Tags of the packages that were told of, or that cannot be told of; the last [`MOST_TOLD`].
    done: VecDeque<String>,
    /// A keeper that only looks once tells nothing.
    runs: bool,
    /// Something was corrected since the last look.
    corrected: bool,
    /// A look that verifies a correction reports nothing new: the next look reports what became due meanwhile.
    rests: bool,
    /// The latest due time that a look was made for at once. Where that look fails, the next one comes at its own pace.
    rung: Option<Instant>,
}

impl PendingVerdicts {
    /// The verdict whose time has come.
    fn next(&self) -> Option<&Verdict> {
        let now = Instant::now();
        self.due.iter().find(|(_, at)| self.runs && !self.rests && *at <= now).map(|(verdict, _)| verdict)
    }

    /// Resolves when the next one is due.
    async fn rings(&mut self) {
        let at = self.due.iter().map(|(_, at)| *at).filter(|at| self.rung.is_none_or(|rung| *at > rung)).min();
        let Some(at) = at else { return std::future::pending().await };
        tokio::time::sleep_until(at).await;
        self.rung = Some(at);
    }

    fn knows(&self, etag: &str) -> bool {
        self.done.iter().any(|done| done == etag) || self.due.iter().any(|(verdict, _)| verdict.etag == etag)
    }

    /// Has `verdict` told at that time, and no other on the same package.
    fn later(&mut self, verdict: Verdict, at: Instant) {
        self.due.retain(|(other, _)| other.etag != verdict.etag);
        self.due.push((verdict, at));
    }

    fn done(&mut self, etag: &str) {
        self.due.retain(|(verdict, _)| verdict.etag != etag);
        self.forget(etag);
        self.done.push_back(etag.to_owned());
        if self.done.len() > MOST_TOLD {
            self.done.pop_front();
        }
    }

    fn forget(&mut self, etag: &str) {
        self.done.retain(|done| done != etag);
    }
}

/// One look at the place of packages.
pub struct PackageObservation {
    /// No package at all.
    none: Option<Fault>,
    /// What to take instead of a refused one.
    instead: Option<Release>,
}

/// A package to fetch or to keep, or a verdict to publish.
pub enum PackageDrift {
    /// It is to be fetched, judged and served.
    Fetch(Release),
    /// It has passed its trial, and is to be the last good one.
    Keep(Release),
    /// Its verdict is to be published.
    Tell(Verdict),
}

impl Packages {
    /// Follows `source` and keeps the last good package on `package_cache`; `host` is who judges.
    pub fn new(
        source: Source,
        package_cache: PackageCache,
        following: Following,
        host: Option<Kept<Host>>,
    ) -> Packages {
        Packages {
            source,
            package_cache,
            following,
            host,
            held: None,
            unnoted: false,
            trial: None,
            newest: None,
            refusals: Refusals::default(),
            pending_verdicts: PendingVerdicts::default(),
            progress: DownloadProgress::new(),
        }
    }

    /// The release that a look compares with: the newest that was seen, be it good or refused.
    fn known(&self) -> Option<&Release> {
        let newest = self.newest.as_ref().map(|(release, _)| release);
        newest.or(self.held.as_ref().map(|held| &held.release))
    }

    /// Why a package must not go live, if that is known: found out by this host, or by another.
    fn condemned(&self, release: &Release, verdict: Option<&Verdict>) -> Option<Fault> {
        let verdict = verdict.filter(|verdict| verdict.refuses());
        let lifted = |place: String| {
            format!("publish a better one{}; to have this one tried again, delete {place}", self.meanwhile())
        };
        let Some(verdict) = verdict else { return self.refusals.of(release, Instant::now()).cloned() };
        let remedy = self.source.verdict_place(release).map(lifted).unwrap_or_default();
        Some(Fault::operator(format!("following {}", release.key), verdict, remedy))
    }

    fn meanwhile(&self) -> &'static str {
        if self.held.is_some() { " (the previous version stays online)" } else { "" }
    }

    fn judge_by(&self) -> String {
        match &self.host {
            Some(host) => host.borrow().as_ref().map_or_else(|| "unknown".to_owned(), |host| host.instance.clone()),
            None => "this machine".to_owned(),
        }
    }

    /// What is held is good, which every host should know, whatever the bucket shows by now: also what an earlier life of
    /// the process has found good and not come to tell.
    fn remember_to_tell(&mut self) {
        let Some(held) = self.held.as_ref().filter(|held| held.trial.has_passed()) else { return };
        let is_judged = match &self.newest {
            Some((newest, verdict)) if held.release.is(newest) => verdict.is_some(),
            _ => self.source.has_verdict_on(&held.release),
        };
        let tells = self.source.verdict_key(&held.release).is_some();
        if tells && !is_judged && !self.pending_verdicts.knows(&held.release.etag) {
            let good = Verdict::on(&held.release, VerdictOutcome::Good, &self.judge_by(), clock::now(), &[]);
            self.pending_verdicts.later(good, Instant::now() + SERVED_FIRST);
        }
    }

    async fn fetch(&mut self, release: &Release) -> Result<(), Fault> {
        let incoming = self.package_cache.incoming()?;
        self.make_room(&incoming, self.source.length_on_disk(release))?;
        let fetched = self.fetch_into(&incoming, release).await?;
        let judged = self.judged(&incoming, &fetched).await?;
        if judged == Judged::Good {
            return self.take(incoming, fetched.release).await;
        }
        if fetched.bytes == Bytes::Unknown {
            self.fetch_the_same(&incoming, &fetched).await?;
        }
        let is_for_others = matches!(judged, Judged::NotHere(_));
        let verdict = self.verdict_of(&fetched, judged);
        if is_for_others {
            self.decline(fetched.release, verdict);
        } else {
            self.refuse(fetched.release, verdict).await;
        }
        Ok(())
    }

    /// A disk that has no room for one more package may have it once older versions are deleted.
    fn make_room(&self, incoming: &std::path::Path, length: u64) -> Result<(), Fault> {
        if let (Err(_), Some(held)) = (disk_space::check(incoming, length), &self.held) {
            tracing::warn!("older versions are deleted to free disk space for the next one");
            held.site.forget_all();
        }
        disk_space::check(incoming, length)
    }

    async fn fetch_into(&mut self, incoming: &std::path::Path, release: &Release) -> Result<Fetched, Fault> {
        let signed = !self.following.keys.is_empty();
        let fetched = self.source.fetch(release, incoming, signed, &self.progress).await?;
        if fetched.bytes == Bytes::Altered {
            forget(incoming);
            let said = "the download is damaged: its checksum differs from the store's";
            return Err(Fault::retry(format!("fetching {}", release.key), said));
        }
        Ok(fetched)
    }

    async fn judged(&self, incoming: &std::path::Path, fetched: &Fetched) -> Result<Judged, Fault> {
        let path = incoming.to_owned();
        let signature = fetched.signature.clone();
        let demands = self.demands();
        let judged =
            blocking("judging the package", move || gate::judge(&path, signature.as_deref(), &demands)).await?;
        judged.map_err(|error| Fault::retry("judging the package", error))
    }

    fn demands(&self) -> Demands {
        Demands { keys: self.following.keys.clone(), applications: self.following.applications }
    }

    fn verdict_of(&self, fetched: &Fetched, judged: Judged) -> Verdict {
        let release = &fetched.release;
        let by = self.judge_by();
        let at = clock::now();
        let refused = |reasons: &[String]| Verdict::on(release, VerdictOutcome::Refused, &by, at, reasons);
        match judged {
            Judged::Good => Verdict::on(release, VerdictOutcome::Good, &by, at, &[]),
            Judged::Bad(reasons) | Judged::NotHere(reasons) => refused(&reasons),
            Judged::Unsigned(reason) => {
                refused(&[reason]).on_signature(Signed::of(fetched.signature.as_deref(), &self.following.keys))
            }
        }
    }

    /// The verdict, unless it is about another signature than the package has by now, or about other keys than ours.
    async fn that_holds(&mut self, release: &Release, verdict: Option<Verdict>) -> Result<Option<Verdict>, Fault> {
        let Some(signed) = verdict.as_ref().and_then(|verdict| verdict.signed.clone()) else { return Ok(verdict) };
        let signature = self.source.signature_of(release).await?;
        Ok(verdict.filter(|_| Signed::of(signature.as_deref(), &self.following.keys) == *signed))
    }

    /// Fetches a bad package once more where the store says nothing of its bytes: what differs was altered on the way.
    async fn fetch_the_same(&mut self, incoming: &std::path::Path, fetched: &Fetched) -> Result<(), Fault> {
        let sum = |path: PathBuf| async move {
            let sum = blocking("comparing checksums", move || sha256(&path)).await?;
            sum.map_err(|error| Fault::retry("reading the package", error))
        };
        let first = sum(incoming.to_owned()).await?;
        forget(incoming);
        let again = self.fetch_into(incoming, &fetched.release).await?;
        if sum(incoming.to_owned()).await? == first && !again.resumed {
            return Ok(());
        }
        forget(incoming);
        let said = "each download differed from the one before, and the store has no checksum of it";
        Err(Fault::retry(format!("fetching {}", fetched.release.key), said))
    }

    /// Serves the package that lies in `incoming`.
    async fn take(&mut self, incoming: PathBuf, release: Release) -> Result<(), Fault> {
        let path = self.package_cache.add(incoming, release.clone()).await?;
        let site = blocking("opening the package", move || Site::open(&path, &PackageLimits::default())).await?;
        let mut site = site.map_err(|reason| Fault::retry("opening the package", reason))?;
        if let Some(before) = &self.held {
            site = site.after(&before.site, self.following.skew);
        }
        let package = self.on_trial(Package::of(release.clone(), site));
        self.unnoted =
            !is_noted_at_once(package.trial.outcome().standing(), self.package_cache.keeps_another(&release));
        if !self.unnoted {
            let noted = self.package_cache.note_last_good(release.clone()).await;
            // What cannot be noted is not kept either: it would take the room that the next try needs.
            noted.inspect_err(|_| self.package_cache.forget(&release))?;
        }
        self.refusals.lift(&release);
        self.held = Some(package);
        self.source.fetched();
        self.remember_to_tell();
        Ok(())
    }

    /// The package, on trial if its process runs here.
    fn on_trial(&self, package: Package) -> Package {
        if !self.following.processes {
            package.trial.pass();
        }
        package
    }

    /// What the last look has found, with the trial as it stands by now, or as that look found it.
    fn looked_at(&self, trial: Option<&TrialOutcome>) -> LookedAt {
        let newest = self.newest.as_ref();
        let held = self.held.as_ref().map(|held| HeldPackage {
            is_newest: newest.is_some_and(|(newest, _)| held.release.is(newest)),
            trial: trial.map_or_else(|| held.trial.outcome().standing(), TrialOutcome::standing),
            unnoted: self.unnoted,
        });
        let newest = newest.map(|(newest, verdict)| NewestStanding {
            condemned: self.condemned(newest, verdict.as_ref()).is_some(),
            found_good: verdict.as_ref().is_some_and(Verdict::is_good) || self.source.has_verdict_on(newest),
        });
        LookedAt { held, newest }
    }

    /// What takes the place of the newest package, whose process is not well here, where no other serves visitors: the newest of those that
    /// hosts have found good.
    async fn instead_of_failed(&mut self, newest: &Release, why: String) -> Result<Option<Release>, Fault> {
        let refused =
            Verdict::on(newest, VerdictOutcome::Refused, &self.judge_by(), clock::now(), std::slice::from_ref(&why));
        let verdicts = self.refusals.verdicts(Instant::now()).into_iter().chain([refused.clone()]).collect();
        let instead = self.source.found_good(newest, verdicts).await?;
        if let Some(instead) = &instead {
            tracing::warn!(
                key = newest.key,
                etag = newest.etag,
                why,
                "an older version takes its place: {}",
                instead.key
            );
            let remedy = "publish a version whose process starts (an older version, which was found good, is served)";
            let fault = Fault::operator(format!("running the application of {}", newest.key), why, remedy);
            self.refusals.add_failed(newest.clone(), fault, refused, Instant::now());
        }
        Ok(instead)
    }

    async fn refuse(&mut self, release: Release, verdict: Verdict) {
        let reasons = &verdict.reasons;
        let remedy = format!("fix the site and publish it again{}", self.meanwhile());
        let fault = Fault::operator(format!("verifying {}", release.key), reasons.join("; "), remedy);
        tracing::warn!(key = release.key, etag = release.etag, ?reasons, "the package is refused");
        self.refusals.add(release, fault, verdict.clone(), Instant::now());
        self.tell(verdict).await;
    }

    /// Does not take a package that other hosts may take: the verdict is this host's own, and not told.
    fn decline(&mut self, release: Release, verdict: Verdict) {
        let reasons = &verdict.reasons;
        let remedy = format!(
            "publish a package that this host can serve, or change the host: its configuration, or its version{}",
            self.meanwhile()
        );
        let fault = Fault::operator(format!("verifying {}", release.key), reasons.join("; "), remedy);
        tracing::warn!(key = release.key, etag = release.etag, ?reasons, "this host does not take the package");
        self.refusals.add_for_good(release, fault, verdict);
    }

    /// Leaves a verdict beside its package. Nothing depends on it here: what stands in the way is noted, and tried again
    /// if time may cure it.
    async fn tell(&mut self, verdict: Verdict) {
        match self.source.tell(&verdict).await {
            Ok(()) => {
                tracing::info!(key = verdict.key, etag = verdict.etag, %verdict, "verdict published");
                self.told(verdict);
            }
            Err(fault) if fault.cure == Cure::Operator => {
                tracing::warn!(%fault, "the verdict on the package is not published to other hosts");
                self.note(format!("no verdict was written beside {}: {fault}", verdict.key));
                self.pending_verdicts.done(&verdict.etag);
            }
            Err(fault) => {
                tracing::info!(%fault, "a verdict is published later");
                self.pending_verdicts.later(verdict, Instant::now() + TELL_AGAIN);
            }
        }
    }

    fn told(&mut self, verdict: Verdict) {
        self.pending_verdicts.done(&verdict.etag);
        let Some((newest, None)) = &self.newest else { return };
        if newest.etag == verdict.etag && self.source.verdict_key(newest).is_some() {
            self.newest = Some((newest.clone(), Some(verdict)));
        }
    }

    fn note(&mut self, note: String) {
        if let Some(held) = &mut self.held {
            held.notes = vec![note];
        }
    }
}

impl Keeper for Packages {
    type Observation = PackageObservation;
    type Drift = PackageDrift;
    type Held = Package;
    const PART: Part = Part::Package;

    fn pace(&self) -> Pace {
        Pace {
            look: self.following.look,
            observe: Duration::from_secs(30),
            converge: Duration::from_secs(3600),
            // Without any site every second counts; with one, less than once a minute is enough for an S3 that is down.
            longest_pause: if self.held.is_some() { Duration::from_secs(75) } else { Duration::from_millis(1_500) },
        }
    }

    fn lacks(&self) -> Option<String> {
        self.source.lacks()
    }

    async fn woken(&mut self) {
        self.pending_verdicts.runs = true;
        let tried = async {
            match (&self.held, &self.trial) {
                (Some(held), Some(seen)) => held.trial.changed(seen).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.source.woken() => {}
            () = self.pending_verdicts.rings() => {}
            () = tried => {}
        }
    }

    async fn remembered(&mut self) -> Option<Package> {
        let remembered = self.package_cache.last_good().await;
        // The host may have another configuration by now, or be of another machine.
        self.held = remembered.filter(|package| match gate::of_host(&package.site, &self.demands()) {
            Some(objection) => {
                tracing::warn!(key = package.release.key, %objection, "the last good package is not served");
                false
            }
            None => true,
        });
        self.held = self.held.take().map(|package| self.on_trial(package));
        self.held.clone()
    }

    async fn observe(&mut self) -> Result<PackageObservation, Fault> {
        if let Some(held) = &self.held {
            held.site.forget_expired();
        }
        self.pending_verdicts.rests = std::mem::take(&mut self.pending_verdicts.corrected);
        let known = self.known().cloned();
        match (self.source.look(known.as_ref()).await?, known) {
            (NewestPackage::None(fault), _) => return Ok(PackageObservation { none: Some(fault), instead: None }),
            (NewestPackage::Newest(release, verdict), _) => {
                let verdict = self.that_holds(&release, verdict).await?;
                let was_refused = |(was, verdict): &(Release, Option<Verdict>)| {
                    was.is(&release) && verdict.as_ref().is_some_and(Verdict::refuses)
                };
                // The verdict is deleted, or about another signature: the package is to be tried again at once, here too, and
                // what comes of it is to be told.
                if verdict.is_none() && self.newest.as_ref().is_some_and(was_refused) {
                    self.refusals.lift(&release);
                    self.pending_verdicts.forget(&release.etag);
                }
                self.newest = Some((release, verdict));
            }
            (NewestPackage::Same, Some(known)) if self.newest.is_none() => self.newest = Some((known, None)),
            (NewestPackage::Same, _) => {}
        }
        if let (Some(left_out), Some(held)) = (self.source.left_out(), &mut self.held) {
            held.notes = left_out.to_vec();
        }
        self.remember_to_tell();
        self.trial = self.held.as_ref().map(|held| held.trial.outcome());
        let Some((newest, _)) = self.newest.clone() else {
            return Ok(PackageObservation { none: None, instead: None });
        };
        let instead = match (self.looked_at(self.trial.as_ref()).search(), &self.trial) {
            (Some(Search::Unrefused), _) => {
                self.source.instead(&newest, self.refusals.verdicts(Instant::now())).await?
            }
            (Some(Search::FoundGood), Some(TrialOutcome::Failed(why))) => {
                let why = why.clone();
                self.instead_of_failed(&newest, why).await?
            }
            _ => None,
        };
        Ok(PackageObservation { none: None, instead })
    }

    fn judge(&self, seen: PackageObservation) -> Judgement<Package, PackageDrift> {
        let despite = |fault| match self.held.clone() {
            Some(held) => Judgement::KeptDespite { held, fault },
            None => Judgement::Refused(fault),
        };
        let call = self.looked_at(None).call(
            self.pending_verdicts.next().is_some(),
            seen.none.is_some(),
            seen.instead.is_some(),
        );
        let drifted = |drift| Judgement::Drifted { drift, meanwhile: self.held.clone() };
        let waits = || Judgement::Waits("a package".to_owned());
        let newest = self.newest.as_ref();
        match call {
            PackageCall::Keep => {
                self.held.as_ref().map_or_else(waits, |held| drifted(PackageDrift::Keep(held.release.clone())))
            }
            PackageCall::Tell => {
                self.pending_verdicts.next().map_or_else(waits, |verdict| drifted(PackageDrift::Tell(verdict.clone())))
            }
            PackageCall::Despite => seen.none.map_or_else(waits, despite),
            PackageCall::Wait => waits(),
            PackageCall::Hold => self.held.clone().map_or_else(waits, Judgement::Kept),
            PackageCall::FetchInstead => {
                seen.instead.map_or_else(waits, |instead| drifted(PackageDrift::Fetch(instead)))
            }
            PackageCall::Condemned => newest
                .and_then(|(newest, verdict)| self.condemned(newest, verdict.as_ref()))
                .map_or_else(waits, despite),
            PackageCall::FetchNewest => {
                newest.map_or_else(waits, |(newest, _)| drifted(PackageDrift::Fetch(newest.clone())))
            }
        }
    }

    async fn converge(&mut self, drift: PackageDrift) -> Result<(), Fault> {
        match drift {
            // Where it is refused, the look that follows says so, and goes on at its usual pace: the next release may be
            // a good one.
            PackageDrift::Fetch(release) => self.fetch(&release).await?,
            PackageDrift::Keep(release) => {
                self.package_cache.note_last_good(release).await?;
                self.unnoted = false;
                self.remember_to_tell();
            }
            PackageDrift::Tell(_) => {
                // Each is told, or put off.
                while let Some(verdict) = self.pending_verdicts.next().cloned() {
                    self.tell(verdict).await;
                }
            }
        }
        self.pending_verdicts.corrected = true;
        Ok(())
    }

    fn progress(&self) -> Option<Kept<String>> {
        Some(self.progress.watch())
    }

    fn holding(held: &Package) -> String {
        let release = &held.release;
        let files = held.site.files();
        let size = release.length as f64 / 1e6;
        let plural = if files == 1 { "" } else { "s" };
        let named = release.named.as_deref().map(|named| format!("{named}, ")).unwrap_or_default();
        format!("{} ({named}{files} file{plural}, {size:.1} MB, {})", release.key, release.etag.trim_matches('"'))
    }

    fn drifting(drift: &PackageDrift) -> String {
        match drift {
            PackageDrift::Fetch(release) => format!("fetching {} of {}", release.key, moment(release.modified)),
            PackageDrift::Keep(release) => format!("keeping {} as the last good package", release.key),
            PackageDrift::Tell(verdict) => format!("publishing the verdict: {} is {}", verdict.key, verdict),
        }
    }

    fn notes(held: &Package) -> Vec<String> {
        // A rule for another host is not wrong; its publisher was told.
        let faults = held.site.notes().iter().filter(|note| note.host.is_none());
        held.notes.iter().cloned().chain(faults.map(ToString::to_string)).collect()
    }
}

/// The file there is not as it should be: no download resumes it.
fn forget(incoming: &std::path::Path) {
    for path in [note_of(incoming), incoming.to_owned()] {
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a part of a package was not removed from disk");
        }
    }
}

async fn blocking<T: Send + 'static>(doing: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::retry(doing, error))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::sync::watch;

    use super::*;
    use crate::{
        fault::Cure,
        keeper::{Yield, keep, yields},
        place::PackagePlace,
        status::{Board, PartPhase},
    };

    /// A site on disk, as a folder or zip that a test writes to.
    struct OnDisk {
        folder: tempfile::TempDir,
    }

    impl OnDisk {
        fn new() -> OnDisk {
            let folder = tempfile::tempdir().expect("a temporary folder");
            OnDisk { folder }
        }

        fn zip(&self) -> PathBuf {
            self.folder.path().join("site.zip")
        }

        fn publish(&self, text: &str) {
            self.publish_with(text, "");
        }

        fn publish_with(&self, text: &str, settings: &str) {
            let site = tempfile::tempdir().expect("a temporary folder");
            fs::write(site.path().join("index.html"), text).expect("written");
            fs::write(site.path().join("site.toml"), settings).expect("written");
            let beside = self.folder.path().join("new.zip");
            pack::pack(site.path(), fs::File::create(&beside).expect("made")).expect("packed");
            fs::rename(beside, self.zip()).expect("renamed");
        }

        fn keeper(&self, path: &Path) -> Packages {
            let source = Source::new(PackagePlace::Disk(path.into()), watch::channel(None).1);
            let package_cache = PackageCache::new(self.folder.path().join("shelf"), path.display().to_string());
            let following = Following {
                look: Duration::from_secs(1),
                skew: Duration::from_secs(60),
                keys: Vec::new(),
                applications: true,
                processes: true,
            };
            Packages::new(source, package_cache, following, None)
        }
    }

    /// One round as the runner makes it: look, correct what drifts, and look again.
    async fn round(packages: &mut Packages) -> Result<Judgement<Package, PackageDrift>, Fault> {
        let seen = packages.observe().await?;
        match packages.judge(seen) {
            Judgement::Drifted { drift, .. } => {
                packages.converge(drift).await?;
                let seen = packages.observe().await?;
                Ok(packages.judge(seen))
            }
            judgement => Ok(judgement),
        }
    }

    #[tokio::test]
    async fn broken_package_is_refused_once_and_the_site_before_it_stays() {
        let disk = OnDisk::new();
        disk.publish("one");
        let mut packages = disk.keeper(&disk.zip());
        round(&mut packages).await.expect("fetched");
        let one = packages.held.clone().expect("held");
        fs::write(disk.zip(), "<html>no zip at all</html>").expect("written");
        let judgement = round(&mut packages).await.expect("looked at");
        assert!(matches!(judgement, Judgement::KeptDespite { fault, .. } if fault.cure == Cure::Operator));
        assert!(packages.held.as_ref() == Some(&one), "the site before it stays");
        let seen = packages.observe().await.expect("looked at");
        assert!(matches!(packages.judge(seen), Judgement::KeptDespite { .. }), "and it is not fetched again");
        disk.publish("two");
        round(&mut packages).await.expect("fetched");
        assert!(packages.held.as_ref() != Some(&one), "a good one is taken at once");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_package_is_fetched_again_after_a_while_and_no_sooner() {
        let disk = OnDisk::new();
        fs::write(disk.zip(), "no zip").expect("written");
        let mut packages = disk.keeper(&disk.zip());
        let mut refused_at = async || {
            assert!(matches!(round(&mut packages).await, Ok(Judgement::Refused(_))));
            packages.refusals.verdicts(Instant::now())[0].at
        };
        let first = refused_at().await;
        tokio::time::advance(refusals::REFUSED_FOR - Duration::from_secs(1)).await;
        assert_eq!(refused_at().await, first);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(refused_at().await > first, "it was fetched and refused again");
    }

    #[tokio::test(start_paused = true)]
    async fn package_for_another_version_is_not_taken_nor_fetched_again_and_the_site_stays() {
        let disk = OnDisk::new();
        disk.publish("one");
        let mut packages = disk.keeper(&disk.zip());
        round(&mut packages).await.expect("fetched");
        let one = packages.held.clone();
        disk.publish_with("two", "[app]\nof_a_later_version = true\n");
        for hours in [0, 1, 100] {
            tokio::time::advance(Duration::from_secs(hours * 3600)).await;
            let Ok(Judgement::KeptDespite { fault, .. }) = round(&mut packages).await else { panic!("it is taken") };
            assert!(fault.to_string().contains("unknown field `of_a_later_version`"), "{fault}");
            assert!(packages.held == one, "the site before it stays");
            assert_eq!(packages.refusals.verdicts(Instant::now()).len(), 1);
            assert!(packages.pending_verdicts.due.iter().all(|(verdict, _)| verdict.is_good()), "no refusal is told");
        }
        disk.publish("three");
        round(&mut packages).await.expect("fetched");
        assert!(packages.held != one, "one without it is taken at once");
    }

    #[tokio::test]
    async fn disk_that_cannot_be_written_leaves_the_site_and_heals() {
        let disk = OnDisk::new();
        disk.publish("one");
        let mut packages = disk.keeper(&disk.zip());
        round(&mut packages).await.expect("fetched");
        let one = packages.held.clone().expect("held");
        disk.publish("two");
        let incoming = disk.folder.path().join("shelf/incoming.zip");
        fs::create_dir(&incoming).expect("made");
        let fault = round(&mut packages).await.err().expect("it cannot be written");
        assert_eq!(fault.cure, Cure::Retry);
        assert!(packages.held.as_ref() == Some(&one), "the site stays");
        let again = disk.keeper(&disk.zip()).remembered().await.expect("so does the last good package");
        assert_eq!(again.release, one.release);
        fs::remove_dir(&incoming).expect("removed");
        round(&mut packages).await.expect("fetched");
        assert!(packages.held.as_ref() != Some(&one), "the new one is taken when there is room");
    }

    #[tokio::test]
    async fn restarted_host_remembers_the_last_good_package_without_its_source() {
        let disk = OnDisk::new();
        disk.publish("one");
        round(&mut disk.keeper(&disk.zip())).await.expect("fetched");
        fs::remove_file(disk.zip()).expect("removed");
        let mut again = disk.keeper(&disk.zip());
        let remembered = again.remembered().await.expect("remembered");
        assert_eq!(remembered.site.files(), 1);
        assert!(round(&mut again).await.is_err(), "the source is gone, which is said");
        assert!(again.held.as_ref() == Some(&remembered));
    }

    #[tokio::test]
    async fn run_of_the_keeper_swaps_a_changed_folder_in() {
        let disk = OnDisk::new();
        let site = disk.folder.path().join("site");
        fs::create_dir(&site).expect("made");
        fs::write(site.join("index.html"), "one").expect("written");
        let board = Board::new("www.example.org");
        let (yields, Yield { held: mut kept, .. }) = yields();
        let (_depart, departing) = watch::channel(None);
        let place = board.place(Part::Package, &[]);
        tokio::spawn(keep(disk.keeper(&site), place, yields, departing));
        let first = kept.wait_for(Option::is_some).await.expect("a package").clone().expect("some");
        fs::write(site.join("about.html"), "two").expect("written");
        let second = kept.wait_for(|now| now.as_ref() != Some(&first)).await.expect("another").clone().expect("some");
        assert_eq!((first.site.files(), second.site.files()), (1, 2));
        assert_eq!(board.watch().borrow().parts[0].phase, PartPhase::Kept);
    }
}
