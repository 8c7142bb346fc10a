//! Keeper: what the process of a package needs and the package does not have is read, and read again when it may have changed.
//!
//! What was read once stays until something else is read: a process that runs is not disturbed by a service that does not answer, nor by a
//! secret that makes no sense. Which of the values a package gets, its `needs` say.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    env, fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::missing;
use crate::{
    aws::{Aws, secret::Secret},
    fault::{Cause, Cure, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    place::SecretsPlace,
    process::wire::ProcessCommand,
    secrets::{Seal, SecretSet, SecretText},
    status::Part,
};

/// So many looks for a package are there between two looks for other secrets, which cost by the call.
const LOOKS: u32 = 6;
/// The largest file of a developer's, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// Keeper of the secrets of a host.
pub struct Secrets {
    place: SecretsPlace,
    aws: Kept<Aws>,
    look: Duration,
    held: Option<ReadSecrets>,
}

/// Secrets as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadSecrets {
    /// The values.
    pub set: SecretSet,
    place: SecretsPlace,
    version: Option<String>,
}

impl Secrets {
    /// Keeps what lies at `place`, at the pace at which packages are looked for.
    pub fn new(place: SecretsPlace, aws: Kept<Aws>, pace: Duration) -> Secrets {
        let look = match &place {
            SecretsPlace::Secret(_) => pace * LOOKS,
            SecretsPlace::Environment(_) => pace,
        };
        Secrets { place, aws, look, held: None }
    }
}

impl Keeper for Secrets {
    type Observation = Result<ReadSecrets, Fault>;
    type Drift = Infallible;
    type Held = ReadSecrets;
    const PART: Part = Part::Secrets;
    const NEEDS: &'static [Part] = &[Part::Host];

    fn pace(&self) -> Pace {
        let seconds = Duration::from_secs;
        Pace { look: self.look, observe: seconds(60), converge: seconds(1), longest_pause: seconds(60) }
    }

    fn lacks(&self) -> Option<String> {
        let is_to_come = matches!(self.place, SecretsPlace::Secret(_)) && self.aws.borrow().is_none();
        is_to_come.then(|| "the AWS session".to_owned())
    }

    async fn woken(&mut self) {
        if self.lacks().is_none() || self.aws.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn observe(&mut self) -> Result<Result<ReadSecrets, Fault>, Fault> {
        let aws = self.aws.borrow().clone();
        let read = read(&self.place, aws.as_ref()).await;
        match read {
            Ok(read) => {
                if self.held.as_ref().is_some_and(|held| held.set != read.set) {
                    tracing::info!("{} has changed: {}", self.place, Secrets::holding(&read));
                }
                self.held = Some(read.clone());
                Ok(Ok(read))
            }
            // What a person mends in the value is found at the next look. A right that lacks is there in a moment where the role is new.
            Err(fault) if fault.cause == Cause::Other && fault.cure == Cure::Operator => Ok(Err(fault)),
            Err(fault) => Err(fault),
        }
    }

    fn judge(&self, seen: Result<ReadSecrets, Fault>) -> Judgement<ReadSecrets, Infallible> {
        match (seen, self.held.clone()) {
            (Ok(read), _) => Judgement::Kept(read),
            (Err(fault), Some(held)) => Judgement::KeptDespite { held, fault },
            (Err(fault), None) => Judgement::Refused(fault),
        }
    }

    async fn converge(&mut self, drift: Infallible) -> Result<(), Fault> {
        match drift {}
    }

    fn holding(held: &ReadSecrets) -> String {
        let many = held.set.len();
        let values = if many == 1 { "value" } else { "values" };
        match (&held.place, &held.version) {
            // All of the environment, of which most is no secret.
            (SecretsPlace::Environment(_), _) => held.place.to_string(),
            (place, Some(version)) => format!("{many} {values} of {place}, version {version}"),
            (place, None) => format!("{many} {values} of {place}"),
        }
    }

    fn drifting(drift: &Infallible) -> String {
        match *drift {}
    }
}

/// Whether what lies at `place` can be read, and has what is needed: in words how many values it has.
///
/// # Errors
/// Why not, with the cure.
pub async fn examined(place: &SecretsPlace, aws: Option<&Aws>, needs: &BTreeSet<String>) -> Result<String, Fault> {
    let read = read(place, aws).await?;
    read.set.only(needs).map_err(|names| missing(Some(place), names.iter()))?;
    Ok(Secrets::holding(&read))
}

fn reading(place: &SecretsPlace) -> String {
    format!("reading {place}")
}

/// Reads what lies at `place`.
///
/// # Errors
/// Why it cannot be read, or what is wrong with it, without values.
pub(super) async fn read(place: &SecretsPlace, aws: Option<&Aws>) -> Result<ReadSecrets, Fault> {
    match (place, aws) {
        (SecretsPlace::Secret(id), Some(aws)) => {
            let value = Secret::new(aws, id.clone()).given().await?;
            let set = SecretSet::parse(&value.text).map_err(|said| {
                let cure = format!(
                    "write a JSON object of names and texts: aws secretsmanager put-secret-value --secret-id {id} --secret-string \
                     file://secrets.json"
                );
                Fault::operator(reading(place), said, cure)
            })?;
            Ok(ReadSecrets { set, place: place.clone(), version: Some(value.version) })
        }
        (SecretsPlace::Secret(_), None) => Err(Fault::retry(reading(place), "there is no AWS session yet")),
        (SecretsPlace::Environment(file), _) => {
            let own = env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
            let own = SecretSet::of_environment(own);
            let set = match file {
                Some(file) => own.or(of_file(file).map_err(|said| {
                    Fault::operator(
                        reading(place),
                        said,
                        "correct the file: NAME=value, one a line; # begins a comment",
                    )
                })?),
                None => own,
            };
            Ok(ReadSecrets { set, place: place.clone(), version: None })
        }
    }
}

/// The variables of a file: `NAME=value`, one a line.
fn of_file(path: &Path) -> Result<SecretSet, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no regular file, and is read again and again: write what it gives to one".to_owned());
    }
    let size = metadata.len();
    if size > LARGEST_FILE {
        return Err(format!("it has {size} bytes; {LARGEST_FILE} are allowed"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    lines(&text)
}

fn lines(text: &str) -> Result<SecretSet, String> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {} is no NAME=value", index + 1));
        };
        let value = value.trim();
        let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        values.insert(name.trim().to_owned(), SecretText::new(unquoted.unwrap_or(value)));
    }
    SecretSet::checked(values)
}

