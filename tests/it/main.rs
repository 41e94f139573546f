//! All tests that need more than one crate, in one binary, because each binary takes seconds to link. `canary` and
//! `fault_matrix` are separate; their heads say why. A module is a group of tests: `cargo test -p tests --test it
//! webhook_receivers::` runs one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own code: a surprise shall end the test"
)]

mod alarms;
mod balances;
mod batch_events;
mod cold_start;
mod contracts;
mod delivery_checks;
mod flood_cost;
mod lambda_invoke;
mod lists;
mod log_lines;
mod metrics_recorder;
mod personal_data;
mod poller;
mod poller_interleavings;
mod quarantine;
mod record_interleavings;
mod relay;
mod secrets;
mod signature_verification;
mod submissions;
mod tidy;
mod upgrade;
mod webhook_receivers;
mod webhook_replies;
mod worker;
mod worker_interleavings;
mod write_protocol;
