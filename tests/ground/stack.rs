//! The CloudFormation stack: judged by cfn-lint, created on moto, and its role tried by hosts.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use serde_json::{Value, json};
use world::{Instance, Policy, Service, Site};

use crate::{bucket::Bucket, host::Host};
use world::{
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
    assert_eq!(made["outputs"]["FleetId"], made["groups"][0]["AutoScalingGroupName"]);
    assert!(made["outputs"]["RoleName"].as_str().is_some_and(|name| name.starts_with("site-Role-")), "doctor takes it");
    let types = made["types"].as_array().expect("types");
    assert!(!types.contains(&json!("AWS::IAM::Policy")), "nobody has a shell who did not ask for one");
    policy_is_what_the_command_prints(&made, "auto-scaling-group");
}

/// The group has room for every host's successor; the hosts know their number, and their role has what the mode needs.
#[test]
fn number_of_hosts_and_mode_are_the_groups_the_configurations_and_the_roles() {
    /// The parameters, the sizes of the group, and what the configuration says of the mode and the number.
    type Row<'a> = (&'a [&'a str], [&'a str; 3], Option<&'a str>, Option<i64>);
    let table: [Row<'_>; 4] = [
        (&["Hosts=2"], ["2", "2", "4"], None, Some(2)),
        (&["DnsMode=multivalue"], ["1", "1", "2"], Some("multivalue"), Some(1)),
        (&["Hosts=3", "DnsMode=multivalue"], ["3", "3", "6"], Some("multivalue"), Some(3)),
        (&["Hosts=8", "More=dns.ttl = 30\n[look]\npackage = \"20s\"\n"], ["8", "8", "16"], None, Some(8)),
    ];
    for (made, (given, sizes, mode, target)) in made_each("eu-central-1", &table.map(|row| row.0)).iter().zip(table) {
        let group = &made["groups"][0];
        let is = ["MinSize", "DesiredCapacity", "MaxSize"].map(|size| group[size].to_string());
        assert_eq!(is, sizes, "{given:?}");
        let configuration: toml::Table = toml::from_str(&configuration(made)).expect("TOML");
        let said = |table: &str, key: &str| configuration.get(table).and_then(|table| table.get(key)).cloned();
        assert_eq!(said("dns", "mode"), mode.map(Into::into), "{given:?}");
        assert_eq!(said("fleet", "target"), target.map(Into::into), "{given:?}");
        policy_is_what_the_command_prints(made, "auto-scaling-group");
    }
    let written = written();
    let targets = [
        &written["Ec2Fleet"]["Properties"]["TargetCapacitySpecification"]["TotalTargetCapacity"],
        &written["SpotFleet"]["Properties"]["SpotFleetRequestConfigData"]["TargetCapacity"],
    ];
    assert_eq!(targets, [&json!({ "Ref": "Hosts" }); 2], "moto makes neither");
}

/// AWS Systems Manager User Guide, "Create a custom IAM role for Session Manager", without its S3 and KMS.
#[test]
fn shell_is_the_rights_of_sessions_and_is_refused_where_no_agent_would_use_them() {
    let made = made(&["Shell=session-manager"]);
    assert!(made["types"].as_array().expect("types").contains(&json!("AWS::IAM::Policy")));
    policy_is_what_the_command_prints(&made, "auto-scaling-group");
    let template = template();
    let rights = &template["Resources"]["ShellRights"];
    assert_eq!(
        (&rights["Condition"], &rights["Properties"]["Roles"]),
        (&json!("WithShell"), &json!([{ "Ref": "Role" }]))
    );
    let statements = rights["Properties"]["PolicyDocument"]["Statement"].as_array().expect("statements");
    let channels = ["CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel"];
    let expected: Vec<String> = [String::from("ssm:UpdateInstanceInformation")]
        .into_iter()
        .chain(channels.map(|channel| format!("ssmmessages:{channel}")))
        .collect();
    assert!(statements.len() == 1 && statements[0]["Action"] == json!(expected), "{statements:?}");
    let rule = &template["Rules"]["ShellHasItsAgent"];
    let has_it = &rule["Assertions"][0]["Assert"]["Fn::Contains"];
    assert_eq!(has_it, &json!([["amazon-linux-2023", "ubuntu-24-04"], { "Ref": "System" }]));
}

