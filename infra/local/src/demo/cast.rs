//! Who appears in the demo: what is sent, by whom and how, and what must come of it.

use std::ops::Range;

use inbox_core::delivery::Provider;
use inbox_core::keys::Keys;

use crate::senders::payload::{
    alerted_balance, balance_extracted, batch_completed, broken, fynapse_event, incompressible,
    threshold_alert, unknown_type, without,
};
use crate::senders::{Outgoing, Patience, Signing};

/// Bytes of the body that no compression makes smaller.
const HUGE_BYTES: usize = 3_000_000;
/// Authorizers in one alert: about 700 kB.
const MANY_AUTHORIZERS: usize = 5_770;
/// Of these, so many are in their batch.
const OF_MANY_SHOWN: usize = 30;
/// Where the time of a stale signature lies, seen from now: well outside of the tolerance, on either side.
const STALE_SECS: [i64; 4] = [-3_600, -600, -86_400, 1_800];

/// Something to be delivered, perhaps several times.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) outgoing: Outgoing,
    pub(super) by: By,
    pub(super) patience: Patience,
    /// Deliveries at the same time.
    pub(super) copies: usize,
    /// Deliveries afterwards, one after the other.
    pub(super) encores: Vec<Outgoing>,
    pub(super) expected: Expected,
    /// What Rightfoot's API shows of its batch: authorizers and their balances. Nothing, if it does not know it.
    known: Vec<(String, String)>,
}

/// Who delivers.
#[derive(Clone, Debug)]
pub(super) enum By {
    Fynapse(Signing),
    Rightfoot { url: String },
}

/// What must come of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// It is an event.
    OnQueue,
    /// It is kept for this reason, and answered with this status.
    Kept { reason: &'static str, status: u16 },
    /// It leaves nothing.
    Refused,
}

impl Part {
    fn new(outgoing: Outgoing, by: By, expected: Expected) -> Self {
        let patience = match expected {
            Expected::OnQueue | Expected::Kept { status: 200, .. } => Patience::ByTheRules,
            Expected::Kept { .. } | Expected::Refused => Patience::UntilDecided,
        };
        Self { outgoing, by, patience, copies: 1, encores: Vec::new(), expected, known: Vec::new() }
    }

    pub(super) fn provider(&self) -> Provider {
        match &self.by {
            By::Fynapse(_) => Provider::Fynapse,
            By::Rightfoot { .. } => Provider::Rightfoot,
        }
    }

    /// Its batch, and what Rightfoot's API shows of it; `None` if that does not know it.
    pub(super) fn batch(&self) -> Option<(&str, &[(String, String)])> {
        let batch_id = self.outgoing.id.split('/').nth(2)?;
        (!self.known.is_empty()).then_some((batch_id, self.known.as_slice()))
    }

    /// The run that its alerts tell of, and of how many authorizers it is.
    pub(super) fn run(&self) -> Option<(&str, usize)> {
        let (batch_id, known) = self.batch().filter(|_| self.outgoing.id.contains("/alert/"))?;
        Some((batch_id, known.len()))
    }

    /// Rightfoot knows its batch, and shows this of it.
    fn shown(self, known: Vec<(String, String)>) -> Self {
        Self { known, ..self }
    }

    pub(super) fn at_once(self, copies: usize) -> Self {
        Self { copies, ..self }
    }

    fn and_again(mut self, encore: Outgoing) -> Self {
        self.encores.push(encore);
        self
    }
}

/// The URLs and the key that parts are played with.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// Where Rightfoot delivers to.
    pub(super) rightfoot_url: String,
    /// Where Rightfoot would deliver to if somebody else had made its URL.
    pub(super) forged_urls: Vec<String>,
    /// A key that nobody accepts.
    pub(super) forgers_key: Keys,
    pub(super) seed: u64,
}

impl Cast {
    /// Fynapse events that must be on the queue.
    pub(super) fn fynapse(&self, act: &str, range: Range<usize>) -> Vec<Part> {
        let part = |n| self.extract(&format!("{act}-{n:02}"));
        range.map(part).collect()
    }

