//! Keeper: what this host serves and how it is, told beside the packages.
//!
//! Publishers read there who serves which version, and operators without a shell on the host its status. It is written when what
//! is served changes or a part begins or ends to fail, with the status of that moment, and never as a sign of life; nothing here
//! depends on it, so a missing permission is noted and left.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};

use crate::{
    aws::{Aws, Host, document_store::DocumentStore},
    claim::Routing,
    clock,
    documents::{Document as _, HostDocument, HostRole, Layout},
    fault::{Cure, Fault},
    keeper::{Ended, Judgement, Keeper, Kept, Pace, Yield},
    listener::Answering,
    package::Package,
    place::S3Prefix,
    status::{Part, Status},
};

/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(200);
/// The longest pause before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How often it is compared with what was told. Every change of what is served is a reason to compare it at once; of what fails
/// it is not, so that a part which fails now and then costs one write a minute at most.
const LOOK: Duration = Duration::from_secs(60);

/// The sources of a host's published status.
#[derive(Clone)]
pub struct PresenceSources {
    /// Who it is.
    pub host: Kept<Host>,
    /// What it has.
    pub packages: Kept<Package>,
    /// What it answers with.
    pub answering: Kept<Answering>,
    /// Where the names lead; none where it keeps none.
    pub names: Option<Yield<Routing>>,
    /// How it is.
    pub status: watch::Receiver<Status>,
    /// Whether it takes packages that are for an application.
    pub applications: bool,
}

/// Keeper of the host's document.
pub struct Presence {
    sources: PresenceSources,
    place: S3Prefix,
    aws: Kept<Aws>,
    /// The status that was published last, also by an earlier process; none before that is known.
    told: Option<Option<HostDocument>>,
    /// Why it may not be told.
    denied: Option<Fault>,
}

/// The status of this host, beside the one that was published last.
pub struct PresenceObservation {
    /// The status to publish, if there is one.
    wanted: Option<HostDocument>,
    told: Option<HostDocument>,
    /// Whether the status differs from the published one.
    changed: bool,
    denied: Option<Fault>,
}

/// The status that publishers see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceReport {
    /// Nothing yet, or nothing new.
    Nothing,
    /// What the host serves, by its entity tag.
    Serves(String),
    /// Nothing, since that is denied.
    Denied(String),
}

impl Presence {
    /// Keeps what `sources` say told in the folder of packages.
    pub fn new(sources: PresenceSources, place: S3Prefix, aws: Kept<Aws>) -> Presence {
        Presence { sources, place, aws, told: None, denied: None }
    }

    fn document_store(&self) -> Result<DocumentStore, Fault> {
        let aws = self.aws.borrow().clone();
        let aws =
            aws.ok_or_else(|| Fault::retry("publishing the status of this host", "the region is not known yet"))?;
        Ok(DocumentStore::new(&aws, self.place.bucket.clone()))
    }

    fn key(&self, instance: &str) -> String {
        Layout::new(&self.place.prefix).host(instance)
    }

    /// Notes that the document may not be read or written: nothing depends on it.
    fn unless_denied<T: Default>(&mut self, done: Result<T, Fault>) -> Result<T, Fault> {
        match done {
            Err(fault) if fault.cure == Cure::Operator => {
                tracing::warn!(%fault, "the status of this host is not published beside the packages");
                self.denied = Some(fault);
                Ok(T::default())
            }
            done => done,
        }
    }
}

impl Keeper for Presence {
    type Observation = PresenceObservation;
    type Drift = Box<HostDocument>;
    type Held = PresenceReport;
    const PART: Part = Part::Presence;
    const NEEDS: &'static [Part] = &[Part::Listener];
    // What a host serves is seen of those that run.
    const CHECKED: bool = false;

    fn pace(&self) -> Pace {
        let brief = Duration::from_secs(30);
        Pace { look: LOOK, observe: brief, converge: brief, longest_pause: AGAIN }
    }

    async fn woken(&mut self) {
        self.sources.changed(&mut self.aws).await;
        sleep(GATHER).await;
    }

    async fn observe(&mut self) -> Result<PresenceObservation, Fault> {
        let host = self.sources.host.borrow().clone().filter(|_| self.aws.borrow().is_some());
        let serves = self.sources.presence().filter(|_| host.is_some());
        let troubles = self.sources.status.borrow().troubles();
        if let (Some(host), None, None) = (&host, &self.told, &self.denied)
            && (serves.is_some() || !troubles.is_empty())
        {
            let read = self.document_store()?.read(&self.key(&host.instance)).await;
            let before = self.unless_denied(read)?;
            // It is this host's own, whatever version of the program wrote it: one that cannot be read is written anew.
            self.told = Some(before.and_then(|text| HostDocument::read(&text).ok()));
        }
        let told = self.told.clone().flatten();
        // What it said last of what it serves holds until that is settled again.
        let wanted = serves.or_else(|| told.clone()).or_else(|| {
            let host = host.filter(|_| !troubles.is_empty())?;
            Some(self.sources.document(host, HostRole::Booting))
        });
        let changed = has_changed(told.as_ref(), &self.sources.status.borrow());
        Ok(PresenceObservation { wanted, told, changed, denied: self.denied.clone() })
    }

