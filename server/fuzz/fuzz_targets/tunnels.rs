//! See `spothost_server::fuzzing::tunnels`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spothost_server::fuzzing::tunnels(data));
