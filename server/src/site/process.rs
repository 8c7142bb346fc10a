//! `[app]` of `site.toml`: the process that the package brings, and how it is run.
//!
//! ```toml
//! [app]
//! run    = "python3.11 -m gunicorn project.wsgi"  # words, no shell; a program with a slash lies below .app/
//! listen = "fd"       # how it gets its listener: as fd 3, or "port" for $PORT, "socket" for $SOCKET in run
//! health = "/"        # asked before it gets requests: 200 to 399 is well
//! ready  = "60s"      # how long it may take until that answers
//! swap   = "auto"     # "beside": the next version starts beside it; "in-place": after it has ended
//! drain  = "30s"      # how long requests under way may take when it is to go
//! grace  = "10s"      # how long it has from SIGTERM to SIGKILL
//! needs  = ["SECRET_KEY"]  # variables that it gets from the secrets of the host
//!
//! [app.env]
//! DJANGO_SETTINGS_MODULE = "project.settings"
//! ```
//!
//! Without `run`, the line `web:` of `.app/Procfile` is taken. What is not understood lets no package pass the gate.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use http::uri::PathAndQuery;
use serde::Deserialize;

use super::{name, objection::Objection};

/// The folder of the package that holds the program and what it needs, with its slash.
pub const PROGRAM_FOLDER: &str = ".app/";

/// The keys of `[app]` that are about the process.
pub(super) const KEYS: &[&str] = &["run", "listen", "health", "ready", "swap", "drain", "grace", "needs", "env"];

/// The longest command, in bytes.
const LONGEST_RUN: usize = 4096;
/// The most variables, and the most bytes of their names and values together.
const MOST_VARIABLES: usize = 100;
const MOST_BYTES_OF_VARIABLES: usize = 32 << 10;
/// The longest path of `health`, in bytes.
const LONGEST_HEALTH: usize = 1024;
/// The longest times.
const LONGEST_READY: Duration = Duration::from_secs(30 * 60);
const LONGEST_DRAIN: Duration = Duration::from_secs(10 * 60);
const LONGEST_GRACE: Duration = Duration::from_secs(2 * 60);

/// Variables that the host sets, and why the package does not.
const HOSTS_VARIABLES: &[(&str, &str)] = &[
    ("PORT", "the host chooses the port"),
    ("SOCKET", "the host chooses the socket"),
    ("HOME", "the host makes the folder"),
    ("TMPDIR", "the host makes the folder"),
    ("STATE", "the host makes the folder"),
    ("WEB_CONCURRENCY", "`processes` of the host's own [app] sets it"),
    ("NOTIFY_SOCKET", "it belongs to systemd"),
];
/// Beginnings of such variables.
const HOSTS_PREFIXES: &[(&str, &str)] = &[
    ("LISTEN_", "the host passes the listener"),
    ("SPOTHOST_", "the host sets it"),
    ("AWS_CONTAINER_", "the host passes the credentials"),
];

/// Further variables that no secret of a host takes the place of, and why. A package may set them: its program could do so as well.
const SECRETS_VARIABLES: &[(&str, &str)] = &[
    ("PATH", "the host sets it"),
    ("PYTHONPATH", "the host sets it"),
    ("PYTHONUNBUFFERED", "the host sets it"),
    ("FORWARDED_ALLOW_IPS", "the host sets it"),
    ("LANG", "the host sets it"),
    ("TZ", "the host sets it"),
];
/// Beginnings of such variables.
const SECRETS_PREFIXES: &[(&str, &str)] = &[("LD_", "the dynamic linker obeys it")];
/// The longest name of a secret, in bytes.
const LONGEST_NEED: usize = 256;

/// Words that only a shell understands.
const OF_A_SHELL: &[&str] = &["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"];

