//! `spothost budget`: the remaining limits of the CAs.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Cell, Color};

use super::{Configured, HostFolders, Log, Stop, runtime, table, vault::opened};
use crate::{
    certificate::{Budget, LimitLeft},
    clock::moment,
};

/// Show the remaining rate limits of the CAs, when they refill, and the next planned order.
///
/// It reads the vault, changes nothing and asks no CA.
#[derive(Args)]
pub(super) struct BudgetCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: HostFolders,
    #[command(flatten)]
    log: Log,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl BudgetCommand {
    /// 0 when nothing stands against what is planned, else 1.
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        let read = async {
            let (vault, certifier) = opened(&config, &self.kept.folders()).await?;
            Budget::read(config.names(), &vault, &certifier).await.map_err(Stop::from)
        };
        let budget = runtime()?.block_on(read)?;
        if self.json {
            let text = serde_json::to_string_pretty(&budget).map_err(|error| Stop::new(1, error))?;
            anstream::println!("{text}");
        } else {
            show(&budget)
        }
        let free = budget.authorities.iter().all(|at| at.failed == 0);
        Ok(if free { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

fn show(budget: &Budget) {
    let names: Vec<_> = budget.names.iter().map(ToString::to_string).collect();
    anstream::println!("{}\nplan: {}", names.join(" "), budget.plan);
    for at in &budget.authorities {
        anstream::println!("\n{}", at.directory);
        if let (1.., Some(since)) = (at.failed, at.failing_since) {
            let said = at.said.as_deref().unwrap_or("nothing was said");
            anstream::println!("{} attempts failed since {}, the last with: {said}", at.failed, moment(since));
        }
        limits(&at.limits);
    }
    if budget.authorities.is_empty() {
        anstream::println!("the local CA has no limits")
    } else {
        anstream::println!("\nSecrets Manager");
        limits(std::slice::from_ref(&budget.versions));
    }
}

fn limits(limits: &[LimitLeft]) {
    let mut table = table::headed(&["limit", "left", "of", "one more"]);
    for LimitLeft { what, left, of, next } in limits {
        let colour = match left {
            0 => Color::Red,
            left if 2 * left < *of => Color::Yellow,
            _ => Color::Green,
        };
        let next = next.map_or_else(|| "-".to_owned(), moment);
        table.add_row([Cell::new(what), Cell::new(left).fg(colour), Cell::new(of), Cell::new(next)]);
    }
    anstream::println!("{table}");
}
