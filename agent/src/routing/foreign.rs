//! Record sets that no host of a site has written, and what becomes of each. Pure.
//!
//! The person who made a record set meant something by it. Hosts write over as little as they can, and say what keeps them from
//! leading a name here, with its cure:
//!
//! | at a name of the site | `adopt` unset | `[dns] adopt = true` |
//! |---|---|---|
//! | A, AAAA with values, unclaimed | left alone | taken over |
//! | A, AAAA with values, claimed | changed back, with a health check or without | likewise |
//! | alias A, AAAA (CloudFront, a load balancer), claimed or not | left alone | taken over |
//! | A, AAAA with any routing policy | left alone | left alone: a simple set cannot stand beside it |
//! | multivalue answers, where hosts hold such | those of hosts are kept and swept; those of people are left alone | likewise |
//! | A, AAAA of a traffic policy | left alone: only the policy may change it | likewise |
//! | CNAME, alias or not | left alone: an address cannot stand beside it (RFC 1034 §3.6.2) | likewise |
//! | HTTPS that leads browsers elsewhere (RFC 9460), unclaimed | left alone, and so are the addresses | the addresses are led here, it is left alone and reported |
//! | the same, claimed | the addresses are led here, it is left alone and reported | likewise |
//! | HTTPS that leads browsers to the name itself; SVCB, CAA, MX, TXT, NS … | none of ours | likewise |
//! | at `_spothost.<domain>`: a CNAME; TXT that is an alias, routed, with several values or with others' | left alone, and nothing is claimed | likewise |
//! | at `_spothost.<domain>`: addresses and other types | none of ours | likewise |
//!
//! Where the names are claimed, what keeps one further name from leading here keeps no other name from it: that name
//! is left out of the batch and told, and what a host before has left there stays. At the first name, or where no host
//! claims the names yet, nothing is led here before a person has decided.
//!
//! An alias is no record that changed by hand: its values are not ours to put back, and only a person knows what it was
//! for. So it is left alone in claimed names, too. Hosts without a certificate take over nothing of people's, whatever
//! `adopt` says.

use std::net::IpAddr;

use crate::{
    aws::zone::{Form, RecordType, Records, RoutingPolicy},
    fault::Fault,
    place::Name,
};

const ADOPT: &str = "let it be taken over: [dns] adopt = true";

/// What at `name` keeps an address of ours from standing there, with its cure.
pub(crate) fn in_the_way(name: &Name, seen: &[Records], adopt: bool) -> Option<Fault> {
    let sets = || seen.iter().filter(|set| set.name == name.as_str());
    let fault = |said: String, remedy: &str| Some(Fault::operator(format!("reading {name}"), said, remedy));
    if let Some(set) = sets().find(|set| set.kind == RecordType::Cname) {
        let said = match &set.form {
            Form::Simple => format!("a CNAME to {}", set.values.join(" ")),
            _ => format!("a CNAME, which {}", set.leads()),
        };
        return fault(said, "remove it: an address cannot stand beside it");
    }
    let set = sets().filter(|set| set.is_address()).find(|set| set.form != Form::Simple)?;
    let said = format!("it {} (type {:?})", set.leads(), set.kind);
    match &set.form {
        Form::Alias(_) if adopt => None,
        Form::Alias(_) => fault(said, &format!("remove that alias if {name} is to lead to the hosts, or {ADOPT}")),
        Form::Routed(RoutingPolicy::Multivalue) => fault(
            said,
            "remove them, or run every host with [dns] mode = \"multivalue\": a simple record cannot stand beside them",
        ),
        Form::Routed(_) => fault(said, "remove them: a simple record cannot stand beside them"),
        Form::TrafficPolicy => fault(said, "delete the policy record in Route 53 if the name is to lead to the hosts"),
        Form::Simple => None,
    }
}

/// The names that addresses of ours may stand at. Where they are `claimed` already, a further name at which people have put
/// something that is in the way is left out ([`left_out`] tells it): the others are not to lead to a host that is gone because
/// of it.
///
/// # Errors
/// The obstacle at the first name; at any name, where no host claims the names.
pub(crate) fn free<'a>(
    names: &'a [Name],
    seen: &[Records],
    adopt: bool,
    claimed: bool,
) -> Result<Vec<&'a Name>, Fault> {
    let mut free = Vec::new();
    for (number, name) in names.iter().enumerate() {
        match in_the_way(name, seen, adopt) {
            Some(_) if claimed && number > 0 => {}
            Some(fault) => return Err(fault),
            None => free.push(name),
        }
    }
    Ok(free)
}

