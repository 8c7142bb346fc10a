//! The ground that the agent stands on: the unit, the launch template with its user data, and the example repository.
//!
//! Nothing of it is compiled, so this is where it is held to what it says: by systemd's own reading, by EC2's own model,
//! by running the real script against the world, and by running every command of launch-template/README.md.

mod bucket;
mod delivery;
mod example;
mod host;
mod layers;
mod plan;
mod release;
mod stack;
mod template;
mod unit;
mod upgrade;
mod user_data;
mod walk;
