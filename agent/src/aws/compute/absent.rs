//! The program of a first look: it asks neither EC2 nor Auto Scaling.

use super::{Association, Capacity, Compute, Ec2Instance, FleetService, LaunchTemplate, Settings, Tried};
use crate::{
    aws::{Aws, permission_outcome::PermissionOutcome},
    fault::Fault,
};

/// Refuses each call, with the cure.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Adapter;

impl Compute for Adapter {
    const IS_BUILT_IN: bool = false;

    fn new(_: &Aws) -> Adapter {
        Adapter
    }

    async fn instances(&self, _: &[String]) -> Result<Vec<Ec2Instance>, Fault> {
        Err(absent("asking EC2 for the hosts"))
    }

    async fn settings(&self, id: &str) -> Result<Option<Settings>, Fault> {
        Err(absent(&format!("asking EC2 how instance {id} was set up")))
    }

    async fn capacity(&self, _: &FleetService, doing: &str) -> Result<Option<Capacity>, Fault> {
        Err(absent(doing))
    }

    async fn members(&self, _: &FleetService, doing: &str) -> Result<Vec<String>, Fault> {
        Err(absent(doing))
    }

    async fn set_target(&self, _: &FleetService, _: i32, doing: &str) -> Result<(), Fault> {
        Err(absent(doing))
    }

    async fn end(&self, _: &FleetService, _: &str, _: bool, doing: &str) -> Result<(), Fault> {
        Err(absent(doing))
    }

    async fn association(&self, _: &str, doing: &str) -> Result<Option<Association>, Fault> {
        Err(absent(doing))
    }

    async fn associate(&self, _: &str, _: &str, _: bool, doing: &str) -> Result<bool, Fault> {
        Err(absent(doing))
    }

    async fn launch_templates(&self, _: &str, doing: &str) -> Result<Vec<LaunchTemplate>, Fault> {
        Err(absent(doing))
    }

    async fn attempt(&self, _: &str, _: &str, _: &str) -> Tried {
        Ok(PermissionOutcome::Untried("this program was built without the feature `fleet`"))
    }
}

fn absent(doing: &str) -> Fault {
    Fault::operator(
        doing,
        "this program was built without the feature `fleet`",
        "build it with the default features: cargo build --release",
    )
}
