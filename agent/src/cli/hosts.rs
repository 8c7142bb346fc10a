//! `spothost hosts`: the hosts of the fleet, who owns the names, what each serves.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use comfy_table::{Cell, Color};
use serde::Serialize;

use super::{Configured, Log, NOT_AS_IT_SHOULD_BE, Stop, rollout::FleetSite, runtime, table};
use crate::{
    aws::{instances::Instances, publisher_bucket::PublisherBucket},
    claim::Claim,
    clock::moment,
    config::{Config, RoutingMode},
    documents::HostDocument,
    place::PackagePlace,
    publish::Catalogue,
    routing::led_to,
};

/// Show the hosts of the fleet, the owner of the names, and the version that each host serves.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   the owner of the names answers
  1   it does not answer, or no host owns the names")]
pub(super) struct HostsCommand {
    #[command(flatten)]
    configured: Configured,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: Log,
}

/// One host, as it is told.
#[derive(Serialize)]
struct Row {
    instance: String,
    /// Where it is, if that is not where the fleet is.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    launched: Option<time::OffsetDateTime>,
    address: Option<std::net::IpAddr>,
    owner: bool,
    role: Option<String>,
    answers: bool,
    package: Option<String>,
    program: Option<String>,
}

impl HostsCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        let rows = runtime()?.block_on(rows(&config))?;
        if self.json {
            let text = serde_json::to_string_pretty(&rows).map_err(|error| Stop::new(1, error))?;
            anstream::println!("{text}");
        } else {
            anstream::println!("{}", drawn(&rows));
        }
        let well = rows.iter().any(|row| row.owner && row.answers);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_IT_SHOULD_BE) })
    }
}

async fn rows(config: &Config) -> Result<Vec<Row>, Stop> {
    let site = FleetSite::find(config).await?;
    let claim = site.name_service.claim(&site.aws).await?;
    // Where people are led to every host, each that they are led to is an owner.
    let led = match config.leading {
        RoutingMode::Multivalue => led_to(&site.name_service, &site.aws).await?,
        RoutingMode::Records | RoutingMode::ElasticIp(..) => claim.iter().map(|claim| claim.instance.clone()).collect(),
    };
    let members = site.fleet.members().await?;
    let said = said_by_hosts(config, &site).await;
    let mut rows = Vec::new();
    for machine in Instances::new(&site.aws).listed(&members).await? {
        let mine = claim.as_ref().filter(|claim| claim.instance == machine.id);
        let at = mine.and_then(|claim| claim.at).or(machine.address);
        let answers = match at {
            Some(at) => site.name_service.answers_at(at).await,
            None => false,
        };
        let HostReport { role, package, program } = said.get(&machine.id).cloned().unwrap_or_default();
        let owner = led.contains(&machine.id);
        rows.push(Row {
            owner,
            role: role.or_else(|| owner.then(|| "owner".to_owned())),
            package: package.or_else(|| mine.and_then(|claim| claim.package.clone())),
            program: mine.and_then(|claim| claim.version.clone()).or(program),
            instance: machine.id,
            elsewhere: None,
            launched: machine.launched.or(mine.map(|claim| claim.launched)),
            address: at,
            answers,
        });
    }
    // The owner of the names may be of another fleet, as in another region.
    if let Some(claim) = claim.filter(|claim| !members.contains(&claim.instance)) {
        rows.push(owner_elsewhere(&site, claim).await);
    }
    rows.sort_by_key(|row| (row.launched, row.instance.clone()));
    Ok(rows)
}

async fn owner_elsewhere(site: &FleetSite, claim: Claim) -> Row {
    let there = claim.location.as_ref().filter(|there| Some(*there) != site.location.as_ref());
    Row {
        answers: site.name_service.answers(&claim).await,
        owner: true,
        role: Some("owner".to_owned()),
        elsewhere: there.map(ToString::to_string),
        launched: Some(claim.launched),
        address: claim.at,
        package: claim.package,
        program: claim.version,
        instance: claim.instance,
    }
}

/// The report of a host beside the packages.
#[derive(Clone, Default)]
struct HostReport {
    role: Option<String>,
    package: Option<String>,
    program: Option<String>,
}

async fn said_by_hosts(config: &Config, site: &FleetSite) -> BTreeMap<String, HostReport> {
    let PackagePlace::Bucket(place) = &config.package else { return BTreeMap::new() };
    let Ok(catalogue) = Catalogue::read(&PublisherBucket::new(&site.aws, place.clone())).await else {
        return BTreeMap::new();
    };
    let hosts = catalogue.packages.into_iter().flat_map(|package| package.served_by);
    let said = |host: HostDocument| {
        let package = host.version.or(host.etag);
        (host.instance, HostReport { role: Some(host.role.to_string()), package, program: host.program })
    };
    hosts.map(said).collect()
}

fn drawn(rows: &[Row]) -> comfy_table::Table {
    let mut table = table::headed(&["host", "launched", "address", "role", "answers", "package", "program"]);
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for row in rows {
        let (answers, colour) = if row.answers { ("yes", Color::Green) } else { ("no", Color::Red) };
        table.add_row([
            Cell::new(
                row.elsewhere
                    .as_ref()
                    .map_or_else(|| row.instance.clone(), |there| format!("{} in {there}", row.instance)),
            )
            .fg(if row.owner { Color::Green } else { Color::Reset }),
            Cell::new(row.launched.map_or_else(|| "-".to_owned(), moment)),
            Cell::new(row.address.map_or_else(|| "-".to_owned(), |address| address.to_string())),
            Cell::new(text(&row.role)),
            Cell::new(answers).fg(colour),
            Cell::new(text(&row.package)),
            Cell::new(text(&row.program)),
        ]);
    }
    table
}
