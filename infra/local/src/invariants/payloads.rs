//! The events that must be on the queue, with their bytes, and the alerts in those that are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use inbox_core::event::AuthorizersDigest;
use inbox_core::id::Id;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::comparison::Comparison;
use super::observed::{ExpectedOutcome, Observed, SentDelivery};
use crate::inspect::MessageSnapshot;
pub(super) use crate::rightfoot_simulator::{ALERT_TYPE, COMPLETED_TYPE};

/// Origin of events that the poller found, in the table and on the queue.
pub const POLL_ORIGIN: &str = "poll";
/// Origin of events that came by webhook.
pub const WEBHOOK_ORIGIN: &str = "webhook";

/// The payload of a completion or an alert; a completion has no `alerts`.
#[derive(Deserialize)]
pub(super) struct RightfootPayload {
    pub(super) r#type: String,
    pub(super) batch_id: String,
    #[serde(default)]
    pub(super) alerts: Vec<AlertRow>,
}

#[derive(Deserialize)]
pub(super) struct AlertRow {
    pub(super) authorizer_unique_id: String,
    pub(super) balance: Box<RawValue>,
    pub(super) threshold_amount: Box<RawValue>,
}

/// An alert of a run in an event on the queue.
pub struct QueuedAlert<'a> {
    /// Id of the event.
    pub event_id: &'a str,
    /// Origin of the event.
    pub origin: &'a str,
    /// Batch and authorizer.
    pub alert: (String, String),
    pub(super) row: AlertRow,
}

/// Id of the event of a batch's completion.
pub fn completion_id(batch_id: &str) -> String {
    format!("rightfoot/batch/{batch_id}/completed")
}

/// Name of an authorizer's balance in a batch, and of its alert.
pub(super) fn balance_name(batch_id: &str, authorizer: &str) -> String {
    format!("{authorizer} in {batch_id}")
}

fn alert_id(batch_id: &str, event_uuid: &str) -> String {
    format!("rightfoot/batch/{batch_id}/alert/{event_uuid}")
}

impl RightfootPayload {
    /// Parses a payload; `None` for one of another kind.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Observed {
    /// The deliveries that must be on the queue.
    pub fn expected_events(&self) -> impl Iterator<Item = &SentDelivery> {
        self.deliveries.iter().filter(|it| it.expected == ExpectedOutcome::Enqueued)
    }

    /// Ids of all events that must be on the queue, with their bytes. The alerts that the poller finds contain the time,
    /// so their bytes are not known beforehand; the invariants of alerts check them one by one.
    pub(super) fn expected_payloads(&self) -> BTreeMap<Cow<'_, str>, Option<Cow<'_, [u8]>>> {
        let delivered =
            self.expected_events().map(|it| (Cow::from(it.id.as_str()), Some(Cow::from(it.body.as_ref()))));
        let completions = self.rightfoot.submitted_batches().map(|batch| {
            let id = completion_id(&batch.batch_id);
            let body = self.completion_body(&id, &batch.batch_id);
            (Cow::from(id), body)
        });
        // All attempts of a webhook must have the same `event_uuid`: under another one, an alert whose first attempt
        // crashed after it was recorded would be another event.
        let alerts = self.rightfoot.webhooks_of(ALERT_TYPE).map(|webhook| match webhook.event_uuids.last() {
            Some(event_uuid) if !webhook.is_lost => {
                (alert_id(&webhook.batch_id, event_uuid).into(), Some(Cow::from(webhook.body.as_bytes())))
            }
            Some(_) | None => (self.polled_alerts_id(&webhook.batch_id).into(), None),
        });
        delivered.chain(completions).chain(alerts).collect()
    }

    fn completion_body(&self, id: &str, batch_id: &str) -> Option<Cow<'_, [u8]>> {
        // The poller writes the webhook's form without `event_uuid`, which only a webhook has.
        if self.origin_of(id) == Some(POLL_ORIGIN) {
            let body = format!(r#"{{"type":"{COMPLETED_TYPE}","batch_id":"{batch_id}"}}"#);
            return Some(Cow::from(body.into_bytes()));
        }
        let webhook = self.rightfoot.webhooks_of(COMPLETED_TYPE).find(|it| it.batch_id == batch_id)?;
        Some(Cow::from(webhook.body.as_bytes()))
    }

