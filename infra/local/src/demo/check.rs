//! Whether what was seen is what had to be. Expectations come from what was sent, and from what the simulated
//! Rightfoot knows; everything else from the senders' reports, the table, the queues and the log of the wire.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use inbox_core::delivery::Provider;

use super::cast::{By, Expected, Part};
use super::rightfoot::{PollerRun, Truth};
use super::stage::Played;
use super::submissions::Submitted;
use super::workers::Seen;
use crate::inspect::{PublishedEvent, MessageSnapshot, RecordSnapshot, StoredBalance, InboxSnapshot};
use crate::senders::schedule::KILL_CODES;
use crate::senders::{Attempt, Delivered, End};
use crate::connector::{AwsCall, CallOutcome, Fault};

mod effects;
mod submitted;

pub(super) use submitted::{POLL, WEBHOOK, completion_id};

/// What was seen.
pub(super) struct Evidence {
    pub(super) played: Vec<Played>,
    pub(super) submitted: Vec<Submitted>,
    /// From which balance on each authorizer of the schedule is to be alerted of.
    pub(super) thresholds: BTreeMap<String, &'static str>,
    pub(super) truth: Truth,
    pub(super) poller_runs: Vec<PollerRun>,
    pub(super) table: InboxSnapshot,
    pub(super) messages: Vec<MessageSnapshot>,
    pub(super) dead_letters: usize,
    /// The calls of all but the workers.
    pub(super) log: Vec<(AwsCall, CallOutcome)>,
    pub(super) stored: Vec<StoredBalance>,
    pub(super) announced: Vec<PublishedEvent>,
    pub(super) worked: Seen,
    /// The calls of the workers.
    pub(super) worked_log: Vec<(AwsCall, CallOutcome)>,
}

/// A promise that was not kept, and by which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: &'static str,
    /// With which events.
    pub ids: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let shown = self.ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {shown}", self.what)?;
        match self.ids.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Everything that is wrong.
pub(super) fn problems(seen: &Evidence) -> Vec<Problem> {
    let found = [senders(seen), queue(seen), table(seen), quarantine(seen), trouble(seen)];
    let found = found.into_iter().flatten().chain(submitted::problems(seen)).chain(effects::problems(seen));
    found.filter(|problem| !problem.ids.is_empty()).collect()
}

impl Evidence {
    /// What was delivered and must be on the queue.
    pub(super) fn events(&self) -> impl Iterator<Item = &Part> {
        self.played.iter().map(|played| &*played.part).filter(|part| part.expected == Expected::OnQueue)
    }

    /// Every event that must be, with its bytes, as far as they are known beforehand.
    fn authentic(&self) -> BTreeMap<Cow<'_, str>, Option<Cow<'_, [u8]>>> {
        let delivered = self
            .events()
            .map(|part| (Cow::from(part.outgoing.id.as_str()), Some(Cow::from(part.outgoing.body.as_ref()))));
        delivered.chain(submitted::authentic(self)).collect()
    }

    /// How often each event is on the queue.
    pub(super) fn copies(&self) -> BTreeMap<&str, usize> {
        let mut copies = BTreeMap::new();
        for message in &self.messages {
            *copies.entry(message.id.as_str()).or_default() += 1;
        }
        copies
    }

    fn steps(&self) -> BTreeMap<&str, Steps> {
        let mut steps: BTreeMap<&str, Steps> = BTreeMap::new();
        for (call, fate) in &self.log {
            for id in &call.event_ids {
                steps.entry(id).or_default().see(&call.operation, fate);
            }
        }
        steps
    }
}

/// What could make one event be sent again (P3).
#[derive(Default)]
struct Steps {
    /// Sends and writes of which nobody could know whether they were applied.
    unknown: usize,
    /// Writes to the record that were not applied, and that is known: a mark that the relay overtook, say.
    refused: usize,
    /// A send asks for a mark, and the relay's for a claim as well: how many never set out.
    missing: isize,
    /// Whether the relay had a hand in it.
    relayed: bool,
}

