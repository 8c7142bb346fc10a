//! Keeper: what this host serves, told beside the packages.
//!
//! Publishers read there who serves which version. It is written when that changes and never as a sign of life; nothing
//! here depends on it, so a missing permission is noted and left.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    aws::{Aws, Host, papers::Papers},
    claim::Leads,
    clock,
    documents::{Document as _, HostDocument, HostRole, Layout},
    fault::{Cure, Fault},
    keeper::{Ended, Judgement, Keeper, Kept, Pace, Yield},
    listener::Answering,
    package::Package,
    place::Bucket,
    status::Part,
};

/// Changes within this time are told as one.
const GATHER: Duration = Duration::from_millis(200);
/// The longest pause before it is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How often it is compared with what was told; every change is a reason to compare it at once.
const LOOK: Duration = Duration::from_secs(3600);

/// What the account is made from.
#[derive(Clone)]
pub struct Sources {
    /// Who it is.
    pub host: Kept<Host>,
    /// What it has.
    pub packages: Kept<Package>,
    /// What it answers with.
    pub answering: Kept<Answering>,
    /// Where the names lead; none where it keeps none.
    pub names: Option<Yield<Leads>>,
}

/// Keeper of the host's document.
pub struct Presence {
    sources: Sources,
    place: Bucket,
    aws: Kept<Aws>,
    /// What was told last, be it in an earlier life of this process; none before that is known.
    told: Option<Option<HostDocument>>,
    /// Why it may not be told.
    denied: Option<Fault>,
}

/// What a look found.
pub struct Seen {
    /// What is to be told, if there is anything to tell.
    wanted: Option<HostDocument>,
    told: Option<HostDocument>,
    denied: Option<Fault>,
}

/// What publishers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet, or nothing new.
    Nothing,
    /// What the host serves, by its entity tag.
    Serves(String),
    /// Nothing, since that is denied.
    Denied(String),
}

impl Presence {
    /// Keeps what `sources` say told in the folder of packages.
    pub fn new(sources: Sources, place: Bucket, aws: Kept<Aws>) -> Presence {
        Presence { sources, place, aws, told: None, denied: None }
    }

    fn papers(&self) -> Result<Papers, Fault> {
        let aws = self.aws.borrow().clone();
        let aws = aws.ok_or_else(|| Fault::retry("telling what this host serves", "the region is not known yet"))?;
        Ok(Papers::new(&aws, self.place.bucket.clone()))
    }

    fn key(&self, instance: &str) -> String {
        Layout::new(&self.place.prefix).host(instance)
    }

    /// Notes that the document may not be read or written: nothing depends on it.
    fn unless_denied<T: Default>(&mut self, done: Result<T, Fault>) -> Result<T, Fault> {
        match done {
            Err(fault) if fault.cure == Cure::Operator => {
                tracing::warn!(%fault, "what this host serves is not told beside the packages");
                self.denied = Some(fault);
                Ok(T::default())
            }
            done => done,
        }
    }
}

impl Keeper for Presence {
    type Seen = Seen;
    type Drift = Box<HostDocument>;
    type Held = Told;
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

    async fn observe(&mut self) -> Result<Seen, Fault> {
        let wanted = self.sources.presence().filter(|_| self.aws.borrow().is_some());
        if let (Some(wanted), None, None) = (&wanted, &self.told, &self.denied) {
            let read = self.papers()?.read(&self.key(&wanted.instance)).await;
            let before = self.unless_denied(read)?;
            // It is this host's own, whatever version of the program wrote it: one that cannot be read is written anew.
            self.told = Some(before.and_then(|text| HostDocument::read(&text).ok()));
        }
        Ok(Seen { wanted, told: self.told.clone().flatten(), denied: self.denied.clone() })
    }

    fn judge(&self, Seen { wanted, told, denied }: Seen) -> Judgement<Told, Box<HostDocument>> {
        if let Some(fault) = denied {
            return Judgement::Kept(Told::Denied(fault.to_string()));
        }
        match wanted {
            None => Judgement::Kept(Told::Nothing),
            Some(wanted) if wanted.says_the_same_as(told.as_ref()) => {
                Judgement::Kept(Told::Serves(wanted.etag.unwrap_or_default()))
            }
            Some(wanted) => Judgement::Drifted { drift: Box::new(wanted), meanwhile: None },
        }
    }

