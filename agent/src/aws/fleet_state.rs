//! The hosts of a fleet, in numbers.

/// The fleet, as it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetState {
    /// How many hosts it is to have.
    pub target: u32,
    /// How many it has.
    pub members: u32,
    /// Whether it has carried out the last change of its target.
    pub settled: bool,
    /// How many it is to have at rest; none as long as that is not known.
    pub floor: Option<u32>,
    /// Whether leaving lowers the target in the same call, as in an Auto Scaling group; in the others it comes first.
    pub leaves_in_one: bool,
}

impl FleetState {
    /// Whether it can do with one host less, now. Leaving a group is not only being too many there: it takes the target along,
    /// which may have been lowered meanwhile, and would be below what the fleet has at rest.
    pub fn spares_one(&self) -> bool {
        if self.leaves_in_one {
            self.floor.is_some_and(|floor| self.target > floor && self.members > floor)
        } else {
            self.members > self.target
        }
    }
}
