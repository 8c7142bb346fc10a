//! The fixtures' own tests: what the tests of the host rely on.

mod imds;
mod overlay;
mod proxy;
mod signed;
