//! Looks for a delivery that breaks what must hold for all of them.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd shared/core && mkdir -p fuzz/target/found
//! cargo +nightly fuzz run delivery fuzz/target/found fuzz/corpus/delivery -- -max_total_time=300
//! ```
//!
//! What it finds on its way stays in `fuzz/target/found`; the committed seeds, which the test suite replays
//! too, are only read. An input that breaks something is written to `fuzz/artifacts`: mend it, then give it a
//! telling name and put it among the seeds.

#![no_main]

#[path = "../check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::delivery(input));
