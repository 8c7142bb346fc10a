//! Every error code that AWS's own service models list for a call that the agent makes is sorted by what cures it.
//!
//! The models come with botocore, on which the world is built. The calls are those in the sources: a call that is new, or a
//! code that AWS has added, fails here until it has its row.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use world::World;

#[path = "../agent/src/aws/refusal/codes.rs"]
mod table;

/// Services by their prefix in IAM's actions and their name in botocore.
const SERVICES: &[(&str, &str)] = &[
    ("s3", "s3"),
    ("secretsmanager", "secretsmanager"),
    ("route53", "route53"),
    ("ec2", "ec2"),
    ("autoscaling", "autoscaling"),
    ("sts", "sts"),
    ("iam", "iam"),
    ("servicequotas", "service-quotas"),
];

/// Prints for each service of the command line its operations, as the Rust SDK and as the service names them, and the codes
/// of each.
const MODELS: &str = r#"
import json, sys
import botocore.session
from botocore import xform_name

session = botocore.session.get_session()
found = {}
for name in sys.argv[1:]:
    model = session.get_service_model(name)
    found[name] = [
        {
            "method": xform_name(operation),
            "name": operation,
            "codes": [shape.metadata.get("error", {}).get("code", shape.name) for shape in model.operation_model(operation).error_shapes],
        }
        for operation in model.operation_names
    ]
json.dump(found, sys.stdout)
"#;

/// All that is written in the modules that call AWS.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => sources(&path, all),
            false => all.push_str(&fs::read_to_string(path).expect("a source")),
        }
    }
}

#[test]
fn every_code_of_every_call_is_sorted() {
    let mut code = String::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/aws")), &mut code);
    let names = SERVICES.iter().map(|(_, name)| name);
    let python = World::tool("python/bin/python");
    let output = Command::new(python).args(["-B", "-c", MODELS]).args(names).output().expect("botocore answers");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let models: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (mut calls, mut unsorted) = (0, Vec::new());
    for (service, name) in SERVICES {
        for operation in models[name].as_array().expect("operations") {
            let text = |key: &str| operation[key].as_str().expect("a text").to_owned();
            let is_called =
                code.contains(&format!(".{}()", text("method"))) || code.contains(&format!("{}\"", text("name")));
            if !is_called {
                continue;
            }
            calls += 1;
            for code in operation["codes"].as_array().expect("codes") {
                let code = code.as_str().expect("a code");
                let rows = table::CODES.iter().filter(|(of, known, _)| [service, "*"].contains(of) && *known == code);
                if rows.count() == 0 {
                    unsorted.push(format!("{service} {} {code}", text("name")));
                }
            }
        }
    }
    assert!(calls > 30, "only {calls} calls were found in the sources");
    assert_eq!(unsorted, Vec::<String>::new(), "give each a row in agent/src/aws/refusal/codes.rs");
}

/// Some of what is known of it, so that the table's own test does not stand alone.
#[test]
fn what_is_sorted_is_found_by_service_and_code() {
    assert_eq!(table::sorted("sts", "Throttling"), table::Sort::Wait);
    assert_eq!(table::sorted("route53", "PriorRequestNotComplete"), table::Sort::Wait);
    assert_eq!(table::sorted("s3", "AccessDenied"), table::Sort::Allow);
    assert_eq!(table::sorted("s3", "ExpiredToken"), table::Sort::Login);
    assert!(matches!(table::sorted("iam", "InvalidInput"), table::Sort::Operator(_)));
    assert_eq!(table::sorted("s3", "NobodyKnowsThis"), table::Sort::Retry);
}
