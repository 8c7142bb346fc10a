//! `spothost up` does on a laptop what the host does in the cloud.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;
use world::{Agent, Ended, Visitor, own_address, tools};

use crate::{SOON, front};

/// A folder with a site, and one that the program thinks is its user's home.
pub(crate) struct Laptop {
    pub(crate) folder: TempDir,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Laptop {
    pub(crate) fn new() -> Laptop {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("site")).expect("a folder");
        let address = own_address();
        let laptop = Laptop { folder, https: (address, 8443).into(), http: (address, 8080).into() };
        laptop.write("first");
        laptop
    }

    pub(crate) fn write(&self, title: &str) {
        fs::write(self.site().join("index.html"), format!("<!doctype html><title>{title}</title>")).expect("a file");
    }

    pub(crate) fn site(&self) -> std::path::PathBuf {
        self.folder.path().join("site")
    }

    /// Starts it; the path of its CA as it prints it.
    async fn up(&self, path: &Path) -> (Agent, Visitor, String) {
        self.up_with(path, &[], &[]).await
    }

    /// The same, with `more` arguments and variables.
    pub(crate) async fn up_with(
        &self,
        path: &Path,
        more: &[&str],
        variables: &[(&str, String)],
    ) -> (Agent, Visitor, String) {
        let agent = self.start(path, more, variables);
        let line = agent.printed_line("--cacert", SOON).await;
        let ca = line.split_whitespace().skip_while(|word| *word != "--cacert").nth(1).unwrap_or_default().to_owned();
        let visitor = Visitor::new("localhost", self.https, Path::new(&ca));
        (agent, visitor, ca)
    }

