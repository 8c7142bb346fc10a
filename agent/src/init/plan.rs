//! What differs between a site as it is configured here and what its hosts read, and the parameters of the stack that bring it
//! there. Pure.
//!
//! Hosts read the configuration that the user data of their launch template writes, which `launch-template/user-data.sh` lays out.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// What stands before the configuration in the user data.
const BEGIN: &str = "configuration() {\n    cat <<'END_OF_FILE'\n";
/// What stands behind it.
const END: &str = "\nEND_OF_FILE\n";
/// The most hosts that the stack's parameter `Hosts` takes.
const MOST_HOSTS: i64 = 8;

/// User data as this program's launch templates have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData<'a> {
    /// The configuration that it writes.
    pub configuration: &'a str,
    /// The bucket that it fetches the program from.
    pub bucket: &'a str,
    text: &'a str,
}

impl<'a> UserData<'a> {
    /// Reads it; none when it is none of this program's.
    pub fn read(text: &'a str) -> Option<UserData<'a>> {
        let (_, rest) = text.split_once(BEGIN)?;
        let (configuration, _) = rest.split_once(END)?;
        let (_, rest) = text.split_once("\nreadonly bucket='")?;
        let (bucket, _) = rest.split_once('\'')?;
        Some(UserData { configuration, bucket, text })
    }

    /// SHA-256 of the program that it installs on a machine (`x86-64` or `arm64`); none where it knows none for that.
    pub fn program(&self, architecture: &str) -> Option<&'a str> {
        let line = self.text.lines().find_map(|line| line.trim_start().strip_prefix(machine_of(architecture)))?;
        let (_, rest) = line.split_once("sha256='")?;
        rest.split('\'').next().filter(|hash| !hash.is_empty())
    }

    /// Whether a stack wrote it: that gives both machines the one hash of its parameter, and `render` each its own.
    pub fn is_of_a_stack(&self) -> bool {
        let hashes = ["x86-64", "arm64"].map(|architecture| self.program(architecture));
        hashes[0].is_some() && hashes[0] == hashes[1]
    }

    /// Whether a configuration has a line that would end it inside the user data: the rest would be commands.
    pub fn would_end_in(configuration: &str) -> bool {
        configuration.lines().any(|line| line == END.trim())
    }

    /// The same with another configuration, and with the `program` of that SHA-256 under that key for its machine.
    pub fn with(&self, configuration: &str, program: Option<(&str, &str, &str)>) -> String {
        let (before, rest) = self.text.split_once(BEGIN).unwrap_or((self.text, ""));
        let (_, after) = rest.split_once(END).unwrap_or(("", ""));
        let configuration = configuration.trim_end_matches('\n');
        let text = format!("{before}{BEGIN}{configuration}{END}{after}");
        let Some((architecture, sha256, key)) = program else { return text };
        let begin = machine_of(architecture);
        let lines = text.split('\n').map(|line| {
            if line.trim_start().starts_with(begin) {
                format!("        {begin} key='{key}' sha256='{sha256}' ;;")
            } else {
                line.to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// How the user data names a machine, as `uname -m` does.
fn machine_of(architecture: &str) -> &'static str {
    if architecture == "arm64" { "aarch64)" } else { "x86_64)" }
}

/// A key of the configuration that hosts read otherwise than it is written here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The key with its tables, such as `dns.ttl`.
    pub key: String,
    /// What hosts read, as TOML; none where they read none.
    pub hosts: Option<String>,
    /// What is written here.
    pub here: Option<String>,
}

/// What differs, by key.
pub fn differences(hosts: &Table, here: &Table) -> Vec<Difference> {
    let hosts = leaves(hosts);
    let here = leaves(here);
    let mut keys: Vec<&String> = hosts.iter().chain(&here).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    let of = |all: &[(String, Value)], key: &str| value_of(all, key).map(Value::to_string);
    let both =
        keys.into_iter().map(|key| Difference { key: key.clone(), hosts: of(&hosts, key), here: of(&here, key) });
    both.filter(|one| one.hosts != one.here).collect()
}

fn value_of<'a>(all: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    all.iter().find(|(other, _)| other == key).map(|(_, value)| value)
}

/// Every value with its key and the tables around it. What says nothing is none: `aliases = []`.
fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(below) => {
                found.extend(leaves(below).into_iter().map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            Value::Array(values) if values.is_empty() => {}
            value => found.push((key.clone(), value.clone())),
        }
    }
    found
}

/// One parameter of a stack, as `aws cloudformation` reads and describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StackParameter {
    /// Its name.
    pub parameter_key: String,
    /// Its value.
    pub parameter_value: String,
}

