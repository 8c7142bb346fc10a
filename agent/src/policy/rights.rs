//! The table of rights: who may do what on what.

use super::{Audience, FleetKind, RightRow, below, every, everything};
use crate::documents::layout::{
    ADDRESS_CLAIM, FAILED_BOOTS, HOSTS, ORDER_LEASE, PROGRAMS, PUBLISHED, VERDICTS, VERSIONS,
};

/// What is asked of fleets of a kind.
const SEES_GROUPS: &[&str] = &["autoscaling:DescribeAutoScalingGroups"];
const SEES_EC2_FLEETS: &[&str] = &["ec2:DescribeFleets", "ec2:DescribeFleetInstances"];
const SEES_SPOT_FLEETS: &[&str] = &["ec2:DescribeSpotFleetRequests", "ec2:DescribeSpotFleetInstances"];

/// What changes the target of fleets of a kind. A group lets its hosts go itself.
const SETS_GROUPS: &[&str] = &["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"];
const SETS_EC2_FLEETS: &[&str] = &["ec2:ModifyFleet"];
const SETS_SPOT_FLEETS: &[&str] = &["ec2:ModifySpotFleetRequest"];

/// What keeps an identity that is there.
const KEEPS_SECRETS: &[&str] =
    &["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"];

/// What reads and writes under a customer-managed key (Amazon S3 User Guide, "Using server-side encryption with AWS KMS
/// keys"; AWS Secrets Manager User Guide, "Secret encryption and decryption").
const USES_KEYS: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];

