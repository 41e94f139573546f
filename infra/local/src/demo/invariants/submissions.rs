//! P5 and P9 for submissions to Rightfoot: one batch for each submission, one completion for each batch and run, and
//! each expected alert in one event, by webhook or by poll.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inbox_core::event::AuthorizersDigest;
use inbox_core::id::Id;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Evidence, Violation};
use crate::demo::simulated_rightfoot::{ALERT_TYPE, COMPLETED_TYPE};
use crate::rightfoot_simulator::{SimulatedBatch, SimulatedWebhook};

/// Origin of events that the poller found, in the table and on the queue.
pub(in crate::demo) const POLL_ORIGIN: &str = "poll";
/// Origin of events that came by webhook.
pub(in crate::demo) const WEBHOOK_ORIGIN: &str = "webhook";

/// An alert webhook is late if it arrives this long after its run's completion. A poller without a grace period would
/// have found the alert before.
const LATE_WEBHOOK_DELAY: Duration = Duration::from_secs(3 * 60);

/// The payload of a completion or an alert; a completion has no `alerts`.
#[derive(Deserialize)]
struct QueuedPayload {
    r#type: String,
    batch_id: String,
    #[serde(default)]
    alerts: Vec<QueuedAlertRow>,
}

#[derive(Deserialize)]
struct QueuedAlertRow {
    authorizer_unique_id: String,
    balance: Box<RawValue>,
    threshold_amount: Box<RawValue>,
}

/// An alert in an event on the queue.
pub(in crate::demo) struct QueuedAlert<'a> {
    event_id: &'a str,
    /// Origin of the event.
    pub(in crate::demo) origin: &'a str,
    /// Batch and authorizer.
    batch_and_authorizer: (String, String),
    balance: Box<RawValue>,
    threshold: Box<RawValue>,
}

/// All violations of P5 and P9, and planned situations that did not occur.
pub(super) fn violations(evidence: &Evidence) -> Vec<Violation> {
    [
        check_submissions(evidence),
        check_completions(evidence),
        check_alerts(evidence),
        check_tracking(evidence),
        check_coverage(evidence),
    ]
    .concat()
}

/// Ids of the expected events, with their bytes. The alerts that the poller finds contain the time, so their bytes are
/// not known beforehand; [`check_alerts`] checks them one by one.
pub(super) fn expected_payloads(
    evidence: &Evidence,
) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, [u8]>>)> {
    let completions = evidence.truth.batches.iter().map(|batch| {
        let id = completion_id(&batch.batch_id);
        let body = completion_body(evidence, &id, &batch.batch_id);
        (Cow::from(id), body)
    });
    // All attempts of a webhook have the same `event_uuid` here, see `simulated_rightfoot::configure`.
    let alerts = evidence.truth.webhooks_of(ALERT_TYPE).map(|webhook| match webhook.event_uuids.last() {
        Some(event_uuid) if !webhook.is_lost => {
            (alert_id(&webhook.batch_id, event_uuid).into(), Some(Cow::from(webhook.body.as_bytes())))
        }
        Some(_) | None => (polled_alerts_id(evidence, &webhook.batch_id).into(), None),
    });
    completions.chain(alerts)
}

/// Id of the event of a batch's completion.
pub(in crate::demo) fn completion_id(batch_id: &str) -> String {
    format!("rightfoot/batch/{batch_id}/completed")
}

fn alert_id(batch_id: &str, event_uuid: &str) -> String {
    format!("rightfoot/batch/{batch_id}/alert/{event_uuid}")
}

/// Id of the event with the alerts that the poller finds: those of the run's lost webhooks.
fn polled_alerts_id(evidence: &Evidence, batch_id: &str) -> String {
    let lost = evidence
        .truth
        .webhooks_of(ALERT_TYPE)
        .filter(|webhook| webhook.is_lost && webhook.batch_id == batch_id);
    let payloads = lost.filter_map(|webhook| serde_json::from_str::<QueuedPayload>(&webhook.body).ok());
    let rows = payloads.flat_map(|payload| payload.alerts);
    let authorizers: Vec<_> = rows.filter_map(|row| Id::new(row.authorizer_unique_id)).collect();
    alert_id(batch_id, &format!("poll-{}", AuthorizersDigest::of(&authorizers)))
}

