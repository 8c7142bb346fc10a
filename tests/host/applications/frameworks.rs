//! Django, FastAPI, Express and Rails as docs/applications.md says: its commands and settings, with another name and port.

use std::{fs, path::Path};

use serde_json::{Value, json};
use world::{Application, Command, tools};

use super::Proxied;

/// The name in the page's settings.
const NAME: &str = "www.example.org";

/// The blocks of code in that section of the page which are of that language.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let page = fs::read_to_string(tools::repository().join("docs/applications.md")).expect("the page");
    let (_, rest) =
        page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("the page has no {section}"));
    let section = rest.split("\n## ").next().unwrap_or_default();
    let begins = format!("```{language}\n");
    let blocks = section.split(&begins).skip(1).filter_map(|rest| rest.split_once("```"));
    let blocks: Vec<_> = blocks.map(|(block, _)| block.replace(NAME, "localhost")).collect();
    assert!(!blocks.is_empty(), "{section}: no {language}");
    blocks
}

/// The application that a block of commands starts by its last line.
fn command(folder: &'static str, block: &str) -> Command {
    let lines: Vec<_> = block.lines().collect();
    let (last, before) = lines.split_last().expect("a command");
    before.iter().fold(Command::new(folder, last), |command, line| command.after(line))
}

/// Fails unless the file has each line of the block, without its comment.
fn has_lines(file: &Path, block: &str) {
    let text = fs::read_to_string(file).expect("a file");
    for line in block.lines() {
        let line = line.split("   #").next().unwrap_or_default();
        assert!(text.lines().any(|other| other.trim() == line), "{} lacks `{line}`", file.display());
    }
}

pub(super) fn django(leaves_out: &'static str) -> (Command, impl FnOnce(&Path)) {
    let settings = blocks("Django", "python").concat();
    let command = command("django", &blocks("Django", "sh")[0]);
    let command = command.after("python manage.py createsuperuser --noinput --username ada --email ada@example.org");
    let prepare = move |folder: &Path| {
        let file = folder.join("project/settings.py");
        let mut text = fs::read_to_string(&file).expect("the settings");
        text.extend(settings.lines().filter(|line| !line.starts_with(leaves_out)).map(|line| format!("{line}\n")));
        fs::write(file, text).expect("the settings");
    };
    (command.with("DJANGO_SUPERUSER_PASSWORD", "lovelace"), prepare)
}

