//! Credentials from wherever a person or a job has them: every kind of profile that the `aws` command line writes or reads, and
//! what is said where there are none.
//!
//! The files are laid out as that command line lays them out (AWS SDKs and Tools Reference Guide, "Shared config and credentials
//! files"); STS is the world's, and the services that people sign in to are [`SignIn`].

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};
use world::{Account, Ended, Operator, SignIn, Site, TOKEN};

/// SHA-1 of the name of the session, `spothost`: the name of its token's file.
const SSO_SESSION: &str = "7110c9cc826b57db1c89db82fc7ce7d646a14d8b";
/// SHA-1 of the portal's URL, likewise for profiles of the older kind.
const SSO_PORTAL: &str = "5863e3e4b5a9564b6e829cf4aa6724bdbf9788a5";
/// SHA-256 of [`LOGIN_SESSION`], likewise for `aws login`.
const LOGIN_FILE: &str = "05d4293b920f9332873333ef86001c397e826748e69c2ddcd0f661ed93f13355";
const LOGIN_SESSION: &str = "arn:aws:iam::123456789012:user/operator";
/// A key of no worth, in the form in which `aws login` keeps the one that proves possession (RFC 9449).
const DPOP_KEY: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIGz7ZHr7YGXOGyI2wdBnnOBFswWFDyAKe+06ftrIOJCRoAoGCCqGSM49
AwEHoUQDQgAEkLRPxuYGs70/22ABGuAnr3DUr0t5h/xHdxQ9wT0RMTUlhXmv272z
0iBJXZLresB622oIuF08mjgl/zjT3LzjRQ==
-----END EC PRIVATE KEY-----
";
const PAST: &str = "2020-01-01T00:00:00Z";
const FUTURE: &str = "2099-01-01T00:00:00Z";

/// Somebody with a home folder, and no credentials but those that lie in it.
struct Person {
    operator: Operator,
    sign_in: SignIn,
}

impl Person {
    async fn new() -> Person {
        let account = Account::new().await;
        account.put("site-latest.zip", Site::titled("seen").zip()).await;
        Person { sign_in: SignIn::of(&account).await, operator: Operator::of(&account).await }
    }

    fn account(&self) -> &Account {
        &self.operator.account
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.operator.home().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
    }

    fn config(&self, text: &str) {
        self.write(".aws/config", text);
    }

    /// `[base]` with the keys of the account, as `aws configure` writes it.
    fn base(&self) {
        let Account { access_key, secret_key, session_token, .. } = self.account();
        let keys = format!(
            "[base]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n\
             aws_session_token = {session_token}\n"
        );
        self.write(".aws/credentials", &keys);
    }

    fn role(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:role/{name}", self.account().id)
    }

    /// A program that prints the keys as `credential_process` is to; what it prints to standard error is ignored.
    fn process(&self) -> String {
        let Account { access_key, secret_key, session_token, .. } = self.account();
        let keys = json!({
            "Version": 1, "AccessKeyId": access_key, "SecretAccessKey": secret_key, "SessionToken": session_token,
            "Expiration": FUTURE,
        });
        self.write("keys", &format!("#!/bin/sh\necho looking >&2\ncat <<'END'\n{keys}\nEND\n"));
        let path = self.operator.home().join("keys");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
        path.display().to_string()
    }

    fn sso_token(&self, file: &str, until: &str, refresh: bool) {
        let mut token = json!({ "startUrl": "https://portal.example/start", "region": "us-east-1",
            "accessToken": if refresh { "over" } else { TOKEN }, "expiresAt": until });
        if refresh {
            let more =
                [("clientId", "c"), ("clientSecret", "s"), ("refreshToken", "r"), ("registrationExpiresAt", FUTURE)];
            for (name, value) in more {
                token[name] = json!(value);
            }
        }
        self.write(&format!(".aws/sso/cache/{file}.json"), &token.to_string());
    }

    fn login_token(&self, until: &str) {
        let Account { access_key, secret_key, session_token, id, .. } = self.account();
        let token = json!({
            "accessToken": { "accessKeyId": access_key, "secretAccessKey": secret_key, "sessionToken": session_token,
                "accountId": id, "expiresAt": until },
            "tokenType": "aws_sigv4", "refreshToken": "r", "clientId": "arn:aws:signin:::devtools/same-device",
            "dpopKey": DPOP_KEY,
        });
        self.write(&format!(".aws/login/cache/{LOGIN_FILE}.json"), &token.to_string());
    }

