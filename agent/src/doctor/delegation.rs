//! The hosted zone: whether it is there, holds the names, and is the one that the world is led to.

use std::collections::BTreeSet;

use super::{
    Case, Line, Subject,
    resolver::{Data, QueryType, Record, Resolver},
};
use crate::{
    aws::zone::{Apex, Zone},
    fault::Fault,
    place::Name,
};

/// So many servers of the parent are asked until one answers.
const MOST_ASKED: usize = 4;

/// Looks at the zone and its parent.
pub(super) async fn examined(case: &Case<'_>) -> Vec<Line> {
    let (Some(id), Some(aws)) = (&case.config.zone, &case.aws) else { return Vec::new() };
    let apex = match Zone::new(aws, id.clone()).apex().await {
        Ok(apex) => apex,
        Err(fault) => return vec![Line::fault(Subject::Delegation, &fault)],
    };
    let mut lines = outside(&apex, id, &case.config.names());
    lines.push(match at_the_parent(&case.resolver, &apex.name).await {
        Ok(at_parent) => judged(&apex, id, &at_parent),
        Err(fault) => Line::unseen(Subject::Delegation, &fault),
    });
    lines
}

/// The names that the zone does not hold.
fn outside(apex: &Apex, id: &str, names: &[Name]) -> Vec<Line> {
    let within = |name: &Name| {
        let name = name.as_str().trim_start_matches("*.");
        name == apex.name || name.ends_with(&format!(".{}", apex.name))
    };
    let outside = names.iter().filter(|name| !within(name));
    outside
        .map(|name| {
            Line::wrong(
                Subject::Delegation,
                format!("{name} is not within the zone {id}, which is {}", apex.name),
                "name the zone that holds it in `zone`: aws route53 list-hosted-zones",
            )
        })
        .collect()
}

/// The name servers that the parent refers to for that zone.
async fn at_the_parent(resolver: &Resolver, apex: &str) -> Result<BTreeSet<String>, Fault> {
    let mut last = Fault::retry(format!("looking for the parent of {apex}"), "its name servers cannot be asked");
    for server in servers_of_the_parent(resolver, apex).await?.into_iter().take(MOST_ASKED) {
        let addresses = match resolver.addresses(&server).await {
            Ok(addresses) => addresses,
            Err(fault) => {
                last = fault;
                continue;
            }
        };
        for address in addresses.into_iter().take(2) {
            match resolver.ask_at(address, apex, QueryType::Ns).await {
                Ok(answer) => return Ok(servers(apex, answer.records.iter().chain(&answer.referred))),
                Err(fault) => last = fault,
            }
        }
    }
    Err(last)
}

/// The name servers of the zone above: that of the nearest name above that has any.
async fn servers_of_the_parent(resolver: &Resolver, apex: &str) -> Result<BTreeSet<String>, Fault> {
    let mut at = apex;
    loop {
        at = at.split_once('.').map_or("", |(_, parent)| parent);
        let found = servers(at, resolver.ask(at, QueryType::Ns).await?.records.iter());
        if !found.is_empty() || at.is_empty() {
            return Ok(found);
        }
    }
}

fn servers<'a>(of: &str, records: impl Iterator<Item = &'a Record>) -> BTreeSet<String> {
    let of = records.filter(|record| record.name == of);
    of.filter_map(|record| if let Data::Ns(server) = &record.data { Some(server.clone()) } else { None }).collect()
}

/// Compares what the parent says with what the zone is served by.
fn judged(apex: &Apex, id: &str, at_parent: &BTreeSet<String>) -> Line {
    let zone = &apex.name;
    let listed = |servers: &BTreeSet<String>| servers.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mend = format!("set the name servers of {zone} where the domain is registered to {}", listed(&apex.servers));
    let strange: Vec<_> = at_parent.difference(&apex.servers).cloned().collect();
    if at_parent.is_empty() {
        return Line::wrong(Subject::Delegation, format!("its parent does not know {zone}"), mend);
    }
    if at_parent.is_disjoint(&apex.servers) {
        let said = format!("its parent leads {zone} to {}, which are not those of zone {id}", listed(at_parent));
        return Line::wrong(Subject::Delegation, said, mend);
    }
    if !strange.is_empty() {
        let said = format!("its parent leads {zone} also to {}, which do not serve zone {id}", strange.join(", "));
        return Line::wrong(Subject::Delegation, said, mend);
    }
    if at_parent.len() < apex.servers.len() {
        let said = format!("its parent leads {zone} to {} of its {} servers", at_parent.len(), apex.servers.len());
        return Line::warning(Subject::Delegation, said, mend);
    }
    Line::ok(Subject::Delegation, format!("zone {id} is {zone}, and its parent leads there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::LineState;

    fn set(servers: &str) -> BTreeSet<String> {
        servers.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn parent_has_to_lead_to_the_servers_of_the_zone_and_no_others() {
        let apex = Apex { name: "example.org".into(), servers: set("a b c d") };
        let table = [
            ("a b c d", LineState::Ok, "leads there"),
            ("a b", LineState::Warning, "2 of its 4"),
            ("a b c d x", LineState::Wrong, "also to x"),
            ("x y", LineState::Wrong, "to x, y, which are not those"),
            ("", LineState::Wrong, "does not know"),
        ];
        for (at_parent, is, said) in table {
            let line = judged(&apex, "Z1", &set(at_parent));
            assert!(line.is == is && line.said.contains(said), "{at_parent}: {line:?}");
            assert!(is == LineState::Ok || line.mend.is_some_and(|mend| mend.contains("a, b, c, d")));
        }
    }

    #[test]
    fn names_of_another_zone_are_told() {
        let apex = Apex { name: "example.org".into(), servers: BTreeSet::new() };
        let names = ["example.org", "www.example.org", "*.example.org", "www.anexample.org", "example.com"];
        let names: Vec<Name> = names.iter().map(|name| name.parse().expect("a name")).collect();
        let told: Vec<_> = outside(&apex, "Z1", &names).into_iter().map(|line| line.said).collect();
        assert!(told.len() == 2 && told[0].starts_with("www.anexample.org") && told[1].starts_with("example.com"));
    }
}
