//! `spothost init`: a new site, from a domain to a configuration and the parameters of its stack.

use std::{
    env, fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use dialoguer::{Confirm, Input};

use super::{BAD_CONFIGURATION, CANNOT_RUN, Log, Stop, published_at::aws_session, runtime};
use crate::{
    aws::{Aws, caller::Caller, zones},
    config::Config,
    init::{
        Answers, Program,
        bill::{self, Instance},
    },
    place::{Name, PackagePlace},
};

/// GiB of the root volume, as the stack has it.
const ROOT: u32 = 8;

/// Write the configuration of a new site and the parameters of its stack.
///
/// It prints the monthly cost and the next commands. It finds missing values at AWS (zone, region, account), or asks for them. It
/// creates nothing at AWS.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   the files are written
  1   there is no hosted zone for the domain, or you declined
  64  a value is missing, or a file exists already")]
pub(super) struct InitCommand {
    /// The canonical name of the site, such as www.example.org.
    #[arg(long, value_name = "NAME")]
    domain: Option<Name>,
    /// A further name; may be given several times.
    #[arg(long = "alias", value_name = "NAME")]
    aliases: Vec<Name>,
    /// Bucket that the stack creates; by default named after domain and account number.
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// Id of the hosted zone; by default the one that holds the domain.
    #[arg(long, value_name = "ID")]
    zone: Option<String>,
    /// Mail address for the account at the CA.
    #[arg(long, value_name = "ADDRESS")]
    contact: Option<String>,
    /// Program that the hosts run, built for the architecture of their instances; by default this one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Kind of fleet that keeps one instance running.
    #[arg(long, value_name = "KIND", default_value = "auto-scaling-group",
          value_parser = ["auto-scaling-group", "ec2-fleet", "spot-fleet"])]
    fleet: String,
    /// Folder for the files that are written: spothost.toml and stack-parameters.json.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Do not prompt: use the given values and those found at AWS.
    #[arg(long, short)]
    yes: bool,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    log: Log,
}

