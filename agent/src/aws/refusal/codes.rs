//! The error codes of AWS, sorted by what would cure them. A table and nothing else: the tests read it as well, beside AWS's
//! own service models, so that a code which AWS adds to a call that is made here has to be sorted here.
//!
//! What is not in it is taken for something that passes. Codes that a caller expects (an object that is not there, a version
//! that somebody else was faster with) it handles before it asks this table.

/// The cure of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Time.
    Retry,
    /// Time, and being asked less often.
    Wait,
    /// A person, who is to do this.
    Operator(&'static str),
    /// A person, who is to allow what was asked.
    Allow,
    /// A person, who is to give other credentials.
    Login,
}

use Sort::{Allow, Login, Operator, Retry, Wait};

/// The service, by its prefix in IAM's actions, or `*` for any; a code; what would cure it.
pub(crate) type Row = (&'static str, &'static str, Sort);

/// What `service` means by `code`.
pub(crate) fn sorted(service: &str, code: &str) -> Sort {
    let row = |of: &str| CODES.iter().find(|(service, known, _)| *service == of && *known == code);
    row(service).or_else(|| row("*")).map_or(Retry, |(.., sort)| *sort)
}

const RESTORE: &str = "bring it back (aws secretsmanager restore-secret --secret-id …), or name another secret";
const SECRET: &str = "correct the name of the secret in the configuration";
const CONFIGURED: &str = "correct what the configuration names: AWS does not take it";
const ZONE: &str = "correct `zone` in the configuration: it is the id of the public hosted zone";
const NAMES: &str = "correct `domain` and `aliases` in the configuration";
const OBJECT: &str = "publish the package again: the object is archived";
const KMS: &str = "enable the KMS key of the bucket, and allow its use to the caller";
const BUCKET: &str = "check the settings of the bucket: it refuses what spothost writes";
const FLEET: &str = "correct [fleet] id in the configuration";
const ADDRESS: &str = "correct [address] elastic_ip in the configuration";
const QUOTA: &str = "ask for a higher quota of the account (Service Quotas)";
const ACCOUNT: &str = "check the AWS account: it may not use this service";
const DEFECT: &str = "report this as a defect: spothost sent AWS an invalid request";

