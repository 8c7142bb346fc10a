//! The example repository: the site that the README's first command shows, its configuration, and the workflow that publishes it.

use std::{collections::BTreeSet, fs, process::Command};

use world::tools::{repository, run};

#[test]
fn links_of_the_example_lead_to_its_files() {
    let files = files();
    for page in files.iter().filter(|name| name.ends_with(".html")) {
        for target in targets(&read(page)) {
            // The one link that is meant to lead nowhere shows the page for that.
            let found = match target.as_str() {
                "" => files.contains("index.html"),
                "nothing-here" => files.contains("404.html"),
                old if redirected(old).is_some() => {
                    files.contains(&format!("{}.html", redirected(old).expect("a target")))
                }
                name => files.contains(name) || files.contains(&format!("{name}.html")),
            };
            assert!(found, "{page} links to /{target}");
        }
    }
}

#[test]
fn style_sheet_of_the_example_is_named_by_its_content() {
    let files = files();
    let style = files.iter().find(|name| name.ends_with(".css")).expect("there is a style sheet");
    let sum = run(Command::new("sha256sum").arg(repository().join("example/site").join(style))).succeeded().out;
    assert_eq!(style, &format!("style-{}.css", &sum[..8]));
    assert!(read("index.html").contains(&format!("href=\"/{style}\"")));
}

#[test]
fn configuration_of_the_example_is_understood_and_its_workflow_publishes_where_its_hosts_look() {
    let configuration = repository().join("example/spothost.toml");
    let policy = run(Command::new(world::binary()).args(["policy", "--config"]).arg(&configuration)).succeeded().out;
    let text = fs::read_to_string(configuration).expect("the configuration");
    let place =
        text.lines().find_map(|line| line.strip_prefix("package = ")).expect("a place").trim_matches('"').to_owned();
    assert!(policy.contains(place.trim_start_matches("s3://")), "{policy}");
    let workflow =
        fs::read_to_string(repository().join("example/.github/workflows/publish.yml")).expect("the workflow");
    assert!(workflow.contains(&format!("SPOTHOST_PLACE: {place}\n")), "{workflow}");
    // Its step is the script beside it, for the folder with the site.
    assert!(workflow.contains("run: .github/publish.sh site\n"), "{workflow}");
}

#[test]
fn example_is_a_site_that_can_be_published() {
    let example = repository().join("example");
    let mut publish = Command::new(world::binary());
    publish.args(["publish", "site", "--config", "spothost.toml", "--dry-run"]).current_dir(&example);
    let cache = tempfile::TempDir::new().expect("a temporary folder");
    let published = run(publish.env("XDG_CACHE_HOME", cache.path())).succeeded();
    assert!(published.out.contains("nothing was uploaded"), "{published:#?}");
    // The one link that is meant to lead nowhere is warned of, and nothing else.
    let warnings: Vec<_> = published.err.lines().filter(|line| line.contains("warning")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("/nothing-here"), "{published:#?}");
}

/// Where the example's own rules lead from that path.
fn redirected(path: &str) -> Option<String> {
    let rules = read("_redirects");
    let rule = rules.lines().find(|line| line.split_whitespace().next() == Some(&format!("/{path}")))?;
    rule.split_whitespace().nth(1).map(|to| to.trim_start_matches('/').to_owned())
}

/// Where the links, images and style sheets of a page lead, from the root of the site.
fn targets(page: &str) -> Vec<String> {
    let starts = ["href=\"/", "src=\"/"].into_iter().flat_map(|start| page.split(start).skip(1));
    starts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

fn files() -> BTreeSet<String> {
    let entries = fs::read_dir(repository().join("example/site")).expect("the example is there");
    entries.map(|entry| entry.expect("an entry can be read").file_name().to_string_lossy().into_owned()).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join("example/site").join(name)).expect("a page can be read")
}
