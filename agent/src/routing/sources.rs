//! The yields that routing needs before visitors may be led to a host.

use crate::{
    aws::{Aws, Host},
    fault::Fault,
    fleet::AtRest,
    keeper::Kept,
    listener::{Answering, PlaceholderState, says_so},
};

/// The yields that the routing keeper is built from.
pub struct RoutingSources {
    /// The AWS session.
    pub aws: Kept<Aws>,
    /// Who it is.
    pub host: Kept<Host>,
    /// That it answers for the domain.
    pub answering: Kept<Answering>,
    /// That it has no certificate, and says so.
    pub waiting: Kept<PlaceholderState>,
    /// How many hosts the fleet has at rest, where no claim says it.
    pub at_rest: AtRest,
}

/// The values of the sources when a look began: everything that follows from that look uses the same.
#[derive(Clone)]
pub struct RoutingInputs {
    /// The AWS session.
    pub(super) aws: Aws,
    /// Who this host is.
    pub(super) host: Host,
    /// Whether it has a certificate to answer with.
    pub(super) certified: bool,
    /// Entity tag of the package that it answers with; empty without one.
    pub(super) package: String,
}

impl RoutingSources {
    /// What they have yielded.
    ///
    /// # Errors
    /// Where the host or its region is not known yet.
    pub(super) fn inputs(&self) -> Result<RoutingInputs, Fault> {
        let unknown = |what: &str| Fault::retry("looking where the names lead", format!("{what} is not known yet"));
        let aws = self.aws.borrow().clone().ok_or_else(|| unknown("the region"))?;
        let host = self.host.borrow().clone().ok_or_else(|| unknown("the host"))?;
        let answering = self.answering.borrow();
        let package = answering.as_ref().map(|answering| answering.release.clone()).unwrap_or_default();
        Ok(RoutingInputs { aws, host, certified: answering.is_some(), package })
    }

    /// Whether this host answers for the domain, or says what it waits for before it can.
    pub(super) fn is_served(&self) -> bool {
        self.answering.borrow().is_some() || says_so(&self.waiting)
    }

    /// What has not been yielded yet and without which no visitor may be led here; among that a public address of the host's own,
    /// where people are to be led to that.
    pub(super) fn lack(&self, own_address: bool) -> Option<String> {
        let host = self.host.borrow();
        let lacks = if !self.is_served() {
            "this host to answer for the domain"
        } else if host.is_none() {
            "the host"
        } else if own_address && host.as_ref().and_then(Host::public).is_none() {
            "a public address"
        } else if self.aws.borrow().is_none() {
            "the region of the host"
        } else {
            return None;
        };
        Some(lacks.to_owned())
    }

    /// Resolves when one of them has yielded something else; never, where none can any more.
    pub(super) async fn changed(&mut self) {
        let RoutingSources { aws, host, answering, waiting, at_rest } = self;
        tokio::select! {
            Ok(()) = answering.changed() => {}
            Ok(()) = host.changed() => {}
            Ok(()) = aws.changed() => {}
            Ok(()) = waiting.changed() => {}
            () = at_rest.changed() => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aws::{host::tests::host, memory::Memory},
        routing::tests::Given,
    };

    #[tokio::test]
    async fn what_is_lacking_is_told_before_anybody_is_led_here() {
        let answers = || Some(Answering::with("etag"));
        let placed = || Some(host("i-me", 5));
        let unplaced = || Some(Host { ipv4: None, ..host("i-me", 5) });
        let aws = Memory::default().aws().await;
        // What is lacking where people are led to the host's own address, and to another.
        let table = [
            (None, None, placed(), true, ["this host to answer for the domain"; 2]),
            (answers(), None, None, true, ["the host"; 2]),
            (answers(), None, unplaced(), true, ["a public address", ""]),
            (answers(), None, unplaced(), false, ["a public address", "the region of the host"]),
            (answers(), None, placed(), false, ["the region of the host"; 2]),
            (answers(), None, placed(), true, [""; 2]),
            (None, Some(PlaceholderState::No), placed(), true, ["this host to answer for the domain"; 2]),
            (None, Some(PlaceholderState::Says), placed(), true, [""; 2]),
        ];
        for (answering, waiting, host, has_region, expected) in table {
            let what = format!("{answering:?}, {waiting:?}, {host:?}");
            let (given, sources) = Given::new();
            given.answering.send_replace(answering);
            given.waiting.send_replace(waiting);
            given.host.send_replace(host);
            given.aws.send_replace(has_region.then(|| aws.clone()));
            let lacking = [true, false].map(|own_address| sources.lack(own_address).unwrap_or_default());
            assert_eq!(lacking, expected, "{what}");
        }
    }
}
