//! A new site: what is asked for becomes a configuration, the parameters of its stack, and a bill. Pure.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

use crate::{documents::layout, place::Name};

pub mod bill;
pub mod plan;

/// The answers of the person, and what was found at AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The canonical name.
    pub domain: Name,
    /// Further names.
    pub aliases: Vec<Name>,
    /// The bucket, which the stack makes.
    pub bucket: String,
    /// Id of the hosted zone.
    pub zone: String,
    /// Mail address for the account at the CA.
    pub contact: Option<String>,
    /// The program that hosts run.
    pub program: Program,
    /// What keeps an instance running: `auto-scaling-group`, `ec2-fleet` or `spot-fleet`.
    pub fleet: String,
}

/// The program that hosts run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// `x86-64` or `arm64`, as the stack calls them.
    pub architecture: &'static str,
}

impl Program {
    /// Recognises the program by its first bytes.
    ///
    /// # Errors
    /// When it is no program that an instance of EC2 can run.
    pub fn recognise(bytes: &[u8]) -> Result<Program, String> {
        // e_machine of an ELF header, two bytes at 18 (elf.h).
        let machine = bytes.get(18..20).filter(|_| bytes.starts_with(b"\x7fELF"));
        let architecture = match machine {
            Some([0x3e, 0]) => "x86-64",
            Some([0xb7, 0]) => "arm64",
            _ => return Err("it is not a Linux program for x86-64 or arm64".to_owned()),
        };
        Ok(Program { sha256: hex::encode(digest(&SHA256, bytes)), architecture })
    }

    /// The key under which hosts fetch it from the bucket.
    pub fn key(&self) -> String {
        let machine = if self.architecture == "arm64" { "arm64" } else { "x86_64" };
        layout::program(&self.sha256, machine)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterEntry<'a> {
    parameter_key: &'a str,
    parameter_value: String,
}

impl Answers {
    /// The name of a bucket that is likely to be free: of the domain and the account, in at most 63 characters
    /// (Amazon S3 User Guide, "General purpose bucket naming rules").
    pub fn proposed_bucket(domain: &Name, account: &str) -> String {
        let name: String = domain.as_str().replace('.', "-").chars().take(62 - account.len().min(20)).collect();
        format!("{}-{account}", name.trim_end_matches('-'))
    }

    /// The configuration, as hosts and commands read it.
    pub fn configuration(&self) -> String {
        let aliases: Vec<_> = self.aliases.iter().map(|alias| format!("\"{alias}\"")).collect();
        let mut text = format!(
            "# {}: docs/configuration.md has every key.\n\
             domain  = \"{}\"\naliases = [{}]\npackage = \"s3://{}/www/\"\nvault   = \"{}/identity\"\nzone    = \"{}\"\n",
            self.domain,
            self.domain,
            aliases.join(", "),
            self.bucket,
            self.domain,
            self.zone
        );
        text += &self.more();
        text += "\n# Hosts with this section run the programs that packages bring in .app/:\n# [app]\n";
        text
    }

    /// The parameters of the stack, for `aws cloudformation create-stack --parameters file://…`.
    pub fn parameters(&self) -> String {
        let aliases: Vec<_> = self.aliases.iter().map(Name::as_str).collect();
        let all = [
            ("Domain", self.domain.to_string()),
            ("Aliases", aliases.join(",")),
            ("Zone", self.zone.clone()),
            ("SiteBucket", self.bucket.clone()),
            ("More", self.more()),
            ("ProgramSha256", self.program.sha256.clone()),
            ("Architecture", self.program.architecture.to_owned()),
            ("Fleet", self.fleet.clone()),
            // As the stack has them by default: written down so that they are found where they are changed.
            ("Hosts", "1".to_owned()),
            ("DnsMode", "simple".to_owned()),
            ("Shell", "none".to_owned()),
        ];
        let all = all.map(|(parameter_key, parameter_value)| ParameterEntry { parameter_key, parameter_value });
        // Text and nothing else: it cannot fail.
        serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
    }

    /// What the stack has no parameter for.
    fn more(&self) -> String {
        self.contact.as_ref().map_or_else(String::new, |contact| format!("contact = \"{contact}\"\n"))
    }

