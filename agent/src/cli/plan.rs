//! `spothost plan`: what hosts read otherwise than it is written here, and the commands that bring it to them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use toml::Table;

use super::{
    BAD_CONFIGURATION, CANNOT_RUN, Configured, DIFFERS, Log, NOT_AS_IT_SHOULD_BE, Stop, published_at::aws_session,
    runtime, table,
};
use crate::{
    aws::{
        Aws,
        launch_template::{self, LaunchTemplate, TemplateVersion},
        publisher_bucket::PublisherBucket,
    },
    init::{
        Program,
        plan::{Difference, Parameters, UserData, differences},
    },
    place::S3Prefix,
    shell::word,
};

/// Amazon EC2 User Guide, "Run commands when you launch an EC2 instance": bytes before base64.
const USER_DATA_LIMIT: usize = 16 << 10;

/// Compare the configuration here with what the hosts read, and print the commands that bring it to them.
///
/// Hosts read what the user data of their launch template wrote when they booted. Where anything
/// differs, `plan` rewrites the parameters of the stack or, without a stack, writes the data of the next version of the launch
/// template. It changes nothing at AWS.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   configuration and program of the hosts are those here
  1   the hosts' configuration cannot be read, or not be changed to this one
  4   something differs: the commands are printed, and the file that they use is written
  64  the configuration, the program or the parameters cannot be used")]
pub(super) struct PlanCommand {
    #[command(flatten)]
    configured: Configured,
    /// A program that the hosts are to run, built for the architecture of their instances.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Stack of the launch template, where its tags do not name it.
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Parameters of the stack; by default stack-parameters.json beside the configuration.
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: Log,
}

/// The differences, and the next commands.
#[derive(Serialize)]
struct PlanFindings {
    /// Id of the launch template.
    template: String,
    /// Its version that new hosts are started from.
    version: i64,
    /// The stack that it is of.
    stack: Option<String>,
    /// The region of both.
    region: String,
    /// Keys that hosts read with another value.
    differences: Vec<Difference>,
    /// The program that differs.
    program: Option<OtherProgram>,
    /// Hosts that were started from another version, or from another launch template.
    behind: Vec<String>,
    /// The file that was written for the commands.
    written: Option<PathBuf>,
    /// What to do and the command for it, in this order.
    commands: Vec<(String, String)>,
}

/// A program that hosts do not run yet.
#[derive(Clone, Serialize)]
struct OtherProgram {
    /// SHA-256 of the one that they run.
    hosts: Option<String>,
    /// SHA-256 of the one here.
    here: String,
}

