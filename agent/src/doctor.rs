//! Diagnoses a site, with the command that mends each fault: from a host or from anywhere else, before the first
//! launch and after.
//!
//! Nothing is changed. What a host has to be allowed is tried on a host, harmlessly ([`crate::aws::permission_probe`]); from elsewhere
//! IAM is asked what the role of the hosts may do. Each file below looks at one thing and judges it in a pure function.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{sync::watch, time::timeout};

use crate::{
    aws::{
        Aws, Host, Login,
        caller::Caller,
        configured_region,
        metadata::{Metadata, is_disabled_here},
    },
    certificate::{Certifier, Vault},
    config::Config,
    fault::Cure,
    folders::Folders,
    shell::word,
};

mod application;
mod authority;
mod caa;
mod clock;
mod delegation;
mod instance;
mod limits;
mod line;
mod outside;
mod package;
mod ports;
mod quota;
mod records;
mod resolver;
mod rights;
mod vault;

pub use line::{Line, LineState, Subject};

use resolver::Resolver;

/// How long all of it may take.
const LONGEST: Duration = Duration::from_secs(60);

/// The doctor's options beside the configuration.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// Where the configuration lies.
    pub path: PathBuf,
    /// The role of the hosts: its name or ARN.
    pub role: Option<String>,
    /// The name server to ask instead of the system's.
    pub resolver: Option<SocketAddr>,
    /// Where a host keeps its files.
    pub folders: Folders,
}

/// The site that is examined, and the caller that examines it.
struct Case<'a> {
    config: &'a Config,
    told: &'a DoctorOptions,
    /// The AWS session, where there is one.
    aws: Option<Aws>,
    /// Who asks.
    caller: Option<Caller>,
    /// This instance, where it is one.
    host: Option<Host>,
    resolver: Resolver,
}

/// Looks at everything, and tells the lines in the order of their subjects.
pub async fn examine(config: &Config, told: &DoctorOptions) -> Vec<Line> {
    let mut lines = vec![Line::ok(Subject::Configuration, format!("{} is understood", told.path.display()))];
    let resolver = match told.resolver {
        Some(server) => Ok(Resolver::at(server)),
        None => Resolver::of_the_system(),
    };
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(fault) => return with(lines, Line::fault(Subject::Outside, &fault)),
    };
    let mut case = Case { config, told, aws: None, caller: None, host: None, resolver };
    if config.needs_aws() {
        case.find_aws(&mut lines).await;
    }
    match timeout(LONGEST, case.examined()).await {
        Ok(found) => lines.extend(found),
        Err(_) => lines.push(Line::wrong(
            Subject::Credentials,
            format!("timed out after {} s", LONGEST.as_secs()),
            "run it again with its log: SPOTHOST_LOG=debug spothost doctor",
        )),
    }
    lines.sort_by_key(|line| line.subject);
    lines
}

fn with(mut lines: Vec<Line>, line: Line) -> Vec<Line> {
    lines.push(line);
    lines
}

impl Case<'_> {
    /// Finds out where this is, and who asks.
    async fn find_aws(&mut self, lines: &mut Vec<Line>) {
        let metadata = Metadata::new();
        let login = Login::start(&metadata).await;
        match metadata.host().await {
            Ok(host) => self.host = Some(host),
            // Without an answer, this is no instance. A refusal is an answer of an instance's metadata service.
            Err(fault) if fault.cure == Cure::Operator && !is_disabled_here() => {
                lines.push(Line::fault(Subject::Instance, &fault))
            }
            Err(_) => {}
        }
        let region = match configured_region().await {
            Some(region) => Some(region),
            None => self.host.as_ref().map(|host| host.region.clone()),
        };
        let Some(region) = region else {
            let said = "the region is not known";
            return lines.push(Line::wrong(Subject::Credentials, said, "export AWS_REGION=<region of the site>"));
        };
        let aws = login.in_region(region.clone()).await;
        match Caller::ask(&aws).await {
            Ok(caller) => {
                lines.push(Line::ok(Subject::Credentials, format!("{} in {region}", caller.arn)));
                lines.extend(clock::judged(caller.told));
                (self.aws, self.caller) = (Some(aws), Some(caller));
            }
            Err(fault) => lines.push(Line::fault(Subject::Credentials, &fault)),
        }
    }

    /// Whether the caller is the instance itself, by the role of its profile.
    fn is_the_host(&self) -> bool {
        let session = self.caller.as_ref().and_then(Caller::session);
        matches!((session, &self.host), (Some((_, session)), Some(host)) if session == host.instance)
    }

    async fn examined(&self) -> Vec<Line> {
        let identity = async {
            let (vault, certifier) = self.vault();
            let (vault, limits) =
                tokio::join!(vault::examined(self, &vault, &certifier), limits::examined(self, &vault, &certifier));
            let (lines, accounts) = vault;
            let (authorities, more) = authority::examined(self).await;
            let caa = caa::examined(self, &authorities, &accounts).await;
            [lines, limits, more, caa].concat()
        };
        let names = async {
            let (mut lines, claim) = records::examined(self).await;
            let instance = instance::examined(self, claim.as_ref());
            let (outside, instance, quota) =
                tokio::join!(outside::examined(self, claim.as_ref()), instance, quota::examined(self, claim.as_ref()));
            lines.extend([outside, instance, quota].concat());
            lines
        };
        let all = [
            identity.boxed_local(),
            names.boxed_local(),
            delegation::examined(self).boxed_local(),
            rights::examined(self).boxed_local(),
            package::examined(self).boxed_local(),
            application::examined(self).boxed_local(),
            ports::examined(self).boxed_local(),
        ];
        join_all(all).await.concat()
    }

    /// The vault and who certifies, with the AWS session.
    fn vault(&self) -> (Vault, Certifier) {
        let aws = watch::channel(self.aws.clone()).1;
        let certifier = Certifier::new(self.config, self.told.folders.local_ca.clone(), aws.clone(), None);
        (Vault::new(self.config.vault.clone(), aws), certifier)
    }

    /// The same configuration for another command, if it is not the usual one.
    fn same_configuration(&self) -> String {
        configuration_flag(&self.told.path)
    }
}

/// ` --config FILE`, where that is not the default.
pub(crate) fn configuration_flag(path: &Path) -> String {
    if path == Path::new("/etc/spothost/spothost.toml") { String::new() } else { format!(" --config {}", word(path)) }
}
