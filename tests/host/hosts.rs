//! Hosts that follow each other, as tests set them up: in a hurry.

use std::time::Duration;

use world::{Account, Agent, Fleet, FleetKind, Instance, Service, Site, eventually};

use crate::{SOON, published};

/// A release with everything in it: boot, two times to live, lingering, leaving.
pub(crate) const LONG: Duration = Duration::from_secs(120);
pub(crate) const TTL: Duration = Duration::from_secs(1);
/// Between two requests of one visitor: there are other tests.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

/// Everything in a sixtieth of its usual time; a stubborn resolver keeps answers for ten times to live.
pub(crate) fn hasty(more: &str) -> toml::Table {
    let text = format!("[dns]\nttl = 1\n[look]\naddress = \"300ms\"\n[succession]\nlinger = \"12s\"\n{more}");
    let mut table: toml::Table = toml::from_str(&text).expect("TOML");
    let succession = table["succession"].as_table_mut().expect("a table");
    succession.entry("silence").or_insert_with(|| "3s".into());
    table
}

pub(crate) fn hurry(instance: &mut Instance, more: &str) {
    for (key, value) in hasty(more) {
        match (instance.configuration.get_mut(&key), value) {
            (Some(toml::Value::Table(there)), toml::Value::Table(more)) => there.extend(more),
            (_, value) => drop(instance.configuration.insert(key, value)),
        }
    }
}

pub(crate) async fn fleet(kind: FleetKind, site: &Site, more: &str) -> Fleet {
    let account = Account::new().await;
    account.put("site-latest.zip", site.zip()).await;
    Fleet::start(&account, kind, hasty(more)).await
}

/// Waits until the claim says how many hosts the fleet has at rest: a release before that would be taken for it.
pub(crate) async fn noted(fleet: &Fleet) {
    eventually("the fleet's size is noted", SOON, async || claim(&fleet.account).await.contains("target=1")).await;
}

pub(crate) async fn has_role(agent: &mut Agent, role: &str) {
    agent.wait_for(role, SOON, async |agent| agent.status()["role"] == role).await;
}

/// Two hosts that are not of a fleet: the owner, and the one that it followed.
pub(crate) async fn owner_and_spare(more: &str) -> (Instance, Agent, Instance, Agent) {
    let (mut first, _) = published(&Site::titled("spared")).await;
    hurry(&mut first, more);
    let mut spare = first.start();
    spare.wait_until_serving(SOON).await;
    let mut second = first.successor().await;
    hurry(&mut second, more);
    let mut owner = second.start();
    has_role(&mut owner, "owner").await;
    has_role(&mut spare, "superseded").await;
    (second, owner, first, spare)
}

pub(crate) async fn claim(account: &Account) -> String {
    let name = format!("_spothost.{}", account.domain());
    account.answers(&name, "TXT").await.join("")
}

/// How often a host has tried to move the names: challenges of the CA are no names.
pub(crate) fn writes_of_names(host: &Instance) -> usize {
    let writes = host.aws.writes();
    writes.iter().filter(|call| call.service == Service::Route53 && call.target.contains("_spothost")).count()
}

/// How many of them Route 53 carried out: the others were fenced off, and changed nothing.
pub(crate) fn moves_of_names(host: &Instance) -> usize {
    let writes = host.aws.writes();
    let moves = writes.iter().filter(|call| call.service == Service::Route53 && call.target.contains("_spothost"));
    moves.filter(|call| call.status == Some(200)).count()
}

/// The epoch of the claim, as name servers tell it; 0 without one.
pub(crate) async fn epoch(account: &Account) -> u64 {
    let claim = claim(account).await;
    let word = claim.split_whitespace().find_map(|word| word.strip_prefix("epoch="));
    word.and_then(|word| word.parse().ok()).unwrap_or_default()
}
