//! The effects that a run must have, and those that it has: events on the bus, and rows in the table of balances.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use inbox_core::delivery::Provider;
use rust_decimal::Decimal;

use super::payloads::{COMPLETED_TYPE, RightfootPayload};
use super::{Observed, SentDelivery, completion_id};
use crate::inspect::{PublishedDetail, PublishedEvent, StoredBalance};
use crate::rightfoot_simulator::{SimulatedBalance, SimulatedBatch};

/// The effects that a run must have.
#[derive(Default)]
pub struct ExpectedEffects<'a> {
    /// Batches with a published completion, by id.
    pub completed: BTreeMap<&'a str, &'a SimulatedBatch>,
    /// Balance and threshold as written, by batch and authorizer.
    pub thresholds_met: BTreeMap<(String, String), (String, String)>,
    /// Payloads of Fynapse events, by event id.
    pub extracted: BTreeMap<&'a str, &'a [u8]>,
    /// Alert events with an alert that Rightfoot does not confirm.
    pub unconfirmed: BTreeSet<&'a str>,
}

/// The identity of an effect, whatever id it was published under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EffectKey {
    Completed(String),
    ThresholdMet(String, String),
    Extracted(String),
    Other(String),
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed(batch_id) => write!(f, "completion of {batch_id}"),
            Self::ThresholdMet(batch_id, authorizer) => write!(f, "alert of {authorizer} in {batch_id}"),
            Self::Extracted(event_id) | Self::Other(event_id) => f.write_str(event_id),
        }
    }
}

impl EffectKey {
    fn of(published: &PublishedEvent) -> Self {
        match &published.detail {
            PublishedDetail::BatchCompleted { batch_id, .. } => Self::Completed(batch_id.clone()),
            PublishedDetail::ThresholdMet { batch_id, authorizer, .. } => {
                Self::ThresholdMet(batch_id.clone(), authorizer.clone())
            }
            PublishedDetail::BalanceExtracted { .. } => Self::Extracted(published.event_id.clone()),
            PublishedDetail::Other(detail_type) => Self::Other(detail_type.clone()),
        }
    }
}

