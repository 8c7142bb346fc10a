//! What an application needs and its package does not have: the host reads it, gives it to the application, and shows it nowhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http::Method;
use nix::unistd::Pid;
use serde_json::{Value, json};
use world::{
    Agent, Policy, Runners, Visitor,
    hosted::{Hosted, Server, about, lives, pid, version},
    tools,
};

use super::plain;
use crate::{SOON, front, up::Laptop};

/// The secret of the application, in an account of its own.
const SECRET: &str = "site/app";
const NEEDS: &str = "needs = ['SECRET_KEY']";

/// A host whose configuration names that secret.
async fn hosted() -> Hosted {
    let mut hosted = Hosted::new(Server::Node, Runners::start).await;
    let app = hosted.instance.configuration["app"].as_table_mut().expect("a table");
    app.insert("secrets".to_owned(), toml::Value::String(SECRET.to_owned()));
    hosted
}

async fn put(hosted: &Hosted, value: &Value) {
    hosted.instance.account.put_in_secret(SECRET, value.to_string()).await;
}

/// Waits until the application answers with that value.
async fn has(visitor: &Visitor, agent: &mut Agent, value: &str) -> Pid {
    let answers = async |_: &Agent| key(visitor).await.as_deref() == Some(value);
    agent.wait_for(&format!("the application with {value}"), SOON, answers).await;
    pid(&about(visitor).await.expect("it answers"), "pid")
}

async fn key(visitor: &Visitor) -> Option<String> {
    Some(about(visitor).await?["environment"]["SECRET_KEY"].as_str()?.to_owned())
}

