//! Somebody who publishes: a laptop or a CI job, with a folder and keys to the bucket.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Account, Ended, FaultProxy, Object, Site};

/// Where metadata stands that `spothost publish` writes.
const METADATA: &str = "x-amz-meta-spothost-";

/// A publisher to the bucket of an account. What it compressed is forgotten when it is gone.
#[derive(Debug)]
pub struct Publisher {
    /// Whose bucket it is.
    pub account: Account,
    /// Its way to AWS.
    pub aws: FaultProxy,
    home: TempDir,
}

impl Publisher {
    /// One who publishes to the bucket of that account.
    pub async fn of(account: &Account) -> Publisher {
        let home = TempDir::new().expect("a temporary folder");
        let aws = FaultProxy::start().await;
        let place = format!("s3://{}/{}", account.bucket, account.prefix());
        aws.record_for(&format!(
            "domain = \"{}\"\npackage = \"{place}\"\nvault = \"unused\"\n[acme]\ndirectory = \"internal\"\n",
            account.domain()
        ));
        Publisher { account: account.clone(), aws, home }
    }

    /// Its folder with the site.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("site")
    }

    /// Everything that it has.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Makes its folder hold exactly that site.
    pub fn write(&self, site: &Site) {
        let folder = self.folder();
        let _ = fs::remove_dir_all(&folder);
        for (name, body) in site.files() {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, body).expect("a file");
        }
    }

    /// Runs `spothost publish` of its folder, with further arguments.
    pub async fn publish(&self, further: &[&str]) -> Ended {
        let folder = self.folder().display().to_string();
        let place = self.place();
        let mut arguments = vec!["publish", &folder, "--to", &place, "--brotli", "4"];
        arguments.extend(further);
        self.run(&arguments).await
    }

    /// Runs another command at the place that it publishes to.
    pub async fn command(&self, arguments: &[&str]) -> Ended {
        let place = self.place();
        let mut all = arguments.to_vec();
        all.extend(["--at", &place]);
        self.run(&all).await
    }

    /// Runs a command as it is.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(arguments, &self.variables()).await
    }

    /// The environment of its commands.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("HOME", self.home.path().display().to_string()),
            ("AWS_ENDPOINT_URL", self.aws.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.account.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.account.secret_key.clone()),
            ("AWS_SESSION_TOKEN", self.account.session_token.clone()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The place that it publishes to.
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.account.bucket, self.account.prefix())
    }

    /// The object that hosts look for, if it is there.
    pub async fn pointer(&self) -> Option<Object> {
        let key = format!("{}site-latest.zip", self.account.prefix());
        self.account.objects().await.into_iter().find(|object| object.key == key)
    }

    /// The version that the pointer leads to.
    pub async fn latest(&self) -> Option<String> {
        self.pointer().await.and_then(|pointer| pointer.said("version"))
    }

    /// The versions that have an object of their own, the oldest first.
    pub async fn versions(&self) -> Vec<String> {
        let start = format!("{}site-2", self.account.prefix());
        let objects = self.account.objects().await.into_iter();
        let of_versions = objects.filter(|object| object.key.starts_with(&start) && object.key.ends_with(".zip"));
        of_versions.filter_map(|object| object.said("version")).collect()
    }
}

impl Object {
    /// What `spothost publish` has written in its metadata, such as `version`.
    pub fn said(&self, name: &str) -> Option<String> {
        self.metadata.get(&format!("{METADATA}{name}")).cloned()
    }
}