    /// Lists what is published, as `profile` and with `more` in the environment.
    async fn lists(&self, profile: Option<&str>, more: &[(&str, String)]) -> Ended {
        let place = format!("s3://{}/{}", self.account().bucket, self.account().prefix());
        self.run(&["releases", "--at", &place, "--json"], profile, more).await
    }

    async fn run(&self, arguments: &[&str], profile: Option<&str>, more: &[(&str, String)]) -> Ended {
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"];
        let mut variables = self.operator.variables();
        variables.retain(|(name, _)| !keys.contains(&name.as_str()));
        variables.extend(self.sign_in.variables());
        variables.extend(profile.map(|profile| ("AWS_PROFILE".to_owned(), profile.to_owned())));
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Ended::of(arguments, &variables).await
    }

    fn taken(&self, call: &str) -> usize {
        self.operator.aws.count(call)
    }
}

fn is_listed(ended: &Ended, what: &str) {
    assert_eq!(ended.code, Some(0), "{what}: {ended:?}");
    let listed: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{what}: {listed}");
    assert_eq!(ended.stderr, "", "{what}");
}

/// One line that names the cure, and the exit code of what is to be set up first.
fn is_told(ended: &Ended, cure: &str) {
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(cure), "{} does not say {cure}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_roles_of_profiles_are_taken_as_every_aws_tool_takes_them() {
    let person = Person::new().await;
    person.base();
    let Account { access_key, secret_key, session_token, .. } = person.account().clone();
    let process = person.process();
    let first = person.role("first");
    let second = person.role("second");
    person.config(&format!(
        "[profile base]\nregion = us-east-1\n\
         [profile role]\nregion = us-east-1\nrole_arn = {first}\nsource_profile = base\n\
         [profile chain]\nregion = us-east-1\nrole_arn = {second}\nsource_profile = role\n\
         [profile process]\nregion = us-east-1\ncredential_process = {process}\n\
         [profile role-of-process]\nregion = us-east-1\nrole_arn = {first}\nsource_profile = process\n\
         [profile environment]\nregion = us-east-1\nrole_arn = {first}\ncredential_source = Environment\n\
         [profile itself]\nregion = us-east-1\nrole_arn = {first}\nsource_profile = itself\n\
         aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\naws_session_token = {session_token}\n"
    ));
    let table = [("base", 0), ("role", 1), ("chain", 2), ("process", 0), ("role-of-process", 1), ("itself", 1)];
    for (profile, roles) in table {
        let taken = person.taken("AssumeRole");
        is_listed(&person.lists(Some(profile), &[]).await, profile);
        assert_eq!(person.taken("AssumeRole") - taken, roles, "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_identities_are_taken_from_profiles_and_from_the_environment() {
    let person = Person::new().await;
    person.write("token", "a.b.c");
    let token = person.operator.home().join("token").display().to_string();
    let role = person.role("job");
    person.config(&format!(
        "[profile job]\nregion = us-east-1\nrole_arn = {role}\nweb_identity_token_file = {token}\nrole_session_name = job\n"
    ));
    is_listed(&person.lists(Some("job"), &[]).await, "profile");
    assert_eq!(person.taken("AssumeRoleWithWebIdentity"), 1);
    let environment =
        [("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", role), ("AWS_REGION", "us-east-1".to_owned())];
    is_listed(&person.lists(None, &environment).await, "environment");
    assert_eq!(person.taken("AssumeRoleWithWebIdentity"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_identity_center_are_used_and_refreshed() {
    let person = Person::new().await;
    let account = &person.account().id;
    let role = person.role("further");
    person.config(&format!(
        "[sso-session spothost]\nsso_region = us-east-1\nsso_start_url = https://portal.example/start\n\
         sso_registration_scopes = sso:account:access\n\
         [profile session]\nregion = us-east-1\nsso_session = spothost\nsso_account_id = {account}\nsso_role_name = Site\n\
         [profile portal]\nregion = us-east-1\nsso_region = us-east-1\nsso_start_url = https://portal.example/start\n\
         sso_account_id = {account}\nsso_role_name = Site\n\
         [profile further]\nregion = us-east-1\nrole_arn = {role}\nsource_profile = session\n"
    ));
    person.sso_token(SSO_SESSION, FUTURE, false);
    person.sso_token(SSO_PORTAL, FUTURE, false);
    for profile in ["session", "portal", "further"] {
        is_listed(&person.lists(Some(profile), &[]).await, profile);
    }
    assert_eq!((person.sign_in.count("/token"), person.taken("AssumeRole")), (0, 1));
    // A token that is over is refreshed where it can be, and else somebody has to log in.
    person.sso_token(SSO_SESSION, PAST, true);
    is_listed(&person.lists(Some("session"), &[]).await, "refreshed");
    assert_eq!(person.sign_in.count("/token"), 1);
    person.sso_token(SSO_SESSION, PAST, false);
    is_told(&person.lists(Some("session"), &[]).await, "aws sso login");
    fs::remove_dir_all(person.operator.home().join(".aws/sso")).expect("removed");
    is_told(&person.lists(Some("session"), &[]).await, "aws sso login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_of_aws_login_is_used_and_refreshed() {
    let person = Person::new().await;
    person.config(&format!("[default]\nregion = us-east-1\nlogin_session = {LOGIN_SESSION}\n"));
    person.login_token(FUTURE);
    is_listed(&person.lists(None, &[]).await, "held");
    assert_eq!(person.sign_in.count("/v1/token"), 0);
    person.login_token(PAST);
    is_listed(&person.lists(None, &[]).await, "refreshed");
    assert_eq!(person.sign_in.count("/v1/token"), 1);
    fs::remove_dir_all(person.operator.home().join(".aws/login")).expect("removed");
    is_told(&person.lists(None, &[]).await, "aws login");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profile_that_cannot_be_is_told_in_one_line() {
    let person = Person::new().await;
    let role = person.role("round");
    person.write("fails", "#!/bin/sh\necho 'the token\nis over' >&2\nexit 3\n");
    let fails = person.operator.home().join("fails");
    fs::set_permissions(&fails, fs::Permissions::from_mode(0o700)).expect("set");
    let fails = Path::new(&fails).display();
    person.config(&format!(
        "[profile round]\nregion = us-east-1\nrole_arn = {role}\nsource_profile = other\n\
         [profile other]\nregion = us-east-1\nrole_arn = {role}\nsource_profile = round\n\
         [profile sourceless]\nregion = us-east-1\nrole_arn = {role}\n\
         [profile fails]\nregion = us-east-1\ncredential_process = {fails}\n"
    ));
    let region = [("AWS_REGION", "us-east-1".to_owned())];
    is_told(&person.lists(Some("round"), &[]).await, "correct the profile");
    is_told(&person.lists(Some("sourceless"), &[]).await, "source_profile");
    is_told(&person.lists(Some("fails"), &[]).await, "log in to AWS");
    is_told(&person.lists(Some("nowhere"), &region).await, "name a profile (AWS_PROFILE)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_every_command_says_so_in_one_line() {
    let person = Person::new().await;
    let Account { bucket, zone, .. } = person.account().clone();
    person.write("site/index.html", "<!doctype html><title>t</title>");
    let domain = person.account().domain();
    let home = person.operator.home().display().to_string();
    person.write(
        "spothost.toml",
        &format!("domain = \"{domain}\"\npackage = \"s3://{bucket}/www/\"\nvault = \"v\"\nzone = \"{zone}\"\n"),
    );
    let config = format!("{home}/spothost.toml");
    let site = format!("{home}/site");
    let commands: [&[&str]; 10] = [
        &["publish", &site, "--config", &config],
        &["releases", "--config", &config],
        &["rollback", "--config", &config],
        &["diff", "previous", "latest", "--config", &config],
        &["prune", "--keep", "2", "--config", &config],
        &["vault", "show", "--config", &config],
        &["vault", "verify", "--config", &config],
        &["budget", "--config", &config],
        &["hosts", "--config", &config],
        &["rollout", "--config", &config],
    ];
    let region = [("AWS_REGION", "us-east-1".to_owned())];
    for command in commands {
        let ended = person.run(command, None, &region).await;
        println!("{command:?}: {}", ended.stderr);
        is_told(&ended, "there are no AWS credentials");
    }
    // `doctor` and `init` go on to what can be seen without, and say it as well.
    let ended = person.run(&["doctor", "--config", &config], None, &region).await;
    assert!(ended.stdout.contains("there are no AWS credentials") && ended.stdout.contains("aws login"), "{ended:?}");
}
