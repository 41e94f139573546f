//! Whether what was seen is what had to be. Expectations come from what was sent, and from what the simulated
//! Rightfoot knows; everything else from the senders' reports, the table, the queues and the log of the wire.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use inbox_core::delivery::Provider;

use super::harness::PerformedDelivery;
use super::simulated_rightfoot::{GroundTruth, PollerRun};
use super::submissions::SubmissionLog;
use super::traffic::{DeliverySender, ExpectedOutcome, PlannedDelivery};
use super::workers::WorkerEvidence;
use crate::connector::{AwsCall, CallOutcome, Fault};
use crate::inspect::{InboxSnapshot, MessageSnapshot, PublishedEvent, RecordSnapshot, StoredBalance};
use crate::senders::retry_policy::FYNAPSE_PERMANENT_FAILURE_CODES;
use crate::senders::{DeliveryAttempt, DeliveryEnd, DeliveryReport};

mod effects;
mod submissions;

pub(super) use submissions::{POLL_ORIGIN, WEBHOOK_ORIGIN, completion_id};

/// What was seen.
pub(super) struct Evidence {
    pub(super) deliveries: Vec<PerformedDelivery>,
    pub(super) submissions: Vec<SubmissionLog>,
    /// From which balance on each authorizer of the schedule is to be alerted of.
    pub(super) thresholds: BTreeMap<String, &'static str>,
    pub(super) truth: GroundTruth,
    pub(super) poller_runs: Vec<PollerRun>,
    pub(super) table: InboxSnapshot,
    pub(super) messages: Vec<MessageSnapshot>,
    pub(super) dead_letters: usize,
    /// The calls of all but the workers.
    pub(super) log: Vec<(AwsCall, CallOutcome)>,
    pub(super) stored_balances: Vec<StoredBalance>,
    pub(super) published: Vec<PublishedEvent>,
    pub(super) workers: WorkerEvidence,
    /// The calls of the workers.
    pub(super) worker_log: Vec<(AwsCall, CallOutcome)>,
}

/// A promise that was not kept, and by which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub description: &'static str,
    /// With which events.
    pub ids: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let shown = self.ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {shown}", self.description)?;
        match self.ids.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Everything that is wrong.
pub(super) fn violations(evidence: &Evidence) -> Vec<Violation> {
    let found = [
        check_senders(evidence),
        check_queue(evidence),
        check_table(evidence),
        check_quarantine(evidence),
        check_planned_faults(evidence),
    ];
    let found = found
        .into_iter()
        .flatten()
        .chain(submissions::violations(evidence))
        .chain(effects::violations(evidence));
    found.filter(|problem| !problem.ids.is_empty()).collect()
}

impl Evidence {
    /// What was delivered and must be on the queue.
    pub(super) fn expected_events(&self) -> impl Iterator<Item = &PlannedDelivery> {
        self.deliveries
            .iter()
            .map(|played| &*played.planned)
            .filter(|planned| planned.expected == ExpectedOutcome::Enqueued)
    }

    /// Every event that must be, with its bytes, as far as they are known beforehand.
    fn expected_payloads(&self) -> BTreeMap<Cow<'_, str>, Option<Cow<'_, [u8]>>> {
        let delivered = self.expected_events().map(|planned| {
            (Cow::from(planned.outgoing.id.as_str()), Some(Cow::from(planned.outgoing.body.as_ref())))
        });
        delivered.chain(submissions::expected_payloads(self)).collect()
    }

    /// How often each event is on the queue.
    pub(super) fn message_counts(&self) -> BTreeMap<&str, usize> {
        let mut copies = BTreeMap::new();
        for message in &self.messages {
            *copies.entry(message.id.as_str()).or_default() += 1;
        }
        copies
    }

    fn send_steps(&self) -> BTreeMap<&str, SendSteps> {
        let mut steps: BTreeMap<&str, SendSteps> = BTreeMap::new();
        for (call, outcome) in &self.log {
            for id in &call.event_ids {
                steps.entry(id).or_default().add_call(&call.operation, outcome);
            }
        }
        steps
    }
}

