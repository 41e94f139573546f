//! Searches for a delivery that violates a property of `properties.rs`.
//!
//! ```text
//! cargo install cargo-fuzz
//! cd shared/core && mkdir -p fuzz/target/found
//! cargo +nightly fuzz run delivery fuzz/target/found fuzz/corpus/delivery -- -max_total_time=300
//! ```
//!
//! New inputs stay in `fuzz/target/found`; the committed seeds, which the test suite replays too, are only read. An
//! input that violates a property is written to `fuzz/artifacts`: fix the bug, then give the input a descriptive name
//! and add it to the seeds.

#![no_main]

#[path = "../properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::delivery(input));
