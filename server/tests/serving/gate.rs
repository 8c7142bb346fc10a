//! What a package demands of itself before it goes live.

use spothost_server::{ListenMode, ProgramPlace};

use crate::{package::Package, server::site};

/// What the gate of that package says, one sentence each.
fn gate_of(package: Vec<u8>) -> Vec<String> {
    site(package).gate().iter().map(ToString::to_string).collect()
}

fn package(policy: &str) -> Vec<u8> {
    Package::new()
        .deflated("index.html", "<h1>Home</h1>")
        .deflated("about.html", "<h1>About us</h1>")
        .deflated("docs/index.html", "<h1>Docs</h1>")
        .deflated("_redirects", "/old /about 301\n")
        .stored("site.toml", policy)
        .finish()
}

#[test]
fn package_that_answers_as_it_says_passes() {
    for policy in [
        "",
        "[gate]\n'/about' = 200",
        "[gate]\n'/' = { contains = 'Home' }\n'/about' = { status = 200, header = { content-type = 'text/html' } }",
        // A check of a page is led to its address, and a check of the redirect gets that.
        "[gate]\n'/docs' = 200\n'/docs/' = 200\n'/docs?a=b' = { contains = 'Docs' }\n'/about/' = { contains = 'About us' }",
        "[gate]\n'/docs' = { status = 308, header = { location = '/docs/' } }",
        "[gate]\n'/old' = { status = 301, header = { location = '/about' } }\n'/nowhere' = 404",
    ] {
        assert_eq!(gate_of(package(policy)), Vec::<String>::new(), "{policy}");
    }
}

#[test]
fn everything_that_does_not_answer_so_is_told_at_once() {
    for (policy, said) in [
        (
            "[gate]\n'/nowhere' = 200\n'/about' = 404",
            vec!["\"/about\" answers 200, not 404", "\"/nowhere\" answers 404"],
        ),
        (
            "[gate]\n'/docs' = 404\n'/old' = 200",
            vec!["\"/docs\" answers 200, not 404", "\"/old\" answers 301, not 200"],
        ),
        ("[gate]\n'/about' = { contains = 'Impressum' }", vec!["\"/about\" does not contain \"Impressum\""]),
        ("[gate]\n'/about' = { header = { x-a = 'b' } }", vec!["has no field x-a"]),
        ("[gate]\n'/a b' = 200", vec!["is no target"]),
        ("[gate]\nabout = 200", vec!["not understood: \"about\""]),
        ("[gate]\n'/about' = ", vec!["not understood: site.toml cannot be read"]),
        ("gate = 200", vec!["not understood: site.toml cannot be read"]),
    ] {
        let found = gate_of(package(policy));
        assert_eq!(found.len(), said.len(), "{policy}: {found:?}");
        for (found, said) in found.iter().zip(said) {
            assert!(found.contains(said), "{policy}: {found}");
        }
    }
}

#[test]
fn package_without_an_index_page_passes_only_if_it_says_so() {
    let with = |files: &[(&str, &str)]| {
        let package = files.iter().fold(Package::new(), |package, (name, text)| package.stored(name, text));
        gate_of(package.finish())
    };
    let refused = with(&[("about.html", "about"), ("404.html", "no such page")]);
    assert!(refused.len() == 1 && refused[0].contains("no index page"), "{refused:?}");
    assert!(with(&[("about.html", "about"), ("site.toml", "[gate]\nindex = false")]).is_empty());
    assert!(with(&[("en.html", "about"), ("_redirects", "/ /en 302\n")]).is_empty(), "a redirect is an answer");
    assert!(with(&[("app.html", "app"), ("_redirects", "/* /app.html 200\n")]).is_empty(), "so is a rewrite");
}