#[test]
fn architecture_decides_type_and_program() {
    let made = made(&["Architecture=arm64"]);
    assert_eq!(made["template"]["InstanceType"], "t4g.nano");
    let first = made["outputs"]["First"].as_str().expect("a command");
    assert!(first.ends_with("/spothost-arm64"), "{first}");
}

fn policy_is_what_the_command_prints(made: &Value, fleet: &str) {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let path = folder.path().join("spothost.toml");
    fs::write(&path, configuration(made)).expect("the configuration is written");
    let printed = run(Command::new(world::binary())
        .args(["policy", "--region", "eu-central-1", "--account", "123456789012", "--fleet", fleet, "--config"])
        .arg(path))
    .succeeded();
    let printed: Value = serde_json::from_str(&printed.out).expect("JSON");
    assert_eq!(in_order(printed), in_order(made["policy"].clone()));
}

#[test]
fn role_has_the_rights_of_the_command_whatever_the_parameters_say() {
    let wildcard = "Aliases=example.org,*.example.org,*.shop.example.org,shop.example.org";
    let stacks: [&[&str]; 3] = [
        &["Aliases=example.org,blog.example.org", "Fleet=ec2-fleet"],
        &[wildcard, "Fleet=auto-scaling-group", "Vault=shared/www", "Prefix=sites/www/"],
        &["Aliases=*.www.example.org", "Fleet=auto-scaling-group"],
    ];
    let made = made_each("eu-central-1", &stacks);
    for (made, fleet) in made.iter().zip(["ec2-fleet", "auto-scaling-group", "auto-scaling-group"]) {
        policy_is_what_the_command_prints(made, fleet);
    }
}

/// moto makes no Spot Fleet of a launch template, so its statements are read as they are written.
#[test]
fn role_of_a_spot_fleet_has_its_rights_and_no_others() {
    let written = written();
    let statements = &written["Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"];
    let of_a_fleet = statements.as_array().expect("statements").iter().filter_map(|one| one["Fn::If"].as_array());
    let of_a_fleet: Vec<_> = of_a_fleet
        .map(|branches| {
            (branches[0].as_str().expect("a condition"), branches[1]["Sid"].as_str(), branches[2]["Sid"].as_str())
        })
        .collect();
    let expected = [
        ("ByAutoScaling", Some("SeeTheGroup"), None),
        ("ByEc2Fleet", Some("SeeTheEc2Fleet"), None),
        ("BySpotFleet", Some("SeeTheSpotFleet"), None),
        ("ByAutoScaling", Some("SetTheGroup"), None),
        ("ByEc2Fleet", Some("SetTheEc2Fleet"), None),
        ("BySpotFleet", Some("SetTheSpotFleet"), None),
        ("ByAutoScaling", None, Some("EndAHostOfTheSite")),
        ("Multivalue", Some("SeeHealthChecks"), None),
        ("Multivalue", Some("MakeHealthChecks"), None),
        ("Multivalue", Some("DeleteHealthChecks"), None),
    ];
    assert_eq!(of_a_fleet, expected);
}

