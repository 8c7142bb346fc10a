//! Whether the hosts are ready for a package that is for an application.

use super::catalogue::{Dated, HostReports};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    clock::moment,
    documents::{HostDocument, Layout, layout::BESIDE},
    fault::Fault,
};

/// How many hosts are named.
const MOST_NAMED: usize = 5;

/// The hosts that would not take a package that is for an application, as far as they have said, one sentence each; nothing where all of
/// them would, or none has said anything.
///
/// # Errors
/// What S3 refuses.
pub async fn unready_for_applications(publisher_bucket: &PublisherBucket) -> Result<Vec<String>, Fault> {
    let layout = Layout::new(&publisher_bucket.place().prefix);
    let objects = publisher_bucket.list(BESIDE).await?;
    let said = HostReports::read(publisher_bucket, &layout, &objects).await?;
    Ok(unready(&said.hosts))
}

fn unready(hosts: &[Dated<HostDocument>]) -> Vec<String> {
    let of_one = |said: &Dated<HostDocument>| {
        let HostDocument { instance, program, applications, .. } = &said.document;
        let program = program.as_deref().unwrap_or("of an unknown version");
        let written = moment(said.written);
        match applications {
            Some(true) => None,
            Some(false) => Some(format!(
                "{instance} runs no application, as it said at {written}: it keeps serving the previous version"
            )),
            None => Some(format!(
                "{instance} runs spothost {program}, as it said at {written}, which may not know all of [app] and refuse the package for \
                 all hosts: upgrade it first"
            )),
        }
    };
    hosts.iter().filter_map(of_one).take(MOST_NAMED).collect()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::documents::HostRole;

    #[test]
    fn host_that_would_not_take_it_is_named_with_the_reason() {
        let said = |instance: &str, applications| Dated {
            document: HostDocument {
                program: Some("0.1.0".into()),
                applications,
                ..HostDocument::of(instance.into(), HostRole::Owner, OffsetDateTime::UNIX_EPOCH)
            },
            written: OffsetDateTime::UNIX_EPOCH,
        };
        assert_eq!(unready(&[]), Vec::<String>::new());
        let told = unready(&[said("i-new", Some(true)), said("i-off", Some(false)), said("i-old", None)]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("i-off runs no application, as it said at 1970-01-01"), "{told:?}");
        assert!(
            told[1].starts_with("i-old runs spothost 0.1.0, ") && told[1].ends_with("upgrade it first"),
            "{told:?}"
        );
    }
}
