//! Model checking of the write protocol: in every interleaving, with lost, late and repeated calls and with crashes,
//! the promises hold.
//!
//! There are five models, each derived from the code: one event from its delivery to its effect, the alerts of a
//! batch, the erasure of an alert, a tracked batch, and a submission. Random walks in [`conformance`] compare the models'
//! items with the code, except those of an erasure, which `tests/it/personal_data/interleavings.rs` runs in every order.
//! Every state that is reachable within the bounds is visited; all of them together take less than a minute. A mutant
//! drops one of the code's conditions, and the exploration must find a broken promise.
//!
//! `cargo test --release -p tests --test it write_protocol:: -- --ignored` explores wider bounds, for hours;
//! `WRITE_PROTOCOL_STATES` limits the states of one configuration.

#![expect(clippy::print_stdout, reason = "how many states were seen")]

mod alerts_model;
mod conformance;
mod erasure_model;
mod event_model;
mod explorer;
mod poll_model;
mod submission_model;

use explorer::{Model, explore};

/// Most states of one configuration in a regular test.
const MAX_STATES: usize = 3_000_000;
/// Most states in an ignored test, unless `WRITE_PROTOCOL_STATES` is set. They take some gigabytes of memory.
const MAX_STATES_MANUAL: usize = 50_000_000;

/// Panics if a promise is broken, or if not every state was visited.
#[track_caller]
fn assert_holds(model: &impl Model) {
    let explored = explore(model, MAX_STATES);
    println!("{} states", explored.states);
    assert!(explored.violation.is_none(), "{}", explored.counterexample());
    assert!(explored.is_complete, "more than {} states", explored.states);
}

/// Panics if a promise is broken within the limit of states.
#[track_caller]
fn assert_holds_within_limit(model: &impl Model) {
    let most = std::env::var("WRITE_PROTOCOL_STATES").ok().and_then(|most| most.parse().ok());
    let explored = explore(model, most.unwrap_or(MAX_STATES_MANUAL));
    println!("{} states, all of them: {}", explored.states, explored.is_complete);
    assert!(explored.violation.is_none(), "{}", explored.counterexample());
}

/// Panics unless this promise is broken.
#[track_caller]
fn assert_mutant_found(model: &impl Model, promise: &str) {
    let explored = explore(model, MAX_STATES);
    println!("{} states, {}", explored.states, explored.counterexample());
    assert!(explored.violation.is_some_and(|(broken, _)| broken.starts_with(promise)), "not found out");
}