/// The process that a package brings: what is run, and how. Its working directory is the folder that `.app/` was unpacked into, below which relative paths
/// lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPlan {
    /// Where the program lies, which is the first of `words`.
    pub program: ProgramPlace,
    /// The command: the program as it was written, and its arguments. No shell reads it; `$PORT` and `$SOCKET` are to be replaced
    /// where [`listen`](Self::listen) says so.
    pub words: Vec<String>,
    /// How the process gets its listener.
    pub listen: ListenMode,
    /// The path, with its query, that answers with 200 to 399 once the process is ready. Begins with `/`.
    pub health: String,
    /// How long the process may take until `health` answers.
    pub ready: Duration,
    /// How the next version takes its place.
    pub swap: SwapMode,
    /// How long requests under way may take when the process is to end.
    pub drain: Duration,
    /// How long the process has from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Variables of its environment, by their names; none that the host sets.
    pub env: BTreeMap<String, String>,
    /// Variables that it gets from the secrets of the host, and without which it is not started; none of `env`.
    pub needs: BTreeSet<String>,
}

/// Where a program lies. One that is written with a slash lies below `.app/`, or at an absolute path of the host. One that is written
/// without a slash lies in `.app/` if the package has a file of that name there, and else in the host's `PATH`, as `execvp(3)` looks it
/// up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramPlace {
    /// In the package: its path below `.app/`, normalised.
    Package(String),
    /// At this absolute path of the host.
    Host(String),
    /// In a folder of the host's `PATH`, under this name.
    Path(String),
}

/// How a process gets its listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListenMode {
    /// As file descriptor 3, by the protocol of `sd_listen_fds(3)`.
    #[default]
    Fd,
    /// It listens at the port of 127.0.0.1 that stands for `$PORT`.
    Port,
    /// It listens at the Unix socket whose path stands for `$SOCKET`.
    Socket,
}

/// How the process of the next version takes the place of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwapMode {
    /// Beside it where memory allows, else in place.
    #[default]
    Auto,
    /// It starts while the other still answers.
    Beside,
    /// It starts once the other has ended, while requests wait.
    InPlace,
}

/// The keys of `[app]` that are about the process, as they are written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProcessTable {
    run: Option<String>,
    listen: Option<String>,
    health: Option<String>,
    ready: Option<String>,
    swap: Option<String>,
    drain: Option<String>,
    grace: Option<String>,
    needs: Vec<String>,
    env: toml::Table,
}

/// What `[app]` says of the process: checked, before it is known what is run.
#[derive(Debug, Default)]
pub(crate) struct ProcessSettings {
    run: Option<String>,
    listen: Option<ListenMode>,
    health: Option<String>,
    ready: Option<Duration>,
    swap: SwapMode,
    drain: Option<Duration>,
    grace: Option<Duration>,
    env: BTreeMap<String, String>,
    needs: BTreeSet<String>,
}

impl ProcessSettings {
    /// Reads the keys of `[app]` that are in [`KEYS`].
    ///
    /// # Errors
    /// What is not understood, one sentence each.
    pub(super) fn parse(table: toml::Table) -> Result<Self, Vec<Objection>> {
        let written: ProcessTable =
            table.try_into().map_err(|error: toml::de::Error| vec![Objection::package(error.message())])?;
        let mut faults = Vec::new();
        let needs = needs(written.needs, &written.env, &mut faults);
        let settings = Self {
            needs,
            listen: written.listen.and_then(|word| noted(listen(&word), &mut faults)),
            health: written.health.and_then(|path| noted(health(path), &mut faults)),
            ready: written.ready.and_then(|text| noted(time("ready", &text, LONGEST_READY), &mut faults)),
            swap: written.swap.and_then(|word| noted(swap(&word), &mut faults)).unwrap_or_default(),
            drain: written.drain.and_then(|text| noted(time("drain", &text, LONGEST_DRAIN), &mut faults)),
            grace: written.grace.and_then(|text| noted(time("grace", &text, LONGEST_GRACE), &mut faults)),
            env: variables(written.env, &mut faults),
            run: written.run,
        };
        if faults.is_empty() { Ok(settings) } else { Err(faults) }
    }

