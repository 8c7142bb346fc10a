//! A prefix names a folder: what is published there, and nothing beside it or below it.

use toml::Value;
use world::{Account, Instance, Publisher, Site};

use crate::{SOON, front};

/// An instance whose configuration names the folder without a slash at its end.
async fn without_slash() -> Instance {
    let mut instance = Instance::new().await;
    let place = format!("s3://{}/www", instance.account.bucket);
    instance.configuration.insert("package".to_owned(), Value::String(place));
    instance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_takes_what_lies_in_its_folder_and_not_what_lies_beside_or_below_it() {
    let instance = without_slash().await;
    let account = &instance.account;
    account.put("site-latest.zip", Site::titled("own").zip()).await;
    for key in ["www-staging/site-latest.zip", "www/previews/pr-7/site-latest.zip", "wwwsite-latest.zip"] {
        account.put_at(key, Site::titled("another").zip()).await;
    }
    let mut agent = instance.start();
    let visitor = instance.visitor();
    agent.wait_until_serving(SOON).await;
    let looks = instance.aws.count("HeadObject");
    agent.wait_for("some looks", SOON, async |_| instance.aws.count("HeadObject") > looks + 3).await;
    assert!(front(&visitor).await.is_some_and(|page| page.contains("own")));
    assert!(!account.names(".spothost/verdicts/").await.is_empty(), "verdicts lie in the folder, too");
    let told = agent.log();
    assert!(!told.contains("several objects are named as the latest"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn package_that_lies_where_a_prefix_was_text_is_named_with_the_command_that_moves_it() {
    let instance = without_slash().await;
    instance.account.put_at("wwwsite-latest.zip", Site::titled("before").zip()).await;
    let mut agent = instance.start();
    agent.wait_for_phase("package", "failing", SOON).await;
    let remedy = agent.part("package")["fault"]["remedy"].to_string();
    let bucket = &instance.account.bucket;
    let moved = format!("aws s3 mv s3://{bucket}/wwwsite-latest.zip s3://{bucket}/www/site-latest.zip");
    assert!(remedy.contains(&moved), "{remedy}");
    let publisher = Publisher::of(&instance.account).await;
    let releases = publisher.run(&["releases", "--at", &format!("s3://{bucket}/www")]).await;
    assert!(releases.stdout.contains(&moved), "{releases:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_mean_the_same_folder_with_and_without_a_slash() {
    let publisher = Publisher::of(&Account::new().await).await;
    publisher.account.put_at("www/previews/pr-7/site-latest.zip", Site::titled("another").zip()).await;
    let place = format!("s3://{}/www", publisher.account.bucket);
    let folder = publisher.folder().display().to_string();
    for title in ["first", "second"] {
        publisher.write(&Site::titled(title));
        let ended = publisher.run(&["publish", &folder, "--to", &place, "--brotli", "1"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stderr.contains("says that it is the latest too"), "{ended:?}");
    }
    let versions = publisher.versions().await;
    assert_eq!((versions.len(), publisher.latest().await.as_ref()), (2, versions.last()));
    for at in [place.clone(), format!("{place}/")] {
        let releases = publisher.run(&["releases", "--json", "--at", &at]).await;
        let listed: serde_json::Value = serde_json::from_str(&releases.stdout).expect("JSON");
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{releases:?}");
        let difference = publisher.run(&["diff", "previous", "latest", "--at", &at]).await;
        assert!(difference.stdout.contains("index.html"), "{difference:?}");
    }
    let back = publisher.run(&["rollback", "--at", &place]).await;
    assert_eq!((back.code, publisher.latest().await.as_ref()), (Some(0), versions.first()), "{back:?}");
    let pruned = publisher.run(&["prune", "--keep", "1", "--at", &place]).await;
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    let kept: Vec<_> = publisher.account.objects().await.into_iter().map(|object| object.key).collect();
    assert!(kept.iter().all(|key| key.starts_with("www/")), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefix_that_a_policy_takes_for_a_pattern_is_refused_with_the_reason() {
    let mut instance = Instance::new().await;
    for (prefix, reason) in [("www*", "`*` cannot stand in a prefix"), ("${x}/", "`${` cannot stand in a prefix")] {
        let place = format!("s3://{}/{prefix}", instance.account.bucket);
        instance.configuration.insert("package".to_owned(), Value::String(place.clone()));
        let ended = instance.command(&["check"]).await;
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
        let publisher = Publisher::of(&instance.account).await;
        let ended = publisher.run(&["releases", "--at", &place]).await;
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
    assert!(instance.aws.calls().is_empty());
}
