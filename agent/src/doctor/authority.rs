//! The CAs: whether they answer, and offer what the configuration orders.

use futures_util::future::join_all;

use super::{Case, Line, Subject};
use crate::{
    certificate::{DirectoryMetadata, about},
    config::{Authority, Ca},
};

/// Asks every CA that may be turned to; yields those that answer, by their directories.
pub(super) async fn examined(case: &Case<'_>) -> (Vec<(String, DirectoryMetadata)>, Vec<Line>) {
    let Authority::Acme(authorities) = &case.config.authority else {
        return (Vec::new(), vec![Line::ok(Subject::Authority, "the local CA certifies, and needs no other service")]);
    };
    let answers = join_all(authorities.iter().map(about)).await;
    let mut found = Vec::new();
    let mut lines = Vec::new();
    for ((ca, answer), first) in
        authorities.iter().zip(answers).zip(std::iter::once(true).chain(std::iter::repeat(false)))
    {
        match answer {
            Ok(about) => {
                lines.push(judged(ca, &about));
                found.push((ca.directory.clone(), about));
            }
            // Hosts use the stored certificate and another CA stands in, so the fault can stay unseen for weeks.
            Err(fault) if first => lines.push(Line::fault(Subject::Authority, &fault)),
            Err(fault) => lines.push(Line::unseen(Subject::Authority, &fault)),
        }
    }
    (found, lines)
}

fn judged(ca: &Ca, about: &DirectoryMetadata) -> Line {
    let directory = &ca.directory;
    if let Some(profile) = ca.profile.as_ref().filter(|profile| !about.profiles.contains(profile)) {
        let offered = about.profiles.join(", ");
        let offered = if offered.is_empty() { "none".to_owned() } else { offered };
        let said = format!("{directory} does not offer the profile `{profile}`; it offers {offered}");
        return Line::wrong(Subject::Authority, said, "correct [acme] profile, or leave it out");
    }
    if about.external_account_required && ca.eab.is_none() {
        let said = format!("{directory} requires an account with it (external account binding)");
        return Line::wrong(Subject::Authority, said, "name the account that the CA gave you in [acme.eab]");
    }
    Line::ok(Subject::Authority, format!("{directory} answers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Eab, doctor::LineState, place::VaultPlace};

    #[test]
    fn ca_has_to_offer_what_is_ordered() {
        let ca = |profile: Option<&str>, eab: bool| Ca {
            directory: "https://ca.example/dir".into(),
            roots: None,
            profile: profile.map(str::to_owned),
            staging: None,
            eab: eab
                .then(|| Eab { kid: "k".into(), key: VaultPlace::Secret("s".to_owned().try_into().expect("a name")) }),
        };
        let about = |profiles: &[&str], external_account_required| DirectoryMetadata {
            profiles: profiles.iter().map(|name| (*name).to_owned()).collect(),
            external_account_required,
            ..DirectoryMetadata::default()
        };
        let table = [
            (ca(None, false), about(&[], false), LineState::Ok),
            (ca(Some("tlsserver"), false), about(&["classic", "tlsserver"], false), LineState::Ok),
            (ca(Some("tlsserver"), false), about(&["classic"], false), LineState::Wrong),
            (ca(Some("tlsserver"), false), about(&[], false), LineState::Wrong),
            (ca(None, false), about(&[], true), LineState::Wrong),
            (ca(None, true), about(&[], true), LineState::Ok),
        ];
        for (ca, about, is) in table {
            assert_eq!(judged(&ca, &about).is, is, "{about:?}");
        }
    }
}
