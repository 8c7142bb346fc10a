//! Histories are drawn, and counted.

use std::cell::Cell;

use super::{
    Broken, CALM, END, Flaw, GIVE_UP, Kind, LONGEST_SPLIT, LOOK, NOTICE, SILENCE, Seconds,
    host::{Host, Life, OfPlace},
    world::World,
};

/// The first rule that is broken in history `seed`, with what led there.
fn broken(seed: u64, flaw: Flaw, kind: Kind) -> Option<String> {
    told(seed, flaw, kind, |world| {
        world.run_until(END)?;
        world.check_the_end()
    })
}

/// Lets `history` happen; what is broken in it is told when it happens once more. The seed comes first and last, as of a log
/// often only the one or the other end is kept.
fn told(seed: u64, flaw: Flaw, kind: Kind, history: impl Fn(&mut World) -> Result<(), Broken>) -> Option<String> {
    let _seed = Seed(seed);
    history(&mut World::new(seed, flaw, kind, false)).err()?;
    let mut world = World::new(seed, flaw, kind, true);
    let Err(Broken(what)) = history(&mut world) else { return Some(format!("SPOTHOST_SEED={seed} is not repeated")) };
    let what = format!("SPOTHOST_SEED={seed}, at {}: {what}", world.now);
    Some(format!("{what}\n{}\n{what}", world.told()))
}

/// Prints the seed of a history that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SPOTHOST_SEED={} has panicked", self.0);
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// The seeds of so many histories, unless the environment says otherwise.
fn seeds(many: u64) -> std::ops::Range<u64> {
    if let Some(seed) = number_from("SPOTHOST_SEED") {
        return seed..seed + 1;
    }
    let many = number_from("SPOTHOST_HISTORIES").unwrap_or(many);
    let first = fastrand::u64(..u64::MAX / 2);
    println!("{many} histories from SPOTHOST_SEED={first} on");
    first..first + many
}

fn none_is_broken(broken: Option<String>) {
    if let Some(what) = broken {
        panic!("{what}");
    }
}

#[test]
fn rules_hold_through_drawn_histories_of_faults() {
    none_is_broken(seeds(1000).find_map(|seed| broken(seed, Flaw::None, Kind::Faults)));
}

#[test]
fn rules_hold_through_drawn_histories_of_two_regions() {
    none_is_broken(seeds(1000).find_map(|seed| broken(seed, Flaw::None, Kind::Regions)));
}

/// Seeds of histories of two regions that broke a rule once. In the first a host had the names again after another, amid a split,
/// and a host of the other region took it for dead, since it had heard it before.
#[test]
fn histories_that_have_broken_a_rule_hold_it() {
    none_is_broken(broken(3_708_168_578_400_658_172, Flaw::None, Kind::Regions));
}

#[test]
fn hosts_of_two_regions_have_the_names_once_each_at_most() {
    for seed in seeds(300) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            // Of several that are younger than the one which does not hear the owner, each would follow it once.
            let split = world.dice.bool();
            let other = if split { 1 } else { world.dice.u32(1..4) };
            (world.fleets[1].target, world.fleets[1].rest) = (other, other);
            world.run_until(400)?;
            let owners = |world: &World| world.zone.claimed.as_ref().map(|claim| (claim.instance.clone(), claim.epoch));
            let before = owners(world);
            // Nothing happens to anybody, and in half of the histories they do not hear each other for a while.
            if split {
                world.split = world.now + LONGEST_SPLIT;
            }
            world.run_until(world.now + 3600)?;
            let (Some((owner, epoch)), Some((later, much_later))) = (before, owners(world)) else {
                return Err(Broken("nobody has the names".to_owned()));
            };
            if owner == later || (split && much_later == epoch + 1) {
                Ok(())
            } else {
                Err(Broken(format!("{owner} had them in epoch {epoch}, {later} in {much_later}")))
            }
        }));
    }
}