    /// The process that is run: the command of `run`, or else that of the Procfile. None where neither names one. `holds` says
    /// whether the package has a file of that name.
    ///
    /// # Errors
    /// What is wrong with the command, one sentence each, with the key or the file at fault.
    pub(crate) fn plan(
        self,
        web: Option<&str>,
        holds: impl Fn(&str) -> bool,
    ) -> Result<Option<ProcessPlan>, Vec<Objection>> {
        let (key, command) = match (&self.run, web) {
            (Some(run), _) => ("[app] run", run.as_str()),
            (None, Some(web)) => (".app/Procfile: web", web),
            (None, None) => return Ok(None),
        };
        let planned = words(command).and_then(|words| {
            let program = program(&words[0], holds)?;
            Ok((program, listened(self.listen, &words)?, words))
        });
        let (program, listen, words) = planned.map_err(|fault| vec![Objection::package(format!("{key} {fault}"))])?;
        Ok(Some(ProcessPlan {
            program,
            words,
            listen,
            health: self.health.unwrap_or_else(|| "/".to_owned()),
            ready: self.ready.unwrap_or(Duration::from_secs(60)),
            swap: self.swap,
            drain: self.drain.unwrap_or(Duration::from_secs(30)),
            grace: self.grace.unwrap_or(Duration::from_secs(10)),
            env: self.env,
            needs: self.needs,
        }))
    }
}

/// The value, or none, with its fault among the others.
fn noted<T>(read: Result<T, Objection>, faults: &mut Vec<Objection>) -> Option<T> {
    read.map_err(|fault| faults.push(fault)).ok()
}

fn listen(word: &str) -> Result<ListenMode, Objection> {
    match word {
        "fd" => Ok(ListenMode::Fd),
        "port" => Ok(ListenMode::Port),
        "socket" => Ok(ListenMode::Socket),
        other => Err(Objection::version(format!("listen {other:?} is none of \"fd\", \"port\" and \"socket\""))),
    }
}

fn swap(word: &str) -> Result<SwapMode, Objection> {
    match word {
        "auto" => Ok(SwapMode::Auto),
        "beside" => Ok(SwapMode::Beside),
        "in-place" => Ok(SwapMode::InPlace),
        other => Err(Objection::version(format!("swap {other:?} is none of \"auto\", \"beside\" and \"in-place\""))),
    }
}

fn health(path: String) -> Result<String, Objection> {
    let is_target = path.starts_with('/')
        && path.len() <= LONGEST_HEALTH
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
        && path.parse::<PathAndQuery>().is_ok();
    if is_target {
        return Ok(path);
    }
    Err(Objection::package(format!(
        "health {path:?} is no path of a request: begin it with /, percent-encode what is not ASCII, {LONGEST_HEALTH} bytes at most"
    )))
}

fn time(key: &str, text: &str, longest: Duration) -> Result<Duration, Objection> {
    let parsed = humantime::parse_duration(text)
        .map_err(|error| Objection::package(format!("{key} {text:?} is no time such as \"30s\": {error}")))?;
    if parsed.is_zero() || parsed > longest {
        let longest = humantime::format_duration(longest);
        return Err(Objection::package(format!("{key} {text:?} is not between \"1ms\" and \"{longest}\"")));
    }
    Ok(parsed)
}

fn variables(table: toml::Table, faults: &mut Vec<Objection>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut bytes = 0;
    let count = table.len();
    for (name, value) in table {
        match variable(&name, value) {
            Ok(value) => {
                bytes += name.len() + value.len();
                env.insert(name, value);
            }
            Err(fault) => faults.push(Objection::package(format!("env.{name} {fault}"))),
        }
    }
    if count > MOST_VARIABLES || bytes > MOST_BYTES_OF_VARIABLES {
        faults.push(Objection::package(format!(
            "env has {count} variables of {bytes} bytes; {MOST_VARIABLES} of {MOST_BYTES_OF_VARIABLES} bytes are allowed: read the rest \
             from a file in .app/"
        )));
    }
    env
}