impl Observed {
    /// Derives the expected effects from the deliveries that were sent and the state of the simulated Rightfoot.
    pub fn expected_effects(&self) -> ExpectedEffects<'_> {
        let mut expected = ExpectedEffects::default();
        for batch in self.rightfoot.submitted_batches() {
            expected.completed.insert(&batch.batch_id, batch);
        }
        for alert @ (batch_id, authorizer) in &self.rightfoot.expected_alerts {
            let batch = self.rightfoot.submitted_batch(batch_id);
            let balance = batch.and_then(|batch| batch.row_for(authorizer)?.balance.clone());
            let threshold = self.thresholds.get(authorizer).cloned();
            let amounts = (balance.unwrap_or_default(), threshold.unwrap_or_default());
            expected.thresholds_met.insert(alert.clone(), amounts);
        }
        for sent in self.expected_events() {
            match sent.provider {
                Provider::Fynapse => drop(expected.extracted.insert(&sent.id, &sent.body)),
                Provider::Rightfoot => self.add_expected_effects(sent, &mut expected),
            }
        }
        expected
    }

    /// Adds the effects of a delivery about a batch that was not submitted.
    fn add_expected_effects<'a>(&'a self, sent: &'a SentDelivery, expected: &mut ExpectedEffects<'a>) {
        let Ok(payload) = serde_json::from_slice::<RightfootPayload>(&sent.body) else { return };
        let batch = self.rightfoot.batches.iter().find(|batch| batch.batch_id == payload.batch_id);
        if payload.r#type == COMPLETED_TYPE {
            expected.completed.extend(batch.map(|batch| (batch.batch_id.as_str(), batch)));
            return;
        }
        for alert in payload.alerts {
            let row = batch.and_then(|batch| batch.row_for(&alert.authorizer_unique_id));
            let balance = row.filter(|row| row.status_code == 0).and_then(|row| row.balance.as_deref());
            let threshold = alert.threshold_amount.get();
            match balance {
                Some(balance) if decimal(balance) >= decimal(threshold) => {
                    let key = (payload.batch_id.clone(), alert.authorizer_unique_id);
                    expected.thresholds_met.insert(key, (balance.to_owned(), threshold.to_owned()));
                }
                // One such alert puts the event into quarantine, although its other alerts are published.
                Some(_) | None => drop(expected.unconfirmed.insert(&sent.id)),
            }
        }
    }

    /// The bus events of each effect: all copies, under all their ids.
    pub(super) fn published_effects(&self) -> BTreeMap<EffectKey, Vec<&PublishedEvent>> {
        let mut effects: BTreeMap<EffectKey, Vec<&PublishedEvent>> = BTreeMap::new();
        for published in &self.bus_events {
            effects.entry(EffectKey::of(published)).or_default().push(published);
        }
        effects
    }

    /// Filters the effects on the bus by their copies.
    pub(super) fn effects_where(
        &self,
        is_wrong: impl Fn(&EffectKey, &[&PublishedEvent]) -> bool,
    ) -> Vec<String> {
        let effects = self.published_effects();
        effects.iter().filter(|(key, copies)| is_wrong(key, copies)).map(|(key, _)| key.to_string()).collect()
    }

    /// Filters the balances, by batch and authorizer: the row that Rightfoot shows, if any, and those that are stored.
    pub(super) fn balances_where(
        &self,
        is_wrong: impl Fn(Option<&SimulatedBalance>, &[&StoredBalance]) -> bool,
    ) -> Vec<String> {
        let mut balances: BTreeMap<(&str, &str), (Option<&SimulatedBalance>, Vec<&StoredBalance>)> =
            BTreeMap::new();
        for batch in self.expected_effects().completed.into_values() {
            for row in &batch.rows {
                balances.entry((&batch.batch_id, &row.authorizer)).or_default().0 = Some(row);
            }
        }
        for stored in &self.balances {
            balances.entry((&stored.batch_id, &stored.authorizer)).or_default().1.push(stored);
        }
        let wrong = balances.into_iter().filter(|(_, (row, stored))| is_wrong(*row, stored));
        wrong.map(|((batch_id, authorizer), _)| format!("{authorizer} in {batch_id}")).collect()
    }
}

impl ExpectedEffects<'_> {
    pub(super) fn keys(&self) -> BTreeSet<EffectKey> {
        let completed = self.completed.keys().map(|batch_id| EffectKey::Completed((*batch_id).to_owned()));
        let met = self.thresholds_met.keys().cloned();
        let met = met.map(|(batch_id, authorizer)| EffectKey::ThresholdMet(batch_id, authorizer));
        let extracted = self.extracted.keys().map(|event_id| EffectKey::Extracted((*event_id).to_owned()));
        completed.chain(met).chain(extracted).collect()
    }

    /// Returns `true` if an event on the bus has the contents of the expected effect.
    pub(super) fn has_contents_of(&self, published: &PublishedEvent) -> bool {
        match &published.detail {
            PublishedDetail::BatchCompleted { batch_id, expected, found, by_status_code } => {
                let Some(batch) = self.completed.get(batch_id.as_str()) else { return false };
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
            PublishedDetail::ThresholdMet { batch_id, authorizer, balance, threshold, confirmed } => {
                let amounts = self.thresholds_met.get(&(batch_id.clone(), authorizer.clone()));
                *confirmed && amounts == Some(&(balance.clone(), threshold.clone()))
            }
            PublishedDetail::BalanceExtracted { data, referenced } => {
                let payload = self.extracted.get(published.event_id.as_str()).copied();
                // A large payload is on the bus by reference only, without `data`.
                let is_carried =
                    data.as_deref().is_none_or(|data| Some(data) == payload.map(<[u8]>::trim_ascii));
                is_carried && referenced.as_deref() == payload
            }
            PublishedDetail::Other(_) => false,
        }
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