#[test]
fn releases_and_notices_cost_no_visitor_a_request() {
    none_is_broken(seeds(1000).find_map(|seed| broken(seed, Flaw::None, Kind::Releases)));
}

#[test]
fn host_that_is_killed_at_any_step_breaks_no_rule() {
    // A release and a notice, and somebody dies before each of their steps in turn.
    let history = |kill_at: Option<u64>| {
        move |world: &mut World| {
            world.kill_at = kill_at;
            world.run_until(300)?;
            world.release();
            world.run_until(420)?;
            if let Some(owner) = world.zone.owner().filter(|owner| world.hosts[owner].lives()) {
                world.announce(owner);
            }
            world.run_until(END)?;
            world.check_the_end()
        }
    };
    let seeds = seeds(1);
    let histories = ((seeds.end - seeds.start) / 1000).max(1);
    for seed in seeds.start..seeds.start + histories {
        let mut whole = World::new(seed, Flaw::None, Kind::Quiet, false);
        whole.run_until(1800).unwrap_or_else(|Broken(what)| panic!("SPOTHOST_SEED={seed}: {what}"));
        let steps = whole.steps;
        assert!(steps > 100, "{steps} steps are no history");
        for step in 1..=steps * 2 {
            none_is_broken(told(seed, Flaw::None, Kind::Quiet, history(Some(step))));
        }
    }
}

/// So many hosts at once, of an owner and its rivals, some of them launched in the same minute.
fn rivals(world: &mut World) -> u32 {
    let others = world.dice.u32(1..5);
    for _ in 0..others {
        world.launch(0);
        if world.dice.bool() {
            world.now += 60;
        }
    }
    world.fleets[0].target = others + 1;
    *world.hosts.keys().next_back().expect("some")
}

#[test]
fn newest_of_several_hosts_at_once_gets_the_names_and_they_stay_there() {
    let seeds = seeds(1000);
    let many = seeds.end - seeds.start;
    let most = Cell::new(0);
    for seed in seeds {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            let newest = rivals(world);
            for host in world.hosts.values_mut() {
                host.slow = if seed % 3 == 0 { 7 } else { 0 };
                host.slowest = host.slow;
            }
            let settled = world.now + 120 + 30 + 4 * 40;
            world.run_until(settled)?;
            let owner = world.zone.owner();
            let moved = world.zone.moved;
            if owner != Some(newest) {
                return Err(Broken(format!("{owner:?} has the names, and {newest} is the newest")));
            }
            most.set(world.hosts.values().map(|host| host.writes).fold(most.get(), u32::max));
            if most.get() > 2 {
                return Err(Broken("a host has moved the names more than twice".to_owned()));
            }
            world.run_until(settled + 600)?;
            if world.zone.moved != moved {
                return Err(Broken("the names moved again".to_owned()));
            }
            Ok(())
        }));
    }
    println!(
        "the newest won in {many} of {many} interleavings, with {} writes of one host at most, and no flap",
        most.get()
    );
}

#[test]
fn resurrected_owner_steals_nothing_and_notices_within_a_minute() {
    let seeds = seeds(1000);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            rivals(world);
            world.run_until(world.now + 400)?;
            let old = world.zone.owner().ok_or_else(|| Broken("nobody owns the names".to_owned()))?;
            world.stop_or_go_on(old);
            let stopped = world.dice.u64(SILENCE + 8 * LOOK + 60..900);
            world.run_until(world.now + stopped)?;
            let new = world.zone.owner();
            let writes = world.hosts[&old].writes;
            if new == Some(old) || new.is_none() {
                return Err(Broken(format!("{new:?} owns the names while {old} is stopped")));
            }
            world.stop_or_go_on(old);
            world.run_until(world.now + 60)?;
            if world.hosts[&old].believes() {
                return Err(Broken(format!("{old} still believes to be the owner")));
            }
            world.run_until(world.now + 900)?;
            if world.hosts[&old].writes == writes && world.zone.owner() != Some(old) {
                Ok(())
            } else {
                Err(Broken(format!("{old} took the names back")))
            }
        }));
    }
    println!("0 steals by {many} resurrected owners, each of which knew within a minute");
}

