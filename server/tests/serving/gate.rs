//! What a package demands of itself before it goes live.

use crate::{package::Package, server::site};

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
        // Whoever asks for a page is led to its address, and whoever asks for the redirect gets that.
        "[gate]\n'/docs' = 200\n'/docs/' = 200\n'/docs?a=b' = { contains = 'Docs' }\n'/about/' = { contains = 'About us' }",
        "[gate]\n'/docs' = { status = 308, header = { location = '/docs/' } }",
        "[gate]\n'/old' = { status = 301, header = { location = '/about' } }\n'/nowhere' = 404",
    ] {
        assert_eq!(site(package(policy)).gate(), Vec::<String>::new(), "{policy}");
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
        let found = site(package(policy)).gate();
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
        site(package.finish()).gate()
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
        let refused = site(package.finish()).gate();
        assert!(refused.len() == 1 && refused[0].contains(said), "{names:?}: {refused:?}");
    }
}
