//! `spothost doctor`: finds faults, and prints the command that mends each.

use std::{net::SocketAddr, process::ExitCode};

use clap::Args;
use comfy_table::{Cell, Color};

use super::{BAD_CONFIGURATION, Configured, HostFolders, Log, NOT_AS_IT_SHOULD_BE, Stop, runtime, table};
use crate::doctor::{self, DoctorOptions, Line, LineState, Subject};

/// Check the site and everything it depends on, and print the fix for each problem.
///
/// It looks from a host or from anywhere else, before the first launch and after, and changes nothing. On a host it tries each right that the role has to allow, harmlessly. Elsewhere it looks with your credentials, and with
/// --role it asks IAM what the role of the hosts may do: `spothost policy --for operator` prints the rights that this needs.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   nothing is wrong
  1   something is wrong; the fix stands beside it
  64  the configuration cannot be used")]
pub(super) struct DoctorCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: HostFolders,
    /// Name or ARN of the role of the hosts.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Name server to ask instead of the system's, such as 1.1.1.1:53.
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    resolver: Option<SocketAddr>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: Log,
}

/// A cure whose commands read the configuration that this flag names.
fn with_flag(flag: &str, mend: &str) -> String {
    ["spothost doctor", "spothost vault verify"].iter().fold(mend.to_owned(), |mend, command| {
        let named = format!("{command}{flag}");
        if mend.contains(&named) { mend } else { mend.replace(command, &named) }
    })
}

impl DoctorCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("error");
        let config = match self.configured.load() {
            Ok(config) => config,
            Err(stop) => {
                let mend = if self.configured.path().exists() {
                    "correct that line; docs/configuration.md has every key".to_owned()
                } else {
                    "spothost doctor --config FILE; or write one: spothost init".to_owned()
                };
                let line =
                    Line { subject: Subject::Configuration, is: LineState::Wrong, said: stop.said, mend: Some(mend) };
                self.tell(&[line])?;
                return Ok(ExitCode::from(BAD_CONFIGURATION));
            }
        };
        let told = DoctorOptions {
            path: self.configured.config.clone(),
            role: self.role.clone(),
            resolver: self.resolver,
            folders: self.kept.folders(),
        };
        let mut lines = runtime()?.block_on(doctor::examine(&config, &told));
        let flag = doctor::configuration_flag(self.configured.path());
        for mend in lines.iter_mut().filter_map(|line| line.mend.as_mut()) {
            *mend = with_flag(&flag, mend);
        }
        self.tell(&lines)?;
        let well = lines.iter().all(|line| line.is != LineState::Wrong);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_IT_SHOULD_BE) })
    }

    fn tell(&self, lines: &[Line]) -> Result<(), Stop> {
        if self.json {
            let text = serde_json::to_string_pretty(lines).map_err(|error| Stop::new(NOT_AS_IT_SHOULD_BE, error))?;
            anstream::println!("{text}");
        } else {
            show(lines)
        }
        Ok(())
    }
}

fn show(lines: &[Line]) {
    let mut table = table::headed(&["what", "is", "what was found"]);
    for line in lines {
        let colour = match line.is {
            LineState::Ok => Color::Green,
            LineState::Warning => Color::Yellow,
            LineState::Wrong => Color::Red,
        };
        table.add_row([Cell::new(line.subject), Cell::new(line.is).fg(colour), Cell::new(&line.said)]);
    }
    anstream::println!("{table}");
    for line in lines {
        if let Some(mend) = &line.mend {
            anstream::println!("{} {}: {}\n    {mend}", line.subject, line.is, line.said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cures_name_the_configuration_that_was_examined() {
        let named = |mend| with_flag(" --config 'my site.toml'", mend);
        assert_eq!(named("run it again: spothost doctor"), "run it again: spothost doctor --config 'my site.toml'");
        assert_eq!(named("spothost doctor --role R"), "spothost doctor --config 'my site.toml' --role R");
        assert_eq!(named("aws s3 ls"), "aws s3 ls");
        let whole = "spothost vault verify --config 'my site.toml'";
        assert_eq!(named(whole), whole);
    }
}
