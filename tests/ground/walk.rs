//! The way from nothing to a site on AWS of README.md and docs/deploy.md, walked as a new user would: each command as
//! `spothost init` prints it.
//!
//! The world stands in for what takes an account of AWS: moto makes the stack in an account of its own, the hosts of a fleet
//! are processes, and the CA and the ports are those of the world.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use toml::Table;
use world::{Ended, Fleet, FleetKind, Operator, Site, binary};

use crate::{
    bucket::Bucket,
    host::Host,
    stack::{configuration, made},
};
use world::tools::run;

/// How long a host may take to come up beside other tests.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_domain_to_a_site_that_answers() {
    let bucket = Bucket::new().await;
    let account = bucket.account().clone();
    let operator = Operator::of(&account).await;
    let home = operator.home().to_owned();
    let program = home.join("spothost");
    // What is uploaded and installed is the program itself, without what is for its authors.
    run(Command::new("strip").arg("-o").arg(&program).arg(binary())).succeeded();

    // 1. init
    let domain = account.domain();
    let dir = home.display().to_string();
    let arguments = ["init", "--domain", &domain, "--bucket", &account.bucket, "--dir", &dir, "--program"];
    let arguments: Vec<_> = arguments.into_iter().chain([program.to_str().expect("UTF-8"), "--yes"]).collect();
    let told = succeeded(operator.run(&arguments).await);

    // 2. The stack takes the parameters, and its hosts have the configuration that was written.
    let stack = stack(&home.join("stack-parameters.json"));
    assert_eq!(
        (&stack["status"], stack["outputs"]["BucketName"].as_str()),
        (&"CREATE_COMPLETE".into(), Some(&*account.bucket))
    );
    let written: Table =
        toml::from_str(&fs::read_to_string(home.join("spothost.toml")).expect("written")).expect("TOML");
    assert_eq!(toml::from_str::<Table>(&configuration(&stack)).expect("TOML"), written);

    // 3. The program is uploaded where the user data of the stack looks for it.
    let upload = command(&told, "aws s3 cp ");
    assert!(upload.ends_with(
        stack["outputs"]["First"].as_str().and_then(|first| first.split("s3://").nth(1)).expect("a command")
    ));
    let mut shell = bucket.with_keys(Command::new("sh"));
    shell.args(["-c", &upload]);
    tokio::task::spawn_blocking(move || run(&mut shell).succeeded()).await.expect("it ran");
    let host = Host::new();
    host.boot(stack["user_data"].as_str().expect("a script"), &bucket).succeeded();
    let installed = host.placed("/usr/local/bin/spothost").expect("installed");
    assert!(installed.content == fs::read(&program).expect("there"), "another program was installed");

    // 4. The fleet brings up a host, and the site is published.
    let fleet = Fleet::start(&account, FleetKind::Group, Table::new()).await;
    let site = home.join("site");
    for (name, body) in Site::titled("Walked").files() {
        fs::create_dir_all(site.join(name).parent().expect("a parent")).expect("a folder");
        fs::write(site.join(name), body).expect("a file");
    }
    let publish = command(&told, "spothost publish ").replace("publish site", &format!("publish {}", site.display()));
    let arguments: Vec<_> = publish.split(' ').skip(1).chain(["--timeout", "60s"]).collect();
    succeeded(operator.run(&arguments).await);
    let owner = fleet.owner_other_than(None, SOON).await;

    // 5. Doctor and hosts find it well. The ports and the CA are those of the world.
    let mut written = written;
    for key in ["acme", "listen"] {
        written.insert(key.to_owned(), owner.instance.configuration[key].clone());
    }
    let doctor = operator.doctor(&written, &["--json"]).await;
    let lines: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let wrong: Vec<_> = lines.as_array().expect("lines").iter().filter(|line| line["is"] == "wrong").collect();
    assert!(doctor.code == Some(0) && wrong.is_empty(), "{lines:#}");
    let configuration = home.join("spothost.toml").display().to_string();
    let hosts = succeeded(operator.run(&["hosts", "--config", &configuration]).await);
    assert!(hosts.contains(&owner.id()) && hosts.contains("owner"), "{hosts}");
    let front = owner.instance.visitor().get("/").await.expect("an answer");
    assert!(front.status == 200 && front.text().contains("Walked"));
}

fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// The command that `init` printed which begins so.
fn command(told: &str, begin: &str) -> String {
    let line = told.lines().map(str::trim).find(|line| line.starts_with(begin));
    line.unwrap_or_else(|| panic!("no command `{begin}` in {told}")).to_owned()
}

/// What moto makes of the stack with the parameters in that file.
fn stack(parameters: &Path) -> Value {
    let parameters: Value = serde_json::from_slice(&fs::read(parameters).expect("written")).expect("JSON");
    let text = |parameter: &Value, key: &str| parameter[key].as_str().expect("text").to_owned();
    let parameters = parameters.as_array().expect("a list").iter();
    let pairs: Vec<_> =
        parameters.map(|one| format!("{}={}", text(one, "ParameterKey"), text(one, "ParameterValue"))).collect();
    made(&pairs.iter().map(String::as_str).collect::<Vec<_>>())
}
