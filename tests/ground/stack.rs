//! The CloudFormation stack: judged by cfn-lint, and created on moto.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use crate::{
    bucket::Bucket,
    host::Host,
    rendering::this_machine,
    tools::{repository, run, tool},
};

const CFN_LINT: &str = "import sys; from cfnlint.runner import main; sys.exit(main())";
const PROGRAM: &str = "/bin/true";
/// Amazon EC2 User Guide, "Run commands when you launch an EC2 instance".
const USER_DATA_LIMIT: usize = 16 * 1024;
/// AWS CloudFormation User Guide, "CloudFormation quotas": of a template that is passed with the request.
const TEMPLATE_LIMIT: u64 = 51_200;

#[test]
fn stack_satisfies_cfn_lint() {
    let stack = repository().join("launch-template/stack.yaml");
    let ran = run(Command::new(tool("cloudformation/bin/python")).args(["-c", CFN_LINT]).arg(&stack));
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:#?}");
    assert!(fs::metadata(stack).expect("it is there").len() <= TEMPLATE_LIMIT, "it cannot be passed with the request");
}

#[test]
fn stack_has_the_user_data_and_the_units_as_they_are() {
    let render = repository().join("launch-template/render");
    let ran = run(Command::new("python3").arg(render).arg("--stack")).succeeded();
    let written = fs::read_to_string(repository().join("launch-template/stack.yaml")).expect("it is there");
    assert!(ran.out == written, "say: launch-template/render --stack >new && mv new launch-template/stack.yaml");
}

#[test]
fn stack_makes_what_it_promises() {
    let made = made(&[]);
    assert_eq!(made["status"], "CREATE_COMPLETE");
    let template = &made["template"];
    let metadata = json!({
        "HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled",
    });
    assert_eq!(template["MetadataOptions"], metadata);
    assert_eq!(template["BlockDeviceMappings"][0]["Ebs"]["Encrypted"], true);
    assert_eq!(template["InstanceInitiatedShutdownBehavior"], "terminate");
    let group = &made["groups"][0];
    assert_eq!((&group["MinSize"], &group["DesiredCapacity"], &group["MaxSize"]), (&json!(1), &json!(1), &json!(2)));
    let spread = &group["MixedInstancesPolicy"]["InstancesDistribution"];
    assert_eq!(spread["OnDemandPercentageAboveBaseCapacity"], 0, "spot by default");
    assert_eq!(made["written"]["AutoScalingGroup"]["Properties"]["CapacityRebalance"], true);

    let bucket = &made["written"]["Bucket"]["Properties"];
    assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled");
    let blocked = bucket["PublicAccessBlockConfiguration"].as_object().expect("it is blocked");
    assert!(blocked.len() == 4 && blocked.values().all(|value| *value == true), "{blocked:?}");
    let ingress = made["written"]["Visitors"]["Properties"]["SecurityGroupIngress"].as_array().expect("rules");
    let open = |rule: &Value| {
        let from = rule.get("CidrIp").or(rule.get("CidrIpv6")).and_then(Value::as_str).map(str::to_owned);
        (rule["FromPort"].as_u64(), rule["ToPort"].as_u64(), from.unwrap_or_default())
    };
    let open: BTreeSet<_> = ingress.iter().map(open).collect();
    let expected = [80, 443]
        .into_iter()
        .flat_map(|port| ["0.0.0.0/0", "::/0"].map(|from| (Some(port), Some(port), from.to_owned())));
    assert_eq!(open, expected.collect());
    let bucket = made["outputs"]["BucketName"].as_str().expect("a bucket");
    let published = format!("aws s3 cp site.zip s3://{bucket}/www/site-latest.zip");
    assert_eq!(made["outputs"]["Second"], published, "the outputs say the next command");
    policy_is_what_the_command_prints(&made);
}

#[test]
fn architecture_decides_type_and_program() {
    let made = made(&["Architecture=arm64"]);
    assert_eq!(made["template"]["InstanceType"], "t4g.nano");
    let first = made["outputs"]["First"].as_str().expect("a command");
    assert!(first.ends_with("/spothost-arm64"), "{first}");
}

fn policy_is_what_the_command_prints(made: &Value) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = folder.path().join("spothost.toml");
    fs::write(&path, configuration(made)).expect("the configuration is written");
    let printed = run(Command::new(world::binary())
        .args(["policy", "--region", "eu-central-1", "--account", "123456789012", "--config"])
        .arg(path))
    .succeeded();
    let printed: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert_eq!(in_order(printed), in_order(made["policy"].clone()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn user_data_of_the_stack_makes_a_host() {
    let bucket = Bucket::new().await;
    let hash = run(Command::new("sha256sum").arg(PROGRAM)).succeeded().out;
    let hash = hash.split_whitespace().next().expect("a hash");
    let made = made(&[&format!("ProgramSha256={hash}"), "Aliases=example.org,blog.example.org"]);
    policy_is_what_the_command_prints(&made);
    let machine = if this_machine() == "arm64" { "arm64" } else { "x86_64" };
    bucket.put(&format!("spothost/{hash}/spothost-{machine}"), std::path::Path::new(PROGRAM)).await;
    let user_data = made["user_data"].as_str().expect("a script");
    assert!(user_data.len() <= USER_DATA_LIMIT, "{} bytes", user_data.len());
    let user_data = user_data.replace(made["outputs"]["BucketName"].as_str().expect("a bucket"), bucket.name());
    let host = Host::new();
    host.boot(&user_data, &bucket).succeeded();
    for (name, path) in [("service", "/etc/systemd/system/spothost.service"), ("program", "/usr/local/bin/spothost")] {
        assert!(host.placed(path).is_some(), "there is no {name}");
    }
}

/// What moto makes of the stack with these parameters.
pub(crate) fn made(more: &[&str]) -> Value {
    let hash = "a".repeat(64);
    let ran = run(Command::new(tool("cloudformation/bin/python"))
        .arg(repository().join("tests/ground/stack_on_moto.py"))
        .arg(repository().join("launch-template/stack.yaml"))
        .args(["eu-central-1", "Domain=www.example.org", "Zone=Z0123456789ABC", &format!("ProgramSha256={hash}")])
        .args(more));
    serde_json::from_str(&ran.succeeded().out).expect("JSON")
}

/// The configuration that the user data writes.
pub(crate) fn configuration(made: &Value) -> String {
    let user_data = made["user_data"].as_str().expect("a script");
    let rest = user_data.split("configuration() {\n    cat <<'END_OF_FILE'\n").nth(1).expect("it writes one");
    rest.split("END_OF_FILE").next().unwrap_or_default().to_owned()
}

/// The same policy with the names of records sorted: their order says nothing.
fn in_order(mut policy: Value) -> Value {
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        let names = statement
            .pointer_mut("/Condition/ForAllValues:StringEquals/route53:ChangeResourceRecordSetsNormalizedRecordNames");
        if let Some(Value::Array(names)) = names {
            names.sort_by_key(Value::to_string);
        }
    }
    policy
}
