//! The alerts of one event on their way to the bus: which of them are confirmed, and how the event ends.

use std::collections::BTreeMap;

use super::alert::{ReportedAlert, ThresholdCrossing};
use super::{EffectOutcome, Publication, RequeueDetails};
use crate::id::Id;
use crate::quarantine::QuarantineReason;
use crate::rightfoot_api::Balance;
use crate::thresholds::Thresholds;

/// The alerts of one event that are not confirmed yet.
#[derive(Debug)]
pub struct PendingAlerts {
    by_authorizer: BTreeMap<Id, Vec<ReportedAlert>>,
    /// Number of alerts without a readable authorizer.
    unreadable: usize,
}

/// Counts of the confirmed alerts that could not be published.
#[derive(Clone, Debug, Default)]
pub struct UnpublishedAlerts {
    /// Claimed by another event.
    pub held_by_other: usize,
    /// The bus failed, or its answer was lost.
    pub failed: usize,
    /// Rejected by the bus for their content.
    pub undeliverable: usize,
    /// Published so often that no further replay can be remembered.
    pub replay_limit_reached: usize,
}

impl PendingAlerts {
    /// Creates the pending alerts of an event: those that could be read, and the number of the others.
    pub fn new(reported: Vec<ReportedAlert>, unreadable: usize) -> Self {
        let mut by_authorizer = BTreeMap::<Id, Vec<ReportedAlert>>::new();
        // An event may name an authorizer several times; one confirmed alert is enough.
        for alert in reported {
            by_authorizer.entry(alert.authorizer.clone()).or_default().push(alert);
        }
        Self { by_authorizer, unreadable }
    }

    /// Returns `true` while a further balance may confirm an alert.
    pub fn has_pending(&self) -> bool {
        !self.by_authorizer.is_empty()
    }

    /// Removes and returns the alert that a row of the API confirms; see [`ReportedAlert::confirmed_by`].
    pub fn take_confirmed(
        &mut self,
        row: &Balance,
        thresholds: Option<&Thresholds>,
    ) -> Option<ThresholdCrossing> {
        let alerts = self.by_authorizer.get(&row.authorizer)?;
        let crossing = alerts.iter().find_map(|alert| alert.confirmed_by(row, thresholds))?;
        self.by_authorizer.remove(&row.authorizer);
        Some(crossing)
    }

    /// Removes and returns all alerts that have every field, as the webhook reports them: for a deployment that
    /// does not confirm alerts.
    pub fn take_unverified(&mut self) -> Vec<ThresholdCrossing> {
        let crossings: Vec<_> = self
            .by_authorizer
            .values()
            .filter_map(|alerts| alerts.iter().find_map(ReportedAlert::to_unconfirmed))
            .collect();
        crossings.iter().for_each(|crossing| drop(self.by_authorizer.remove(&crossing.authorizer)));
        crossings
    }

    /// The outcome of the event once no more balances can come: unconfirmed if any alert is pending or unreadable.
    /// `on_bus` is the number of its alerts that are on the bus.
    pub fn final_outcome(&self, on_bus: usize) -> EffectOutcome {
        if self.has_pending() || self.unreadable > 0 {
            EffectOutcome::Quarantine(QuarantineReason::Unconfirmed)
        } else {
            EffectOutcome::Done(Publication {
                count: Some(u64::try_from(on_bus).unwrap_or(u64::MAX)),
                ..Publication::default()
            })
        }
    }
}

