//! The launch template, as EC2 reads it, and the commands around it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::bucket::Bucket;
use world::{
    rendering::{CONFIGURATION, Rendering, other_machine, this_machine},
    tools::{repository, run, tool},
};

const PROGRAM: &str = "/bin/true";
/// Amazon EC2 User Guide, "Run commands when you launch an EC2 instance".
const USER_DATA_LIMIT: usize = 16 * 1024;

#[test]
fn template_is_what_the_model_of_ec2_takes() {
    let objections = objections(&longest().template());
    assert_eq!(objections, "");
}

#[test]
fn model_sees_a_value_that_ec2_does_not_know() {
    let mut template = longest().template();
    template["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] = "sometimes".into();
    assert!(objections(&template).contains("HttpTokens"));
}

#[test]
fn template_asks_for_what_it_promises() {
    let template = longest().template();
    let data = &template["LaunchTemplateData"];
    let metadata = &data["MetadataOptions"];
    assert_eq!(metadata["HttpTokens"], "required");
    assert_eq!(metadata["HttpPutResponseHopLimit"], 1);
    assert_eq!(metadata["InstanceMetadataTags"], "enabled");
    assert_eq!(data["InstanceInitiatedShutdownBehavior"], "terminate");
    let volume = &data["BlockDeviceMappings"][0]["Ebs"];
    assert_eq!((&volume["Encrypted"], &volume["VolumeType"]), (&Value::Bool(true), &Value::from("gp3")));
    let small = if this_machine() == "arm64" { "t4g.nano" } else { "t3.nano" };
    assert_eq!(data["InstanceType"], small, "the instance is one that the binary runs on");
    assert_eq!(data.get("InstanceMarketOptions"), None, "spot is the fleet's to say");
    assert!(!template.to_string().contains('@'), "a placeholder was left");
}

#[test]
fn user_data_fits_with_the_longest_sensible_values() {
    let user_data = longest().user_data();
    assert!(user_data.len() <= USER_DATA_LIMIT, "{} bytes", user_data.len());
}

#[test]
fn user_data_that_is_too_long_is_refused_with_what_to_shorten() {
    let long = format!("{CONFIGURATION}{}", "# A comment.\n".repeat(800));
    let refusal = Rendering::new("example-sites", Path::new(PROGRAM)).configuration(&long).refusal();
    assert!(refusal.contains("16384") && refusal.contains("shorten"), "{refusal}");
}

#[test]
fn values_that_could_leave_their_quotes_are_refused() {
    let table = [
        ("--bucket", "a'; reboot '"),
        ("--bucket", "Upper_Case"),
        ("--instance-profile", "a\"b"),
        ("--security-group", "sg-1"),
        ("--image", "ami-0123456789abcdef0\n"),
        ("--root-device", "/dev/../etc"),
        ("--name", "a b"),
    ];
    for (option, value) in table {
        let refusal = Rendering::new("example-sites", Path::new(PROGRAM)).with(option, value).refusal();
        assert!(refusal.contains(option), "{option} {value:?}: {refusal}");
    }
}

#[test]
fn configuration_that_would_break_the_script_is_refused() {
    let table = [
        (format!("{CONFIGURATION}END_OF_FILE\nreboot\n"), "END_OF_FILE"),
        (format!("{CONFIGURATION}# \0\n"), "NUL"),
        (CONFIGURATION.replace("domain", "domian"), "domain"),
    ];
    for (configuration, why) in table {
        let rendering = Rendering::new("example-sites", Path::new(PROGRAM)).configuration(&configuration);
        let refusal = rendering.refusal();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn configuration_with_dos_line_ends_becomes_one_with_unix_line_ends() {
    let rendering = Rendering::new("example-sites", Path::new(PROGRAM));
    let expected = rendering.user_data();
    assert_eq!(rendering.configuration(&CONFIGURATION.replace('\n', "\r\n")).user_data(), expected);
}

#[test]
fn binary_for_another_machine_is_refused() {
    let rendering = Rendering::new("example-sites", Path::new(PROGRAM)).for_machine(other_machine());
    assert!(rendering.refusal().contains("is not a Linux binary for"));
    let script = Rendering::new("example-sites", &repository().join("launch-template/user-data.sh"));
    assert!(script.refusal().contains("is not a Linux binary for"));
}

#[test]
fn text_that_looks_like_a_placeholder_stays_as_it_is() {
    let configuration = format!("{CONFIGURATION}# @BUCKET@ @SERVICE@\n");
    let rendering = Rendering::new("example-sites", Path::new(PROGRAM)).configuration(&configuration);
    assert!(rendering.user_data().contains("# @BUCKET@ @SERVICE@\n"));
}

/// Every command of launch-template/README.md, in its order, by the AWS CLI, against moto.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_of_the_readme_are_accepted() {
    let bucket = Bucket::new().await;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let at = |path: &str| folder.path().join(path);
    let name = |text: &str| text.replace("example-sites", bucket.name());
    fs::create_dir_all(at("target/release")).expect("a folder is made");
    fs::create_dir_all(at("site")).expect("a folder is made");
    fs::copy(PROGRAM, at("target/release/spothost")).expect("a binary is placed");
    fs::write(at("site.zip"), "a site").expect("a site is placed");
    fs::write(at("spothost.toml"), CONFIGURATION).expect("the configuration is written");
    std::os::unix::fs::symlink(repository().join("launch-template"), at("launch-template")).expect("a link is made");
    // Zipping is the reader's own tool's business.
    let commands = name(&blocks("sh").replace("(cd site && zip -qr ../site.zip .)\n", ""));
    let commands = commands.replace("spothost policy ", &format!("{} policy ", world::binary().display()));
    let mut bash = bucket.with_keys(Command::new("/bin/bash"));
    let ran = run(bash.args(["-euo", "pipefail", "-c", &commands]).current_dir(folder.path()));
    let said = ran.succeeded().out;
    assert!(said.contains("\"FleetId\"") && said.contains("spothost-www.example.org"), "{said}");
}

/// What the rights are worth, the test `rights` knows.
#[test]
fn policy_of_the_readme_is_what_the_command_prints() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("spothost.toml"), CONFIGURATION).expect("the configuration is written");
    let command = blocks("sh").lines().find_map(|line| line.strip_prefix("spothost policy ").map(str::to_owned));
    let command = command.expect("the README says how");
    let arguments = command.split(" >").next().unwrap_or_default();
    let ran = run(Command::new(world::binary()).arg("policy").args(arguments.split(' ')).current_dir(folder.path()));
    let printed: Value = serde_json::from_str(&ran.succeeded().out).expect("JSON");
    assert_eq!(printed, policy());
}

