//! P10: every event was fully processed, and each of its effects is present once.

use std::collections::{BTreeMap, BTreeSet};

use inbox_core::delivery::Provider;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::submissions::completion_id;
use super::{Evidence, PlannedDelivery, Violation};
use crate::connector::CallOutcome;
use crate::demo::simulated_rightfoot::COMPLETED_TYPE;
use crate::inspect::{PublishedDetail, PublishedEvent, StoredBalance};
use crate::rightfoot_simulator::{SimulatedBalance, SimulatedBatch};

/// Quarantine reason of an event whose alerts Rightfoot's API does not confirm.
const UNCONFIRMED_REASON: &str = "unconfirmed";

/// The effects that a run of the demo must have.
#[derive(Default)]
pub(in crate::demo) struct ExpectedEffects<'a> {
    /// Batches with a published completion, by id.
    pub(in crate::demo) completed: BTreeMap<&'a str, &'a SimulatedBatch>,
    /// Balance and threshold as written, by batch and authorizer.
    pub(in crate::demo) thresholds_met: BTreeMap<(String, String), (String, String)>,
    /// Payloads of Fynapse events, by event id.
    pub(in crate::demo) extracted: BTreeMap<&'a str, &'a [u8]>,
    /// Alert events with an alert that Rightfoot does not confirm.
    pub(in crate::demo) unconfirmed: BTreeSet<&'a str>,
}

/// The fields of a Rightfoot webhook's body that decide its effects.
#[derive(Deserialize)]
struct DeliveredBody {
    r#type: String,
    #[serde(default)]
    alerts: Vec<DeliveredAlert>,
}

#[derive(Deserialize)]
struct DeliveredAlert {
    authorizer_unique_id: String,
    threshold_amount: Box<RawValue>,
}

/// The identity of an effect, whatever id it was published under.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum EffectKey {
    Completed(String),
    ThresholdMet(String, String),
    Extracted(String),
    Other(String),
}

/// All violations of P10.
pub(super) fn violations(evidence: &Evidence) -> Vec<Violation> {
    let expected_effects = evidence.expected_effects();
    [
        check_processing(evidence, &expected_effects),
        check_balances(evidence, &expected_effects),
        check_bus(evidence, &expected_effects),
    ]
    .concat()
}

