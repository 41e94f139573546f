//! Configurations of the poll model.

use super::{PollModel, PollMutant};
use crate::write_protocol::{assert_holds, assert_holds_within_limit, assert_mutant_found};

/// A run with one poller and without webhooks.
const RUN: PollModel = PollModel {
    is_run: true,
    pollers: 1,
    faults: 0,
    delays: 0,
    unanswered_polls: 0,
    webhooks: 0,
    quarantines: 0,
    mutant: None,
};

#[test]
fn p9_a_batch_of_its_own_two_pollers_and_two_faults() {
    assert_holds(&PollModel {
        is_run: false,
        pollers: 2,
        faults: 2,
        delays: 1,
        unanswered_polls: 1,
        quarantines: 1,
        ..RUN
    });
}

#[test]
fn p9_a_run_two_pollers_webhooks_and_a_fault() {
    assert_holds(&PollModel { pollers: 2, faults: 1, delays: 1, webhooks: 2, ..RUN });
}

#[test]
fn p9_a_run_and_three_faults() {
    assert_holds(&PollModel { faults: 3, delays: 1, unanswered_polls: 1, webhooks: 1, ..RUN });
}

#[test]
fn p7_a_run_whose_records_are_quarantined() {
    assert_holds(&PollModel { faults: 1, webhooks: 1, quarantines: 2, ..RUN });
}

#[test]
fn polled_alerts_have_a_key_per_set_of_authorizers() {
    let mutant = Some(PollMutant::OneKeyForAlerts);
    assert_mutant_found(&PollModel { faults: 1, mutant, ..RUN }, "an uncovered alert was found");
}

#[test]
fn a_quarantined_record_covers_no_alerts() {
    let mutant = Some(PollMutant::QuarantinedCoversAlerts);
    assert_mutant_found(
        &PollModel { webhooks: 1, quarantines: 1, mutant, ..RUN },
        "an uncovered alert was found",
    );
}

#[test]
fn a_quarantined_record_is_requeued_by_the_poller_that_finds_the_same() {
    let mutant = Some(PollMutant::QuarantinedIsNotRequeued);
    assert_mutant_found(
        &PollModel { faults: 1, quarantines: 1, mutant, ..RUN },
        "an uncovered alert was found",
    );
}

#[test]
fn what_was_found_is_recorded_before_the_batch_ends() {
    let mutant = Some(PollMutant::UpdatesBatchFirst);
    assert_mutant_found(&PollModel { faults: 1, mutant, ..RUN }, "a run is settled");
}

#[test]
#[ignore = "for hours by hand"]
fn p9_a_run_two_pollers_and_everything() {
    assert_holds_within_limit(&PollModel {
        pollers: 2,
        faults: 2,
        delays: 1,
        unanswered_polls: 1,
        webhooks: 2,
        quarantines: 1,
        ..RUN
    });
}
