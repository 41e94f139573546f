//! Whether everything that was submitted to Rightfoot ended as it must (P5, P9): one batch for each submission, one
//! completion for each batch and each run, one alert for each that is due; by webhook or by poll.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use inbox_core::event::{AuthorizersDigest, Id};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Evidence, Problem};
use crate::demo::rightfoot::{ALERT, COMPLETED};
use crate::rightfoot::{BatchSeen, WebhookSeen};

/// How the table and the queue name what the poller found.
pub(in crate::demo) const POLL: &str = "poll";
/// How they name what a webhook told.
pub(in crate::demo) const WEBHOOK: &str = "webhook";

/// A webhook that comes so long after the completion of its run would be overtaken by a poller without patience.
const LATE: Duration = Duration::from_secs(3 * 60);

/// What a completion and an alert have in common, and what an alert has on top.
#[derive(Deserialize)]
struct Payload {
    r#type: String,
    batch_id: String,
    #[serde(default)]
    alerts: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    authorizer_unique_id: String,
    balance: Box<RawValue>,
    threshold_amount: Box<RawValue>,
}

/// An alert, as an event on the queue tells it.
pub(in crate::demo) struct AlertTold<'a> {
    event_id: &'a str,
    /// How the event came.
    pub(in crate::demo) origin: &'a str,
    /// Batch and authorizer.
    whose: (String, String),
    balance: Box<RawValue>,
    threshold: Box<RawValue>,
}

/// Everything that is wrong with it.
pub(super) fn problems(seen: &Evidence) -> Vec<Problem> {
    [submissions(seen), completions(seen), alerts(seen), watching(seen), course(seen)].concat()
}

/// The events that must be, with their bytes. What the poller finds has the time in it, so its alerts are looked
/// into one by one.
pub(super) fn authentic(seen: &Evidence) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, [u8]>>)> {
    let completions = seen.truth.batches.iter().map(|batch| {
        let id = completion_id(&batch.batch_id);
        let body = completion_body(seen, &id, &batch.batch_id);
        (Cow::from(id), body)
    });
    let alerts = seen.truth.webhooks_of(ALERT).map(|webhook| match webhook.event_uuids.last() {
        Some(event_uuid) if !webhook.lost => {
            (alert_id(&webhook.batch_id, event_uuid).into(), Some(Cow::from(webhook.body.as_bytes())))
        }
        Some(_) | None => (found_alerts_id(seen, &webhook.batch_id).into(), None),
    });
    completions.chain(alerts)
}

/// The event of a batch's completion.
pub(in crate::demo) fn completion_id(batch_id: &str) -> String {
    format!("rightfoot/batch/{batch_id}/completed")
}

fn alert_id(batch_id: &str, event_uuid: &str) -> String {
    format!("rightfoot/batch/{batch_id}/alert/{event_uuid}")
}

/// The event of the alerts that the poller finds: those of all webhooks of that run which got lost.
fn found_alerts_id(seen: &Evidence, batch_id: &str) -> String {
    let lost = seen.truth.webhooks_of(ALERT).filter(|webhook| webhook.lost && webhook.batch_id == batch_id);
    let payloads = lost.filter_map(|webhook| serde_json::from_str::<Payload>(&webhook.body).ok());
    let rows = payloads.flat_map(|payload| payload.alerts);
    let whom: Vec<_> = rows.filter_map(|row| Id::new(row.authorizer_unique_id)).collect();
    alert_id(batch_id, &format!("poll-{}", AuthorizersDigest::of(&whom)))
}

fn completion_body<'a>(seen: &'a Evidence, id: &str, batch_id: &str) -> Option<Cow<'a, [u8]>> {
    if seen.origin_of(id) == Some(POLL) {
        let found = format!(r#"{{"type":"{COMPLETED}","batch_id":"{batch_id}"}}"#);
        return Some(Cow::from(found.into_bytes()));
    }
    let webhook = seen.truth.webhooks_of(COMPLETED).find(|webhook| webhook.batch_id == batch_id)?;
    Some(Cow::from(webhook.body.as_bytes()))
}

impl Evidence {
    /// How an event came to be recorded, if it was.
    pub(in crate::demo) fn origin_of(&self, event_id: &str) -> Option<&str> {
        self.table.records.get(event_id).map(|record| record.origin.as_str())
    }

    /// The ids of the events about batches that were submitted, and runs.
    pub(in crate::demo) fn is_about_submitted(&self, event_id: &str) -> bool {
        let batch_id = event_id.strip_prefix("rightfoot/batch/").and_then(|rest| rest.split('/').next());
        batch_id.is_some_and(|batch_id| self.truth.batch(batch_id).is_some())
    }

    /// What the different events about them say, with id and origin.
    fn payloads(&self) -> impl Iterator<Item = (&str, &str, Payload)> {
        let events: BTreeMap<_, _> =
            self.messages.iter().map(|message| (message.id.as_str(), message)).collect();
        events.into_iter().filter_map(|(id, message)| {
            let payload: Payload = serde_json::from_slice(message.payload.as_deref()?).ok()?;
            let is_one = self.truth.batch(&payload.batch_id).is_some();
            is_one.then_some((id, message.origin.as_str(), payload))
        })
    }