/// The fault of the first of the further names of a claimed site that hosts leave out, if any: what people have put there
/// keeps an address from standing there. The other names lead to the hosts all the same.
pub(crate) fn left_out(names: &[Name], seen: &[Records], adopt: bool) -> Option<Fault> {
    names.iter().skip(1).find_map(|name| in_the_way(name, seen, adopt))
}

/// A set at the names that leads visitors to something else than the addresses in `ours`. Where no host claims the names it
/// is that of people; records that lead here already are not: their claim was removed.
pub(crate) fn leads_elsewhere<'a>(names: &[Name], seen: &'a [Records], ours: &[String]) -> Option<&'a Records> {
    let here = |set: &Records| match set.kind {
        RecordType::A | RecordType::Aaaa => {
            set.form == Form::Simple && set.values.iter().all(|value| ours.contains(value))
        }
        RecordType::Https => {
            set.form == Form::Simple && set.values.iter().all(|value| https_leads_here(&set.name, value, ours))
        }
        RecordType::Txt | RecordType::Cname => true,
    };
    let of_names = |set: &&Records| names.iter().any(|name| name.as_str() == set.name);
    seen.iter().filter(of_names).find(|set| !here(set))
}

/// Refuses names that no host claims and that lead visitors elsewhere, unless they may be taken over, and by a host that has
/// a certificate to answer with.
///
/// # Errors
/// What leads elsewhere, and the cure.
pub(crate) fn refuse_what_is_somebody_elses(
    names: &[Name],
    seen: &[Records],
    ours: &[String],
    adopt: bool,
    certified: bool,
) -> Result<(), Fault> {
    let Some(set) = leads_elsewhere(names, seen, ours) else { return Ok(()) };
    let leads = format!("{} {}", set.name, told(set));
    match (adopt, certified) {
        (true, true) => Ok(()),
        (true, false) => {
            let said = format!("{leads}, and this host has no certificate yet");
            Err(Fault::retry("leading the names here", said))
        }
        (false, _) => {
            let remedy = format!("remove that record, or {ADOPT}");
            Err(Fault::operator(format!("reading {}", set.name), format!("{leads}, and no host claims it"), remedy))
        }
    }
}

/// What leads browsers elsewhere although the addresses lead here: told, and left alone.
pub(crate) fn browsers_elsewhere(names: &[Name], seen: &[Records], ours: &[String]) -> Option<Fault> {
    let https: Vec<Records> = seen.iter().filter(|set| set.kind == RecordType::Https).cloned().collect();
    let set = leads_elsewhere(names, &https, ours)?;
    let remedy = "remove that HTTPS record, or let it say `1 .`: browsers go by it before they go by the address";
    Some(Fault::operator(format!("reading {}", set.name), format!("it {}", told(set)), remedy))
}

fn told(set: &Records) -> String {
    match set.kind {
        RecordType::Https => format!("{} for browsers (type HTTPS)", set.leads()),
        _ => set.leads(),
    }
}

/// Whether an HTTPS record (RFC 9460 §2.1: priority, target, parameters) leaves browsers with the addresses of its name.
fn https_leads_here(name: &str, value: &str, ours: &[String]) -> bool {
    let mut words = value.split_ascii_whitespace();
    let priority = words.next();
    let target = words.next();
    let own = target.is_some_and(|target| target == "." || target.trim_end_matches('.').eq_ignore_ascii_case(name));
    let leaves = |parameter: &str| match parameter.split_once('=') {
        Some(("ipv4hint" | "ipv6hint", hints)) => hints.trim_matches('"').split(',').all(|hint| is_ours(hint, ours)),
        Some(("port", _)) => false,
        _ => true,
    };
    // Priority 0 is an alias, and an alias of the name itself says that there is no such service (§2.5).
    priority != Some("0") && own && words.all(leaves)
}

fn is_ours(hint: &str, ours: &[String]) -> bool {
    let hint = hint.trim().parse::<IpAddr>();
    ours.iter().any(|address| address.parse::<IpAddr>() == hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_record_leads_here_only_if_browsers_are_left_with_the_addresses() {
        let ours = ["192.0.2.7".to_owned(), "2001:db8::7".to_owned()];
        let table = [
            ("1 .", true),
            ("1 . alpn=\"h2\"", true),
            ("1 WWW.example.org. alpn=\"h2,h3\"", true),
            ("1 . ipv4hint=\"192.0.2.7\" ipv6hint=\"2001:db8:0::7\"", true),
            ("1 . ipv4hint=192.0.2.7,198.51.100.1", false),
            ("1 . port=\"8443\"", false),
            ("1 cdn.example.net.", false),
            ("0 d1.cloudfront.net.", false),
            ("0 .", false),
            ("", false),
        ];
        for (value, expected) in table {
            assert_eq!(https_leads_here("www.example.org", value, &ours), expected, "{value}");
        }
    }
}