/// Waits until a part says that.
async fn says(agent: &mut Agent, part: &str, words: &str) {
    agent.wait_for(words, SOON, async |agent: &Agent| agent.part(part).to_string().contains(words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secret_is_found_nowhere_but_in_the_application() {
    let canary = "canary-5b1e77c0d2";
    let hosted = hosted().await;
    put(&hosted, &json!({ "SECRET_KEY": canary, "OTHER": "canary-5b1e77c0d3", "NUMBER": 5 })).await;
    hosted.publish("one", NEEDS).await;
    let unit = hosted.instance.unit();
    let mut agent = hosted.instance.start_in(&unit);
    let process = has(&hosted.visitor, &mut agent, canary).await;
    agent.wait_until_serving(SOON).await;
    let told = about(&hosted.visitor).await.expect("it answers");
    assert_eq!(told["environment"]["OTHER"], Value::Null, "only what is needed: {told}");
    let config = hosted.instance.config_path().display().to_string();
    let script = "test \"$SECRET_KEY\" = \"$0\" && test -z \"$OTHER\"";
    let ran = hosted.instance.command(&["app", "run", "--config", &config, "--", "sh", "-c", script, canary]).await;
    assert_eq!(ran.code, Some(0), "a command beside it has it, too: {ran:?}");
    // A crash is written down as well.
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGQUIT).expect("killed");
    has(&hosted.visitor, &mut agent, canary).await;

    agent.kill().await;
    let mut agent = hosted.instance.start_in(&unit);
    has(&hosted.visitor, &mut agent, canary).await;
    agent.wait_until_serving(SOON).await;
    hosted.instance.wait_until_told(&mut agent, SOON).await;
    let status = hosted.instance.command(&["app", "status"]).await;
    for (what, text) in [("the log", agent.log()), ("what `status` prints", status.stdout + &status.stderr)] {
        assert!(!text.contains("canary-"), "{what}: {text}");
    }
    let folder = hosted.instance.config_path().parent().expect("a folder").to_owned();
    assert_eq!(holding(&folder, b"canary-"), Vec::<PathBuf>::new());
    let app = PathBuf::from(told["folder"].as_str().expect("a folder"));
    assert_eq!(holding(&app, b"canary-"), Vec::<PathBuf>::new());
    let names = hosted.instance.account.names("").await;
    for name in names.iter().filter(|name| !name.ends_with(".zip")) {
        if let Some(paper) = hosted.instance.account.paper(name).await {
            assert!(!paper.to_string().contains("canary-"), "{name}: {paper}");
        }
    }
    // Words of all commands, and environments, of which the application's own alone has it.
    let mut with_it = Vec::new();
    for entry in fs::read_dir("/proc").expect("procfs").flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!contains(&words, canary.as_bytes()), "{}", String::from_utf8_lossy(&words));
        if contains(&fs::read(entry.path().join("environ")).unwrap_or_default(), canary.as_bytes()) {
            with_it.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let now = pid(&about(&hosted.visitor).await.expect("it answers"), "pid");
    assert_eq!(with_it, [now.to_string()]);
}

/// The files below a folder in which that stands.
fn holding(folder: &Path, what: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            found.extend(holding(&entry.path(), what));
        } else if kind.is_file() && contains(&fs::read(entry.path()).unwrap_or_default(), what) {
            found.push(entry.path());
        }
    }
    found
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|part| part == what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_waits_for_a_secret_that_is_missing_and_files_are_served_meanwhile() {
    let hosted = hosted().await;
    let package = hosted.publish("one", NEEDS).await;
    let mut agent = hosted.instance.start();
    let files = async |_: &Agent| front(&hosted.visitor).await.is_some_and(|page| page.contains("one"));
    agent.wait_for("the files", SOON, files).await;
    says(&mut agent, "secrets", "aws secretsmanager create-secret").await;
    says(&mut agent, "application", "it waits for secret SECRET_KEY").await;
    let examined = hosted.instance.command(&["doctor"]).await;
    assert!(examined.stdout.contains("aws secretsmanager create-secret --name site/app"), "{examined:?}");

    for (value, words) in [
        ("canary-1", "it is no JSON object"),
        ("{\"SECRET_KEY\": [\"canary-1\"]}", "SECRET_KEY"),
        ("{\"SECRET-KEY\": \"canary-1\"}", "is no name of a variable"),
    ] {
        hosted.instance.account.put_in_secret(SECRET, value).await;
        says(&mut agent, "secrets", words).await;
    }
    put(&hosted, &json!({ "OTHER": "canary-1", "LD_PRELOAD": "canary-1" })).await;
    says(&mut agent, "application", "does not have it").await;
    assert!(agent.part("application").to_string().contains("aws secretsmanager put-secret-value --secret-id site/app"));
    // Nobody waits for what a person has to do first.
    let began = Instant::now();
    let answer = hosted.visitor.send(plain(Method::GET, "/about"), true).await.expect("an answer");
    assert_eq!(answer.status, 503);
    assert!(began.elapsed() < Duration::from_secs(20), "it was held");
    let waits = async |agent: &Agent| agent.part("listener")["waits_for"] == "the application";
    agent.wait_for("the listener to wait for the application", SOON, waits).await;
    assert!(!agent.log().contains("canary-"), "{}", agent.log());
    assert_eq!(hosted.instance.account.verdict(&package).await, None, "it says nothing of the package");

    put(&hosted, &json!({ "SECRET_KEY": "first" })).await;
    has(&hosted.visitor, &mut agent, "first").await;
    agent.wait_until_serving(SOON).await;
    let examined = hosted.instance.command(&["doctor"]).await;
    assert!(examined.stdout.contains("its secrets can be read: 1 value of secret site/app"), "{examined:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn printed_policy_is_enough_to_read_the_secret_and_the_right_that_lacks_is_named() {
    let hosted = hosted().await;
    put(&hosted, &json!({ "SECRET_KEY": "first" })).await;
    hosted.publish("one", NEEDS).await;
    let text = toml::to_string(&hosted.instance.configuration).expect("TOML");
    let policy = Policy::printed(&text, "host", &[]).await.expect("a valid configuration");
    hosted.instance.aws.obey(&policy.without("ReadTheSecretsOfTheApplication"));
    let mut agent = hosted.instance.start();
    says(&mut agent, "secrets", "allow secretsmanager:GetSecretValue").await;
    let files = async |_: &Agent| front(&hosted.visitor).await.is_some_and(|page| page.contains("one"));
    agent.wait_for("the files", SOON, files).await;
    hosted.instance.aws.obey(&policy);
    has(&hosted.visitor, &mut agent, "first").await;
    agent.wait_until_serving(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_secret_is_a_swap_and_one_that_cannot_be_read_changes_nothing() {
    let hosted = hosted().await;
    put(&hosted, &json!({ "SECRET_KEY": "first" })).await;
    hosted.publish("one", NEEDS).await;
    let unit = hosted.instance.unit();
    let mut agent = hosted.instance.start_in(&unit);
    let first = has(&hosted.visitor, &mut agent, "first").await;
    put(&hosted, &json!({ "SECRET_KEY": "second" })).await;
    let second = has(&hosted.visitor, &mut agent, "second").await;
    agent.wait_for("the end of the first", SOON, async |_| !lives(first)).await;
    assert_ne!(first, second);

    // Neither another value that is not needed, nor one that is none, nor a missing one.
    put(&hosted, &json!({ "SECRET_KEY": "second", "OTHER": "x" })).await;
    says(&mut agent, "secrets", "2 values of secret site/app").await;
    hosted.instance.account.schedule_deletion_of(SECRET).await;
    says(&mut agent, "secrets", "aws secretsmanager restore-secret --secret-id site/app").await;
    assert_eq!(has(&hosted.visitor, &mut agent, "second").await, second, "it goes on");
    hosted.instance.account.restore(SECRET).await;
    hosted.instance.account.put_in_secret(SECRET, "[]").await;
    says(&mut agent, "secrets", "it is a list").await;
    put(&hosted, &json!({ "OTHER": "x" })).await;
    says(&mut agent, "application", "it waits for secret SECRET_KEY").await;
    assert_eq!(has(&hosted.visitor, &mut agent, "second").await, second, "it goes on");
    put(&hosted, &json!({ "SECRET_KEY": "second" })).await;
    agent.wait_for_phase("application", "kept", SOON).await;

    // An agent that is started again knows whether it has those of now.
    agent.kill().await;
    let mut agent = hosted.instance.start_in(&unit);
    agent.wait_for_phase("secrets", "kept", SOON).await;
    agent.wait_for_phase("application", "kept", SOON).await;
    assert_eq!(has(&hosted.visitor, &mut agent, "second").await, second, "{}", agent.log());
    agent.kill().await;
    put(&hosted, &json!({ "SECRET_KEY": "third" })).await;
    let mut agent = hosted.instance.start_in(&unit);
    has(&hosted.visitor, &mut agent, "third").await;
    agent.wait_for("the end of the second", SOON, async |_| !lives(second)).await;

    // A version that needs more than there is changes nothing.
    hosted.publish("two", "needs = ['SECRET_KEY', 'MORE']").await;
    says(&mut agent, "application", "it waits for secret MORE").await;
    assert_eq!(version(&hosted.visitor).await.as_deref(), Some("one"));
    put(&hosted, &json!({ "SECRET_KEY": "third", "MORE": "" })).await;
    hosted.answers(&mut agent, "two").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn developer_supplies_what_the_site_needs_by_the_environment_or_a_file() {
    let laptop = Laptop::new();
    let tree = laptop.site().join(".app");
    fs::create_dir(&tree).expect("a folder");
    let program = tools::repository().join("tests/applications/owned/app.js");
    fs::copy(program, tree.join("app.js")).expect("the application");
    let notes = laptop.folder.path().join("notes").display().to_string();
    let settings = format!(
        "[app]\nrun = '{}'\nhealth = '/health'\nneeds = ['SECRET_KEY', 'TOKEN']\n[app.env]\nVERSION = 'one'\nNOTES = '{notes}'\n",
        Server::Node.run()
    );
    fs::write(laptop.site().join("site.toml"), settings).expect("written");
    let file = laptop.folder.path().join("env");
    fs::write(&file, "# mine\nSECRET_KEY=from-the-file\n").expect("written");
    let file_name = file.display().to_string();
    let variables = [("SECRET_KEY", "from-the-shell".to_owned()), ("UNRELATED", "x".to_owned())];
    let (mut agent, visitor, _) = laptop.up_with(&laptop.site(), &["--env-file", &file_name], &variables).await;
    let files = async |_: &Agent| front(&visitor).await.is_some_and(|page| page.contains("first"));
    agent.wait_for("the files", SOON, files).await;
    let cure = "start again as TOKEN=… spothost up PATH, or write TOKEN=… into a file and say --env-file FILE";
    agent.wait_for("the cure", SOON, async |agent: &Agent| agent.log().contains(cure)).await;
    fs::write(&file, "SECRET_KEY=from-the-file\nTOKEN='from the file'\n").expect("written");
    has(&visitor, &mut agent, "from-the-shell").await;
    let told = about(&visitor).await.expect("it answers");
    assert_eq!(told["environment"]["TOKEN"], "from the file", "{told}");
    assert_eq!(told["environment"]["UNRELATED"], Value::Null, "{told}");
}
