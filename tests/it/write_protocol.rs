//! The write protocol, explored: whoever does what in whatever order, whatever is lost, late, or dies, the promises hold.
//!
//! There are four models, each written after the code: one event from delivery to effect, the alerts of a batch, a tracked
//! batch, and a submission. [`conformance`] holds their items to the code.
//! Every state is seen that can be reached within bounds; all of them together take less than a minute. A mutant leaves one of
//! the code's conditions out, and must be found out.
//!
//! `cargo test --release -p tests --test it write_protocol:: -- --ignored` has wider bounds, for hours by hand;
//! `WRITE_PROTOCOL_STATES` says after how many states of one configuration it is given up.

#![expect(clippy::print_stdout, reason = "how many states were seen")]

mod alerts_model;
mod conformance;
mod event_model;
mod explorer;
mod poll_model;
mod submission_model;

use explorer::{Model, explore};

/// States of one configuration that are seen at the most.
const MAX_STATES: usize = 3_000_000;
/// The same by hand, unless `WRITE_PROTOCOL_STATES` says otherwise: some gigabytes of memory.
const MAX_STATES_MANUAL: usize = 50_000_000;

/// Fails if a promise is broken, or if not every state was seen.
#[track_caller]
fn assert_holds(model: &impl Model) {
    let explored = explore(model, MAX_STATES);
    println!("{} states", explored.states);
    assert!(explored.violation.is_none(), "{}", explored.counterexample());
    assert!(explored.is_complete, "more than {} states", explored.states);
}

/// Fails if a promise is broken in as many states as there is patience for.
#[track_caller]
fn assert_holds_within_limit(model: &impl Model) {
    let most = std::env::var("WRITE_PROTOCOL_STATES").ok().and_then(|most| most.parse().ok());
    let explored = explore(model, most.unwrap_or(MAX_STATES_MANUAL));
    println!("{} states, all of them: {}", explored.states, explored.is_complete);
    assert!(explored.violation.is_none(), "{}", explored.counterexample());
}

/// Fails if this promise is not broken.
#[track_caller]
fn assert_mutant_found(model: &impl Model, promise: &str) {
    let explored = explore(model, MAX_STATES);
    println!("{} states, {}", explored.states, explored.counterexample());
    assert!(explored.violation.is_some_and(|(broken, _)| broken.starts_with(promise)), "not found out");
}