/// What could make one event be sent again (P3).
#[derive(Default)]
struct SendSteps {
    /// Sends and writes of which nobody could know whether they were applied.
    unknown_outcomes: usize,
    /// Writes to the record that were not applied, and that is known: a mark that the relay overtook, say.
    failed_writes: usize,
    /// A send asks for a mark, and the relay's for a claim as well: how many never set out.
    missing_updates: isize,
    /// Whether the relay had a hand in it.
    is_relayed: bool,
}

impl SendSteps {
    fn add_call(&mut self, operation: &str, outcome: &CallOutcome) {
        let (writes, updates_expected) = match operation {
            "SendMessage" => (false, 1),
            "SendMessageBatch" => (false, 2),
            "UpdateItem" => (true, -1),
            // A put that is repeated recognises its own record, and reading changes nothing.
            _ => return,
        };
        self.missing_updates += updates_expected;
        self.is_relayed |= operation == "SendMessageBatch";
        match outcome {
            CallOutcome::Pending | CallOutcome::Delayed | CallOutcome::AppliedLate(_) => {
                self.unknown_outcomes += 1
            }
            CallOutcome::Faulted(fault) if fault.leaves_outcome_unknown() => self.unknown_outcomes += 1,
            CallOutcome::Answered(500..) => self.unknown_outcomes += 1,
            CallOutcome::Answered(200) => {}
            CallOutcome::Faulted(_) | CallOutcome::Answered(_) => self.failed_writes += usize::from(writes),
        }
    }

    /// How many repeats they explain. A mark that is not made lets the relay send again, and only the relay.
    fn possible_repeats(&self) -> usize {
        let unmarked = self.failed_writes + usize::try_from(self.missing_updates).unwrap_or(0);
        self.unknown_outcomes + if self.is_relayed { unmarked } else { 0 }
    }
}

/// P6, and every delivery came to the end that it deserves.
fn check_senders(evidence: &Evidence) -> Vec<Violation> {
    let parts = |description, is_wrong: &dyn Fn(&PlannedDelivery, &[DeliveryReport]) -> bool| {
        let wrong = evidence.deliveries.iter().filter(|played| is_wrong(&played.planned, &played.reports));
        Violation { description, ids: wrong.map(|played| played.planned.outgoing.id.clone()).collect() }
    };
    vec![
        parts("still being delivered when the demo gave up waiting", &|_, deliveries| deliveries.is_empty()),
        parts("authentic, and not answered 2xx in the end", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Enqueued
                && !deliveries.iter().all(|it| it.end == DeliveryEnd::Delivered)
        }),
        parts("killed at Fynapse by its answer", &|planned, deliveries| {
            planned.provider() == Provider::Fynapse && attempts(deliveries).any(is_permanent_failure)
        }),
        parts("answered with a Retry-After", &|_, deliveries| {
            attempts(deliveries).any(|attempt| attempt.response.retry_after_secs().is_some())
        }),
        parts("forged, and not answered 403 in the end", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Rejected && !all_end_with(deliveries, 403)
        }),
        parts("forged, and accepted", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Rejected
                && attempts(deliveries).any(|it| it.response.is_success())
        }),
        parts(
            "unusable, and not answered as its provider is told to",
            &|planned, deliveries| matches!(planned.expected, ExpectedOutcome::Quarantined { status, .. } if !all_end_with(deliveries, status)),
        ),
    ]
}

