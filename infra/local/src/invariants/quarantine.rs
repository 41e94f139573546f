//! The deliveries that must be in quarantine, and those that are.

use std::collections::BTreeMap;

use inbox_core::delivery::Provider;

use super::observed::{ExpectedOutcome, Observed, SentDelivery};
use crate::inspect::QuarantineSnapshot;

/// Quarantine reason of an event whose alerts Rightfoot's API does not confirm.
const UNCONFIRMED_REASON: &str = "unconfirmed";

impl Observed {
    /// Filters the unprocessable deliveries by the expected reason and the one for which their bytes are in quarantine.
    pub(super) fn unprocessable_where(&self, is_wrong: impl Fn(&str, Option<&str>) -> bool) -> Vec<String> {
        // By the bytes: an item in quarantine has an event id only if the event was recorded first.
        let key = |it: &QuarantineSnapshot| Some((it.provider.clone(), it.payload.clone()?));
        let reasons: BTreeMap<_, &str> =
            self.inbox.quarantined.iter().filter_map(|it| Some((key(it)?, it.reason.as_str()))).collect();
        self.deliveries_where(|it| match it.expected {
            ExpectedOutcome::Quarantined { reason, .. } => {
                let key = (it.provider.as_str().to_owned(), it.body.to_vec());
                is_wrong(reason, reasons.get(&key).copied())
            }
            ExpectedOutcome::Enqueued | ExpectedOutcome::Rejected => false,
        })
    }

    pub(super) fn unexpected_in_quarantine(&self) -> Vec<String> {
        let is_expected = |it: &&QuarantineSnapshot| self.deliveries.iter().any(|sent| sent.may_be(it));
        let unexpected = self.inbox.quarantined.iter().filter(|it| !is_expected(it));
        unexpected.map(|it| format!("{} ({})", it.provider, it.reason)).collect()
    }

    /// Returns `true` if an event is in quarantine because Rightfoot does not confirm its alerts.
    pub(super) fn is_quarantined_as_unconfirmed(&self, event_id: &str) -> bool {
        let mut quarantined = self.inbox.quarantined.iter();
        quarantined.any(|it| it.event_id.as_deref() == Some(event_id) && it.reason == UNCONFIRMED_REASON)
    }
}

impl SentDelivery {
    /// Returns `true` if this delivery may be the one in quarantine.
    fn may_be(&self, quarantined: &QuarantineSnapshot) -> bool {
        let is_same_payload = quarantined.provider == self.provider.as_str()
            && quarantined.payload.as_deref() == Some(self.body.as_ref());
        // On a slow machine, an attempt may arrive after the tolerance: it is quarantined as stale, rejected, and
        // delivered again.
        let was_stale = quarantined.reason == "stale"
            && self.provider == Provider::Fynapse
            && self.attempts().any(|attempt| attempt.response.status() == Some(403));
        // An unconfirmed alert is enqueued first, and quarantined under its event id.
        let is_its_event = quarantined.event_id.as_ref() == Some(&self.id);
        let is_expected = matches!(self.expected, ExpectedOutcome::Quarantined { .. });
        is_same_payload && (is_expected || is_its_event || was_stale)
    }
}