#[test]
fn lost_answers_leave_exactly_one_right_record() {
    let seeds = seeds(100);
    let many = seeds.end - seeds.start;
    for seed in seeds {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            world.loses_answers = true;
            let newest = rivals(world);
            world.run_until(world.now + 600)?;
            let owner = &world.hosts[&newest].facts;
            let claims = world.zone.records.iter().filter(|set| set.name.starts_with("_spothost")).count();
            let right = world.zone.records.len() == 2 && claims == 1 && world.zone.led_to() == owner.ipv4;
            if right && world.zone.owner() == Some(newest) {
                Ok(())
            } else {
                Err(Broken(format!("{:?}", world.zone.records)))
            }
        }));
    }
    println!("exactly one right record after {many} of {many} histories in which every answer was lost");
}

#[test]
fn outage_of_an_hour_costs_no_move_of_the_names() {
    for seed in seeds(100) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            rivals(world);
            world.run_until(world.now + 400)?;
            let owner = world.zone.owner();
            let moved = world.zone.moved;
            let hour: Seconds = 3600;
            world.zone.down = world.now + hour;
            world.run_until(world.now + hour + 120)?;
            let lives = owner.is_some_and(|owner| world.hosts[&owner].life == Life::Running);
            if lives && world.zone.owner() == owner && world.zone.moved == moved {
                Ok(())
            } else {
                Err(Broken("the names moved".to_owned()))
            }
        }));
    }
}

/// Lets a release go on until something is so, which is within half a history.
fn run_while(world: &mut World, goes_on: impl Fn(&World) -> bool) -> Result<(), Broken> {
    while goes_on(world) && world.now < END / 2 {
        world.run_until(world.now + 1)?;
    }
    Ok(())
}

#[test]
fn group_that_ends_the_owner_while_another_leaves_keeps_a_host() {
    for seed in seeds(300) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            world.fleets[0].is_group = true;
            world.run_until(300)?;
            world.release();
            run_while(world, |world| world.fleets[0].turn.is_none())?;
            let moment = world.dice.u64(0..8);
            world.run_until(world.now + moment)?;
            if let Some(owner) = world.zone.owner().filter(|_| world.fleets[0].target > 1) {
                world.fleets[0].target -= 1;
                world.die(owner);
            }
            world.run_until(END)?;
            world.check_the_end()
        }));
    }
}

/// A host of a group of two departs, and the other is one too many as soon as a third has come.
fn two_that_leave_at_once(world: &mut World) -> Result<(), Broken> {
    let fleet = &mut world.fleets[0];
    (fleet.is_group, fleet.target, fleet.rest) = (true, 2, 2);
    world.run_until(1800)?;
    let owner = world.zone.owner();
    let spare = world.living_in(0).find(|number| Some(*number) != owner);
    let (Some(owner), Some(spare)) = (owner, spare) else { return Err(Broken("two hosts rest".to_owned())) };
    world.announce(owner);
    // The spare one looks at the fleet for the first time when the other is about to give its place back.
    world.host(spare).place.1 = world.now + NOTICE - world.dice.u64(1..20);
    world.run_until(END)?;
    world.check_the_end()
}

#[test]
fn two_that_leave_a_group_at_once_lower_its_target_once() {
    for seed in seeds(300) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, two_that_leave_at_once));
    }
    let lowered_twice = (1..300).find_map(|seed| told(seed, Flaw::NoTurn, Kind::Quiet, two_that_leave_at_once));
    assert!(lowered_twice.is_some_and(|said| said.contains("rule 3")), "without turns some of them lower it twice");
}

