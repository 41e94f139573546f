//! The demo's deliveries: their contents, senders and expected outcomes.

use std::ops::Range;

use inbox_core::delivery::Provider;
use inbox_core::secret_keys::Keys;

use crate::invariants::{ExpectedOutcome, SentDelivery};
use crate::senders::payloads::{
    balance_extracted, balance_in_alert, batch_completed, fynapse_event, incompressible_json,
    threshold_alert, truncated, unknown_type, without_field,
};
use crate::senders::{OutgoingDelivery, RetryLimit, Signing};

/// Size of the incompressible payload.
const INCOMPRESSIBLE_BYTES: usize = 3_000_000;
/// Authorizers in the large alert: about 700 kB.
const LARGE_ALERT_AUTHORIZERS: usize = 5_770;
/// Number of them that the API shows in their batch, so that only these alerts are confirmed.
const LARGE_ALERT_CONFIRMED: usize = 30;
/// Offsets of a stale signature's time from now: well outside the tolerance, on both sides.
const STALE_SIGNATURE_OFFSETS_SECS: [i64; 4] = [-3_600, -600, -86_400, 1_800];

/// A delivery to make, possibly several times, and its expected outcome.
#[derive(Clone, Debug)]
pub(super) struct PlannedDelivery {
    pub(super) outgoing: OutgoingDelivery,
    pub(super) sender: DeliverySender,
    pub(super) retry_limit: RetryLimit,
    /// Number of simultaneous deliveries.
    pub(super) copies: usize,
    /// Deliveries after these, one after the other.
    pub(super) repeats: Vec<OutgoingDelivery>,
    pub(super) expected: ExpectedOutcome,
    /// Authorizers and balances of its batch, as Rightfoot's API shows them; empty if the API does not know the batch.
    batch_balances: Vec<(String, String)>,
}

/// The sender of a delivery, and how it authenticates.
#[derive(Clone, Debug)]
pub(super) enum DeliverySender {
    Fynapse(Signing),
    Rightfoot { url: String },
}

impl PlannedDelivery {
    fn new(outgoing: OutgoingDelivery, sender: DeliverySender, expected: ExpectedOutcome) -> Self {
        let retry_limit = match expected {
            ExpectedOutcome::Enqueued | ExpectedOutcome::Quarantined { status: 200, .. } => {
                RetryLimit::ProviderPolicy
            }
            // The provider's own retries would take up to 72 simulated hours, and never get another answer.
            ExpectedOutcome::Quarantined { .. } | ExpectedOutcome::Rejected => RetryLimit::UntilConclusive,
        };
        Self {
            outgoing,
            sender,
            retry_limit,
            copies: 1,
            repeats: Vec::new(),
            expected,
            batch_balances: Vec::new(),
        }
    }

    /// The delivery as it is checked in the end, without reports.
    pub(super) fn to_sent(&self) -> SentDelivery {
        let provider = match &self.sender {
            DeliverySender::Fynapse(_) => Provider::Fynapse,
            DeliverySender::Rightfoot { .. } => Provider::Rightfoot,
        };
        SentDelivery::expecting(provider, &self.outgoing.id, self.outgoing.body.clone(), self.expected)
    }

    /// Its batch and the balances that Rightfoot's API shows; `None` if the API does not know the batch.
    pub(super) fn simulated_batch(&self) -> Option<(&str, &[(String, String)])> {
        let batch_id = self.outgoing.id.split('/').nth(2)?;
        (!self.batch_balances.is_empty()).then_some((batch_id, self.batch_balances.as_slice()))
    }

    /// The run that its alerts concern, and the run's number of authorizers.
    pub(super) fn alerted_run(&self) -> Option<(&str, usize)> {
        let (batch_id, balances) = self.simulated_batch().filter(|_| self.outgoing.id.contains("/alert/"))?;
        Some((batch_id, balances.len()))
    }

    /// Has Rightfoot's API show these balances of its batch.
    fn with_batch_balances(self, balances: Vec<(String, String)>) -> Self {
        Self { batch_balances: balances, ..self }
    }

    pub(super) fn with_copies(self, copies: usize) -> Self {
        Self { copies, ..self }
    }

