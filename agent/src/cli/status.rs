//! `spothost status`: what the running agent is doing.

use std::{io, process::ExitCode};

use clap::Args;

use super::{Runtime, Stop, first, table, timeline};
use crate::{
    clock::{moment, time_of_day},
    documents::layout,
    status::{HostPhase, PartStatus, Status, read},
};

/// Show what the running agent is doing.
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    runtime: Runtime,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let path = first(&self.runtime.runtime_dir).join(layout::STATUS);
        let status = read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let path = path.display();
                Stop::new(1, format!("no agent has run here: there is no {path} (say --runtime-dir for another place)"))
            }
            _ => Stop::new(1, format!("{}: {error}", path.display())),
        })?;
        if self.json {
            let text = serde_json::to_string_pretty(&status).map_err(|error| Stop::new(1, error))?;
            anstream::println!("{text}");
        } else {
            show(&status);
        }
        Ok(if status.phase == HostPhase::Serving { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

fn show(status: &Status) {
    anstream::println!("{} is {}", status.domain, table::painted_host(status.phase));
    let running = if is_alive(status.pid) { "" } else { ", which no longer runs" };
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
    anstream::println!("\n{}", timeline::drawn(&status.boot));
}

fn show_troubles(part: &PartStatus) {
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
