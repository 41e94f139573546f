//! Configurations of the event model.

use super::record_model::RecordMutant;
use super::{EventBudget, EventModel};
use crate::write_protocol::{assert_holds, assert_holds_within_limit, assert_mutant_found};

/// One process of each kind, without faults.
const ONE: EventModel = EventModel {
    handlers: 1,
    relays: 1,
    workers: 1,
    budget: EventBudget {
        faults: 0,
        delays: 0,
        duplicates: 0,
        not_ready: 0,
        impossible: 0,
        queue_rejections: 0,
        operator_actions: 0,
        losses: 0,
    },
    slow_processes: false,
    clock_skew: false,
    mutant: None,
};

fn mutant(mutant: RecordMutant) -> EventModel {
    EventModel { mutant: Some(mutant), ..ONE }
}

#[test]
fn p1_p2_p3_p7_p10_two_of_each_and_no_fault() {
    let left = EventBudget { duplicates: 1, not_ready: 1, ..ONE.budget };
    assert_holds(&EventModel { handlers: 2, relays: 2, workers: 2, budget: left, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_two_handlers_and_two_faults_of_which_one_is_late() {
    assert_holds(&EventModel {
        handlers: 2,
        budget: EventBudget { faults: 2, delays: 1, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_two_workers_and_two_faults_of_which_one_is_late() {
    assert_holds(&EventModel {
        workers: 2,
        budget: EventBudget { faults: 2, delays: 1, not_ready: 1, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_two_relays_and_two_faults_of_which_one_is_late() {
    assert_holds(&EventModel {
        relays: 2,
        budget: EventBudget { faults: 2, delays: 1, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_an_operator_replays_and_requeues() {
    assert_holds(&EventModel {
        budget: EventBudget { faults: 2, impossible: 1, operator_actions: 2, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_an_operator_says_that_a_message_is_lost() {
    assert_holds(&EventModel {
        workers: 2,
        budget: EventBudget { faults: 2, delays: 1, operator_actions: 1, losses: 1, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_p10_sqs_rejects_what_a_worker_has() {
    assert_holds(&EventModel {
        workers: 2,
        budget: EventBudget { faults: 2, delays: 1, queue_rejections: 1, operator_actions: 1, ..ONE.budget },
        ..ONE
    });
}

#[test]
fn p1_p2_p3_p7_clocks_that_differ_lose_nothing() {
    let left = EventBudget { faults: 1, not_ready: 1, ..ONE.budget };
    assert_holds(&EventModel { workers: 2, budget: left, clock_skew: true, slow_processes: true, ..ONE });
}

#[test]
fn p1_p2_p3_p7_p10_handlers_and_relays_that_are_slow() {
    assert_holds(&EventModel {
        handlers: 2,
        budget: EventBudget { faults: 1, delays: 1, ..ONE.budget },
        slow_processes: true,
        ..ONE
    });
}

#[test]
fn a_mark_must_name_the_rev() {
    let it = mutant(RecordMutant::MarkWithoutRev);
    assert_mutant_found(
        &EventModel { budget: EventBudget { faults: 1, delays: 1, not_ready: 1, ..ONE.budget }, ..it },
        "P2",
    );
}

#[test]
fn a_write_must_name_that_the_record_is_due() {
    let it = mutant(RecordMutant::UpdateWithoutDue);
    assert_mutant_found(&EventModel { slow_processes: true, ..it }, "P3");
}

#[test]
fn done_and_requeue_must_name_the_claim() {
    let it = mutant(RecordMutant::EndWithoutClaim);
    assert_mutant_found(
        &EventModel {
            workers: 2,
            budget: EventBudget { faults: 2, delays: 1, not_ready: 1, ..ONE.budget },
            ..it
        },
        "due and over",
    );
}

#[test]
fn a_record_is_quarantined_after_its_item_is_stored() {
    let it = mutant(RecordMutant::QuarantinedBeforeItem);
    assert_mutant_found(&EventModel { budget: EventBudget { impossible: 1, ..ONE.budget }, ..it }, "P7");
}

#[test]
fn the_relay_quarantines_nothing_that_a_worker_has_claimed() {
    let it = mutant(RecordMutant::QuarantinedDespiteClaim);
    let left = EventBudget { faults: 1, queue_rejections: 1, operator_actions: 2, ..ONE.budget };
    assert_mutant_found(&EventModel { workers: 2, budget: left, ..it }, "P10");
}

#[test]
fn what_the_relay_quarantines_loses_its_claim() {
    let it = mutant(RecordMutant::QuarantineKeepsClaim);
    let left = EventBudget { faults: 3, delays: 1, not_ready: 1, queue_rejections: 1, ..ONE.budget };
    assert_mutant_found(&EventModel { budget: left, ..it }, "due and over");
}

#[test]
fn no_message_is_lost_whose_event_a_worker_has() {
    let it = mutant(RecordMutant::LostDespiteClaim);
    assert_mutant_found(
        &EventModel { workers: 2, budget: EventBudget { operator_actions: 1, ..ONE.budget }, ..it },
        "P10",
    );
}

#[test]
fn a_failed_condition_is_checked_against_the_last_writer() {
    let it = mutant(RecordMutant::FailedWithoutWriterCheck);
    assert_mutant_found(
        &EventModel { budget: EventBudget { faults: 1, ..ONE.budget }, ..it },
        "applied, and answered",
    );
}

/// Otherwise the mark of whoever recorded the event fails, and the relay sends it again.
#[test]
fn the_count_of_a_duplicate_leaves_rev_as_it_is() {
    let it = mutant(RecordMutant::CountChangesRev);
    assert_mutant_found(&EventModel { handlers: 2, ..it }, "P3");
    assert_holds(&EventModel { handlers: 2, ..ONE });
}

/// An operator must requeue the event within the second between two attempts at the call with which the worker
/// quarantines it, and an attempt at that worker's claim must arrive in that second, too.
#[test]
fn a_claim_that_arrives_after_it_was_ended_is_void() {
    let left = EventBudget { faults: 2, delays: 1, impossible: 1, operator_actions: 1, ..ONE.budget };
    assert_mutant_found(&EventModel { budget: left, ..mutant(RecordMutant::ClaimAfterEnd) }, "P7");
    assert_holds(&EventModel { budget: left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_two_of_each_and_two_faults() {
    let left = EventBudget { faults: 2, delays: 1, not_ready: 1, ..ONE.budget };
    assert_holds_within_limit(&EventModel { handlers: 2, relays: 2, workers: 2, budget: left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_one_of_each_and_four_faults() {
    let left = EventBudget {
        faults: 4,
        delays: 2,
        not_ready: 1,
        queue_rejections: 1,
        operator_actions: 1,
        ..ONE.budget
    };
    assert_holds_within_limit(&EventModel { budget: left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_p10_two_workers_and_an_operator() {
    let left = EventBudget {
        faults: 2,
        delays: 0,
        duplicates: 1,
        not_ready: 1,
        impossible: 1,
        queue_rejections: 1,
        operator_actions: 2,
        losses: 1,
    };
    assert_holds_within_limit(&EventModel { workers: 2, budget: left, ..ONE });
}

#[test]
#[ignore = "for hours by hand"]
fn p1_p2_p3_p7_clocks_that_differ_and_whoever_is_slow() {
    let left = EventBudget { faults: 1, delays: 1, not_ready: 1, operator_actions: 1, ..ONE.budget };
    assert_holds_within_limit(&EventModel {
        workers: 2,
        budget: left,
        clock_skew: true,
        slow_processes: true,
        ..ONE
    });
}
