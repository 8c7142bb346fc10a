//! A new version of the program in the place of the old: fetched, verified, started over the same sockets, and taken back
//! where it does not become ready.
//!
//! The agent cannot do this to itself: nothing that it can write may be executed, and its account may write no program. So
//! it is a command of its own, run as root by a unit of its own, which does not start unless a person has said so twice: with
//! `[upgrade]` in the configuration, and by enabling its timer. systemd holds the ports meanwhile, so that no visitor is
//! refused.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    aws::publisher_bucket::PublisherBucket,
    config::Upgrade,
    documents::{layout, signature::verify},
    fault::Fault,
};

/// Bytes of a program; what is larger is none.
const LARGEST: usize = 256 << 20;
/// Between two looks at whether the agent serves.
const LOOK: Duration = Duration::from_millis(500);
/// How long a program may take to say its version.
const SAYS: Duration = Duration::from_secs(10);

/// The installed program, and how it is upgraded.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The program.
    pub program: PathBuf,
    /// The unit that runs it.
    pub unit: String,
    /// How long it may take until it serves.
    pub patience: Duration,
}

/// The outcome of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// Nothing newer is offered.
    UpToDate,
    /// The agent does not serve: a change now could not be judged.
    NotNow,
    /// What is offered did not become ready before; the checksum of it.
    RefusedBefore(String),
    /// That version runs.
    Upgraded(ProgramVersion),
    /// That version did not become ready, and the one before it runs again.
    WentBack(ProgramVersion, String),
}

/// A version: three numbers (<https://semver.org>); what comes behind them is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProgramVersion([u32; 3]);

impl ProgramVersion {
    /// Reads what a program says to `--version`: `spothost 0.2.0`.
    pub fn said(text: &str) -> Option<ProgramVersion> {
        let numbers = text.strip_prefix("spothost ")?.trim();
        let mut numbers = numbers.split(['.', '-', '+']).map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(ProgramVersion([next()?, next()?, next()?]))
    }
}

