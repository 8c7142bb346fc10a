//! `spothost vault`: a look into the vault, and what a person may do with it.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use comfy_table::{Cell, Color};
use tokio::sync::watch;

use super::{Configured, Log, Stop, published_at::aws_session, runtime, table};
use crate::{
    certificate::{
        self, Certifier,
        inventory::{self, CertificateSummary, Inventory, Verified},
    },
    clock::moment,
    config::Config,
    fault::Fault,
    folders::Folders,
};

/// Inspect or repair the store of the certificate and the CA accounts.
///
/// Each change is a compare-and-swap, so hosts may keep running; they see it within ten minutes. The vault keeps the previous
/// version.
#[derive(Args)]
pub(super) struct VaultCommand {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    at: VaultLocation,
}

/// Which vault.
#[derive(Args)]
struct VaultLocation {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: super::HostFolders,
    #[command(flatten)]
    log: Log,
}

#[derive(Subcommand)]
enum Verb {
    /// Show its content, except private keys.
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check that the stored certificate is usable; exit code 1 if not.
    Verify {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Restore the previous version.
    Rollback,
    /// Forget the pending order, so that the next host makes a new one. The CA still counts the old one.
    ForgetOrder,
    /// Store a certificate from elsewhere; hosts use it until its renewal is due.
    Import {
        /// PEM file with the chain, leaf first.
        #[arg(value_name = "CHAIN")]
        chain: PathBuf,
        /// PEM file with its key.
        #[arg(value_name = "KEY")]
        key: PathBuf,
    },
    /// Write the certificate to files.
    Export {
        /// File for the chain in PEM.
        #[arg(value_name = "CHAIN")]
        chain: PathBuf,
        /// File for the key in PEM, which only its owner can read.
        #[arg(value_name = "KEY")]
        key: PathBuf,
    },
}

impl VaultCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.at.log.start("warn");
        let config = self.at.configured.load()?;
        runtime()?.block_on(self.done(&config))
    }

    async fn done(&self, config: &Config) -> Result<ExitCode, Stop> {
        let (vault, certifier) = opened(config, &self.at.kept.folders()).await?;
        match &self.verb {
            Verb::Show { json } => show(&Inventory::read(&vault).await?, *json)?,
            Verb::Verify { json } => {
                let rows = inventory::verify(&vault, config.names(), &certifier).await?;
                show_verified(&rows, *json)?;
                let fine = rows.iter().all(|row| row.wrong.is_none());
                return Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) });
            }
            Verb::Rollback => {
                let until = inventory::roll_back(&vault).await?;
                anstream::println!("the previous version is current again; its certificate is valid until {until}");
            }
            Verb::ForgetOrder => match inventory::forget_order(&vault).await? {
                Some(url) => anstream::println!("forgotten: {url}"),
                None => anstream::println!("no order is under way"),
            },
            Verb::Import { chain, key } => {
                let until = inventory::import(&vault, chain, key, config.names(), &certifier).await?;
                anstream::println!("stored; valid until {until}");
            }
            Verb::Export { chain, key } => {
                inventory::export(&vault, chain, key).await?;
                anstream::println!("written: {} and {}", chain.display(), key.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The vault that `config` names, and who certifies, with an AWS session, if that needs one.
pub(super) async fn opened(config: &Config, folders: &Folders) -> Result<(certificate::Vault, Certifier), Stop> {
    let found = if config.needs_aws() { Some(aws_session().await?) } else { None };
    let aws = watch::channel(found).1;
    let certifier = Certifier::new(config, folders.local_ca.clone(), aws.clone(), None);
    Ok((certificate::Vault::new(config.vault.clone(), aws), certifier))
}

fn as_json<T: serde::Serialize>(what: &T) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(what).map_err(|error| Fault::retry("writing JSON", error))?;
    anstream::println!("{text}");
    Ok(())
}

fn show(inventory: &Inventory, json: bool) -> Result<(), Fault> {
    if json {
        return as_json(inventory);
    }
    let mut table = table::headed(&["what", "as it is"]);
    let mut row = |what: &str, is: String| {
        table.add_row([what.to_owned(), is]);
    };
    row("version", inventory.version.clone().unwrap_or_else(|| "none: the vault is empty".to_owned()));
    row("certificate", inventory.certificate.as_ref().map_or_else(|| "none".to_owned(), words));
    row("previous version", inventory.before.as_ref().map_or_else(|| "none".to_owned(), words));
    for account in &inventory.accounts {
        row("account", account.clone());
    }
    row("order under way", inventory.order.clone().unwrap_or_else(|| "none".to_owned()));
    if let Some(damage) = &inventory.damage {
        row("damage", damage.clone());
    }
    if inventory.clock_behind != 0 {
        row("clock", format!("{} s behind what AWS says", inventory.clock_behind));
    }
    anstream::println!("{table}");
    Ok(())
}

fn words(shown: &CertificateSummary) -> String {
    let names: Vec<_> = shown.names.iter().map(ToString::to_string).collect();
    let mut words = match (&shown.unusable, shown.from, shown.until) {
        (Some(why), ..) => why.clone(),
        (None, Some(from), Some(until)) => format!("{} from {} until {}", names.join(" "), moment(from), moment(until)),
        _ => names.join(" "),
    };
    words += &format!("\nof {}", shown.directory);
    if let Some(profile) = &shown.profile {
        words += &format!(", profile {profile}");
    }
    if let Some((start, end)) = &shown.renewal {
        words += &format!("\nthe CA suggests to renew it between {start} and {end}");
    }
    words
}

fn show_verified(rows: &[Verified], json: bool) -> Result<(), Fault> {
    if json {
        return as_json(&rows);
    }
    let mut table = table::headed(&["what should be", "is"]);
    for Verified { what, wrong } in rows {
        let is = match wrong {
            None => Cell::new("so").fg(Color::Green),
            Some(why) => Cell::new(format!("not: {why}")).fg(Color::Red),
        };
        table.add_row([Cell::new(what), is]);
    }
    anstream::println!("{table}");
    Ok(())
}
