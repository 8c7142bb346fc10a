//! The partitions of AWS: the partition of a region, and the names that differ there.
//!
//! Every SDK carries botocore's `partitions.json` and exports it nowhere, and the end points of IAM are in none of ours. So
//! this is a table; tests hold it against the end points that the SDK resolves, and against botocore's own file.

/// A partition: a set of regions that shares accounts with no other.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// The first part of every ARN in it (AWS General Reference, "Amazon Resource Names").
    pub name: &'static str,
    /// What the names of end points in it end in.
    pub suffix: &'static str,
    /// The one end point of IAM in it, and the region that signatures for it name (AWS General Reference, "AWS Identity and
    /// Access Management endpoints and quotas").
    pub(super) iam: (&'static str, &'static str),
    /// What the names of its regions begin with.
    regions: &'static [&'static str],
}

/// The partition with the regions that anybody may use; regions of no other are of it.
static COMMERCIAL: Partition = Partition {
    name: "aws",
    suffix: "amazonaws.com",
    iam: ("iam.amazonaws.com", "us-east-1"),
    regions: &["us-", "eu-", "ap-", "sa-", "ca-", "me-", "af-", "il-", "mx-"],
};

/// The others. No prefix of theirs begins a region of the commercial one.
static OTHERS: [Partition; 7] = [
    Partition {
        name: "aws-cn",
        suffix: "amazonaws.com.cn",
        iam: ("iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        regions: &["cn-"],
    },
    Partition {
        name: "aws-us-gov",
        suffix: "amazonaws.com",
        iam: ("iam.us-gov.amazonaws.com", "us-gov-west-1"),
        regions: &["us-gov-"],
    },
    Partition {
        name: "aws-eusc",
        suffix: "amazonaws.eu",
        iam: ("iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        regions: &["eusc-"],
    },
    Partition {
        name: "aws-iso",
        suffix: "c2s.ic.gov",
        iam: ("iam.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        regions: &["us-iso-"],
    },
    Partition {
        name: "aws-iso-b",
        suffix: "sc2s.sgov.gov",
        iam: ("iam.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
        regions: &["us-isob-"],
    },
    Partition {
        name: "aws-iso-e",
        suffix: "cloud.adc-e.uk",
        iam: ("iam.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1"),
        regions: &["eu-isoe-"],
    },
    Partition {
        name: "aws-iso-f",
        suffix: "csp.hci.ic.gov",
        iam: ("iam.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1"),
        regions: &["us-isof-"],
    },
];

impl Partition {
    /// The partition of that region; the commercial one, too, for what is no region, such as `*`.
    pub fn of(region: &str) -> &'static Partition {
        let is_of = |partition: &&Partition| partition.regions.iter().any(|begin| region.starts_with(begin));
        OTHERS.iter().find(is_of).unwrap_or(&COMMERCIAL)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sts::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};

    use super::*;

    #[tokio::test]
    async fn end_points_end_as_the_sdk_has_them() {
        let regions = [
            "us-east-1",
            "us-west-2",
            "eu-central-1",
            "eu-south-2",
            "ap-southeast-7",
            "sa-east-1",
            "ca-west-1",
            "me-central-1",
            "af-south-1",
            "il-central-1",
            "mx-central-1",
            "cn-north-1",
            "cn-northwest-1",
            "us-gov-east-1",
            "us-gov-west-1",
            "us-iso-east-1",
            "us-iso-west-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
            "us-isof-south-1",
            "us-isof-east-1",
            "eusc-de-east-1",
        ];
        for region in regions {
            let params = Params::builder().region(region).build().expect("parameters");
            let resolved = DefaultResolver::new().resolve_endpoint(&params).await.expect("an end point");
            let partition = Partition::of(region);
            assert_eq!(resolved.url(), format!("https://sts.{region}.{}", partition.suffix), "{region}");
            let (host, signed) = partition.iam;
            assert!(host.ends_with(partition.suffix) && Partition::of(signed) == partition, "{region}: {host}");
        }
    }

    #[test]
    fn what_is_no_region_is_commercial() {
        for text in ["", "*", "nowhere", "us"] {
            assert_eq!(Partition::of(text).name, "aws", "{text}");
        }
    }

    #[test]
    fn prefixes_do_not_begin_each_other_within_the_others() {
        let all: Vec<_> = OTHERS.iter().flat_map(|partition| partition.regions).collect();
        for one in &all {
            assert_eq!(all.iter().filter(|other| other.starts_with(**one)).count(), 1, "{one}");
        }
        assert!(COMMERCIAL.regions.iter().all(|begin| Partition::of(&format!("{begin}x-1")).name == "aws"));
    }
}