impl std::fmt::Display for ProgramVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ProgramVersion([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Takes the newer version, if one is offered.
///
/// # Errors
/// What is offered and is not what its checksum, its signature or its version says; what S3 or the file system refuses.
pub async fn upgrade(
    publisher_bucket: &PublisherBucket,
    offered: &Upgrade,
    installed: &Installed,
) -> Result<UpgradeOutcome, Fault> {
    let key = layout::offered(&offered.from.prefix, layout::MACHINE);
    let doing = format!("upgrading to s3://{}/{key}", offered.from.bucket);
    let Some(sha256) = text(publisher_bucket, &layout::checksum(&key)).await? else {
        return Ok(UpgradeOutcome::UpToDate);
    };
    let sha256 = sha256.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let current = fs::read(&installed.program).map_err(|error| installed.unusable(&doing, &error))?;
    if sha256_of(&current) == sha256 {
        return Ok(UpgradeOutcome::UpToDate);
    }
    if installed.has_refused(&sha256) {
        return Ok(UpgradeOutcome::RefusedBefore(sha256));
    }
    if !installed.serves().await {
        return Ok(UpgradeOutcome::NotNow);
    }
    let signature = text(publisher_bucket, &layout::signature(&key)).await?;
    let program = publisher_bucket.read(&key, None).await?;
    let wrong =
        |said: String| Fault::operator(&doing, said, "offer it again, with spothost-….sha256 and .minisig beside it");
    let program =
        program.filter(|program| program.len() <= LARGEST).ok_or_else(|| wrong("there is no such program".into()))?;
    if sha256_of(&program) != sha256 {
        return Err(wrong(format!("its SHA-256 is {} and not {sha256}", sha256_of(&program))));
    }
    let fresh = installed.beside("new");
    let placed = place(&fresh, &program).map_err(|error| installed.unusable(&doing, &error));
    let judged = match placed {
        Ok(()) => judge(&fresh, installed, signature.as_deref(), offered).await.map_err(wrong),
        Err(fault) => Err(fault),
    };
    let version = judged.inspect_err(|_| drop(fs::remove_file(&fresh)))?;
    installed.exchange(&fresh).map_err(|error| installed.unusable(&doing, &error))?;
    tracing::info!(%version, "installed; starting it over the same sockets");
    match installed.restarted().await {
        Ok(()) => Ok(UpgradeOutcome::Upgraded(version)),
        Err(why) => {
            tracing::error!(%version, why, "going back to the previous version");
            installed.go_back(&sha256).map_err(|error| installed.unusable(&doing, &error))?;
            match installed.restarted().await {
                Ok(()) => Ok(UpgradeOutcome::WentBack(version, why)),
                Err(still) => {
                    let said = format!(
                        "{version} did not become ready ({why}), and neither does the previous version: {still}"
                    );
                    Err(Fault::operator(&doing, said, format!("look at it: systemctl status {}", installed.unit)))
                }
            }
        }
    }
}

/// Whether the program there is signed by whom it has to be, and newer than the installed one.
async fn judge(
    fresh: &Path,
    installed: &Installed,
    signature: Option<&str>,
    offered: &Upgrade,
) -> Result<ProgramVersion, String> {
    let signed = verify(fresh, signature, &offered.keys).map_err(|error| format!("it cannot be read: {error}"))?;
    signed.map_err(|unsigned| unsigned.to_string())?;
    // Nothing of it is executed before that.
    let fresh = version(fresh).await?;
    let current = version(&installed.program).await?;
    if fresh > current {
        Ok(fresh)
    } else {
        Err(format!("it is version {fresh}, and {current} runs: only a newer one is taken"))
    }
}

async fn version(program: &Path) -> Result<ProgramVersion, String> {
    let said = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let said = tokio::time::timeout(SAYS, said).await.map_err(|_| "it does not say its version".to_owned())?;
    let said = said.map_err(|error| format!("it does not run here: {error}"))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    ProgramVersion::said(&text).ok_or_else(|| format!("it says `{}` for its version", text.trim()))
}

async fn text(publisher_bucket: &PublisherBucket, key: &str) -> Result<Option<String>, Fault> {
    let text = publisher_bucket.read(key, None).await?;
    Ok(text.filter(|text| text.len() < 10_000).map(|text| String::from_utf8_lossy(&text).into_owned()))
}

fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// Writes a program that is on the disk for good before anybody could start it.
fn place(path: &Path, program: &[u8]) -> io::Result<()> {
    fs::write(path, program)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    fs::File::open(path)?.sync_all()
}

impl Installed {
    fn beside(&self, what: &str) -> PathBuf {
        self.program.with_added_extension(what)
    }

    fn unusable(&self, doing: &str, error: &io::Error) -> Fault {
        let remedy = format!("run it as root, with free disk space beside {}", self.program.display());
        Fault::operator(doing, format!("{}: {error}", self.program.display()), remedy)
    }

    /// Puts the fresh program in the place of the current one, which is kept.
    fn exchange(&self, fresh: &Path) -> io::Result<()> {
        let before = self.beside("before");
        match fs::remove_file(&before) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::hard_link(&self.program, &before)?;
        fs::rename(fresh, &self.program)
    }

    fn go_back(&self, sha256: &str) -> io::Result<()> {
        let refused = fs::read_to_string(self.beside("refused")).unwrap_or_default();
        fs::write(self.beside("refused"), format!("{refused}{sha256}\n"))?;
        fs::rename(self.beside("before"), &self.program)
    }

    fn has_refused(&self, sha256: &str) -> bool {
        let refused = fs::read_to_string(self.beside("refused")).unwrap_or_default();
        refused.lines().any(|line| line == sha256)
    }

    /// Whether the agent serves, as it says itself.
    async fn serves(&self) -> bool {
        let mut asked = Command::new(&self.program);
        let asked = asked.arg("status").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).status();
        matches!(tokio::time::timeout(SAYS, asked).await, Ok(Ok(status)) if status.success())
    }

    /// Starts the unit again, and waits until it serves.
    async fn restarted(&self) -> Result<(), String> {
        let until = Instant::now() + self.patience;
        let restart = Command::new("systemctl").args(["restart", &self.unit]).stdin(Stdio::null()).output();
        match tokio::time::timeout(self.patience, restart).await {
            Ok(Ok(ended)) if ended.status.success() => {}
            Ok(Ok(ended)) => {
                return Err(format!("it does not start: {}", String::from_utf8_lossy(&ended.stderr).trim()));
            }
            Ok(Err(error)) => return Err(format!("systemctl: {error}")),
            Err(_) => return Err("it does not start in time".to_owned()),
        }
        while !self.serves().await {
            if Instant::now() > until {
                return Err(format!("it did not serve within {}", humantime::format_duration(self.patience)));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_three_numbers_behind_the_name() {
        let table = [
            ("spothost 0.2.0\n", Some([0, 2, 0])),
            ("spothost 1.10.3-rc.1", Some([1, 10, 3])),
            ("spothost 1.2", None),
            ("nginx 1.2.3", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(ProgramVersion::said(text), expected.map(ProgramVersion), "{text}");
        }
        assert!(ProgramVersion([0, 10, 0]) > ProgramVersion([0, 9, 9]));
    }
}
