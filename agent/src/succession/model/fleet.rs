//! The fleet that starts hosts, and what hosts take turns by.

use super::Seconds;
use crate::aws::FleetState;

/// A fleet: a Spot Fleet or EC2 Fleet, or an Auto Scaling group.
pub(super) struct Fleet {
    pub(super) target: u32,
    /// How many it has at rest.
    pub(super) rest: u32,
    /// A group: leaving lowers the target in the same call, and a lowered target ends hosts of its own choice.
    pub(super) is_group: bool,
    /// It is being modified until then.
    pub(super) settles: Seconds,
    /// When the hosts come that it has asked for.
    pub(super) launches: Vec<Seconds>,
    /// How long a host may take until it is launched.
    pub(super) slowest: Seconds,
    /// Whose turn to leave it is, and until when.
    pub(super) turn: Option<(u32, Seconds)>,
    /// When successors were asked for early.
    pub(super) early: Vec<Seconds>,
    /// When hosts had themselves replaced.
    pub(super) replaced: Vec<Seconds>,
}

/// The MinSize of a group.
const LEAST: u32 = 1;
/// As the keeper has them.
const TURN: Seconds = 180;
const HOUR: Seconds = 3600;
const DAY: Seconds = 24 * 3600;

impl Fleet {
    /// One that has so many hosts at `rest`.
    pub(super) fn new(is_group: bool, rest: u32) -> Fleet {
        Fleet {
            target: rest,
            rest,
            is_group,
            settles: 0,
            launches: Vec::new(),
            slowest: 90,
            turn: None,
            early: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Lowers a group's target with a host that leaves, unless it is the group's MinSize, which EC2 Auto Scaling refuses to go
    /// below (TerminateInstanceInAutoScalingGroup). The others have lowered it before.
    pub(super) fn gives_back_a_place(&mut self) -> bool {
        if self.is_group && self.target > LEAST {
            self.target -= 1;
            return true;
        }
        !self.is_group
    }

    /// What a host sees of it.
    pub(super) fn seen(&self, members: u32, now: Seconds) -> FleetState {
        let settled = now >= self.settles;
        FleetState { target: self.target, members, settled, floor: None, leaves_in_one: self.is_group }
    }

    /// Whether it is that host's turn to leave now; that of one that is gone is over.
    pub(super) fn take_turn(&mut self, number: u32, holder_lives: bool, now: Seconds) -> bool {
        match self.turn {
            Some((holder, until)) if holder != number && now < until && holder_lives => false,
            _ => {
                self.turn = Some((number, now + TURN));
                true
            }
        }
    }

    /// Whether a successor may be asked for early, now.
    pub(super) fn take_the_hours_turn(&mut self, guarded: bool, now: Seconds) -> bool {
        let may = !guarded || self.early.last().is_none_or(|last| now >= last + HOUR);
        if may {
            self.early.push(now);
        }
        may
    }

    /// Whether one of so many replacements a day is left.
    pub(super) fn spend_a_replacement(&mut self, many: u32, now: Seconds) -> bool {
        let spent = self.replaced.iter().filter(|at| now < **at + DAY).count();
        let may = u32::try_from(spent).is_ok_and(|spent| spent < many);
        if may {
            self.replaced.push(now);
        }
        may
    }
}
