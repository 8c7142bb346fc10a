//! The keeper against a bucket in memory: whole days of it, and a thousand objects replaced under its hands.

use std::{
    collections::HashMap,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::{
    aws::memory::{BUCKET, Memory},
    documents::Document as _,
    keeper::{Yield, keep, yields},
    place::{PackagePlace, S3Prefix},
    status::{Board, PartPhase},
};

const LATEST: &str = "www/site-latest.zip";
const DAY: u32 = 24 * 60;

/// A bucket, and the disk of a host that follows it.
struct Followed {
    bucket: Memory,
    disk: tempfile::TempDir,
}

/// A keeper that runs.
struct Running {
    board: Board,
    kept: Kept<Package>,
    _depart: watch::Sender<Option<crate::status::Shutdown>>,
}

impl Followed {
    fn new() -> Followed {
        Followed { bucket: Memory::default(), disk: tempfile::tempdir().expect("a temporary folder") }
    }

    async fn keeper(&self) -> Packages {
        self.keeper_that_looks(Duration::from_secs(10)).await
    }

    async fn keeper_that_looks(&self, look: Duration) -> Packages {
        let place = S3Prefix { bucket: BUCKET.to_owned(), prefix: "www/".to_owned() };
        let source = Source::new(PackagePlace::Bucket(place), watch::channel(Some(self.bucket.aws().await)).1);
        let package_cache = PackageCache::new(self.package_cache(), "www".to_owned());
        let following =
            Following { look, skew: Duration::from_secs(60), keys: Vec::new(), applications: true, processes: true };
        Packages::new(source, package_cache, following, None)
    }

    async fn run(&self) -> Running {
        self.run_looking(Duration::from_secs(10)).await
    }

    async fn run_looking(&self, look: Duration) -> Running {
        let board = Board::new("www.example.org");
        let (yields, Yield { held: kept, .. }) = yields();
        let (depart, departing) = watch::channel(None);
        let place = board.place(Part::Package, &[]);
        tokio::spawn(keep(self.keeper_that_looks(look).await, place, yields, departing));
        Running { board, kept, _depart: depart }
    }

    fn package_cache(&self) -> PathBuf {
        self.disk.path().join("package")
    }

    /// The one package that is kept on the disk.
    fn on_disk(&self) -> Vec<u8> {
        let entries =
            std::fs::read_dir(self.package_cache()).expect("a shelf").map(|entry| entry.expect("an entry").path());
        let zips: Vec<_> = entries
            .filter(|path| path.extension().is_some_and(|end| end == "zip") && !path.ends_with("incoming.zip"))
            .collect();
        assert_eq!(zips.len(), 1, "{zips:?}");
        std::fs::read(&zips[0]).expect("readable")
    }
}

impl Running {
    async fn next(&mut self) -> Package {
        self.kept.wait_for(Option::is_some).await.expect("a package").clone().expect("some")
    }

    fn phase(&self) -> PartPhase {
        self.board.watch().borrow().parts[0].phase
    }
}

/// A package of some parts, whose files carry that version.
fn version(number: usize) -> Bytes {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default();
    let stored = stored.compression_method(zip::CompressionMethod::Stored).last_modified_time(zip::DateTime::default());
    for page in ["index.html", "about.html", "more.html"] {
        zip.start_file(page, stored).expect("begun");
        zip.write_all(format!("version {number:06}\n").repeat(1_500).as_bytes()).expect("written");
    }
    zip.finish().expect("a zip").into_inner().into()
}

#[tokio::test(start_paused = true)]
async fn store_that_is_down_for_a_day_is_asked_no_more_than_once_a_minute_and_the_site_stays() {
    let followed = Followed::new();
    followed.bucket.put(LATEST, version(1), 1);
    let mut running = followed.run().await;
    let first = running.next().await;
    sleep(Duration::from_secs(600)).await;
    running.kept.borrow_and_update();

    followed.bucket.set_down(true);
    let begun = Instant::now();
    followed.bucket.put(LATEST, version(2), 2);
    sleep(Duration::from_secs(60) * DAY).await;
    assert!(!running.kept.has_changed().expect("it runs") && running.kept.borrow().as_ref() == Some(&first));
    let calls: Vec<_> = followed.bucket.calls("").into_iter().filter(|at| *at > begun).collect();
    assert!((DAY as usize / 2..=DAY as usize).contains(&calls.len()), "{} calls in a day", calls.len());
    // It asks sooner at first: most of what goes wrong is over in a moment.
    let settled = calls.windows(2).filter(|pair| pair[0] > begun + Duration::from_secs(180));
    let closest = settled.map(|pair| pair[1] - pair[0]).min().expect("calls");
    assert!(closest >= Duration::from_secs(60), "{closest:?}");
    assert_eq!(running.phase(), PartPhase::Degraded);

    followed.bucket.set_down(false);
    let back = Instant::now();
    running.kept.changed().await.expect("it runs");
    assert!(back.elapsed() <= Duration::from_secs(91), "{:?}", back.elapsed());
    assert!(followed.on_disk() == version(2));
}

/// What hosts have said of that body, if anything.
fn verdict_on(bucket: &Memory, body: &Bytes) -> Option<VerdictOutcome> {
    let key = format!("www/.spothost/verdicts/{:08x}{:08x}-1.json", crc32fast::hash(body), body.len());
    bucket.body(&key).and_then(|text| Verdict::read(&text).ok()).map(|verdict| verdict.verdict)
}

#[tokio::test(start_paused = true)]
async fn every_package_that_was_served_is_called_good_however_soon_a_bad_one_follows() {
    for (case, after) in [0, 300, 900, 2_000].into_iter().enumerate() {
        // Where the verdict cannot be written at once, it is told a minute later, whatever came in between.
        for hinders in [false, true] {
            let followed = Followed::new();
            let mut running = followed.run_looking(Duration::from_millis(500)).await;
            let good = version(case);
            let bad = Bytes::from(format!("<html>no zip {case}</html>"));
            followed.bucket.put(LATEST, good.clone(), 1);
            running.next().await;
            followed.bucket.set_down(hinders);
            sleep(Duration::from_millis(after)).await;
            followed.bucket.put(LATEST, bad.clone(), 1);
            sleep(Duration::from_millis(1_200)).await;
            followed.bucket.set_down(false);
            sleep(Duration::from_secs(150)).await;
            let said = [&good, &bad].map(|body| verdict_on(&followed.bucket, body));
            assert_eq!(
                said,
                [Some(VerdictOutcome::Good), Some(VerdictOutcome::Refused)],
                "{after} ms, hindered: {hinders}"
            );
            assert!(followed.on_disk() == good);
        }
    }
}

/// A package with a process, whose files carry that version.
fn with_process(number: usize) -> Bytes {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let program = SimpleFileOptions::default().unix_permissions(0o755);
    for (name, text) in [("index.html", number.to_string()), (".app/server", "#!/bin/sh\n".to_owned())] {
        zip.start_file(name, program).expect("begun");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.start_file("site.toml", program).expect("begun");
    zip.write_all(b"[app]\nrun = './server'\n").expect("written");
    zip.finish().expect("a zip").into_inner().into()
}

#[tokio::test(start_paused = true)]
async fn package_with_a_process_is_neither_good_nor_the_last_good_one_before_that_was_well() {
    let followed = Followed::new();
    let mut running = followed.run().await;
    let bodies: Vec<_> = (0..4).map(with_process).collect();
    let said = |number: usize| verdict_on(&followed.bucket, &bodies[number]);
    // What a program that is started now would serve, and how many packages lie on the disk.
    let kept = async || {
        let cache = PackageCache::new(followed.package_cache(), "www".to_owned());
        let remembered = cache.last_good().await.expect("a last good package");
        let zips = std::fs::read_dir(followed.package_cache()).expect("a folder").count() - 1;
        (remembered.release.etag, zips)
    };
    let published = |number: usize| followed.bucket.put(LATEST, bodies[number].clone(), number as i64);
    let minutes = |minutes| sleep(Duration::from_secs(60) * minutes);

    // The first one is kept at once, since there is nothing else to begin with.
    published(0);
    let first = running.next().await;
    minutes(10).await;
    assert_eq!((kept().await, said(0)), ((first.release.etag.clone(), 1), None));
    first.trial.pass();
    minutes(1).await;
    assert_eq!(said(0), Some(VerdictOutcome::Good));

    // Two whose processes are not well follow: the first one stays.
    for number in [1, 2] {
        published(number);
        running.kept.changed().await.expect("it runs");
        minutes(10).await;
        assert_eq!((kept().await, said(number)), ((first.release.etag.clone(), 2), None));
        assert!(
            running.kept.borrow().as_ref().is_some_and(|held| held.release.modified.unix_timestamp() == number as i64)
        );
    }
    // A program that is started now begins with the first one, and fetches the newest again.
    let mut again = followed.run().await;
    assert_eq!(again.next().await.release, first.release);
    let newest = again.kept.wait_for(|held| held.as_ref().is_some_and(|held| held.release != first.release)).await;
    let newest = newest.expect("it runs").clone().expect("a package");
    drop(running);
    newest.trial.pass();
    minutes(1).await;
    assert_eq!((kept().await, said(2), said(1)), ((newest.release.etag.clone(), 1), Some(VerdictOutcome::Good), None));

    // Where a disk refuses the note, it is written later; the site is not touched meanwhile.
    published(3);
    again.kept.changed().await.expect("it runs");
    let third = again.next().await;
    let note = followed.package_cache().join(crate::documents::layout::LAST_GOOD);
    let before = std::fs::read(&note).expect("a note");
    std::fs::remove_file(&note).and_then(|()| std::fs::create_dir(&note)).expect("hindered");
    third.trial.pass();
    minutes(1).await;
    assert_eq!(said(3), None, "what is told is kept");
    std::fs::remove_dir(&note).and_then(|()| std::fs::write(&note, before)).expect("let go");
    minutes(3).await;
    assert_eq!((kept().await, said(3)), ((third.release.etag.clone(), 1), Some(VerdictOutcome::Good)));
}

#[tokio::test(start_paused = true)]
async fn new_host_takes_the_last_version_that_was_good_where_the_process_of_the_newest_is_not_well() {
    let hour = Duration::from_secs(3600);
    for was_good in [false, true] {
        let before = Followed::new();
        let bodies: Vec<_> = (0..2).map(with_process).collect();
        for (number, body) in bodies.iter().enumerate() {
            before.bucket.put(&format!("www/site-{number}.zip"), body.clone(), number as i64);
        }
        // An earlier host found the first one good, and perhaps the second one, too.
        let earlier = before.run().await;
        for (number, body) in bodies.iter().enumerate().take(1 + usize::from(was_good)) {
            before.bucket.put(LATEST, body.clone(), number as i64);
            sleep(Duration::from_secs(90)).await;
            earlier.kept.borrow().as_ref().expect("a package").trial.pass();
            sleep(Duration::from_secs(90)).await;
            assert_eq!(verdict_on(&before.bucket, body), Some(VerdictOutcome::Good));
        }
        drop(earlier);
        before.bucket.put(LATEST, bodies[1].clone(), 1);

        let new = Followed { bucket: before.bucket.clone(), disk: tempfile::tempdir().expect("a temporary folder") };
        let mut running = new.run().await;
        let newest = running.next().await;
        assert_eq!(newest.release.key, LATEST);
        // As long as nothing is known nothing is changed.
        sleep(hour).await;
        assert!(running.kept.borrow_and_update().as_ref() == Some(&newest));
        newest.trial.fail("it does not answer");
        sleep(Duration::from_secs(60)).await;
        let taken = running.kept.borrow_and_update().clone().expect("a package");
        if was_good {
            assert!(taken == newest, "what was good somewhere is not given up");
            continue;
        }
        assert_eq!(taken.release.key, "www/site-0.zip");
        let status = running.board.watch().borrow().parts[0].clone();
        let fault = status.fault.expect("it is told");
        assert!(fault.said.contains("it does not answer"), "{fault:?}");
        assert_eq!(verdict_on(&new.bucket, &bodies[1]), None, "others try it themselves");
        // It is tried again in an hour, beside the one that is well.
        taken.trial.pass();
        sleep(hour - Duration::from_secs(120)).await;
        assert!(running.kept.borrow().as_ref() == Some(&taken));
        sleep(Duration::from_secs(240)).await;
        assert_eq!(running.kept.borrow().as_ref().map(|held| held.release.key.as_str()), Some(LATEST));
        let cache = PackageCache::new(new.package_cache(), "www".to_owned());
        assert_eq!(cache.last_good().await.map(|package| package.release), Some(taken.release));
    }
}

#[tokio::test(start_paused = true)]
async fn package_that_only_other_hosts_may_take_leaves_no_verdict_and_the_site_before_stays() {
    let followed = Followed::new();
    let good = version(1);
    let later = with_settings("[app]\nof_a_later_version = true\n");
    followed.bucket.put(LATEST, good.clone(), 1);
    let mut running = followed.run().await;
    let first = running.next().await;
    let fetched = || followed.bucket.calls("GET www/site-latest").len();
    let before = fetched();
    followed.bucket.put(LATEST, later.clone(), 1);
    sleep(Duration::from_secs(60) * DAY).await;
    assert!(fetched() - before <= 2, "{} times in a day", fetched() - before);
    assert_eq!([&good, &later].map(|body| verdict_on(&followed.bucket, body)), [Some(VerdictOutcome::Good), None]);
    assert!(running.kept.borrow().as_ref() == Some(&first) && followed.on_disk() == good);
    assert_eq!(running.phase(), PartPhase::Degraded, "it is told here");
}

/// A package with that `site.toml`.
fn with_settings(settings: &str) -> Bytes {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("index.html", "home"), ("site.toml", settings)] {
        zip.start_file(name, SimpleFileOptions::default()).expect("begun");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("a zip").into_inner().into()
}

#[tokio::test(start_paused = true)]
async fn verdict_that_is_due_while_the_store_is_down_wakes_the_keeper_once() {
    let followed = Followed::new();
    followed.bucket.put(LATEST, version(1), 1);
    let mut running = followed.run().await;
    running.next().await;
    followed.bucket.set_down(true);
    let before = followed.bucket.calls("").len();
    sleep(Duration::from_secs(3_600)).await;
    let calls = followed.bucket.calls("").len() - before;
    assert!(calls < 100, "{calls} calls in an hour");
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_hidden_are_gone_and_a_permission_that_is_missing_is_told_soon() {
    let followed = Followed::new();
    followed.bucket.put(LATEST, version(1), 1);
    let mut running = followed.run().await;
    running.next().await;
    running.kept.borrow_and_update();
    sleep(Duration::from_secs(90)).await;
    // Renamed: the look that finds it gone lists at once.
    followed.bucket.delete(LATEST);
    followed.bucket.put("www/other-latest.zip", version(2), 2);
    let renamed = Instant::now();
    running.kept.changed().await.expect("it runs");
    assert!(renamed.elapsed() <= Duration::from_secs(13), "{:?}", renamed.elapsed());
    // Denied: what is listed and cannot be read is a matter for a person, and is told within a few looks.
    followed.bucket.set_unreadable(true);
    let denied = Instant::now();
    let mut board = running.board.watch();
    let fault =
        board.wait_for(|status| status.parts[0].fault.as_ref().is_some_and(|fault| fault.remedy.is_some())).await;
    drop(fault.expect("it runs"));
    assert!(denied.elapsed() <= Duration::from_secs(60), "{:?}", denied.elapsed());
    followed.bucket.set_unreadable(false);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(running.phase(), PartPhase::Kept);
}

#[tokio::test(start_paused = true)]
async fn package_that_appears_is_found_within_one_look() {
    let followed = Followed::new();
    followed.bucket.put("www/site-7.zip", version(7), 1);
    let mut running = followed.run().await;
    for (number, absent) in [3, 200, 5_000].into_iter().enumerate() {
        sleep(Duration::from_millis(absent * 1_000 + 321)).await;
        assert_eq!(running.kept.borrow_and_update().is_some(), number > 0, "the last good one stays, if there is one");
        let key = format!("www/{number}-latest.zip");
        let appeared = Instant::now();
        followed.bucket.put(&key, version(number), 10 + number as i64);
        running.kept.changed().await.expect("it runs");
        // Looks are spread by a fifth.
        assert!(appeared.elapsed() <= Duration::from_secs(12), "{absent}: {:?}", appeared.elapsed());
        assert!(followed.on_disk() == version(number));
        followed.bucket.delete(&key);
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_latest_objects_one_is_taken_for_good_and_that_is_said_once() {
    let followed = Followed::new();
    for (number, key) in ["www/b-latest.zip", "www/a-latest.zip", "www/c-latest"].into_iter().enumerate() {
        followed.bucket.put(key, version(number), 5);
    }
    followed.bucket.shuffle();
    let said = Arc::new(Mutex::new(Vec::new()));
    let writer = Said(said.clone());
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut running = followed.run().await;
    assert_eq!(running.next().await.release.key, "www/c-latest");
    running.kept.borrow_and_update();
    sleep(Duration::from_secs(6 * 3600)).await;
    assert!(!running.kept.has_changed().expect("it runs"), "it is never swapped for another");
    assert_eq!(followed.bucket.calls("GET www/a-latest").len() + followed.bucket.calls("GET www/b-latest").len(), 0);
    let warned = || String::from_utf8_lossy(&said.lock().expect("unpoisoned")).matches("several objects").count();
    assert!(followed.bucket.calls("GET list-type").len() > 200, "it was listed often");
    assert_eq!(warned(), 1);
    followed.bucket.delete("www/b-latest.zip");
    sleep(Duration::from_secs(300)).await;
    assert_eq!(warned(), 2, "these are other ones");
}

/// What was logged.
#[derive(Clone)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("unpoisoned").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn refused_package_is_fetched_no_more_than_once_in_five_minutes_where_no_verdict_can_be_left() {
    let followed = Followed::new();
    followed.bucket.put(LATEST, version(1), 1);
    let mut running = followed.run().await;
    let first = running.next().await;
    followed.bucket.set_read_only(true);
    followed.bucket.put(LATEST, "<html>no zip</html>", 2);
    let begun = Instant::now();
    sleep(Duration::from_secs(6 * 3600)).await;
    let fetched: Vec<_> =
        followed.bucket.calls(&format!("GET {LATEST}")).into_iter().filter(|at| *at > begun).collect();
    assert!(fetched[0] - begun <= Duration::from_secs(30), "judged {:?} after it was there", fetched[0] - begun);
    // The store says nothing of its bytes: a bad one is fetched a second time at once, to know that it is the store's.
    let rounds: Vec<_> = fetched.chunks(2).map(|round| round[0]).collect();
    assert!((60..=72).contains(&rounds.len()), "{} rounds", rounds.len());
    assert!(rounds.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(300)));
    assert!(running.kept.borrow().as_ref() == Some(&first));
    assert_eq!(running.phase(), PartPhase::Degraded);
}

#[tokio::test(start_paused = true)]
async fn object_that_is_replaced_during_its_download_is_never_mixed() {
    let races = std::env::var("SPOTHOST_RACES").ok().and_then(|races| races.parse().ok()).unwrap_or(100);
    let seed = std::env::var("SPOTHOST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SPOTHOST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let followed = Followed::new();
    let replaced = Arc::new(AtomicUsize::new(0));
    let mut packages = followed.keeper().await;
    let mut published: HashMap<String, Bytes> = HashMap::new();
    let mut number = 0;
    let mut in_the_middle = 0;
    for race in 0..races {
        let mut publish = |bucket: &Memory| {
            number += 1;
            let body = version(number);
            bucket.put(LATEST, body.clone(), number as i64);
            body
        };
        let first = publish(&followed.bucket);
        let second = publish(&Memory::default());
        // The call before which it is replaced: one of the look, the fetch of a part, or one after all of it.
        let left = Arc::new(AtomicUsize::new(random.usize(0..14)));
        let at = number as i64;
        let body = second.clone();
        let count = replaced.clone();
        followed.bucket.meanwhile(move |bucket, _| {
            let before = left.fetch_sub(1, Ordering::Relaxed);
            if before == 0 {
                bucket.put(LATEST, body.clone(), at);
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        for body in [&first, &second] {
            published.insert(sha256_of(body), body.clone());
        }
        let before = followed.bucket.calls(&format!("GET {LATEST}")).len();
        let mut rounds = 0;
        while packages.held.as_ref().is_none_or(|held| held.release.modified.unix_timestamp() != at) {
            rounds += 1;
            assert!(rounds < 20, "race {race}: the newest never comes");
            if let Ok(seen) = packages.observe().await
                && let Judgement::Drifted { drift, .. } = packages.judge(seen)
            {
                let _ = packages.converge(drift).await;
            }
            if packages.held.is_some() {
                assert!(published.contains_key(&sha256_of(&followed.on_disk())), "race {race}: a mixed package");
            }
            tokio::time::advance(Duration::from_secs(61)).await;
        }
        let parts = first.len().div_ceil(16 << 10);
        let asked = followed.bucket.calls(&format!("GET {LATEST}")).len() - before;
        in_the_middle += usize::from(!asked.is_multiple_of(parts));
        assert!(followed.on_disk() == second, "race {race}");
        assert!(packages.refusals.verdicts(Instant::now()).is_empty(), "race {race}: nobody is blamed");
    }
    assert_eq!(replaced.load(Ordering::Relaxed), races);
    assert!(in_the_middle > races / 10, "{in_the_middle} of {races} were replaced between two parts");
    assert!(!followed.bucket.keys().iter().any(|key| key.contains("verdicts")), "{:?}", followed.bucket.keys());
}

fn sha256_of(bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("written");
    sha256(file.path()).expect("readable")
}