    /// Every alert of a run that an event on the queue tells.
    pub(in crate::demo) fn alerts_told(&self) -> Vec<AlertTold<'_>> {
        let mut told = Vec::new();
        for (event_id, origin, payload) in self.payloads().filter(|(_, _, payload)| payload.r#type == ALERT) {
            told.extend(payload.alerts.into_iter().map(|row| AlertTold {
                event_id,
                origin,
                whose: (payload.batch_id.clone(), row.authorizer_unique_id),
                balance: row.balance,
                threshold: row.threshold_amount,
            }));
        }
        told
    }
}

/// An answer to a submission: what it made, and whom Rightfoot refused.
type Answer<'a> = (&'a str, &'a BTreeSet<String>);

/// Each submission is one batch, however often it was repeated.
fn submissions(seen: &Evidence) -> Vec<Problem> {
    let named = |what, is_wrong: &dyn Fn(&[Answer<'_>]) -> bool| {
        let wrong =
            seen.submitted.iter().filter(|submitted| is_wrong(&submitted.answers().collect::<Vec<_>>()));
        Problem { what, ids: wrong.map(|submitted| submitted.submission_id.clone()).collect() }
    };
    let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
    for (made, _) in seen.submitted.iter().filter_map(|submitted| submitted.answers().next()) {
        *answered.entry(made).or_default() += 1;
    }
    let batches = seen.truth.batches.iter().filter(|batch| batch.schedule_id.is_none());
    let there: BTreeSet<&str> = batches
        .map(|batch| batch.batch_id.as_str())
        .chain(seen.truth.schedules.iter().map(|schedule| schedule.schedule_id.as_str()))
        .collect();
    let unknown = there.iter().filter(|id| !answered.contains_key(**id));
    let absent = answered.keys().filter(|id| !there.contains(**id));
    let shared = answered.iter().filter(|(_, submissions)| **submissions > 1);
    let refused = |made: &str| seen.truth.batch(made).map(|batch| batch.failed.iter().collect());
    vec![
        named("submitted, and never answered", &|answers| answers.is_empty()),
        named("submitted again, and answered differently", &|answers| {
            answers.first().is_some_and(|first| answers.iter().any(|answer| answer != first))
        }),
        named("answered with other refused authorizers than Rightfoot's", &|answers| {
            answers.iter().any(|(made, failed)| {
                failed.iter().collect::<BTreeSet<_>>() != refused(made).unwrap_or_default()
            })
        }),
        Problem {
            what: "at Rightfoot, and nobody's answer: submitted twice",
            ids: unknown.map(|id| (*id).to_owned()).collect(),
        },
        Problem { what: "answered, and not at Rightfoot", ids: absent.map(|id| (*id).to_owned()).collect() },
        Problem {
            what: "the answer to more than one submission",
            ids: shared.map(|(id, _)| (*id).to_owned()).collect(),
        },
    ]
}

/// P5: each batch and each run ends in one completion, which is not told before it is true.
fn completions(seen: &Evidence) -> Vec<Problem> {
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, payload) in seen.payloads().filter(|(_, _, payload)| payload.r#type == COMPLETED) {
        *told.entry(payload.batch_id).or_default() += 1;
    }
    let batches = |what, is_wrong: &dyn Fn(&BatchSeen) -> bool| {
        let wrong = seen.truth.batches.iter().filter(|batch| is_wrong(batch));
        Problem { what, ids: wrong.map(|batch| batch.batch_id.clone()).collect() }
    };
    let webhooks = |what, is_wrong: &dyn Fn(&WebhookSeen) -> bool| {
        let wrong = seen.truth.webhooks.iter().filter(|webhook| is_wrong(webhook));
        let name = |webhook: &WebhookSeen| format!("{} of {}", webhook.event_type, webhook.batch_id);
        Problem { what, ids: wrong.map(name).collect() }
    };
    vec![
        batches("a batch that did not end in exactly one completion event", &|batch| {
            told.get(&batch.batch_id) != Some(&1)
        }),
        batches("told to be complete before it was", &|batch| {
            let record = seen.table.records.get(&completion_id(&batch.batch_id));
            record.is_some_and(|record| record.received_at < batch.ready_at)
        }),
        webhooks("its webhook got lost, and its completion did not come by poll", &|webhook| {
            let origin = seen.origin_of(&completion_id(&webhook.batch_id));
            webhook.lost && webhook.event_type == COMPLETED && origin != Some(POLL)
        }),
        webhooks("a webhook that was sent, and not answered 2xx in the end", &|webhook| {
            !webhook.lost && !webhook.delivered
        }),
    ]
}

