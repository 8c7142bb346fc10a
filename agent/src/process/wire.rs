//! What an agent and a runner say to each other: one message a packet, as JSON.
//!
//! The agent gives orders, the runner reports; a report may come at any time. What a message needs beside its words travels with it
//! as a file descriptor (`SCM_RIGHTS`, unix(7)). Both are the same program, but after an upgrade an agent may meet a runner that was
//! started before: [`Order::Prepare`] says which wire is spoken, and a runner refuses another.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    config::MemoryLimit,
    secrets::{Seal, SecretSet},
};

/// The wire that this program speaks.
pub(crate) const VERSION: u32 = 1;

/// What an agent asks a runner for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Order {
    /// Unpack the program of the package whose file is passed, and make the folders of its process. Answered with
    /// [`Report::Prepared`], [`Report::Refused`] or [`Report::Failed`].
    Prepare {
        /// [`VERSION`] of the agent.
        version: u32,
        /// What the process and all that it starts may take.
        memory: MemoryLimit,
    },
    /// Start the process, which gets the listener that is passed, if one is. Answered with [`Report::Started`] or
    /// [`Report::Failed`], and later with [`Report::Ended`].
    Start(ProcessCommand),
    /// Start a process that is no application: it gets the three descriptors that are passed as its standard input, output and error.
    /// Answered as [`Order::Start`].
    Run(ProcessCommand),
    /// End the process: SIGTERM, and SIGKILL for all that is left after its grace. Answered with [`Report::Ended`].
    End,
    /// Say how much memory the process takes. Answered with [`Report::Memory`].
    Measure,
    /// Say what runs: the agent is another than the one that started it. Answered with [`Report::Runs`].
    Look,
}

/// What a runner tells an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Report {
    /// The program is unpacked.
    Prepared(ProcessFolders),
    /// The package is at fault, for that reason.
    Refused {
        /// In words.
        why: String,
    },
    /// What was asked for cannot be done, at least now.
    Failed {
        /// What failed and what was said, in words.
        why: String,
        /// What a person has to do, if time alone does not cure it.
        cure: Option<String>,
    },
    /// The process has been started.
    Started {
        /// Its process id, as the runner sees it.
        pid: u32,
    },
    /// systemd stops the unit: the agent says when the process is to end, or the runner ends it after a while.
    Stopping,
    /// The process has ended, by itself or as it was asked to.
    Ended(HowEnded),
    /// Lines that the process wrote, the oldest first: the last ones, where there were many.
    Wrote {
        /// Without their ends.
        lines: Vec<String>,
    },
    /// How much memory there is.
    Memory {
        /// Whether another process like this one can run beside it.
        allows_another: bool,
    },
    /// What runs.
    Runs {
        /// The folders, once the program is unpacked.
        folders: Option<ProcessFolders>,
        /// The process, while there is one.
        process: Option<RunningProcess>,
    },
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HowEnded {
    /// In words.
    pub why: String,
    /// Its exit code, if it has one.
    pub code: Option<u8>,
}

/// A process that runs at a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunningProcess {
    /// Its process id, as the runner sees it.
    pub(crate) pid: u32,
    /// What it was started with.
    pub(crate) command: ProcessCommand,
}

/// A command and what it is started with; all of its environment but for its listener.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessCommand {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// All variables of its environment, but for its secrets.
    pub(crate) environment: BTreeMap<String, String>,
    /// Further ones, which are forgotten once it has them.
    #[serde(default, skip_serializing_if = "SecretSet::is_empty")]
    pub(crate) secrets: SecretSet,
    /// By which it is known which secrets it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<Seal>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// Where it listens, for the agent to know it by: the path of a socket, or a port.
    pub(crate) listens: String,
    /// Seconds that it has from SIGTERM to SIGKILL.
    pub(crate) grace: u64,
}

/// The folders of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessFolders {
    /// What the package holds below `.app/`, unpacked: its working folder.
    pub(crate) tree: String,
    /// Its home, which is thrown away with the host.
    pub(crate) home: String,
    /// Where its temporary files lie.
    pub(crate) temporary: String,
}

impl HowEnded {
    /// Without an exit code.
    pub(crate) fn said(why: impl Into<String>) -> HowEnded {
        HowEnded { why: why.into(), code: None }
    }
}

impl fmt::Debug for ProcessCommand {
    /// Without the values of its environment, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, environment, secrets, seal: _, folder, listens, grace } = self;
        let names: Vec<_> = environment.keys().collect();
        f.debug_struct("ProcessCommand")
            .field("words", words)
            .field("environment", &names)
            .field("secrets", secrets)
            .field("folder", folder)
            .field("listens", listens)
            .field("grace", grace)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written_and_nothing_else_is() {
        let secrets = SecretSet::parse(r#"{"KEY": "canary"}"#).expect("valid");
        let command = ProcessCommand {
            words: vec!["python3".into(), "-m".into(), "gunicorn".into()],
            environment: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
            seal: secrets.sealed(),
            secrets,
            folder: "/var/tmp/x".into(),
            listens: "/run/spothost/app/1-0.sock".into(),
            grace: 10,
        };
        let orders = [
            Order::Prepare { version: VERSION, memory: MemoryLimit::Percent(55) },
            Order::Start(command.clone()),
            Order::End,
            Order::Measure,
            Order::Look,
        ];
        for order in orders {
            let text = serde_json::to_string(&order).expect("JSON");
            assert_eq!(serde_json::from_str::<Order>(&text).expect("an order"), order, "{text}");
        }
        let told = format!("{command:?}");
        assert!(told.contains("PATH") && !told.contains("/usr/bin"), "{told}");
        assert!(told.contains("KEY") && !told.contains("canary"), "{told}");
        // A runner of an earlier version knows neither.
        let plain = ProcessCommand { secrets: SecretSet::default(), seal: None, ..command };
        let text = serde_json::to_string(&plain).expect("JSON");
        assert!(!text.contains("secrets") && !text.contains("seal"), "{text}");
        for wrong in ["", "{}", "[]", "null", r#"{"order":"start","words":[]}"#, r#"{"order":"dance"}"#] {
            assert!(serde_json::from_str::<Order>(wrong).is_err(), "{wrong}");
        }
    }
}