#[test]
fn host_that_is_stopped_while_it_leaves_does_not_go_by_what_it_saw_before() {
    for seed in seeds(300) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            world.fleets[0].is_group = false;
            world.run_until(300)?;
            world.release();
            let about_to = |world: &World| {
                let ends = |host: &Host| {
                    host.lives() && matches!(&host.place.0, OfPlace::Corrects(steps) if steps.is_about_to_leave())
                };
                world.hosts.iter().find(|(_, host)| ends(host)).map(|(number, _)| *number)
            };
            run_while(world, |world| about_to(world).is_none())?;
            let (Some(leaving), Some(owner)) = (about_to(world), world.zone.owner()) else {
                return Err(Broken("nobody leaves".to_owned()));
            };
            world.stop_or_go_on(leaving);
            world.die(owner);
            world.run_until(world.now + 100)?;
            world.stop_or_go_on(leaving);
            world.run_until(END)?;
            world.check_the_end()
        }));
    }
}

/// A person may end a host in the moment in which another leaves upon a look that still counted it: the rule knows that moment.
#[test]
fn host_that_leaves_while_a_person_ends_a_mute_one_breaks_no_rule() {
    for seed in seeds(300) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            let fleet = &mut world.fleets[0];
            (fleet.is_group, fleet.target, fleet.rest) = (true, 2, 2);
            let moment = world.dice.u64(1..30);
            world.run_until(CALM - moment)?;
            // A release, whose host never speaks: the older one of the two leaves, while somebody mends what cannot mend itself.
            world.fleets[0].target = 3;
            launch_mute(world);
            world.run_until(END)?;
            world.check_the_end()
        }));
    }
}

/// Launches a host whose agent never starts.
fn launch_mute(world: &mut World) -> u32 {
    let number = world.launch(0);
    let host = world.host(number);
    (host.ready_at, host.mute) = (None, true);
    number
}

/// In a group the host that goes gives its own place back. If it could not, the one that has followed owes a place for good.
#[test]
fn owner_of_a_group_that_owes_a_place_ends_a_host_that_never_answers() {
    for seed in seeds(30) {
        none_is_broken(told(seed, Flaw::None, Kind::Quiet, |world| {
            world.fleets[0].is_group = true;
            world.run_until(300)?;
            let Some(first) = world.zone.owner() else { return Err(Broken("nobody owns the names".to_owned())) };
            world.announce(first);
            world.run_until(2100)?;
            world.check_the_end()?;
            world.fleets[0].target = 2;
            let mute = launch_mute(world);
            world.run_until(world.now + 2 * GIVE_UP + 600)?;
            if world.hosts[&mute].lives() {
                return Err(Broken(format!("the owner does not end i-{mute:04}, which has never answered")));
            }
            world.run_until(END)?;
            world.check_the_end()
        }));
    }
}

#[test]
fn rules_catch_what_is_left_out_on_purpose() {
    let table = [
        (Flaw::NoFencing, Kind::Faults, "rule 2"),
        (Flaw::NameFirst, Kind::Faults, "rule 4"),
        (Flaw::LeavesAtOnce, Kind::Releases, "rule 5"),
        (Flaw::TakesBack, Kind::Faults, "rule 2"),
        (Flaw::LeavesBelowTarget, Kind::Faults, "rule 3"),
        (Flaw::KeepsPlaces, Kind::Faults, "rule 3"),
        (Flaw::NoGuard, Kind::Faults, "rule 6"),
        (Flaw::UnknownIsGone, Kind::Regions, "rule 2"),
        (Flaw::UnknownIsGone, Kind::Faults, "rule 2"),
        (Flaw::NeverDoubts, Kind::Regions, "rule 8"),
        (Flaw::TakesAnothersTarget, Kind::Regions, "rule 3"),
    ];
    for (flaw, kind, rule) in table {
        let caught = (1..2000).find_map(|seed| broken(seed, flaw, kind));
        let caught = caught.unwrap_or_else(|| panic!("{flaw:?} is not caught"));
        assert!(caught.contains(rule), "{flaw:?} is caught as something else: {caught}");
    }
}