fn completion_body<'a>(evidence: &'a Evidence, id: &str, batch_id: &str) -> Option<Cow<'a, [u8]>> {
    // The poller writes the webhook's form without `event_uuid`, which only a webhook has.
    if evidence.origin_of(id) == Some(POLL_ORIGIN) {
        let body = format!(r#"{{"type":"{COMPLETED_TYPE}","batch_id":"{batch_id}"}}"#);
        return Some(Cow::from(body.into_bytes()));
    }
    let webhook = evidence.truth.webhooks_of(COMPLETED_TYPE).find(|webhook| webhook.batch_id == batch_id)?;
    Some(Cow::from(webhook.body.as_bytes()))
}

impl Evidence {
    /// Origin of a recorded event; `None` if it is not recorded.
    pub(in crate::demo) fn origin_of(&self, event_id: &str) -> Option<&str> {
        self.table.records.get(event_id).map(|record| record.origin.as_str())
    }

    /// Returns `true` for the id of an event about a submitted batch or a run.
    pub(in crate::demo) fn concerns_submitted_batch(&self, event_id: &str) -> bool {
        let batch_id = event_id.strip_prefix("rightfoot/batch/").and_then(|rest| rest.split('/').next());
        batch_id.is_some_and(|batch_id| self.truth.batch(batch_id).is_some())
    }

    /// Id, origin and payload of each different event about a submitted batch or a run.
    fn queued_payloads(&self) -> impl Iterator<Item = (&str, &str, QueuedPayload)> {
        // By id, so that repeated messages of an event count once.
        let events: BTreeMap<_, _> =
            self.messages.iter().map(|message| (message.id.as_str(), message)).collect();
        events.into_iter().filter_map(|(id, message)| {
            let payload: QueuedPayload = serde_json::from_slice(message.payload.as_deref()?).ok()?;
            let is_submitted = self.truth.batch(&payload.batch_id).is_some();
            is_submitted.then_some((id, message.origin.as_str(), payload))
        })
    }

    /// All alerts of runs in the events on the queue.
    pub(in crate::demo) fn queued_alerts(&self) -> Vec<QueuedAlert<'_>> {
        let mut queued = Vec::new();
        for (event_id, origin, payload) in
            self.queued_payloads().filter(|(_, _, payload)| payload.r#type == ALERT_TYPE)
        {
            queued.extend(payload.alerts.into_iter().map(|row| QueuedAlert {
                event_id,
                origin,
                batch_and_authorizer: (payload.batch_id.clone(), row.authorizer_unique_id),
                balance: row.balance,
                threshold: row.threshold_amount,
            }));
        }
        queued
    }
}

/// A successful response to a submission: the id of the batch or schedule, and the authorizers that failed.
type SubmissionSuccess<'a> = (&'a str, &'a BTreeSet<String>);

/// Each submission makes one batch or schedule, however often it is repeated.
fn check_submissions(evidence: &Evidence) -> Vec<Violation> {
    let named = |description, is_wrong: &dyn Fn(&[SubmissionSuccess<'_>]) -> bool| {
        let wrong = evidence
            .submissions
            .iter()
            .filter(|submitted| is_wrong(&submitted.successes().collect::<Vec<_>>()));
        Violation { description, ids: wrong.map(|submitted| submitted.submission_id.clone()).collect() }
    };
    let mut answer_counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, _) in evidence.submissions.iter().filter_map(|submitted| submitted.successes().next()) {
        *answer_counts.entry(id).or_default() += 1;
    }
    let batches = evidence.truth.batches.iter().filter(|batch| batch.schedule_id.is_none());
    let at_rightfoot: BTreeSet<&str> = batches
        .map(|batch| batch.batch_id.as_str())
        .chain(evidence.truth.schedules.iter().map(|schedule| schedule.schedule_id.as_str()))
        .collect();
    let unknown = at_rightfoot.iter().filter(|id| !answer_counts.contains_key(**id));
    let absent = answer_counts.keys().filter(|id| !at_rightfoot.contains(**id));
    let shared = answer_counts.iter().filter(|(_, submissions)| **submissions > 1);
    let failed_at_rightfoot =
        |id: &str| evidence.truth.batch(id).map(|batch| batch.failed_authorizers.iter().collect());
    vec![
        named("submitted, and never answered", &|answers| answers.is_empty()),
        named("submitted again, and answered differently", &|answers| {
            answers.first().is_some_and(|first| answers.iter().any(|answer| answer != first))
        }),
        named("answered with other failed authorizers than Rightfoot's", &|answers| {
            answers.iter().any(|(id, failed)| {
                failed.iter().collect::<BTreeSet<_>>() != failed_at_rightfoot(id).unwrap_or_default()
            })
        }),
        Violation {
            description: "at Rightfoot, and in no response: submitted twice",
            ids: unknown.map(|id| (*id).to_owned()).collect(),
        },
        Violation {
            description: "answered, and not at Rightfoot",
            ids: absent.map(|id| (*id).to_owned()).collect(),
        },
        Violation {
            description: "in the responses to more than one submission",
            ids: shared.map(|(id, _)| (*id).to_owned()).collect(),
        },
    ]
}

