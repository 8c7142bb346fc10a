//! `spothost` turns a fresh spot instance into the host of one site and keeps it one.
//!
//! It fetches the site's newest package, holds a certificate, answers for the domain, and only then lets the domain
//! lead to itself. Everything it does after boot is the same thing again: look, compare, correct.
//!
//! ```text
//!           facts, notices            zip               secret                 records
//!                IMDS                  S3       Secrets Manager, ACME CA       Route 53
//!                 │                    │                 │                       │
//!    host ◄───────┤                 package         certificate                  │
//!    (once)       │                    └──── listener ───┘                       │
//!                 │                             │ "it answers, seen from outside"│
//!    departure ◄──┘                             └───────────────────────────► address
//!    (notice, signal)
//!                         every keeper ──► board ──► log · status · systemd
//! ```
//!
//! * A [`keeper`] owns one resource: it observes, judges, converges, and observes again. One runner runs them all.
//! * Keepers do not know each other. Each is built from what the ones before it yield, so a wrong boot order does not
//!   compile; [`boot`] is the one place that knows all of them.
//! * Failures are sorted by what would cure them ([`fault`]), and none ends the process once it runs.
//! * Everything people are told comes from one account of how the host is doing ([`status`]).
//! * Only [`aws`] names a type of an SDK.
//!
//! What holds at any time:
//!
//! 1. Looking changes nothing outside.
//! 2. A departing host changes nothing outside itself, but for what its departure is for: its claim says that it goes, and a
//!    successor is asked for.
//! 3. The name moves here only after this host has answered for it, over the network, with the real name and certificate;
//!    before, only where no host that lives is led to, to say that it waits for its certificate.
//! 4. Two hosts never both move the names: a batch of an older epoch is refused by Route 53 as a whole. What a host is in
//!    the [`succession`] follows from the claim it reads, never from what it remembers of itself. An Elastic IP is moved by
//!    whoever has won its claim, and moved back at the next look of that one, should a host that was late have moved it.
//! 5. What is ordered at the CA is stored before it is used, and nothing is ordered that could not be stored.
//! 6. A visitor sees one version of the site per response, and a broken package never replaces a working one.
//! 7. Nothing from outside makes the process panic, hang or grow without bound.
//! 8. No secret is logged, shown, written outside its store or readable by another user.
//! 9. Time is tokio's clock or an argument.

pub mod cli;

pub mod boot;

pub mod keeper;

pub mod package;

pub mod publish;

pub mod certificate;

pub mod listener;

pub mod address;

pub mod succession;

pub mod presence;

pub mod departure;

pub mod host;

pub mod config;

pub mod policy;

pub mod doctor;

pub mod init;

pub mod upgrade;

pub mod fault;

pub mod clock;

pub mod status;

pub mod aws;
