//! What the built `spothost` does in the world: one file a subject.

use std::time::Duration;

mod afar;
mod applications;
mod archives;
mod authorities;
mod boots;
mod certified;
mod check;
mod codes;
mod credentials;
mod delivery;
mod denied;
mod departs;
mod disk;
mod doctor;
mod elastic;
mod folders;
mod foreign;
mod forged;
mod heals;
mod hosts;
mod init;
mod multivalue;
mod notices;
mod outages;
mod publish;
mod refuses;
mod regions;
mod restarts;
mod rivals;
mod rollout;
mod serves;
mod strangers;
mod succession;
mod up;
mod vault;
mod waiting;

/// How long anything may take that should take a second or two; other tests share the machine.
const SOON: Duration = Duration::from_secs(30);

/// An instance whose bucket has that site, and a visitor of it.
async fn published(site: &world::Site) -> (world::Instance, world::Visitor) {
    let instance = world::Instance::new().await;
    instance.account.put("site-latest.zip", site.zip()).await;
    let visitor = instance.visitor();
    (instance, visitor)
}

/// The same with an agent that serves it, and to which the domain leads.
async fn serving(site: &world::Site) -> (world::Instance, world::Visitor, world::Agent) {
    let (instance, visitor) = published(site).await;
    let mut agent = instance.start();
    agent.wait_until_serving(SOON).await;
    instance.wait_until_told(&mut agent, SOON).await;
    (instance, visitor, agent)
}

/// The front page of the site, if it is answered well.
async fn front(visitor: &world::Visitor) -> Option<String> {
    visitor.get("/").await.ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
}
