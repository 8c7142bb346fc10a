//! Who may issue certificates for the names: CAA records (RFC 8659), as the chosen CA will read them.

use super::{
    Case, Line, Subject,
    resolver::{Caa, Data, QueryType, Resolver},
};
use crate::{certificate::DirectoryMetadata, fault::Fault, place::Name};

/// The relevant records of a name, and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relevant {
    at: String,
    set: Vec<Caa>,
}

/// Looks at every name, for each CA that may be turned to.
pub(super) async fn examined(
    case: &Case<'_>,
    authorities: &[(String, DirectoryMetadata)],
    accounts: &[String],
) -> Vec<Line> {
    let mut lines = Vec::new();
    for name in case.config.names() {
        match relevant(&case.resolver, &name).await {
            Ok(relevant) => {
                let judged = authorities.iter().map(|(directory, about)| {
                    let judged = judged(&name, relevant.as_ref(), about, accounts);
                    line(&name, relevant.as_ref(), directory, about, judged)
                });
                lines.extend(judged);
            }
            // A CA that cannot look must not issue (RFC 8659 §3).
            Err(fault) => lines.push(Line::wrong(
                Subject::Caa,
                format!("{}: {}", fault.doing, fault.said),
                format!("fix the name servers of {name}: a CA that cannot read CAA records issues nothing"),
            )),
        }
    }
    lines
}

/// Climbs from the name to the first that has CAA records (RFC 8659 §3).
async fn relevant(resolver: &Resolver, name: &Name) -> Result<Option<Relevant>, Fault> {
    let mut at = name.as_str().trim_start_matches("*.");
    loop {
        let answer = resolver.ask(at, QueryType::Caa).await?;
        let set: Vec<_> = answer
            .records
            .into_iter()
            .filter_map(|record| if let Data::Caa(caa) = record.data { Some(caa) } else { None })
            .collect();
        if !set.is_empty() {
            return Ok(Some(Relevant { at: at.to_owned(), set }));
        }
        match at.split_once('.') {
            Some((_, parent)) => at = parent,
            None => return Ok(None),
        }
    }
}

/// Whether a CA that says this `about` itself may issue for the name by dns-01 to one of the accounts; why not, if not.
fn judged(
    name: &Name,
    relevant: Option<&Relevant>,
    about: &DirectoryMetadata,
    accounts: &[String],
) -> Result<(), String> {
    let Some(Relevant { set, .. }) = relevant else { return Ok(()) };
    // Other tags are not critical to CAs that issue for TLS servers (RFC 8659 §4, RFC 9495).
    let known = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone", "issuevmc"];
    if let Some(strange) = set.iter().find(|caa| caa.critical && !known.contains(&caa.tag.as_str())) {
        return Err(format!("a critical record of tag `{}`, which no CA knows", strange.tag));
    }
    let of = |tag: &str| set.iter().filter(|caa| caa.tag == tag).collect::<Vec<_>>();
    let wild = of("issuewild");
    let deciding = if name.is_wildcard() && !wild.is_empty() { wild } else { of("issue") };
    if deciding.is_empty() {
        return Ok(());
    }
    // A CA that names no identities is not to be held against any.
    if about.caa_identities.is_empty() {
        return Ok(());
    }
    let refused: Vec<_> =
        deciding.iter().filter_map(|caa| permits(&caa.value, &about.caa_identities, accounts).err()).collect();
    if refused.len() < deciding.len() { Ok(()) } else { Err(refused.join("; ")) }
}

/// Whether that value of `issue` or `issuewild` lets one of these issuers issue (RFC 8659 §4.2, RFC 8657).
fn permits(value: &str, identities: &[String], accounts: &[String]) -> Result<(), String> {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default().trim_end_matches('.');
    if issuer.is_empty() {
        return Err("no CA may".to_owned());
    }
    if !identities.iter().any(|identity| identity.eq_ignore_ascii_case(issuer)) {
        return Err(format!("{issuer} may"));
    }
    for (key, value) in parts.filter_map(|part| part.split_once('=')).map(|(key, value)| (key.trim(), value.trim())) {
        if key.eq_ignore_ascii_case("validationmethods") && !value.split(',').any(|method| method.trim() == "dns-01") {
            return Err(format!("{issuer} may, but only by {value}, and hosts prove the names by dns-01"));
        }
        // Before there is an account, whichever is made has another URL.
        if key.eq_ignore_ascii_case("accounturi") && !accounts.iter().any(|account| account == value) {
            return Err(format!("{issuer} may, but only for the account {value}, which is not in the vault"));
        }
    }
    Ok(())
}