    /// Id of the event with the alerts that the poller finds: those of the run's lost webhooks.
    fn polled_alerts_id(&self, batch_id: &str) -> String {
        let webhooks = self.rightfoot.webhooks_of(ALERT_TYPE);
        let lost = webhooks.filter(|webhook| webhook.is_lost && webhook.batch_id == batch_id);
        let payloads = lost.filter_map(|it| RightfootPayload::parse(it.body.as_bytes()));
        let rows = payloads.flat_map(|payload| payload.alerts);
        let authorizers: Vec<_> = rows.filter_map(|row| Id::new(row.authorizer_unique_id)).collect();
        alert_id(batch_id, &format!("poll-{}", AuthorizersDigest::of(&authorizers)))
    }

    /// Returns `true` for the id of an event about a submitted batch or a run.
    pub fn concerns_submitted_batch(&self, event_id: &str) -> bool {
        let batch_id = event_id.strip_prefix("rightfoot/batch/").and_then(|rest| rest.split('/').next());
        batch_id.is_some_and(|batch_id| self.rightfoot.submitted_batch(batch_id).is_some())
    }

    /// Id, origin and payload of each different event about a submitted batch or a run.
    fn queued_payloads(&self) -> impl Iterator<Item = (&str, &str, RightfootPayload)> {
        // By id, so that repeated messages of an event count once.
        let events: BTreeMap<_, _> = self.messages.iter().map(|it| (it.id.as_str(), it)).collect();
        events.into_iter().filter_map(|(id, message)| {
            let payload = RightfootPayload::parse(message.payload.as_deref()?)?;
            self.rightfoot.submitted_batch(&payload.batch_id)?;
            Some((id, message.origin.as_str(), payload))
        })
    }

    /// The messages on the queue, by event id.
    pub(super) fn compared_messages(&self) -> Comparison<Option<Cow<'_, [u8]>>, &MessageSnapshot> {
        let expected = self.expected_payloads().into_iter().map(|(id, body)| (id.into_owned(), body));
        Comparison::of(expected, self.messages.iter().map(|it| (it.id.clone(), it)))
    }

    /// The records, by event id.
    pub(super) fn compared_records(&self) -> Comparison<(), ()> {
        let expected = self.expected_payloads().into_keys().map(|id| (id.into_owned(), ()));
        Comparison::of(expected, self.inbox.records.keys().map(|id| (id.clone(), ())))
    }

    /// The completion events on the queue, by batch.
    pub(super) fn compared_completions(&self) -> Comparison<(), ()> {
        let batches = self.rightfoot.submitted_batches().map(|batch| (batch.batch_id.clone(), ()));
        let completions = self.queued_payloads().filter(|(.., it)| it.r#type == COMPLETED_TYPE);
        Comparison::of(batches, completions.map(|(.., payload)| (payload.batch_id, ())))
    }

    /// The alerts in the events on the queue, by authorizer and batch.
    pub(super) fn compared_alerts(&self) -> Comparison<(), QueuedAlert<'_>> {
        let name = |(batch_id, authorizer): &(String, String)| balance_name(batch_id, authorizer);
        let expected = self.rightfoot.expected_alerts.iter().map(|alert| (name(alert), ()));
        Comparison::of(expected, self.queued_alerts().into_iter().map(|it| (name(&it.alert), it)))
    }

    /// All alerts of runs in the events on the queue.
    pub fn queued_alerts(&self) -> Vec<QueuedAlert<'_>> {
        let alerts = self.queued_payloads().filter(|(.., payload)| payload.r#type == ALERT_TYPE);
        let rows = alerts.flat_map(|(event_id, origin, RightfootPayload { batch_id, alerts, .. })| {
            alerts.into_iter().map(move |row| QueuedAlert {
                event_id,
                origin,
                alert: (batch_id.clone(), row.authorizer_unique_id.clone()),
                row,
            })
        });
        rows.collect()
    }

    /// Returns `true` if an alert has Rightfoot's balance and the threshold of its schedule, digit by digit.
    pub(super) fn has_expected_amounts(&self, queued: &QueuedAlert<'_>) -> bool {
        let (batch_id, authorizer) = &queued.alert;
        let row = self.rightfoot.submitted_batch(batch_id).and_then(|batch| batch.row_for(authorizer));
        row.and_then(|row| row.balance.as_deref()) == Some(queued.row.balance.get())
            && self.thresholds.get(authorizer).map(String::as_str) == Some(queued.row.threshold_amount.get())
    }
}