/// P5: each batch and run ends in one completion event, which is not recorded before the batch is complete.
fn check_completions(evidence: &Evidence) -> Vec<Violation> {
    let mut event_counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, payload) in
        evidence.queued_payloads().filter(|(_, _, payload)| payload.r#type == COMPLETED_TYPE)
    {
        *event_counts.entry(payload.batch_id).or_default() += 1;
    }
    let batches = |description, is_wrong: &dyn Fn(&SimulatedBatch) -> bool| {
        let wrong = evidence.truth.batches.iter().filter(|batch| is_wrong(batch));
        Violation { description, ids: wrong.map(|batch| batch.batch_id.clone()).collect() }
    };
    let webhooks = |description, is_wrong: &dyn Fn(&SimulatedWebhook) -> bool| {
        let wrong = evidence.truth.webhooks.iter().filter(|webhook| is_wrong(webhook));
        let name = |webhook: &SimulatedWebhook| format!("{} of {}", webhook.event_type, webhook.batch_id);
        Violation { description, ids: wrong.map(name).collect() }
    };
    vec![
        batches("a batch that did not end in exactly one completion event", &|batch| {
            event_counts.get(&batch.batch_id) != Some(&1)
        }),
        batches("recorded as complete before it was", &|batch| {
            let record = evidence.table.records.get(&completion_id(&batch.batch_id));
            record.is_some_and(|record| record.received_at < batch.completes_at)
        }),
        webhooks("its webhook was lost, and its completion did not come by poll", &|webhook| {
            let origin = evidence.origin_of(&completion_id(&webhook.batch_id));
            webhook.is_lost && webhook.event_type == COMPLETED_TYPE && origin != Some(POLL_ORIGIN)
        }),
        webhooks("a webhook that was sent, and not answered 2xx in the end", &|webhook| {
            !webhook.is_lost && !webhook.is_delivered
        }),
    ]
}

/// P5: each expected alert is in one event, with Rightfoot's balance and threshold.
fn check_alerts(evidence: &Evidence) -> Vec<Violation> {
    let queued = evidence.queued_alerts();
    let mut events: BTreeMap<&(String, String), BTreeSet<&str>> = BTreeMap::new();
    for alert in &queued {
        events.entry(&alert.batch_and_authorizer).or_default().insert(alert.event_id);
    }
    let expected = &evidence.truth.expected_alerts;
    let name = |(batch, authorizer): &(String, String)| format!("{authorizer} in {batch}");
    let has_other_amounts = |alert: &QueuedAlert<'_>| {
        let (batch_id, authorizer) = &alert.batch_and_authorizer;
        let rows = evidence.truth.batch(batch_id).map(|batch| batch.rows.as_slice()).unwrap_or_default();
        let balance =
            rows.iter().find(|row| row.authorizer == *authorizer).and_then(|row| row.balance.as_deref());
        balance != Some(alert.balance.get())
            || evidence.thresholds.get(authorizer).copied() != Some(alert.threshold.get())
    };
    let missing = expected.iter().filter(|alert| !events.contains_key(alert)).map(name);
    let unexpected = events.keys().filter(|alert| !expected.contains(**alert)).map(|alert| name(alert));
    let repeated = events.iter().filter(|(_, events)| events.len() > 1).map(|(alert, _)| name(alert));
    let altered =
        queued.iter().filter(|alert| has_other_amounts(alert)).map(|alert| name(&alert.batch_and_authorizer));
    vec![
        Violation { description: "an alert that is expected, and in no event", ids: missing.collect() },
        Violation {
            description: "an alert that is on the queue, and not expected",
            ids: unexpected.collect(),
        },
        Violation { description: "an alert that is in more than one event", ids: repeated.collect() },
        Violation {
            description: "an alert with another balance or threshold than Rightfoot's",
            ids: altered.collect(),
        },
    ]
}