    fn judge(
        &self,
        PresenceObservation { wanted, told, changed, denied }: PresenceObservation,
    ) -> Judgement<PresenceReport, Box<HostDocument>> {
        if let Some(fault) = denied {
            return Judgement::Kept(PresenceReport::Denied(fault.to_string()));
        }
        match wanted {
            None => Judgement::Kept(PresenceReport::Nothing),
            Some(wanted) if wanted.says_the_same_as(told.as_ref()) && !changed => {
                Judgement::Kept(wanted.etag.map_or(PresenceReport::Nothing, PresenceReport::Serves))
            }
            Some(wanted) => Judgement::Drifted { drift: Box::new(wanted), meanwhile: None },
        }
    }

    async fn converge(&mut self, mut document: Box<HostDocument>) -> Result<(), Fault> {
        document.status = Some(self.sources.status.borrow().snapshot());
        let written = self.document_store()?.write(&self.key(&document.instance), document.text()).await;
        self.unless_denied(written)?;
        self.told = Some(self.denied.is_none().then_some(*document));
        Ok(())
    }

    fn holding(held: &PresenceReport) -> String {
        match held {
            PresenceReport::Nothing => "nothing to publish yet".to_owned(),
            PresenceReport::Serves(etag) => format!("status published: it serves {}", etag.trim_matches('"')),
            PresenceReport::Denied(_) => "status not published: publishers cannot see what it serves".to_owned(),
        }
    }

    fn drifting(document: &Box<HostDocument>) -> String {
        let version = document.version.as_deref().unwrap_or("none");
        format!("publishing the status: {:?} of version {version}", document.role)
    }

    fn notes(held: &PresenceReport) -> Vec<String> {
        match held {
            PresenceReport::Denied(why) => vec![why.clone()],
            PresenceReport::Nothing | PresenceReport::Serves(_) => Vec::new(),
        }
    }
}

/// Whether a part has begun or ended to fail since that was told, or the host is well by now and was not then: the first word of what
/// is served mostly comes a moment before the boot is over, and a write may fall into the first failed try of a part. A process that
/// boots again is no news.
fn has_changed(told: Option<&HostDocument>, now: &Status) -> bool {
    let told = told.and_then(|told| Status::of_snapshot(told.status.as_ref()?));
    let recovered = |told: &Status| told.phase != now.phase && now.phase.is_well() && !told.phase.is_well();
    now.troubles() != told.as_ref().map(Status::troubles).unwrap_or_default() || told.as_ref().is_some_and(recovered)
}

impl PresenceSources {
    /// What this host serves; none before it answers, or while it is not settled how it stands to the names.
    fn presence(&self) -> Option<HostDocument> {
        let host = self.host.borrow().clone()?;
        let etag = self.answering.borrow().as_ref()?.release.clone();
        let version = self.packages.borrow().as_ref().filter(|p| p.release.etag == etag)?.release.named.clone();
        Some(HostDocument { version, etag: Some(etag), ..self.document(host, self.role()?) })
    }

    /// The document of `host` in that role, without a package.
    fn document(&self, host: Host, role: HostRole) -> HostDocument {
        HostDocument {
            address: host.public().map(|address| address.to_string()),
            program: Some(env!("CARGO_PKG_VERSION").to_owned()),
            applications: Some(self.applications),
            ..HostDocument::of(host.instance, role, clock::now())
        }
    }

    fn role(&self) -> Option<HostRole> {
        let Some(names) = &self.names else { return Some(HostRole::Serving) };
        match (*names.ended.borrow(), &*names.held.borrow()) {
            (Ended::Well | Ended::Despite, Some(Routing::Here(_))) => Some(HostRole::Owner),
            (Ended::Aside, Some(Routing::Elsewhere(_))) => Some(HostRole::Standby),
            _ => None,
        }
    }

