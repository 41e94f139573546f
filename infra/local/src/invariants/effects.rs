//! The effects that a run must have, and those that it has: events on the bus, and rows in the table of balances.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::delivery::Provider;
use rust_decimal::Decimal;

use super::comparison::Comparison;
use super::observed::{Observed, SentDelivery};
use super::payloads::{AlertRow, COMPLETED_TYPE, RightfootPayload, balance_name, completion_id};
use crate::inspect::{PublishedDetail, PublishedEvent, StoredBalance};
use crate::rightfoot_simulator::{SimulatedBalance, SimulatedBatch};

/// An event that must be on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedEffect<'a> {
    /// Completion of this batch.
    Completed(&'a SimulatedBatch),
    /// A balance that meets its threshold, both as written.
    ThresholdMet {
        /// Balance.
        balance: String,
        /// Threshold.
        threshold: String,
    },
    /// A Fynapse event with this payload.
    Extracted(&'a [u8]),
}

impl Observed {
    /// The events that must be on the bus, by name: derived from the deliveries that were sent and the state of the
    /// simulated Rightfoot.
    pub fn expected_effects(&self) -> BTreeMap<String, ExpectedEffect<'_>> {
        let mut effects = BTreeMap::new();
        for batch in self.rightfoot.submitted_batches() {
            effects.insert(completion_name(&batch.batch_id), ExpectedEffect::Completed(batch));
        }
        for (batch_id, authorizer) in &self.rightfoot.expected_alerts {
            let batch = self.rightfoot.submitted_batch(batch_id);
            let balance = batch.and_then(|it| it.row_for(authorizer)?.balance.clone()).unwrap_or_default();
            let threshold = self.thresholds.get(authorizer).cloned().unwrap_or_default();
            let effect = ExpectedEffect::ThresholdMet { balance, threshold };
            effects.insert(alert_name(batch_id, authorizer), effect);
        }
        for sent in self.expected_events() {
            // Every other provider's events are published as received.
            if sent.provider == Provider::Rightfoot {
                effects.extend(self.effects_of_delivery(sent));
            } else {
                effects.insert(sent.id.clone(), ExpectedEffect::Extracted(&sent.body));
            }
        }
        effects
    }

    /// The effects of a delivery about a batch that was not submitted.
    fn effects_of_delivery(&self, sent: &SentDelivery) -> Vec<(String, ExpectedEffect<'_>)> {
        let Some(payload) = RightfootPayload::parse(&sent.body) else { return Vec::new() };
        let RightfootPayload { r#type, batch_id, alerts } = &payload;
        if r#type == COMPLETED_TYPE {
            let batch = self.rightfoot.batch(batch_id);
            return batch
                .map(|it| (completion_name(batch_id), ExpectedEffect::Completed(it)))
                .into_iter()
                .collect();
        }
        let confirmed = alerts.iter().filter_map(|row| Some((row, self.confirmed_balance(batch_id, row)?)));
        let effect = |(row, balance): (&AlertRow, &str)| {
            let threshold = row.threshold_amount.get().to_owned();
            let effect = ExpectedEffect::ThresholdMet { balance: balance.to_owned(), threshold };
            (alert_name(batch_id, &row.authorizer_unique_id), effect)
        };
        confirmed.map(effect).collect()
    }

    /// Alert events with an alert that Rightfoot does not confirm: they are quarantined, although their other alerts are
    /// published.
    pub(super) fn unconfirmed_events(&self) -> BTreeSet<&str> {
        let rightfoot = self.expected_events().filter(|it| it.provider == Provider::Rightfoot);
        let is_unconfirmed = |sent: &&SentDelivery| {
            RightfootPayload::parse(&sent.body).is_some_and(
                |RightfootPayload { batch_id, alerts, .. }| {
                    alerts.iter().any(|row| self.confirmed_balance(&batch_id, row).is_none())
                },
            )
        };
        rightfoot.filter(is_unconfirmed).map(|sent| sent.id.as_str()).collect()
    }

    /// The balance with which Rightfoot confirms an alert by the threshold that the alert names.
    fn confirmed_balance(&self, batch_id: &str, alert: &AlertRow) -> Option<&str> {
        let row = self.rightfoot.batch(batch_id)?.row_for(&alert.authorizer_unique_id)?;
        let balance = row.balance.as_deref().filter(|_| row.status_code == 0)?;
        (decimal(balance) >= decimal(alert.threshold_amount.get())).then_some(balance)
    }

    /// The events on the bus, all copies under all their ids.
    pub(super) fn compared_effects(&self) -> Comparison<ExpectedEffect<'_>, &PublishedEvent> {
        Comparison::of(self.expected_effects(), self.bus_events.iter().map(|it| (effect_name(it), it)))
    }

    pub(super) fn compared_balances(&self) -> Comparison<&SimulatedBalance, &StoredBalance> {
        let mut shown = Vec::new();
        for effect in self.expected_effects().into_values() {
            if let ExpectedEffect::Completed(batch) = effect {
                shown.extend(
                    batch.rows.iter().map(|row| (balance_name(&batch.batch_id, &row.authorizer), row)),
                );
            }
        }
        let stored = self.balances.iter().map(|it| (balance_name(&it.batch_id, &it.authorizer), it));
        Comparison::of(shown, stored)
    }
}

