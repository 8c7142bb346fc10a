//! Buckets of another region than the caller's: S3 says where they are, and from then on they are asked there.
//!
//! A request that came to another region than the bucket's, or was signed for another, is refused: with 301, or with 400
//! `AuthorizationHeaderMalformed`. The answer names the bucket's region, in its header `x-amz-bucket-region` or in its body
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html>). The SDK for Rust does not follow it as those for
//! other languages do, so these are: an interceptor that lets every attempt go to the region that was learned, and a
//! classifier that has the refused attempt made again. All clients of a process learn it once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_s3::{
    config::{
        Builder, ConfigBag, Intercept, RuntimeComponents,
        endpoint::Params,
        interceptors::{
            BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
            FinalizerInterceptorContextRef,
        },
        retry::RetryConfig,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::{
    endpoint::EndpointResolverParams,
    interceptors::context::InterceptorContext,
    orchestrator::HttpResponse,
    retries::classifiers::{ClassifyRetry, RetryAction},
};

use super::Aws;

/// Where S3 says in which region a bucket is.
const HEADER: &str = "x-amz-bucket-region";
/// Longer than the name of any region.
const LONGEST_NAME: usize = 32;

/// The regions of buckets that are not in the caller's, by bucket, as S3 told them.
#[derive(Clone, Debug, Default)]
pub(super) struct BucketRegions(Arc<Mutex<HashMap<String, String>>>);

/// Has an attempt that was sent to the wrong region made again, and where it is `alone`, no other.
#[derive(Debug)]
struct Redirect {
    alone: bool,
}

impl Aws {
    /// The configuration of a client of S3 whose calls are made once: a keeper decides when to ask again.
    pub(super) fn s3_once(&self) -> Builder {
        let once = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1));
        self.following(Redirect { alone: true }).retry_config(once)
    }

    /// The same for one whose calls are repeated where they may be.
    pub(super) fn s3(&self) -> Builder {
        self.following(Redirect { alone: false })
    }

    fn following(&self, redirect: Redirect) -> Builder {
        let config = Builder::from(&self.config).interceptor(self.date.clone());
        config.interceptor(self.bucket_regions.clone()).retry_classifier(redirect)
    }

    /// The region of a bucket that is in another than the caller's, once a call has told it.
    pub fn region_of_bucket(&self, bucket: &str) -> Option<String> {
        self.bucket_regions.of(bucket)
    }
}

impl BucketRegions {
    fn of(&self, bucket: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }

    fn learn(&self, bucket: &str, region: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.insert(bucket.to_owned(), region.clone()).as_ref() != Some(&region) {
            tracing::info!(bucket, region, "the bucket is in another region, and is asked there");
        }
    }
}

impl Intercept for BucketRegions {
    fn name(&self) -> &'static str {
        "BucketRegions"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let params = bag.load::<EndpointResolverParams>().and_then(|params| params.get::<Params>());
        if let Some((params, region)) = params.and_then(|params| Some((params, self.of(params.bucket()?)?))) {
            let params = in_region(params, region)?;
            bag.interceptor_state().store_put(EndpointResolverParams::new(params));
        }
        Ok(())
    }

    /// Of the regions that are told only another one than was asked is of interest.
    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let params = bag.load::<EndpointResolverParams>().and_then(|params| params.get::<Params>());
        if context.response().headers().get(HEADER) == params.and_then(Params::region) {
            context.response_mut().headers_mut().remove(HEADER);
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let params = bag.load::<EndpointResolverParams>().and_then(|params| params.get::<Params>());
        let region = context.response().and_then(elsewhere);
        if let Some((bucket, region)) = params.and_then(Params::bucket).zip(region) {
            self.learn(bucket, region);
        }
        Ok(())
    }
}

impl ClassifyRetry for Redirect {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response().and_then(elsewhere) {
            Some(_) => RetryAction::client_error(),
            None if self.alone => RetryAction::RetryForbidden,
            None => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Redirect"
    }
}

/// The region that a refusal names, in which the bucket is.
fn elsewhere(answer: &HttpResponse) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 307 | 400 | 403) {
        return None;
    }
    let told = answer.headers().get(HEADER).map(str::to_owned).or_else(|| expected(answer.body().bytes()?))?;
    let is_name = told.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (is_name && (1..=LONGEST_NAME).contains(&told.len())).then_some(told)
}

/// The region that a refused signature should have been for: `AuthorizationHeaderMalformed`, and its `Region`.
fn expected(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
    };
    element("Code").filter(|code| *code == "AuthorizationHeaderMalformed")?;
    element("Region").map(str::to_owned)
}

/// The same end point in another region.
fn in_region(params: &Params, region: String) -> Result<Params, BoxError> {
    let there = Params::builder()
        .region(region)
        .set_bucket(params.bucket().map(str::to_owned))
        .set_use_fips(params.use_fips())
        .set_use_dual_stack(params.use_dual_stack())
        .set_endpoint(params.endpoint().map(str::to_owned))
        .set_force_path_style(params.force_path_style())
        .set_accelerate(params.accelerate())
        .set_use_global_endpoint(params.use_global_endpoint())
        .set_use_object_lambda_endpoint(params.use_object_lambda_endpoint())
        .set_key(params.key().map(str::to_owned))
        .set_prefix(params.prefix().map(str::to_owned))
        .set_copy_source(params.copy_source().map(str::to_owned))
        .set_disable_access_points(params.disable_access_points())
        .set_disable_multi_region_access_points(params.disable_multi_region_access_points())
        .set_use_arn_region(params.use_arn_region())
        .set_use_s3_express_control_endpoint(params.use_s3_express_control_endpoint())
        .set_disable_s3_express_session_auth(params.disable_s3_express_session_auth());
    Ok(there.build()?)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn answer(status: u16, told: Option<&str>, body: &str) -> HttpResponse {
        let mut answer = HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body.to_owned()));
        if let Some(told) = told {
            answer.headers_mut().insert("x-amz-bucket-region", told.to_owned());
        }
        answer
    }

    #[test]
    fn region_is_told_by_what_refuses_another() {
        let malformed = |region: &str| {
            format!(
                "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>{region}</Region></Error>"
            )
        };
        let other = "<Error><Code>InvalidArgument</Code><Region>eu-west-1</Region></Error>".to_owned();
        let there = Some("eu-west-1");
        let table = [
            (answer(301, there, ""), there),
            (answer(307, there, ""), there),
            (answer(400, there, ""), there),
            (answer(403, there, ""), there),
            (answer(400, None, &malformed("eu-west-1")), there),
            (answer(400, None, &other), None),
            (answer(403, None, ""), None),
            (answer(200, there, ""), None),
            (answer(404, there, ""), None),
            (answer(301, None, ""), None),
            // What would lead somewhere else than to S3.
            (answer(301, Some("evil.example/"), ""), None),
            (answer(301, Some(""), ""), None),
            (answer(301, Some(&"x".repeat(33)), ""), None),
        ];
        for (answer, expected) in table {
            assert_eq!(elsewhere(&answer).as_deref(), expected, "{answer:?}");
        }
    }

    #[test]
    fn end_point_is_that_of_the_other_region_and_else_the_same() {
        let params = Params::builder().region("us-east-1").bucket("sites").key("k").use_fips(true).use_dual_stack(true);
        let there = in_region(&params.clone().build().expect("built"), "eu-west-1".to_owned()).expect("built");
        assert_eq!(there, params.region("eu-west-1").build().expect("built"));
    }
}
