//! `spothost check`: every keeper observes, nothing is changed.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use comfy_table::{Cell, Color};
use tokio::sync::watch;

use super::{Configured, Kept, Log, Stop, runtime, table};
use crate::{
    address::{self, Address},
    aws::{Aws, metadata::Metadata},
    boot::{self, Folders},
    claim::Ledger,
    config::{Config, Leading},
    departure::Notices,
    fault::Fault,
    host::Facts,
    keeper::{Judgement, Keeper},
    listener::{Feeds, Listener},
    place::PackagePlace,
    status::Part,
};

/// How long the way to AWS may take to be found.
const FIND_AWS: Duration = Duration::from_secs(10);

/// Look at everything, change nothing, and say what is as it should be and what is not.
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    log: Log,
}

/// What one keeper found.
struct Finding {
    part: Part,
    is: Is,
    says: String,
    remedy: Option<String>,
}

/// How what was found compares with what should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    AsItShouldBe,
    Drifting,
    Waiting,
    Aside,
    Refused,
}

impl Check {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        let findings = runtime()?.block_on(look(&config, &self.kept.folders()));
        show(&findings);
        let fine = findings.iter().all(|finding| matches!(finding.is, Is::AsItShouldBe | Is::Aside));
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

async fn look(config: &Config, folders: &Folders) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (hosts, host) = watch::channel(None);
    let mut aws = watch::channel(None).1;
    if config.needs_aws() {
        let metadata = Metadata::new();
        aws = boot::way_to_aws(&metadata, host.clone());
        hosts.send_replace(found(Facts::new(metadata.clone()), &mut findings).await);
        found(Notices::new(metadata, aws.clone(), config.look.departure), &mut findings).await;
        let _ = tokio::time::timeout(FIND_AWS, aws.wait_for(Option::is_some)).await;
    }
    let host = config.needs_aws().then_some(host);
    let (packages, certificates) = boot::stores(config, folders, &aws, host.clone());
    let package = watch::channel(found(packages, &mut findings).await).1;
    tell_region(config, &aws, &mut findings);
    let certificate = watch::channel(found(certificates, &mut findings).await).1;
    let feeds = Feeds { site: watch::Sender::new(None), identity: watch::Sender::new(None) };
    let listener = Listener::new(config.domain.clone(), config.listen.https, feeds, package, certificate, host.clone());
    let answering = watch::channel(found(listener.taken_for_granted(), &mut findings).await).1;
    if let (Some(ledger), Some(host)) = (Ledger::of(config), host) {
        let target = watch::channel(config.fleet.target).1;
        match &config.leading {
            #[cfg(feature = "fleet")]
            Leading::ElasticIp(allocation, place) => {
                let waiting = watch::channel(None).1;
                let sources = address::Sources { aws, host, answering, waiting, target };
                let which = (allocation.clone(), place.clone());
                found(address::Elastic::new(config, ledger, which, sources), &mut findings).await;
            }
            // The configuration refuses it.
            #[cfg(not(feature = "fleet"))]
            Leading::ElasticIp(..) => {}
            Leading::Multivalue => {
                let waiting = watch::channel(None).1;
                let sources = address::Sources { aws, host, answering, waiting, target };
                drop(found(address::Multivalue::new(config, ledger, sources), &mut findings).await);
            }
            Leading::Records => {
                drop(found(Address::new(config, ledger, aws, host, answering, target), &mut findings).await)
            }
        }
    }
    findings.sort_by_key(|finding| finding.part);
    findings
}

/// Adds to what was found of the package where its bucket is, if that is another region than the host's.
fn tell_region(config: &Config, aws: &crate::keeper::Kept<Aws>, findings: &mut [Finding]) {
    let PackagePlace::Bucket(place) = &config.package else { return };
    let Some(aws) = aws.borrow().clone() else { return };
    let Some(region) = aws.region_of_bucket(&place.bucket) else { return };
    if let Some(finding) = findings.iter_mut().find(|finding| finding.part == Part::Package) {
        let told = format!("; the bucket {} is in {region}, and the host in {}", place.bucket, aws.region());
        finding.says.push_str(&told);
    }
}

/// Lets `keeper` look, and yields what it holds.
async fn found<K: Keeper>(mut keeper: K, findings: &mut Vec<Finding>) -> Option<K::Held> {
    let remembered = keeper.remembered().await;
    let finding = |is, says: String| Finding { part: K::PART, is, says, remedy: None };
    let (finding, held) = match observed(&mut keeper).await {
        Ok(Judgement::Kept(held)) => (finding(Is::AsItShouldBe, K::holding(&held)), Some(held)),
        Ok(Judgement::Drifted { drift, meanwhile }) => {
            (finding(Is::Drifting, K::drifting(&drift)), meanwhile.or(remembered))
        }
        Ok(Judgement::Waits(need)) => (finding(Is::Waiting, format!("waits for {need}")), remembered),
        Ok(Judgement::StandsAside(held)) => (finding(Is::Aside, K::holding(&held)), Some(held)),
        Ok(Judgement::KeptDespite { held, fault }) => {
            let said = format!("{}: {}", fault.doing, fault.said);
            (Finding { remedy: fault.remedy, ..finding(Is::Refused, said) }, Some(held))
        }
        Ok(Judgement::Refused(fault)) | Err(fault) => {
            let said = format!("{}: {}", fault.doing, fault.said);
            (Finding { remedy: fault.remedy, ..finding(Is::Refused, said) }, remembered)
        }
    };
    findings.push(finding);
    held
}

/// A look goes as far as it can: what is missing from another part keeps a keeper from correcting, which is not
/// what it is asked for here, unless there is no way to look at all.
async fn observed<K: Keeper>(keeper: &mut K) -> Result<Judgement<K::Held, K::Drift>, Fault> {
    let limit = keeper.pace().observe;
    let lacks = keeper.lacks();
    let seen = tokio::time::timeout(limit, keeper.observe()).await;
    match (seen, lacks) {
        (Ok(Ok(seen)), _) => Ok(keeper.judge(seen)),
        (_, Some(need)) => Ok(Judgement::Waits(need)),
        (Ok(Err(fault)), None) => Err(fault),
        (Err(_), None) => Err(Fault::retry("looking", format!("no end after {} s", limit.as_secs()))),
    }
}

fn show(findings: &[Finding]) {
    let mut table = table::headed(&["part", "is", "what was found"]);
    for finding in findings {
        let (word, colour) = finding.is.painted();
        table.add_row([Cell::new(finding.part), Cell::new(word).fg(colour), Cell::new(&finding.says)]);
    }
    anstream::println!("{table}");
    for finding in findings {
        if let Some(remedy) = &finding.remedy {
            anstream::println!("{}: cure: {remedy}", finding.part);
        }
    }
}

impl Is {
    fn painted(self) -> (&'static str, Color) {
        match self {
            Is::AsItShouldBe => ("as it should be", Color::Green),
            Is::Drifting => ("drifts", Color::Yellow),
            Is::Waiting => ("waits", Color::Yellow),
            Is::Aside => ("stands aside", Color::Yellow),
            Is::Refused => ("refused", Color::Red),
        }
    }
}
