//! The vault: whether it can be read, and its content would serve.

use super::{Case, Line, Subject};
use crate::{
    certificate::{
        Certifier, Vault,
        inventory::{Inventory, Verified, verify},
    },
    clock::moment,
};

/// Looks into the vault; also the URLs of the accounts in it.
pub(super) async fn examined(case: &Case<'_>, vault: &Vault, certifier: &Certifier) -> (Vec<Line>, Vec<String>) {
    if vault.is_secret() && case.aws.is_none() {
        return (Vec::new(), Vec::new());
    }
    let looked = async { Ok((Inventory::read(vault).await?, verify(vault, case.config.names(), certifier).await?)) };
    match looked.await {
        Ok((inventory, rows)) => (judged(&inventory, &rows, &case.same_configuration()), inventory.accounts),
        Err(fault) => (vec![Line::fault(Subject::Vault, &fault)], Vec::new()),
    }
}

fn judged(inventory: &Inventory, rows: &[Verified], flag: &str) -> Vec<Line> {
    if inventory.version.is_none() {
        return vec![Line::ok(Subject::Vault, "it is empty; the first host orders a certificate")];
    }
    let mut lines = Vec::new();
    if let Some(damage) = &inventory.damage {
        let mend = format!("spothost vault rollback{flag}");
        lines.push(Line::wrong(Subject::Vault, format!("the document is damaged: {damage}"), mend));
    }
    match inventory.certificate.as_ref().and_then(|certificate| Some((certificate, certificate.until?))) {
        None => lines.push(Line::warning(
            Subject::Vault,
            "there is no certificate in it that can be used",
            format!("let a host order one, and see what it plans: spothost budget{flag}"),
        )),
        Some((certificate, until)) => {
            let wrong = |what: &str| rows.iter().find(|row| row.what == what).and_then(|row| row.wrong.as_ref());
            let what = format!("the certificate, until {}, of {}", moment(until), certificate.directory);
            let mend = format!("a running host orders another by itself: spothost budget{flag}");
            if let Some(why) = wrong("it is valid now") {
                lines.push(Line::wrong(Subject::Vault, format!("{what}, is not valid: {why}"), mend));
            } else if let Some(why) = wrong("the certificate covers all names") {
                lines.push(Line::warning(Subject::Vault, format!("{what}: {why}"), mend));
            } else if let Some(why) = wrong("it is not due") {
                lines.push(Line::warning(Subject::Vault, format!("{what}, is due: {why}"), mend));
            } else {
                lines.push(Line::ok(Subject::Vault, format!("{what}, is valid, for all names, and not due")));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::{certificate::inventory::CertificateSummary, doctor::LineState};

    fn inventory(version: bool, damage: bool, certificate: bool) -> Inventory {
        let shown = CertificateSummary {
            names: Vec::new(),
            from: Some(OffsetDateTime::UNIX_EPOCH),
            until: Some(OffsetDateTime::UNIX_EPOCH),
            directory: "internal".into(),
            profile: None,
            renewal: None,
            unusable: None,
        };
        Inventory {
            version: version.then(|| "v".to_owned()),
            damage: damage.then(|| "cut".to_owned()),
            certificate: certificate.then_some(shown),
            before: None,
            accounts: Vec::new(),
            order: None,
            clock_behind: 0,
        }
    }

    #[test]
    fn vault_is_judged_by_what_hosts_can_do_with_it() {
        let row = |what| vec![Verified { what, wrong: Some("why".to_owned()) }];
        let table = [
            (inventory(false, false, false), vec![], vec![LineState::Ok]),
            (inventory(true, false, true), vec![], vec![LineState::Ok]),
            (inventory(true, false, false), vec![], vec![LineState::Warning]),
            (inventory(true, true, true), vec![], vec![LineState::Wrong, LineState::Ok]),
            (inventory(true, false, true), row("it is valid now"), vec![LineState::Wrong]),
            (inventory(true, false, true), row("the certificate covers all names"), vec![LineState::Warning]),
            (inventory(true, false, true), row("it is not due"), vec![LineState::Warning]),
            (inventory(true, false, true), row("there is a version to go back to"), vec![LineState::Ok]),
        ];
        for (inventory, rows, expected) in table {
            let found: Vec<_> = judged(&inventory, &rows, "").iter().map(|line| line.is).collect();
            assert_eq!(found, expected, "{inventory:?} {rows:?}");
        }
    }
}