/// P2, P3, P4: what is on the queue, how often, and with which bytes.
fn check_queue(evidence: &Evidence) -> Vec<Violation> {
    let authentic = evidence.expected_payloads();
    let (copies, steps) = (evidence.message_counts(), evidence.send_steps());
    let messages = |is_wrong: &dyn Fn(&MessageSnapshot) -> bool| {
        evidence
            .messages
            .iter()
            .filter(|message| is_wrong(message))
            .map(|message| message.id.clone())
            .collect()
    };
    let lost = authentic.keys().filter(|id| !copies.contains_key(&***id)).map(|id| id.to_string());
    let repeated = copies
        .iter()
        .filter(|(id, copies)| {
            // A worker that puts an event back has it sent once more.
            let works = evidence.table.records.get(**id).map_or(0, |record| record.requeues);
            **copies > 1 + works + steps.get(*id).map_or(0, SendSteps::possible_repeats)
        })
        .map(|(id, copies)| format!("{id} ({copies} times)"));
    vec![
        Violation { description: "LOST: authentic, and not on the queue", ids: lost.collect() },
        Violation {
            description: "on the queue with other bytes than were sent",
            ids: messages(&|message| match authentic.get(message.id.as_str()) {
                Some(Some(body)) => message.payload.as_deref() != Some(body),
                Some(None) | None => false,
            }),
        },
        Violation {
            description: "on the queue, and not an authentic event",
            ids: messages(&|message| !authentic.contains_key(message.id.as_str())),
        },
        Violation {
            description: "on the queue with another origin than recorded",
            ids: messages(&|message| {
                let record = evidence.table.records.get(&message.id);
                record.is_some_and(|record| record.origin != message.origin)
            }),
        },
        Violation {
            description: "on the queue more often than steps of unknown outcome explain",
            ids: repeated.collect(),
        },
        Violation {
            description: "on the dead-letter queue",
            ids: (0..evidence.dead_letters).map(|n| format!("message {n}")).collect(),
        },
    ]
}

/// P1: what is recorded, and that nothing is left to do.
fn check_table(evidence: &Evidence) -> Vec<Violation> {
    let authentic = evidence.expected_payloads();
    let records = &evidence.table.records;
    let missing = authentic.keys().filter(|id| !records.contains_key(&***id)).map(|id| id.to_string());
    let foreign = records.keys().filter(|id| !authentic.contains_key(id.as_str())).cloned();
    let is_finished = |record: &RecordSnapshot| record.is_sent || record.is_done || record.is_quarantined;
    let due =
        records.iter().filter(|(_, record)| record.is_due || !is_finished(record)).map(|(id, _)| id.clone());
    vec![
        Violation { description: "authentic, and not recorded", ids: missing.collect() },
        Violation { description: "recorded, and not an authentic event", ids: foreign.collect() },
        Violation { description: "recorded, and still due", ids: due.collect() },
    ]
}

/// P7: what is kept, why, and with which bytes.
fn check_quarantine(evidence: &Evidence) -> Vec<Violation> {
    let reasons: BTreeMap<(&str, &[u8]), &str> = evidence
        .table
        .quarantined
        .iter()
        .filter_map(|quarantined| {
            Some((
                (quarantined.provider.as_str(), quarantined.payload.as_deref()?),
                quarantined.reason.as_str(),
            ))
        })
        .collect();
    let quarantine_reason = |planned: &PlannedDelivery| {
        reasons.get(&(planned.provider().as_str(), planned.outgoing.body.as_ref())).copied()
    };
    let wrong = |is_wrong: &dyn Fn(&PlannedDelivery, &'static str) -> bool| {
        let parts = evidence.deliveries.iter().filter(|played| match played.planned.expected {
            ExpectedOutcome::Quarantined { reason, .. } => is_wrong(&played.planned, reason),
            ExpectedOutcome::Enqueued | ExpectedOutcome::Rejected => false,
        });
        parts.map(|played| played.planned.outgoing.id.clone()).collect()
    };
    let unexpected = evidence.table.quarantined.iter().filter(|quarantined| {
        !evidence.deliveries.iter().any(|played| {
            let is_same_payload = quarantined.provider == played.planned.provider().as_str()
                && quarantined.payload.as_deref() == Some(played.planned.outgoing.body.as_ref());
            let is_expected = matches!(played.planned.expected, ExpectedOutcome::Quarantined { .. });
            let is_its_event = quarantined.event_id.as_ref() == Some(&played.planned.outgoing.id);
            is_same_payload
                && (is_expected
                    || is_its_event
                    || (quarantined.reason == "stale" && was_rejected_as_stale(played)))
        })
    });
    vec![
        Violation {
            description: "unusable, and not kept byte for byte",
            ids: wrong(&|planned, _| quarantine_reason(planned).is_none()),
        },
        Violation {
            description: "unusable, and kept for another reason",
            ids: wrong(&|planned, reason| quarantine_reason(planned).is_some_and(|actual| actual != reason)),
        },
        Violation {
            description: "in quarantine, and nothing that belongs there",
            ids: unexpected
                .map(|quarantined| format!("{} ({})", quarantined.provider, quarantined.reason))
                .collect(),
        },
    ]
}