    fn with_repeat(mut self, repeat: OutgoingDelivery) -> Self {
        self.repeats.push(repeat);
        self
    }
}

/// Builds the deliveries; holds the URLs and the key that they use.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Rightfoot's webhook URL.
    pub(super) rightfoot_url: String,
    /// Webhook URLs with forged, foreign or missing tokens.
    pub(super) forged_urls: Vec<String>,
    /// A key that the receiver does not accept.
    pub(super) untrusted_key: Keys,
    pub(super) seed: u64,
}

impl Traffic {
    /// Fynapse events that must be on the queue.
    pub(super) fn fynapse(&self, phase: &str, range: Range<usize>) -> Vec<PlannedDelivery> {
        let delivery = |n| self.fynapse_delivery(&format!("{phase}-{n:02}"));
        range.map(delivery).collect()
    }

    /// Rightfoot events that must be on the queue: completions and alerts.
    pub(super) fn rightfoot(&self, phase: &str, range: Range<usize>) -> Vec<PlannedDelivery> {
        range
            .map(|n| {
                let (batch, uuid) = (format!("{phase}-{n:02}"), format!("uuid-{phase}-{n:02}"));
                match n % 2 {
                    0 => self
                        .rightfoot_delivery(batch_completed(&batch, &uuid), ExpectedOutcome::Enqueued)
                        .with_batch_balances(sample_balances(1 + n * 5)),
                    _ => {
                        let authorizers = 1 + n % 7;
                        let alert = threshold_alert(&batch, &uuid, authorizers);
                        self.rightfoot_delivery(alert, ExpectedOutcome::Enqueued)
                            .with_batch_balances(balances_in_alert(authorizers))
                    }
                }
            })
            .collect()
    }

    /// Events of both providers, a third of them delivered twice at once.
    pub(super) fn both_providers(
        &self,
        phase: &str,
        fynapse: usize,
        rightfoot: usize,
    ) -> Vec<PlannedDelivery> {
        let mut deliveries = self.fynapse(phase, 0..fynapse);
        deliveries.extend(self.rightfoot(phase, 0..rightfoot));
        deliveries
            .into_iter()
            .enumerate()
            .map(|(n, delivery)| delivery.with_copies(if n % 3 == 0 { 2 } else { 1 }))
            .collect()
    }

    /// Events that are delivered again after they were answered.
    pub(super) fn redelivered(&self) -> Vec<PlannedDelivery> {
        let repeated = |delivery: PlannedDelivery| {
            let outgoing = delivery.outgoing.clone();
            delivery.with_repeat(outgoing)
        };
        let mut deliveries: Vec<_> = self.fynapse("again", 0..20).into_iter().map(repeated).collect();
        deliveries.extend(self.rightfoot("again", 0..10).into_iter().map(repeated));
        // A second subscription delivers the same event under a key of its own.
        deliveries.extend(self.fynapse("other-key", 0..5).into_iter().map(|delivery| {
            let outgoing = delivery.outgoing.with_idempotency_key("another-key");
            delivery.with_repeat(outgoing)
        }));
        // A completion with another event_uuid is still the same event: its dedupe key is the batch.
        deliveries.extend((0..5).map(|n| {
            let batch = format!("other-uuid-{n:02}");
            self.rightfoot_delivery(batch_completed(&batch, "first"), ExpectedOutcome::Enqueued)
                .with_repeat(batch_completed(&batch, "second"))
                .with_batch_balances(sample_balances(3))
        }));
        deliveries
    }

    /// Events with eight simultaneous deliveries each.
    pub(super) fn concurrent_duplicates(&self) -> Vec<PlannedDelivery> {
        let mut deliveries = self.fynapse("at-once", 0..8);
        deliveries.extend(self.rightfoot("at-once", 0..8));
        deliveries.into_iter().map(|delivery| delivery.with_copies(8)).collect()
    }