impl Proxied {
    /// What curl gets from that path, with a jar of cookies.
    async fn text(&self, arguments: &[&str], path: &str) -> String {
        let jar = self.laptop.folder.path().join("cookies").display().to_string();
        let output = self.curl(&[&["--cookie", &jar, "--cookie-jar", &jar], arguments].concat(), path).await;
        assert!(output.status.success(), "{path}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same as JSON.
    async fn json(&self, arguments: &[&str], path: &str) -> Value {
        let text = self.text(arguments, path).await;
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{path}: {error}: {text}\n{}", self.application.log()))
    }

    /// The value of the hidden field of that name in a form.
    async fn hidden(&self, path: &str, name: &str) -> String {
        let form = self.text(&[], path).await;
        let field = form.split("<input").find(|field| field.contains(&format!("name=\"{name}\""))).expect(&form);
        let value = field.split("value=\"").nth(1).and_then(|rest| rest.split('"').next());
        value.expect(field).to_owned()
    }
}

const ORIGIN: [&str; 2] = ["--header", "Origin: https://localhost:8443"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_takes_forms_files_and_logins_as_the_page_says() {
    let (command, prepare) = django("nothing");
    let proxied = Proxied::before(Application::start(command, prepare).await).await;
    let seen = proxied.json(&[], "/seen/?a=b").await;
    let expected =
        json!({"url": "https://localhost:8443/seen/?a=b", "secure": true, "address": "127.0.0.1", "method": "GET"});
    assert_eq!(seen, expected);
    assert_eq!(proxied.text(&[], "/about.html").await, "from the file");
    assert_eq!(proxied.text(&[], "/lines/").await.lines().count(), 1000);

    let token = proxied.hidden("/form/", "csrfmiddlewaretoken").await;
    let file = proxied.laptop.folder.path().join("upload");
    fs::write(&file, vec![7; 3 << 20]).expect("a file");
    let upload = format!("file=@{}", file.display());
    let token = format!("csrfmiddlewaretoken={token}");
    let form = [&ORIGIN[..], &["--form", &token, "--form", "word=höhe", "--form", &upload]].concat();
    for version in ["--http1.1", "--http2"] {
        let sent = proxied.json(&[&form[..], &[version]].concat(), "/form/").await;
        assert_eq!((&sent["word"], &sent["length"]), (&json!("höhe"), &json!(3 << 20)), "{version}");
    }
    let foreign = ["--header", "Origin: https://elsewhere.example", "--form", &token, "--form", "word=x"];
    assert!(proxied.text(&foreign, "/form/").await.contains("CSRF verification failed"));

    // Django's admin site: a login, a redirect, a cookie that is sent over TLS alone.
    let token = format!("csrfmiddlewaretoken={}", proxied.hidden("/admin/login/", "csrfmiddlewaretoken").await);
    let login = ["--data-urlencode", &token, "--data", "username=ada&password=lovelace&next=/admin/", "--location"];
    let referer = ["--referer", "https://localhost:8443/admin/login/"];
    let page = proxied.text(&[&login[..], &referer].concat(), "/admin/login/").await;
    assert!(page.contains("Site administration"), "{page}\n{}", proxied.application.log());
    assert!(proxied.text(&[], "/admin/auth/user/").await.contains("ada@example.org"));

    // What collectstatic lays into the site is a file of it.
    let style = proxied.application.folder().join("site/static/admin/css/base.css");
    assert!(style.is_file(), "collectstatic writes {}", style.display());
}

/// A server that does not find the scheme by itself needs the setting that the page asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_without_the_setting_of_the_scheme_refuses_its_own_forms() {
    for (leaves_out, is_refused) in [("nothing", false), ("SECURE_PROXY_SSL_HEADER", true)] {
        let (command, prepare) = django(leaves_out);
        let line = "granian --interface wsgi project.wsgi:application --host 127.0.0.1 --port 8000".to_owned();
        let application = Application::start(Command { before: Vec::new(), line, ..command }, prepare).await;
        let proxied = Proxied::before(application).await;
        let token = format!("csrfmiddlewaretoken={}", proxied.hidden("/form/", "csrfmiddlewaretoken").await);
        let page = proxied.text(&[&ORIGIN[..], &["--form", &token]].concat(), "/form/").await;
        assert_eq!(page.contains("CSRF verification failed"), is_refused, "{leaves_out}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastapi_knows_origin_and_visitor_as_the_page_says() {
    for block in blocks("FastAPI", "sh") {
        let application = Application::start(command("fastapi", &block), |_| ()).await;
        let proxied = Proxied::before(application).await;
        let seen = proxied.json(&[], "/api/seen").await;
        assert_eq!(seen, json!({"url": "https://localhost:8443/api/seen", "address": "127.0.0.1"}), "{block}");
        assert_eq!(proxied.json(&[], "/api/items/7?q=%C3%A9").await, json!({"item": 7, "q": "é"}), "{block}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn express_knows_origin_and_visitor_as_the_page_says() {
    let settings = blocks("Express", "js");
    let lines = blocks("Express", "sh");
    assert_eq!((settings.len(), lines.len()), (2, 2));
    for (setting, line) in settings.iter().zip(&lines) {
        let prepare = |folder: &Path| {
            let file = folder.join("application.js");
            let text = fs::read_to_string(&file).expect("the application");
            assert!(text.contains(&settings[0]), "it lacks {}", settings[0]);
            fs::write(file, text.replace(&settings[0], setting)).expect("the application");
        };
        let command = command("express", line).with("HOST", "127.0.0.1");
        let proxied = Proxied::before(Application::start(command, prepare).await).await;
        let seen = proxied.json(&[], "/api/seen").await;
        let expected = json!({"url": "https://localhost:8443/api/seen", "address": "127.0.0.1", "secure": true});
        assert_eq!(seen, expected, "{setting}");
        let form = [&ORIGIN[..], &["--data", "word=x"]].concat();
        assert_eq!(proxied.json(&form, "/api/form").await, json!({"word": "x"}), "{setting}");
        let foreign = ["--header", "Origin: http://localhost:8443", "--data", "word=x"];
        assert_eq!(proxied.json(&foreign, "/api/form").await, json!({"error": "origin"}), "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rails_knows_origin_and_visitor_as_the_page_says() {
    has_lines(&tools::repository().join("tests/applications/rails/config.ru"), &blocks("Rails", "ruby")[0]);
    let proxied = Proxied::start(command("rails", &blocks("Rails", "sh")[0])).await;
    let seen = proxied.json(&[], "/seen?a=b").await;
    assert_eq!(seen, json!({"url": "https://localhost:8443/seen?a=b", "address": "127.0.0.1", "secure": true}));
    let token = format!("authenticity_token={}", proxied.hidden("/form", "authenticity_token").await);
    let form = ["--data-urlencode", token.as_str(), "--data", "word=x"];
    assert_eq!(proxied.json(&[&ORIGIN[..], &form].concat(), "/form").await, json!({"word": "x"}));
    let foreign =
        [&["--header", "Origin: https://elsewhere.example", "--write-out", "%{http_code}"], &form[..]].concat();
    assert_eq!(proxied.text(&foreign, "/form").await, "403");
}