impl Evidence {
    /// Derives the expected effects from the deliveries that were sent and the state of the simulated Rightfoot.
    pub(in crate::demo) fn expected_effects(&self) -> ExpectedEffects<'_> {
        let mut expected_effects = ExpectedEffects::default();
        for batch in &self.truth.batches {
            expected_effects.completed.insert(&batch.batch_id, batch);
        }
        for (batch_id, authorizer) in &self.truth.expected_alerts {
            let batch = self.truth.batch(batch_id);
            let balance = batch.and_then(|batch| find_row(batch, authorizer)?.balance.clone());
            let threshold = self.thresholds.get(authorizer).copied();
            let amounts = (balance.unwrap_or_default(), threshold.unwrap_or_default().to_owned());
            expected_effects.thresholds_met.insert((batch_id.clone(), authorizer.clone()), amounts);
        }
        for planned in self.expected_events() {
            // Every other provider's events are published as received.
            if planned.provider() == Provider::Rightfoot {
                self.add_expected_effects(planned, &mut expected_effects);
            } else {
                expected_effects.extracted.insert(&planned.outgoing.id, &planned.outgoing.body);
            }
        }
        expected_effects
    }

    /// Adds the effects of a Rightfoot delivery that the demo's own senders made.
    fn add_expected_effects<'a>(
        &'a self,
        planned: &'a PlannedDelivery,
        expected_effects: &mut ExpectedEffects<'a>,
    ) {
        let batch_id = planned.outgoing.id.split('/').nth(2).unwrap_or_default();
        let batch = self.truth.other_batches.iter().find(|batch| batch.batch_id == batch_id);
        let Ok(body) = serde_json::from_slice::<DeliveredBody>(&planned.outgoing.body) else { return };
        if body.r#type == COMPLETED_TYPE {
            expected_effects.completed.extend(batch.map(|batch| (batch.batch_id.as_str(), batch)));
            return;
        }
        for DeliveredAlert { authorizer_unique_id: authorizer, threshold_amount } in body.alerts {
            let row = batch.and_then(|batch| find_row(batch, &authorizer)).filter(|row| row.status_code == 0);
            let threshold = threshold_amount.get();
            match row.and_then(|row| row.balance.as_deref()) {
                Some(balance) if decimal(balance) >= decimal(threshold) => {
                    let amounts = (balance.to_owned(), threshold.to_owned());
                    expected_effects.thresholds_met.insert((batch_id.to_owned(), authorizer), amounts);
                }
                // One such alert puts the event into quarantine, although its other alerts are published.
                Some(_) | None => drop(expected_effects.unconfirmed.insert(&planned.outgoing.id)),
            }
        }
    }

    /// The bus events of each effect: all copies, under all their ids.
    fn published_effects(&self) -> BTreeMap<EffectKey, Vec<&PublishedEvent>> {
        let mut effects: BTreeMap<EffectKey, Vec<&PublishedEvent>> = BTreeMap::new();
        for published in &self.published {
            effects.entry(EffectKey::from_published(published)).or_default().push(published);
        }
        effects
    }

    /// Number of repeats of an effect that the workers' calls explain: those after which a worker could not know, or
    /// could not record, that it had published the effect.
    fn possible_repeats(&self, copies: &[&PublishedEvent]) -> usize {
        // Updates of an `effect#alert#` item have the id on the bus, all other calls the event's id.
        let names: BTreeSet<&str> =
            copies.iter().flat_map(|it| [it.id.as_str(), it.event_id.as_str()]).collect();
        let unknown = self.worker_log.iter().filter(|(call, outcome)| {
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
        let interrupted =
            names.iter().filter_map(|name| self.workers.interruptions.get(*name)).sum::<usize>();
        unknown.count() + interrupted
    }
}

impl EffectKey {
    fn from_published(published: &PublishedEvent) -> Self {
        match &published.detail {
            PublishedDetail::BatchCompleted { batch_id, .. } => Self::Completed(batch_id.clone()),
            PublishedDetail::ThresholdMet { batch_id, authorizer, .. } => {
                Self::ThresholdMet(batch_id.clone(), authorizer.clone())
            }
            PublishedDetail::BalanceExtracted { .. } => Self::Extracted(published.event_id.clone()),
            PublishedDetail::Other(detail_type) => Self::Other(detail_type.clone()),
        }
    }

    fn is_expected(&self, expected_effects: &ExpectedEffects<'_>) -> bool {
        match self {
            Self::Completed(batch_id) => expected_effects.completed.contains_key(batch_id.as_str()),
            Self::ThresholdMet(batch_id, authorizer) => {
                expected_effects.thresholds_met.contains_key(&(batch_id.clone(), authorizer.clone()))
            }
            Self::Extracted(event_id) => expected_effects.extracted.contains_key(event_id.as_str()),
            Self::Other(_) => false,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Completed(batch_id) => format!("completion of {batch_id}"),
            Self::ThresholdMet(batch_id, authorizer) => format!("alert of {authorizer} in {batch_id}"),
            Self::Extracted(event_id) | Self::Other(event_id) => event_id.clone(),
        }
    }
}

/// Every event was processed, or quarantined as unconfirmed if Rightfoot does not confirm its alerts.
fn check_processing(evidence: &Evidence, expected_effects: &ExpectedEffects<'_>) -> Vec<Violation> {
    let records = |description, is_wrong: &dyn Fn(&str, bool, bool) -> bool| {
        let wrong = evidence
            .table
            .records
            .iter()
            .filter(|(id, record)| is_wrong(id, record.is_done, record.is_quarantined));
        Violation { description, ids: wrong.map(|(id, _)| id.clone()).collect() }
    };
    let is_unconfirmed_quarantine = |id: &str| {
        let quarantined = evidence.table.quarantined.iter();
        quarantined
            .filter(|quarantined| quarantined.event_id.as_deref() == Some(id))
            .any(|quarantined| quarantined.reason == UNCONFIRMED_REASON)
    };
    vec![
        records("recorded, and never fully processed", &|_, done, quarantined| !done && !quarantined),
        records("quarantined, although Rightfoot confirms it", &|id, _, quarantined| {
            quarantined && !expected_effects.unconfirmed.contains(id)
        }),
        records("done, although Rightfoot does not confirm it", &|id, done, _| {
            done && expected_effects.unconfirmed.contains(id)
        }),
        records("quarantined, and not as unconfirmed", &|id, _, quarantined| {
            quarantined && expected_effects.unconfirmed.contains(id) && !is_unconfirmed_quarantine(id)
        }),
    ]
}

/// The stored balances equal Rightfoot's, row by row.
fn check_balances(evidence: &Evidence, expected_effects: &ExpectedEffects<'_>) -> Vec<Violation> {
    let mut stored: BTreeMap<(&str, &str), Vec<&StoredBalance>> = BTreeMap::new();
    for balance in &evidence.stored_balances {
        stored.entry((&balance.batch_id, &balance.authorizer)).or_default().push(balance);
    }
    let rows: BTreeMap<(&str, &str), &SimulatedBalance> = expected_effects
        .completed
        .values()
        .flat_map(|batch| {
            batch.rows.iter().map(|row| ((batch.batch_id.as_str(), row.authorizer.as_str()), row))
        })
        .collect();
    let name = |(batch_id, authorizer): &(&str, &str)| format!("{authorizer} in {batch_id}");
    let is_other = |key: &(&str, &str), stored: &[&StoredBalance]| {
        rows.get(key).is_some_and(|row| stored.iter().any(|stored| !matches_stored(row, stored)))
    };
    vec![
        Violation {
            description: "a balance that Rightfoot shows, and that is not stored",
            ids: rows.keys().filter(|key| !stored.contains_key(key)).map(name).collect(),
        },
        Violation {
            description: "a balance that is stored, and that Rightfoot does not show",
            ids: stored.keys().filter(|key| !rows.contains_key(key)).map(name).collect(),
        },
        Violation {
            description: "stored more than once",
            ids: stored.iter().filter(|(_, stored)| stored.len() > 1).map(|(key, _)| name(key)).collect(),
        },
        Violation {
            description: "stored with another balance or status than Rightfoot's",
            ids: stored
                .iter()
                .filter(|(key, stored)| is_other(key, stored))
                .map(|(key, _)| name(key))
                .collect(),
        },
    ]
}

/// Every effect is on the bus, under one id, once.
fn check_bus(evidence: &Evidence, expected_effects: &ExpectedEffects<'_>) -> Vec<Violation> {
    let effects = evidence.published_effects();
    let completed =
        expected_effects.completed.keys().map(|batch_id| EffectKey::Completed((*batch_id).to_owned()));
    let met = expected_effects
        .thresholds_met
        .keys()
        .map(|(batch_id, authorizer)| EffectKey::ThresholdMet(batch_id.clone(), authorizer.clone()));
    let extracted =
        expected_effects.extracted.keys().map(|event_id| EffectKey::Extracted((*event_id).to_owned()));
    let all_expected = completed.chain(met).chain(extracted);
    let named = |description, is_wrong: &dyn Fn(&EffectKey, &[&PublishedEvent]) -> bool| {
        let wrong = effects.iter().filter(|(key, copies)| is_wrong(key, copies));
        Violation { description, ids: wrong.map(|(key, _)| key.name()).collect() }
    };
    vec![
        Violation {
            description: "LOST: an effect that is expected, and not on the bus",
            ids: all_expected.filter(|key| !effects.contains_key(key)).map(|key| key.name()).collect(),
        },
        named("on the bus, and unexpected", &|key, _| !key.is_expected(expected_effects)),
        named("on the bus under several ids", &|_, copies| {
            copies.iter().map(|copy| copy.id.as_str()).collect::<BTreeSet<_>>().len() > 1
        }),
        named("on the bus more often than steps of unknown outcome explain", &|_, copies| {
            copies.len() > 1 + evidence.possible_repeats(copies)
        }),
        named("on the bus with other contents than expected", &|key, copies| {
            key.is_expected(expected_effects)
                && !copies.iter().all(|copy| has_expected_contents(copy, expected_effects))
        }),
        named("on the bus with another origin than recorded", &|_, copies| {
            copies
                .iter()
                .any(|copy| evidence.origin_of(&copy.event_id).is_some_and(|origin| origin != copy.origin))
        }),
    ]
}

fn has_expected_contents(published: &PublishedEvent, expected_effects: &ExpectedEffects<'_>) -> bool {
    match &published.detail {
        PublishedDetail::BatchCompleted { batch_id, expected, found, by_status_code } => {
            let Some(batch) = expected_effects.completed.get(batch_id.as_str()) else { return false };
            let mut codes: BTreeMap<String, usize> = BTreeMap::new();
            for row in &batch.rows {
                *codes.entry(row.status_code.to_string()).or_default() += 1;
            }
            // Only a tracked batch has an expected number; those of the demo's senders are not tracked.
            published.event_id == completion_id(batch_id)
                && *found == batch.rows.len()
                && *by_status_code == codes
                && expected.is_none_or(|expected| expected == batch.rows.len())
        }
        PublishedDetail::ThresholdMet { batch_id, authorizer, balance, threshold, confirmed } => {
            let amounts = expected_effects.thresholds_met.get(&(batch_id.clone(), authorizer.clone()));
            *confirmed && amounts == Some(&(balance.clone(), threshold.clone()))
        }
        PublishedDetail::BalanceExtracted { data, referenced } => {
            let payload = expected_effects.extracted.get(published.event_id.as_str()).copied();
            // A large payload is on the bus by reference only, without `data`.
            let is_carried = data.as_deref().is_none_or(|data| Some(data) == payload.map(<[u8]>::trim_ascii));
            is_carried && referenced.as_deref() == payload
        }
        PublishedDetail::Other(_) => false,
    }
}

fn matches_stored(row: &SimulatedBalance, stored: &StoredBalance) -> bool {
    let is_same_balance = match (&row.balance, &stored.balance) {
        // As numbers, because DynamoDB does not keep the notation.
        (Some(shown), Some(stored)) => decimal(shown).is_some() && decimal(shown) == decimal(stored),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    is_same_balance && stored.status_code == row.status_code.to_string()
}

fn find_row<'a>(batch: &'a SimulatedBatch, authorizer: &str) -> Option<&'a SimulatedBalance> {
    batch.rows.iter().find(|row| row.authorizer == authorizer)
}

fn decimal(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text)).ok()
}