    /// Deliveries that are forged, signed too long ago, or sent to a forged URL. None may become an event.
    pub(super) fn forgeries(&self) -> Vec<PlannedDelivery> {
        let forged = |n: usize, signing: Signing| {
            let outgoing = balance_extracted(&format!("forged-{n:02}"));
            PlannedDelivery::new(outgoing, DeliverySender::Fynapse(signing), ExpectedOutcome::Rejected)
        };
        let mut deliveries = Vec::new();
        for n in 0..8 {
            deliveries.push(forged(3 * n, Signing::WithKeys(self.untrusted_key.clone())));
            deliveries.push(forged(3 * n + 1, Signing::TamperedBody));
            deliveries.push(forged(3 * n + 2, Signing::Unsigned));
        }
        for (n, shift_secs) in STALE_SIGNATURE_OFFSETS_SECS.into_iter().cycle().take(8).enumerate() {
            let quarantined = ExpectedOutcome::Quarantined { reason: "stale", status: 403 };
            let outgoing = balance_extracted(&format!("stale-{n:02}"));
            deliveries.push(PlannedDelivery::new(
                outgoing,
                DeliverySender::Fynapse(Signing::ShiftedTimestamp(shift_secs)),
                quarantined,
            ));
        }
        for (n, url) in self.forged_urls.iter().enumerate() {
            for (kind, outgoing) in [
                batch_completed(&format!("forged-{n}"), "u"),
                threshold_alert(&format!("forged-{n}"), "u", 2),
            ]
            .into_iter()
            .enumerate()
            {
                let delivery = PlannedDelivery::new(
                    outgoing,
                    DeliverySender::Rightfoot { url: url.clone() },
                    ExpectedOutcome::Rejected,
                );
                deliveries.push(delivery.with_copies(1 + kind));
            }
        }
        deliveries
    }

