//! The user data, run for real in a throwaway root folder, against the world's S3 and IMDS. Every S3 request passes a
//! front that checks its signature, so that what these tests let through S3 would let through too.

use std::{fs, path::Path, process::Command};

use crate::{bucket::Bucket, host::Host};
use world::{
    rendering::{CONFIGURATION, Rendering, other_machine},
    tools::{repository, run, tool},
};

const BINARY: &str = "/usr/local/bin/spothost";
const CONFIGURED: &str = "/etc/spothost/spothost.toml";
const UNITS: [&str; 4] = ["spothost.service", "spothost.socket", "spothost-app.socket", "spothost-app@.service"];
/// Something that runs, answers `--version`, and is there on every Linux.
const PROGRAM: &str = "/bin/true";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn host_gets_the_binary_the_configuration_and_the_unit() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();

    let binary = host.placed(BINARY).expect("the binary is installed");
    assert_eq!(binary.mode, 0o755);
    assert!(binary.content == fs::read(PROGRAM).expect("the program can be read"), "another binary was installed");
    let configured = host.placed(CONFIGURED).expect("the configuration is installed");
    assert_eq!((configured.mode, String::from_utf8_lossy(&configured.content).as_ref()), (0o644, CONFIGURATION));
    for name in UNITS {
        let unit = host.placed(&format!("/etc/systemd/system/{name}")).expect("the unit is installed");
        let source = fs::read_to_string(repository().join("systemd").join(name)).expect("the unit is there");
        let lines = source.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let expected: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!((unit.mode, String::from_utf8_lossy(&unit.content).into_owned()), (0o644, expected), "{name}");
    }
    assert_eq!(host.files().len(), 6, "{:?}", host.files().keys());
    let told = ["daemon-reload", "enable spothost.socket spothost.service", "restart spothost.service spothost.socket"];
    assert_eq!(host.told_systemd(), told);
    assert!(host.console().contains("is done"), "{}", host.console());
    assert_eq!(bucket.reports(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn program_that_was_installed_takes_the_configuration_that_was_installed() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    let user_data = Rendering::new(bucket.name(), &world::binary()).user_data();
    bucket.put(&key_in(&user_data), &world::binary()).await;
    host.boot(&user_data, &bucket).succeeded();

    // Exit code 1 says that the bucket holds no package and the vault no certificate; 64 would be the configuration.
    let check = host.check(&bucket);
    assert_eq!(check.code, Some(1), "{check:#?}");
    fs::write(host.root().join("etc/spothost/spothost.toml"), "domian = 1").expect("the configuration is damaged");
    let check = host.check(&bucket);
    assert_eq!(check.code, Some(64), "{check:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn second_run_changes_nothing() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    let user_data = uploaded(&bucket).await;
    host.boot(&user_data, &bucket).succeeded();
    let before = host.files();
    let asked = bucket.requests().len();
    host.told_systemd();

    host.boot(&user_data, &bucket).succeeded();

    assert!(host.files() == before, "a file was written again");
    assert_eq!(host.told_systemd(), ["enable spothost.socket spothost.service", "start spothost.service"]);
    assert_eq!(bucket.requests().len(), asked, "the binary was fetched again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn run_after_a_damage_repairs_it() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    let user_data = uploaded(&bucket).await;
    host.boot(&user_data, &bucket).succeeded();
    let before = host.placed(BINARY);
    fs::write(host.root().join("usr/local/bin/spothost"), "cut off").expect("the binary is damaged");
    host.told_systemd();

    host.boot(&user_data, &bucket).succeeded();

    assert_eq!(host.placed(BINARY).map(|binary| binary.content), before.map(|binary| binary.content));
    let told = ["daemon-reload", "enable spothost.socket spothost.service", "restart spothost.service"];
    assert_eq!(host.told_systemd(), told, "the ports stay open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn binary_with_another_checksum_is_refused_and_reported() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    let user_data = uploaded(&bucket).await;
    bucket.put(&key_in(&user_data), Path::new("/bin/false")).await;

    let ran = host.boot(&user_data, &bucket);

    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(host.files().is_empty(), "{:?}", host.files().keys());
    assert_eq!(host.told_systemd(), Vec::<String>::new());
    let why = "is not the binary this template was rendered for";
    assert!(host.console().contains(why), "{}", host.console());
    assert!(matches!(bucket.reports().as_slice(), [report] if report.contains(why)), "{:?}", bucket.reports());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn missing_binary_is_reported_in_the_words_of_s3() {
    let bucket = Bucket::new().await;
    let host = Host::new().impatient();
    let user_data = Rendering::new(bucket.name(), Path::new(PROGRAM)).user_data();

    let ran = host.boot(&user_data, &bucket);

    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(host.files().is_empty(), "{:?}", host.files().keys());
    let reports = bucket.reports();
    assert!(
        matches!(reports.as_slice(), [report] if report.contains("could not be fetched") && report.contains("AccessDenied")),
        "{reports:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn binary_that_does_not_run_here_is_refused() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    // The header of a program, and nothing after it.
    let cut = host.root().join("cut");
    fs::write(&cut, &fs::read(PROGRAM).expect("the program can be read")[..64]).expect("a program is written");
    let user_data = Rendering::new(bucket.name(), &cut).user_data();
    bucket.put(&key_in(&user_data), &cut).await;
    fs::remove_file(cut).expect("the program is removed");

    let ran = host.boot(&user_data, &bucket);

    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(host.files().is_empty(), "{:?}", host.files().keys());
    assert!(bucket.reports().concat().contains("does not run on this system"), "{:?}", bucket.reports());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn instance_without_a_binary_for_it_says_so() {
    let bucket = Bucket::new().await;
    let host = Host::new();
    let binary = host.root().join("other");
    let mut program = fs::read(PROGRAM).expect("the program can be read");
    // e_machine, at offset 18 of an ELF header.
    program[18] = if other_machine() == "arm64" { 0xb7 } else { 0x3e };
    fs::write(&binary, program).expect("a program is written");
    let user_data = Rendering::new(bucket.name(), &binary).for_machine(other_machine()).user_data();

    let ran = host.boot(&user_data, &bucket);

    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let why = "there is no binary for";
    assert!(host.console().contains(why), "{}", host.console());
    assert!(bucket.reports().concat().contains(why), "{:?}", bucket.reports());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s3_that_fails_at_first_is_asked_again() {
    let bucket = Bucket::refusing(2).await;
    let host = Host::new();
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    let statuses: Vec<_> = bucket.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    assert!(host.placed(BINARY).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn trouble_that_lasts_is_reported_while_it_is_being_repeated() {
    // Asked after 0, 1 and 3 seconds; a thirtieth of the host's patience is 1.
    let bucket = Bucket::refusing(3).await;
    let host = Host::new().patient_for(30);
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    assert!(host.placed(BINARY).is_some());
    let reports = bucket.reports();
    assert!(matches!(reports.as_slice(), [report] if report.contains("is being repeated")), "{reports:?}");
    assert!(reports.concat().contains("SlowDown"), "the report has the log: {reports:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn imds_that_is_late_is_asked_again() {
    let bucket = Bucket::new().await;
    bucket.imds().answer_next(2, "placement/region", 500);
    let host = Host::new();
    let ran = host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    assert!(ran.err.contains("imds placement/region failed"), "{ran:#?}");
    assert!(host.placed(BINARY).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn aws_cli_is_used_where_there_is_one() {
    let bucket = Bucket::new().await;
    let host = Host::new().with_aws_cli();
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    let requests = bucket.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.client == "aws-cli"), "{requests:?}");
    assert!(host.placed(BINARY).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn aws_cli_that_fails_is_done_without() {
    let bucket = Bucket::new().await;
    let host = Host::new().with("aws", "echo 'Unable to locate credentials' >&2; exit 253");
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    let requests = bucket.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.client == "curl"), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bucket_of_another_region_is_asked_there() {
    let bucket = Bucket::new().await;
    bucket.account().move_bucket("eu-west-1", 301).await;
    let host = Host::new();
    host.boot(&uploaded(&bucket).await, &bucket).succeeded();
    assert!(host.placed(BINARY).is_some());
    let statuses: Vec<_> = bucket.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn front_refuses_a_wrong_signature() {
    let bucket = Bucket::of_somebody_else().await;
    let host = Host::new().impatient();
    let ran = host.boot(&uploaded(&bucket).await, &bucket);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.contains("SignatureDoesNotMatch"), "{ran:#?}");
    assert!(bucket.requests().iter().all(|request| request.status == 403), "{:?}", bucket.requests());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn unit_that_does_not_start_is_reported_with_its_last_lines() {
    let bucket = Bucket::new().await;
    let host = Host::new()
        .with("systemctl", "case $1 in restart) exit 1 ;; esac")
        .with("journalctl", "echo 'spothost: line 3: unknown key `domian`'");

    let ran = host.boot(&uploaded(&bucket).await, &bucket);

    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let reports = bucket.reports().concat();
    assert!(reports.contains("spothost.service did not start") && reports.contains("`domian`"), "{reports}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn credentials_are_in_no_argument_and_in_no_report() {
    let bucket = Bucket::new().await;
    let host = Host::new().impatient().recording("curl");
    let ran = host.boot(&Rendering::new(bucket.name(), Path::new(PROGRAM)).user_data(), &bucket);
    let said = format!("{}{}{}", host.arguments(), ran.err, bucket.reports().concat());
    assert!(said.contains("--aws-sigv4"), "{said}");
    for secret in bucket.secrets() {
        assert!(!said.contains(secret), "a credential was shown");
    }
}

#[test]
fn scripts_satisfy_shellcheck() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let rendered = folder.path().join("user-data.sh");
    fs::write(&rendered, Rendering::new("example-sites", Path::new(PROGRAM)).user_data()).expect("it is written");
    let source = repository().join("launch-template/user-data.sh");
    run(Command::new(tool("shellcheck/usr/bin/shellcheck")).arg("--severity=style").args([&source, &rendered]))
        .succeeded();
}

/// The user data of a site whose binary is in the bucket.
async fn uploaded(bucket: &Bucket) -> String {
    let user_data = Rendering::new(bucket.name(), Path::new(PROGRAM)).user_data();
    bucket.put(&key_in(&user_data), Path::new(PROGRAM)).await;
    user_data
}

/// The key of the binary that the user data fetches.
fn key_in(user_data: &str) -> String {
    let key = user_data.split("key='").map(|rest| rest.split('\'').next().unwrap_or_default());
    key.into_iter().find(|key| key.starts_with("spothost/")).expect("the user data names a key").to_owned()
}
