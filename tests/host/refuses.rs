//! A broken package never replaces a working site.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use world::{Agent, Entry, Site, archive};

use crate::{SOON, front, serving};

/// The fault of the package keeper, if it is younger than `since`.
fn refusal(agent: &Agent, since: OffsetDateTime) -> Option<String> {
    let fault = agent.part("package")["fault"].clone();
    let at = OffsetDateTime::parse(fault["at"].as_str()?, &Rfc3339).ok()?;
    (at > since && fault["tries"].as_u64() > Some(0)).then(|| fault["said"].as_str().unwrap_or_default().to_owned())
}

/// Bytes that lie in a folder.
fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_package_is_refused_with_its_reason_and_the_site_stays() {
    let good = Site::of_files("good", 30);
    let (instance, visitor, mut agent) = serving(&good).await;
    let lying = |adjust: fn(&mut Entry)| {
        let mut entry = Entry::of("lie.html", &b"true words, and more of them than one would think\n".repeat(9));
        adjust(&mut entry);
        good.zip_with(entry)
    };
    // What is wrong, the package, and a word that the reason has to have.
    let table: [(&str, Vec<u8>, &[&str]); 24] = [
        ("truncated", good.truncated(), &["not a whole zip"]),
        ("flipped", good.flipped(), &["index.html"]),
        ("bomb", good.bomb(), &["bomb", "large", "bytes"]),
        ("absolute name", good.zip_with_name("/etc/passwd"), &["/etc/passwd"]),
        ("name that leads out", good.zip_with_name("../../etc/passwd"), &["../../etc/passwd"]),
        ("name that leads out by backslashes", good.zip_with_name("..\\passwd"), &["passwd"]),
        ("name of a drive", good.zip_with_name("C:passwd"), &["drive"]),
        ("name with a line feed", good.zip_with_name("a\nb"), &["control character"]),
        ("name with an empty segment", good.zip_with_name("a//b"), &["empty segment"]),
        ("link", good.zip_with_link("link", "/etc/passwd"), &["link"]),
        ("device", lying(|entry| entry.mode = 0o020_666), &["a device"]),
        ("duplicate", good.zip_with_duplicate(), &["index.html"]),
        ("duplicate once it is normalised", good.zip_with_name("./index.html"), &["is there twice"]),
        ("wrong CRC", lying(|entry| entry.crc ^= 1), &["CRC-32"]),
        ("more than it declares", lying(|entry| entry.size -= 1), &["lie.html"]),
        ("less than it declares", lying(|entry| entry.size += 1), &["lie.html"]),
        ("no deflate stream", lying(|entry| entry.data[0] = 7), &["does not inflate"]),
        ("unknown compression", lying(|entry| entry.method = 93), &["method 93"]),
        ("zip without a file", archive(&[]), &["no file"]),
        ("empty object", Vec::new(), &["not a whole zip"]),
        ("page instead of a zip", b"<!doctype html><title>503</title>".to_vec(), &["not a whole zip"]),
        ("no index page", archive(&[Entry::of("about.html", b"about")]), &["no index page"]),
        (
            "gate that it does not pass",
            good.clone().with("site.toml", "[gate]\n'/x' = 200").zip(),
            &["\"/x\" answers 404"],
        ),
        ("gate that nobody can read", good.clone().with("site.toml", "[gate]\n'/x' = ").zip(), &["not understood"]),
    ];
    let mut etags = Vec::new();
    // Somebody asks all the while, and memory and disk are watched.
    let asked = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(AtomicUsize::new(0));
    let asking = {
        let visitor = visitor.clone();
        let asked = asked.clone();
        let failed = failed.clone();
        tokio::spawn(async move {
            loop {
                let well = front(&visitor).await.is_some_and(|page| page.contains("good"));
                asked.fetch_add(1, Ordering::Relaxed);
                failed.fetch_add(usize::from(!well), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let before = agent.resident_kib();
    let shelf = instance.disk().join("state/package");
    let mut most = (before, size_of(&shelf));
    let largest = table.iter().map(|(_, package, _)| package.len() as u64).max().expect("some");
    for (what, package, words) in table {
        let since = OffsetDateTime::now_utc();
        let etag = instance.account.put("site-latest.zip", package).await;
        agent.wait_for(what, SOON, async |_| instance.account.verdict(&etag).await.is_some()).await;
        let verdict = instance.account.verdict(&etag).await.expect("just seen");
        let said = verdict["reasons"][0].as_str().unwrap_or_default();
        assert!(words.iter().any(|word| said.contains(word)), "{what}: {verdict}");
        assert_eq!(verdict["verdict"], "refused", "{what}");
        agent.wait_for(what, SOON, async |agent| refusal(agent, since).is_some_and(|shown| shown.contains(said))).await;
        etags.push(etag);
        most = (most.0.max(agent.resident_kib()), most.1.max(size_of(&shelf)));
        assert!(front(&visitor).await.is_some_and(|page| page.contains("good")), "{what}: the site is gone");
        assert_eq!(agent.part("package")["phase"], "degraded", "{what}");
    }
    asking.abort();
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {asked:?}");
    assert!(asked.load(Ordering::Relaxed) > 100, "{asked:?}");
    assert!(most.0 <= before + (64 << 10), "{} KiB, and {before} before", most.0);
    // What is fetched is put aside until it is judged, and nothing is unpacked.
    assert!(most.1 <= largest + (1 << 20), "{} bytes on the disk, and {largest} at most were fetched", most.1);
    println!("{asked:?} requests, none failed; {} KiB beside {before}; {} bytes on the disk", most.0, most.1);
    instance.account.put("site-latest.zip", Site::titled("better").zip()).await;
    agent
        .wait_for("the next good one", SOON, async |_| {
            front(&visitor).await.is_some_and(|page| page.contains("better"))
        })
        .await;
    etags.sort_unstable();
    etags.dedup();
    assert_eq!(etags.len(), 24, "each was another object");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_is_taken_away_leaves_the_site() {
    let (instance, visitor, mut agent) = serving(&Site::titled("stays")).await;
    let since = OffsetDateTime::now_utc();
    instance.account.delete("site-latest.zip").await;
    agent.wait_for("a word about it", SOON, async |agent| refusal(agent, since).is_some()).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("stays")));
    instance.account.put("other-latest", Site::titled("next").zip()).await;
    agent
        .wait_for("the next one", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("next")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_configuration_ends_with_64_the_line_and_the_reason() {
    let mut instance = world::Instance::new().await;
    instance.configuration.insert("dommain".to_owned(), toml::Value::String("www.example.org".to_owned()));
    let ended = instance.command(&["check"]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert!(ended.stderr.contains("spothost.toml:") && ended.stderr.contains("dommain"), "{ended:?}");
    assert_eq!(instance.start().ended(SOON).await, Some(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_that_is_taken_ends_the_process_with_its_name() {
    let instance = world::Instance::new().await;
    let _taken = std::net::TcpListener::bind(instance.https()).expect("a free port");
    let agent = instance.start();
    agent.wait_for_line(&instance.https().to_string(), SOON).await;
    assert!(agent.ended(SOON).await.is_some_and(|code| code != 0));
}
