//! What a site costs a month at AWS. Pure.

/// Hours of a month, as AWS reckons: 730.
const HOURS: f64 = 730.0;

/// One item of the bill.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What is paid for.
    pub what: String,
    /// US dollars a month.
    pub a_month: f64,
    /// Where the price stands.
    pub source: String,
}

/// The price of an instance an hour, and its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its type.
    pub kind: &'static str,
    /// US dollars an hour.
    pub an_hour: f64,
    /// Where the price stands.
    pub source: String,
}

impl Instance {
    /// The smallest that the stack takes, on demand: a spot price is never higher, and mostly a third of it.
    pub fn on_demand(architecture: &str) -> Instance {
        let (kind, an_hour) = if architecture == "arm64" { ("t4g.nano", 0.0042) } else { ("t3.nano", 0.0052) };
        Instance { kind, an_hour, source: "on demand, https://aws.amazon.com/ec2/pricing/on-demand/".to_owned() }
    }
}

/// The bill of one host without visitors: list prices of us-east-1, which are a little higher elsewhere. What visitors
/// fetch is beside it.
pub fn bill(instance: &Instance, root_gib: u32) -> Vec<Item> {
    let item =
        |what: &str, a_month: f64, source: &str| Item { what: what.to_owned(), a_month, source: source.to_owned() };
    vec![
        item(&format!("one {}", instance.kind), instance.an_hour * HOURS, &instance.source),
        item("its public IPv4 address, $0.005 an hour", 0.005 * HOURS, "https://aws.amazon.com/vpc/pricing/"),
        item(
            &format!("its volume, {root_gib} GiB of gp3 at $0.08"),
            f64::from(root_gib) * 0.08,
            "https://aws.amazon.com/ebs/pricing/",
        ),
        item("the secret with certificate and account", 0.40, "https://aws.amazon.com/secrets-manager/pricing/"),
        // A conditional look every ten seconds at $0.0004 and a listing a minute at $0.005 a thousand.
        item(
            "looking for packages",
            HOURS * (360.0 * 0.0004 + 60.0 * 0.005) / 1000.0,
            "https://aws.amazon.com/s3/pricing/",
        ),
        item("the hosted zone, which is there already", 0.50, "https://aws.amazon.com/route53/pricing/"),
    ]
}

/// US dollars a month of all items.
pub fn total(items: &[Item]) -> f64 {
    items.iter().map(|item| item.a_month).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bill_adds_up_and_every_price_has_its_source() {
        let items = bill(&Instance::on_demand("x86-64"), 8);
        assert!(
            items.iter().all(|item| item.source.contains("https://aws.amazon.com/") && item.a_month > 0.0),
            "{items:?}"
        );
        // 3.80 + 3.65 + 0.64 + 0.40 + 0.32 + 0.50
        assert!((total(&items) - 9.31).abs() < 0.02, "{}", total(&items));
        assert!(total(&bill(&Instance::on_demand("arm64"), 8)) < total(&items));
    }
}