impl UnpublishedAlerts {
    /// The outcome of the event because of its unpublished alerts; `None` if there are none.
    pub fn outcome(&self) -> Option<EffectOutcome> {
        // Failures that a retry can resolve come first: a quarantined event is not retried.
        if self.failed > 0 {
            Some(EffectOutcome::Requeue(RequeueDetails::with_reason("bus_failed")))
        } else if self.held_by_other > 0 {
            Some(EffectOutcome::Requeue(RequeueDetails::with_reason("alert_held_by_other")))
        } else if self.undeliverable > 0 {
            Some(EffectOutcome::Quarantine(QuarantineReason::BusRefused))
        } else if self.replay_limit_reached > 0 {
            Some(EffectOutcome::Quarantine(QuarantineReason::ReplayLimit))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNCONFIRMED: EffectOutcome = EffectOutcome::Quarantine(QuarantineReason::Unconfirmed);

    fn done(count: u64) -> EffectOutcome {
        EffectOutcome::Done(Publication { count: Some(count), is_of_untracked_batch: false })
    }

    fn reported(authorizer: &str, balance: Option<&str>, threshold: &str) -> ReportedAlert {
        ReportedAlert {
            authorizer: Id::new(authorizer).unwrap(),
            institution: None,
            balance: balance.map(|text| text.parse().unwrap()),
            threshold: Some(threshold.parse().unwrap()),
        }
    }

    fn row(authorizer: &str, amount: &str) -> Balance {
        Balance {
            authorizer: Id::new(authorizer).unwrap(),
            amount: Some(amount.parse().unwrap()),
            status_code: 0,
            checked_at: None,
        }
    }

    #[test]
    fn p5_an_event_is_done_when_each_authorizer_has_one_confirmed_alert() {
        let twice = vec![
            reported("a", Some("1"), "500"),
            reported("a", Some("1"), "100"),
            reported("b", None, "100"),
        ];
        let mut pending = PendingAlerts::new(twice, 0);
        let mut take = |authorizer, amount| {
            let crossing = pending.take_confirmed(&row(authorizer, amount), None);
            (crossing.map(|crossing| crossing.threshold.to_string()), pending.final_outcome(2))
        };
        assert_eq!(take("a", "99"), (None, UNCONFIRMED), "below both thresholds");
        assert_eq!(take("c", "1000"), (None, UNCONFIRMED), "not reported");
        assert_eq!(take("a", "150"), (Some("100".to_owned()), UNCONFIRMED), "one of its two alerts");
        assert_eq!(take("a", "1000"), (None, UNCONFIRMED), "confirmed before");
        assert_eq!(take("b", "100"), (Some("100".to_owned()), done(2)));
        assert!(!pending.has_pending());
    }

    #[test]
    fn an_unreadable_alert_leaves_the_event_unconfirmed() {
        let mut pending = PendingAlerts::new(vec![reported("a", None, "100")], 1);
        assert!(pending.take_confirmed(&row("a", "100"), None).is_some());
        assert!(!pending.has_pending(), "no balance can confirm it");
        assert_eq!(pending.final_outcome(1), UNCONFIRMED);
        assert_eq!(PendingAlerts::new(Vec::new(), 0).final_outcome(0), done(0), "an empty list");
    }

    #[test]
    fn unverified_alerts_need_a_balance() {
        let alerts = vec![reported("a", Some("150.00"), "100"), reported("b", None, "100")];
        let mut pending = PendingAlerts::new(alerts, 0);
        let taken: Vec<_> =
            pending.take_unverified().into_iter().map(|it| (it.authorizer, it.balance.to_string())).collect();
        assert_eq!(taken, [(Id::new("a").unwrap(), "150.00".to_owned())]);
        assert_eq!(pending.final_outcome(1), UNCONFIRMED, "one is left");
    }

    #[test]
    fn an_event_is_quarantined_only_if_no_retry_can_help() {
        let outcome = |[failed, held_by_other, undeliverable, replay_limit_reached]: [usize; 4]| {
            UnpublishedAlerts { held_by_other, failed, undeliverable, replay_limit_reached }.outcome()
        };
        let requeue = |reason| Some(EffectOutcome::Requeue(RequeueDetails::with_reason(reason)));
        assert_eq!(outcome([0, 0, 0, 0]), None);
        assert_eq!(outcome([1, 1, 1, 1]), requeue("bus_failed"));
        assert_eq!(outcome([0, 1, 1, 1]), requeue("alert_held_by_other"));
        assert_eq!(outcome([0, 0, 1, 1]), Some(EffectOutcome::Quarantine(QuarantineReason::BusRefused)));
        assert_eq!(outcome([0, 0, 0, 1]), Some(EffectOutcome::Quarantine(QuarantineReason::ReplayLimit)));
    }
}
