//! What is explored of submissions.

use super::{Mutant, Submission};
use crate::write_protocol::{holds, holds_as_far_as_seen, is_found_out};

/// Two callers with the same request, and one with another.
const THREE: Submission = Submission {
    requests: [0, 0, 1],
    calls: 4,
    faults: 0,
    delays: 0,
    lost: 0,
    refusals: 0,
    polls: 1,
    releases: 0,
    mutant: None,
};

#[test]
fn p9_three_callers_and_answers_that_are_lost() {
    holds(&Submission { faults: 1, delays: 1, lost: 1, polls: 0, ..THREE });
}

#[test]
fn p9_three_callers_and_refusals() {
    holds(&Submission { refusals: 2, lost: 1, polls: 0, ..THREE });
}

#[test]
fn p9_three_callers_a_refusal_and_a_fault() {
    holds(&Submission { faults: 1, refusals: 1, delays: 1, calls: 3, ..THREE });
}

#[test]
fn p9_three_callers_and_an_operator_who_frees_the_name() {
    holds(&Submission { releases: 1, refusals: 1, faults: 1, calls: 3, polls: 0, ..THREE });
}

#[test]
fn a_refusal_frees_the_name_after_a_single_attempt_only() {
    let mutant = Some(Mutant::FreedAfterAttempts);
    is_found_out(&Submission { lost: 2, refusals: 1, mutant, ..THREE }, "a caller is told that nothing");
}

#[test]
fn a_refusal_frees_no_name_whose_first_try_was_not_answered() {
    let mutant = Some(Mutant::FreedAfterRetry);
    is_found_out(&Submission { lost: 1, refusals: 1, mutant, ..THREE }, "a caller is told that nothing");
}

#[test]
fn a_conclusion_names_its_call() {
    let mutant = Some(Mutant::ConcludedWithoutCall);
    is_found_out(
        &Submission { releases: 1, polls: 0, mutant, ..THREE },
        "a caller is told of a batch that its",
    );
}

#[test]
fn a_name_is_freed_by_its_own_call() {
    let mutant = Some(Mutant::FreedWithoutCall);
    is_found_out(
        &Submission { releases: 1, refusals: 1, faults: 1, calls: 3, polls: 0, mutant, ..THREE },
        "P9",
    );
}

#[test]
#[ignore = "for hours by hand"]
fn p9_three_callers_and_everything() {
    holds_as_far_as_seen(&Submission {
        calls: 5,
        faults: 2,
        delays: 1,
        lost: 2,
        refusals: 2,
        polls: 2,
        ..THREE
    });
}