/// A rendering in which everything is as long as it sensibly gets.
fn longest() -> Rendering {
    let label = "a".repeat(63);
    // 253 characters, the most that DNS takes.
    let domain = format!("{label}.{label}.{label}.{}.example.org", "b".repeat(49));
    let aliases: Vec<String> =
        (0..10).map(|n| format!("\"alias-{n}.a-rather-long-name-of-a-company.example.org\"")).collect();
    let configuration = format!(
        "domain  = \"{domain}\"\naliases = [{}]\npackage = \"s3://{label}/sites/{domain}/\"\nvault   = \"{domain}/identity\"\n\
         zone    = \"Z0123456789ABCDEFGHIJ0123456789\"\ncontact = \"the-people-who-operate-this@{domain}\"\n\n\
         [acme]\ndirectory = \"https://acme-v02.api.letsencrypt.org/directory\"\nprofile   = \"tlsserver\"\n\n\
         [listen]\nhttp  = \"[::]:80\"\nhttps = \"[::]:443\"\n\n[dns]\nttl = 60\n\n\
         [look]\npackage = \"10s\"\naddress = \"15s\"\ndeparture = \"5s\"\n",
        aliases.join(", ")
    );
    Rendering::new(&label, Path::new(PROGRAM))
        .configuration(&configuration)
        .with("--instance-profile", &"p".repeat(128))
}

/// What EC2's model says against a template; nothing when it has no objection.
fn objections(template: &Value) -> String {
    let mut model = Command::new(tool("python/bin/python"))
        .arg(repository().join("tests/ground/ec2_model.py"))
        .arg("CreateLaunchTemplate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the model starts");
    let input = model.stdin.take().expect("its standard input is a pipe");
    { input }.write_all(template.to_string().as_bytes()).expect("the model reads");
    let output = model.wait_with_output().expect("the model ends");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(output.status.success(), said.is_empty(), "the model did not do its work: {output:?}");
    said
}

/// The policy in launch-template/README.md.
fn policy() -> Value {
    serde_json::from_str(&blocks("json")).expect("the policy is JSON")
}

/// The code blocks of launch-template/README.md of one language, one after the other.
fn blocks(language: &str) -> String {
    let readme = fs::read_to_string(repository().join("launch-template/README.md")).expect("the README is there");
    let mut inside = false;
    let mut text = String::new();
    for line in readme.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(fence) => inside = fence == language,
            None if inside => {
                text.push_str(line.trim_start_matches("   "));
                text.push('\n');
            }
            None => {}
        }
    }
    text
}