impl PlanCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("error");
        let config = self.configured.load()?;
        let program = self.program.as_deref().map(recognised).transpose()?;
        let found = runtime()?.block_on(async {
            let aws = aws_session().await?;
            let domain = config.domain.to_string();
            let template = launch_template::of_site(&aws, &domain).await?;
            let mut template = template.ok_or_else(|| no_template(&domain, &aws.region()))?;
            template.stack = self.stack.clone().or(template.stack);
            self.compare(&aws, &template, program.as_ref()).await
        })?;
        if self.json {
            let text = serde_json::to_string_pretty(&found).map_err(|error| Stop::new(1, error))?;
            anstream::println!("{text}");
        } else {
            found.show();
        }
        Ok(if found.commands.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
    }

    async fn compare(
        &self,
        aws: &Aws,
        template: &LaunchTemplate,
        program: Option<&Program>,
    ) -> Result<PlanFindings, Stop> {
        let version = template.in_use();
        let foreign = |why: &str| {
            let said = format!(
                "the user data of version {} of {} {why}: render the launch template anew (launch-template/README.md)",
                version.number, template.id
            );
            Stop::new(NOT_AS_IT_SHOULD_BE, said)
        };
        let user_data = UserData::read(&version.user_data).ok_or_else(|| foreign("is not of spothost"))?;
        let hosts: Table = toml::from_str(user_data.configuration).map_err(|_| foreign("writes no configuration"))?;
        if template.stack.is_none() && user_data.is_of_a_stack() {
            let said =
                format!("{} belongs to a stack, and its tags do not say which: name it with --stack NAME", template.id);
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        let path = self.configured.path();
        let unreadable = |error: &dyn std::fmt::Display| {
            Stop::new(BAD_CONFIGURATION, format!("reading {}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let here: Table = toml::from_str(&text).map_err(|error| unreadable(&error))?;
        let other = program.and_then(|program| {
            let hosts = user_data.program(program.architecture).map(str::to_owned);
            let here = program.sha256.clone();
            (hosts.as_ref() != Some(&here)).then_some(OtherProgram { hosts, here })
        });
        let mut found = PlanFindings {
            template: template.id.clone(),
            version: version.number,
            stack: template.stack.clone(),
            region: aws.region(),
            differences: differences(&hosts, &here),
            program: other.clone(),
            behind: template.behind(),
            written: None,
            commands: Vec::new(),
        };
        let new_program = program.filter(|_| other.is_some());
        if let (Some(program), Some(file)) = (program, &self.program) {
            found.commands.extend(upload(aws, user_data.bucket, program, file, other.is_some()).await);
        }
        if !found.differences.is_empty() || new_program.is_some() {
            match &template.stack {
                Some(stack) => self.by_stack(&mut found, stack, &hosts, &here, &user_data, new_program)?,
                None => self.by_hand(&mut found, template, version, &text, &user_data, new_program)?,
            }
        }
        if found.written.is_some() || !found.behind.is_empty() {
            let command = format!("spothost rollout --config {}", word(path));
            found.commands.push(("replace the hosts".to_owned(), command));
        }
        Ok(found)
    }

    /// Writes the parameters of the stack anew, and says how it is updated by them.
    fn by_stack(
        &self,
        found: &mut PlanFindings,
        stack: &str,
        hosts: &Table,
        here: &Table,
        user_data: &UserData<'_>,
        program: Option<&Program>,
    ) -> Result<(), Stop> {
        let region = &found.region;
        let path = self.parameters.clone().unwrap_or_else(|| self.beside("stack-parameters.json"));
        let unusable = |said: &dyn std::fmt::Display| {
            let said = format!(
                "{}: {said}; take those of the stack: aws cloudformation describe-stacks --stack-name {stack} --region {region} --query \
                 'Stacks[0].Parameters' >{}",
                path.display(),
                word(&path)
            );
            Stop::new(BAD_CONFIGURATION, said)
        };
        let text = fs::read_to_string(&path).map_err(|error| unusable(&error))?;
        let mut parameters = Parameters::read(&text).map_err(|error| unusable(&error))?;
        let refused = |said: String| Stop::new(NOT_AS_IT_SHOULD_BE, said);
        parameters.configure(hosts, here).map_err(refused)?;
        match program {
            Some(program) => parameters.run(program.architecture, &program.sha256).map_err(refused)?,
            // The file may be older than the stack.
            None => parameters.keep_program(user_data),
        }
        write(&path, &parameters.text())?;
        let of_it = format!("--stack-name {stack} --region {region}");
        let arguments = format!(
            "{of_it} --template-body file://launch-template/stack.yaml --capabilities CAPABILITY_IAM --parameters {}",
            file_url(&path)
        );
        let wait = format!("aws cloudformation wait stack-update-complete {of_it}");
        if let Some(kind) = parameters.fleet_that_may_be_replaced() {
            let why = format!(
                "look whether the {kind} would be replaced: its hosts would end before others serve; then make a second stack beside this one"
            );
            let set = format!("{of_it} --change-set-name spothost-plan");
            let look = format!(
                "aws cloudformation create-change-set --change-set-name spothost-plan {arguments} && aws cloudformation wait \
                 change-set-create-complete {set} && aws cloudformation describe-change-set {set}"
            );
            found.commands.push((why, look));
        }
        let update = format!("aws cloudformation update-stack {arguments}");
        found
            .commands
            .push(("update the stack, in a checkout of the version that hosts are to run".to_owned(), update));
        found.commands.push(("wait for it".to_owned(), wait));
        found.written = Some(path);
        Ok(())
    }

    /// Writes the data of the next version of the launch template, and says how it is made.
    fn by_hand(
        &self,
        found: &mut PlanFindings,
        template: &LaunchTemplate,
        version: &TemplateVersion,
        text: &str,
        user_data: &UserData<'_>,
        program: Option<&Program>,
    ) -> Result<(), Stop> {
        if UserData::would_end_in(text) {
            let said = format!(
                "{} has a line that ends it inside the user data: write it otherwise",
                self.configured.path().display()
            );
            return Err(Stop::new(BAD_CONFIGURATION, said));
        }
        let path = self.beside("launch-template-data.json");
        let key = program.map(Program::key);
        let program = program.zip(key.as_deref()).map(|(program, key)| (program.architecture, &*program.sha256, key));
        if let Some((architecture, ..)) = program
            && user_data.program(architecture).is_none()
        {
            let said = format!(
                "the program is for {architecture}, and version {} of {} starts none there: build it for the other architecture, or render \
                 the launch template anew (launch-template/README.md)",
                version.number, template.id
            );
            return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
        }
        let script = user_data.with(text, program);
        if script.len() > USER_DATA_LIMIT {
            let said = format!(
                "the user data would have {} bytes, and EC2 takes {USER_DATA_LIMIT}: shorten the comments",
                script.len()
            );
            return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
        }
        let data = json!({ "UserData": STANDARD.encode(script) });
        write(&path, &(data.to_string() + "\n"))?;
        let next = template.latest.number + 1;
        let create = format!(
            "aws ec2 create-launch-template-version --region {} --launch-template-id {} --source-version {} --launch-template-data {}",
            found.region,
            template.id,
            version.number,
            file_url(&path)
        );
        found.commands.push(("make the next version of the launch template".to_owned(), create));
        let default = format!(
            "aws ec2 modify-launch-template --region {} --launch-template-id {} --default-version {next}",
            found.region, template.id
        );
        found.commands.push(("make it the default".to_owned(), default));
        found.written = Some(path);
        Ok(())
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.configured.path().with_file_name(name)
    }
}

impl PlanFindings {
    fn show(&self) {
        let of = self.stack.as_ref().map_or_else(String::new, |stack| format!(" of the stack {stack}"));
        anstream::println!("new hosts are started from version {} of {}{of}", self.version, self.template);
        let none = || "-".to_owned();
        if !self.differences.is_empty() || self.program.is_some() {
            let mut rows = table::headed(&["key", "hosts read", "here"]);
            for one in &self.differences {
                let hosts = one.hosts.clone();
                let here = one.here.clone();
                rows.add_row([one.key.clone(), hosts.unwrap_or_else(none), here.unwrap_or_else(none)]);
            }
            if let Some(program) = &self.program {
                let hosts = program.hosts.clone().unwrap_or_else(none);
                rows.add_row(["the program".to_owned(), hosts, program.here.clone()]);
            }
            anstream::println!("{rows}");
        }
        for host in &self.behind {
            anstream::println!("{host} was started from another version or template, and uses its configuration");
        }
        if self.commands.is_empty() {
            anstream::println!("nothing to do: configuration and program of the hosts are those here");
            return;
        }
        if let Some(path) = &self.written {
            anstream::println!("written: {}", path.display());
        }
        anstream::println!("\nNext:");
        for (number, (what, command)) in (1..).zip(&self.commands) {
            anstream::println!("{number}. {what}\n   {command}");
        }
    }
}

/// The upload of the program, unless it is there; unless it `differs` from that of the hosts only where it is known not to be there.
async fn upload(aws: &Aws, bucket: &str, program: &Program, file: &Path, differs: bool) -> Option<(String, String)> {
    let key = program.key();
    let publisher_bucket = PublisherBucket::new(aws, S3Prefix { bucket: bucket.to_owned(), prefix: String::new() });
    // To upload it again changes nothing: its key is its hash.
    match publisher_bucket.look(&key).await {
        Ok(Some(_)) => return None,
        Err(_) if !differs => return None,
        Ok(None) | Err(_) => {}
    }
    Some(("upload the program".to_owned(), format!("aws s3 cp {} s3://{bucket}/{key}", word(file))))
}

/// The file as an argument of the AWS command line, which reads it.
fn file_url(path: &Path) -> String {
    word(Path::new(&format!("file://{}", path.display())))
}

fn recognised(path: &Path) -> Result<Program, Stop> {
    let unusable = |said: &dyn std::fmt::Display| {
        let said = format!("reading the program {}: {said}; name one: --program FILE", path.display());
        Stop::new(BAD_CONFIGURATION, said)
    };
    let bytes = fs::read(path).map_err(|error| unusable(&error))?;
    Program::recognise(&bytes).map_err(|said| unusable(&said))
}

fn no_template(domain: &str, region: &str) -> Stop {
    let said = format!(
        "no launch template in {region} has the tag spothost:domain={domain}: set AWS_REGION to that of the hosts, or tag it: aws ec2 \
         create-tags --resources lt-… --tags Key=spothost:domain,Value={domain}"
    );
    Stop::new(NOT_AS_IT_SHOULD_BE, said)
}

fn write(path: &Path, text: &str) -> Result<(), Stop> {
    fs::write(path, text).map_err(|error| Stop::new(CANNOT_RUN, format!("writing {}: {error}", path.display())))
}
