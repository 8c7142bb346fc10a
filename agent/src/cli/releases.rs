//! `spothost releases`: the published versions, the hosts' verdicts, and the hosts that serve them.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Cell, Color};
use indicatif::HumanBytes;

use super::{Stop, published_at, runtime, table};
use crate::{
    clock::moment,
    documents::HostDocument,
    package::moved,
    publish::{Catalogue, PublishedPackage},
};

/// Show the published versions, the verdicts of the hosts, and which hosts serve them.
#[derive(Args)]
pub(super) struct ReleasesCommand {
    #[command(flatten)]
    published: published_at::PublishedAt,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl ReleasesCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let (place, catalogue) = runtime()?.block_on(async {
            let publisher_bucket = self.published.publisher_bucket().await?;
            Ok::<_, Stop>((publisher_bucket.place().clone(), Catalogue::read(&publisher_bucket).await?))
        })?;
        for rival in &catalogue.rivals {
            anstream::eprintln!("warning: {rival} says that it is the latest too, and is older");
        }
        for unread in &catalogue.unread {
            anstream::eprintln!("warning: {unread}");
        }
        if self.json {
            let text = serde_json::to_string_pretty(&catalogue.packages);
            anstream::println!("{}", text.map_err(|error| Stop::new(1, error))?);
        } else if catalogue.packages.is_empty() {
            anstream::println!("nothing is published yet in {place}");
            if let Some(hint) = moved(&place) {
                anstream::println!("{hint}");
            }
        } else {
            anstream::println!("{}", drawn(&catalogue.packages));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn drawn(packages: &[PublishedPackage]) -> comfy_table::Table {
    let mut table = table::headed(&["published", "version", "size", "verdict", "served by"]);
    for package in packages {
        let name = package.version.as_ref().map_or_else(|| package.key.clone(), ToString::to_string);
        let name = if package.latest { format!("{name} (latest)") } else { name };
        table.add_row([
            Cell::new(moment(package.at)),
            Cell::new(name).fg(if package.latest { Color::Green } else { Color::Reset }),
            Cell::new(HumanBytes(package.length)),
            verdict(package),
            Cell::new(served_by(package)),
        ]);
    }
    table
}

fn verdict(package: &PublishedPackage) -> Cell {
    match &package.verdict {
        None => Cell::new("-"),
        Some(said) if said.refuses() => {
            let reasons = said.reasons.join("\n");
            Cell::new(format!("refused by {} at {}\n{reasons}", said.by, moment(said.at))).fg(Color::Red)
        }
        Some(said) => {
            let colour = if said.is_good() { Color::Green } else { Color::Reset };
            Cell::new(format!("{}, {}", said.verdict, said.by)).fg(colour)
        }
    }
}

fn served_by(package: &PublishedPackage) -> String {
    let host = |host: &HostDocument| {
        let address = host.address.as_ref().map(|address| format!(" {address}")).unwrap_or_default();
        format!("{} ({}){address}", host.instance, host.role)
    };
    let hosts: Vec<_> = package.served_by.iter().map(host).collect();
    if hosts.is_empty() { "-".to_owned() } else { hosts.join("\n") }
}
