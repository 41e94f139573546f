//! What is explored of alerts.

use super::Alerts;
use super::alert::Mutant;
use crate::write_protocol::{holds, holds_as_far_as_seen, is_found_out};

#[test]
fn p5_two_events_and_two_faults_of_which_one_is_late() {
    holds(&Alerts { faults: 2, delays: 1, ..Alerts::default() });
}

#[test]
fn p10_two_replays_and_an_entry_that_fails() {
    holds(&Alerts { failures: 1, replays: 2, ..Alerts::default() });
}

#[test]
fn p10_a_replay_and_a_fault() {
    holds(&Alerts { faults: 1, delays: 1, failures: 1, replays: 1, ..Alerts::default() });
}

#[test]
fn an_item_remembers_every_publisher() {
    let mutant = Some(Mutant::LastPublisherOnly);
    is_found_out(&Alerts { replays: 2, mutant, ..Alerts::default() }, "P10");
}

#[test]
fn published_is_what_says_so_and_not_what_nobody_claims() {
    let mutant = Some(Mutant::PublishedIsUnclaimed);
    is_found_out(&Alerts { failures: 1, replays: 1, mutant, ..Alerts::default() }, "P2");
}

#[test]
fn two_events_that_tell_the_same_publish_it_once() {
    let mutant = Some(Mutant::EachEventOnce);
    is_found_out(&Alerts { mutant, ..Alerts::default() }, "P5");
}

#[test]
fn a_claim_that_arrives_late_does_not_take_the_place_of_a_younger_one() {
    let mutant = Some(Mutant::OlderClaim);
    is_found_out(&Alerts { faults: 2, delays: 1, mutant, ..Alerts::default() }, "P5");
}

#[test]
#[ignore = "for hours by hand"]
fn p10_two_replays_two_faults_and_an_entry_that_fails() {
    holds_as_far_as_seen(&Alerts { faults: 2, delays: 1, failures: 1, replays: 2, ..Alerts::default() });
}
