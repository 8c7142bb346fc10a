//! Each call that changes something on the disk fails once: the site stays whole, and the next look heals it.

use std::time::Duration;

use world::{Agent, DiskFault, Fault, FaultyDisk, Instance, Rule, Service, Site, Visitor};

use crate::{SOON, published};

const FAULTS: [DiskFault; 3] = [DiskFault::Full, DiskFault::Broken, DiskFault::ReadOnly];
/// A swap makes more changes than these on the disk, or the library counts nothing.
const FEWEST: u32 = 8;

/// A host whose disk may fail, and the number of the package that it serves.
struct Trial {
    instance: Instance,
    visitor: Visitor,
    disk: FaultyDisk,
    agent: Agent,
    number: u32,
}

/// Whether every point is tried with every fault, and not each with one of them.
fn all() -> bool {
    std::env::var_os("SPOTHOST_ALL_DISK_FAULTS").is_some()
}

fn site(number: u32) -> Site {
    // Several pieces of a download, of which each is a write of its own.
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(300 << 10).collect();
    Site::titled(&format!("number {number}")).with("noise.bin", noise)
}

impl Trial {
    async fn begin() -> Trial {
        let (mut instance, visitor) = published(&site(0)).await;
        let disk = FaultyDisk::of(&mut instance);
        let mut agent = instance.start();
        agent.wait_until_serving(SOON).await;
        instance.wait_until_told(&mut agent, SOON).await;
        assert!(disk.calls() > i64::from(FEWEST), "{} calls are counted", disk.calls());
        Trial { instance, visitor, disk, agent, number: 0 }
    }

    /// Publishes the next one; its entity tag.
    async fn publish(&mut self) -> String {
        self.number += 1;
        self.instance.account.put("site-latest.zip", site(self.number).zip()).await
    }

    /// The number of the package that is shown, which is this one or the one before it.
    async fn shown(&self) -> u32 {
        let answer = self.visitor.get("/").await.expect("an answer at any time");
        assert_eq!(answer.status, 200, "the site stays");
        let page = answer.text();
        let shown =
            [self.number, self.number - 1].into_iter().find(|number| page.contains(&format!("number {number}<")));
        shown.unwrap_or_else(|| panic!("{page}"))
    }

    /// Waits until the one that was published last is shown.
    async fn heals(&mut self) {
        let begun = std::time::Instant::now();
        while self.shown().await != self.number {
            assert!(!self.agent.has_ended(), "{}", self.agent.last_lines());
            assert!(begun.elapsed() < 2 * SOON, "number {} never comes\n{}", self.number, self.agent.last_lines());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_write_fails_the_site_stays_and_the_next_look_heals_it() {
    let mut trial = Trial::begin().await;
    for (index, fault) in FAULTS.into_iter().enumerate() {
        let (mut point, stride) = if all() { (1, 1) } else { (1 + index as u32, FAULTS.len() as u32) };
        loop {
            trial.disk.fail(point, fault, false);
            let etag = trial.publish().await;
            trial.heals().await;
            let verdict = trial.instance.account.verdict(&etag).await;
            assert!(verdict.is_none_or(|verdict| verdict["verdict"] != "refused"), "the package is not to blame");
            // What cleans up after a swap changes the disk, too.
            trial.instance.wait_until_told(&mut trial.agent, SOON).await;
            if trial.disk.failed() == 0 {
                break;
            }
            point += stride;
        }
        println!("{fault:?}: a swap has {} points", point - 1);
        assert!(point > FEWEST, "only {point} points were found");
    }
    trial.disk.mend();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_that_is_killed_on_a_disk_that_fails_from_some_write_on_starts_with_a_whole_site() {
    let mut trial = Trial::begin().await;
    let stride = if all() { 1 } else { 3 };
    let mut point = 1;
    let down = || Rule::new(Fault::Reset).of(Service::S3);
    loop {
        trial.disk.fail(point, FAULTS[(point / stride) as usize % FAULTS.len()], true);
        trial.publish().await;
        let begun = std::time::Instant::now();
        while trial.disk.failed() == 0 && trial.shown().await != trial.number {
            assert!(begun.elapsed() < SOON, "{}", trial.agent.last_lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let over = trial.disk.failed() == 0;
        trial.shown().await;
        trial.agent.signal(nix::sys::signal::Signal::SIGKILL);
        while !trial.agent.has_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        // What it finds on the disk is all that it has.
        trial.disk.mend();
        trial.instance.aws.add(down());
        trial.agent = trial.instance.start();
        let visitor = trial.instance.visitor();
        trial.agent.wait_for("a site from the disk", SOON, async |_| crate::front(&visitor).await.is_some()).await;
        trial.shown().await;
        trial.instance.aws.lift();
        trial.heals().await;
        if over {
            break;
        }
        point += stride;
    }
    println!("killed at {point} points");
    assert!(point > FEWEST, "only {point} points were found");
}