fn completion_name(batch_id: &str) -> String {
    format!("completion of {batch_id}")
}

fn alert_name(batch_id: &str, authorizer: &str) -> String {
    format!("alert of {authorizer} in {batch_id}")
}

fn effect_name(published: &PublishedEvent) -> String {
    match &published.detail {
        PublishedDetail::BatchCompleted { batch_id, .. } => completion_name(batch_id),
        PublishedDetail::ThresholdMet { batch_id, authorizer, .. } => alert_name(batch_id, authorizer),
        PublishedDetail::BalanceExtracted { .. } => published.event_id.clone(),
        PublishedDetail::Other(detail_type) => detail_type.clone(),
    }
}

/// Returns `true` if an event on the bus has the contents of the effect.
pub(super) fn matches_published(effect: &ExpectedEffect<'_>, published: &PublishedEvent) -> bool {
    match (effect, &published.detail) {
        (
            ExpectedEffect::Completed(batch),
            PublishedDetail::BatchCompleted { batch_id, expected, found, by_status_code },
        ) => {
            let mut codes: BTreeMap<String, usize> = BTreeMap::new();
            for row in &batch.rows {
                *codes.entry(row.status_code.to_string()).or_default() += 1;
            }
            // Only a tracked batch has an expected number.
            published.event_id == completion_id(batch_id)
                && *found == batch.rows.len()
                && *by_status_code == codes
                && expected.is_none_or(|expected| expected == batch.rows.len())
        }
        (
            ExpectedEffect::ThresholdMet { balance, threshold },
            PublishedDetail::ThresholdMet { balance: shown, threshold: by, confirmed, .. },
        ) => *confirmed && (balance, threshold) == (shown, by),
        (ExpectedEffect::Extracted(payload), PublishedDetail::BalanceExtracted { data, referenced }) => {
            // A large payload is on the bus by reference only, without `data`.
            data.as_deref().is_none_or(|data| data == payload.trim_ascii())
                && referenced.as_deref() == Some(*payload)
        }
        _ => false,
    }
}

/// Returns `true` if a stored balance is the one that Rightfoot shows.
pub(super) fn matches_stored(row: &SimulatedBalance, stored: &StoredBalance) -> bool {
    let is_same_balance = match (&row.balance, &stored.balance) {
        // As numbers, because DynamoDB does not keep the notation.
        (Some(shown), Some(stored)) => decimal(shown).is_some() && decimal(shown) == decimal(stored),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    is_same_balance && stored.status_code == row.status_code.to_string()
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}