fn line(
    name: &Name,
    relevant: Option<&Relevant>,
    directory: &str,
    about: &DirectoryMetadata,
    judged: Result<(), String>,
) -> Line {
    match (judged, relevant) {
        (Ok(()), None) => Line::ok(Subject::Caa, format!("{name}: no CAA record stands against {directory}")),
        (Ok(()), Some(Relevant { at, .. })) => {
            Line::ok(Subject::Caa, format!("{name}: the CAA records at {at} allow {directory}"))
        }
        (Err(why), relevant) => {
            let at = relevant.map_or(name.as_str(), |relevant| relevant.at.as_str());
            Line::wrong(
                Subject::Caa,
                format!("{name}: the CAA records at {at} keep {directory} from issuing: {why}"),
                format!("let {at} have the CAA record 0 issue \"{}\"", about.caa_identities.join("\" or \"")),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caa(text: &str) -> Caa {
        let mut words = text.splitn(3, ' ');
        let critical = words.next() == Some("128");
        let tag = words.next().unwrap_or_default().to_owned();
        Caa { critical, tag, value: words.next().unwrap_or_default().to_owned() }
    }

    fn judge(name: &str, set: &[&str]) -> Result<(), String> {
        let set: Vec<_> = set.iter().map(|text| caa(text)).collect();
        let relevant = (!set.is_empty()).then(|| Relevant { at: "example.org".into(), set });
        let about =
            DirectoryMetadata { caa_identities: vec!["letsencrypt.org".into()], ..DirectoryMetadata::default() };
        judged(&name.parse().expect("a name"), relevant.as_ref(), &about, &["https://ca/acct/1".to_owned()])
    }

    #[test]
    fn records_allow_or_forbid_as_the_rfcs_say() {
        let plain: [(&[&str], Option<&str>); 13] = [
            (&[], None),
            (&["0 iodef mailto:x@example.org"], None),
            (&["0 issue letsencrypt.org"], None),
            (&["0 issue LetsEncrypt.org."], None),
            (&["0 issue other.example", "0 issue letsencrypt.org"], None),
            (&["0 issue other.example"], Some("other.example may")),
            (&["0 issue ;"], Some("no CA may")),
            (&["0 issuewild other.example"], None),
            (&["0 issue letsencrypt.org; validationmethods=http-01,dns-01"], None),
            (&["0 issue letsencrypt.org; validationmethods=http-01"], Some("only by http-01")),
            (&["0 issue letsencrypt.org;accounturi=https://ca/acct/1"], None),
            (&["0 issue letsencrypt.org; accounturi=https://ca/acct/2"], Some("not in the vault")),
            (&["128 tbs x", "0 issue letsencrypt.org"], Some("critical record of tag `tbs`")),
        ];
        for (set, why) in plain {
            let said = judge("www.example.org", set).err();
            assert!(said.is_some() == why.is_some(), "{set:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(why.unwrap_or_default()), "{set:?}");
        }
    }

    #[test]
    fn wildcard_follows_issuewild_where_there_is_one() {
        assert!(judge("*.example.org", &["0 issue letsencrypt.org", "0 issuewild ;"]).is_err());
        assert!(judge("*.example.org", &["0 issue ;", "0 issuewild letsencrypt.org"]).is_ok());
        assert!(judge("*.example.org", &["0 issue other.example"]).is_err());
        assert!(judge("www.example.org", &["0 issue letsencrypt.org", "0 issuewild ;"]).is_ok());
    }

    #[test]
    fn ca_that_names_no_identity_is_held_against_nothing() {
        let relevant = Relevant { at: "example.org".into(), set: vec![caa("0 issue other.example")] };
        let name = "www.example.org".parse().expect("a name");
        assert_eq!(judged(&name, Some(&relevant), &DirectoryMetadata::default(), &[]), Ok(()));
    }
}