    /// Rightfoot events that must be on the queue: completions and alerts.
    pub(super) fn rightfoot(&self, act: &str, range: Range<usize>) -> Vec<Part> {
        range
            .map(|n| {
                let (batch, uuid) = (format!("{act}-{n:02}"), format!("uuid-{act}-{n:02}"));
                match n % 2 {
                    0 => {
                        self.told(batch_completed(&batch, &uuid), Expected::OnQueue).shown(checked(1 + n * 5))
                    }
                    _ => {
                        let authorizers = 1 + n % 7;
                        let alert = threshold_alert(&batch, &uuid, authorizers);
                        self.told(alert, Expected::OnQueue).shown(alerted(authorizers))
                    }
                }
            })
            .collect()
    }

    /// Both providers' events, a third of which is delivered twice at once.
    pub(super) fn both(&self, act: &str, fynapse: usize, rightfoot: usize) -> Vec<Part> {
        let mut parts = self.fynapse(act, 0..fynapse);
        parts.extend(self.rightfoot(act, 0..rightfoot));
        parts.into_iter().enumerate().map(|(n, part)| part.at_once(if n % 3 == 0 { 2 } else { 1 })).collect()
    }

    /// Events that come again after they were answered.
    pub(super) fn again(&self) -> Vec<Part> {
        let encore = |part: Part| {
            let outgoing = part.outgoing.clone();
            part.and_again(outgoing)
        };
        let mut parts: Vec<_> = self.fynapse("again", 0..20).into_iter().map(encore).collect();
        parts.extend(self.rightfoot("again", 0..10).into_iter().map(encore));
        // A second subscription delivers the same event under a key of its own.
        parts.extend(self.fynapse("other-key", 0..5).into_iter().map(|part| {
            let outgoing = part.outgoing.under_key("another-key");
            part.and_again(outgoing)
        }));
        // A completion may come again with another uuid: it still is the completion of its batch.
        parts.extend((0..5).map(|n| {
            let batch = format!("other-uuid-{n:02}");
            self.told(batch_completed(&batch, "first"), Expected::OnQueue)
                .and_again(batch_completed(&batch, "second"))
                .shown(checked(3))
        }));
        parts
    }

    /// Events of which eight deliveries arrive at the same time.
    pub(super) fn at_once(&self) -> Vec<Part> {
        let mut parts = self.fynapse("at-once", 0..8);
        parts.extend(self.rightfoot("at-once", 0..8));
        parts.into_iter().map(|part| part.at_once(8)).collect()
    }

    /// Forged, replayed too late, or meant for another URL: nothing of it may become an event.
    pub(super) fn forgeries(&self) -> Vec<Part> {
        let forged = |n: usize, signing: Signing| {
            let outgoing = balance_extracted(&format!("forged-{n:02}"));
            Part::new(outgoing, By::Fynapse(signing), Expected::Refused)
        };
        let mut parts = Vec::new();
        for n in 0..8 {
            parts.push(forged(3 * n, Signing::With(self.forgers_key.clone())));
            parts.push(forged(3 * n + 1, Signing::Altered));
            parts.push(forged(3 * n + 2, Signing::Unsigned));
        }
        for (n, shift_secs) in STALE_SECS.into_iter().cycle().take(8).enumerate() {
            let kept = Expected::Kept { reason: "stale", status: 403 };
            let outgoing = balance_extracted(&format!("stale-{n:02}"));
            parts.push(Part::new(outgoing, By::Fynapse(Signing::Shifted(shift_secs)), kept));
        }
        for (n, url) in self.forged_urls.iter().enumerate() {
            for (kind, outgoing) in [
                batch_completed(&format!("forged-{n}"), "u"),
                threshold_alert(&format!("forged-{n}"), "u", 2),
            ]
            .into_iter()
            .enumerate()
            {
                let part = Part::new(outgoing, By::Rightfoot { url: url.clone() }, Expected::Refused);
                parts.push(part.at_once(1 + kind));
            }
        }
        parts
    }

    /// Alerts that somebody made up who knows the URL: nothing of it may come on the bus but what Rightfoot shows.
    pub(super) fn made_up(&self) -> Vec<Part> {
        let told = |n: usize, known: &[(&str, &str)]| {
            let alert = threshold_alert(&format!("made-up-{n}"), "u", 2);
            let known =
                known.iter().map(|(authorizer, balance)| ((*authorizer).to_owned(), (*balance).to_owned()));
            self.told(alert, Expected::OnQueue).shown(known.collect())
        };
        vec![
            told(0, &[("user-0", "99.99"), ("user-1", "-150.50")]),
            told(1, &[("user-0", "null"), ("user-1", "?")]),
            told(2, &[("somebody", "5000.00")]),
            told(3, &[("user-0", "99.99"), ("user-1", "100.00")]),
        ]
    }