    fn start(&self, path: &Path, more: &[&str], variables: &[(&str, String)]) -> Agent {
        let https = self.https.to_string();
        let http = self.http.to_string();
        let mut arguments = vec!["up", path.to_str().expect("UTF-8"), "--https", &https, "--http", &http];
        arguments.extend(more);
        let mut environment = vec![("HOME".to_owned(), self.folder.path().join("home").display().to_string())];
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        // What it said before is of another run.
        let _ = fs::remove_file(self.folder.path().join("output"));
        Agent::start(&arguments, &environment, self.folder.path())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_serves_a_folder_follows_it_and_reuses_its_ca() {
    let laptop = Laptop::new();
    let (mut agent, visitor, ca) = laptop.up(&laptop.site()).await;
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("first"))).await;
    // Plain HTTP serves it, too, and no answer makes a browser leave it for HTTPS.
    let plain = visitor.get_plain(laptop.http, "/").await.expect("an answer");
    assert_eq!((plain.status.as_u16(), plain.header("strict-transport-security")), (200, ""));
    assert!(plain.text().contains("first"), "{plain:?}");
    // The command that it names works as it is printed: the program may be in no folder of PATH.
    let line = agent.printed_line("what it does", SOON).await;
    let status = line.trim().trim_start_matches("what it does");
    // It succeeds once the host has asked itself, too.
    let succeeds = async |_: &Agent| {
        let ran = Command::new("sh").args(["-c", status]).output().expect("a shell");
        ran.status.success() && !ran.stdout.is_empty()
    };
    agent.wait_for(status, SOON, succeeds).await;
    laptop.write("second");
    agent
        .wait_for("the change", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("second")))
        .await;
    let before = fs::read(&ca).expect("the CA");
    let certificate = visitor.get("/").await.expect("the page").certificate;
    assert_eq!(agent.stop().await, Some(0));

    let (mut agent, visitor, ca) = laptop.up(&laptop.site()).await;
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("second"))).await;
    assert_eq!(fs::read(&ca).expect("the CA"), before);
    assert_eq!(visitor.get("/").await.expect("the page").certificate, certificate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_serves_a_zip() {
    let laptop = Laptop::new();
    let zip = laptop.folder.path().join("site.zip");
    fs::write(&zip, world::Site::titled("zipped").zip()).expect("a file");
    let (mut agent, visitor, _) = laptop.up(&zip).await;
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some_and(|page| page.contains("zipped"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_opens_the_first_page_in_the_browser_that_the_desktop_names() {
    use std::os::unix::fs::PermissionsExt;

    let laptop = Laptop::new();
    let programs = laptop.folder.path().join("programs");
    let opened = laptop.folder.path().join("opened");
    fs::create_dir(&programs).expect("a folder");
    let browser = programs.join("xdg-open");
    fs::write(&browser, format!("#!/bin/sh\nprintf %s \"$1\" >'{}'\n", opened.display())).expect("a file");
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("its mode");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
    let (mut agent, _, _) = laptop.up_with(&laptop.site(), &["--open"], &[("PATH", path)]).await;
    let url = async || fs::read_to_string(&opened).is_ok_and(|url| url == "http://localhost:8080/");
    agent.wait_for("the browser", SOON, async |_| url().await).await;
}

/// An NSS database, made and asked by the real `certutil`.
struct Database(PathBuf);

impl Database {
    fn make(folder: PathBuf) -> Database {
        fs::create_dir_all(&folder).expect("a folder");
        let database = Database(folder);
        assert!(database.run(&["-N", "--empty-password"]));
        database
    }

    fn run(&self, arguments: &[&str]) -> bool {
        let mut certutil = Command::new(tools::tool("nss/bin/certutil"));
        certutil.args(arguments).arg("-d").arg(format!("sql:{}", self.0.display()));
        tools::run(&mut certutil).code == Some(0)
    }

    /// Whether it takes the certificate in the file for one of a TLS server.
    fn trusts(&self, leaf: &Path) -> bool {
        let name = leaf.to_str().expect("UTF-8");
        assert!(self.run(&["-A", "-t", ",,", "-n", name, "-i", name]));
        self.run(&["-V", "-u", "V", "-n", name])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_puts_its_ca_into_the_stores_of_browsers_for_its_domain_alone_and_takes_it_out_again() {
    let laptop = Laptop::new();
    let home = laptop.folder.path().join("home");
    let databases = [".pki/nssdb", ".mozilla/firefox/abc.default"].map(|path| Database::make(home.join(path)));
    let other = KeyPair::generate().expect("a key");
    let other = CertificateParams::new(["other".to_owned()]).expect("a name").self_signed(&other).expect("signed");
    let others = laptop.folder.path().join("other.pem");
    fs::write(&others, other.pem()).expect("a file");
    // Without its command on the PATH the store of the system is left alone, also when root runs this.
    let path = tools::tool("nss/bin").display().to_string();
    for _ in 0..2 {
        let mut agent = laptop.start(&laptop.site(), &["--trust"], &[("PATH", path.clone())]);
        agent.printed_line("to end it", SOON).await;
        let printed = agent.output();
        for part in ["  Chromium        trust", "  Firefox         trust", "system store    ", "spothost up --untrust"]
        {
            assert!(printed.contains(part), "{part}:\n{printed}");
        }
        assert!(printed.lines().count() <= 10, "{printed}");
        let ca = home.join(".local/state/spothost/local-ca");
        let visitor = Visitor::new("localhost", laptop.https, &ca.join("ca.pem"));
        agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
        let leaf = laptop.folder.path().join("leaf.der");
        fs::write(&leaf, visitor.get("/").await.expect("the page").certificate).expect("a file");
        // What a thief of the key could make.
        let read = |name: &str| fs::read_to_string(ca.join(name)).expect("a file");
        let key = KeyPair::from_pem(&read("ca-key.pem")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).expect("a CA");
        let signed = |named: &str| {
            let leaf = CertificateParams::new([named.to_owned()]).expect("a name");
            let leaf = leaf.signed_by(&KeyPair::generate().expect("a key"), &issuer).expect("signed");
            let path = laptop.folder.path().join(format!("{named}.der"));
            fs::write(&path, leaf.der()).expect("a file");
            path
        };
        for database in &databases {
            assert!(database.trusts(&leaf) && database.trusts(&signed("127.0.0.1")));
            assert!(!database.trusts(&signed("www.example.com")) && !database.trusts(&signed("10.0.0.1")));
            assert!(!database.trusts(&others));
        }
        assert_eq!(agent.stop().await, Some(0));
    }
    let environment = [("HOME".to_owned(), home.display().to_string()), ("PATH".to_owned(), path)];
    for said in ["no longer trusts the local CA", "did not trust the local CA"] {
        let ended = Ended::of(&["up", "--untrust"], &environment).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended.stdout.lines().filter(|line| line.contains(said) && !line.starts_with("system"));
        assert_eq!(lines.count(), 2, "{said}: {ended:?}");
    }
    for database in &databases {
        assert!(!database.trusts(&laptop.folder.path().join("leaf.der")));
        assert!(database.run(&["-L", "-n", others.to_str().expect("UTF-8")]), "another certificate is left alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_keeps_its_keys_from_others() {
    use std::os::unix::fs::PermissionsExt;

    let laptop = Laptop::new();
    let (mut agent, visitor, _) = laptop.up(&laptop.site()).await;
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
    let mut folders = vec![laptop.folder.path().join("home")];
    let mut keys = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if String::from_utf8_lossy(&fs::read(&path).expect("a file")).contains("PRIVATE KEY") {
                keys += 1;
                let mode = fs::metadata(&path).expect("a file").permissions().mode();
                assert_eq!(mode & 0o077, 0, "{} is open to others: {mode:o}", path.display());
            }
        }
    }
    assert!(keys > 0, "no key was found at all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_tells_who_edits_the_site_of_settings_that_are_not_understood_and_of_what_is_left_out() {
    let laptop = Laptop::new();
    let put = |name: &str, content: &str| fs::write(laptop.site().join(name), content).expect("a file");
    put("_redirects", "/a /b 999\n/c /d\n/e /f 998\n");
    put("_headers", "/x\n  no colon\n");
    put("site.toml", "slahs = 'add'\n");
    put(".env", "SECRET=1");
    put("v1.html", "<h1>v1</h1>");
    std::os::unix::fs::symlink("v1.html", laptop.site().join("latest.html")).expect("a link");
    std::os::unix::fs::symlink("/etc/hostname", laptop.site().join("host.html")).expect("a link");
    let (mut agent, visitor, _) = laptop.up(&laptop.site()).await;
    agent.wait_for("the site", SOON, async |_| front(&visitor).await.is_some()).await;
    for line in [
        "_redirects:1: ",
        "_redirects:3: ",
        "_headers:2: ",
        "site.toml:1: ",
        "host.html: is a symbolic link",
        "because hidden: .env",
    ] {
        agent.wait_for_line(line, SOON).await;
    }
    let log = agent.log();
    assert!(log.find("_redirects:1: ") < log.find("_redirects:3: "), "in the order of lines:\n{log}");
    assert_eq!(visitor.get("/latest").await.expect("an answer").text(), "<h1>v1</h1>");
    assert_eq!(visitor.get("/host").await.expect("an answer").status, 404);
    // What is mended is no longer told, and what is new is told at once.
    put("_redirects", "/a /b\n/e /f 997\n");
    agent.wait_for_line("_redirects:2: ", SOON).await;
    // Beside it the ports are taken: nothing is served, and no greeting is printed.
    let https = laptop.https.to_string();
    let http = laptop.http.to_string();
    let site = laptop.site().display().to_string();
    let state = laptop.folder.path().join("other").display().to_string();
    let arguments = ["up", &site, "--https", &https, "--http", &http, "--state-dir", &state];
    let ended = Ended::of(&arguments, &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(71), ""), "{ended:?}");
}