/// The faults that the demo stands for must have been met, or it would prove less than it says.
fn check_planned_faults(evidence: &Evidence) -> Vec<Violation> {
    const EXPECTED: [(&str, Fault); 10] = [
        ("SendMessage", Fault::ServerError),
        ("SendMessage", Fault::TimeoutAfter),
        ("PutItem", Fault::ServerError),
        ("PutItem", Fault::CrashAfter),
        ("SendMessage", Fault::CrashBefore),
        ("SendMessage", Fault::CrashAfter),
        ("UpdateItem", Fault::CrashBefore),
        ("SendMessageBatch", Fault::CrashAfter),
        ("TransactWriteItems", Fault::CrashBefore),
        ("TransactWriteItems", Fault::CrashAfter),
    ];
    const OF_WORKERS: [(&str, Fault); 10] = [
        ("UpdateItem", Fault::ServerError),
        ("UpdateItem", Fault::CrashAfter),
        ("UpdateItem", Fault::CrashBefore),
        ("BatchWriteItem", Fault::FirstUnprocessed),
        ("BatchWriteItem", Fault::CrashAfter),
        ("PutEvents", Fault::FirstEntryFailed),
        ("PutEvents", Fault::TimeoutAfter),
        ("PutEvents", Fault::MalformedResponse),
        ("PutEvents", Fault::CrashBefore),
        ("PutEvents", Fault::CrashAfter),
    ];
    let missed = |description, expected: &[(&str, Fault)], log: &[(AwsCall, CallOutcome)]| {
        let occurred = |operation: &str, fault: Fault| {
            log.iter()
                .any(|(call, outcome)| call.operation == operation && *outcome == CallOutcome::Faulted(fault))
        };
        let missed = expected.iter().filter(|(operation, fault)| !occurred(operation, *fault));
        Violation {
            description,
            ids: missed.map(|(operation, fault)| format!("{operation} {fault:?}")).collect(),
        }
    };
    vec![
        missed("planned trouble that never came", &EXPECTED, &evidence.log),
        missed("planned trouble of the workers that never came", &OF_WORKERS, &evidence.worker_log),
        Violation {
            description: "planned, and never happened",
            ids: evidence
                .workers
                .twice
                .is_empty()
                .then(|| "a message to two workers at once".to_owned())
                .into_iter()
                .collect(),
        },
    ]
}

fn attempts(deliveries: &[DeliveryReport]) -> impl Iterator<Item = &DeliveryAttempt> {
    deliveries.iter().flat_map(|delivered| &delivered.attempts)
}

fn is_permanent_failure(attempt: &DeliveryAttempt) -> bool {
    attempt.response.status().is_some_and(|status| FYNAPSE_PERMANENT_FAILURE_CODES.contains(&status))
}

fn all_end_with(deliveries: &[DeliveryReport], status: u16) -> bool {
    deliveries.iter().all(|it| it.last_response().and_then(|response| response.status()) == Some(status))
}

/// A delivery that reached a slow machine too late was kept as stale, refused, and came again.
fn was_rejected_as_stale(played: &PerformedDelivery) -> bool {
    matches!(played.planned.sender, DeliverySender::Fynapse(_))
        && attempts(&played.reports).any(|attempt| attempt.response.status() == Some(403))
}
