//! Who appears in the demo: what is sent, by whom and how, and what must come of it.

use std::ops::Range;

use inbox_core::delivery::Provider;
use inbox_core::keys::Keys;

use crate::senders::payloads::{
    balance_extracted, balance_in_alert, batch_completed, fynapse_event, incompressible_json,
    threshold_alert, truncated, unknown_type, without_field,
};
use crate::senders::{OutgoingDelivery, RetryLimit, Signing};

/// Bytes of the body that no compression makes smaller.
const INCOMPRESSIBLE_BYTES: usize = 3_000_000;
/// Authorizers in one alert: about 700 kB.
const LARGE_ALERT_AUTHORIZERS: usize = 5_770;
/// Of these, so many are in their batch.
const LARGE_ALERT_CONFIRMED: usize = 30;
/// Where the time of a stale signature lies, seen from now: well outside of the tolerance, on either side.
const STALE_SIGNATURE_OFFSETS_SECS: [i64; 4] = [-3_600, -600, -86_400, 1_800];

/// Something to be delivered, perhaps several times.
#[derive(Clone, Debug)]
pub(super) struct PlannedDelivery {
    pub(super) outgoing: OutgoingDelivery,
    pub(super) sender: DeliverySender,
    pub(super) patience: RetryLimit,
    /// Deliveries at the same time.
    pub(super) copies: usize,
    /// Deliveries afterwards, one after the other.
    pub(super) repeats: Vec<OutgoingDelivery>,
    pub(super) expected: ExpectedOutcome,
    /// What Rightfoot's API shows of its batch: authorizers and their balances. Nothing, if it does not know it.
    batch_balances: Vec<(String, String)>,
}

/// Who delivers.
#[derive(Clone, Debug)]
pub(super) enum DeliverySender {
    Fynapse(Signing),
    Rightfoot { url: String },
}

/// What must come of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExpectedOutcome {
    /// It is an event.
    Enqueued,
    /// It is kept for this reason, and answered with this status.
    Quarantined { reason: &'static str, status: u16 },
    /// It leaves nothing.
    Rejected,
}

impl PlannedDelivery {
    fn new(outgoing: OutgoingDelivery, sender: DeliverySender, expected: ExpectedOutcome) -> Self {
        let retry_limit = match expected {
            ExpectedOutcome::Enqueued | ExpectedOutcome::Quarantined { status: 200, .. } => {
                RetryLimit::ProviderPolicy
            }
            ExpectedOutcome::Quarantined { .. } | ExpectedOutcome::Rejected => RetryLimit::UntilConclusive,
        };
        Self {
            outgoing,
            sender,
            patience: retry_limit,
            copies: 1,
            repeats: Vec::new(),
            expected,
            batch_balances: Vec::new(),
        }
    }

    pub(super) fn provider(&self) -> Provider {
        match &self.sender {
            DeliverySender::Fynapse(_) => Provider::Fynapse,
            DeliverySender::Rightfoot { .. } => Provider::Rightfoot,
        }
    }

    /// Its batch, and what Rightfoot's API shows of it; `None` if that does not know it.
    pub(super) fn simulated_batch(&self) -> Option<(&str, &[(String, String)])> {
        let batch_id = self.outgoing.id.split('/').nth(2)?;
        (!self.batch_balances.is_empty()).then_some((batch_id, self.batch_balances.as_slice()))
    }

    /// The run that its alerts tell of, and of how many authorizers it is.
    pub(super) fn alerted_run(&self) -> Option<(&str, usize)> {
        let (batch_id, balances) = self.simulated_batch().filter(|_| self.outgoing.id.contains("/alert/"))?;
        Some((batch_id, balances.len()))
    }

    /// Rightfoot knows its batch, and shows this of it.
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

/// The URLs and the key that parts are played with.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Where Rightfoot delivers to.
    pub(super) rightfoot_url: String,
    /// Where Rightfoot would deliver to if somebody else had made its URL.
    pub(super) forged_urls: Vec<String>,
    /// A key that nobody accepts.
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

    /// Both providers' events, a third of which is delivered twice at once.
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