/// P5: each alert that is due is told in one event, with the amounts that Rightfoot knows.
fn alerts(seen: &Evidence) -> Vec<Problem> {
    let told = seen.alerts_told();
    let mut events: BTreeMap<&(String, String), BTreeSet<&str>> = BTreeMap::new();
    for alert in &told {
        events.entry(&alert.whose).or_default().insert(alert.event_id);
    }
    let due = &seen.truth.due_alerts;
    let name = |(batch, authorizer): &(String, String)| format!("{authorizer} in {batch}");
    let has_other_amounts = |alert: &AlertTold<'_>| {
        let (batch_id, authorizer) = &alert.whose;
        let rows = seen.truth.batch(batch_id).map(|batch| batch.rows.as_slice()).unwrap_or_default();
        let balance =
            rows.iter().find(|row| row.authorizer == *authorizer).and_then(|row| row.balance.as_deref());
        balance != Some(alert.balance.get())
            || seen.thresholds.get(authorizer).copied() != Some(alert.threshold.get())
    };
    let untold = due.iter().filter(|alert| !events.contains_key(alert)).map(name);
    let undue = events.keys().filter(|alert| !due.contains(**alert)).map(|alert| name(alert));
    let repeated = events.iter().filter(|(_, events)| events.len() > 1).map(|(alert, _)| name(alert));
    let altered = told.iter().filter(|alert| has_other_amounts(alert)).map(|alert| name(&alert.whose));
    vec![
        Problem { what: "an alert that is due, and told by no event", ids: untold.collect() },
        Problem { what: "an alert that is told, and not due", ids: undue.collect() },
        Problem { what: "an alert that is told by more than one event", ids: repeated.collect() },
        Problem {
            what: "an alert with another balance or threshold than Rightfoot's",
            ids: altered.collect(),
        },
    ]
}

/// P9: everything was watched and has ended, and the poller failed only while something was broken.
fn watching(seen: &Evidence) -> Vec<Problem> {
    let (truth, watched) = (&seen.truth, &seen.table.tracked);
    let batches = truth.batches.iter().map(|batch| format!("rightfoot#batch#{}", batch.batch_id));
    let schedules =
        truth.schedules.iter().map(|schedule| format!("rightfoot#schedule#{}", schedule.schedule_id));
    let submissions =
        seen.submitted.iter().map(|submitted| format!("rightfoot#submission#{}", submitted.submission_id));
    let all = batches.chain(schedules).chain(submissions);
    // A schedule may run again, so it is watched on.
    let may_be_due = |pk: &str| pk.starts_with("rightfoot#schedule#");
    let due = watched.iter().filter(|(pk, due)| **due && !may_be_due(pk)).map(|(pk, _)| pk.clone());
    let failed = seen.poller_runs.iter().enumerate().filter(|(_, run)| run.in_calm);
    let failed = failed.filter_map(|(n, run)| Some(format!("run {n} ({})", run.failed.as_ref()?)));
    vec![
        Problem {
            what: "at Rightfoot, and never watched",
            ids: all.filter(|pk| !watched.contains_key(pk)).collect(),
        },
        Problem { what: "watched, and still due", ids: due.collect() },
        Problem {
            what: "a run of the poller that failed, although nothing was broken",
            ids: failed.collect(),
        },
    ]
}

/// What the demo stands for must have happened, or it would prove less than it says.
fn course(seen: &Evidence) -> Vec<Problem> {
    let alerts = seen.alerts_told();
    let completion = |origin: &str| {
        let ids = seen.truth.batches.iter().map(|batch| completion_id(&batch.batch_id));
        ids.into_iter().any(|id| seen.origin_of(&id) == Some(origin))
    };
    let alert = |origin: &str| alerts.iter().any(|alert| alert.origin == origin);
    let lost = |event_type: &str| seen.truth.webhooks_of(event_type).any(|webhook| webhook.lost);
    let early = seen.truth.batches.iter().any(|batch| {
        let about_it = format!("batchId={}", batch.batch_id);
        let requests = seen.truth.requests.iter().filter(|request| request.at < batch.ready_at);
        requests.into_iter().any(|request| request.query.contains(&about_it))
    });
    let late = seen.truth.webhooks_of(ALERT).any(|webhook| {
        let record = seen.table.records.get(&completion_id(&webhook.batch_id));
        let last = webhook.attempts.last().filter(|_| webhook.delivered);
        last.zip(record).is_some_and(|(last, record)| last.at.since(record.received_at) >= LATE)
    });
    let wanted = [
        ("a completion by webhook", completion(WEBHOOK)),
        ("a completion by poll", completion(POLL)),
        ("an alert by webhook", alert(WEBHOOK)),
        ("an alert by poll", alert(POLL)),
        ("a completion's webhook that got lost", lost(COMPLETED)),
        ("an alert's webhook that got lost", lost(ALERT)),
        ("an alert's webhook that came long after the completion", late),
        ("a question about a batch that was not complete", early),
        ("a second run of a schedule", seen.truth.schedules.iter().any(|schedule| schedule.runs.len() > 1)),
        ("a refused authorizer", seen.truth.batches.iter().any(|batch| !batch.failed.is_empty())),
    ];
    let missed = wanted.into_iter().filter(|(_, happened)| !happened);
    vec![Problem {
        what: "planned, and never happened",
        ids: missed.map(|(what, _)| what.to_owned()).collect(),
    }]
}