    /// Resolves when something has changed that the account is made from; never, where nothing can any more.
    async fn changed(&mut self, aws: &mut Kept<Aws>) {
        let PresenceSources { host, packages, answering, names, status: _, applications: _ } = self;
        let names = async {
            match names {
                Some(names) => names.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = host.changed() => {}
            Ok(()) = packages.changed() => {}
            Ok(()) = answering.changed() => {}
            Ok(()) = aws.changed() => {}
            () = names => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use time::OffsetDateTime;

    use super::*;
    use crate::{
        aws::host::tests::host,
        claim::{Claim, RoutedElsewhere, RoutedHere},
        status::Board,
    };

    #[test]
    fn role_is_told_only_while_it_is_settled_where_the_names_lead() {
        let here = Routing::Here(RoutedHere { to: "192.0.2.7".into(), epoch: 3, target: None, asked_in: None });
        let claim = Claim::of(&host("i-other", 1), 4);
        let elsewhere = Routing::Elsewhere(Box::new(RoutedElsewhere { claim, held: false, answers: true }));
        let table = [
            (None, Ended::NotYet, None),
            (None, Ended::Failed, None),
            (Some(&here), Ended::Well, Some(HostRole::Owner)),
            // One of the names may be left out, which is no reason not to say who serves the others.
            (Some(&here), Ended::Despite, Some(HostRole::Owner)),
            (Some(&elsewhere), Ended::Aside, Some(HostRole::Standby)),
            // What was seen last may not be so any more.
            (Some(&here), Ended::Failed, None),
            (Some(&here), Ended::Waiting, None),
            (Some(&elsewhere), Ended::Failed, None),
            (Some(&elsewhere), Ended::Well, None),
        ];
        for (leads, ended, expected) in table {
            let names = Yield {
                held: watch::channel(leads.cloned()).1,
                ended: watch::channel(ended).1,
                departed: watch::channel(false).1,
            };
            assert_eq!(sources(Some(names)).role(), expected, "{leads:?}, {ended:?}");
        }
        assert_eq!(sources(None).role(), Some(HostRole::Serving), "it keeps no names");
    }

    #[test]
    fn document_is_written_where_it_says_something_new_and_may_be_written() {
        let document = |etag: &str| HostDocument {
            etag: Some(etag.to_owned()),
            ..HostDocument::of("i-a".to_owned(), HostRole::Owner, OffsetDateTime::UNIX_EPOCH)
        };
        let place = S3Prefix { bucket: "packages".to_owned(), prefix: "www.example.org/".to_owned() };
        let presence = Presence::new(sources(None), place, watch::channel(None).1);
        let judged =
            |wanted, told, denied| presence.judge(PresenceObservation { wanted, told, changed: false, denied });
        assert_eq!(judged(None, None, None), Judgement::Kept(PresenceReport::Nothing));
        let one = document("\"1\"");
        let other = document("\"2\"");
        let drifted = Judgement::Drifted { drift: Box::new(other.clone()), meanwhile: None };
        assert_eq!(judged(Some(other.clone()), Some(one), None), drifted);
        let told = Judgement::Kept(PresenceReport::Serves("\"2\"".to_owned()));
        assert_eq!(judged(Some(other.clone()), Some(other.clone()), None), told);
        let denied = judged(Some(other), None, Some(Fault::operator("writing", "AccessDenied", "allow it")));
        let Judgement::Kept(held) = denied else { panic!("nothing depends on it: {denied:?}") };
        assert!(Presence::notes(&held)[0].contains("AccessDenied"), "{held:?}");
    }

    #[test]
    fn document_is_written_again_when_the_boot_is_over_and_when_a_part_begins_or_ends_to_fail() {
        let board = Board::new("www.example.org");
        let part = board.place(Part::Certificate, &[]);
        let status = || board.watch().borrow().clone();
        let soon = Duration::from_secs(9);
        let boots = status();
        part.kept("a certificate", Vec::new(), soon);
        let serves = status();
        part.failed(&Fault::retry("renewing", "timeout"), 1, soon);
        let failed_once = status();
        part.failed(&Fault::retry("renewing", "timeout"), 2, soon);
        let fails = status();
        part.failed(&Fault::retry("renewing", "timeout again"), 3, soon);
        let fails_again = status();
        let table = [
            ("nothing was told", None, &serves, false),
            ("nothing was told of what fails", None, &fails, true),
            ("the boot is over", Some(&boots), &serves, true),
            ("a process boots again", Some(&serves), &boots, false),
            ("one more try cures it", Some(&serves), &failed_once, false),
            ("it begins to fail", Some(&serves), &fails, true),
            ("it fails as before", Some(&fails), &fails_again, false),
            ("it fails no more", Some(&fails), &serves, true),
            ("what one more try has cured was told", Some(&failed_once), &serves, true),
        ];
        let place = S3Prefix { bucket: "packages".to_owned(), prefix: "www.example.org/".to_owned() };
        let presence = Presence::new(sources(None), place, watch::channel(None).1);
        for (what, told, now, is_written) in table {
            let document = HostDocument {
                etag: Some("\"1\"".to_owned()),
                status: told.map(Status::snapshot),
                ..HostDocument::of("i-a".to_owned(), HostRole::Owner, OffsetDateTime::UNIX_EPOCH)
            };
            let changed = has_changed(told.map(|_| &document), now);
            assert_eq!(changed, is_written, "{what}");
            let judged = presence.judge(PresenceObservation {
                wanted: Some(document.clone()),
                told: Some(document),
                changed,
                denied: None,
            });
            assert_eq!(matches!(judged, Judgement::Drifted { .. }), is_written, "{what}: {judged:?}");
        }
    }

    fn sources(names: Option<Yield<Routing>>) -> PresenceSources {
        let host = watch::channel(None).1;
        let packages = watch::channel(None).1;
        let status = Board::new("www.example.org").watch();
        PresenceSources { host, packages, answering: watch::channel(None).1, names, status, applications: false }
    }
}
