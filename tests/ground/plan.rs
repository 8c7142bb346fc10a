//! A site that runs is changed: `spothost plan` says what differs, and its commands bring it to the hosts.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use toml::Table;
use world::{
    Ended, Operator,
    rendering::{CONFIGURATION, Rendering, this_machine},
    tools::run,
};

use crate::{
    bucket::Bucket,
    stack::{configuration, made},
};

const PROGRAM: &str = "/bin/true";
const NEWER_PROGRAM: &str = "/bin/false";

/// An operator whose configuration is `text`, and what `spothost plan` says of it.
struct Laptop {
    bucket: Bucket,
    operator: Operator,
}

impl Laptop {
    async fn new() -> Laptop {
        let bucket = Bucket::new().await;
        let operator = Operator::of(bucket.account()).await;
        fs::copy(NEWER_PROGRAM, operator.home().join("spothost")).expect("a program");
        Laptop { bucket, operator }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.operator.home().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.at("spothost.toml"), text).expect("a file");
        self.operator.aws.record_for(text);
    }

    async fn plan(&self, more: &[&str]) -> Ended {
        let path = self.at("spothost.toml").display().to_string();
        let arguments: Vec<&str> = ["plan", "--config", &path].into_iter().chain(more.iter().copied()).collect();
        self.operator.run(&arguments).await
    }

    /// Has AWS make a launch template of that data.
    fn template(&self, template: &Value) {
        fs::write(self.at("template.json"), template.to_string()).expect("a file");
        self.bash("aws ec2 create-launch-template --cli-input-json file://template.json");
    }

    fn bash(&self, commands: &str) -> String {
        let mut bash = self.bucket.with_keys(Command::new("/bin/bash"));
        run(bash.args(["-euo", "pipefail", "-c", commands]).current_dir(self.operator.home())).succeeded().out
    }

    /// The commands of a plan, but the roll-out.
    fn carry_out(&self, plan: &Value) {
        for step in plan["commands"].as_array().expect("commands") {
            let command = step[1].as_str().expect("a command");
            if !command.starts_with("spothost rollout ") {
                self.bash(command);
            }
        }
    }
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_a_plan_make_the_launch_template_that_would_be_rendered() {
    let laptop = Laptop::new().await;
    let before = CONFIGURATION.replace("example-sites", laptop.bucket.name());
    laptop.configure(&before);
    let missing = laptop.plan(&[]).await;
    assert!(missing.code == Some(1) && missing.stderr.contains("spothost:domain=www.example.org"), "{missing:?}");
    laptop.template(&Rendering::new(laptop.bucket.name(), Path::new(PROGRAM)).configuration(&before).template());
    let same = laptop.plan(&["--program", PROGRAM]).await;
    assert!(same.stdout.contains("upload the program"), "it is not in the bucket: {same:?}");
    let same = laptop.plan(&[]).await;
    assert!(same.code == Some(0) && same.stdout.contains("nothing to do"), "{same:?}");

    let after = before.replace("aliases = [\"example.org\"]", "aliases = []") + "\n[dns]\nttl = 30\n";
    laptop.configure(&after);
    let program = laptop.at("spothost").display().to_string();
    let told = laptop.plan(&["--program", &program]).await;
    assert_eq!(told.code, Some(4), "{told:?}");
    for said in ["aliases", "dns.ttl", "the program", "1. upload the program", "spothost rollout --config "] {
        assert!(told.stdout.contains(said), "nothing of {said}:\n{}", told.stdout);
    }
    let plan = json_of(&laptop.plan(&["--program", &program, "--json"]).await);
    let differences = json!([
        { "key": "aliases", "hosts": "[\"example.org\"]", "here": null },
        { "key": "dns.ttl", "hosts": null, "here": "30" },
    ]);
    assert_eq!(plan["differences"], differences);
    laptop.carry_out(&plan);
    let same = laptop.plan(&["--program", &program]).await;
    assert!(same.code == Some(0) && same.stdout.contains("from version 2 "), "{same:?}");
    let id = plan["template"].as_str().expect("an id");
    let made = laptop.bash(&format!(
        "aws ec2 describe-launch-template-versions --launch-template-id {id} --versions 2 --output text --query \
         'LaunchTemplateVersions[0].LaunchTemplateData.UserData' | base64 --decode"
    ));
    let rendered = Rendering::new(laptop.bucket.name(), Path::new(NEWER_PROGRAM)).configuration(&after).user_data();
    assert_eq!(made.trim_end(), rendered.trim_end());
    assert!(laptop.operator.aws.writes().is_empty(), "looking changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_of_a_plan_make_the_stack_whose_hosts_read_what_is_here() {
    let laptop = Laptop::new().await;
    let bucket = laptop.bucket.name().to_owned();
    let named = [format!("SiteBucket={bucket}"), format!("Architecture={}", this_machine()), "RootGiB=12".to_owned()];
    let parameters: Vec<&str> =
        named.iter().map(String::as_str).chain(["More=contact = \"a@example.org\"\n"]).collect();
    let old = made(&parameters);
    let user_data = old["user_data"].as_str().expect("a script");
    let encoded = laptop.bash(&format!("base64 --wrap 0 <<'THE_END'\n{user_data}\nTHE_END"));
    let template = |tags: &[(&str, &str)]| {
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({
            "LaunchTemplateName": "www",
            "LaunchTemplateData": { "UserData": encoded.trim_end() },
            "TagSpecifications": [{ "ResourceType": "launch-template", "Tags": tags }],
        })
    };
    // A stack from before has not tagged its template with its name: it must not be changed past the stack.
    laptop.template(&template(&[("spothost:domain", "www.example.org")]));
    laptop.configure(&configuration(&old));
    let unnamed = laptop.plan(&[]).await;
    assert!(unnamed.code == Some(64) && unnamed.stderr.contains("--stack NAME"), "{unnamed:?}");
    let same = laptop.plan(&["--stack", "www"]).await;
    assert_eq!(same.code, Some(0), "{same:?}");
    laptop.bash("aws ec2 delete-launch-template --launch-template-name www");
    laptop.template(&template(&[("spothost:domain", "www.example.org"), ("spothost:stack", "www")]));

    let after = format!(
        "domain = \"www.example.org\"\naliases = [\"example.org\", \"*.example.org\"]\npackage = \"s3://{bucket}/sites/\"\n\
         vault = \"shared/www\"\nzone = \"Z0123456789ABC\"\n[dns]\nmode = \"multivalue\"\nttl = 30\n[fleet]\ntarget = 3\n\
         [look]\npackage = \"20s\"\n[acme.fallback]\ndirectory = \"https://ca.example.org/directory\"\n"
    );
    laptop.configure(&after);
    let missing = laptop.plan(&[]).await;
    assert!(missing.code == Some(64) && missing.stderr.contains("describe-stacks --stack-name www"), "{missing:?}");
    let pairs =
        parameters.iter().chain(&["Domain=www.example.org", "Zone=Z0123456789ABC"]).map(|pair| pair.split_once('='));
    let list: Vec<Value> =
        pairs.flatten().map(|(key, value)| json!({ "ParameterKey": key, "ParameterValue": value })).collect();
    fs::write(laptop.at("stack-parameters.json"), json!(list).to_string()).expect("a file");
    let program = laptop.at("spothost").display().to_string();
    let plan = json_of(&laptop.plan(&["--program", &program, "--json"]).await);
    let commands = plan["commands"].to_string();
    for said in ["aws s3 cp", "update-stack --stack-name www ", "stack-update-complete", "spothost rollout"] {
        assert!(commands.contains(said), "nothing of {said}: {plan:#}");
    }
    let written = fs::read(laptop.at("stack-parameters.json")).expect("a file");
    let written: Vec<Value> = serde_json::from_slice(&written).expect("JSON");
    let pairs: Vec<String> = written
        .iter()
        .map(|one| ["ParameterKey", "ParameterValue"].map(|key| one[key].as_str().expect("text")).join("="))
        .collect();
    let new = made(&pairs.iter().map(String::as_str).collect::<Vec<_>>());
    let read: Table = toml::from_str(&configuration(&new)).expect("TOML");
    assert_eq!(read, toml::from_str::<Table>(&after).expect("TOML"));
    assert_eq!(new["groups"][0]["DesiredCapacity"], 3);
    assert_eq!(new["template"]["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"], 12, "others stay as they are");
    let hash = plan["program"]["here"].as_str().expect("a hash");
    assert!(new["outputs"]["First"].as_str().is_some_and(|first| first.contains(hash)), "{:#}", new["outputs"]);
    for (text, said) in [
        (after.replace("target = 3", "target = 9"), "8 hosts at most"),
        (after.replace("[fleet]\ntarget = 3\n", ""), "[fleet] target"),
        (after.replace(&bucket, "another-bucket"), "another bucket"),
        (after.replace("Z0123456789ABC", "Z9999999999999"), "`zone`"),
    ] {
        laptop.configure(&text);
        let refused = laptop.plan(&[]).await;
        assert!(refused.code == Some(1) && refused.stderr.contains(said), "{said}: {refused:?}");
    }
}
