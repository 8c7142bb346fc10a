//! `spothost` turns a fresh spot instance into the host of one site and keeps it one.
//!
//! It fetches the site's newest package, holds a certificate, answers for the domain, and only then lets the domain
//! lead to itself. Everything it does after boot is the same thing again: look, compare, correct.
//!
//! ```text
//!            facts, notices            zip               secret                records, claim, addresses
//!                 IMDS                  S3       Secrets Manager, ACME CA        Route 53, S3, EC2
//!                  │                    │                 │                            │
//!    host ◄────────┤                 package         certificate ──► placeholder ──────┤ "it says that it waits"
//!    (once)        │                    └ app ─ listener ─┘                             │
//!                  │                             │ "it answers, seen from outside"     │
//!                  │                             ├────────────────────────────► routing ◄── claim
//!    departure ◄───┘                             │                                 │  ▲
//!    (notice, signal)                            │          "where the names lead" │  └─ fleet ──► EC2, Auto Scaling
//!       │  ▲                                     ├──────────────► presence ◄───────┤       │
//!       │  └── "it has left its fleet" ──┐       │             what it serves, S3  │       │
//!       ▼                                └───────┴────────────────────────────► succession ◄┘
//!    every keeper rests, or departs
//!
//!                         every keeper ──► status ──► log · status file · systemd
//! ```
//!
//! * A [`keeper`] owns one resource: it observes, judges, converges, and observes again. One runner runs them all, and
//!   says on the board how each is doing; no keeper decides by that, and one ([`presence`]) leaves it in the bucket.
//! * Keepers do not know each other. Each is built from what the ones before it yield, so a wrong boot order does not
//!   compile; [`boot`] is the one place that knows all of them.
//! * Failures are sorted by what would cure them ([`fault`]), and none ends the process once it runs.
//! * Everything people are told comes from one account of how the host is doing ([`status`]).
//! * What hosts, publishers and operators write for each other has one type and one key each ([`documents`]).
//! * Only [`aws`] names a type of an SDK.
//!
//! The rooms below are in reading order, from what people type down to what all stand on. A room uses those below it and
//! none above, which `tests/ground/layers.rs` holds: to understand a room, nothing before it need be read.
//!
//! ```text
//! operators    cli   trust   doctor   init   upgrade   policy   publish
//!
//! the host     run                                              serves
//!              boot                                             wires
//!              app ── process   folders                         the package's own program
//!              presence   succession   routing   fleet          its place among others, and the names
//!              listener   certificate   package                 what visitors see
//!              departure   host                                 how long, and who it is
//!              keeper                                           runs all of them
//!
//! the ground   claim   probe   status   config                  what the floors above ask and tell
//!              aws                                              the only types of SDKs
//!              documents   place   secrets                      what is written, where it lies, what nothing shows
//!              passing   atomic_file   shell   clock   chance   fault
//! ```
//!
//! * **Operators** are for people at a terminal.
//! * **The host** has one keeper a room.
//! * **The ground** knows nothing of keepers.
//!
//! What holds at any time:
//!
//! 1. Looking changes nothing outside.
//! 2. A departing host changes nothing outside itself, but for what its departure is for: its claim says that it goes, or,
//!    where people are led to every host, its own records are taken away; and a successor is asked for.
//! 3. The name moves here only after this host has answered for it, over the network, with the real name and certificate;
//!    before, only where no host that lives is led to, to say that it waits for its certificate.
//! 4. Two hosts never both move the names: a batch of an older epoch is refused by Route 53 as a whole. What a host is in
//!    the [`succession`] follows from the claim it reads, never from what it remembers of itself. An Elastic IP is moved by
//!    the host that has won its claim, and that host moves it back at its next look, should a late host have moved it.
//! 5. What is ordered at the CA is stored before it is used, and nothing is ordered that could not be stored.
//! 6. A visitor sees one version of the site per response, and a broken package never replaces a working one.
//! 7. Nothing from outside makes the process panic, hang or grow without bound.
//! 8. No secret is logged, shown, written outside its store or readable by another user.
//! 9. Time is tokio's clock or an argument; [`clock`] alone reads the wall clock, and [`chance`] alone draws.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their own time and chance"))]

// Operators: what people type.

// The commands: parse, run, exit code.
pub mod cli;
// The local CA of `up` is put into the stores of the system and the browsers, and taken out again.
pub mod trust;
// Finds what keeps a site from being served, and names the cure of each.
pub mod doctor;
// Asks for what a new site needs, and writes configuration, user data and policies; compares a running site with its configuration.
pub mod init;
// Puts a newer, signed version of the program in the place of this one.
pub mod upgrade;
// The rights that hosts and publishers need, as IAM policies.
pub mod policy;
// Makes, signs, stores and points to packages, and tells which host serves which.
pub mod publish;

// The host: what runs on an instance, the last keeper first.

// A host while it runs: it takes its ports, serves as its keepers decide, and ends.
pub mod run;
// Which keepers a host has, and what flows between them.
pub mod boot;
// The process of the package runs and is well before the package is served.
pub mod app;
// The processes of packages: unpacked, started, watched and ended, here or by a runner.
pub mod process;
// The folders of a host on its disk.
pub mod folders;
// Publishers are told what this host serves.
pub mod presence;
// The place of this host among those that follow each other, and what it leaves to the next one when it goes.
pub mod succession;
// The names lead to the host that has the right to them, by one of three routes.
pub mod routing;
// The fleet of this host: what it is to have, and whose turn it is to leave.
pub mod fleet;
// The servers have site and certificate, and answer for the domain; before, they say what they wait for.
pub mod listener;
// A certificate is held, renewed, and stored before it is used.
pub mod certificate;
// The newest good package of the bucket is the site.
pub mod package;
// Why and when this host goes: it looks for notices and signals, and says so to the other keepers.
pub mod departure;
// The facts about this instance, read from its metadata.
pub mod host;
// What a keeper is, and the one runner of all of them.
pub mod keeper;

// The ground: what all of them stand on.

// Who may lead the names where: the claim, the right to take it over, silence.
pub mod claim;
// Asks a host for the site, as a visitor would.
pub mod probe;
// The account of how a host is doing: written by all, read by people and by the watchdog.
pub mod status;
// The configuration file, checked into types.
pub mod config;
// The clients of AWS; the only types of SDKs.
pub mod aws;
// What hosts, publishers and operators write for each other, and every key it lies under.
pub mod documents;
// Names of sites, folders of buckets, secrets, regions.
pub mod place;
// Values that nothing shows.
pub mod secrets;
// File descriptors that travel with messages over Unix sockets.
pub mod passing;
// A file that is replaced as a whole.
pub mod atomic_file;
// Command lines that people are told to run.
pub mod shell;
// The wall clock, and instants in words.
pub mod clock;
// Chance.
pub mod chance;
// What failed, and what would cure it.
pub mod fault;
