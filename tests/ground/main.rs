//! The ground that the agent stands on: the unit, the launch template with its user data, and the example site.
//!
//! Nothing of it is compiled, so this is where it is held to what it says: by systemd's own reading, by EC2's own model,
//! by running the real script against the world, and by running every command of launch-template/README.md.

#[path = "ground/bucket.rs"]
mod bucket;
#[path = "ground/delivery.rs"]
mod delivery;
#[path = "ground/example.rs"]
mod example;
#[path = "ground/host.rs"]
mod host;
#[path = "ground/release.rs"]
mod release;
#[path = "ground/rendering.rs"]
mod rendering;
#[path = "ground/stack.rs"]
mod stack;
#[path = "ground/template.rs"]
mod template;
#[path = "ground/tools.rs"]
mod tools;
#[path = "ground/unit.rs"]
mod unit;
#[path = "ground/upgrade.rs"]
mod upgrade;
#[path = "ground/user_data.rs"]
mod user_data;
#[path = "ground/walk.rs"]
mod walk;