#[test]
fn fleets_interfaces_and_instances_have_the_tag_by_which_the_role_knows_them() {
    let written = written();
    let tag = json!({ "Key": "spothost:domain", "Value": { "Ref": "Domain" } });
    let template = &written["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["TagSpecifications"];
    // The service-linked role of EC2 Fleet may tag these and no network interfaces (AWSEC2FleetServiceRolePolicy).
    for kind in ["instance", "volume"] {
        let tags = template.as_array().expect("kinds").iter().find(|one| one["ResourceType"] == kind).expect(kind);
        assert!(tags["Tags"].as_array().is_some_and(|tags| tags.contains(&tag)), "{kind}: {tags}");
    }
    let of_the_group = &written["AutoScalingGroup"]["Properties"]["Tags"][0];
    assert_eq!((&of_the_group["Key"], &of_the_group["Value"]), (&tag["Key"], &tag["Value"]));
    let ec2 = &written["Ec2Fleet"]["Properties"]["TagSpecifications"][0];
    assert_eq!(*ec2, json!({ "ResourceType": "fleet", "Tags": [tag] }));
    let spot = &written["SpotFleet"]["Properties"]["SpotFleetRequestConfigData"]["TagSpecifications"][0];
    assert_eq!(*spot, json!({ "ResourceType": "spot-fleet-request", "Tags": [tag] }));
}

/// The root volume is encrypted and sized as it is said, whatever the system calls it; and it is the only one.
#[test]
fn root_of_every_system_is_the_one_volume_that_is_mapped() {
    let table: [(&[&str], &str, &str); 4] = [
        (&["System=debian-12", "RootGiB=12"], "/dev/xvda", "debian/release/12/latest/amd64"),
        (&["System=debian-13", "Architecture=arm64", "RootGiB=12"], "/dev/xvda", "debian/release/13/latest/arm64"),
        (&["System=ubuntu-24-04", "RootGiB=12"], "/dev/sda1", "24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"),
        (
            &["Image=ami-0123456789abcdef0", "RootDevice=/dev/nvme0n1", "RootGiB=12"],
            "/dev/nvme0n1",
            "ami-0123456789abcdef0",
        ),
    ];
    for (made, (parameters, root, image)) in made_each("eu-central-1", &table.map(|row| row.0)).iter().zip(table) {
        let expected = json!([{
            "DeviceName": root,
            "Ebs": { "VolumeType": "gp3", "VolumeSize": 12, "Encrypted": true, "DeleteOnTermination": true },
        }]);
        assert_eq!(made["template"]["BlockDeviceMappings"], expected, "{parameters:?}");
        let said = made["template"]["ImageId"].as_str().expect("an image");
        assert!(said.trim_end_matches("}}").ends_with(image), "{parameters:?}: {said}");
    }
}

/// The patterns are Java's at AWS; these mean the same in Python.
#[test]
fn parameters_are_refused_that_would_not_come_up() {
    let table = [
        ("Aliases", "", true),
        ("Aliases", "example.org", true),
        ("Aliases", "*.example.org", true),
        ("Aliases", "Example.org", false),
        ("Aliases", "www.*.example.org", false),
        ("Aliases", "*", false),
        ("Aliases", "example", false),
        ("Prefix", "www/", true),
        ("Prefix", "sites/www.example.org/", true),
        ("Prefix", "www", false),
        ("Prefix", "w*w/", false),
        ("Prefix", "w?w/", false),
        ("Prefix", "${aws:username}/", false),
        ("Image", "ami-0123456789abcdef0", true),
        ("Image", "/aws/service/debian/release/12/latest/amd64", false),
        ("RootDevice", "/dev/sda1", true),
        ("RootDevice", "sda1", false),
    ];
    let template = template();
    for (parameter, value, allowed) in table {
        let pattern = template["Parameters"][parameter]["AllowedPattern"].as_str().expect("a pattern");
        let matches = "import re, sys; sys.exit(0 if re.fullmatch(sys.argv[1], sys.argv[2]) else 1)";
        let ran = run(Command::new(tool("cloudformation/bin/python")).args(["-c", matches, pattern, value]));
        assert_eq!(ran.code == Some(0), allowed, "{parameter} {value:?}");
    }
}

#[test]
fn bucket_answers_tls_alone_and_a_spot_fleet_has_its_role_for_this_account_alone() {
    let written = written();
    let policy = &written["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    let statement = policy.as_array().and_then(|all| all.first()).expect("a statement");
    assert_eq!((&statement["Effect"], &statement["Principal"]), (&json!("Deny"), &json!("*")));
    assert_eq!(statement["Condition"], json!({ "Bool": { "aws:SecureTransport": "false" } }));
    assert_eq!(statement["Resource"].as_array().map(Vec::len), Some(2), "the bucket, and what is in it");
    let trust = &written["SpotFleetRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(trust["Condition"], json!({ "StringEquals": { "aws:SourceAccount": { "Ref": "AWS::AccountId" } } }));
}

/// checkov's findings that are meant so have their reasons beside them.
#[test]
fn findings_of_checkov_are_suppressed_with_their_reasons() {
    let written = written();
    for (resource, id) in [("Bucket", "CKV_AWS_18"), ("Visitors", "CKV_AWS_260"), ("LaunchTemplate", "CKV_AWS_88")] {
        let skipped = written[resource]["Metadata"]["checkov"]["skip"].as_array().expect(resource);
        assert!(matches!(skipped.as_slice(), [one] if one["id"] == id && one["comment"].is_string()), "{skipped:?}");
    }
}

/// A site with such aliases boots with the role that the stack makes for it: it orders, serves and owns every name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_comes_up_under_the_role_of_the_stack_whatever_its_aliases() {
    let aliases: [fn(&str) -> Vec<String>; 4] = [
        |_| Vec::new(),
        |apex| vec![apex.to_owned(), format!("blog.{apex}")],
        |apex| vec![format!("*.{apex}")],
        |apex| vec![apex.to_owned(), format!("*.{apex}")],
    ];
    let mut hosts = Vec::new();
    for aliases in aliases {
        let mut instance = Instance::new().await;
        let account = instance.account.clone();
        let aliases = aliases(&instance.account.apex);
        account.put("site-latest.zip", Site::titled("aliases").zip()).await;
        let named: Vec<toml::Value> = aliases.iter().map(|name| name.as_str().into()).collect();
        instance.configuration.insert("aliases".to_owned(), named.into());
        let parameters = [
            format!("Domain={}", account.domain()),
            format!("Zone={}", account.zone),
            format!("Aliases={}", aliases.join(",")),
            format!("SiteBucket={}", account.bucket),
        ];
        hosts.push((instance, aliases, parameters));
    }
    let parameters: Vec<Vec<String>> = hosts.iter().map(|host| host.2.to_vec()).collect();
    let made = tokio::task::spawn_blocking(move || {
        let parameters: Vec<Vec<&str>> =
            parameters.iter().map(|stack| stack.iter().map(String::as_str).collect()).collect();
        made_each("us-east-1", &parameters.iter().map(Vec::as_slice).collect::<Vec<_>>())
    });
    let made = made.await.expect("made");
    let booted = hosts.iter().zip(&made).map(async |((instance, aliases, _), made)| {
        instance.aws.obey(&Policy::parse(&made["policy"].to_string()));
        let mut agent = instance.start();
        agent.wait_until_serving(Duration::from_secs(120)).await;
        assert!(instance.is_led_to().await, "{aliases:?}");
        for name in aliases.iter().filter(|name| !name.starts_with('*')) {
            assert_eq!(instance.account.answers(name, "A").await, [instance.address.to_string()], "{name}");
        }
        let calls = instance.aws.calls();
        let denied: Vec<_> =
            calls.iter().filter(|call| call.service != Service::S3 && call.status == Some(403)).collect();
        assert!(denied.is_empty(), "{aliases:?}: {denied:?}");
        assert_eq!(agent.stop().await, Some(0));
    });
    futures_util::future::join_all(booted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn user_data_of_the_stack_makes_a_host() {
    let bucket = Bucket::new().await;
    let hash = run(Command::new("sha256sum").arg(PROGRAM)).succeeded().out;
    let hash = hash.split_whitespace().next().expect("a hash");
    let made = made(&[&format!("ProgramSha256={hash}"), "Aliases=example.org,blog.example.org"]);
    policy_is_what_the_command_prints(&made, "auto-scaling-group");
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

/// The template as it is written.
fn template() -> Value {
    let decoded = "import json, sys, cfnlint.decode; print(json.dumps(cfnlint.decode.decode(sys.argv[1])[0]))";
    let stack = repository().join("launch-template/stack.yaml");
    let ran = run(Command::new(tool("cloudformation/bin/python")).args(["-c", decoded]).arg(stack));
    serde_json::from_str(&ran.succeeded().out).expect("JSON")
}

/// Its resources.
fn written() -> Value {
    template()["Resources"].clone()
}

/// What moto makes of the stack with these parameters.
pub(crate) fn made(more: &[&str]) -> Value {
    made_each("eu-central-1", &[more]).remove(0)
}

/// What it makes of several of them in that region.
fn made_each(region: &str, stacks: &[&[&str]]) -> Vec<Value> {
    let hash = format!("ProgramSha256={}", "a".repeat(64));
    let least = ["Domain=www.example.org", "Zone=Z0123456789ABC", &hash];
    let parameters: Vec<Vec<&str>> = stacks.iter().map(|more| [&least, *more].concat()).collect();
    let ran = run(Command::new(tool("cloudformation/bin/python"))
        .arg(repository().join("tests/ground/stack_on_moto.py"))
        .arg(repository().join("launch-template/stack.yaml"))
        .arg(region)
        .args(parameters.join(&"--")));
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
            // An apex and its wildcard are proven at one name, which the stack says twice.
            names.dedup();
        }
    }
    policy
}
