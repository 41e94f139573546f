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

mod alerts;
mod conformance;
mod event;
mod explore;
mod poll;
mod submission;

use explore::{Model, explore};

/// States of one configuration that are seen at the most.
const MOST: usize = 3_000_000;
/// The same by hand, unless `WRITE_PROTOCOL_STATES` says otherwise: some gigabytes of memory.
const MOST_BY_HAND: usize = 50_000_000;

/// Fails if a promise is broken, or if not every state was seen.
#[track_caller]
fn holds(model: &impl Model) {
    let explored = explore(model, MOST);
    println!("{} states", explored.states);
    assert!(explored.violation.is_none(), "{}", explored.trace());
    assert!(explored.is_complete, "more than {} states", explored.states);
}

/// Fails if a promise is broken in as many states as there is patience for.
#[track_caller]
fn holds_as_far_as_seen(model: &impl Model) {
    let most = std::env::var("WRITE_PROTOCOL_STATES").ok().and_then(|most| most.parse().ok());
    let explored = explore(model, most.unwrap_or(MOST_BY_HAND));
    println!("{} states, all of them: {}", explored.states, explored.is_complete);
    assert!(explored.violation.is_none(), "{}", explored.trace());
}

/// Fails if this promise is not broken.
#[track_caller]
fn is_found_out(model: &impl Model, promise: &str) {
    let explored = explore(model, MOST);
    println!("{} states, {}", explored.states, explored.trace());
    assert!(explored.violation.is_some_and(|(broken, _)| broken.starts_with(promise)), "not found out");
}
