//! The runner of all keepers: a time limit around each look and each correction, the result verified by looking again, back-off,
//! panics caught and reported, one report on the board.

use std::{any::Any, convert::Infallible, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{Ended, Judgement, Keeper, Kept, Pace, Yields};
use crate::{
    chance,
    fault::{Cure, Fault, jittered},
    status::{Reporter, Shutdown, Spent},
};

/// The longest pause before it is tried again.
const DEPART_AGAIN: Duration = Duration::from_secs(5);

/// Runs `keeper` while the host stays, reporting on `place`; what it holds is sent to `yields`.
///
/// Once the host departs nothing is started any more and what is under way is abandoned: a departing host changes
/// nothing outside itself, but for what its departure is for ([`Keeper::depart`]). If it stays after all, the keeper begins
/// anew.
pub async fn keep<K: Keeper>(
    mut keeper: K,
    place: Reporter,
    yields: Yields<K::Held>,
    mut departing: watch::Receiver<Option<Shutdown>>,
) {
    // The yield stays meanwhile: what is held is served until the drain is over.
    loop {
        tokio::select! {
            biased;
            () = until(&mut departing, Option::is_some) => {}
            () = keep_on(&mut keeper, &place, &yields) => {}
        }
        place.rests();
        tokio::select! {
            biased;
            () = until(&mut departing, Option::is_none) => {}
            () = depart(&mut keeper, &place, &yields) => {}
        }
        until(&mut departing, Option::is_none).await;
        yields.departed.send_replace(false);
    }
}

/// Lets `keeper` do what it does when the host departs, again and again until it is done.
async fn depart<K: Keeper>(keeper: &mut K, place: &Reporter, yields: &Yields<K::Held>) {
    let mut tries = 0;
    while let Err(fault) = guarded(within(K::DEPARTS_WITHIN, "departing", keeper.depart())).await {
        tries += 1;
        let pause = fault.spread(fault.pause(tries).min(DEPART_AGAIN), chance::fraction());
        place.failed(&fault, tries, pause);
        sleep(pause).await;
    }
    yields.departed.send_replace(true);
}

/// Resolves once it is so; never, where the sender is gone.
async fn until(departing: &mut watch::Receiver<Option<Shutdown>>, so: impl FnMut(&Option<Shutdown>) -> bool) {
    if departing.wait_for(so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn keep_on<K: Keeper>(keeper: &mut K, place: &Reporter, yields: &Yields<K::Held>) {
    if let Some(held) = keeper.remembered().await {
        place.holds(&K::holding(&held));
        hold::<K>(held, place, yields);
    }
    let mut tries = 0;
    loop {
        let pace = keeper.pace();
        let judged = guarded(round(keeper, place, yields)).await;
        tries = match &judged {
            Ok(Judgement::Kept(_) | Judgement::StandsAside(_) | Judgement::Waits(_)) => 0,
            _ => tries + 1,
        };
        let (pause, ended) = match judged {
            Ok(Judgement::Kept(held)) => {
                place.kept(&K::holding(&held), K::notes(&held), pace.look);
                hold::<K>(held, place, yields);
                (jittered(pace.look, chance::fraction()), Ended::Well)
            }
            Ok(Judgement::Waits(need)) => {
                place.waits(&need);
                (pace.look, Ended::Waiting)
            }
            Ok(Judgement::StandsAside(held)) => {
                place.stands_aside(&K::holding(&held), pace.look);
                hold::<K>(held, place, yields);
                (jittered(pace.look, chance::fraction()), Ended::Aside)
            }
            Ok(Judgement::Refused(fault)) => {
                place.failed(&fault, tries, pace.look);
                (jittered(pace.look, chance::fraction()), Ended::Failed)
            }
            Ok(Judgement::KeptDespite { held, fault }) => {
                place.holds(&K::holding(&held));
                hold::<K>(held, place, yields);
                place.failed(&fault, tries, pace.look);
                (jittered(pace.look, chance::fraction()), Ended::Despite)
            }
            Ok(Judgement::Unseen { held, fault }) => {
                place.holds(&K::holding(&held));
                hold::<K>(held, place, yields);
                (failed(&fault, tries, pace, place), Ended::Failed)
            }
            Ok(Judgement::Drifted { drift, .. }) => match drift {},
            Err(fault) => (failed(&fault, tries, pace, place), Ended::Failed),
        };
        yields.end(ended);
        place.moves_within(pause);
        tokio::select! {
            () = sleep(pause) => {}
            () = keeper.woken() => {}
        }
    }
}

/// Yields what is held, and tells what the host is by that.
fn hold<K: Keeper>(held: K::Held, place: &Reporter, yields: &Yields<K::Held>) {
    if let Some((role, why)) = K::role(&held) {
        place.role(role, why);
    }
    yields.hold(held);
}

/// Tells of a round that failed for the `tries`th time in a row; the pause before the next one.
fn failed(fault: &Fault, tries: u32, pace: Pace, place: &Reporter) -> Duration {
    let longest = if fault.cure == Cure::Retry { pace.longest_pause } else { Duration::MAX };
    let pause = fault.spread(fault.pause(tries).min(longest), chance::fraction());
    place.failed(fault, tries, pause);
    pause
}

/// Look, compare, correct, and look again; a correction that a second look does not find is a fault.
async fn round<K: Keeper>(
    keeper: &mut K,
    place: &Reporter,
    yields: &Yields<K::Held>,
) -> Result<Judgement<K::Held, Infallible>, Fault> {
    if let Some(need) = keeper.lacks() {
        return Ok(Judgement::Waits(need));
    }
    let drift = match compared(keeper, place, yields).await? {
        Ok(settled) => return Ok(settled),
        Err(drift) => drift,
    };
    let what = K::drifting(&drift);
    tracing::info!("{}: {what}", K::PART);
    place.doing(Spent::Correcting, what.as_str());
    place.moves_within(keeper.pace().converge);
    let progress = keeper.progress();
    let converged = within(keeper.pace().converge, &what, keeper.converge(drift));
    tokio::select! {
        converged = converged => converged?,
        () = tell_progress(place, progress) => {}
    }
    // What was done is held, though something else may be wanted by now.
    match compared(keeper, place, yields).await? {
        Ok(settled) => Ok(settled),
        Err(drift) => Err(Fault::retry(what, format!("it was done, but a second look finds: {}", K::drifting(&drift)))),
    }
}

/// Looks, and says what there is to correct. What is held meanwhile is yielded.
async fn compared<K: Keeper>(
    keeper: &mut K,
    place: &Reporter,
    yields: &Yields<K::Held>,
) -> Result<Result<Judgement<K::Held, Infallible>, K::Drift>, Fault> {
    Ok(look(keeper, place).await?.settled().map_err(|(drift, meanwhile)| {
        if let Some(held) = meanwhile {
            place.holds(&K::holding(&held));
            hold::<K>(held, place, yields);
        }
        drift
    }))
}

async fn look<K: Keeper>(keeper: &mut K, place: &Reporter) -> Result<Judgement<K::Held, K::Drift>, Fault> {
    place.doing(Spent::Looking, "looking");
    place.moves_within(keeper.pace().observe);
    let seen = within(keeper.pace().observe, "looking", keeper.observe()).await?;
    Ok(keeper.judge(seen))
}

/// Puts how far a correction has come on the board, and never ends.
async fn tell_progress(place: &Reporter, progress: Option<Kept<String>>) {
    if let Some(mut progress) = progress {
        while progress.changed().await.is_ok() {
            if let Some(told) = progress.borrow_and_update().clone() {
                place.goes_on(told);
            }
        }
    }
    std::future::pending().await
}

/// Carries out `step`, which is a fault if it comes to no end within `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    doing: &str,
    step: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout(limit, step).await {
        Ok(done) => done,
        Err(_) => Err(Fault::retry(doing, format!("timed out after {} s", limit.as_secs()))),
    }
}

/// A panic in a keeper is a defect of ours: said, and survived.
async fn guarded<T>(step: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(done) => done,
        Err(panic) => Err(Fault::retry("one round", format!("a defect of spothost: {}", words_of(&*panic)))),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        keeper::{Yield, yields},
        status::{Board, Part, PartPhase, Role, Status},
    };

    /// A resource that should read 7, and what happens when it is looked at.
    #[derive(Default)]
    struct World {
        value: u32,
        looks: u32,
        writes: u32,
        faults: Vec<Fault>,
        stuck: bool,
        hangs: bool,
        panics: bool,
        /// What keeps it from departing, and how often it has departed.
        stays: Vec<Fault>,
        departures: u32,
    }

    struct Seven(Arc<Mutex<World>>);

    impl Keeper for Seven {
        type Observation = u32;
        type Drift = u32;
        type Held = u32;
        const PART: Part = Part::Address;

        fn pace(&self) -> Pace {
            let seconds = Duration::from_secs;
            Pace { look: seconds(10), observe: seconds(2), converge: seconds(4), longest_pause: seconds(60) }
        }

        async fn observe(&mut self) -> Result<u32, Fault> {
            let hangs = {
                let mut world = self.0.lock().expect("unpoisoned");
                world.looks += 1;
                if let Some(fault) = world.faults.pop() {
                    return Err(fault);
                }
                world.hangs
            };
            if hangs {
                std::future::pending::<()>().await;
            }
            let panics = std::mem::take(&mut self.0.lock().expect("unpoisoned").panics);
            assert!(!panics, "the sky fell");
            Ok(self.0.lock().expect("unpoisoned").value)
        }

        fn judge(&self, seen: u32) -> Judgement<u32, u32> {
            match seen {
                7 => Judgement::Kept(7),
                8 => Judgement::Unseen { held: 8, fault: Fault::retry("looking further", "connection refused") },
                other => Judgement::Drifted { drift: other, meanwhile: None },
            }
        }

        async fn converge(&mut self, _: u32) -> Result<(), Fault> {
            let mut world = self.0.lock().expect("unpoisoned");
            world.writes += 1;
            if !world.stuck {
                world.value = 7;
            }
            Ok(())
        }

        async fn depart(&mut self) -> Result<(), Fault> {
            let mut world = self.0.lock().expect("unpoisoned");
            if let Some(fault) = world.stays.pop() {
                return Err(fault);
            }
            world.departures += 1;
            Ok(())
        }

        fn role(held: &u32) -> Option<(Role, &str)> {
            (*held == 8).then_some((Role::Standby, "it reads 8"))
        }

        fn holding(held: &u32) -> String {
            held.to_string()
        }

        fn drifting(drift: &u32) -> String {
            format!("{drift} is not 7")
        }
    }

    struct Running {
        world: Arc<Mutex<World>>,
        board: Board,
        held: Kept<u32>,
        ended: watch::Receiver<Ended>,
        departed: watch::Receiver<bool>,
        depart: watch::Sender<Option<Shutdown>>,
    }

    impl Running {
        fn start(world: World) -> Running {
            let world = Arc::new(Mutex::new(world));
            let board = Board::new("www.example.org");
            let (yields, Yield { held, ended, departed }) = yields();
            let (depart, departing) = watch::channel(None);
            let place = board.place(Part::Address, &[]);
            tokio::spawn(keep(Seven(world.clone()), place, yields, departing));
            Running { world, board, held, ended, departed, depart }
        }

        async fn after(&self, seconds: u64) -> Status {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            self.board.watch().borrow().clone()
        }

        fn counts(&self) -> (u32, u32) {
            let world = self.world.lock().expect("unpoisoned");
            (world.looks, world.writes)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn drift_is_corrected_once_and_verified_by_a_second_look() {
        let running = Running::start(World::default());
        let status = running.after(1).await;
        assert_eq!(running.counts(), (2, 1));
        assert_eq!(status.parts[0].phase, PartPhase::Kept);
        assert_eq!(*running.held.borrow(), Some(7));
        assert_eq!(*running.ended.borrow(), Ended::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn steady_state_looks_at_its_pace_and_writes_nothing() {
        let running = Running::start(World { value: 7, ..World::default() });
        running.after(1000).await;
        let (looks, writes) = running.counts();
        assert!((80..=126).contains(&looks), "{looks} looks in 100 paces");
        assert_eq!(writes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn value_changed_by_hand_is_changed_back_at_the_next_look() {
        let running = Running::start(World::default());
        running.after(1).await;
        running.world.lock().expect("unpoisoned").value = 3;
        running.after(13).await;
        assert_eq!(running.world.lock().expect("unpoisoned").value, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn dependant_is_not_woken_by_a_look_that_finds_the_same() {
        let mut running = Running::start(World::default());
        running.after(1).await;
        running.held.borrow_and_update();
        running.after(100).await;
        assert!(!running.held.has_changed().expect("the keeper runs"));
    }

    #[tokio::test(start_paused = true)]
    async fn correction_without_effect_is_a_fault_and_backs_off() {
        let running = Running::start(World { stuck: true, ..World::default() });
        let status = running.after(600).await;
        let fault = status.parts[0].fault.as_ref().expect("a fault");
        assert!(fault.said.contains("a second look finds: 0 is not 7"), "{}", fault.said);
        assert!((8..30).contains(&running.counts().1), "{:?}", running.counts());
    }

    #[tokio::test(start_paused = true)]
    async fn look_that_hangs_is_cut_reported_and_tried_again() {
        let running = Running::start(World { hangs: true, ..World::default() });
        let status = running.after(3).await;
        assert_eq!(status.parts[0].fault.as_ref().map(|f| f.said.as_str()), Some("timed out after 2 s"));
        running.world.lock().expect("unpoisoned").hangs = false;
        assert_eq!(running.after(10).await.parts[0].phase, PartPhase::Kept);
    }

    #[tokio::test(start_paused = true)]
    async fn panic_is_reported_and_survived() {
        let running = Running::start(World { panics: true, value: 7, ..World::default() });
        let status = running.after(5).await;
        assert_eq!(status.parts[0].phase, PartPhase::Kept);
        let fault = status.parts[0].fault.as_ref().expect("a fault");
        assert_eq!((fault.said.as_str(), fault.tries), ("a defect of spothost: the sky fell", 0));
    }

    #[tokio::test(start_paused = true)]
    async fn fault_keeps_what_was_yielded_and_the_part_degrades() {
        let running = Running::start(World { value: 7, ..World::default() });
        running.after(1).await;
        let denied = Fault::operator("looking", "AccessDenied", "allow it");
        running.world.lock().expect("unpoisoned").faults = vec![denied; 400];
        let status = running.after(60).await;
        let part = &status.parts[0];
        assert_eq!(part.phase, PartPhase::Degraded);
        assert_eq!(part.fault.as_ref().map(|f| f.cure), Some(Cure::Operator));
        assert_eq!(*running.held.borrow(), Some(7));
        assert_eq!(*running.ended.borrow(), Ended::Failed);
        running.world.lock().expect("unpoisoned").faults.clear();
        running.after(1_000).await;
        assert_eq!(*running.ended.borrow(), Ended::Well, "a later round went well");
    }

    #[tokio::test(start_paused = true)]
    async fn departing_host_looks_and_corrects_no_more() {
        let running = Running::start(World::default());
        running.after(1).await;
        running.depart.send_replace(Some(Shutdown::by_signal("SIGTERM")));
        running.after(1).await;
        let before = running.counts();
        running.world.lock().expect("unpoisoned").value = 3;
        running.after(1000).await;
        assert_eq!(running.counts(), before);
        assert_eq!(*running.held.borrow(), Some(7), "what is held is still served");
    }

    #[tokio::test(start_paused = true)]
    async fn host_that_stays_after_all_looks_again() {
        let running = Running::start(World::default());
        running.after(1).await;
        running.depart.send_replace(Some(Shutdown::by_signal("SIGTERM")));
        running.after(100).await;
        running.world.lock().expect("unpoisoned").value = 3;
        running.depart.send_replace(None);
        running.after(1).await;
        assert_eq!(running.world.lock().expect("unpoisoned").value, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn look_that_came_to_less_yields_what_is_held_and_is_made_again_soon() {
        let running = Running::start(World { value: 8, ..World::default() });
        let status = running.after(3).await;
        assert_eq!((status.parts[0].phase, *running.held.borrow()), (PartPhase::Degraded, Some(8)));
        assert_eq!((*running.ended.borrow(), status.role), (Ended::Failed, Role::Standby));
        assert!(running.world.lock().expect("unpoisoned").looks >= 3, "as after any fault");
    }

    #[tokio::test(start_paused = true)]
    async fn keeper_does_what_its_departure_is_for_once_and_until_it_is_done() {
        let running = Running::start(World::default());
        running.after(1).await;
        let denied = Fault::operator("departing", "AccessDenied", "allow it");
        running.world.lock().expect("unpoisoned").stays = vec![denied; 12];
        running.depart.send_replace(Some(Shutdown::by_signal("SIGTERM")));
        let status = running.after(10).await;
        assert_eq!(status.parts[0].fault.as_ref().map(|fault| fault.said.as_str()), Some("AccessDenied"));
        assert!(!*running.departed.borrow());
        running.after(50).await;
        assert!(*running.departed.borrow(), "a person who denies it is not waited for: it is tried every few seconds");
        running.after(1000).await;
        assert_eq!(running.world.lock().expect("unpoisoned").departures, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn host_that_stays_after_all_departs_no_more_and_anew_when_it_goes() {
        let running = Running::start(World::default());
        let denied = Fault::operator("departing", "AccessDenied", "allow it");
        running.world.lock().expect("unpoisoned").stays = vec![denied; 1000];
        running.depart.send_replace(Some(Shutdown::by_signal("SIGTERM")));
        running.after(10).await;
        running.depart.send_replace(None);
        running.after(1).await;
        running.world.lock().expect("unpoisoned").stays.clear();
        let status = running.after(100).await;
        assert_eq!(status.parts[0].phase, PartPhase::Kept);
        assert_eq!(running.world.lock().expect("unpoisoned").departures, 0);
        for departures in 1..=2 {
            running.depart.send_replace(Some(Shutdown::by_signal("SIGTERM")));
            running.after(1).await;
            assert!(*running.departed.borrow());
            running.depart.send_replace(None);
            running.after(1).await;
            assert!(!*running.departed.borrow(), "it stays");
            assert_eq!(running.world.lock().expect("unpoisoned").departures, departures);
        }
    }
}