    /// The commands that come next, for a stack of that name whose parameters lie there.
    pub fn next(
        &self,
        stack: &str,
        parameters: &Path,
        configuration: &Path,
        program: &Path,
    ) -> Vec<(&'static str, String)> {
        let configuration = configuration.display();
        let program = program.display();
        let mut commands = Vec::new();
        // A group makes its service-linked roles itself.
        let service = match self.fleet.as_str() {
            "ec2-fleet" => Some("ec2fleet"),
            "spot-fleet" => Some("spotfleet"),
            _ => None,
        };
        if let Some(service) = service {
            let role = |service: &str| {
                format!("aws iam create-service-linked-role --aws-service-name {service}.amazonaws.com")
            };
            let both = format!("{}; {}", role("spot"), role(service));
            commands.push(("in a fresh account, make the roles that this fleet expects", both));
        }
        commands.extend([
            (
                "make the stack",
                format!(
                    "aws cloudformation create-stack --stack-name {stack} --template-body file://launch-template/stack.yaml \
                     --capabilities CAPABILITY_IAM --parameters file://{}",
                    parameters.display()
                ),
            ),
            ("wait for it", format!("aws cloudformation wait stack-create-complete --stack-name {stack}")),
            (
                "upload the program",
                format!(
                    "aws s3 cp {program} s3://{}/{}",
                    self.bucket,
                    self.program.key()
                ),
            ),
            ("publish the site", format!("spothost publish site --config {configuration} --wait")),
            (
                "see how it is",
                format!("spothost doctor --config {configuration}; spothost hosts --config {configuration}"),
            ),
        ]);
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, place::PackagePlace};

    fn answers() -> Answers {
        Answers {
            domain: "www.example.org".parse().expect("a name"),
            aliases: vec!["example.org".parse().expect("a name")],
            bucket: "www-example-org-123456789012".into(),
            zone: "Z0123456789ABC".into(),
            contact: Some("ops@example.org".into()),
            program: Program { sha256: "a".repeat(64), architecture: "arm64" },
            fleet: "auto-scaling-group".into(),
        }
    }

    #[test]
    fn configuration_is_one_that_is_understood() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("spothost.toml");
        for answers in [answers(), Answers { aliases: Vec::new(), contact: None, ..answers() }] {
            std::fs::write(&path, answers.configuration()).expect("written");
            let config = Config::load(&path).expect("valid");
            assert_eq!((&config.domain, &config.aliases), (&answers.domain, &answers.aliases));
            assert!(
                matches!(&config.package, PackagePlace::Bucket(at) if at.bucket == answers.bucket && at.prefix == "www/")
            );
            assert_eq!((config.zone.as_ref(), &config.contact), (Some(&answers.zone), &answers.contact));
            assert_eq!(config.app, None, "no program runs before a person wants that");
            std::fs::write(&path, answers.configuration().replace("# [app]", "[app]")).expect("written");
            assert!(Config::load(&path).expect("valid").app.is_some());
        }
    }

    #[test]
    fn parameters_are_those_of_the_stack() {
        let parameters: Vec<serde_json::Value> = serde_json::from_str(&answers().parameters()).expect("JSON");
        let stack = include_str!("../../launch-template/stack.yaml");
        for parameter in &parameters {
            let key = parameter["ParameterKey"].as_str().expect("a key");
            assert!(stack.contains(&format!("\n  {key}:\n    Type: ")), "{key} is no parameter of the stack");
        }
        assert_eq!(parameters.len(), 11);
    }

    #[test]
    fn fleets_made_through_the_api_want_their_service_linked_roles_first() {
        let roles = |fleet: &str| {
            let answers = Answers { fleet: fleet.into(), ..answers() };
            let [parameters, configuration, program] = ["p.json", "c.toml", "spothost"].map(Path::new);
            let first = answers.next("www", parameters, configuration, program).remove(0).1;
            first.matches("create-service-linked-role").count()
        };
        assert_eq!(["auto-scaling-group", "ec2-fleet", "spot-fleet"].map(roles), [0, 2, 2]);
    }

    #[test]
    fn proposed_bucket_is_a_name_that_s3_takes() {
        for (domain, bucket) in [
            ("www.example.org", "www-example-org-123456789012"),
            (&format!("{}.example.org", "a".repeat(63)), &format!("{}-123456789012", "a".repeat(50))),
        ] {
            let proposed = Answers::proposed_bucket(&domain.parse().expect("a name"), "123456789012");
            assert_eq!(proposed, bucket);
            assert!(PackagePlace::try_from(format!("s3://{proposed}/www/")).is_ok());
        }
    }

    #[test]
    fn program_is_recognised_by_its_first_bytes() {
        let elf = |machine: [u8; 2]| [b"\x7fELF".as_slice(), &[0; 14], &machine].concat();
        assert_eq!(Program::recognise(&elf([0x3e, 0])).map(|program| program.architecture), Ok("x86-64"));
        assert_eq!(Program::recognise(&elf([0xb7, 0])).map(|program| program.architecture), Ok("arm64"));
        assert!(Program::recognise(&elf([3, 0])).is_err() && Program::recognise(b"#!/bin/sh").is_err());
        assert_eq!(Program::recognise(&elf([0x3e, 0])).map(|program| program.sha256.len()), Ok(64));
    }
}
