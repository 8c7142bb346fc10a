//! `spothost status --all` and `--host`: the status that hosts leave in the bucket, read from anywhere.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    super::{
        NOT_AS_IT_SHOULD_BE, Stop,
        published_at::{PublishedAt, aws_session},
        runtime,
    },
    show,
};
use crate::{
    aws::{Aws, InstanceState, instances::Instances, publisher_bucket::PublisherBucket},
    clock::{self, moment},
    documents::{Document as _, HostDocument, HostRole, Layout, Release, layout::HOSTS},
    fault::Fault,
    place::S3Prefix,
    status::Status,
};

/// No more of the newest documents are read than this: hosts come and go, and leave their last word.
const MOST_READ: usize = 50;
/// Bytes of such a document; a larger object is none.
const LARGEST: u64 = 64 << 10;
const AT_ONCE: usize = 8;

/// The status that a host has left in the bucket, and its time.
#[derive(Serialize)]
struct RemoteHost {
    /// What it serves, and how it was then.
    #[serde(flatten)]
    host: HostDocument,
    /// When it was written, by S3's clock.
    #[serde(with = "time::serde::rfc3339")]
    written: OffsetDateTime,
    /// What EC2 says of the instance: `runs`, `ended` or `unknown`; none where EC2 could not be asked.
    ec2: Option<&'static str>,
}

/// Tells the status of the host with that instance id or address; without one that of all which EC2 does not say have ended.
pub(super) fn tell(host: Option<&str>, published: &PublishedAt, json: bool) -> Result<ExitCode, Stop> {
    let place = published.bucket()?;
    let left = runtime()?.block_on(async {
        let aws = aws_session().await?;
        left(&aws, &place, host).await
    })?;
    let forgotten = left.iter().filter(|left| left.ec2 == Some("unknown")).count();
    // EC2 forgets an instance an hour after its end. Where it knows none of them, they may be of another account.
    let knows_some = left.iter().any(|left| left.ec2.is_some_and(|word| word != "unknown"));
    let shown: Vec<RemoteHost> = match host {
        Some(host) => left.into_iter().filter(|left| left.is_of(host)).take(1).collect(),
        None => left.into_iter().filter(|left| left.may_run(knows_some)).collect(),
    };
    if host.is_none() && knows_some && forgotten > 0 {
        anstream::eprintln!(
            "{forgotten} more have left their status, and EC2 does not know them any more; --host ID shows one"
        );
    }
    let Some(first) = shown.first() else {
        let whose = host.map_or_else(|| "no host".to_owned(), |host| format!("no host {host}"));
        let said = format!(
            "{whose} has left its status in {place}{HOSTS}: one that did not get as far has reported to failed/ in its bucket"
        );
        return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
    };
    if json {
        let text = match host {
            Some(_) => serde_json::to_string_pretty(first),
            None => serde_json::to_string_pretty(&shown),
        };
        anstream::println!("{}", text.map_err(|error| Stop::new(1, error))?);
    } else {
        for (number, left) in shown.iter().enumerate() {
            if number > 0 {
                anstream::println!();
            }
            left.show();
        }
    }
    let well = shown.iter().all(RemoteHost::is_well);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(NOT_AS_IT_SHOULD_BE) })
}

