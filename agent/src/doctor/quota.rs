//! Whether the account may have as many spot instances as a replacement takes.

use super::{Case, Line, Subject};
use crate::{aws::quota, claim::Claim};

/// What the smallest types have: t3.nano, t4g.nano (Amazon EC2 User Guide, "Burstable performance instances").
const PROCESSORS: u32 = 2;

/// Asks, unless this is a host: its role has no such right.
pub(super) async fn examined(case: &Case<'_>, claim: Option<&Claim>) -> Vec<Line> {
    let Some(aws) = case.aws.as_ref().filter(|_| !case.is_the_host() && case.config.zone.is_some()) else {
        return Vec::new();
    };
    let target = case.config.fleet.target.or(claim.and_then(|claim| claim.target)).unwrap_or(1);
    vec![match quota::of_spot_instances(aws).await {
        Ok(quota) => judged(quota, target),
        Err(fault) => Line::unseen(Subject::Quota, &fault),
    }]
}

/// While one host follows another, there is one more.
fn judged(quota: u32, target: u32) -> Line {
    let needed = (target + 1).saturating_mul(PROCESSORS);
    if quota >= needed {
        Line::ok(Subject::Quota, format!("spot instances may have {quota} processors, and {needed} are enough"))
    } else {
        Line::wrong(
            Subject::Quota,
            format!("spot instances may have {quota} processors, and {} hosts with a successor take {needed}", target),
            format!(
                "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-34B43A08 --desired-value {needed}"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn quota_has_to_hold_a_successor_too() {
        for (quota, target, is) in [
            (4, 1, LineState::Ok),
            (3, 1, LineState::Wrong),
            (0, 1, LineState::Wrong),
            (5, 2, LineState::Wrong),
            (6, 2, LineState::Ok),
        ] {
            assert_eq!(judged(quota, target).is, is, "{quota} {target}");
        }
    }
}