    async fn converge(&mut self, document: Box<HostDocument>) -> Result<(), Fault> {
        let written = self.papers()?.write(&self.key(&document.instance), document.text()).await;
        self.unless_denied(written)?;
        self.told = Some(self.denied.is_none().then_some(*document));
        Ok(())
    }

    fn holding(held: &Told) -> String {
        match held {
            Told::Nothing => "nothing to tell yet".to_owned(),
            Told::Serves(etag) => format!("publishers are told that it serves {}", etag.trim_matches('"')),
            Told::Denied(_) => "publishers are not told what it serves".to_owned(),
        }
    }

    fn drifting(document: &Box<HostDocument>) -> String {
        let version = document.version.as_deref().unwrap_or("none");
        format!("telling publishers: {:?} of version {version}", document.role)
    }

    fn notes(held: &Told) -> Vec<String> {
        match held {
            Told::Denied(why) => vec![why.clone()],
            Told::Nothing | Told::Serves(_) => Vec::new(),
        }
    }
}

impl Sources {
    /// What this host serves; none before it answers, or while it is not settled how it stands to the names.
    fn presence(&self) -> Option<HostDocument> {
        let host = self.host.borrow().clone()?;
        let etag = self.answering.borrow().as_ref()?.release.clone();
        let version = self.packages.borrow().as_ref().filter(|p| p.release.etag == etag)?.release.named.clone();
        let address = host.public().map(|address| address.to_string());
        Some(HostDocument {
            version,
            etag: Some(etag),
            address,
            program: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..HostDocument::of(host.instance, self.role()?, clock::now())
        })
    }

    fn role(&self) -> Option<HostRole> {
        let Some(names) = &self.names else { return Some(HostRole::Serving) };
        match (*names.ended.borrow(), &*names.held.borrow()) {
            (Ended::Well | Ended::Despite, Some(Leads::Here(_))) => Some(HostRole::Owner),
            (Ended::Aside, Some(Leads::Elsewhere(_))) => Some(HostRole::Standby),
            _ => None,
        }
    }

    /// Resolves when something has changed that the account is made from; never, where nothing can any more.
    async fn changed(&mut self, aws: &mut Kept<Aws>) {
        let Sources { host, packages, answering, names } = self;
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
        claim::{Claim, Elsewhere, LeadsHere},
    };

    #[test]
    fn role_is_told_only_while_it_is_settled_where_the_names_lead() {
        let here = Leads::Here(LeadsHere { to: "192.0.2.7".into(), epoch: 3, target: None, asked_in: None });
        let claim = Claim::of(&host("i-other", 1), 4);
        let elsewhere = Leads::Elsewhere(Box::new(Elsewhere { claim, held: false, answers: true }));
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
        let place = Bucket { bucket: "packages".to_owned(), prefix: "www.example.org/".to_owned() };
        let presence = Presence::new(sources(None), place, watch::channel(None).1);
        let judged = |wanted, told, denied| presence.judge(Seen { wanted, told, denied });
        assert_eq!(judged(None, None, None), Judgement::Kept(Told::Nothing));
        let one = document("\"1\"");
        let other = document("\"2\"");
        let drifted = Judgement::Drifted { drift: Box::new(other.clone()), meanwhile: None };
        assert_eq!(judged(Some(other.clone()), Some(one), None), drifted);
        let told = Judgement::Kept(Told::Serves("\"2\"".to_owned()));
        assert_eq!(judged(Some(other.clone()), Some(other.clone()), None), told);
        let denied = judged(Some(other), None, Some(Fault::operator("writing", "AccessDenied", "allow it")));
        let Judgement::Kept(held) = denied else { panic!("nothing depends on it: {denied:?}") };
        assert!(Presence::notes(&held)[0].contains("AccessDenied"), "{held:?}");
    }

    fn sources(names: Option<Yield<Leads>>) -> Sources {
        let (host, packages) = (watch::channel(None).1, watch::channel(None).1);
        Sources { host, packages, answering: watch::channel(None).1, names }
    }
}
