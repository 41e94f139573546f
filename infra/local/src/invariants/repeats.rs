//! Repeats that the AWS calls of a run explain: only a step of unknown outcome may repeat a message (P3) or an effect
//! (P10).

use std::collections::{BTreeMap, BTreeSet};

use super::observed::Observed;
use crate::connector::{AwsCall, CallOutcome};
use crate::inspect::PublishedEvent;

const WORKER: &str = "event-worker";

/// Steps that may have caused repeated messages of one event.
#[derive(Default)]
struct SendSteps {
    /// Sends and writes whose caller could not know if they were applied.
    unknown_outcomes: usize,
    /// Writes to the record that were certainly not applied, such as a mark that the relay overtook.
    failed_writes: usize,
    /// Updates that were never sent: each send needs a mark, and each of the relay's sends a claim as well.
    missing_updates: isize,
    /// True if the relay sent the event.
    is_relayed: bool,
}

impl SendSteps {
    fn add_call(&mut self, operation: &str, outcome: &CallOutcome) {
        let (writes, updates_expected) = match operation {
            "SendMessage" => (false, 1),
            "SendMessageBatch" => (false, 2),
            "UpdateItem" => (true, -1),
            // A repeated put recognises its own record, and a read changes nothing.
            _ => return,
        };
        self.missing_updates += updates_expected;
        self.is_relayed |= operation == "SendMessageBatch";
        match outcome {
            CallOutcome::Pending | CallOutcome::Delayed | CallOutcome::AppliedLate(_) => {
                self.unknown_outcomes += 1
            }
            CallOutcome::Faulted(fault) if fault.leaves_outcome_unknown() => self.unknown_outcomes += 1,
            // The service may have applied a call before it answered 5xx.
            CallOutcome::Answered(500..) => self.unknown_outcomes += 1,
            CallOutcome::Answered(200) => {}
            CallOutcome::Faulted(_) | CallOutcome::Answered(_) => self.failed_writes += usize::from(writes),
        }
    }

    /// Number of repeats that the steps explain. A missing mark makes the relay send again, and nothing else.
    fn possible_repeats(&self) -> usize {
        let unmarked = self.failed_writes + usize::try_from(self.missing_updates).unwrap_or(0);
        self.unknown_outcomes + if self.is_relayed { unmarked } else { 0 }
    }
}

impl Observed {
    /// Calls of the worker, or of all other functions.
    fn calls_of_worker(&self, of_worker: bool) -> impl Iterator<Item = &(AwsCall, CallOutcome)> {
        self.calls.iter().filter(move |(call, _)| (call.function == Some(WORKER)) == of_worker)
    }

    /// Events with more messages than their steps explain.
    pub(super) fn unexplained_messages(&self) -> Vec<String> {
        let mut steps: BTreeMap<&str, SendSteps> = BTreeMap::new();
        for (call, outcome) in self.calls_of_worker(false) {
            for id in &call.event_ids {
                steps.entry(id).or_default().add_call(&call.operation, outcome);
            }
        }
        let is_unexplained = |(id, copies): &(&str, usize)| {
            // Each requeue sends the event once more.
            let requeues = self.inbox.records.get(*id).map_or(0, |record| record.requeues);
            *copies > 1 + requeues + steps.get(id).map_or(0, SendSteps::possible_repeats)
        };
        let repeated = self.message_counts().into_iter().filter(is_unexplained);
        repeated.map(|(id, copies)| format!("{id} ({copies} times)")).collect()
    }

    /// Number of repeats of an effect that the workers' calls explain: those after which a worker could not know, or
    /// could not record, that it had published the effect.
    pub(super) fn possible_bus_repeats(&self, copies: &[&PublishedEvent]) -> usize {
        // Updates of an `effect#alert#` item have the id on the bus, all other calls the event's id.
        let names: BTreeSet<&str> =
            copies.iter().flat_map(|it| [it.id.as_str(), it.event_id.as_str()]).collect();
        let unknown = self.calls_of_worker(true).filter(|(call, outcome)| {
            let writes = call.operation == "UpdateItem";
            let is_unknown = match outcome {
                CallOutcome::Pending | CallOutcome::Delayed | CallOutcome::AppliedLate(_) => true,
                // After a failed write, the publication is not recorded, so the worker publishes again.
                CallOutcome::Faulted(fault) => writes || fault.leaves_outcome_unknown(),
                CallOutcome::Answered(_) => false,
            };
            let concerns_it = call.event_ids.iter().any(|id| names.contains(id.as_str()));
            (writes || call.operation == "PutEvents") && is_unknown && concerns_it
        });
        let interrupted = names.iter().filter_map(|name| self.interruptions.get(*name)).sum::<usize>();
        unknown.count() + interrupted
    }
}