#[test]
fn package_without_an_index_page_is_told_where_it_may_be() {
    for (names, said) in [
        // As GitHub packs a branch, and macOS a folder.
        (
            &["site-gh-pages/index.html", "site-gh-pages/a.css"][..],
            "all of the package lies in site-gh-pages/: package what is in",
        ),
        (&["site/index.html", "__MACOSX/site/._index.html", ".DS_Store"], "all of the package lies in site/: package"),
        (&["site/about.html"], "all of the package lies in site/"),
        (&["Index.html", "a.css"], "the front page is index.html, and there is Index.html: rename it"),
        (&["index.htm", "docs/index.html"], "there is index.htm: rename it"),
        (
            &["README.md", "public/index.html", "src/page.md"],
            "index.html lies in public/: package what is in that folder, or redirect",
        ),
        (&["README.md", "a/index.html", "b/index.html"], "no index page: add index.html"),
    ] {
        let package = names.iter().fold(Package::new(), |package, name| package.stored(name, "x"));
        let refused = gate_of(package.finish());
        assert!(refused.len() == 1 && refused[0].contains(said), "{names:?}: {refused:?}");
    }
}

#[test]
fn process_of_a_package_is_that_of_its_site_toml_or_its_procfile() {
    let with = |policy: &str, procfile: &str, files: &[&str]| {
        let package = Package::new().stored("site.toml", policy).stored(".app/Procfile", procfile);
        site(files.iter().fold(package, |package, name| package.stored(name, "x")).finish())
    };
    let program = &[".app/bin/server"][..];
    for (policy, procfile, files, words) in [
        ("[app]\nrun = 'bin/server'", "web: other", program, Some(&["bin/server"][..])),
        (
            "[app]\nroutes = ['/api/*']",
            "web: bin/server --fast",
            &[program, &["index.html"]].concat(),
            Some(&["bin/server", "--fast"]),
        ),
        ("", "web: bin/server", program, Some(&["bin/server"])),
        ("", "worker: x", &["index.html"], None),
    ] {
        let site = with(policy, procfile, files);
        let process = site.process();
        assert_eq!(
            process.map(|plan| &plan.words[..]),
            words.map(|words| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{policy} {procfile}"
        );
        assert_eq!((site.is_for_an_application(), site.gate()), (words.is_some(), vec![]), "{policy} {procfile}");
    }
    let site = with("[app]\nrun = 'server $PORT'\nenv = { A = 'b' }", "", &[".app/server"]);
    let plan = site.process().unwrap();
    assert_eq!((&plan.program, plan.listen), (&ProgramPlace::Package("server".into()), ListenMode::Port));
    assert_eq!(plan.env.get("A").map(String::as_str), Some("b"));
}

#[test]
fn process_that_cannot_run_lets_no_package_pass() {
    for (policy, procfile, told) in [
        (
            "[app]\nrun = 'bin/none'",
            "",
            "[app] run names the program \"bin/none\", and the package has no file .app/bin/none",
        ),
        ("", "web: ./none", ".app/Procfile: web names the program \"./none\""),
        ("[app]\nrun = 'x'\nready = 'soon'", "", "[app] is not understood: ready \"soon\" is no time"),
        ("", &"#".repeat(2 << 20), ".app/Procfile: it is longer than 1048576 bytes"),
        ("fallback = 'index.html'", "web: x", "fallback and [app] routes both take every path"),
    ] {
        let package = Package::new().stored("index.html", "home").stored("site.toml", policy);
        let site = site(package.stored(".app/Procfile", procfile).finish());
        let found = site.gate();
        assert!(found.len() == 1 && found[0].text.starts_with(told), "{policy} {procfile}: {found:?}");
        assert!(site.notes().iter().any(|note| found[0].text.ends_with(&note.text) && note.is_fault), "{policy}");
    }
    let forgotten = site(Package::new().stored("index.html", "home").stored(".app/server", "x").finish());
    assert!(forgotten.notes()[0].text.contains("names no process for the program in .app/"), "{:?}", forgotten.notes());
}
