//! What publishes from CI: the workflow, its counterpart for a plain shell, and who looks over them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use world::{Publisher, Site};

use world::tools::{repository, run, tool};

fn ci(name: &str) -> PathBuf {
    repository().join("example/.github").join(name)
}

fn audited(workflow: &Path) -> world::tools::Ran {
    let auditor = tool("zizmor/bin/zizmor");
    run(Command::new(auditor).args(["--offline", "--no-config", "--persona=pedantic", "--no-progress"]).arg(workflow))
}

/// Whether it is a workflow as GitHub's schema has them: no key misspelt, nothing in the wrong place.
fn understood(workflow: &Path) -> world::tools::Ran {
    let checker = tool("workflow/bin/check-jsonschema");
    run(Command::new(checker).args(["--builtin-schema", "vendor.github-workflows"]).arg(workflow))
}

#[test]
fn workflows_satisfy_their_auditor_and_script_its_judge() {
    for workflow in [ci("workflows/publish.yml"), repository().join(".github/workflows/release.yml")] {
        audited(&workflow).succeeded();
        understood(&workflow).succeeded();
    }
    run(Command::new(tool("shellcheck/usr/bin/shellcheck")).arg("--severity=style").arg(ci("publish.sh"))).succeeded();
}

#[test]
fn auditor_sees_a_workflow_that_is_open_to_others() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let workflow = folder.path().join("publish.yml");
    let text = fs::read_to_string(ci("workflows/publish.yml")).expect("the workflow");
    let loose = text.replace("permissions: {}", "permissions: write-all").replace("persist-credentials: false", "{}");
    fs::write(&workflow, loose).expect("written");
    assert_ne!(audited(&workflow).code, Some(0));
    fs::write(&workflow, text.replace("runs-on:", "run-on:")).expect("written");
    assert_ne!(understood(&workflow).code, Some(0));
    fs::write(&workflow, text.replace("runs-on: ubuntu-24.04", "runs-on: [")).expect("written");
    assert_ne!(audited(&workflow).code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn script_publishes_what_hosts_look_for() {
    let publisher = Publisher::of(&world::Account::new().await).await;
    let noise: Vec<u8> = (0..17_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 15) as u8).collect();
    publisher.write(&Site::titled("from a shell").with("noise.png", noise));
    // The program in the bucket leads to the built one, which is large.
    let program = format!("#!/bin/sh\nexec {} \"$@\"\n", world::binary().display());
    let file = publisher.home().join("program");
    fs::write(&file, &program).expect("written");
    let sum = run(Command::new("sha256sum").arg(&file)).succeeded().out[..64].to_owned();
    let key = format!("spothost/{sum}/spothost-x86_64");
    publisher.account.put_at(&key, program).await;
    let fetched = publisher.home().join(".cache/spothost/program").join(&sum);
    let ran = tokio::task::spawn_blocking({
        let variables = publisher.variables();
        let place = publisher.place();
        let folder = publisher.folder();
        let from = format!("s3://{}/{key}", publisher.account.bucket);
        move || {
            let mut script = Command::new(ci("publish.sh"));
            script.arg(folder).args(["--timeout", "1s", "--brotli", "1"]).env_clear().envs(variables);
            // The AWS command line fetches the program with the rights of a publisher.
            let path = std::env::var_os("PATH").expect("PATH is set");
            let path = [tool("ground/bin")].into_iter().chain(std::env::split_paths(&path));
            script.env("PATH", std::env::join_paths(path).expect("no colons")).env("AWS_SDK_UA_APP_ID", "publisher");
            run(script.env("SPOTHOST_PLACE", place).env("SPOTHOST_PROGRAM", from).env("SPOTHOST_SHA256", sum))
        }
    })
    .await
    .expect("it ran");
    assert_ne!(fs::metadata(&fetched).expect("it was fetched").permissions().mode() & 0o100, 0);
    // No host serves it here, so the end is that of an owner that was not heard.
    assert_eq!(ran.code, Some(75), "{ran:#?}");
    assert!(publisher.latest().await.is_some());
    // What the calls need is held against the printed policy by the test of rights.
    assert!(publisher.aws.count("UploadPart") > 0);
}