/// P9: everything was tracked and has ended, and the poller failed only while faults were injected.
fn check_tracking(evidence: &Evidence) -> Vec<Violation> {
    let (truth, tracked) = (&evidence.truth, &evidence.table.tracked);
    let batches = truth.batches.iter().map(|batch| format!("rightfoot#batch#{}", batch.batch_id));
    let schedules =
        truth.schedules.iter().map(|schedule| format!("rightfoot#schedule#{}", schedule.schedule_id));
    let submissions = evidence
        .submissions
        .iter()
        .map(|submitted| format!("rightfoot#submission#{}", submitted.submission_id));
    let all = batches.chain(schedules).chain(submissions);
    // A schedule may run again, so it stays tracked.
    let may_be_due = |pk: &str| pk.starts_with("rightfoot#schedule#");
    let due = tracked.iter().filter(|(pk, due)| **due && !may_be_due(pk)).map(|(pk, _)| pk.clone());
    let failed = evidence.poller_runs.iter().enumerate().filter(|(_, run)| run.is_fault_free);
    let failed = failed.filter_map(|(n, run)| Some(format!("run {n} ({})", run.error.as_ref()?)));
    vec![
        Violation {
            description: "at Rightfoot, and never tracked",
            ids: all.filter(|pk| !tracked.contains_key(pk)).collect(),
        },
        Violation { description: "tracked, and still due", ids: due.collect() },
        Violation {
            description: "a poller run that failed while no fault was injected",
            ids: failed.collect(),
        },
    ]
}

/// The planned situations must have occurred; otherwise the demo would show less than it claims.
fn check_coverage(evidence: &Evidence) -> Vec<Violation> {
    let alerts = evidence.queued_alerts();
    let completion = |origin: &str| {
        let ids = evidence.truth.batches.iter().map(|batch| completion_id(&batch.batch_id));
        ids.into_iter().any(|id| evidence.origin_of(&id) == Some(origin))
    };
    let alert = |origin: &str| alerts.iter().any(|alert| alert.origin == origin);
    let lost = |event_type: &str| evidence.truth.webhooks_of(event_type).any(|webhook| webhook.is_lost);
    let early = evidence.truth.batches.iter().any(|batch| {
        let batch_query = format!("batchId={}", batch.batch_id);
        let requests = evidence.truth.requests.iter().filter(|request| request.at < batch.completes_at);
        requests.into_iter().any(|request| request.query.contains(&batch_query))
    });
    let late = evidence.truth.webhooks_of(ALERT_TYPE).any(|webhook| {
        let record = evidence.table.records.get(&completion_id(&webhook.batch_id));
        let last = webhook.attempts.last().filter(|_| webhook.is_delivered);
        last.zip(record).is_some_and(|(last, record)| last.at.since(record.received_at) >= LATE_WEBHOOK_DELAY)
    });
    let required = [
        ("a completion by webhook", completion(WEBHOOK_ORIGIN)),
        ("a completion by poll", completion(POLL_ORIGIN)),
        ("an alert by webhook", alert(WEBHOOK_ORIGIN)),
        ("an alert by poll", alert(POLL_ORIGIN)),
        ("a completion's webhook that was lost", lost(COMPLETED_TYPE)),
        ("an alert's webhook that was lost", lost(ALERT_TYPE)),
        ("an alert's webhook that came long after the completion", late),
        ("a poll of a batch that was not complete", early),
        (
            "a second run of a schedule",
            evidence.truth.schedules.iter().any(|schedule| schedule.runs.len() > 1),
        ),
        (
            "a failed authorizer",
            evidence.truth.batches.iter().any(|batch| !batch.failed_authorizers.is_empty()),
        ),
    ];
    let missed = required.into_iter().filter(|(_, occurred)| !occurred);
    vec![Violation {
        description: "planned, and never occurred",
        ids: missed.map(|(what, _)| what.to_owned()).collect(),
    }]
}