/// Every right that some configuration needs.
pub(super) const RIGHTS: &[RightRow] = &[
    RightRow {
        who: Audience::Host,
        sid: "FindThePackage",
        actions: &["s3:ListBucket", "s3:ListBucketVersions"],
        on: |site| site.bucket(),
        only: |site| site.below_the_prefix(),
    },
    RightRow {
        who: Audience::Host,
        sid: "FetchThePackage",
        actions: &["s3:GetObject", "s3:GetObjectVersion"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "LeaveVerdicts",
        actions: &["s3:PutObject"],
        on: |site| site.objects(&every(VERDICTS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SayWhatIsServed",
        actions: &["s3:PutObject"],
        on: |site| site.objects(&every(HOSTS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "TakeTurnsOrdering",
        actions: &["s3:PutObject"],
        on: |site| if site.orders() { site.objects(ORDER_LEASE) } else { Vec::new() },
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "FetchTheProgram",
        actions: &["s3:GetObject"],
        on: |site| site.ground(&every(PROGRAMS)),
        only: |_| None,
    },
    // Who may not list is told that it may not read what is not there.
    RightRow {
        who: Audience::Host,
        sid: "FindUpgrades",
        actions: &["s3:ListBucket"],
        on: |site| site.bucket_of_upgrades(),
        only: |site| site.below_the_upgrades(),
    },
    RightRow {
        who: Audience::Host,
        sid: "FetchUpgrades",
        actions: &["s3:GetObject"],
        on: |site| site.upgrades(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "ReportAFailedBoot",
        actions: &["s3:PutObject"],
        on: |site| site.ground(&every(FAILED_BOOTS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "KeepTheIdentity",
        actions: KEEPS_SECRETS,
        on: |site| site.secret(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "CreateTheIdentity",
        actions: &["secretsmanager:CreateSecret"],
        on: |site| site.secret_to_be_made(),
        only: |site| site.secret_of_that_name(),
    },
    RightRow {
        who: Audience::Host,
        sid: "BindTheAccount",
        actions: &["secretsmanager:GetSecretValue"],
        on: |site| site.secrets_of_accounts(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "ReadTheSecretsOfTheApplication",
        actions: &["secretsmanager:GetSecretValue"],
        on: |site| site.secrets_of_the_application(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "UseTheKeys",
        actions: USES_KEYS,
        on: |site| site.place.keys.clone(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SeeWhereTheNamesLead",
        actions: &["route53:ListResourceRecordSets"],
        on: |site| site.zone(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "MoveTheNames",
        actions: &["route53:ChangeResourceRecordSets"],
        on: |site| site.zone(),
        only: |site| site.records_of_the_site(),
    },
    RightRow {
        who: Audience::Host,
        sid: "WaitForTheChange",
        actions: &["route53:GetChange"],
        on: |site| site.changes(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "TakeTurnsInTheFleet",
        actions: &["s3:PutObject"],
        on: |site| site.turns_in_the_fleet(),
        only: |_| None,
    },
    // What describes takes no resource (Service Authorization Reference, "Amazon EC2", "Amazon EC2 Auto Scaling").
    RightRow {
        who: Audience::Host,
        sid: "SeeTheHosts",
        actions: &["ec2:DescribeInstances"],
        on: |site| if site.follows() { everything() } else { Vec::new() },
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SeeTheGroup",
        actions: SEES_GROUPS,
        on: |site| site.where_a_fleet_may_be(FleetKind::AutoScalingGroup),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SeeTheEc2Fleet",
        actions: SEES_EC2_FLEETS,
        on: |site| site.where_a_fleet_may_be(FleetKind::Ec2Fleet),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SeeTheSpotFleet",
        actions: SEES_SPOT_FLEETS,
        on: |site| site.where_a_fleet_may_be(FleetKind::SpotFleet),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SetTheGroup",
        actions: SETS_GROUPS,
        on: |site| site.fleets(FleetKind::AutoScalingGroup),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Host,
        sid: "SetTheEc2Fleet",
        actions: SETS_EC2_FLEETS,
        on: |site| site.fleets(FleetKind::Ec2Fleet),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Host,
        sid: "SetTheSpotFleet",
        actions: SETS_SPOT_FLEETS,
        on: |site| site.fleets(FleetKind::SpotFleet),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Host,
        sid: "EndAHostOfTheSite",
        actions: &["ec2:TerminateInstances"],
        on: |site| site.hosts_to_end(),
        only: |site| site.tagged_as_of_the_site(),
    },
    // This action takes no resource (Service Authorization Reference, "Amazon Route 53").
    RightRow {
        who: Audience::Host,
        sid: "SeeHealthChecks",
        actions: &["route53:ListHealthChecks"],
        on: |site| site.where_many_are_led_to("*"),
        only: |_| None,
    },
    // A check that is to be made has no id yet.
    RightRow {
        who: Audience::Host,
        sid: "MakeHealthChecks",
        actions: &["route53:CreateHealthCheck"],
        on: |site| site.where_many_are_led_to("*"),
        only: |_| None,
    },
    // Its condition keys are none that could tell one's own from others' (the same reference).
    RightRow {
        who: Audience::Host,
        sid: "DeleteHealthChecks",
        actions: &["route53:DeleteHealthCheck"],
        on: |site| {
            let checks = format!("arn:{}:route53:::healthcheck/*", site.place.partition());
            site.where_many_are_led_to(&checks)
        },
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "ClaimTheAddress",
        actions: &["s3:PutObject"],
        on: |site| site.where_an_address_moves(site.objects(ADDRESS_CLAIM)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "SeeWhereTheAddressLeads",
        actions: &["ec2:DescribeAddresses"],
        on: |site| site.where_an_address_moves(everything()),
        only: |_| None,
    },
    RightRow {
        who: Audience::Host,
        sid: "MoveTheAddress",
        actions: &["ec2:AssociateAddress"],
        on: |site| site.elastic_ip(),
        only: |_| None,
    },
    // AWS asks for the instance and for its interface.
    RightRow {
        who: Audience::Host,
        sid: "MoveItToAHostOfTheSite",
        actions: &["ec2:AssociateAddress"],
        on: |site| {
            let kinds = ["instance/*", "network-interface/*"];
            site.where_an_address_moves(kinds.map(|kind| site.arn("ec2", kind)).to_vec())
        },
        only: |site| site.tagged_as_of_the_site(),
    },
    RightRow {
        who: Audience::Publisher,
        sid: "FindThePackages",
        actions: &["s3:ListBucket"],
        on: |site| site.bucket(),
        only: |site| site.below_the_prefix(),
    },
    // This action knows no `s3:prefix` (Service Authorization Reference, "Amazon S3").
    RightRow {
        who: Audience::Publisher,
        sid: "FindUnfinishedUploads",
        actions: &["s3:ListBucketMultipartUploads"],
        on: |site| site.bucket(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Publisher,
        sid: "FetchPackages",
        actions: &["s3:GetObject"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    // Nothing that hosts write for each other begins so.
    RightRow {
        who: Audience::Publisher,
        sid: "PublishPackages",
        actions: &["s3:PutObject"],
        on: |site| site.objects(&every(PUBLISHED)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Publisher,
        sid: "GoOnWithAnUpload",
        actions: &["s3:ListMultipartUploadParts"],
        on: |site| site.objects(&every(PUBLISHED)),
        only: |_| None,
    },
    // Versions begin with their year; what hosts look for does not.
    RightRow {
        who: Audience::Publisher,
        sid: "PruneOldVersions",
        actions: &["s3:DeleteObject"],
        on: |site| site.objects(&every(VERSIONS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Publisher,
        sid: "FetchTheProgram",
        actions: &["s3:GetObject"],
        on: |site| site.ground(&every(PROGRAMS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Publisher,
        sid: "UseTheKeys",
        actions: USES_KEYS,
        on: |site| site.place.keys.clone(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "FindThePackages",
        actions: &["s3:ListBucket"],
        on: |site| site.bucket(),
        only: |site| site.below_the_prefix(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeThePackages",
        actions: &["s3:GetObject"],
        on: |site| site.objects("*"),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "DeleteAVerdict",
        actions: &["s3:DeleteObject"],
        on: |site| site.objects(&every(VERDICTS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "FindReportsOfFailedBoots",
        actions: &["s3:ListBucket"],
        on: |site| site.ground_itself(),
        only: |_| below(FAILED_BOOTS),
    },
    RightRow {
        who: Audience::Operator,
        sid: "ReadReportsOfFailedBoots",
        actions: &["s3:GetObject"],
        on: |site| site.ground(&every(FAILED_BOOTS)),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "ReadTheConsole",
        actions: &["ec2:GetConsoleOutput"],
        on: |site| if site.follows() { vec![site.arn("ec2", "instance/*")] } else { Vec::new() },
        only: |site| site.tagged_as_of_the_site(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "MendTheIdentity",
        actions: KEEPS_SECRETS,
        on: |site| site.secret(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "CreateTheIdentity",
        actions: &["secretsmanager:CreateSecret"],
        on: |site| site.secret_to_be_made(),
        only: |site| site.secret_of_that_name(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "UseTheKeys",
        actions: USES_KEYS,
        on: |site| site.place.keys.clone(),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeWhereTheNamesLead",
        actions: &["route53:ListResourceRecordSets"],
        on: |site| site.zone(),
        only: |_| None,
    },
    // It takes no resource (Service Authorization Reference, "Amazon Route 53").
    RightRow {
        who: Audience::Operator,
        sid: "FindTheZone",
        actions: &["route53:ListHostedZonesByName"],
        on: |site| if site.config.zone.is_some() { everything() } else { Vec::new() },
        only: |_| None,
    },
    // What describes takes no resource (Service Authorization Reference, "Amazon EC2", "Amazon EC2 Auto Scaling").
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheHosts",
        actions: &["ec2:DescribeInstances"],
        on: |site| if site.follows() { everything() } else { Vec::new() },
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheGroup",
        actions: SEES_GROUPS,
        on: |site| site.where_a_fleet_may_be(FleetKind::AutoScalingGroup),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheEc2Fleet",
        actions: SEES_EC2_FLEETS,
        on: |site| site.where_a_fleet_may_be(FleetKind::Ec2Fleet),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheSpotFleet",
        actions: SEES_SPOT_FLEETS,
        on: |site| site.where_a_fleet_may_be(FleetKind::SpotFleet),
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "SetTheGroup",
        actions: SETS_GROUPS,
        on: |site| site.fleets(FleetKind::AutoScalingGroup),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "SetTheEc2Fleet",
        actions: SETS_EC2_FLEETS,
        on: |site| site.fleets(FleetKind::Ec2Fleet),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "SetTheSpotFleet",
        actions: SETS_SPOT_FLEETS,
        on: |site| site.fleets(FleetKind::SpotFleet),
        only: |site| site.fleet_of_the_site(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "EndAHostOfTheSite",
        actions: &["ec2:TerminateInstances"],
        on: |site| site.hosts_to_end(),
        only: |site| site.tagged_as_of_the_site(),
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheLaunchTemplate",
        actions: &["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"],
        on: |site| if site.follows() { everything() } else { Vec::new() },
        only: |_| None,
    },
    // Without it S3 answers 403 for a program that is not there, and not 404.
    RightRow {
        who: Audience::Operator,
        sid: "FindTheProgram",
        actions: &["s3:ListBucket"],
        on: |site| site.ground_itself(),
        only: |_| below(PROGRAMS),
    },
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheProgram",
        actions: &["s3:GetObject"],
        on: |site| site.ground(&every(PROGRAMS)),
        only: |_| None,
    },
    // Older editions of the Service Authorization Reference know no resource of this action, newer ones the quota.
    RightRow {
        who: Audience::Operator,
        sid: "SeeTheQuota",
        actions: &["servicequotas:GetServiceQuota"],
        on: |site| if site.config.zone.is_some() { everything() } else { Vec::new() },
        only: |_| None,
    },
    RightRow {
        who: Audience::Operator,
        sid: "ReckonTheRightsOfHosts",
        actions: &["iam:SimulatePrincipalPolicy"],
        on: |site| if site.config.needs_aws() { vec![site.roles()] } else { Vec::new() },
        only: |_| None,
    },
];