    /// Events that come again after they were answered.
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
        // A completion may come again with another uuid: it still is the completion of its batch.
        deliveries.extend((0..5).map(|n| {
            let batch = format!("other-uuid-{n:02}");
            self.rightfoot_delivery(batch_completed(&batch, "first"), ExpectedOutcome::Enqueued)
                .with_repeat(batch_completed(&batch, "second"))
                .with_batch_balances(sample_balances(3))
        }));
        deliveries
    }

    /// Events of which eight deliveries arrive at the same time.
    pub(super) fn concurrent_duplicates(&self) -> Vec<PlannedDelivery> {
        let mut deliveries = self.fynapse("at-once", 0..8);
        deliveries.extend(self.rightfoot("at-once", 0..8));
        deliveries.into_iter().map(|delivery| delivery.with_copies(8)).collect()
    }

    /// Forged, replayed too late, or meant for another URL: nothing of it may become an event.
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

    /// Alerts that somebody made up who knows the URL: nothing of it may come on the bus but what Rightfoot shows.
    pub(super) fn fabricated_alerts(&self) -> Vec<PlannedDelivery> {
        let fabricated = |n: usize, shown: &[(&str, &str)]| {
            let alert = threshold_alert(&format!("made-up-{n}"), "u", 2);
            let balances =
                shown.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned()));
            self.rightfoot_delivery(alert, ExpectedOutcome::Enqueued).with_batch_balances(balances.collect())
        };
        vec![
            fabricated(0, &[("user-0", "99.99"), ("user-1", "-150.50")]),
            fabricated(1, &[("user-0", "null"), ("user-1", "?")]),
            fabricated(2, &[("somebody", "5000.00")]),
            fabricated(3, &[("user-0", "99.99"), ("user-1", "100.00")]),
        ]
    }

    /// Signed with a key that was accepted once.
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

    /// Proven, and not an event: all of it is kept.
    pub(super) fn unprocessable(&self, phase: &str) -> Vec<PlannedDelivery> {
        let quarantined = |reason, status| ExpectedOutcome::Quarantined { reason, status };
        let validly_signed = || DeliverySender::Fynapse(Signing::Valid);
        let mut deliveries = Vec::new();
        for n in 0..4 {
            let extract = balance_extracted(&format!("{phase}-unusable-{n}"));
            let completion = batch_completed(&format!("{phase}-unusable-{n}"), "u");
            let alert = threshold_alert(&format!("{phase}-unusable-{n}"), "u", 3);
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
            deliveries.push(self.rightfoot_delivery(truncated(&alert), quarantined("unreadable", 400)));
            deliveries.push(
                self.rightfoot_delivery(
                    without_field(&completion, "batch_id"),
                    quarantined("unreadable", 400),
                ),
            );
            let unknown = unknown_type(&format!("{phase}-{n}"), 20_000 * (n % 2));
            deliveries.push(self.rightfoot_delivery(unknown, quarantined("unknown_type", 200)));
        }
        let over_long = balance_extracted(&format!("{phase}-{}", "i".repeat(600)));
        deliveries.push(PlannedDelivery::new(over_long, validly_signed(), quarantined("unusable_id", 200)));
        deliveries
    }

    /// Large, and with what SQS does not take in a message.
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
            validly_signed(fynapse_event("medium", "balance.extracted", &payload(20_000))).with_copies(2),
            validly_signed(fynapse_event("by-reference", "balance.extracted", &payload(300_000))),
            validly_signed(fynapse_event("not-for-sqs", "balance.extracted", "\"\u{ffff}\u{fffe}\"")),
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

/// Balances of so many authorizers, and some checks that failed.
fn sample_balances(authorizers: usize) -> Vec<(String, String)> {
    let balance = |n: usize| match n % 5 {
        4 => "null".to_owned(),
        _ => format!("{}.{:02}", 10 * n, n % 100),
    };
    (0..authorizers).map(|n| (format!("user-{n}"), balance(n))).collect()
}

/// Balances of so many authorizers, each as a [`threshold_alert`] tells it.
fn balances_in_alert(authorizers: usize) -> Vec<(String, String)> {
    (0..authorizers).map(|n| (format!("user-{n}"), balance_in_alert(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_have_the_sizes_that_they_are_there_for() {
        let traffic = Traffic {
            rightfoot_url: String::new(),
            forged_urls: Vec::new(),
            untrusted_key: Keys::default(),
            seed: 1,
        };
        let sizes: Vec<_> = traffic.large().iter().map(|part| part.outgoing.body.len() / 1_000).collect();
        assert_eq!(sizes, [702, 3_000, 20, 300, 0, 0]);
    }
}