impl InitCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("error");
        let configuration = self.dir.join("spothost.toml");
        let parameters = self.dir.join("stack-parameters.json");
        for path in [&configuration, &parameters] {
            if path.exists() && !self.force {
                let said = format!("{} is there already: name another --dir, or say --force", path.display());
                return Err(Stop::new(BAD_CONFIGURATION, said));
            }
        }
        let path = self.program()?;
        let unusable = |said: &dyn std::fmt::Display| {
            let said = format!("{}: {said}; name one: --program FILE", path.display());
            Stop::new(BAD_CONFIGURATION, said)
        };
        let program = fs::read(&path).map_err(|error| unusable(&error))?;
        let program = Program::recognise(&program).map_err(|said| unusable(&said))?;
        let (answers, region) = runtime()?.block_on(self.answers(program))?;
        self.write(&configuration, &answers.configuration())?;
        // The stack would report a wrong value later; reporting it now is better.
        if let Err(error) = Config::load(&configuration) {
            let _ = fs::remove_file(&configuration);
            let said = format!(
                "what was given makes no configuration, and nothing is written: {error}; correct the flag that says it"
            );
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        self.write(&parameters, &answers.parameters())?;
        tell(&answers, &region, &configuration, &parameters, &path);
        Ok(ExitCode::SUCCESS)
    }

    fn program(&self) -> Result<PathBuf, Stop> {
        match &self.program {
            Some(path) => Ok(path.clone()),
            None => env::current_exe().map_err(|error| Stop::new(CANNOT_RUN, format!("finding this program: {error}"))),
        }
    }

    async fn answers(&self, program: Program) -> Result<(Answers, String), Stop> {
        let domain = self.domain()?;
        let aws = aws_session().await?;
        let caller = Caller::ask(&aws).await?;
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => self.found_zone(&aws, &domain).await?,
        };
        let bucket = match &self.bucket {
            Some(bucket) => bucket.clone(),
            None => self.asked(
                "Bucket for the site, which the stack makes",
                Answers::proposed_bucket(&domain, &caller.account),
            )?,
        };
        PackagePlace::try_from(format!("s3://{bucket}/www/")).map_err(|said| Stop::new(BAD_CONFIGURATION, said))?;
        let answers = Answers {
            domain,
            aliases: self.aliases.clone(),
            bucket,
            zone,
            contact: self.contact.clone(),
            program,
            fleet: self.fleet.clone(),
        };
        Ok((answers, aws.region()))
    }

    fn domain(&self) -> Result<Name, Stop> {
        if let Some(domain) = &self.domain {
            return Ok(domain.clone());
        }
        if !self.asks() {
            return Err(Stop::new(BAD_CONFIGURATION, "the domain is missing: --domain www.example.org"));
        }
        let valid = |text: &String| text.parse::<Name>().map(drop);
        let text = Input::<String>::new().with_prompt("Domain of the site").validate_with(valid).interact_text();
        let text = text.map_err(|error| Stop::new(CANNOT_RUN, error))?;
        text.parse().map_err(|said: String| Stop::new(BAD_CONFIGURATION, said))
    }

    /// The zone that holds the domain, if there is exactly one, and it is agreed to.
    async fn found_zone(&self, aws: &Aws, domain: &Name) -> Result<String, Stop> {
        let none = || {
            let said = format!(
                "no public hosted zone of this account holds {domain}: make one (aws route53 create-hosted-zone --name … \
                 --caller-reference 1), and let the domain's registrar lead to its name servers"
            );
            Stop::new(super::NOT_AS_IT_SHOULD_BE, said)
        };
        let zones = zones::holding(aws, domain).await?;
        match zones.as_slice() {
            [] => Err(none()),
            [zone] if !self.asks() => Ok(zone.id.clone()),
            [zone] => {
                let prompt = format!("Hosted zone {} ({})", zone.id, zone.name);
                let agreed = Confirm::new().with_prompt(prompt).default(true).interact();
                if agreed.map_err(|error| Stop::new(CANNOT_RUN, error))? {
                    Ok(zone.id.clone())
                } else {
                    Err(Stop::new(super::NOT_AS_IT_SHOULD_BE, "name another: --zone ID"))
                }
            }
            several => {
                let ids: Vec<_> = several.iter().map(|zone| zone.id.as_str()).collect();
                let said = format!(
                    "several hosted zones are {}: name one, --zone {}",
                    several[0].name,
                    ids.join(" or --zone ")
                );
                Err(Stop::new(BAD_CONFIGURATION, said))
            }
        }
    }

    fn asked(&self, prompt: &str, default: String) -> Result<String, Stop> {
        if !self.asks() {
            return Ok(default);
        }
        let answer = Input::<String>::new().with_prompt(prompt).default(default).interact_text();
        answer.map_err(|error| Stop::new(CANNOT_RUN, error))
    }

    /// Whether a person can be asked.
    fn asks(&self) -> bool {
        !self.yes && io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Stop> {
        let written = fs::create_dir_all(&self.dir).and_then(|()| fs::write(path, text));
        written.map_err(|error| Stop::new(CANNOT_RUN, format!("writing {}: {error}", path.display())))
    }
}

fn tell(answers: &Answers, region: &str, configuration: &Path, parameters: &Path, program: &Path) {
    anstream::println!("written: {} and {}\n", configuration.display(), parameters.display());
    let items = bill::bill(&Instance::on_demand(answers.program.architecture), ROOT);
    let mut table = super::table::headed(&["what it costs", "$ a month", "source"]);
    for item in &items {
        table.add_row([item.what.clone(), format!("{:.2}", item.a_month), item.source.clone()]);
    }
    table.add_row(["at most, all together".to_owned(), format!("{:.2}", bill::total(&items)), String::new()]);
    anstream::println!(
        "{table}\nList prices of us-east-1 without taxes; the site will be in {region}. As spot an instance mostly costs a third: \
         aws ec2 describe-spot-price-history.\nWhat visitors fetch beyond 100 GB a month costs $0.09 a GB \
         (https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer).\n"
    );
    anstream::println!("Next:");
    // A name of a stack begins with a letter, and so need no name of a host.
    let stack = format!("site-{}", answers.domain.as_str().replace('.', "-"));
    for (number, (what, command)) in (1..).zip(answers.next(&stack, parameters, configuration, program)) {
        anstream::println!("{number}. {what}\n   {command}");
    }
}
