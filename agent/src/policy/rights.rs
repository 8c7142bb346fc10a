//! The table of rights: who may do what on what.

use super::{Right, Who};

/// What it takes to see a fleet of any kind.
const SEES_FLEETS: &[&str] = &[
    "ec2:DescribeInstances",
    "ec2:DescribeSpotFleetRequests",
    "ec2:DescribeSpotFleetInstances",
    "ec2:DescribeFleets",
    "ec2:DescribeFleetInstances",
    "autoscaling:DescribeAutoScalingGroups",
];

/// What it takes to change its target, or to let one of its hosts go.
const SETS_TARGETS: &[&str] = &[
    "ec2:ModifySpotFleetRequest",
    "ec2:ModifyFleet",
    "autoscaling:SetDesiredCapacity",
    "autoscaling:TerminateInstanceInAutoScalingGroup",
];

/// Every right that some configuration needs.
pub(super) const RIGHTS: &[Right] = &[
    Right {
        who: Who::Host,
        sid: "FindThePackage",
        actions: &["s3:ListBucket"],
        on: |site| site.bucket(),
        only: |site| site.below_the_prefix(),
    },
    Right {
        who: Who::Host,
        sid: "FindOlderVersions",
        actions: &["s3:ListBucketVersions"],
        on: |site| site.bucket(),
        only: |site| site.anything_below_the_prefix(),
    },
    Right {
        who: Who::Host,
        sid: "FetchThePackage",
        actions: &["s3:GetObject", "s3:GetObjectVersion"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "LeaveVerdicts",
        actions: &["s3:PutObject"],
        on: |site| site.objects(".spothost/verdicts/*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "SayWhatIsServed",
        actions: &["s3:PutObject"],
        on: |site| site.objects(".spothost/hosts/*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "TakeTurnsOrdering",
        actions: &["s3:PutObject", "s3:DeleteObject"],
        on: |site| if site.orders() { site.objects(".spothost-lease.json") } else { Vec::new() },
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "FetchTheProgram",
        actions: &["s3:GetObject"],
        on: |site| site.ground("spothost/*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "FetchUpgrades",
        actions: &["s3:GetObject"],
        on: |site| site.upgrades(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "ReportAFailedBoot",
        actions: &["s3:PutObject"],
        on: |site| site.ground("failed/*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "KeepTheIdentity",
        actions: &[
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ],
        on: |site| site.secret("-??????"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "CreateTheIdentity",
        actions: &["secretsmanager:CreateSecret"],
        on: |site| site.secret("*"),
        only: |site| site.secret_of_that_name(),
    },
    Right {
        who: Who::Host,
        sid: "BindTheAccount",
        actions: &["secretsmanager:GetSecretValue"],
        on: |site| site.secrets_of_accounts(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "SeeWhereTheNamesLead",
        actions: &["route53:ListResourceRecordSets"],
        on: |site| site.zone(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "MoveTheNames",
        actions: &["route53:ChangeResourceRecordSets"],
        on: |site| site.zone(),
        only: |site| site.records_of_the_site(),
    },
    Right {
        who: Who::Host,
        sid: "WaitForTheChange",
        actions: &["route53:GetChange"],
        on: |site| site.changes(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "TakeTurnsInTheFleet",
        actions: &["s3:PutObject"],
        on: |site| site.turns_in_the_fleet(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "SeeTheFleet",
        actions: SEES_FLEETS,
        // These actions take no resource (Service Authorization Reference, "Amazon EC2").
        on: |site| if site.follows() { vec!["*".to_owned()] } else { Vec::new() },
        only: |_| None,
    },
    Right { who: Who::Host, sid: "SetItsTarget", actions: SETS_TARGETS, on: |site| site.fleets(), only: |_| None },
    Right {
        who: Who::Host,
        sid: "EndAHostOfTheSite",
        actions: &["ec2:TerminateInstances"],
        on: |site| if site.follows() { vec![site.arn("ec2", "instance/*")] } else { Vec::new() },
        only: |site| site.tagged_as_a_host(),
    },
    Right {
        who: Who::Host,
        sid: "SeeHealthChecks",
        actions: &["route53:ListHealthChecks"],
        // This action takes no resource (Service Authorization Reference, "Amazon Route 53").
        on: |site| site.where_many_are_led_to("*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "MakeHealthChecks",
        actions: &["route53:CreateHealthCheck"],
        // A check that is to be made has no id yet.
        on: |site| site.where_many_are_led_to("*"),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "DeleteHealthChecks",
        actions: &["route53:DeleteHealthCheck"],
        on: |site| {
            let checks = format!("arn:{}:route53:::healthcheck/*", site.place.partition());
            site.where_many_are_led_to(&checks)
        },
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "ClaimTheAddress",
        actions: &["s3:PutObject"],
        on: |site| site.where_an_address_moves(site.objects(".spothost-claim.json")),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "SeeWhereTheAddressLeads",
        actions: &["ec2:DescribeAddresses"],
        // This action takes no resource (Service Authorization Reference, "Amazon EC2").
        on: |site| site.where_an_address_moves(vec!["*".to_owned()]),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "MoveTheAddress",
        actions: &["ec2:AssociateAddress"],
        on: |site| site.elastic_ip(),
        only: |_| None,
    },
    Right {
        who: Who::Host,
        sid: "MoveItToAHostOfTheSite",
        actions: &["ec2:AssociateAddress"],
        on: |site| site.where_an_address_moves(vec![site.arn("ec2", "instance/*")]),
        only: |site| site.tagged_as_a_host(),
    },
    Right {
        who: Who::Publisher,
        sid: "FindThePackages",
        actions: &["s3:ListBucket", "s3:ListBucketMultipartUploads"],
        on: |site| site.bucket(),
        only: |site| site.anything_below_the_prefix(),
    },
    Right {
        who: Who::Publisher,
        sid: "PublishPackages",
        actions: &["s3:GetObject", "s3:PutObject"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    Right {
        who: Who::Publisher,
        sid: "GoOnWithAnUpload",
        actions: &["s3:ListMultipartUploadParts"],
        on: |site| site.objects("site-*"),
        only: |_| None,
    },
    // Versions begin with their year; what hosts look for does not.
    Right {
        who: Who::Publisher,
        sid: "PruneOldVersions",
        actions: &["s3:DeleteObject"],
        on: |site| site.objects("site-2*"),
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "FindThePackages",
        actions: &["s3:ListBucket"],
        on: |site| site.bucket(),
        only: |site| site.anything_below_the_prefix(),
    },
    Right {
        who: Who::Operator,
        sid: "SeeThePackages",
        actions: &["s3:GetObject"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "MendTheIdentity",
        actions: &[
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ],
        on: |site| site.secret("-??????"),
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "CreateTheIdentity",
        actions: &["secretsmanager:CreateSecret"],
        on: |site| site.secret("*"),
        only: |site| site.secret_of_that_name(),
    },
    Right {
        who: Who::Operator,
        sid: "SeeWhereTheNamesLead",
        actions: &["route53:ListResourceRecordSets"],
        on: |site| site.zone(),
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "FindTheZone",
        actions: &["route53:ListHostedZonesByName"],
        // It takes no resource (Service Authorization Reference, "Amazon Route 53").
        on: |site| if site.config.zone.is_some() { vec!["*".to_owned()] } else { Vec::new() },
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "SeeTheFleet",
        actions: SEES_FLEETS,
        on: |site| if site.config.zone.is_some() { vec!["*".to_owned()] } else { Vec::new() },
        only: |_| None,
    },
    Right { who: Who::Operator, sid: "SetItsTarget", actions: SETS_TARGETS, on: |site| site.fleets(), only: |_| None },
    Right {
        who: Who::Operator,
        sid: "EndAHostOfTheSite",
        actions: &["ec2:TerminateInstances"],
        on: |site| if site.config.zone.is_some() { vec![site.arn("ec2", "instance/*")] } else { Vec::new() },
        only: |site| site.tagged_as_a_host(),
    },
    Right {
        who: Who::Operator,
        sid: "SeeTheQuota",
        actions: &["servicequotas:GetServiceQuota"],
        on: |site| {
            if site.config.zone.is_some() { vec![site.arn("servicequotas", "ec2/L-34B43A08")] } else { Vec::new() }
        },
        only: |_| None,
    },
    Right {
        who: Who::Operator,
        sid: "ReckonTheRightsOfHosts",
        actions: &["iam:SimulatePrincipalPolicy"],
        on: |site| if site.config.needs_aws() { vec![site.roles()] } else { Vec::new() },
        only: |_| None,
    },
];
