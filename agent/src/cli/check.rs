//! `spothost check`: every keeper observes, nothing is changed.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use comfy_table::{Cell, Color};
use tokio::sync::watch;

use super::{Configured, HostFolders as KeptIn, Log, Stop, runtime, table};
use crate::{
    app::Adoption,
    aws::Aws,
    boot::{self, KeeperRunner, Wiring},
    config::Config,
    departure::Departing,
    fault::Fault,
    folders::Folders,
    keeper::{Judgement, Keeper, Kept, Yield, yields},
    place::PackagePlace,
    status::{Board, Part},
};

/// How long an AWS session may take to start.
const FIND_AWS: Duration = Duration::from_secs(10);

/// Inspect this host without changing anything, and report what is wrong.
#[derive(Args)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    configured: Configured,
    #[command(flatten)]
    kept: KeptIn,
    #[command(flatten)]
    log: Log,
}

/// The finding of one keeper.
struct Finding {
    part: Part,
    is: CheckState,
    says: String,
    remedy: Option<String>,
}

/// How what was found compares with what should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckState {
    AsItShouldBe,
    Drifting,
    Waiting,
    Aside,
    Refused,
}

impl CheckCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        let findings = runtime()?.block_on(look(&config, &self.kept.folders()));
        show(&findings);
        let fine = findings.iter().all(|finding| matches!(finding.is, CheckState::AsItShouldBe | CheckState::Aside));
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

async fn look(config: &Config, folders: &Folders) -> Vec<Finding> {
    let mut looking = CheckRunner { findings: Vec::new() };
    let board = Board::new(config.domain.as_str());
    let wiring = Wiring {
        config,
        folders,
        adoption: Adoption::default(),
        https: config.listen.https,
        feeds: None,
        signals: None,
        departing: Departing::new(board.clone()),
        drained: watch::channel(false).1,
        status: board.watch(),
    };
    let decided = boot::wire(wiring, &mut looking).await;
    let mut findings = looking.findings;
    tell_region(config, &decided.aws, &mut findings);
    findings.sort_by_key(|finding| finding.part);
    findings
}

/// Keepers that look once, one after the other.
struct CheckRunner {
    findings: Vec<Finding>,
}

impl KeeperRunner for CheckRunner {
    async fn keep<K: Keeper>(&mut self, keeper: K) -> Yield<K::Held> {
        let (to, kept) = yields();
        if K::CHECKED
            && let Some(held) = found(keeper, &mut self.findings).await
        {
            to.hold(held);
        }
        kept
    }

    fn beside(&mut self, _: impl Future<Output = ()> + Send + 'static) {}

    async fn found<T: Clone + Send + Sync>(&mut self, mut found: Kept<T>) -> Kept<T> {
        let _ = tokio::time::timeout(FIND_AWS, found.wait_for(Option::is_some)).await;
        found
    }
}

/// Adds the region of the bucket to the finding of the package, if that is another region than the host's.
fn tell_region(config: &Config, aws: &Kept<Aws>, findings: &mut [Finding]) {
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
        Ok(Judgement::Kept(held)) => (finding(CheckState::AsItShouldBe, K::holding(&held)), Some(held)),
        Ok(Judgement::Drifted { drift, meanwhile }) => {
            (finding(CheckState::Drifting, K::drifting(&drift)), meanwhile.or(remembered))
        }
        Ok(Judgement::Waits(need)) => (finding(CheckState::Waiting, format!("waits for {need}")), remembered),
        Ok(Judgement::StandsAside(held)) => (finding(CheckState::Aside, K::holding(&held)), Some(held)),
        Ok(Judgement::KeptDespite { held, fault } | Judgement::Unseen { held, fault }) => {
            let said = format!("{}: {}", fault.doing, fault.said);
            (Finding { remedy: fault.remedy, ..finding(CheckState::Refused, said) }, Some(held))
        }
        Ok(Judgement::Refused(fault)) | Err(fault) => {
            let said = format!("{}: {}", fault.doing, fault.said);
            (Finding { remedy: fault.remedy, ..finding(CheckState::Refused, said) }, remembered)
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
        (Err(_), None) => Err(Fault::retry("looking", format!("timed out after {} s", limit.as_secs()))),
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

impl CheckState {
    fn painted(self) -> (&'static str, Color) {
        match self {
            CheckState::AsItShouldBe => ("as it should be", Color::Green),
            CheckState::Drifting => ("drifts", Color::Yellow),
            CheckState::Waiting => ("waits", Color::Yellow),
            CheckState::Aside => ("stands aside", Color::Yellow),
            CheckState::Refused => ("refused", Color::Red),
        }
    }
}
