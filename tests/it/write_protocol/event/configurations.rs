//! What is explored of one event.

use super::record::Mutant;
use super::{Event, Left};
use crate::write_protocol::{holds, holds_as_far_as_seen, is_found_out};

/// One of each, and nothing goes wrong.
const ONE: Event = Event {
    handlers: 1,
    relays: 1,
    workers: 1,
    left: Left { faults: 0, delays: 0, twice: 0, early: 0, never: 0, refusals: 0, operations: 0, losses: 0 },
    slow: false,
    skew: false,
    mutant: None,
};

fn mutant(mutant: Mutant) -> Event {
    Event { mutant: Some(mutant), ..ONE }
}

#[test]
fn p1_p2_p3_p7_p10_two_of_each_and_no_fault() {
    let left = Left { twice: 1, early: 1, ..ONE.left };
    holds(&Event { handlers: 2, relays: 2, workers: 2, left, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_two_handlers_and_two_faults_of_which_one_is_late() {
    holds(&Event { handlers: 2, left: Left { faults: 2, delays: 1, ..ONE.left }, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_two_workers_and_two_faults_of_which_one_is_late() {
    holds(&Event { workers: 2, left: Left { faults: 2, delays: 1, early: 1, ..ONE.left }, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_two_relays_and_two_faults_of_which_one_is_late() {
    holds(&Event { relays: 2, left: Left { faults: 2, delays: 1, ..ONE.left }, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_an_operator_replays_and_requeues() {
    holds(&Event { left: Left { faults: 2, never: 1, operations: 2, ..ONE.left }, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_an_operator_says_that_a_message_is_lost() {
    holds(&Event {
        workers: 2,
        left: Left { faults: 2, delays: 1, operations: 1, losses: 1, ..ONE.left },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_sqs_refuses_what_a_worker_has() {
    holds(&Event {
        workers: 2,
        left: Left { faults: 2, delays: 1, refusals: 1, operations: 1, ..ONE.left },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_clocks_that_differ_lose_nothing() {
    let left = Left { faults: 1, early: 1, ..ONE.left };
    holds(&Event { workers: 2, left, skew: true, slow: true, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_handlers_and_relays_that_are_slow() {
    holds(&Event { handlers: 2, left: Left { faults: 1, delays: 1, ..ONE.left }, slow: true, ..ONE });
}

#[test]
fn a_mark_must_name_the_rev() {
    let it = mutant(Mutant::MarkWithoutRev);
    is_found_out(&Event { left: Left { faults: 1, delays: 1, early: 1, ..ONE.left }, ..it }, "P2");
}

#[test]
fn a_write_must_name_that_the_record_is_due() {
    let it = mutant(Mutant::UpdateWithoutDue);
    is_found_out(&Event { slow: true, ..it }, "P3");
}

#[test]
fn done_and_put_back_must_name_the_claim() {
    let it = mutant(Mutant::EndWithoutClaim);
    is_found_out(
        &Event { workers: 2, left: Left { faults: 2, delays: 1, early: 1, ..ONE.left }, ..it },
        "due and over",
    );
}

#[test]
fn a_record_is_given_up_after_its_item_stands() {
    let it = mutant(Mutant::GivenUpBeforeItem);
    is_found_out(&Event { left: Left { never: 1, ..ONE.left }, ..it }, "P7");
}

#[test]
fn the_relay_gives_nothing_up_that_a_worker_has() {
    let it = mutant(Mutant::GiveUpDespiteClaim);
    let left = Left { faults: 1, refusals: 1, operations: 2, ..ONE.left };
    is_found_out(&Event { workers: 2, left, ..it }, "P10");
}

#[test]
fn what_the_relay_gives_up_loses_its_claim() {
    let it = mutant(Mutant::GiveUpKeepsClaim);
    let left = Left { faults: 3, delays: 1, early: 1, refusals: 1, ..ONE.left };
    is_found_out(&Event { left, ..it }, "due and over");
}

#[test]
fn no_message_is_lost_whose_event_a_worker_has() {
    let it = mutant(Mutant::LostDespiteClaim);
    is_found_out(&Event { workers: 2, left: Left { operations: 1, ..ONE.left }, ..it }, "P10");
}

#[test]
fn who_is_refused_looks_whether_he_wrote_last() {
    let it = mutant(Mutant::RefusedWithoutLook);
    is_found_out(&Event { left: Left { faults: 1, ..ONE.left }, ..it }, "applied, and told");
}

/// An operator has to requeue the event within the second between two attempts at one call of the worker that gives it up, and
/// an attempt at that worker's claim has to arrive in that second, too.
#[test]
fn a_claim_that_arrives_after_it_was_ended_is_void() {
    let left = Left { faults: 2, delays: 1, never: 1, operations: 1, ..ONE.left };
    is_found_out(&Event { left, ..mutant(Mutant::ClaimAfterEnd) }, "P7");
    holds(&Event { left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_two_of_each_and_two_faults() {
    let left = Left { faults: 2, delays: 1, early: 1, ..ONE.left };
    holds_as_far_as_seen(&Event { handlers: 2, relays: 2, workers: 2, left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_one_of_each_and_four_faults() {
    let left = Left { faults: 4, delays: 2, early: 1, refusals: 1, operations: 1, ..ONE.left };
    holds_as_far_as_seen(&Event { left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_two_workers_and_an_operator() {
    let left =
        Left { faults: 2, delays: 0, twice: 1, early: 1, never: 1, refusals: 1, operations: 2, losses: 1 };
    holds_as_far_as_seen(&Event { workers: 2, left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_clocks_that_differ_and_whoever_is_slow() {
    let left = Left { faults: 1, delays: 1, early: 1, operations: 1, ..ONE.left };
    holds_as_far_as_seen(&Event { workers: 2, left, skew: true, slow: true, ..ONE });
}