/// The names of the secrets that are needed.
fn needs(names: Vec<String>, env: &toml::Table, faults: &mut Vec<Objection>) -> BTreeSet<String> {
    let count = names.len();
    if count > MOST_VARIABLES {
        faults.push(Objection::package(format!("needs has {count} names; {MOST_VARIABLES} are allowed")));
        return BTreeSet::new();
    }
    for name in &names {
        if let Err(why) = secret_name(name) {
            faults.push(Objection::package(format!("needs {name:?} {why}")));
        } else if env.contains_key(name) {
            faults
                .push(Objection::package(format!("needs {name:?} is set in [app.env], too: leave one of the two out")));
        }
    }
    names.into_iter().collect()
}

/// Whether a secret of the host may become the variable of that name.
///
/// # Errors
/// Why not, and what cures it, as the rest of a sentence that begins with the name.
pub fn secret_name(name: &str) -> Result<(), String> {
    if name.len() > LONGEST_NEED {
        return Err(format!("is longer than {LONGEST_NEED} bytes: choose a shorter name"));
    }
    is_name(name)?;
    match reserved(name) {
        Some(why) => Err(format!("is no name for a secret: {why}; choose another")),
        None => Ok(()),
    }
}

/// Whether the host, or the dynamic linker, has a use of its own for the variable of that name, so that no secret may become it.
pub fn is_reserved_name(name: &str) -> bool {
    reserved(name).is_some()
}

/// Why no secret may become the variable of that name.
fn reserved(name: &str) -> Option<&'static str> {
    taken(name, &[HOSTS_VARIABLES, SECRETS_VARIABLES], &[HOSTS_PREFIXES, SECRETS_PREFIXES])
}

fn is_name(name: &str) -> Result<(), String> {
    let mut characters = name.bytes();
    let begins = characters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if begins && characters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    Err("is no name of a variable: use letters, digits and _, and begin with no digit".to_owned())
}

/// Why a name is not free, if one of these has it or begins it.
fn taken(name: &str, names: &[&[(&str, &'static str)]], prefixes: &[&[(&str, &'static str)]]) -> Option<&'static str> {
    let exactly = names.iter().copied().flatten().find(|(taken, _)| *taken == name);
    let beginning = || prefixes.iter().copied().flatten().find(|(taken, _)| name.starts_with(taken));
    exactly.or_else(beginning).map(|(_, why)| *why)
}

fn variable(name: &str, value: toml::Value) -> Result<String, String> {
    is_name(name)?;
    if let Some(why) = taken(name, &[HOSTS_VARIABLES], &[HOSTS_PREFIXES]) {
        return Err(format!("is not the package's to set: {why}; leave it out"));
    }
    match value {
        toml::Value::String(text) if text.contains('\0') => {
            Err("holds a NUL, which no variable can: remove it".to_owned())
        }
        toml::Value::String(text) => Ok(text),
        other => Err(format!("is of type {}: write it as text, in quotes", other.type_str())),
    }
}

/// The words of a command: the first of them, the program, is not empty.
fn words(command: &str) -> Result<Vec<String>, String> {
    if command.len() > LONGEST_RUN {
        return Err(format!("has {} bytes, {LONGEST_RUN} are allowed: put the command into a file", command.len()));
    }
    if command.contains(char::is_control) {
        return Err(format!("{command:?} has a control character: write it in one line"));
    }
    let Some(words) = shlex::split(command) else {
        return Err(format!("{command:?} ends within quotes or after a backslash: close them"));
    };
    let Some(first) = words.first().filter(|first| !first.is_empty()) else {
        return Err("names no program".to_owned());
    };
    if let Some((name, _)) = first.split_once('=') {
        return Err(format!("begins with {first:?}, which only a shell understands: set {name} in [app.env]"));
    }
    for word in &words {
        if OF_A_SHELL.contains(&word.as_str()) {
            return Err(format!(
                "has {word:?}, which only a shell understands: put the commands into a script in .app/ and run that"
            ));
        }
        if let Some(name) = variables_of(word).find(|name| !matches!(*name, "PORT" | "SOCKET")) {
            return Err(format!(
                "has ${name}, which only a shell replaces: the process reads its environment itself; $PORT and $SOCKET alone are replaced"
            ));
        }
    }
    Ok(words)
}

