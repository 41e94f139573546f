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
mod metrics_recorder;
mod record_interleavings;
mod webhook_replies;
mod lambda_invoke;
mod poller_interleavings;
mod poller;
mod verification;
mod quarantine;
mod relay;
mod secrets;
mod cold_start;
mod webhook_receivers;
mod submissions;
mod tidy;
mod upgrade;
mod worker_interleavings;
mod worker;
mod write_protocol;
