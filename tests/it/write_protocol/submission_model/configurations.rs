//! Configurations of the submission model.

use super::{SubmissionModel, SubmissionMutant};
use crate::write_protocol::{assert_holds, assert_holds_within_limit, assert_mutant_found};

/// Two callers with the same request, and one with another.
const THREE: SubmissionModel = SubmissionModel {
    requests: [0, 0, 1],
    calls: 4,
    faults: 0,
    delays: 0,
    lost_responses: 0,
    rejections: 0,
    polls: 1,
    releases: 0,
    mutant: None,
};

#[test]
fn p9_three_callers_and_answers_that_are_lost() {
    assert_holds(&SubmissionModel { faults: 1, delays: 1, lost_responses: 1, polls: 0, ..THREE });
}

#[test]
fn p9_three_callers_and_refusals() {
    assert_holds(&SubmissionModel { rejections: 2, lost_responses: 1, polls: 0, ..THREE });
}

#[test]
fn p9_three_callers_a_refusal_and_a_fault() {
    assert_holds(&SubmissionModel { faults: 1, rejections: 1, delays: 1, calls: 3, ..THREE });
}

#[test]
fn p9_three_callers_and_an_operator_who_frees_the_name() {
    assert_holds(&SubmissionModel { releases: 1, rejections: 1, faults: 1, calls: 3, polls: 0, ..THREE });
}

#[test]
fn a_refusal_frees_the_name_after_a_single_attempt_only() {
    let mutant = Some(SubmissionMutant::ReleasedAfterAttempts);
    assert_mutant_found(
        &SubmissionModel { lost_responses: 2, rejections: 1, mutant, ..THREE },
        "a caller is answered that nothing",
    );
}

#[test]
fn a_refusal_frees_no_name_whose_first_try_was_not_answered() {
    let mutant = Some(SubmissionMutant::ReleasedAfterRetry);
    assert_mutant_found(
        &SubmissionModel { lost_responses: 1, rejections: 1, mutant, ..THREE },
        "a caller is answered that nothing",
    );
}

#[test]
fn a_conclusion_names_its_call() {
    let mutant = Some(SubmissionMutant::CompletedWithoutCall);
    assert_mutant_found(
        &SubmissionModel { releases: 1, polls: 0, mutant, ..THREE },
        "a caller is answered a batch that its",
    );
}

#[test]
fn a_name_is_freed_by_its_own_call() {
    let mutant = Some(SubmissionMutant::ReleasedWithoutCall);
    assert_mutant_found(
        &SubmissionModel { releases: 1, rejections: 1, faults: 1, calls: 3, polls: 0, mutant, ..THREE },
        "P9",
    );
}

#[test]
#[ignore = "for hours by hand"]
fn p9_three_callers_and_everything() {
    assert_holds_within_limit(&SubmissionModel {
        calls: 5,
        faults: 2,
        delays: 1,
        lost_responses: 2,
        rejections: 2,
        polls: 2,
        ..THREE
    });
}