/// What a process gets of the secrets: known, or still to come.
#[derive(Clone, Debug)]
pub(super) struct LaunchSecrets {
    /// The seal of what a process has that another program has started.
    seal: Option<Seal>,
    given: Arc<watch::Sender<Option<SecretSet>>>,
}

/// How what a process has, or waits for, stands to what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has that.
    Right,
    /// It has other values.
    Stale,
    /// It waits.
    Waits,
}

impl LaunchSecrets {
    /// These.
    pub(super) fn known(set: SecretSet) -> LaunchSecrets {
        LaunchSecrets { seal: None, given: Arc::new(watch::Sender::new(Some(set))) }
    }

    /// Those that are to be [given](Self::give).
    pub(super) fn to_come() -> LaunchSecrets {
        LaunchSecrets { seal: None, given: Arc::new(watch::Sender::new(None)) }
    }

    /// Those of a process that runs: it has been given what `seal` is of, which this program does not know yet.
    pub(super) fn sealed(seal: Option<Seal>) -> LaunchSecrets {
        match seal {
            Some(_) => LaunchSecrets { seal, ..LaunchSecrets::to_come() },
            None => LaunchSecrets::known(SecretSet::default()),
        }
    }

    /// Compares them with what they should be. A process that waits gets that.
    pub(super) fn settle(&self, now: &SecretSet) -> Standing {
        let is_known = self.given.borrow().as_ref().map(|given| given == now);
        match (is_known, &self.seal) {
            (Some(true), _) => Standing::Right,
            (Some(false), _) => Standing::Stale,
            (None, Some(seal)) if !seal.is_of(now) => Standing::Stale,
            (None, seal) => {
                self.given.send_replace(Some(now.clone()));
                if seal.is_some() { Standing::Right } else { Standing::Waits }
            }
        }
    }

    /// Whether a process cannot be started now for want of them.
    pub(super) fn are_unknown(&self) -> bool {
        self.given.borrow().is_none()
    }

    /// Resolves once they are known.
    pub(super) async fn become_known(&self) {
        let mut given = self.given.subscribe();
        if given.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Puts them into a command.
    pub(super) fn put_into(&self, command: &mut ProcessCommand) {
        command.secrets = self.given.borrow().clone().unwrap_or_default();
        command.seal = command.secrets.sealed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> SecretSet {
        SecretSet::parse(text).expect("valid")
    }

    #[test]
    fn file_of_a_developer_is_read_and_its_faults_have_lines_and_no_values() {
        let text = "# of the laptop\n\nA=b c # d\n export B = \"x=y\" \nC='\nD=\nE='it'\n";
        let expected = set(r#"{"A": "b c # d", "B": "x=y", "C": "'", "D": "", "E": "it"}"#);
        assert_eq!(lines(text), Ok(expected));
        assert_eq!(lines("A=b\ncanary\n"), Err("line 2 is no NAME=value".to_owned()));
        let said = lines("A-B=canary").expect_err("no name");
        assert!(said.contains("\"A-B\" is no name of a variable") && !said.contains("canary"), "{said}");
        assert_eq!(lines("PORT=80\nA=b"), lines("A=b"), "the host sets it");
        let said = of_file(Path::new("/dev/zero")).expect_err("endless");
        assert!(said.contains("no regular file"), "{said}");
    }

    #[test]
    fn process_that_another_program_has_started_is_known_by_its_seal() {
        let (old, new) = (set(r#"{"A": "old"}"#), set(r#"{"A": "new"}"#));
        let running = || LaunchSecrets::sealed(old.sealed());
        assert_eq!(running().settle(&new), Standing::Stale);
        let same = running();
        assert_eq!((same.are_unknown(), same.settle(&old)), (true, Standing::Right));
        assert!(!same.are_unknown(), "a process that ends can be started again with them");
        assert_eq!(same.settle(&new), Standing::Stale, "it is known from then on");
        assert_eq!(LaunchSecrets::sealed(None).settle(&SecretSet::default()), Standing::Right);
        assert_eq!(LaunchSecrets::sealed(None).settle(&new), Standing::Stale);
    }

    #[tokio::test]
    async fn process_that_waits_gets_them_once() {
        let launch = LaunchSecrets::to_come();
        assert!(launch.are_unknown());
        assert_eq!(launch.settle(&set(r#"{"A": "b"}"#)), Standing::Waits);
        launch.become_known().await;
        assert_eq!((launch.are_unknown(), launch.settle(&set(r#"{"A": "b"}"#))), (false, Standing::Right));
        assert_eq!(launch.settle(&set(r#"{"A": "c"}"#)), Standing::Stale);
    }
}