    /// Fabricated alerts from a sender who knows the webhook URL. Only what Rightfoot's API shows may be published.
    pub(super) fn fabricated_alerts(&self) -> Vec<PlannedDelivery> {
        let fabricated = |n: usize, shown: &[(&str, &str)]| {
            let alert = threshold_alert(&format!("fabricated-{n}"), "u", 2);
            let balances =
                shown.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned()));
            self.rightfoot_delivery(alert, ExpectedOutcome::Enqueued).with_batch_balances(balances.collect())
        };
        vec![
            // Both balances are below the threshold of 100.00.
            fabricated(0, &[("user-0", "99.99"), ("user-1", "-150.50")]),
            // Both checks failed, so there is no balance to confirm.
            fabricated(1, &[("user-0", "null"), ("user-1", "?")]),
            // Neither authorizer of the alert is in the batch.
            fabricated(2, &[("somebody", "5000.00")]),
            // One of the two is confirmed, because a balance equal to the threshold meets it.
            fabricated(3, &[("user-0", "99.99"), ("user-1", "100.00")]),
        ]
    }

    /// Deliveries signed with a key that was valid before the rotation.
    pub(super) fn signed_with_retired_key(&self, old: &Keys) -> Vec<PlannedDelivery> {
        let delivery = |n| {
            let outgoing = balance_extracted(&format!("retired-{n:02}"));
            PlannedDelivery::new(
                outgoing,
                DeliverySender::Fynapse(Signing::WithKeys(old.clone())),
                ExpectedOutcome::Rejected,
            )
        };
        (0..6).map(delivery).collect()
    }

    /// Authentic deliveries that cannot be processed: all are quarantined.
    pub(super) fn unprocessable(&self, phase: &str) -> Vec<PlannedDelivery> {
        let quarantined = |reason, status| ExpectedOutcome::Quarantined { reason, status };
        let validly_signed = || DeliverySender::Fynapse(Signing::Valid);
        let mut deliveries = Vec::new();
        for n in 0..4 {
            let extract = balance_extracted(&format!("{phase}-unprocessable-{n}"));
            let completion = batch_completed(&format!("{phase}-unprocessable-{n}"), "u");
            let alert = threshold_alert(&format!("{phase}-unprocessable-{n}"), "u", 3);
            deliveries.push(PlannedDelivery::new(
                truncated(&extract),
                validly_signed(),
                quarantined("unreadable", 200),
            ));
            deliveries.push(PlannedDelivery::new(
                without_field(&extract, "event_type"),
                validly_signed(),
                quarantined("unreadable", 200),
            ));
            // Rightfoot's samples answer 400; at Fynapse, a 400 would end the delivery for good (P6).
            deliveries.push(self.rightfoot_delivery(truncated(&alert), quarantined("unreadable", 400)));
            deliveries.push(
                self.rightfoot_delivery(
                    without_field(&completion, "batch_id"),
                    quarantined("unreadable", 400),
                ),
            );
            // Every other one is too large to be stored inside its item.
            let unknown = unknown_type(&format!("{phase}-{n}"), 20_000 * (n % 2));
            deliveries.push(self.rightfoot_delivery(unknown, quarantined("unknown_type", 200)));
        }
        // An id has at most 512 bytes.
        let over_long = balance_extracted(&format!("{phase}-{}", "i".repeat(600)));
        deliveries.push(PlannedDelivery::new(over_long, validly_signed(), quarantined("unusable_id", 200)));
        deliveries
    }

    /// Large deliveries, and payloads with characters that SQS does not allow in a message.
    pub(super) fn large(&self) -> Vec<PlannedDelivery> {
        let validly_signed = |outgoing| {
            PlannedDelivery::new(outgoing, DeliverySender::Fynapse(Signing::Valid), ExpectedOutcome::Enqueued)
        };
        let payload = |bytes| incompressible_json(self.seed, bytes);
        let alert = threshold_alert("large", "u", LARGE_ALERT_AUTHORIZERS);
        vec![
            self.rightfoot_delivery(alert, ExpectedOutcome::Enqueued)
                .with_batch_balances(balances_in_alert(LARGE_ALERT_CONFIRMED)),
            validly_signed(fynapse_event("huge", "balance.extracted", &payload(INCOMPRESSIBLE_BYTES))),
            // Too large for the record, which has at most 4 KiB of payload, so it is stored in parts.
            validly_signed(fynapse_event("medium", "balance.extracted", &payload(20_000))).with_copies(2),
            // Larger than a message may be, so the message refers to the payload.
            validly_signed(fynapse_event("by-reference", "balance.extracted", &payload(300_000))),
            validly_signed(fynapse_event("not-for-sqs", "balance.extracted", "\"\u{ffff}\u{fffe}\"")),
            // Every type is accepted. `1e400` fits no float, so it shows if a payload was parsed on the way.
            validly_signed(fynapse_event("of-another-type", "ledger.closed", "[1.10, 2.00, 1e400]")),
        ]
    }

    fn fynapse_delivery(&self, event_id: &str) -> PlannedDelivery {
        PlannedDelivery::new(
            balance_extracted(event_id),
            DeliverySender::Fynapse(Signing::Valid),
            ExpectedOutcome::Enqueued,
        )
    }

    fn rightfoot_delivery(&self, outgoing: OutgoingDelivery, expected: ExpectedOutcome) -> PlannedDelivery {
        PlannedDelivery::new(
            outgoing,
            DeliverySender::Rightfoot { url: self.rightfoot_url.clone() },
            expected,
        )
    }
}

/// Balances of this many authorizers; every fifth check failed.
fn sample_balances(authorizers: usize) -> Vec<(String, String)> {
    let balance = |n: usize| match n % 5 {
        4 => "null".to_owned(),
        _ => format!("{}.{:02}", 10 * n, n % 100),
    };
    (0..authorizers).map(|n| (format!("user-{n}"), balance(n))).collect()
}

/// Balances of this many authorizers, equal to those in a [`threshold_alert`].
fn balances_in_alert(authorizers: usize) -> Vec<(String, String)> {
    (0..authorizers).map(|n| (format!("user-{n}"), balance_in_alert(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_have_their_intended_sizes() {
        let traffic = Traffic {
            rightfoot_url: String::new(),
            forged_urls: Vec::new(),
            untrusted_key: Keys::default(),
            seed: 1,
        };
        let sizes: Vec<_> =
            traffic.large().iter().map(|delivery| delivery.outgoing.body.len() / 1_000).collect();
        assert_eq!(sizes, [702, 3_000, 20, 300, 0, 0]);
    }
}
