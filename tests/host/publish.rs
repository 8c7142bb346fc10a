//! `spothost publish` and what goes with it: a folder becomes what hosts look for, with other publishers beside it and whatever
//! S3 does meanwhile.

use std::{fs, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use world::{Account, Fault, Publisher, Rule, Service, Site, eventually};

use crate::{SOON, front, serving};

async fn publisher() -> Publisher {
    Publisher::of(&Account::new().await).await
}

fn json(ended: &world::Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("JSON: {ended:?}"))
}

/// Bytes that do not compress, so many MiB of them, in one file.
fn long(mebibytes: u64) -> Site {
    let mut random = fastrand::Rng::with_seed(mebibytes);
    let bytes: Vec<u8> = (0..mebibytes << 20).map(|_| random.u8(..)).collect();
    Site::titled("long").with("noise.png", bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_writes_a_version_and_the_pointer_and_the_same_again_uploads_nothing() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("first"));
    let ended = publisher.publish(&["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let first = json(&ended)["version"].as_str().expect("a version").to_owned();
    assert_eq!((publisher.versions().await, publisher.latest().await), (vec![first.clone()], Some(first.clone())));
    let pointer = publisher.pointer().await.expect("a pointer");
    assert_eq!(pointer.said("sha256").as_deref(), json(&ended)["sha256"].as_str());

    let writes = publisher.aws.writes().len();
    let again = publisher.publish(&[]).await;
    assert_eq!((again.code, publisher.aws.writes().len()), (Some(0), writes), "{again:?}");
    assert!(again.stdout.contains("nothing was uploaded"), "{again:?}");

    publisher.write(&Site::titled("second"));
    let ended = publisher.publish(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(publisher.versions().await.len(), 2);
    assert_ne!(publisher.latest().await, Some(first.clone()));
    // What was published before is there already: only the pointer moves.
    publisher.write(&Site::titled("first"));
    let back = publisher.publish(&["--json"]).await;
    assert_eq!((json(&back)["version"].as_str(), json(&back)["sent"].as_u64()), (Some(first.as_str()), Some(0)));
    assert_eq!((publisher.latest().await, publisher.versions().await.len()), (Some(first), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_wrong_with_a_site_is_told_before_anything_is_asked() {
    let publisher = publisher().await;
    publisher.write(
        &Site::titled("wrong")
            .with("Style.css", "")
            .with("back\\slash.html", "")
            .with("_redirects", "/a /b 999\n")
            .with("page.html", "<a href=/gone>gone</a>"),
    );
    std::os::unix::fs::symlink("/etc/hostname", publisher.folder().join("link.html")).expect("a link");
    let ended = publisher.publish(&["--lenient"]).await;
    assert_eq!(ended.code, Some(65), "{ended:?}");
    for told in ["Style.css, style.css", "back\\slash.html", "_redirects:1", "link.html", "links to /gone"] {
        assert!(ended.stderr.contains(told), "nothing about {told}:\n{}", ended.stderr);
    }
    assert!(publisher.aws.calls().is_empty());
    // A link that leads nowhere is no obstacle, and --lenient publishes likely mistakes.
    for name in ["back\\slash.html", "link.html"] {
        fs::remove_file(publisher.folder().join(name)).expect("removed");
    }
    assert_eq!(publisher.publish(&[]).await.code, Some(65));
    assert_eq!(publisher.publish(&["--lenient", "--dry-run"]).await.code, Some(0));
    assert!(publisher.aws.calls().is_empty());
    assert_eq!(publisher.publish(&["--lenient"]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_of_two_publishers_is_told_and_the_newer_stays() {
    let older = publisher().await;
    let newer = Publisher::of(&older.account).await;
    older.write(&Site::titled("older"));
    newer.write(&Site::titled("newer"));
    // The older one has begun, and waits before it writes, until the newer one is done.
    older.aws.add(Rule::new(Fault::Hold).on("PutObject"));
    let (slow, quick) = tokio::join!(older.publish(&[]), async {
        eventually("the older one begins to write", SOON, async || older.aws.count("ListMultipartUploads") > 0).await;
        let quick = newer.publish(&["--json"]).await;
        older.aws.lift();
        quick
    });
    assert_eq!(quick.code, Some(0), "{quick:?}");
    let stays = json(&quick)["version"].as_str().expect("a version").to_owned();
    assert_eq!(slow.code, Some(5), "{slow:?}");
    assert!(slow.stderr.contains(&stays), "{slow:?}");
    assert_eq!(newer.latest().await, Some(stays));
    // Both versions are there, so it can still be rolled to.
    assert_eq!(newer.versions().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_publishers_at_once_the_newest_stays() {
    let first = publisher().await;
    let mut all = vec![];
    for number in 0..6 {
        let publisher = Publisher::of(&first.account).await;
        publisher.write(&Site::titled(&format!("publisher {number}")));
        all.push(publisher);
    }
    let ended = join_all(all.iter().map(|publisher| publisher.publish(&["--json"]))).await;
    let published = |ended: &world::Ended| json(ended)["version"].as_str().map(str::to_owned);
    assert!(ended.iter().all(|ended| matches!(ended.code, Some(0 | 5))), "{ended:?}");
    let latest = first.latest().await.expect("a pointer");
    let winners: Vec<_> = ended.iter().filter(|ended| ended.code == Some(0)).filter_map(published).collect();
    assert!(winners.contains(&latest), "{latest} of {winners:?}");
    assert!(winners.iter().all(|winner| winner[..16] <= latest[..16]), "{latest} of {winners:?}");
    assert_eq!(first.versions().await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_s3_at_any_step_ends_well_or_leaves_the_pointer_as_it_was() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("before"));
    assert_eq!(publisher.publish(&[]).await.code, Some(0));
    let steps = ["HeadObject", "ListObjectsV2", "ListMultipartUploads", "PutObject", "CopyObject"];
    let faults = [
        Fault::refuse(500, "InternalError"),
        Fault::refuse(503, "SlowDown"),
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::Cut(1),
    ];
    for (number, (step, fault)) in steps.iter().flat_map(|step| faults.iter().map(move |f| (step, f))).enumerate() {
        publisher.write(&Site::titled(&format!("site {number}")));
        publisher.aws.add(Rule::new(fault.clone()).of(Service::S3).on(step).times(1));
        let ended = publisher.publish(&["--json"]).await;
        publisher.aws.lift();
        assert_eq!(ended.code, Some(0), "{step} {fault:?}: {ended:?}");
        assert_eq!(publisher.latest().await.as_deref(), json(&ended)["version"].as_str(), "{step} {fault:?}");
    }
    let versions = publisher.versions().await.len();
    assert_eq!(versions, 1 + steps.len() * faults.len(), "one object for each, however often it was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_that_stays_broken_or_forbids_is_told_and_the_next_run_goes_on() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("before"));
    assert_eq!(publisher.publish(&[]).await.code, Some(0));
    let before = publisher.latest().await;
    publisher.write(&Site::titled("after"));
    for step in ["PutObject", "CopyObject"] {
        publisher.aws.add(Rule::new(Fault::refuse(409, "ConditionalRequestConflict")).on(step).times(2));
        publisher.aws.add(Rule::new(Fault::denied()).on(step));
        let denied = publisher.publish(&[]).await;
        publisher.aws.lift();
        assert_eq!((denied.code, publisher.latest().await), (Some(1), before.clone()), "{step}: {denied:?}");
        assert!(denied.stderr.contains("allow s3:PutObject"), "{denied:?}");
    }
    publisher.aws.add(Rule::new(Fault::refuse(500, "InternalError")).on("CopyObject"));
    let broken = publisher.publish(&[]).await;
    publisher.aws.lift();
    assert_eq!((broken.code, publisher.latest().await), (Some(75), before.clone()), "{broken:?}");
    // The version's object is there from the runs before.
    let sent = json(&publisher.publish(&["--json"]).await)["sent"].clone();
    assert_eq!(sent, 0);
    assert_ne!(publisher.latest().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_upload_that_was_cut_off_is_gone_on_with() {
    let publisher = publisher().await;
    publisher.write(&long(36));
    publisher.aws.add(Rule::new(Fault::refuse(400, "RequestTimeout")).on("UploadPart").about("partNumber=4"));
    let cut = publisher.publish(&[]).await;
    assert_eq!((cut.code, publisher.pointer().await), (Some(75), None), "{cut:?}");
    publisher.aws.lift();
    let there =
        publisher.aws.calls().iter().filter(|call| call.operation == "UploadPart" && call.status == Some(200)).count();
    let sent = publisher.aws.count("UploadPart");
    // On another machine, on which nothing is known.
    let elsewhere = Publisher::of(&publisher.account).await;
    elsewhere.write(&long(36));
    let ended = elsewhere.publish(&["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(there > 0 && sent > there, "{there} of {sent}");
    assert_eq!(elsewhere.aws.count("UploadPart"), 5 - there);
    let pointer = elsewhere.pointer().await.expect("a pointer");
    let versions = elsewhere.versions().await;
    assert_eq!((versions.len(), pointer.size > 36 << 20), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_who_may_not_see_unfinished_uploads_sends_everything() {
    let publisher = publisher().await;
    for (operation, megabytes) in [("ListMultipartUploads", 1), ("ListMultipartUploads", 20), ("ListParts", 21)] {
        publisher.write(&long(megabytes));
        publisher.aws.add(Rule::new(Fault::denied()).on(operation));
        if operation == "ListParts" {
            publisher.aws.add(Rule::new(Fault::refuse(400, "RequestTimeout")).on("UploadPart").about("partNumber=3"));
            assert_eq!(publisher.publish(&[]).await.code, Some(75));
            publisher.aws.lift();
            publisher.aws.add(Rule::new(Fault::denied()).on(operation));
        }
        let ended = publisher.publish(&["--json"]).await;
        publisher.aws.lift();
        assert_eq!(ended.code, Some(0), "{operation}: {ended:?}");
        assert_eq!(publisher.latest().await.as_deref(), json(&ended)["version"].as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_package_goes_live_whole() {
    let publisher = publisher().await;
    publisher.write(&long(20));
    publisher.aws.add(Rule::new(Fault::LoseAnswer).on("CompleteMultipartUpload").times(1));
    publisher.aws.add(Rule::new(Fault::Reset).on("UploadPart").times(2));
    let ended = publisher.publish(&["--keep", publisher.home().join("kept.zip").to_str().expect("UTF-8")]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let kept = fs::metadata(publisher.home().join("kept.zip")).expect("the package").len();
    assert_eq!(publisher.pointer().await.map(|pointer| pointer.size), Some(kept));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_are_told_compared_gone_back_to_and_pruned() {
    let publisher = publisher().await;
    let mut versions = Vec::new();
    for number in 0..5 {
        publisher.write(&Site::titled(&format!("site {number}")).with(&format!("only-{number}.txt"), "x"));
        versions.push(json(&publisher.publish(&["--json"]).await)["version"].as_str().expect("a version").to_owned());
    }
    let told = publisher.command(&["releases"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(versions.iter().all(|version| told.stdout.contains(version.as_str())), "{}", told.stdout);
    let diff = json(&publisher.command(&["diff", "previous", "latest", "--json"]).await);
    let names: Vec<_> = diff["changes"].as_array().expect("changes").iter().map(|change| &change["name"]).collect();
    assert_eq!(names, ["index.html", "only-3.txt", "only-4.txt"]);
    let folder = publisher.folder().display().to_string();
    let same = publisher.command(&["diff", "latest", &folder]).await;
    assert!(same.stdout.contains("the same 3 files"), "{same:?}");

    let back = publisher.command(&["rollback"]).await;
    assert_eq!((back.code, publisher.latest().await), (Some(0), Some(versions[3].clone())), "{back:?}");
    let copies = publisher.aws.count("CopyObject");
    let back = publisher.command(&["rollback", "--to", &versions[1]]).await;
    assert_eq!((back.code, publisher.latest().await), (Some(0), Some(versions[1].clone())), "{back:?}");
    assert_eq!(publisher.aws.count("CopyObject"), copies + 1);
    let none = publisher.command(&["rollback", "--to", "20200101T000000Z-000000000000"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");

    let pruned = json(&publisher.command(&["prune", "--keep", "1", "--dry-run", "--json"]).await);
    assert_eq!(pruned["versions"].as_array().map(Vec::len), Some(2), "{pruned}");
    assert_eq!(publisher.versions().await.len(), 5);
    let pruned = publisher.command(&["prune", "--keep", "1"]).await;
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    // The newest, the live one, and the one before it.
    let left = [&versions[0], &versions[1], &versions[4]].map(String::clone);
    assert_eq!(publisher.versions().await, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signature_travels_beside_the_package_and_in_its_metadata() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("signed"));
    let key = publisher.home().join("key");
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a key");
    fs::write(&key, pair.sk.to_box(None).expect("a key").into_string()).expect("written");
    let key = key.display().to_string();
    let unsigned = json(&publisher.publish(&["--json"]).await);
    let kept = publisher.home().join("kept.zip").display().to_string();
    let signed = publisher.publish(&["--json", "--sign", &key, "--keep", &kept]).await;
    assert_eq!(signed.code, Some(0), "{signed:?}");
    // The content is the same, and the signature new.
    assert_eq!((&json(&signed)["version"], &json(&signed)["sent"]), (&unsigned["version"], &Value::from(0)));
    let pointer = publisher.pointer().await.expect("a pointer");
    let text = pointer.said("minisig").expect("a signature");
    let text = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).expect("base64");
    let signature = minisign::SignatureBox::from_string(&String::from_utf8_lossy(&text)).expect("a signature");
    let package = fs::File::open(&kept).expect("the package");
    minisign::verify(&pair.pk, &signature, package, true, false, false).expect("signed by that key");
    let keys: Vec<_> = publisher.account.objects().await.into_iter().map(|object| object.key).collect();
    let version = signed_key(&json(&signed));
    for key in ["www/site-latest.zip.minisig", &version] {
        assert!(keys.iter().any(|known| known == key), "{key}: {keys:?}");
    }
    let again = publisher.publish(&["--sign", &key]).await;
    assert!(again.stdout.contains("nothing was uploaded"), "{again:?}");
    fs::write(&key, "no key").expect("written");
    assert_eq!(publisher.publish(&["--sign", &key]).await.code, Some(64), "1 is a host's refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_on_disk_is_signed_too() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("signed"));
    let key = publisher.home().join("key");
    let zip = publisher.home().join("latest.zip");
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a key");
    fs::write(&key, pair.sk.to_box(None).expect("a key").into_string()).expect("written");
    let folder = publisher.folder().display().to_string();
    let place = format!("file://{}", zip.display());
    let ended = publisher.run(&["publish", &folder, "--to", &place, "--sign", &key.display().to_string()]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = fs::read_to_string(publisher.home().join("latest.zip.minisig")).expect("a signature beside it");
    let signature = minisign::SignatureBox::from_string(&text).expect("a signature");
    minisign::verify(&pair.pk, &signature, fs::File::open(&zip).expect("the package"), true, false, false)
        .expect("signed by that key");
    assert!(publisher.aws.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zip_is_published_as_the_folder_that_it_was_made_of() {
    let publisher = publisher().await;
    let site = Site::titled("zipped").with("v2/a.txt", "a".repeat(5_000));
    publisher.write(&site);
    std::os::unix::fs::symlink("v2", publisher.folder().join("latest")).expect("a link");
    let of_folder = json(&publisher.publish(&["--json"]).await);
    let zip = publisher.home().join("site.zip");
    fs::write(&zip, site.with("latest/a.txt", "a".repeat(5_000)).with("__MACOSX/._a", "x").zip()).expect("written");
    let zip = zip.display().to_string();
    let place = publisher.place();
    let again = publisher.run(&["publish", &zip, "--to", &place, "--brotli", "4", "--json"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let again = json(&again);
    assert_eq!((&again["unchanged"], &again["version"]), (&Value::Bool(true), &of_folder["version"]));
}

/// A time as versions begin with it, to the second.
fn stamp(at: time::OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]");
    at.format(format).expect("a time")
}

fn signed_key(told: &Value) -> String {
    format!("www/site-{}.zip.minisig", told["version"].as_str().expect("a version"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_folder_goes_live_and_back_on_a_running_host() {
    let (instance, visitor, mut agent) = serving(&Site::titled("by hand")).await;
    let publisher = Publisher::of(&instance.account).await;
    for title in ["published", "published again"] {
        publisher.write(&Site::titled(title));
        let ended = publisher.publish(&["--json"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let live =
            async |_: &world::Agent| front(&visitor).await.is_some_and(|page| page.contains(&format!(">{title}<")));
        agent.wait_for("the new site", SOON, live).await;
        let page = visitor.get("/").await.expect("the page");
        let told = page.headers.get("last-modified").and_then(|at| httpdate::parse_http_date(at.to_str().ok()?).ok());
        let told = time::OffsetDateTime::from(told.expect("a time"));
        let version = json(&ended)["version"].as_str().expect("a version").to_owned();
        assert_eq!(stamp(told), version[..15], "visitors are told the time of the version");
    }
    assert_eq!(publisher.command(&["rollback"]).await.code, Some(0));
    let live = async |_: &world::Agent| front(&visitor).await.is_some_and(|page| page.contains(">published<"));
    agent.wait_for("the site before", SOON, live).await;
}

/// Runs the real AWS command line as that publisher.
async fn aws(publisher: &Publisher, arguments: &[&str]) {
    let home = std::env::var_os("SPOTHOST_TEST_HOME").expect("tests/run says where its tools are");
    let mut command = tokio::process::Command::new(std::path::Path::new(&home).join("ground/bin/aws"));
    let output = command.args(arguments).envs(publisher.variables()).env("AWS_SDK_UA_APP_ID", "aws-cli");
    let output = output.kill_on_drop(true).output().await.expect("the AWS command line starts");
    assert!(output.status.success(), "aws {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_command_line_and_the_old_rename_dance_publish_without_a_gap() {
    let (instance, visitor, mut agent) = serving(&Site::titled("at first")).await;
    let publisher = Publisher::of(&instance.account).await;
    let place = publisher.place();
    let zip = publisher.home().join("site.zip").display().to_string();
    let at = |name: &str| format!("{place}{name}");
    let visits = tokio::spawn({
        let visitor = visitor.clone();
        async move {
            let mut titles = Vec::new();
            loop {
                let page = front(&visitor).await.expect("the front page, at any time");
                let title = page.split(['<', '>']).nth(6).unwrap_or_default().to_owned();
                let last = title.clone();
                titles.push(title);
                if last == "by name again" {
                    return titles;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let live = async |agent: &mut world::Agent, title: &str| {
        let shows = async |_: &world::Agent| front(&visitor).await.is_some_and(|page| page.contains(title));
        agent.wait_for(title, SOON, shows).await;
    };
    for (title, dance) in [("by copy", false), ("by dance", true), ("by dance again", true)] {
        fs::write(&zip, Site::titled(title).zip()).expect("written");
        if dance {
            aws(&publisher, &["s3", "mv", &at("site-latest.zip"), &at(&format!("site-{}.zip", title.len()))]).await;
            aws(&publisher, &["s3", "cp", &zip, &at("site-latest.zip")]).await;
        } else {
            aws(&publisher, &["s3", "cp", &zip, &at("site-latest.zip")]).await;
        }
        live(&mut agent, title).await;
    }
    // A second one beside a known one would be found within a minute; instead of it, at once.
    fs::write(&zip, Site::titled("by name again").zip()).expect("written");
    aws(&publisher, &["s3", "rm", &at("site-latest.zip")]).await;
    aws(&publisher, &["s3", "cp", &zip, &at("anything-latest.zip")]).await;
    live(&mut agent, "by name again").await;
    let mut titles = visits.await.expect("every visit went well");
    titles.dedup();
    assert_eq!(titles, ["at first", "by copy", "by dance", "by dance again", "by name again"]);
    // What was published by other means is told, and followed by what is published by this program.
    let told = publisher.command(&["releases"]).await;
    assert!(told.stdout.contains("anything-latest.zip (latest)"), "{told:?}");
    publisher.write(&Site::titled("by publish"));
    aws(&publisher, &["s3", "rm", &at("anything-latest.zip")]).await;
    assert_eq!(publisher.publish(&[]).await.code, Some(0));
    live(&mut agent, "by publish").await;
}

/// Publishes and waits, while a host says something of the version as soon as it is there.
async fn heard(publisher: &Publisher, name: &str, word: impl Fn(&str) -> Value) -> world::Ended {
    let before = publisher.latest().await;
    let (ended, ()) = tokio::join!(publisher.publish(&["--wait"]), async {
        eventually("a new version", SOON, async || publisher.latest().await != before).await;
        let version = publisher.latest().await.expect("a version");
        publisher.account.put(&format!(".spothost/{name}.json"), word(&version).to_string()).await;
    });
    ended
}

/// The words of a host of another version, which names the package in a way of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_hears_a_refusal_whatever_else_its_verdict_says() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("bad"));
    let pointer = async || {
        let objects = publisher.account.objects().await;
        objects.into_iter().find(|object| object.key.ends_with("site-latest.zip"))
    };
    let verdict = async |format: u32, etag: &str| {
        let said = serde_json::json!({ "format": format, "key": "k", "etag": etag, "version": "release 7 of the shop",
            "verdict": "refused", "by": "i-owner", "at": "yesterday", "reasons": ["\"/about\" answers 404"],
            "mood": "of another version" });
        let name = format!(".spothost/verdicts/{}.json", etag.trim_matches('"'));
        publisher.account.put(&name, said.to_string()).await;
    };
    let (refused, ()) = tokio::join!(publisher.publish(&["--wait"]), async {
        eventually("a pointer", SOON, async || pointer().await.is_some()).await;
        let etag = pointer().await.expect("a pointer").etag;
        verdict(2, "\"another\"").await;
        verdict(1, &etag).await;
    });
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("\"/about\" answers 404"), "{refused:?}");
    let told = publisher.command(&["releases"]).await;
    assert!(told.stdout.contains("refused by i-owner"), "{told:?}");
    assert!(told.stderr.contains("verdict of format 2") && told.stderr.contains("upgrade spothost"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_ends_with_what_hosts_say_of_it() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("good"));
    let owner = |version: &str| {
        serde_json::json!({ "format": 1, "instance": "i-owner", "role": "owner", "version": version, "etag": "x",
            "since": "2026-11-21T12:00:00Z", "address": "192.0.2.1", "program": "0.1.0" })
    };
    let served = heard(&publisher, "hosts/i-owner", owner).await;
    assert_eq!(served.code, Some(0), "{served:?}");
    assert!(served.stdout.contains("is served by i-owner"), "{served:?}");
    let good = publisher.latest().await.expect("a version");

    publisher.write(&Site::titled("bad"));
    let refusal = |version: &str| {
        serde_json::json!({ "format": 1, "key": "k", "etag": "y", "version": version, "verdict": "refused",
            "by": "i-owner", "at": "2026-11-21T12:00:00Z", "reasons": ["\"/about\" answers 404"] })
    };
    let refused = heard(&publisher, "verdicts/y", refusal).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("\"/about\" answers 404"), "{refused:?}");
    let bad = publisher.latest().await.expect("a version");

    let told = publisher.command(&["releases"]).await;
    for word in ["refused by i-owner", "i-owner (owner) 192.0.2.1", good.as_str(), bad.as_str()] {
        assert!(told.stdout.contains(word), "nothing about {word}:\n{}", told.stdout);
    }
    assert_eq!(publisher.command(&["rollback"]).await.code, Some(0));
    assert_eq!(publisher.latest().await, Some(good));
    // A refusal holds for ever: neither a way back to it nor the same content again.
    for again in [publisher.command(&["rollback", "--to", &bad]).await, publisher.publish(&[]).await] {
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.stderr.contains("refused"), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_tells_that_nobody_was_heard_in_time() {
    let publisher = publisher().await;
    publisher.write(&Site::titled("unheard"));
    let begun = std::time::Instant::now();
    let ended = publisher.publish(&["--wait", "--timeout", "3s"]).await;
    assert_eq!(ended.code, Some(75), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(20) && ended.stderr.contains("no host"), "{ended:?}");
}