/// What hosts have left beside the packages, the newest first: those that EC2 knows to run, and the newest of all others. The host that
/// is asked for by its id is among them.
async fn left(aws: &Aws, place: &S3Prefix, host: Option<&str>) -> Result<Vec<RemoteHost>, Stop> {
    let publisher_bucket = PublisherBucket::new(aws, place.clone());
    let layout = Layout::new(&place.prefix);
    let listed = publisher_bucket.list(HOSTS).await?;
    let is_host = |object: &Release| layout.is_host(&object.key) && object.length <= LARGEST;
    let mut objects: Vec<Release> = listed.into_iter().filter(is_host).collect();
    let ids: Vec<String> = objects.iter().map(|object| instance_of(&object.key).to_owned()).collect();
    // Without that right, or the adapters of EC2, all are told.
    let known = Instances::new(aws).told_of(&ids).await.ok();
    let runs = |object: &Release| {
        let id = instance_of(&object.key);
        host == Some(id) || known.as_ref().is_some_and(|known| matches!(known.get(id), Some(InstanceState::Runs)))
    };
    objects.sort_by_cached_key(|object| (!runs(object), std::cmp::Reverse(object.modified)));
    objects.truncate(MOST_READ);
    objects.sort_unstable_by_key(|object| std::cmp::Reverse(object.modified));
    let read = objects.into_iter().map(|object| {
        let publisher_bucket = &publisher_bucket;
        async move { Ok::<_, Fault>((publisher_bucket.read(&object.key, None).await?, object)) }
    });
    let read: Vec<_> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    let mut left = Vec::new();
    for (text, object) in read {
        // One that is not there any more was deleted meanwhile.
        let Some(text) = text else { continue };
        match HostDocument::read(&text) {
            Ok(host) => left.push(RemoteHost { host, written: object.modified, ec2: None }),
            Err(why) => {
                let cure = "delete that object: no host has written it";
                anstream::eprintln!("warning: {}", why.fault(format!("reading {}", object.key), cure));
            }
        }
    }
    for left in &mut left {
        left.ec2 = known.as_ref().map(|known| in_a_word(known, &left.host.instance));
    }
    Ok(left)
}

fn in_a_word(known: &BTreeMap<String, InstanceState>, instance: &str) -> &'static str {
    match known.get(instance) {
        Some(InstanceState::Runs) => "runs",
        Some(InstanceState::Ended) => "ended",
        Some(InstanceState::Unknown) | None => "unknown",
    }
}

/// The instance whose document lies under that key.
fn instance_of(key: &str) -> &str {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.strip_suffix(".json").unwrap_or(name)
}

impl RemoteHost {
    /// Whether it may run still: EC2 does not say that it has ended, and knows it, if it `knows_some` of them.
    fn may_run(&self, knows_some: bool) -> bool {
        match self.ec2 {
            Some("ended") => false,
            Some("unknown") => !knows_some,
            _ => true,
        }
    }

    fn is_of(&self, host: &str) -> bool {
        self.host.instance == host || self.host.address.as_deref() == Some(host)
    }

    /// The status, as far as this version of the program understands it.
    fn status(&self) -> Option<Status> {
        Status::of_snapshot(self.host.status.as_ref()?)
    }

    /// Whether nothing was wrong; of a host that says nothing of that, whether it is not known to boot.
    fn is_well(&self) -> bool {
        match self.status() {
            Some(status) => status.phase.is_well(),
            None => self.host.role != HostRole::Booting,
        }
    }

    fn show(&self) {
        let host = &self.host;
        let address = host.address.as_ref().map_or_else(String::new, |address| format!(" at {address}"));
        anstream::println!("{} ({}){address}", host.instance, host.role);
        let age = u64::try_from((clock::now() - self.written).whole_seconds()).unwrap_or_default();
        let age = humantime::format_duration(Duration::from_secs(age));
        anstream::println!(
            "as of {}, {age} ago: a host writes when what it serves or what fails changes",
            moment(self.written)
        );
        match self.ec2 {
            Some("ended") => anstream::println!("the instance has ended, and this is its last word"),
            Some("unknown") => anstream::println!(
                "EC2 does not know the instance: it has ended more than an hour ago, or is of another region or account"
            ),
            _ => {}
        }
        match self.status() {
            Some(status) => show(&status, ""),
            None => {
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                let package = text(&host.version.clone().or_else(|| host.etag.clone()));
                anstream::println!(
                    "it serves {package} by spothost {}, which leaves no status that this version reads",
                    text(&host.program)
                );
            }
        }
    }
}