/// Every code that is sorted.
pub(crate) const CODES: &[Row] = &[
    // Of any service: "Common error types" of the API references, "Error responses" of S3, "Error codes" of EC2.
    ("*", "AccessDenied", Allow),
    ("*", "AccessDeniedException", Allow),
    ("*", "AllAccessDisabled", Allow),
    ("*", "AccountProblem", Operator(ACCOUNT)),
    ("*", "AuthFailure", Login),
    ("*", "Blocked", Operator(ACCOUNT)),
    ("*", "ExpiredToken", Login),
    ("*", "ExpiredTokenException", Login),
    ("*", "Forbidden", Allow),
    ("*", "IncompleteSignature", Login),
    ("*", "InternalError", Retry),
    ("*", "InternalFailure", Retry),
    ("*", "InternalServerError", Retry),
    ("*", "InvalidAccessKeyId", Login),
    ("*", "InvalidClientTokenId", Login),
    ("*", "InvalidSecurity", Login),
    ("*", "InvalidSignatureException", Login),
    ("*", "InvalidToken", Login),
    ("*", "MissingAuthenticationToken", Login),
    ("*", "NotAuthorized", Allow),
    ("*", "NotSignedUp", Operator(ACCOUNT)),
    ("*", "OptInRequired", Operator(ACCOUNT)),
    ("*", "PendingVerification", Operator(ACCOUNT)),
    ("*", "RequestExpired", Retry),
    ("*", "RequestLimitExceeded", Wait),
    ("*", "RequestThrottled", Wait),
    ("*", "RequestTimeout", Retry),
    ("*", "RequestTimeTooSkewed", Retry),
    ("*", "ServiceUnavailable", Retry),
    ("*", "SignatureDoesNotMatch", Login),
    ("*", "SlowDown", Retry),
    ("*", "SubscriptionRequiredException", Operator(ACCOUNT)),
    ("*", "Throttling", Wait),
    ("*", "ThrottlingException", Wait),
    ("*", "ThrottledException", Wait),
    ("*", "TokenRefreshRequired", Login),
    ("*", "TooManyRequestsException", Wait),
    ("*", "UnauthorizedOperation", Allow),
    ("*", "UnrecognizedClientException", Login),
    // Amazon S3.
    ("s3", "EncryptionTypeMismatch", Operator(BUCKET)),
    ("s3", "EntityTooLarge", Operator("publish a smaller package")),
    ("s3", "InvalidBucketName", Operator("correct `package` in the configuration")),
    ("s3", "InvalidObjectState", Operator(OBJECT)),
    ("s3", "InvalidRequest", Operator(BUCKET)),
    ("s3", "InvalidWriteOffset", Operator(DEFECT)),
    ("s3", "KMS.DisabledException", Operator(KMS)),
    ("s3", "KMS.InvalidKeyUsageException", Operator(KMS)),
    ("s3", "KMS.KMSInvalidStateException", Operator(KMS)),
    ("s3", "KMS.NotFoundException", Operator(KMS)),
    ("s3", "NoSuchBucket", Operator("correct `package` in the configuration, or make the bucket")),
    ("s3", "NoSuchKey", Retry),
    ("s3", "NoSuchUpload", Retry),
    ("s3", "ObjectNotInActiveTierError", Operator(OBJECT)),
    ("s3", "OperationAborted", Retry),
    (
        "s3",
        "PermanentRedirect",
        Operator("the bucket is in another region, and S3 does not say in which: use one of this region"),
    ),
    ("s3", "TooManyParts", Operator(DEFECT)),
    // AWS Secrets Manager.
    ("secretsmanager", "DecryptionFailure", Operator("allow kms:Decrypt on the key of the secret to the host's role")),
    (
        "secretsmanager",
        "EncryptionFailure",
        Operator("allow kms:GenerateDataKey on the key of the secret to the host's role"),
    ),
    ("secretsmanager", "InternalServiceError", Retry),
    ("secretsmanager", "InvalidParameterException", Operator(SECRET)),
    // What stands in the way is a state of the secret: that it is scheduled for deletion, or managed by another service.
    ("secretsmanager", "InvalidRequestException", Operator(RESTORE)),
    ("secretsmanager", "LimitExceededException", Operator(QUOTA)),
    ("secretsmanager", "MalformedPolicyDocumentException", Operator(DEFECT)),
    ("secretsmanager", "PreconditionNotMetException", Operator(SECRET)),
    ("secretsmanager", "ResourceExistsException", Retry),
    // One that was there at the last look; the next finds none, and makes it.
    ("secretsmanager", "ResourceNotFoundException", Retry),
    // Amazon Route 53.
    ("route53", "HealthCheckAlreadyExists", Retry),
    ("route53", "HealthCheckInUse", Retry),
    ("route53", "IncompatibleVersion", Operator(DEFECT)),
    // Whether a batch was refused for what somebody else has changed meanwhile its caller tells.
    ("route53", "InvalidChangeBatch", Operator(NAMES)),
    ("route53", "InvalidDomainName", Operator(NAMES)),
    ("route53", "InvalidInput", Operator(CONFIGURED)),
    ("route53", "NoSuchChange", Retry),
    ("route53", "NoSuchHealthCheck", Retry),
    ("route53", "NoSuchHostedZone", Operator(ZONE)),
    ("route53", "PriorRequestNotComplete", Wait),
    ("route53", "TooManyHealthChecks", Operator(QUOTA)),
    // Amazon EC2, whose model lists no codes: "Error codes for the Amazon EC2 API", as far as the calls made here go.
    ("ec2", "FleetNotInModifiableState", Retry),
    ("ec2", "InvalidAllocationID.NotFound", Operator(ADDRESS)),
    ("ec2", "InvalidFleetId", Operator(FLEET)),
    ("ec2", "InvalidFleetId.Malformed", Operator(FLEET)),
    ("ec2", "InvalidFleetId.NotFound", Operator(FLEET)),
    ("ec2", "InvalidInstanceID.NotFound", Retry),
    ("ec2", "InvalidSpotFleetRequestId.Malformed", Operator(FLEET)),
    ("ec2", "InvalidSpotFleetRequestId.NotFound", Operator(FLEET)),
    (
        "ec2",
        "OperationNotPermitted",
        Operator("the instance or address is protected: check its termination protection"),
    ),
    ("ec2", "Unavailable", Retry),
    // Amazon EC2 Auto Scaling.
    ("autoscaling", "InvalidNextToken", Retry),
    ("autoscaling", "ResourceContention", Retry),
    ("autoscaling", "ScalingActivityInProgress", Retry),
    (
        "autoscaling",
        "ValidationError",
        Operator("correct [fleet] id in the configuration, and check the sizes of the group"),
    ),
    // AWS IAM.
    ("iam", "InvalidInput", Operator("name a role of the account")),
    ("iam", "NoSuchEntity", Operator("name a role of the account")),
    ("iam", "PolicyEvaluation", Operator("check the policies of the role: IAM cannot evaluate them")),
    // Service Quotas.
    ("servicequotas", "DependencyAccessDeniedException", Allow),
    ("servicequotas", "IllegalArgumentException", Operator(DEFECT)),
    ("servicequotas", "InvalidPaginationTokenException", Retry),
    ("servicequotas", "NoSuchResourceException", Operator(DEFECT)),
    ("servicequotas", "ServiceException", Retry),
];
