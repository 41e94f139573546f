//! What is explored of a batch.

use super::{Mutant, Poll};
use crate::write_protocol::{holds, holds_as_far_as_seen, is_found_out};

/// A run, one poller, and no webhook.
const RUN: Poll = Poll {
    is_run: true,
    pollers: 1,
    faults: 0,
    delays: 0,
    silences: 0,
    webhooks: 0,
    given_up: 0,
    mutant: None,
};

#[test]
fn p9_a_batch_of_its_own_two_pollers_and_two_faults() {
    holds(&Poll { is_run: false, pollers: 2, faults: 2, delays: 1, silences: 1, given_up: 1, ..RUN });
}

#[test]
fn p9_a_run_two_pollers_webhooks_and_a_fault() {
    holds(&Poll { pollers: 2, faults: 1, delays: 1, webhooks: 2, ..RUN });
}

#[test]
fn p9_a_run_and_three_faults() {
    holds(&Poll { faults: 3, delays: 1, silences: 1, webhooks: 1, ..RUN });
}

#[test]
fn p7_a_run_whose_records_are_given_up() {
    holds(&Poll { faults: 1, webhooks: 1, given_up: 2, ..RUN });
}

#[test]
fn alerts_that_the_poller_finds_have_a_key_by_whom_they_tell() {
    let mutant = Some(Mutant::OneKeyForAlerts);
    is_found_out(&Poll { faults: 1, mutant, ..RUN }, "an alert was found untold");
}

#[test]
fn a_record_that_was_given_up_tells_nothing() {
    let mutant = Some(Mutant::GivenUpTells);
    is_found_out(&Poll { webhooks: 1, given_up: 1, mutant, ..RUN }, "an alert was found untold");
}

#[test]
fn a_record_that_was_given_up_is_given_back_by_who_finds_the_same() {
    let mutant = Some(Mutant::GivenUpStays);
    is_found_out(&Poll { faults: 1, given_up: 1, mutant, ..RUN }, "an alert was found untold");
}

#[test]
fn what_was_found_is_recorded_before_the_batch_ends() {
    let mutant = Some(Mutant::EndsFirst);
    is_found_out(&Poll { faults: 1, mutant, ..RUN }, "a run is settled");
}

#[test]
#[ignore = "for hours by hand"]
fn p9_a_run_two_pollers_and_everything() {
    holds_as_far_as_seen(&Poll {
        pollers: 2,
        faults: 2,
        delays: 1,
        silences: 1,
        webhooks: 2,
        given_up: 1,
        ..RUN
    });
}