impl Steps {
    fn see(&mut self, operation: &str, fate: &CallOutcome) {
        let (writes, updates_wanted) = match operation {
            "SendMessage" => (false, 1),
            "SendMessageBatch" => (false, 2),
            "UpdateItem" => (true, -1),
            // A put that is repeated recognises its own record, and reading changes nothing.
            _ => return,
        };
        self.missing += updates_wanted;
        self.relayed |= operation == "SendMessageBatch";
        match fate {
            CallOutcome::Pending | CallOutcome::Delayed | CallOutcome::AppliedLate(_) => self.unknown += 1,
            CallOutcome::Faulted(fault) if fault.leaves_outcome_unknown() => self.unknown += 1,
            CallOutcome::Answered(500..) => self.unknown += 1,
            CallOutcome::Answered(200) => {}
            CallOutcome::Faulted(_) | CallOutcome::Answered(_) => self.refused += usize::from(writes),
        }
    }

    /// How many repeats they explain. A mark that is not made lets the relay send again, and only the relay.
    fn explain(&self) -> usize {
        let unmarked = self.refused + usize::try_from(self.missing).unwrap_or(0);
        self.unknown + if self.relayed { unmarked } else { 0 }
    }
}

/// P6, and every delivery came to the end that it deserves.
fn senders(seen: &Evidence) -> Vec<Problem> {
    let parts = |what, is_wrong: &dyn Fn(&Part, &[Delivered]) -> bool| {
        let wrong = seen.played.iter().filter(|played| is_wrong(&played.part, &played.deliveries));
        Problem { what, ids: wrong.map(|played| played.part.outgoing.id.clone()).collect() }
    };
    vec![
        parts("still being delivered when the demo gave up waiting", &|_, deliveries| deliveries.is_empty()),
        parts("authentic, and not answered 2xx in the end", &|part, deliveries| {
            part.expected == Expected::OnQueue && !deliveries.iter().all(|it| it.end == End::Delivered)
        }),
        parts("killed at Fynapse by its answer", &|part, deliveries| {
            part.provider() == Provider::Fynapse && attempts(deliveries).any(was_killing)
        }),
        parts("answered with a Retry-After", &|_, deliveries| {
            attempts(deliveries).any(|attempt| attempt.answer.retry_after_secs().is_some())
        }),
        parts("forged, and not answered 403 in the end", &|part, deliveries| {
            part.expected == Expected::Refused && !all_end_with(deliveries, 403)
        }),
        parts("forged, and accepted", &|part, deliveries| {
            part.expected == Expected::Refused && attempts(deliveries).any(|it| it.answer.is_success())
        }),
        parts(
            "unusable, and not answered as its provider is told to",
            &|part, deliveries| matches!(part.expected, Expected::Kept { status, .. } if !all_end_with(deliveries, status)),
        ),
    ]
}

/// P2, P3, P4: what is on the queue, how often, and with which bytes.
fn queue(seen: &Evidence) -> Vec<Problem> {
    let authentic = seen.authentic();
    let (copies, steps) = (seen.copies(), seen.steps());
    let messages = |is_wrong: &dyn Fn(&MessageSnapshot) -> bool| {
        seen.messages.iter().filter(|message| is_wrong(message)).map(|message| message.id.clone()).collect()
    };
    let lost = authentic.keys().filter(|id| !copies.contains_key(&***id)).map(|id| id.to_string());
    let repeated = copies
        .iter()
        .filter(|(id, copies)| {
            // A worker that puts an event back has it sent once more.
            let works = seen.table.records.get(**id).map_or(0, |record| record.requeues);
            **copies > 1 + works + steps.get(*id).map_or(0, Steps::explain)
        })
        .map(|(id, copies)| format!("{id} ({copies} times)"));
    vec![
        Problem { what: "LOST: authentic, and not on the queue", ids: lost.collect() },
        Problem {
            what: "on the queue with other bytes than were sent",
            ids: messages(&|message| match authentic.get(message.id.as_str()) {
                Some(Some(body)) => message.payload.as_deref() != Some(body),
                Some(None) | None => false,
            }),
        },
        Problem {
            what: "on the queue, and not an authentic event",
            ids: messages(&|message| !authentic.contains_key(message.id.as_str())),
        },
        Problem {
            what: "on the queue with another origin than recorded",
            ids: messages(&|message| {
                let record = seen.table.records.get(&message.id);
                record.is_some_and(|record| record.origin != message.origin)
            }),
        },
        Problem {
            what: "on the queue more often than steps of unknown outcome explain",
            ids: repeated.collect(),
        },
        Problem {
            what: "on the dead-letter queue",
            ids: (0..seen.dead_letters).map(|n| format!("message {n}")).collect(),
        },
    ]
}

