//! The processes that packages bring: their programs are unpacked, started, watched and ended.
//!
//! A process is a child of this program, or of another instance of it: the **runner**, which systemd starts for each connection
//! to `spothost-app.socket`, in a unit with an account, a control group and a wall of its own. The agent asks for everything, the
//! runner decides nothing but what only it can see: whether the wall stands, and how the process ended.
//!
//! ```text
//!   agent ──► child ──► the program                                             (`spothost up`, no wall)
//!   agent ── connection ──► runner ──► child ──► the program                    (a host of EC2)
//!             orders ──►    ◄── reports    (wire)
//! ```

// The runner: it carries out the orders of one connection, and ends with it.
pub(crate) mod runner;
// Orders and reports, and the connection that they travel over.
pub(crate) mod channel;
pub(crate) mod wire;
// A process and all that it has started.
pub(crate) mod child;
// The control groups of a runner and its process.
mod cgroup;
// Whether the credentials of the instance are out of reach.
pub(crate) mod wall;
// The last lines that a process wrote.
pub(crate) mod output;
// How much memory a process takes, and how much there is.
pub(crate) mod memory;
// How much of the disk a process may take.
mod disk;
// Programs on disk.
mod tree;

pub use tree::{Trees, UnpackError, unpack_site};
pub use wire::HowEnded;
