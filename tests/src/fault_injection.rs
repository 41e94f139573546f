//! Fault matrices: every call of a scene, times everything that it can meet.

use local::connector::{AwsCall, AwsConnector, CallOutcome, Fault};
use tokio::task::JoinError;

/// How long the fault lasts: one call, or every further call of that operation until the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultDuration {
    /// That call.
    Once,
    /// That call and what comes after it.
    Persistent,
}

impl FaultDuration {
    /// Which calls this fault meets, from this one on: for [`local::wire::Wire::plan`].
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

/// What a call can meet in a matrix.
pub fn possible_faults(call: &AwsCall) -> Vec<Fault> {
    let late = if call.is_read() { &[][..] } else { &Fault::FOR_ANY_WRITE };
    Fault::FOR_ANY_CALL.iter().chain(late).copied().collect()
}

/// Whether a call was applied by now, and its caller cannot know it.
pub fn is_outcome_unknown(fate: &CallOutcome) -> bool {
    matches!(
        fate,
        CallOutcome::AppliedLate(200)
            | CallOutcome::Faulted(Fault::TimeoutAfter | Fault::MalformedResponse | Fault::CrashAfter)
    )
}

/// Whether a message or an event is, or will be, where it was sent to, and its sender cannot know it: nothing refuses a
/// send that comes late.
pub fn is_send_outcome_unknown(fate: &CallOutcome) -> bool {
    *fate == CallOutcome::Delayed || is_outcome_unknown(fate)
}

/// Whether a call was applied by now.
pub fn is_applied(fate: &CallOutcome) -> bool {
    *fate == CallOutcome::Answered(200) || is_outcome_unknown(fate)
}

/// Fails if a request of this process is still on its way, or if none ever was although this fault went in.
pub fn assert_late_requests_applied(process: &AwsConnector, fault: Fault) {
    assert_eq!(process.delayed_count(), 0, "never applied");
    let was_late = process.call_log().iter().any(|(_, fate)| matches!(fate, CallOutcome::AppliedLate(_)));
    assert_eq!(was_late, fault.is_delay(), "applied late");
}

/// Prints the table of what was played, by the names of its cells. Ends the test if a cell panicked, or if an event
/// was repeated on the queue more or less often than is allowed (P3): `repeats` tells both.
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