/// P1: what is recorded, and that nothing is left to do.
fn table(seen: &Evidence) -> Vec<Problem> {
    let authentic = seen.authentic();
    let records = &seen.table.records;
    let missing = authentic.keys().filter(|id| !records.contains_key(&***id)).map(|id| id.to_string());
    let foreign = records.keys().filter(|id| !authentic.contains_key(id.as_str())).cloned();
    let is_over = |record: &RecordSnapshot| record.is_sent || record.is_done || record.is_quarantined;
    let due = records.iter().filter(|(_, record)| record.is_due || !is_over(record)).map(|(id, _)| id.clone());
    vec![
        Problem { what: "authentic, and not recorded", ids: missing.collect() },
        Problem { what: "recorded, and not an authentic event", ids: foreign.collect() },
        Problem { what: "recorded, and still due", ids: due.collect() },
    ]
}

/// P7: what is kept, why, and with which bytes.
fn quarantine(seen: &Evidence) -> Vec<Problem> {
    let kept: BTreeMap<(&str, &[u8]), &str> = seen
        .table
        .quarantined
        .iter()
        .filter_map(|kept| Some(((kept.provider.as_str(), kept.payload.as_deref()?), kept.reason.as_str())))
        .collect();
    let place = |part: &Part| kept.get(&(part.provider().as_str(), part.outgoing.body.as_ref())).copied();
    let wrong = |is_wrong: &dyn Fn(&Part, &'static str) -> bool| {
        let parts = seen.played.iter().filter(|played| match played.part.expected {
            Expected::Kept { reason, .. } => is_wrong(&played.part, reason),
            Expected::OnQueue | Expected::Refused => false,
        });
        parts.map(|played| played.part.outgoing.id.clone()).collect()
    };
    let stray = seen.table.quarantined.iter().filter(|kept| {
        !seen.played.iter().any(|played| {
            let is_it = kept.provider == played.part.provider().as_str()
                && kept.payload.as_deref() == Some(played.part.outgoing.body.as_ref());
            let is_meant = matches!(played.part.expected, Expected::Kept { .. });
            let was_given_up = kept.event_id.as_ref() == Some(&played.part.outgoing.id);
            is_it && (is_meant || was_given_up || (kept.reason == "stale" && was_late(played)))
        })
    });
    vec![
        Problem {
            what: "unusable, and not kept byte for byte",
            ids: wrong(&|part, _| place(part).is_none()),
        },
        Problem {
            what: "unusable, and kept for another reason",
            ids: wrong(&|part, reason| place(part).is_some_and(|kept| kept != reason)),
        },
        Problem {
            what: "in quarantine, and nothing that belongs there",
            ids: stray.map(|kept| format!("{} ({})", kept.provider, kept.reason)).collect(),
        },
    ]
}

/// The faults that the demo stands for must have been met, or it would prove less than it says.
fn trouble(seen: &Evidence) -> Vec<Problem> {
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
    let missed = |what, expected: &[(&str, Fault)], log: &[(AwsCall, CallOutcome)]| {
        let came = |operation: &str, fault: Fault| {
            log.iter().any(|(call, fate)| call.operation == operation && *fate == CallOutcome::Faulted(fault))
        };
        let missed = expected.iter().filter(|(operation, fault)| !came(operation, *fault));
        Problem { what, ids: missed.map(|(operation, fault)| format!("{operation} {fault:?}")).collect() }
    };
    vec![
        missed("planned trouble that never came", &EXPECTED, &seen.log),
        missed("planned trouble of the workers that never came", &OF_WORKERS, &seen.worked_log),
        Problem {
            what: "planned, and never happened",
            ids: seen
                .worked
                .twice
                .is_empty()
                .then(|| "a message to two workers at once".to_owned())
                .into_iter()
                .collect(),
        },
    ]
}

fn attempts(deliveries: &[Delivered]) -> impl Iterator<Item = &Attempt> {
    deliveries.iter().flat_map(|delivered| &delivered.attempts)
}

fn was_killing(attempt: &Attempt) -> bool {
    attempt.answer.status().is_some_and(|status| KILL_CODES.contains(&status))
}

fn all_end_with(deliveries: &[Delivered], status: u16) -> bool {
    deliveries.iter().all(|it| it.last().and_then(|answer| answer.status()) == Some(status))
}

/// A delivery that reached a slow machine too late was kept as stale, refused, and came again.
fn was_late(played: &Played) -> bool {
    matches!(played.part.by, By::Fynapse(_))
        && attempts(&played.deliveries).any(|attempt| attempt.answer.status() == Some(403))
}