/// The names of the variables that a word has, written as `$NAME` or `${NAME}`; `(` for `$(…)`.
fn variables_of(word: &str) -> impl Iterator<Item = &str> {
    word.split('$').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        if rest.starts_with('(') {
            return Some("(");
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some(name)
    })
}

/// How the process listens: as it is said, or as its command tells.
fn listened(said: Option<ListenMode>, words: &[String]) -> Result<ListenMode, String> {
    let has = |wanted: &str| words.iter().flat_map(|word| variables_of(word)).any(|name| name == wanted);
    let told = match (has("PORT"), has("SOCKET")) {
        (true, true) => return Err("has both $PORT and $SOCKET: use one of them".to_owned()),
        (true, false) => ListenMode::Port,
        (false, true) => ListenMode::Socket,
        (false, false) => ListenMode::Fd,
    };
    let cure = match (said.unwrap_or(told), told) {
        (said, told) if said == told => return Ok(told),
        (ListenMode::Port, _) => "listen is \"port\": say $PORT where the command names its port",
        (ListenMode::Socket, _) => "listen is \"socket\": say $SOCKET where the command names its socket",
        (ListenMode::Fd, ListenMode::Port) => "has $PORT: say listen = \"port\", or leave $PORT out",
        (ListenMode::Fd, _) => "has $SOCKET: say listen = \"socket\", or leave $SOCKET out",
    };
    Err(cure.to_owned())
}

