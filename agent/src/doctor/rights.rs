//! What the hosts may do: tried on a host, and elsewhere reckoned by IAM for the role of the hosts.

use futures_util::{StreamExt as _, stream};

use super::{Case, Line, Subject};
use crate::{
    aws::{
        Aws,
        permission_probe::{PermissionOutcome, PermissionProbe, SECRETS_MANAGERS},
        simulation::{Question, denied},
    },
    fault::Fault,
    place::PackagePlace,
    policy::{Audience, OF_A_ROLE, Policy, ResourceLocation},
};

/// So many questions are under way at once: IAM answers few a second.
const AT_ONCE: usize = 4;

/// The findings on one statement of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StatementFindings {
    denied: Vec<String>,
    /// Why, and what.
    untried: Vec<(&'static str, String)>,
    failed: Option<Fault>,
}

/// Asks for every statement of the policy that the configuration needs.
pub(super) async fn examined(case: &Case<'_>) -> Vec<Line> {
    let (Some(aws), Some(caller)) = (&case.aws, &case.caller) else { return Vec::new() };
    let (ground, prefix) = match &case.config.package {
        PackagePlace::Bucket(bucket) => (Some(bucket.bucket.clone()), bucket.prefix.as_str()),
        PackagePlace::Disk(_) => (None, ""),
    };
    let region = aws.region();
    let place = ResourceLocation { region, account: caller.account.clone(), ground, ..ResourceLocation::default() };
    let policy = Policy::new(case.config, &place, Audience::Host);
    let mut lines: Vec<Line> = size_judged(policy.size()).into_iter().collect();
    let questions = policy.questions();
    let mend = |role: &str| {
        format!(
            "spothost policy --region {} --account {}{} >host-policy.json; aws iam put-role-policy --role-name {role} \
             --policy-name host --policy-document file://host-policy.json",
            place.region,
            place.account,
            case.same_configuration()
        )
    };
    if case.is_the_host() {
        let (role, instance) = caller.session().unwrap_or_default();
        let attempts = PermissionProbe::new(aws, instance, prefix);
        let asked = questions.into_iter().map(async |(sid, questions)| (sid, tried(&attempts, &questions).await));
        let found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        lines.extend(found.into_iter().map(|(sid, found)| judged(sid, &found, &mend(role))));
        return lines;
    }
    let Some(role) = &case.told.role else {
        let said = "this machine is not a host, so the permissions of hosts cannot be tried here";
        let mend = "let IAM evaluate them: spothost doctor --role ROLE-OF-THE-HOSTS";
        lines.push(Line::warning(Subject::Rights, said, mend));
        return lines;
    };
    let name = role.rsplit('/').next().unwrap_or(role);
    let arn = if role.starts_with("arn:") {
        role.clone()
    } else {
        format!("arn:{}:iam::{}:role/{role}", place.partition(), place.account)
    };
    let asked = questions.into_iter().map(async |(sid, questions)| (sid, reckoned(aws, &arn, &questions).await));
    let found: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    // What keeps one question from being answered keeps all of them.
    if let Some(fault) = found.iter().find_map(|(_, found)| found.failed.as_ref()) {
        lines.push(Line::unseen(Subject::Rights, fault));
        return lines;
    }
    lines.extend(found.into_iter().map(|(sid, found)| judged(sid, &found, &mend(name))));
    lines
}

/// A policy of so many characters does not fit into a role, or hardly; nothing where it does.
fn size_judged(size: usize) -> Option<Line> {
    let said = format!("the policy of the hosts has {size} characters, and a role may have {OF_A_ROLE} inline");
    let mend = "lead some of the aliases by another site, or by a wildcard (*.example.org)";
    match size {
        size if size > OF_A_ROLE => Some(Line::wrong(Subject::Rights, said, mend)),
        size if size > OF_A_ROLE / 10 * 9 => Some(Line::warning(Subject::Rights, said, mend)),
        _ => None,
    }
}

async fn tried(attempts: &PermissionProbe, questions: &[Question]) -> StatementFindings {
    let mut found = StatementFindings::default();
    // A secret's name without those characters is the same secret: asked for once.
    let further = |question: &&Question| {
        let whole = format!("{}{SECRETS_MANAGERS}", question.resource);
        !questions.iter().any(|other| other.resource == whole)
    };
    for question in questions.iter().filter(further) {
        for action in &question.actions {
            match attempts.attempt(action, question).await {
                Ok(PermissionOutcome::Allowed) => {}
                Ok(PermissionOutcome::Denied(said)) => found.denied.push(format!("{action} ({said})")),
                Ok(PermissionOutcome::Untried(why)) => {
                    let untried = (why, action.clone());
                    if !found.untried.contains(&untried) {
                        found.untried.push(untried);
                    }
                }
                Err(fault) => found.failed = Some(fault),
            }
        }
    }
    found
}

async fn reckoned(aws: &Aws, role: &str, questions: &[Question]) -> StatementFindings {
    let mut found = StatementFindings::default();
    for question in questions {
        match denied(aws, role, question).await {
            Ok(denied) => found.denied.extend(denied.iter().map(|action| format!("{action} on {}", question.resource))),
            Err(fault) => found.failed = Some(fault),
        }
    }
    found
}

fn judged(sid: &str, found: &StatementFindings, mend: &str) -> Line {
    let StatementFindings { denied, untried, failed } = found;
    if !denied.is_empty() {
        return Line::wrong(Subject::Rights, format!("{sid}: denied: {}", denied.join(", ")), mend);
    }
    if let Some(fault) = failed {
        let line = Line::unseen(Subject::Rights, fault);
        return Line { said: format!("{sid}: {}", line.said), ..line };
    }
    let mut said = format!("{sid}: {}", if untried.is_empty() { "allowed" } else { "nothing is denied" });
    // Said and no more: IAM can be asked from elsewhere, and most of it is only ever needed once.
    for of_one_reason in untried.chunk_by(|one, next| one.0 == next.0) {
        let actions: Vec<_> = of_one_reason.iter().map(|(_, action)| action.as_str()).collect();
        said += &format!("; not tried, for {}: {}", of_one_reason[0].0, actions.join(", "));
    }
    Line::ok(Subject::Rights, said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    #[test]
    fn policy_that_no_role_takes_is_told_before_it_is_put_there() {
        let table = [
            (3_000, None),
            (9_216, None),
            (9_300, Some(LineState::Warning)),
            (10_240, Some(LineState::Warning)),
            (10_241, Some(LineState::Wrong)),
        ];
        for (size, is) in table {
            assert_eq!(size_judged(size).map(|line| line.is), is, "{size}");
        }
    }

    #[test]
    fn statement_is_judged_by_the_worst_of_its_actions() {
        let texts = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let failed = Some(Fault::retry("trying", "no answer"));
        let table = [
            (StatementFindings::default(), LineState::Ok, "allowed"),
            (
                StatementFindings { untried: vec![("why", "a:B".into())], ..StatementFindings::default() },
                LineState::Ok,
                "not tried, for why: a:B",
            ),
            (
                StatementFindings { failed: failed.clone(), ..StatementFindings::default() },
                LineState::Warning,
                "no answer",
            ),
            (
                StatementFindings { denied: texts("a:B"), failed, untried: vec![("why", "c:D".into())] },
                LineState::Wrong,
                "denied: a:B",
            ),
        ];
        for (found, is, said) in table {
            let line = judged("DoIt", &found, "mend");
            assert!(line.is == is && line.said.contains(said) && line.said.starts_with("DoIt"), "{line:?}");
        }
    }
}