/// The parameters of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters(Vec<StackParameter>);

impl Parameters {
    /// Reads a list of them in JSON.
    ///
    /// # Errors
    /// A text that is none.
    pub fn read(text: &str) -> Result<Parameters, String> {
        serde_json::from_str(text).map(Parameters).map_err(|error| error.to_string())
    }

    /// As they are written.
    pub fn text(&self) -> String {
        // Text and nothing else: it cannot fail.
        serde_json::to_string_pretty(&self.0).unwrap_or_default() + "\n"
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|one| one.parameter_key == key).map(|one| one.parameter_value.as_str())
    }

    fn set(&mut self, key: &str, value: String) {
        match self.0.iter_mut().find(|one| one.parameter_key == key) {
            Some(parameter) => parameter.parameter_value = value,
            None => self.0.push(StackParameter { parameter_key: key.to_owned(), parameter_value: value }),
        }
    }

    /// Has the stack run the program of that architecture and SHA-256.
    ///
    /// # Errors
    /// When the stack's instances are of another architecture.
    pub fn run(&mut self, architecture: &str, sha256: &str) -> Result<(), String> {
        let is = self.get("Architecture").unwrap_or("x86-64");
        if is != architecture {
            return Err(format!(
                "the program is for {architecture}, and the instances of the stack are {is}: build it for {is}, or change `Architecture` \
                 in the parameters by hand, which moves all hosts to other instance types"
            ));
        }
        self.set("ProgramSha256", sha256.to_owned());
        Ok(())
    }

    /// The kind of the stack's fleet, where CloudFormation may replace it for a new version of the launch template: the version is a
    /// part of such a fleet that cannot be changed (`LaunchTemplateConfigs` of `AWS::EC2::EC2Fleet`).
    pub fn fleet_that_may_be_replaced(&self) -> Option<&str> {
        self.get("Fleet").filter(|kind| *kind != "auto-scaling-group")
    }

    /// Has the stack run the program that hosts install already: the parameters may be older than the stack.
    pub fn keep_program(&mut self, hosts: &UserData<'_>) {
        let architecture = self.get("Architecture").unwrap_or("x86-64").to_owned();
        if let Some(sha256) = hosts.program(&architecture) {
            self.set("ProgramSha256", sha256.to_owned());
        }
    }

    /// Has the stack's hosts, which read one configuration, read that which is here. Parameters that have nothing to do with it stay.
    ///
    /// # Errors
    /// What a stack cannot be changed to.
    pub fn configure(&mut self, hosts: &Table, here: &Table) -> Result<(), String> {
        let mut more = Vec::new();
        let values = leaves(here);
        let read = leaves(hosts);
        let of = |key: &str| value_of(&values, key);
        let text = |key: &str| of(key).and_then(Value::as_str).unwrap_or_default();
        for (parameter, key) in [("Domain", "domain"), ("Zone", "zone")] {
            if self.get(parameter).is_some_and(|is| is != text(key)) {
                return Err(format!(
                    "`{key}` is another than that of the stack: make a stack of its own for that site"
                ));
            }
        }
        let place = text("package").strip_prefix("s3://").and_then(|place| place.split_once('/'));
        let (bucket, prefix) = place.ok_or("`package` is no folder of a bucket, s3://BUCKET/FOLDER/")?;
        let theirs = value_of(&read, "package").and_then(Value::as_str).unwrap_or_default();
        // Where the stack has made up the name, no parameter has it.
        if !theirs.starts_with(&format!("s3://{bucket}/")) {
            return Err(
                "`package` names another bucket than the stack's, which would make a new one: copy the site by hand"
                    .to_owned(),
            );
        }
        self.set("Prefix", format!("{}/", prefix.trim_end_matches('/')));
        let aliases = of("aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        let aliases: Vec<&str> = aliases.iter().filter_map(Value::as_str).collect();
        self.set("Aliases", aliases.join(","));
        let own = format!("{}/identity", text("domain"));
        let vault = text("vault");
        self.set("Vault", if vault == own { String::new() } else { vault.to_owned() });
        let many = text("dns.mode") == "multivalue";
        let target = of("fleet.target").and_then(Value::as_integer);
        let scaled = value_of(&read, "fleet.target").and_then(Value::as_integer).filter(|many| *many > 1);
        let hosts = match target {
            None if scaled.is_some() => {
                return Err(format!(
                    "hosts read [fleet] target = {}, and here is none, which would end all but one of them: write down how many there are to be",
                    scaled.unwrap_or_default()
                ));
            }
            None if many => return Err("with [dns] mode = \"multivalue\" say [fleet] target, too".to_owned()),
            Some(target) if target > MOST_HOSTS => {
                return Err(format!("[fleet] target = {target}: the stack takes {MOST_HOSTS} hosts at most"));
            }
            target => target.unwrap_or(1),
        };
        self.set("DnsMode", if many { "multivalue" } else { "simple" }.to_owned());
        self.set("Hosts", hosts.to_string());
        for (key, value) in &values {
            // What the stack writes itself, by its other parameters.
            let written = match key.as_str() {
                "domain" | "aliases" | "package" | "vault" | "zone" => true,
                "dns.mode" => many,
                "fleet.target" => many || hosts > 1,
                _ => false,
            };
            if !written {
                more.push(format!("{key} = {value}\n"));
            }
        }
        self.set("More", more.concat());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "domain = \"www.example.org\"\naliases = []\nzone = \"Z1\"\n[dns]\nttl = 60\n";

    fn table(text: &str) -> Table {
        toml::from_str(text).expect("TOML")
    }

    #[test]
    fn keys_differ_by_their_values_and_not_by_how_they_are_written() {
        let same = "zone = 'Z1'\ndns.ttl = 60\ndomain = \"www.example.org\" # ours\n";
        assert_eq!(differences(&table(HOSTS), &table(same)), []);
        let other = differences(&table(HOSTS), &table(&same.replace("60", "30\ndns.mode = \"simple\"")));
        let one = |key: &str, hosts: Option<&str>, here: &str| Difference {
            key: key.into(),
            hosts: hosts.map(str::to_owned),
            here: Some(here.into()),
        };
        assert_eq!(other, [one("dns.mode", None, "\"simple\""), one("dns.ttl", Some("60"), "30")]);
    }

    #[test]
    fn user_data_of_this_program_is_understood_and_no_other() {
        let script = concat!(
            "#!/bin/bash\nreadonly bucket='b'\n",
            "        x86_64) key='spothost/0a/spothost-x86_64' sha256='0a' ;;\n",
            "        aarch64) key='' sha256='' ;;\n",
            "configuration() {\n    cat <<'END_OF_FILE'\na = 1\nEND_OF_FILE\n}\nmain\n"
        );
        let read = UserData::read(script).expect("it is understood");
        assert_eq!((read.configuration, read.bucket), ("a = 1", "b"));
        assert_eq!((read.program("x86-64"), read.program("arm64")), (Some("0a"), None));
        assert_eq!(read.with("a = 1\n", None), script);
        assert!(!read.is_of_a_stack());
        let of_a_stack = script.replace("sha256=''", "sha256='0a'");
        assert!(UserData::read(&of_a_stack).is_some_and(|read| read.is_of_a_stack()));
        let with = read.with("a = 2\n", Some(("x86-64", "1b", "spothost/1b/spothost-x86_64")));
        let expected = script.replace("0a", "1b").replace("a = 1", "a = 2");
        assert_eq!(with, expected);
        for (configuration, ends) in
            [("a = 1\nEND_OF_FILE\nreboot\n", true), ("a = 'END_OF_FILE'\n", false), ("", false)]
        {
            assert_eq!(UserData::would_end_in(configuration), ends, "{configuration:?}");
        }
        for other in ["", "#!/bin/bash\necho\n", "configuration() {\n    cat <<'END_OF_FILE'\n"] {
            assert_eq!(UserData::read(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_the_stack_does_not_write_by_itself_goes_into_more() {
        let mut parameters =
            Parameters::read("[{\"ParameterKey\":\"RootGiB\",\"ParameterValue\":\"12\"}]").expect("JSON");
        let here = "domain = \"www.example.org\"\npackage = \"s3://b/www/\"\nvault = \"www.example.org/identity\"\nzone = \"Z1\"\n\
                    [dns]\nmode = \"simple\"\nttl = 30\n[fleet]\ntarget = 1\n";
        let hosts = "package = \"s3://b/old/\"\nfleet.target = 3\n";
        parameters.configure(&table(hosts), &table(here)).expect("it can be");
        let more = parameters.get("More").expect("more");
        assert_eq!(table(more), table("dns.mode = \"simple\"\ndns.ttl = 30\nfleet.target = 1\n"), "{more}");
        let rest = ["Hosts", "DnsMode", "Vault", "Aliases", "Prefix", "RootGiB"].map(|key| parameters.get(key));
        assert_eq!(rest, [Some("1"), Some("simple"), Some(""), Some(""), Some("www/"), Some("12")]);
    }

    #[test]
    fn what_would_end_or_move_hosts_without_a_word_is_refused() {
        let here = "domain = \"www.example.org\"\npackage = \"s3://b/www/\"\nvault = \"v\"\nzone = \"Z1\"\n";
        let configured = |hosts: &str| {
            let mut parameters = Parameters::read("[]").expect("JSON");
            parameters.configure(&table(hosts), &table(here))
        };
        assert_eq!(configured("package = \"s3://b/www/\"\n"), Ok(()));
        assert_eq!(configured("package = \"s3://b/www/\"\nfleet.target = 1\n"), Ok(()));
        for (hosts, said) in [
            ("package = \"s3://b/www/\"\nfleet.target = 3\n", "target = 3"),
            ("package = \"s3://made-up/www/\"\n", "another bucket"),
            ("package = \"s3://bb/www/\"\n", "another bucket"),
        ] {
            let refused = configured(hosts);
            assert!(refused.as_ref().is_err_and(|why| why.contains(said)), "{hosts}: {refused:?}");
        }
        let of = |list: &str| Parameters::read(list).expect("JSON");
        let arm = "[{\"ParameterKey\":\"Architecture\",\"ParameterValue\":\"arm64\"}]";
        for (list, architecture, runs) in
            [("[]", "x86-64", true), ("[]", "arm64", false), (arm, "arm64", true), (arm, "x86-64", false)]
        {
            assert_eq!(of(list).run(architecture, "0a").is_ok(), runs, "{list} {architecture}");
        }
        let fleet = |kind: &str| format!("[{{\"ParameterKey\":\"Fleet\",\"ParameterValue\":\"{kind}\"}}]");
        assert_eq!(of("[]").fleet_that_may_be_replaced(), None);
        assert_eq!(of(&fleet("auto-scaling-group")).fleet_that_may_be_replaced(), None);
        assert_eq!(of(&fleet("spot-fleet")).fleet_that_may_be_replaced(), Some("spot-fleet"));
    }
}
