//! The fixtures' own tests: what the tests of the host rely on.

mod error_codes;
mod imds;
mod overlay;
mod proxy;
mod signed;
