//! The bucket of one test behind a front that checks signatures, and the IMDS that gives the keys to it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use world::{Account, Imds, Need, Recorded, World};

use world::{
    rendering::CONFIGURATION,
    tools::{repository, run, tool},
};

/// One request that came to the front.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The status that was answered.
    pub(crate) status: u16,
    /// The first word of `User-Agent`: `curl` or `aws-cli`.
    pub(crate) client: String,
}

/// A bucket in an account of its own.
pub(crate) struct Bucket {
    account: Account,
    imds: Imds,
    front: Child,
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
    _reader: JoinHandle<()>,
}

impl Bucket {
    /// One that answers.
    pub(crate) async fn new() -> Bucket {
        Bucket::refusing(0).await
    }

    /// One that answers the first `times` requests with 503.
    pub(crate) async fn refusing(times: u32) -> Bucket {
        let account = Account::new().await;
        let secret_key = account.secret_key.clone();
        Bucket::behind_a_front(account, &secret_key, times).await
    }

    /// One whose keys are not those that IMDS gives.
    pub(crate) async fn of_somebody_else() -> Bucket {
        Bucket::behind_a_front(Account::new().await, "somebody else's secret key", 0).await
    }

    async fn behind_a_front(account: Account, secret_key: &str, refusals: u32) -> Bucket {
        let imds = Imds::start(&account, None).await;
        let mut front = Command::new(tool("python/bin/python"))
            .arg(repository().join("tests/ground/strict_s3.py"))
            .args([&format!("http://{}", World::shared().aws()), secret_key, &refusals.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the front starts");
        let mut said = BufReader::new(front.stdout.take().expect("its standard output is a pipe"));
        let mut port = String::new();
        said.read_line(&mut port).expect("the front says its port");
        let requests = Arc::default();
        let _reader = thread::spawn({
            let requests = Arc::clone(&requests);
            let bucket = account.bucket.clone();
            move || read(said, &bucket, &requests)
        });
        Bucket { account, imds, front, endpoint: format!("http://127.0.0.1:{}", port.trim()), requests, _reader }
    }

    /// Whose it is.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.account.bucket
    }

    /// Where S3 is, for those whose signatures are to be checked.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The metadata service of an instance in the same account.
    pub(crate) fn imds(&self) -> &Imds {
        &self.imds
    }

    /// What no CA may see.
    pub(crate) fn secrets(&self) -> [&str; 2] {
        [&self.account.secret_key, &self.account.session_token]
    }

    /// Puts a file into the bucket, past the front.
    pub(crate) async fn put(&self, key: &str, file: &Path) {
        let body = fs::read(file).expect("the file can be read");
        let query = [("account", self.account.id.as_str()), ("bucket", self.name()), ("key", key)];
        World::shared().control("put_object", &query, body.into()).await;
    }

    /// The reports of failed boots, as somebody reads them who may do everything.
    pub(crate) fn reports(&self) -> Vec<String> {
        let listed = self.read("?list-type=2&prefix=failed/");
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(|key| self.read(key)).collect()
    }

    /// Reads something of the bucket, past the front.
    fn read(&self, what: &str) -> String {
        let url = format!("http://{}/{}/{what}", World::shared().aws(), self.name());
        run(Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("{}:{}", self.account.access_key, self.account.secret_key)])
            .args(["--header", &format!("x-amz-security-token: {}", self.account.session_token), &url]))
        .succeeded()
        .out
    }

    /// The requests that came to the front so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the reader does not panic").clone()
    }

    /// The command with the keys to the account, and the AWS CLI on its PATH.
    pub(crate) fn with_keys(&self, mut command: Command) -> Command {
        let tools = tool("ground/bin/aws").parent().expect("it lies in a folder").to_owned();
        let path = std::env::var_os("PATH").expect("PATH is set");
        let path = std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path)));
        command
            .env("PATH", path.expect("no colons in paths"))
            .env("AWS_ENDPOINT_URL", format!("http://{}", World::shared().aws()))
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &self.account.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.account.secret_key)
            .env("AWS_SESSION_TOKEN", &self.account.session_token);
        command
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may be over already, and then there is nothing to end.
        let _ = self.front.kill();
        let _ = self.front.wait();
    }
}

/// The user data puts and gets objects, and does nothing else.
fn record(method: &str, path: &str, bucket: &str) {
    let action = match method {
        "GET" | "HEAD" => "s3:GetObject",
        "PUT" => "s3:PutObject",
        other => panic!("the user data asks {other} {path}"),
    };
    let object = path.trim_start_matches('/').split('?').next().unwrap_or_default();
    let need = Need { action: action.to_owned(), resource: format!("arn:aws:s3:::{object}"), keys: BTreeMap::new() };
    let who = "host".to_owned();
    let ground = Some(bucket.to_owned());
    Recorded { configuration: CONFIGURATION.to_owned(), who, ground, needs: vec![need] }.write();
}

/// Reads what the front prints: `METHOD PATH STATUS CLIENT`.
fn read(said: BufReader<ChildStdout>, bucket: &str, requests: &Mutex<Vec<Request>>) {
    for line in said.lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        record(words.next().expect("a method"), words.next().expect("a path"), bucket);
        let status = words.next().and_then(|status| status.parse().ok()).expect("a status");
        let client = words.next().expect("a client").to_owned();
        requests.lock().expect("no test panics while it holds this").push(Request { status, client });
    }
}
