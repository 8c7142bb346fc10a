//! The status of a host, read without a shell on it, by what hosts leave in the bucket.

use std::{fs, time::Duration};

use serde_json::Value;
use world::{Ended, Fault, Operator, Rule, Service, Site, eventually};

use crate::{SOON, published, serving};

/// A host looks once a minute whether it fails at something else than it has told.
const NEXT_LOOK: Duration = Duration::from_secs(120);

/// Asks as the operator of that configuration.
async fn status(operator: &Operator, configuration: &toml::Table, which: &[&str]) -> Ended {
    let path = operator.home().join("spothost.toml");
    let text = toml::to_string(configuration).expect("TOML");
    fs::write(&path, &text).expect("a file");
    operator.aws.record_for(&text);
    let path = path.display().to_string();
    let arguments: Vec<&str> = ["status", "--config", &path].into_iter().chain(which.iter().copied()).collect();
    operator.run(&arguments).await
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_cannot_come_to_serve_says_why_and_says_so_when_it_does() {
    let (instance, _visitor) = published(&Site::titled("afar")).await;
    instance.aws.add(Rule::new(Fault::Reset).of(Service::SecretsManager));
    let mut agent = instance.start();
    let operator = Operator::of(&instance.account).await;
    let configuration = instance.configuration.clone();
    let nothing = status(&operator, &configuration, &["--all"]).await;
    assert!(nothing.code == Some(1) && nothing.stderr.contains("no host has left its status"), "{nothing:?}");

    let told = async || json(&status(&operator, &configuration, &["--all", "--json"]).await)[0]["role"] == "booting";
    eventually("it says that it does not come to serve", NEXT_LOOK, told).await;
    let id = instance.imds.instance_id().to_owned();
    let why = status(&operator, &configuration, &["--host", &id]).await;
    assert_eq!(why.code, Some(1), "{why:?}");
    for said in [id.as_str(), "(booting)", "is booting", "certificate: ", "ago: a host writes when", "boot, "] {
        assert!(why.stdout.contains(said), "nothing of {said}:\n{}", why.stdout);
    }

    instance.aws.lift();
    agent.wait_until_serving(SOON).await;
    let serves = async || status(&operator, &configuration, &["--host", &id]).await.code == Some(0);
    eventually("it says that it serves", NEXT_LOOK, serves).await;
    let address = instance.address.to_string();
    let well = status(&operator, &configuration, &["--host", &address, "--json"]).await;
    let read = json(&well);
    assert_eq!((well.code, &read["role"], &read["status"]["phase"]), (Some(0), &"owner".into(), &"serving".into()));
    let parts = read["status"]["parts"].as_array().map(Vec::len);
    assert_eq!(parts, agent.status()["parts"].as_array().map(Vec::len), "{read:#}");
    let releases = operator
        .run(&[
            "releases",
            "--at",
            &format!("s3://{}/{}", instance.account.bucket, instance.account.prefix()),
            "--json",
        ])
        .await;
    assert!(json(&releases)[0]["served_by"][0].get("status").is_none(), "{releases:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_serves_leaves_its_status_with_what_it_serves_and_writes_no_more_for_it() {
    let (instance, _visitor, agent) = serving(&Site::titled("afar")).await;
    let words = instance.aws.writes();
    let words = words.iter().filter(|call| call.service == Service::S3 && call.target.contains("/hosts/")).count();
    assert_eq!(words, 1, "one word says both");
    let operator = Operator::of(&instance.account).await;
    let told = json(&status(&operator, &instance.configuration, &["--all", "--json"]).await);
    assert_eq!(told[0]["instance"], instance.imds.instance_id().to_owned());
    assert!(told[0]["status"]["parts"].is_array(), "{told:#}");
    // The private key and the keys of AWS are nowhere in it.
    let text = told.to_string();
    assert!(!text.contains("PRIVATE") && !text.contains(&instance.account.secret_key), "{text}");
    let nobody = status(&operator, &instance.configuration, &["--host", "i-nobody"]).await;
    assert!(nobody.code == Some(1) && nobody.stderr.contains("no host i-nobody"), "{nobody:?}");
    let which = status(&operator, &instance.configuration, &[]).await;
    assert!(which.code == Some(64) && which.stderr.contains("--all or --host"), "{which:?}");
    drop(agent);
}
