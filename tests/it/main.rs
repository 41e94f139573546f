//! Everything that needs more than one crate, in one binary, because each takes seconds to link: but for `canary` and
//! `fault_matrix`, which say why. A module is a group of tests: `cargo test -p tests --test it stories::` runs one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own code: a surprise shall end the test"
)]

mod contracts;
mod counters;
mod interleavings;
mod invocations;
mod invoke;
mod poll_interleavings;
mod polling;
mod proving;
mod quarantine;
mod relay;
mod secrets;
mod start_up;
mod stories;
mod submitting;
mod tidy;
mod upgrade;
mod work_interleavings;
mod working;
mod write_protocol;
