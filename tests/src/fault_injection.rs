//! Fault matrices: every AWS call of a scenario is combined with every fault that can be injected into it.

use local::connector::{AwsCall, AwsConnector, CallOutcome, Fault};
use tokio::task::JoinError;

/// Duration of a fault: one call, or every later call of the same operation until the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultDuration {
    /// The faulted call only.
    Once,
    /// The faulted call and every later call of that operation.
    Persistent,
}

impl FaultDuration {
    /// Returns the plan for [`local::connector::AwsConnector::set_fault_plan`], with `from` as the first faulted
    /// call.
    pub fn fault_plan(
        self,
        from: &AwsCall,
        fault: Fault,
    ) -> impl Fn(&AwsCall) -> Option<Fault> + Send + Sync + use<> {
        let (at, operation) = (from.index, from.operation.clone());
        move |call| {
            let hit = match self {
                Self::Once => call.index == at,
                Self::Persistent => call.index >= at && call.operation == operation,
            };
            hit.then_some(fault)
        }
    }
}

/// Returns the faults that a matrix injects into this call; a read has no late variants.
pub fn possible_faults(call: &AwsCall) -> Vec<Fault> {
    let late = if call.is_read() { &[][..] } else { &Fault::FOR_ANY_WRITE };
    Fault::FOR_ANY_CALL.iter().chain(late).copied().collect()
}

/// Returns `true` if AWS has applied the call and its caller cannot know it.
pub fn is_outcome_unknown(outcome: &CallOutcome) -> bool {
    matches!(
        outcome,
        CallOutcome::AppliedLate(200)
            | CallOutcome::Faulted(Fault::TimeoutAfter | Fault::MalformedResponse | Fault::CrashAfter)
    )
}

/// Returns `true` if a send has arrived, or will, and its sender cannot know it. A late send counts, because no
/// condition rejects it.
pub fn is_send_outcome_unknown(outcome: &CallOutcome) -> bool {
    *outcome == CallOutcome::Delayed || is_outcome_unknown(outcome)
}

/// Returns `true` if AWS has applied the call.
pub fn is_applied(outcome: &CallOutcome) -> bool {
    *outcome == CallOutcome::Answered(200) || is_outcome_unknown(outcome)
}

/// Panics if a delayed request of this process is still pending, or if none was delayed although the fault is a
/// delay.
pub fn assert_late_requests_applied(process: &AwsConnector, fault: Fault) {
    assert_eq!(process.delayed_count(), 0, "never applied");
    let was_late =
        process.call_log().iter().any(|(_, outcome)| matches!(outcome, CallOutcome::AppliedLate(_)));
    assert_eq!(was_late, fault.is_delay(), "applied late");
}

/// Prints one row per cell, and panics if a cell panicked or if an event was repeated on the queue more or less often
/// than allowed (P3). `repeats` returns both counts of a cell: actual and allowed.
#[expect(clippy::print_stdout, reason = "a table for whoever looks at a failure")]
pub fn assert_table<R>(
    results: &[(String, Result<R, JoinError>)],
    repeats: impl Fn(&R) -> (usize, usize),
    write_row: impl Fn(&mut String, &R),
) {
    let (mut table, mut violations) = (String::new(), Vec::new());
    for (cell, row) in results {
        match row {
            Ok(row) => {
                let (repeats, allowed) = repeats(row);
                if repeats != allowed {
                    violations.push(format!("P3: {repeats} repeats where {allowed} are allowed: {cell}"));
                }
                write_row(&mut table, row);
            }
            Err(panicked) => violations.push(format!("{panicked}: {cell}")),
        }
    }
    println!("{table}{} cells", results.len());
    assert!(
        violations.is_empty(),
        "{} of {} cells:\n{}",
        violations.len(),
        results.len(),
        violations.join("\n")
    );
}