/// Where the program of that name lies.
fn program(word: &str, holds: impl Fn(&str) -> bool) -> Result<ProgramPlace, String> {
    if word.starts_with('/') {
        return Ok(ProgramPlace::Host(word.to_owned()));
    }
    if !word.contains('/') {
        let is_ours = holds(&format!("{PROGRAM_FOLDER}{word}"));
        return Ok(if is_ours { ProgramPlace::Package(word.to_owned()) } else { ProgramPlace::Path(word.to_owned()) });
    }
    let outside =
        |_| format!("names the program {word:?}, which leads out of {PROGRAM_FOLDER}: name a file below that folder");
    let inside = name::normalise(word).map_err(outside)?.text;
    if holds(&format!("{PROGRAM_FOLDER}{inside}")) {
        return Ok(ProgramPlace::Package(inside));
    }
    Err(format!(
        "names the program {word:?}, and the package has no file {PROGRAM_FOLDER}{inside}: add it, or correct the name"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::objection::ObjectionCause;

    /// The plan of that table, and of the Procfile's `web`, in a package with these files below `.app/`.
    fn plan(table: &str, web: Option<&str>, files: &[&str]) -> Result<Option<ProcessPlan>, Vec<Objection>> {
        let holds = |name: &str| files.iter().any(|file| name == format!("{PROGRAM_FOLDER}{file}"));
        ProcessSettings::parse(table.parse().unwrap())?.plan(web, holds)
    }

    #[test]
    fn everything_but_the_command_is_optional_and_may_be_said() {
        assert_eq!(plan("", None, &[]), Ok(None));
        assert_eq!(plan("health = '/'", None, &["server"]), Ok(None));
        let plain = plan("run = 'python3.11 -m gunicorn \"a b\".wsgi'", None, &[]).unwrap().unwrap();
        let expected = ProcessPlan {
            program: ProgramPlace::Path("python3.11".into()),
            words: ["python3.11", "-m", "gunicorn", "a b.wsgi"].map(str::to_owned).to_vec(),
            listen: ListenMode::Fd,
            health: "/".into(),
            ready: Duration::from_secs(60),
            swap: SwapMode::Auto,
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            env: BTreeMap::new(),
            needs: BTreeSet::new(),
        };
        assert_eq!(plain, expected);
        let said = "run = './bin/server --port $PORT'\nlisten = 'port'\nhealth = '/health?deep=0'\nready = '5m'\n\
                    swap = 'in-place'\ndrain = '1s'\ngrace = '500ms'\nneeds = ['SECRET_KEY', '_b', '_b']\nenv = { A_1 = 'b=c', _x = '' }";
        let said = plan(said, Some("other"), &["bin/server"]).unwrap().unwrap();
        let env = [("A_1", "b=c"), ("_x", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected = ProcessPlan {
            program: ProgramPlace::Package("bin/server".into()),
            words: ["./bin/server", "--port", "$PORT"].map(str::to_owned).to_vec(),
            listen: ListenMode::Port,
            health: "/health?deep=0".into(),
            ready: Duration::from_secs(300),
            swap: SwapMode::InPlace,
            drain: Duration::from_secs(1),
            grace: Duration::from_millis(500),
            env: BTreeMap::from(env),
            needs: ["SECRET_KEY", "_b"].map(str::to_owned).into(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn known_keys_are_those_that_are_read() {
        let faults = plan("unknown = 1", None, &[]).unwrap_err();
        assert_eq!(faults[0].text.split('`').skip(3).step_by(2).collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn program_lies_in_the_package_on_the_host_or_in_its_path() {
        for (command, program) in [
            ("server", ProgramPlace::Package("server".into())),
            ("./server", ProgramPlace::Package("server".into())),
            ("bin/./tool", ProgramPlace::Package("bin/tool".into())),
            ("bin", ProgramPlace::Path("bin".into())),
            ("python3", ProgramPlace::Path("python3".into())),
            ("/usr/bin/node", ProgramPlace::Host("/usr/bin/node".into())),
        ] {
            let planned = plan("", Some(command), &["server", "bin/tool"]).unwrap().unwrap();
            assert_eq!(planned.program, program, "{command}");
        }
    }

    #[test]
    fn listener_is_as_the_command_tells_unless_it_is_said() {
        for (command, listen) in [
            ("x", ListenMode::Fd),
            ("x $PORT", ListenMode::Port),
            ("x --bind=0.0.0.0:${PORT}", ListenMode::Port),
            ("x unix:$SOCKET", ListenMode::Socket),
            ("x cost$ 5$ $1", ListenMode::Fd),
        ] {
            assert_eq!(plan("", Some(command), &[]).unwrap().unwrap().listen, listen, "{command}");
        }
    }

    #[test]
    fn table_that_is_not_understood_says_key_value_and_cure() {
        let long = format!("run = '{}'", "x".repeat(LONGEST_RUN + 1));
        let many: String = (0..=MOST_VARIABLES).map(|number| format!("env.V{number} = ''\n")).collect();
        let needy: String = (0..=MOST_VARIABLES).map(|number| format!("'V{number}', ")).collect();
        let needy = format!("needs = [{needy}]");
        let much = format!("env.A = '{}'", "x".repeat(MOST_BYTES_OF_VARIABLES));
        for (table, said) in [
            ("run = 1", "invalid type: integer"),
            ("run = ''", "[app] run names no program"),
            ("run = '\"\" x'", "[app] run names no program"),
            ("run = 'x \"y'", "ends within quotes"),
            ("run = \"a\\nb\"", "has a control character"),
            ("run = 'A=1 x'", "begins with \"A=1\", which only a shell understands: set A in [app.env]"),
            ("run = 'a && b'", "has \"&&\", which only a shell understands: put the commands into a script"),
            ("run = 'a > log'", "has \">\", which"),
            ("run = 'a $HOME/x'", "has $HOME, which only a shell replaces"),
            ("run = 'a $(b)'", "which only a shell replaces"),
            ("run = '../server'", "names the program \"../server\", which leads out of .app/"),
            ("run = 'bin/none'", "the package has no file .app/bin/none: add it"),
            ("run = 'lib/'", "the package has no file .app/lib: add it"),
            ("run = 'x $PORT $SOCKET'", "has both $PORT and $SOCKET"),
            ("run = 'x'\nlisten = 'port'", "listen is \"port\": say $PORT"),
            ("run = 'x $PORT'\nlisten = 'socket'", "listen is \"socket\": say $SOCKET"),
            ("run = 'x $PORT'\nlisten = 'fd'", "has $PORT: say listen = \"port\""),
            ("run = 'x $SOCKET'\nlisten = 'fd'", "has $SOCKET: say listen = \"socket\""),
            (&long, "has 4097 bytes, 4096 are allowed"),
            ("health = 'x'", "health \"x\" is no path of a request: begin it with /"),
            ("health = '/a b'", "health \"/a b\" is no path"),
            ("health = '/a#b'", "is no path"),
            ("health = '/ä'", "is no path"),
            ("ready = 'soon'", "ready \"soon\" is no time such as"),
            ("ready = '31m'", "ready \"31m\" is not between \"1ms\" and \"30m\""),
            ("drain = '0s'", "drain \"0s\" is not between"),
            ("grace = '3m'", "grace \"3m\" is not between \"1ms\" and \"2m\""),
            ("env = 'A=b'", "invalid type"),
            ("env.A = 1", "env.A is of type integer: write it as text"),
            ("env.A = true", "env.A is of type boolean: write it as text"),
            ("env.'1A' = 'x'", "env.1A is no name of a variable"),
            ("env.'A-B' = 'x'", "env.A-B is no name of a variable"),
            ("env.'' = 'x'", "is no name of a variable"),
            ("env.A = \"a\\u0000b\"", "env.A holds a NUL"),
            ("env.PORT = '1'", "env.PORT is not the package's to set: the host chooses the port; leave it out"),
            ("env.LISTEN_FDS = '1'", "env.LISTEN_FDS is not the package's to set"),
            ("env.WEB_CONCURRENCY = '9'", "`processes` of the host's own [app] sets it"),
            ("env.AWS_CONTAINER_CREDENTIALS_FULL_URI = 'x'", "is not the package's to set"),
            ("env.SPOTHOST_DOMAIN = 'x'", "is not the package's to set"),
            ("needs = 'A'", "invalid type"),
            ("needs = [1]", "invalid type"),
            ("needs = ['A-B']", "needs \"A-B\" is no name of a variable"),
            ("needs = ['']", "needs \"\" is no name of a variable"),
            ("needs = ['PORT']", "needs \"PORT\" is no name for a secret: the host chooses the port; choose another"),
            ("needs = ['PATH']", "needs \"PATH\" is no name for a secret"),
            ("needs = ['LD_PRELOAD']", "the dynamic linker obeys it"),
            ("needs = ['A']\nenv.A = 'x'", "needs \"A\" is set in [app.env], too"),
            (&needy, "needs has 101 names; 100 are allowed"),
            (&many, "env has 101 variables"),
            (&much, "32768 bytes are allowed"),
        ] {
            let faults = plan(table, None, &["server", "lib/x.py"]).unwrap_err();
            assert!(faults.len() == 1 && faults[0].text.contains(said), "{table}: {faults:?}");
            assert_eq!(faults[0].cause, ObjectionCause::Package, "{table}");
        }
        for (table, said) in
            [("listen = 'tcp'", "listen \"tcp\" is none of"), ("swap = 'blue'", "swap \"blue\" is none of")]
        {
            let faults = plan(table, None, &[]).unwrap_err();
            assert!(faults.len() == 1 && faults[0].text.contains(said), "{table}: {faults:?}");
            assert_eq!(faults[0].cause, ObjectionCause::Version, "a later version may know it: {table}");
        }
    }
}
