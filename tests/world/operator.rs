//! Somebody who sets a site up and looks after it: a laptop with keys to the account, and no instance.

use std::{fs, path::Path};

use tempfile::TempDir;
use toml::Table;

use crate::{Account, Ended, FaultProxy, World};

/// An operator of the account.
#[derive(Debug)]
pub struct Operator {
    /// Whose keys these are.
    pub account: Account,
    /// The way to AWS.
    pub aws: FaultProxy,
    home: TempDir,
}

impl Operator {
    /// One of that account.
    pub async fn of(account: &Account) -> Operator {
        let home = TempDir::new().expect("a temporary folder");
        Operator { account: account.clone(), aws: FaultProxy::start().await, home }
    }

    /// What there is on the laptop.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs `spothost doctor` for the site of that configuration.
    pub async fn doctor(&self, configuration: &Table, further: &[&str]) -> Ended {
        let path = self.home.path().join("spothost.toml");
        let text = toml::to_string(configuration).expect("TOML");
        fs::write(&path, &text).expect("a file");
        self.aws.record_for(&text);
        let path = path.display().to_string();
        let resolver = World::shared().dns().to_string();
        let mut arguments = vec!["doctor", "--config", &path, "--resolver", &resolver];
        arguments.extend(further);
        self.run(&arguments).await
    }

    /// Runs a command as it is.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(arguments, &self.variables()).await
    }

    /// The environment of the commands.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("HOME", self.home.path().display().to_string()),
            ("STATE_DIRECTORY", self.home.path().join("state").display().to_string()),
            ("RUNTIME_DIRECTORY", self.home.path().join("run").display().to_string()),
            ("AWS_ENDPOINT_URL", self.aws.endpoint()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_SDK_UA_APP_ID", "operator".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.account.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.account.secret_key.clone()),
            ("AWS_SESSION_TOKEN", self.account.session_token.clone()),
            ("SSL_CERT_FILE", World::shared().acme_issuer().display().to_string()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}
