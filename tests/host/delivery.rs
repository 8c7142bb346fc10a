//! A package goes live on every host, or on none.

use std::time::Duration;

use world::{Agent, Fault, Instance, Rule, Service, Site, Visitor};

use crate::{SOON, front, published, serving};

/// A site whose pages, and a script with a fingerprint, carry its version.
fn version(name: &str, fingerprint: u32) -> Site {
    let script = format!("app.{fingerprint:08x}f1.js");
    let site = Site::titled(name).with(&script, format!("// {name}"));
    (0..20)
        .fold(site, |site, page| site.with(&format!("page-{page}.html"), format!("page {page} of {name}\n").repeat(40)))
}

/// A site that says of itself what it does not keep.
fn boasting(name: &str) -> Site {
    Site::titled(name).with("site.toml", "[gate]\n'/about' = 200\n'/' = { contains = 'nothing of the kind' }\n")
}

async fn shows(visitor: &Visitor, title: &str) -> bool {
    front(visitor).await.is_some_and(|page| page.contains(title))
}

async fn refused(instance: &Instance, etag: &str) -> bool {
    instance.account.verdict(etag).await.is_some_and(|verdict| verdict["verdict"] == "refused")
}

/// How often the package itself was asked for.
fn fetched(instance: &Instance) -> usize {
    let calls = instance.aws.calls();
    calls.iter().filter(|call| call.operation == "GetObject" && call.target.contains("-latest.zip")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_package_goes_live_nowhere_not_even_on_a_fresh_host() {
    let (older, visitor, mut agent) = serving(&version("first", 1)).await;
    let etag = older.account.put_with("site-latest.zip", boasting("second").zip(), &[("spothost-version", "v2")]).await;
    agent.wait_for("a verdict", SOON, async |_| refused(&older, &etag).await).await;
    let verdict = older.account.verdict(&etag).await.expect("just seen");
    assert_eq!((&verdict["format"], &verdict["version"]), (&1.into(), &"v2".into()), "{verdict}");
    assert_eq!(
        (&verdict["etag"], &verdict["by"]),
        (&etag.as_str().into(), &older.imds.instance_id().into()),
        "{verdict}"
    );
    let reasons = verdict["reasons"].to_string();
    assert!(reasons.contains("/about") && reasons.contains("nothing of the kind"), "{reasons}");
    assert!(shows(&visitor, "first").await, "the previous version stays online");

    // A host that comes now has nothing on its disk and never fetches the refused one.
    let younger = older.successor().await;
    let mut successor = younger.start();
    let fresh = younger.visitor();
    successor.wait_for("the last good one", SOON, async |_| shows(&fresh, "first").await).await;
    successor.wait_for_phase("package", "degraded", SOON).await;
    let remedy = successor.part("package")["fault"]["remedy"].to_string();
    assert!(remedy.contains(".spothost/verdicts/"), "the cure is told: {remedy}");
    assert_eq!(fetched(&younger), 1, "{:?}", younger.aws.calls());

    let etag =
        older.account.put_with("site-latest.zip", version("third", 3).zip(), &[("spothost-version", "v3")]).await;
    for (agent, visitor) in [(&mut agent, &visitor), (&mut successor, &fresh)] {
        agent.wait_for("the next good one", SOON, async |_| shows(visitor, "third").await).await;
    }
    successor
        .wait_for("it is called good", SOON, async |_| {
            older.account.verdict(&etag).await.is_some_and(|verdict| verdict["verdict"] == "good")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_without_a_site_takes_a_release_under_a_key_of_its_own_before_an_older_version() {
    let instance = Instance::new().await;
    instance.account.put("site-latest.zip", version("by-version", 1).zip()).await;
    instance.account.put("site-20260101T000000Z-0123456789ab.zip", version("by-key", 2).zip()).await;
    let etag = instance.account.put("site-latest.zip", boasting("bad").zip()).await;
    let mut agent = instance.start();
    let visitor = instance.visitor();
    agent.wait_for("the release of its own", SOON, async |_| shows(&visitor, "by-key").await).await;
    assert!(refused(&instance, &etag).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdict_that_is_deleted_is_lifted() {
    let (instance, _visitor, mut agent) = serving(&version("first", 1)).await;
    let etag = instance.account.put("site-latest.zip", boasting("second").zip()).await;
    agent.wait_for("a verdict", SOON, async |_| refused(&instance, &etag).await).await;
    let before = fetched(&instance);
    agent.wait_for("some looks", SOON, async |_| instance.aws.count("HeadObject") > before + 4).await;
    assert_eq!(fetched(&instance), before, "it is not fetched again");
    instance.account.delete(&format!(".spothost/verdicts/{}.json", etag.trim_matches('"'))).await;
    // Seen by the next listing, one a minute.
    agent.wait_for("another verdict", Duration::from_secs(90), async |_| refused(&instance, &etag).await).await;
    assert!(fetched(&instance) > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_may_not_write_serves_all_the_same_and_says_so() {
    let (instance, visitor) = published(&version("first", 1)).await;
    instance.aws.add(Rule::new(Fault::denied()).on("PutObject").about(".spothost/"));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    let noted = |agent: &Agent| agent.part("package")["notes"].to_string().contains("s3:PutObject");
    agent.wait_for("a note", SOON, async |agent| noted(agent)).await;
    let etag = instance.account.put("site-latest.zip", boasting("second").zip()).await;
    agent.wait_for_phase("package", "degraded", SOON).await;
    assert!(shows(&visitor, "first").await && instance.account.verdict(&etag).await.is_none());
    let fetches = fetched(&instance);
    agent.wait_for("some looks", SOON, async |_| instance.aws.count("HeadObject") > fetches + 5).await;
    assert_eq!(fetched(&instance), fetches, "it is not fetched again either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_s3_at_every_step_delay_a_release_and_condemn_none() {
    let (instance, visitor, mut agent) = serving(&version("0", 1)).await;
    let rule = |fault, operation: &str, about: &str| Rule::new(fault).on(operation).about(about);
    let package = "-latest.zip";
    let table = [
        ("look refused", rule(Fault::refuse(500, "InternalError"), "HeadObject", package).times(2)),
        ("look reset", rule(Fault::Reset, "HeadObject", package).times(1)),
        ("listing refused", rule(Fault::refuse(503, "SlowDown"), "ListObjectsV2", "").times(2)),
        ("listing cut", rule(Fault::Cut(200), "ListObjectsV2", "").times(1)),
        ("fetch refused", rule(Fault::refuse(500, "InternalError"), "GetObject", package).times(4)),
        ("fetch reset", rule(Fault::Reset, "GetObject", package).times(1)),
        ("answer lost", rule(Fault::LoseAnswer, "GetObject", package).times(1)),
        ("cut at once", rule(Fault::Cut(0), "GetObject", package).times(3)),
        ("cut once", rule(Fault::Cut(700), "GetObject", package).times(1)),
        ("flipped in a file", rule(Fault::Flip(300), "GetObject", package).times(1)),
        ("flipped in a header", rule(Fault::Flip(2), "GetObject", package).times(2)),
        ("gone for a moment", rule(Fault::refuse(404, "NoSuchKey"), "GetObject", package).times(1)),
        ("replaced for a moment", rule(Fault::refuse(412, "PreconditionFailed"), "GetObject", package).times(1)),
        ("verdicts met", rule(Fault::refuse(409, "ConditionalRequestConflict"), "PutObject", "verdicts").times(1)),
        ("verdict refused", rule(Fault::refuse(500, "InternalError"), "PutObject", "verdicts").times(2)),
        ("verdict's answer lost", rule(Fault::LoseAnswer, "PutObject", "verdicts").times(1)),
    ];
    for (number, (what, fault)) in table.into_iter().enumerate() {
        instance.aws.add(fault);
        let title = format!("release {number}");
        let zip = version(&title, number as u32 + 2).zip();
        // S3 says a checksum of what its own clients put, and none of what others did long ago.
        let etag = match number % 2 {
            0 => instance.account.put_with("site-latest.zip", zip, &[]).await,
            _ => instance.account.put("site-latest.zip", zip).await,
        };
        agent.wait_for(what, SOON, async |_| shows(&visitor, &title).await).await;
        agent.wait_for(what, SOON, async |_| instance.account.verdict(&etag).await.is_some()).await;
        assert!(!refused(&instance, &etag).await, "{what}: a good package is condemned");
        instance.aws.lift();
    }
    assert!(!agent.log().contains("is refused"), "{}", agent.last_lines());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_vanishes_between_look_and_fetch_leaves_the_site() {
    let (instance, visitor, mut agent) = serving(&version("first", 1)).await;
    instance.aws.add(Rule::new(Fault::Delay(Duration::from_millis(500))).on("GetObject").about("-latest.zip").times(1));
    instance.account.put("site-latest.zip", version("second", 2).zip()).await;
    agent.wait_for_line("fetching", SOON).await;
    instance.account.delete("site-latest.zip").await;
    agent.wait_for_phase("package", "degraded", SOON).await;
    assert!(shows(&visitor, "first").await || shows(&visitor, "second").await, "nothing is served");
    instance.account.put("site-latest.zip", version("third", 3).zip()).await;
    agent.wait_for("the next one", SOON, async |_| shows(&visitor, "third").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_is_renamed_is_followed_at_once_where_s3_hides_what_is_gone() {
    let (instance, visitor, mut agent) = serving(&version("first", 1)).await;
    instance.account.copy("site-latest.zip", "site-1.zip").await;
    instance.account.delete("site-latest.zip").await;
    instance.account.put("site-2-latest.zip", version("second", 2).zip()).await;
    // A listing is made once a minute, and at once when the package is not there any more.
    agent.wait_for("the second", Duration::from_secs(15), async |_| shows(&visitor, "second").await).await;
    let denied = instance.aws.calls().iter().filter(|call| call.status == Some(403)).count();
    assert!(denied > 0, "the world hides nothing: {:?}", instance.aws.calls());
    agent.wait_for_phase("package", "kept", SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permission_to_read_that_is_missing_for_good_is_told_as_one() {
    let (instance, visitor, mut agent) = serving(&version("first", 1)).await;
    let told = |agent: &Agent| {
        let part = agent.part("package");
        part["phase"] == "degraded" && part["fault"]["remedy"].to_string().contains("s3:GetObject")
    };
    instance.aws.add(Rule::new(Fault::denied()).on("HeadObject").about("-latest.zip"));
    agent.wait_for("the permission to look", SOON, async |agent| told(agent)).await;
    instance.aws.lift();
    agent.wait_for_phase("package", "kept", Duration::from_secs(90)).await;
    instance.aws.add(Rule::new(Fault::denied()).on("GetObject").about("-latest.zip"));
    instance.account.put("site-latest.zip", version("second", 2).zip()).await;
    agent.wait_for("the permission to fetch", SOON, async |agent| told(agent)).await;
    assert!(shows(&visitor, "first").await);
    instance.aws.lift();
    agent.wait_for("the second", Duration::from_secs(90), async |_| shows(&visitor, "second").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_verdict_is_told_though_a_bad_package_follows_within_a_second() {
    let (instance, visitor, mut agent) = serving(&version("first", 1)).await;
    let account = &instance.account;
    account.put("site-20260101T000001Z-ffffffffffff.zip", version("first", 1).zip()).await;
    let second = version("second", 2).zip();
    account.put("site-20260101T000002Z-000000000000.zip", second.clone()).await;
    let good = account.put("site-latest.zip", second).await;
    agent.wait_for("the second", SOON, async |_| shows(&visitor, "second").await).await;
    let bad = account.put("site-latest.zip", boasting("bad").zip()).await;
    agent.wait_for("the bad one is refused", SOON, async |_| refused(&instance, &bad).await).await;
    let told = async |_: &Agent| account.verdict(&good).await.is_some_and(|verdict| verdict["verdict"] == "good");
    agent.wait_for("the good one is called good", SOON, told).await;
    assert!(!agent.log().contains("a second look finds: publishing"), "{}", agent.last_lines());
    // A host that comes now takes what was served, and not the version before.
    let younger = instance.successor().await;
    let mut successor = younger.start();
    let fresh = younger.visitor();
    successor.wait_for("the last good one", SOON, async |_| front(&fresh).await.is_some()).await;
    assert!(shows(&fresh, "second").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_that_is_killed_at_any_step_of_a_swap_serves_at_its_next_start() {
    let (instance, visitor, mut agent) = serving(&version("0", 1)).await;
    let steps = [
        ("HeadObject", "-latest.zip", 0),
        ("HeadObject", "-latest.zip", 1),
        ("ListObjectsV2", "", 0),
        ("GetObject", "-latest.zip", 0),
        ("PutObject", "verdicts", 0),
        ("PutObject", "hosts", 0),
    ];
    for (number, (operation, about, passed)) in steps.into_iter().enumerate() {
        let title = format!("release {number}");
        for _ in 0..passed {
            instance.aws.add(Rule::new(Fault::Delay(Duration::ZERO)).on(operation).about(about).times(1));
        }
        instance.aws.add(Rule::new(Fault::Hang).on(operation).about(about).times(1));
        let hung = || instance.aws.calls().iter().filter(|call| call.status.is_none()).count();
        let before = hung();
        instance.account.put("site-latest.zip", version(&title, number as u32 + 2).zip()).await;
        agent.wait_for("the step that hangs", Duration::from_secs(90), async |_| hung() > before).await;
        agent.kill().await;
        instance.aws.lift();
        agent = instance.start();
        agent.wait_for("a site at once", SOON, async |_| front(&visitor).await.is_some()).await;
        agent.wait_for("the release", SOON, async |_| shows(&visitor, &title).await).await;
        instance.wait_until_told(&mut agent, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_that_is_killed_at_random_moments_never_serves_half_a_package() {
    let seed =
        std::env::var("SPOTHOST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SPOTHOST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (instance, visitor, mut agent) = serving(&version("0", 1)).await;
    for number in 1..=8 {
        let title = format!("release {number}");
        instance.account.put("site-latest.zip", version(&title, number + 1).zip()).await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..1_500))).await;
        agent.kill().await;
        agent = instance.start();
        agent.wait_for("the release", SOON, async |_| shows(&visitor, &title).await).await;
        let pages: Vec<_> = (0..20).map(|page| format!("/page-{page}")).collect();
        for (page, answer) in visitor.get_each(&pages, true).await.expect("answers").iter().enumerate() {
            assert_eq!(answer.text(), format!("page {page} of {title}\n").repeat(40));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_of_the_page_before_is_found_after_a_swap_and_its_deleted_page_is_not() {
    let (instance, visitor, mut agent) = serving(&version("first", 1).with("old.html", "old")).await;
    instance.account.put("site-latest.zip", version("second", 2).zip()).await;
    agent.wait_for("the second", SOON, async |_| shows(&visitor, "second").await).await;
    let paths = ["/app.00000001f1.js", "/app.00000002f1.js", "/app.00000003f1.js", "/old"].map(str::to_owned);
    let answers = visitor.get_each(&paths, false).await.expect("answers");
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 404, 404]);
    assert_eq!(answers[0].text(), "// first");
    assert!(instance.aws.calls().iter().all(|call| call.service != Service::Other));
}

/// A disk too small for the second package: a small file system where the tests may make one, else one that is read-only.
struct FullDisk(tempfile::TempDir, bool);

impl FullDisk {
    fn new() -> FullDisk {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
        let mounted = is_root
            && std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=4m", "none"])
                .arg(folder.path())
                .status()
                .is_ok_and(|status| status.success());
        FullDisk(folder, mounted)
    }

    /// Takes or gives back the room.
    fn set_full(&self, full: bool) {
        if self.1 {
            let size = if full { "size=1m" } else { "size=64m" };
            let options = format!("remount,{size}");
            let status = std::process::Command::new("mount").args(["-o", &options]).arg(self.0.path()).status();
            assert!(status.is_ok_and(|status| status.success()), "the disk is resized");
        } else {
            let mode = if full { 0o555 } else { 0o755 };
            let shelf = self.0.path().join("package");
            std::fs::set_permissions(shelf, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("changed");
        }
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        if self.1 {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_that_is_full_leaves_the_site_and_the_next_look_after_heals_it() {
    let disk = FullDisk::new();
    let (mut instance, visitor) = published(&version("first", 1)).await;
    instance.environment.push(("STATE_DIRECTORY".to_owned(), disk.0.path().display().to_string()));
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    disk.set_full(true);
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(2 << 20).collect();
    let etag = instance.account.put("site-latest.zip", version("second", 2).with("noise.bin", noise).zip()).await;
    agent.wait_for_phase("package", "degraded", SOON).await;
    assert!(shows(&visitor, "first").await);
    assert!(instance.account.verdict(&etag).await.is_none(), "the package is not to blame");
    disk.set_full(false);
    agent.wait_for("the second", Duration::from_secs(90), async |_| shows(&visitor, "second").await).await;
}

/// A `.minisig` file for these bytes.
fn signature(pair: &minisign::KeyPair, bytes: &[u8]) -> String {
    let signed = minisign::sign(Some(&pair.pk), &pair.sk, std::io::Cursor::new(bytes), None, None);
    signed.expect("a signature").into_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_signed_goes_live_where_a_key_is_configured() {
    let [pair, other] = [(); 2].map(|()| minisign::KeyPair::generate_unencrypted_keypair().expect("a key"));
    let coded = |text: String| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    let mut instance = Instance::new().await;
    instance.configuration.insert("package_key".to_owned(), toml::Value::String(pair.pk.to_base64()));
    let account = instance.account.clone();
    let visitor = instance.visitor();
    let zip = version("first", 1).zip();
    account.put_with("site-latest.zip", zip.clone(), &[("spothost-minisig", &coded(signature(&pair, &zip)))]).await;
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;

    // A signature may come after its package.
    let zip = version("second", 2).zip();
    let etag = account.put_with("site-latest.zip", zip.clone(), &[]).await;
    agent.wait_for_phase("package", "degraded", SOON).await;
    assert!(shows(&visitor, "first").await && account.verdict(&etag).await.is_none());
    account.put("site-latest.zip.minisig", signature(&pair, &zip)).await;
    agent.wait_for("the second", SOON, async |_| shows(&visitor, "second").await).await;

    // That of another key, and that of another package.
    for (number, signed) in [signature(&other, &version("3", 3).zip()), signature(&pair, &zip)].into_iter().enumerate()
    {
        let zip = version(&(number + 3).to_string(), number as u32 + 3).zip();
        let etag = account.put_with("site-latest.zip", zip, &[("spothost-minisig", &coded(signed))]).await;
        agent.wait_for("a verdict", SOON, async |_| refused(&instance, &etag).await).await;
        let verdict = account.verdict(&etag).await.unwrap_or_default();
        assert!(verdict["reasons"].to_string().contains("of no `package_key`"), "{verdict}");
        assert!(shows(&visitor, "second").await);
    }

    // The same bytes signed anew are judged anew; the listing, once a minute, shows it.
    let zip = version("4", 4).zip();
    let etag =
        account.put_with("site-latest.zip", zip.clone(), &[("spothost-minisig", &coded(signature(&pair, &zip)))]).await;
    agent.wait_for("the fourth", Duration::from_secs(120), async |_| shows(&visitor, "title>4<").await).await;
    let good = async |_: &Agent| account.verdict(&etag).await.is_some_and(|verdict| verdict["verdict"] == "good");
    agent.wait_for("the verdict is replaced", SOON, good).await;
}
