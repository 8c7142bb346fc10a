//! What the limits of the CAs leave, as the ledger in the vault has it.

use super::{Case, Line, Subject};
use crate::{
    certificate::{AtAuthority, Budget, Certifier, Vault},
    clock::moment,
};

/// Reads the ledger.
pub(super) async fn examined(case: &Case<'_>, vault: &Vault, certifier: &Certifier) -> Vec<Line> {
    // What keeps the vault from being read is told of the vault.
    let Ok(budget) = Budget::read(case.config.names(), vault, certifier).await else { return Vec::new() };
    budget.authorities.iter().map(|at| judged(at, &budget.plan)).collect()
}

fn judged(at: &AtAuthority, plan: &str) -> Line {
    let directory = &at.directory;
    if let (1.., Some(since)) = (at.failed, at.failing_since) {
        let words = at.said.as_deref().unwrap_or("nothing was said");
        let said =
            format!("{} attempts at {directory} failed since {}, the last with: {words}", at.failed, moment(since));
        return Line::wrong(Subject::Limits, said, "spothost budget");
    }
    if let Some(spent) = at.limits.iter().find(|limit| limit.left == 0) {
        let again = spent.next.map_or_else(String::new, |at| format!(" before {}", moment(at)));
        let said = format!("none is left of \"{}\" at {directory}{again}; the plan: {plan}", spent.what);
        return Line::warning(Subject::Limits, said, "wait, and keep the vault: spothost budget");
    }
    let least = at.limits.iter().min_by_key(|limit| limit.left);
    let least = least
        .map_or_else(String::new, |limit| format!(", the least of \"{}\": {} of {}", limit.what, limit.left, limit.of));
    Line::ok(Subject::Limits, format!("something is left of every limit at {directory}{least}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{certificate::LimitLeft, doctor::LineState};

    #[test]
    fn limit_that_is_spent_or_failures_are_told() {
        let at = |left: u32, failed: u32| AtAuthority {
            directory: "https://ca.example/dir".into(),
            failed,
            failing_since: (failed > 0).then_some(time::OffsetDateTime::UNIX_EPOCH),
            said: None,
            limits: vec![LimitLeft { what: "orders", left, of: 3, next: None }],
        };
        for (left, failed, is) in
            [(3, 0, LineState::Ok), (1, 0, LineState::Ok), (0, 0, LineState::Warning), (3, 2, LineState::Wrong)]
        {
            assert_eq!(judged(&at(left, failed), "keep").is, is, "{left} {failed}");
        }
    }
}
