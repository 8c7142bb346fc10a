//! `RULES.md` names tests that there are, and all of this folder.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The tests of all Rust files below a folder, as `module::function`.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    let function = lines.find(|line| line.contains("fn ")).unwrap();
                    let name = function.split_once("fn ").unwrap().1.split('(').next().unwrap();
                    found.insert(format!("{module}::{name}"));
                }
            }
        }
    }
}

#[test]
fn every_rule_names_its_tests_and_every_test_its_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(root.join("tests/RULES.md")).unwrap();
    let rows: Vec<&str> =
        rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule |")).collect();
    assert!(rows.len() > 50, "{}", rows.len());
    let mut named = BTreeSet::new();
    for row in &rows {
        let tests = row.split('|').nth(3).unwrap();
        assert!(tests.contains("::"), "a rule without a test: {row}");
        named.extend(tests.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).map(str::to_owned));
    }
    let (mut serving, mut all) = (BTreeSet::new(), BTreeSet::new());
    tests_below(&root.join("tests/serving"), &mut serving);
    tests_below(&root.join("src"), &mut all);
    all.extend(serving.iter().cloned());
    let missing: Vec<_> = named.difference(&all).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
    let this = "listed::every_rule_names_its_tests_and_every_test_its_rule";
    let unnamed: Vec<_> = serving.difference(&named).filter(|name| *name != this).collect();
    assert!(unnamed.is_empty(), "tests without a rule: {unnamed:?}");
}
