//! `spothost init` writes what a new site begins with, and nothing at AWS.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use world::{Account, Operator, binary};

/// An operator, and where the files are to go.
async fn operator() -> (Operator, PathBuf) {
    let operator = Operator::of(&Account::new().await).await;
    operator.aws.record_for("domain = \"a.example\"\npackage = \"s3://sites/\"\nvault = \"v\"\nzone = \"Z1\"\n");
    let folder = operator.home().join("new");
    (operator, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_site_has_a_configuration_parameters_a_bill_and_the_next_commands() {
    let (operator, folder) = operator().await;
    let domain = operator.account.domain();
    let dir = folder.display().to_string();
    let arguments =
        ["init", "--domain", &domain, "--alias", &operator.account.apex, "--program", "/bin/true", "--dir", &dir];
    let ended = operator.run(&arguments).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let written = fs::read_to_string(folder.join("spothost.toml")).expect("written");
    assert!(written.contains(&format!("zone    = \"{}\"", operator.account.zone)), "the zone was not found: {written}");
    let parameters = fs::read_to_string(folder.join("stack-parameters.json")).expect("written");
    let parameters: Value = serde_json::from_str(&parameters).expect("JSON");
    let of =
        |key: &str| parameters.as_array().expect("a list").iter().find(|one| one["ParameterKey"] == key).expect(key);
    let bucket = format!("{}-{}", domain.replace('.', "-"), operator.account.id);
    assert_eq!(of("SiteBucket")["ParameterValue"], bucket.as_str());
    for said in [
        "https://aws.amazon.com/ec2/pricing",
        "all together",
        "create-stack",
        "spothost publish",
        "spothost doctor",
        "us-east-1",
    ] {
        assert!(ended.stdout.contains(said), "nothing of {said}:\n{}", ended.stdout);
    }
    assert!(operator.aws.writes().is_empty(), "{:?}", operator.aws.writes());

    let again = operator.run(&arguments).await;
    assert!(again.code == Some(64) && again.stderr.contains("--force"), "{again:?}");
    let forced: Vec<_> = arguments.iter().copied().chain(["--force", "--contact", "ops@example.org"]).collect();
    assert_eq!(operator.run(&forced).await.code, Some(0));
    assert!(fs::read_to_string(folder.join("spothost.toml")).expect("there").contains("contact = \"ops@example.org\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_said_and_nothing_is_written() {
    let (operator, folder) = operator().await;
    let domain = operator.account.domain();
    let dir = folder.display().to_string();
    let table: [(&[&str], i32, &str); 5] = [
        (&["--program", "/bin/true"], 64, "--domain"),
        (&["--domain", &domain, "--program", "/etc/passwd"], 64, "not a Linux program"),
        (&["--domain", "www.nowhere.test", "--program", "/bin/true"], 1, "no public hosted zone"),
        (&["--domain", &domain, "--program", "/bin/true", "--bucket", "No_Bucket"], 64, "not the name of a bucket"),
        (&["--domain", &domain, "--program", "/bin/true", "--contact", "nobody"], 64, "not a mail address"),
    ];
    for (given, code, said) in table {
        let arguments: Vec<_> = ["init", "--dir", &dir].iter().chain(given).copied().collect();
        let ended = operator.run(&arguments).await;
        assert!(ended.code == Some(code) && ended.stderr.contains(said), "{given:?}: {ended:?}");
        assert!(!folder.join("spothost.toml").exists() && !folder.join("stack-parameters.json").exists(), "{given:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_what_no_flag_says_is_asked_for() {
    let (operator, folder) = operator().await;
    let line = format!("{} init --program /bin/true --dir {}", binary().display(), folder.display());
    // A terminal of its own (util-linux's script), into which the answers are typed.
    let mut terminal = tokio::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("PATH is set"))
        .env("TERM", "dumb")
        .envs(operator.variables())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a terminal");
    let mut keys = terminal.stdin.take().expect("a pipe");
    let answers = format!("{}\ny\nmy-own-bucket\n", operator.account.domain());
    keys.write_all(answers.as_bytes()).await.expect("typed");
    let ended = terminal.wait_with_output().await.expect("it ends");
    let said = String::from_utf8_lossy(&ended.stdout);
    drop(keys);
    assert!(ended.status.success() && said.contains("Domain of the site"), "{said}");
    let written = fs::read_to_string(folder.join("spothost.toml")).expect("written");
    assert!(written.contains(&operator.account.domain()), "{written}");
}
