//! How people are led to the hosts: by records that move, by an address that moves, or by records of every host.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::{
    aws::compute::IS_BUILT_IN,
    place::{PackagePlace, S3Prefix},
};

/// How people are led to the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoutingMode {
    /// Simple records lead to one host, and move to the next.
    #[default]
    Records,
    /// An Elastic IP of that allocation id leads to one host, and moves to the next; the claim lies in that bucket. The
    /// records, if there is a zone, lead to its address and stay.
    ElasticIp(String, S3Prefix),
    /// Every host has multivalue answer records of its own.
    Multivalue,
}

/// `[address]`, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    elastic_ip: Option<Spanned<String>>,
}

/// `[dns] mode`, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// One host, by simple records.
    Simple,
    /// Every host, by multivalue answer records.
    Multivalue,
}

type Wrong = (Option<Range<usize>>, String);

/// What both come to, beside a package that lies there and with or without a `zone`.
pub(super) fn checked(
    address: Address,
    mode: Option<Spanned<Mode>>,
    package: &PackagePlace,
    zone: bool,
) -> Result<RoutingMode, Wrong> {
    let multivalue = mode.filter(|mode| *mode.get_ref() == Mode::Multivalue);
    match (address.elastic_ip, multivalue) {
        (None, None) => Ok(RoutingMode::Records),
        (None, Some(_)) if zone => Ok(RoutingMode::Multivalue),
        (None, Some(mode)) => {
            let said = "`mode = \"multivalue\"` needs records, and without `zone` there are none";
            Err((Some(mode.span()), said.to_owned()))
        }
        (Some(_), Some(mode)) => {
            let said = "an Elastic IP leads to one host, and `mode = \"multivalue\"` to many: leave one of them out";
            Err((Some(mode.span()), said.to_owned()))
        }
        (Some(allocation), None) => elastic_ip(&allocation, package),
    }
}

fn elastic_ip(allocation: &Spanned<String>, package: &PackagePlace) -> Result<RoutingMode, Wrong> {
    let wrong = |said: String| Err((Some(allocation.span()), said));
    let id = allocation.get_ref();
    let hex = id.strip_prefix("eipalloc-").unwrap_or_default();
    if !(8..=17).contains(&hex.len()) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return wrong(format!("`{id}` is not the allocation id of an Elastic IP, such as eipalloc-0123456789abcdef0"));
    }
    if !IS_BUILT_IN {
        return wrong("`elastic_ip` needs EC2, and this program was built without the feature `fleet`".to_owned());
    }
    match package {
        PackagePlace::Bucket(bucket) => Ok(RoutingMode::ElasticIp(id.clone(), bucket.clone())),
        PackagePlace::Disk(_) => {
            wrong("hosts keep the claim to the Elastic IP beside the packages: keep these in a bucket".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        address: Address,
        mode: Option<Spanned<Mode>>,
    }

    fn read(text: &str, package: &str, zone: bool) -> Result<RoutingMode, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let package = toml::from_str::<toml::Table>(&format!("package = \"{package}\"")).expect("TOML");
        let package = package["package"].clone().try_into().expect("a place");
        checked(written.address, written.mode, &package, zone).map_err(|(_, said)| said)
    }

    #[test]
    fn one_way_to_lead_people_is_read() {
        let bucket = "s3://sites/www/";
        let disk = "file:///srv/site";
        assert_eq!(read("", disk, false), Ok(RoutingMode::Records));
        assert_eq!(read("mode = \"simple\"", bucket, true), Ok(RoutingMode::Records));
        assert_eq!(read("mode = \"multivalue\"", bucket, true), Ok(RoutingMode::Multivalue));
        let elastic = "[address]\nelastic_ip = \"eipalloc-0123456789abcdef0\"";
        for zone in [true, false] {
            let read = read(elastic, bucket, zone);
            if IS_BUILT_IN {
                assert!(matches!(&read, Ok(RoutingMode::ElasticIp(id, _)) if id.ends_with("def0")), "{read:?}")
            } else {
                assert!(read.expect_err("it cannot").contains("without the feature `fleet`"))
            }
        }
    }

    #[test]
    fn what_cannot_lead_anybody_is_refused_with_the_reason() {
        let elastic = "[address]\nelastic_ip = \"eipalloc-01234567\"";
        let both = format!("mode = \"multivalue\"\n{elastic}");
        let mut table = vec![
            ("mode = \"multivalue\"", "s3://sites/", false, "without `zone`"),
            ("mode = \"round-robin\"", "s3://sites/", true, "unknown variant"),
            (&both, "s3://sites/", true, "leave one of them out"),
            ("[address]\nelastic_ip = \"203.0.113.7\"", "s3://sites/", true, "not the allocation id"),
            ("[address]\nelastic_ip = \"eipalloc-\"", "s3://sites/", true, "not the allocation id"),
            ("[address]\nip = \"eipalloc-01234567\"", "s3://sites/", true, "unknown field"),
        ];
        if IS_BUILT_IN {
            table.push((elastic, "file:///srv/site", true, "beside the packages"));
        }
        for (text, package, zone, reason) in table {
            let said = read(text, package, zone).expect_err(text);
            assert!(said.contains(reason), "{said}");
        }
    }
}
