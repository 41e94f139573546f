//! The promises (P1 to P10) as checks of the evidence that a demo run left.
//!
//! Expectations come from the deliveries that were sent and from the state of the simulated Rightfoot; observations from
//! the senders' reports, the table, the queues, the bus and the connector's call log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use inbox_core::delivery::Provider;

use super::harness::PerformedDelivery;
use super::poller_runs::PollerRun;
use super::simulated_rightfoot::GroundTruth;
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

/// Everything that was observed in a run of the demo.
pub(super) struct Evidence {
    pub(super) deliveries: Vec<PerformedDelivery>,
    pub(super) submissions: Vec<SubmissionLog>,
    /// Alert threshold of each authorizer of the schedule, as written.
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

/// A violated promise and the items that violate it. `Display` shows at most 20 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The violation, in words.
    pub description: &'static str,
    /// What violates it: mostly event ids, else batches, submissions, runs or calls.
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

/// All violations; those without an item are left out.
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
    found.filter(|violation| !violation.ids.is_empty()).collect()
}

impl Evidence {
    /// The deliveries that must be on the queue.
    pub(super) fn expected_events(&self) -> impl Iterator<Item = &PlannedDelivery> {
        self.deliveries
            .iter()
            .map(|performed| &*performed.planned)
            .filter(|planned| planned.expected == ExpectedOutcome::Enqueued)
    }

    /// Ids of all expected events, with their bytes where these are known beforehand.
    fn expected_payloads(&self) -> BTreeMap<Cow<'_, str>, Option<Cow<'_, [u8]>>> {
        let delivered = self.expected_events().map(|planned| {
            (Cow::from(planned.outgoing.id.as_str()), Some(Cow::from(planned.outgoing.body.as_ref())))
        });
        delivered.chain(submissions::expected_payloads(self)).collect()
    }

    /// Number of messages of each event.
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

/// Steps that may have caused repeated messages of one event (P3).
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

/// P6, and the end of every delivery.
fn check_senders(evidence: &Evidence) -> Vec<Violation> {
    let violation = |description, is_wrong: &dyn Fn(&PlannedDelivery, &[DeliveryReport]) -> bool| {
        let wrong =
            evidence.deliveries.iter().filter(|performed| is_wrong(&performed.planned, &performed.reports));
        Violation { description, ids: wrong.map(|performed| performed.planned.outgoing.id.clone()).collect() }
    };
    vec![
        violation("still being delivered when the demo gave up waiting", &|_, deliveries| {
            deliveries.is_empty()
        }),
        violation("authentic, and not answered 2xx in the end", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Enqueued
                && !deliveries.iter().all(|it| it.end == DeliveryEnd::Delivered)
        }),
        violation("permanently failed at Fynapse by its response", &|planned, deliveries| {
            planned.provider() == Provider::Fynapse && attempts(deliveries).any(is_permanent_failure)
        }),
        violation("answered with a Retry-After", &|_, deliveries| {
            attempts(deliveries).any(|attempt| attempt.response.retry_after_secs().is_some())
        }),
        violation("forged, and not answered 403 in the end", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Rejected && !all_end_with(deliveries, 403)
        }),
        violation("forged, and accepted", &|planned, deliveries| {
            planned.expected == ExpectedOutcome::Rejected
                && attempts(deliveries).any(|it| it.response.is_success())
        }),
        violation(
            "unprocessable, and not answered with the expected status",
            &|planned, deliveries| matches!(planned.expected, ExpectedOutcome::Quarantined { status, .. } if !all_end_with(deliveries, status)),
        ),
    ]
}

/// P2, P3, P4: the messages on the queue, their number and their bytes.
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
            // Each requeue sends the event once more.
            let requeues = evidence.table.records.get(**id).map_or(0, |record| record.requeues);
            **copies > 1 + requeues + steps.get(*id).map_or(0, SendSteps::possible_repeats)
        })
        .map(|(id, copies)| format!("{id} ({copies} times)"));
    vec![
        Violation { description: "LOST: authentic, and not on the queue", ids: lost.collect() },
        Violation {
            description: "on the queue with other bytes than were sent",
            ids: messages(&|message| match authentic.get(message.id.as_str()) {
                Some(Some(body)) => message.payload.as_deref() != Some(body),
                // `check_alerts` checks alerts of unknown bytes; an unknown id is another violation.
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

/// P1: every authentic event is recorded, nothing else is, and nothing is left to do.
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

/// P7: the quarantined deliveries, their reasons and their bytes.
fn check_quarantine(evidence: &Evidence) -> Vec<Violation> {
    // By the bytes: an item in quarantine has an event id only if the event was recorded first.
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
        let wrong_deliveries =
            evidence.deliveries.iter().filter(|performed| match performed.planned.expected {
                ExpectedOutcome::Quarantined { reason, .. } => is_wrong(&performed.planned, reason),
                ExpectedOutcome::Enqueued | ExpectedOutcome::Rejected => false,
            });
        wrong_deliveries.map(|performed| performed.planned.outgoing.id.clone()).collect()
    };
    let unexpected = evidence.table.quarantined.iter().filter(|quarantined| {
        !evidence.deliveries.iter().any(|performed| {
            let is_same_payload = quarantined.provider == performed.planned.provider().as_str()
                && quarantined.payload.as_deref() == Some(performed.planned.outgoing.body.as_ref());
            let is_expected = matches!(performed.planned.expected, ExpectedOutcome::Quarantined { .. });
            // An unconfirmed alert is enqueued first, and quarantined under its event id.
            let is_its_event = quarantined.event_id.as_ref() == Some(&performed.planned.outgoing.id);
            is_same_payload
                && (is_expected
                    || is_its_event
                    || (quarantined.reason == "stale" && was_rejected_as_stale(performed)))
        })
    });
    vec![
        Violation {
            description: "unprocessable, and not quarantined byte for byte",
            ids: wrong(&|planned, _| quarantine_reason(planned).is_none()),
        },
        Violation {
            description: "unprocessable, and quarantined for another reason",
            ids: wrong(&|planned, reason| quarantine_reason(planned).is_some_and(|actual| actual != reason)),
        },
        Violation {
            description: "in quarantine, and not expected there",
            ids: unexpected
                .map(|quarantined| format!("{} ({})", quarantined.provider, quarantined.reason))
                .collect(),
        },
    ]
}

/// The planned faults must have occurred; otherwise the demo would show less than it claims.
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
        missed("planned fault that never occurred", &EXPECTED, &evidence.log),
        missed("planned worker fault that never occurred", &OF_WORKERS, &evidence.worker_log),
        Violation {
            description: "planned, and never occurred",
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

/// Returns `true` if an attempt was answered 403. On a slow machine, an attempt may arrive after the tolerance: it is
/// quarantined as stale, rejected, and delivered again.
fn was_rejected_as_stale(performed: &PerformedDelivery) -> bool {
    matches!(performed.planned.sender, DeliverySender::Fynapse(_))
        && attempts(&performed.reports).any(|attempt| attempt.response.status() == Some(403))
}
