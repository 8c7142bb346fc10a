//! `spothost status`: what the running agent is doing, here or on another host.

use std::{io, process::ExitCode};

use clap::Args;

use super::{BAD_CONFIGURATION, Runtime, Stop, first, published_at::PublishedAt, table, timeline};
use crate::{
    clock::{moment, time_of_day},
    documents::layout,
    status::{HostPhase, PartStatus, Status, read},
};

mod remote;

/// Show what the running agent is doing, here or on another host.
///
/// Hosts leave their status in the bucket, beside the packages, when it changes. With --all or --host it is read there, from any machine with the rights of an operator or a publisher.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   the agent serves; with --all every host that is shown serves, or stands aside for the owner of the names
  1   it does not, or there is no status
  64  the configuration cannot be used")]
pub(super) struct StatusCommand {
    /// Show all hosts that have left their status in the bucket, except those that have ended.
    #[arg(long, conflicts_with = "host")]
    all: bool,
    /// Show the host with that instance id or address.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    published: PublishedAt,
    #[command(flatten)]
    runtime: Runtime,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl StatusCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        if self.all || self.host.is_some() {
            return remote::tell(self.host.as_deref(), &self.published, self.json);
        }
        if self.published.is_named() {
            return Err(Stop::new(BAD_CONFIGURATION, "--at and --config name a bucket: say --all or --host, too"));
        }
        let status = of_this_host(&self.runtime)?;
        if self.json {
            let text = serde_json::to_string_pretty(&status).map_err(|error| Stop::new(1, error))?;
            anstream::println!("{text}");
        } else {
            show(&status, if is_alive(status.pid) { "" } else { ", which no longer runs" });
        }
        Ok(if status.phase == HostPhase::Serving { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// The status that the agent of this host has left last.
pub(super) fn of_this_host(runtime: &Runtime) -> Result<Status, Stop> {
    let path = first(&runtime.runtime_dir).join(layout::STATUS);
    read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            let path = path.display();
            Stop::new(1, format!("no agent has run here: there is no {path}; say --runtime-dir for another place; of other hosts: spothost status --all"))
        }
        _ => Stop::new(1, format!("{}: {error}", path.display())),
    })
}

/// Shows a status, with the state of its process.
fn show(status: &Status, running: &str) {
    anstream::println!("{} is {}", status.domain, table::painted_host(status.phase));
    anstream::println!(
        "process {}{running}, spothost {}, started {}",
        status.pid,
        status.version,
        moment(status.started)
    );
    let served = &status.served;
    anstream::println!(
        "served {} requests ({} failed), {:.1} MB; {} connections open, {} turned away, {} cut",
        served.requests,
        served.failed,
        served.bytes as f64 / 1e6,
        served.open,
        served.turned_away,
        served.cut
    );
    if let Some(since) = status.role_since {
        let confirmed =
            if status.role_confirmed { "" } else { ", when the records were last read: it may be another by now" };
        anstream::println!("{} in the succession since {}{confirmed}", status.role, moment(since));
    }
    if let Some(going) = &status.going {
        anstream::println!("going: {going}");
    }
    anstream::println!("\n{}", table::parts(&status.parts));
    for part in &status.parts {
        show_troubles(part);
    }
    // A report that would be too large leaves it out.
    if !status.boot.is_empty() {
        anstream::println!("\n{}", timeline::drawn(&status.boot));
    }
}

/// Shows the fault and the notes of a part, if it has any.
pub(super) fn show_troubles(part: &PartStatus) {
    if let Some(fault) = &part.fault {
        let over = if fault.tries == 0 { "over: " } else { "" };
        let tries = if fault.tries > 1 { format!(" ({} tries)", fault.tries) } else { String::new() };
        anstream::println!("{}: {over}{}, {}: {}{tries}", part.part, time_of_day(fault.at), fault.doing, fault.said);
        if let (Some(remedy), 1..) = (&fault.remedy, fault.tries) {
            anstream::println!("  cure: {remedy}");
        }
    }
    for note in &part.notes {
        anstream::println!("{}: note: {note}", part.part);
    }
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}