    /// Signed with a key that was accepted once.
    pub(super) fn retired(&self, old: &Keys) -> Vec<Part> {
        let part = |n| {
            let outgoing = balance_extracted(&format!("retired-{n:02}"));
            Part::new(outgoing, By::Fynapse(Signing::With(old.clone())), Expected::Refused)
        };
        (0..6).map(part).collect()
    }

    /// Proven, and not an event: all of it is kept.
    pub(super) fn unusable(&self, act: &str) -> Vec<Part> {
        let kept = |reason, status| Expected::Kept { reason, status };
        let honest = || By::Fynapse(Signing::Honest);
        let mut parts = Vec::new();
        for n in 0..4 {
            let extract = balance_extracted(&format!("{act}-unusable-{n}"));
            let completion = batch_completed(&format!("{act}-unusable-{n}"), "u");
            let alert = threshold_alert(&format!("{act}-unusable-{n}"), "u", 3);
            parts.push(Part::new(broken(&extract), honest(), kept("unreadable", 200)));
            parts.push(Part::new(without(&extract, "event_type"), honest(), kept("unreadable", 200)));
            parts.push(self.told(broken(&alert), kept("unreadable", 400)));
            parts.push(self.told(without(&completion, "batch_id"), kept("unreadable", 400)));
            let unknown = unknown_type(&format!("{act}-{n}"), 20_000 * (n % 2));
            parts.push(self.told(unknown, kept("unknown_type", 200)));
        }
        let over_long = balance_extracted(&format!("{act}-{}", "i".repeat(600)));
        parts.push(Part::new(over_long, honest(), kept("unusable_id", 200)));
        parts
    }

    /// Large, and with what SQS does not take in a message.
    pub(super) fn large(&self) -> Vec<Part> {
        let honest = |outgoing| Part::new(outgoing, By::Fynapse(Signing::Honest), Expected::OnQueue);
        let scan = |bytes| incompressible(self.seed, bytes);
        let alert = threshold_alert("large", "u", MANY_AUTHORIZERS);
        vec![
            self.told(alert, Expected::OnQueue).shown(alerted(OF_MANY_SHOWN)),
            honest(fynapse_event("huge", "balance.extracted", &scan(HUGE_BYTES))),
            honest(fynapse_event("medium", "balance.extracted", &scan(20_000))).at_once(2),
            honest(fynapse_event("by-reference", "balance.extracted", &scan(300_000))),
            honest(fynapse_event("not-for-sqs", "balance.extracted", "\"\u{ffff}\u{fffe}\"")),
            honest(fynapse_event("of-another-type", "ledger.closed", "[1.10, 2.00, 1e400]")),
        ]
    }

    fn extract(&self, event_id: &str) -> Part {
        Part::new(balance_extracted(event_id), By::Fynapse(Signing::Honest), Expected::OnQueue)
    }

    fn told(&self, outgoing: Outgoing, expected: Expected) -> Part {
        Part::new(outgoing, By::Rightfoot { url: self.rightfoot_url.clone() }, expected)
    }
}

/// Balances of so many authorizers, and some checks that failed.
fn checked(authorizers: usize) -> Vec<(String, String)> {
    let balance = |n: usize| match n % 5 {
        4 => "null".to_owned(),
        _ => format!("{}.{:02}", 10 * n, n % 100),
    };
    (0..authorizers).map(|n| (format!("user-{n}"), balance(n))).collect()
}

/// Balances of so many authorizers, each as a [`threshold_alert`] tells it.
fn alerted(authorizers: usize) -> Vec<(String, String)> {
    (0..authorizers).map(|n| (format!("user-{n}"), alerted_balance(n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_have_the_sizes_that_they_are_there_for() {
        let cast = Cast {
            rightfoot_url: String::new(),
            forged_urls: Vec::new(),
            forgers_key: Keys::default(),
            seed: 1,
        };
        let sizes: Vec<_> = cast.large().iter().map(|part| part.outgoing.body.len() / 1_000).collect();
        assert_eq!(sizes, [702, 3_000, 20, 300, 0, 0]);
    }
}
