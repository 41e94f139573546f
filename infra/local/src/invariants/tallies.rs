//! Counts of what must exist at the end of a run, and of what does.

use std::collections::BTreeSet;

use inbox_core::delivery::Provider;
use inbox_core::event::payload_hash;

use super::comparison::Comparison;
use super::observed::{ExpectedOutcome, Observed};

/// Counts of one kind of thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number that must exist.
    pub owed: usize,
    /// Number of these that do.
    pub there: usize,
    /// Copies beyond the first of each.
    pub repeated: usize,
}

impl<E, A> Comparison<E, A> {
    fn tally(&self) -> Tally {
        let count = |is_counted: &dyn Fn(Option<&E>, &[A]) -> bool| self.names_where(is_counted).len();
        Tally {
            owed: count(&|expected, _| expected.is_some()),
            there: count(&|expected, actual| expected.is_some() && !actual.is_empty()),
            repeated: self.copies() - count(&|_, actual| !actual.is_empty()),
        }
    }
}

impl Observed {
    /// Records of events.
    pub fn record_tally(&self) -> Tally {
        self.compared_records().tally()
    }

    /// Events on the queue, and repeated messages.
    pub fn queue_tally(&self) -> Tally {
        self.compared_messages().tally()
    }

    /// Completions of submitted batches and of runs. A second event of the same batch is a repeat.
    pub fn completion_tally(&self) -> Tally {
        self.compared_completions().tally()
    }

    /// Alerts of submitted batches and of runs. A second event with the same alert is a repeat.
    pub fn alert_tally(&self) -> Tally {
        self.compared_alerts().tally()
    }

    /// Events on the bus.
    pub fn bus_tally(&self) -> Tally {
        self.compared_effects().tally()
    }

    /// Rows in the table of balances.
    pub fn balance_tally(&self) -> Tally {
        self.compared_balances().tally()
    }

    /// Forged deliveries; there are those that were rejected.
    pub fn forgery_tally(&self) -> Tally {
        let forged = self.deliveries.iter().filter(|it| it.expected == ExpectedOutcome::Rejected);
        tally_where(forged, |it| it.all_end_with(403))
    }

    /// Deliveries of Fynapse; there are those that no response ended for good.
    pub fn fynapse_tally(&self) -> Tally {
        let of_fynapse = self.deliveries.iter().filter(|it| it.provider == Provider::Fynapse);
        tally_where(of_fynapse, |it| !it.has_permanent_failure())
    }

    /// Submitted batches and runs; there are those that are tracked and have ended.
    pub fn tracking_tally(&self) -> Tally {
        let has_ended = |pk: &String| self.inbox.tracked.get(pk) == Some(&false);
        let is_batch = |pk: &String| pk.starts_with("rightfoot#batch#");
        tally_where(self.expected_tracked().filter(is_batch), has_ended)
    }

    /// Unprocessable deliveries and unconfirmed events; there are those in quarantine.
    pub fn quarantine_tally(&self) -> Tally {
        let unconfirmed = self.unconfirmed_events();
        let by_payload = |provider: &str, payload: &[u8]| format!("{provider} {}", payload_hash(payload));
        let unprocessable =
            self.deliveries.iter().filter(|it| matches!(it.expected, ExpectedOutcome::Quarantined { .. }));
        let owed: BTreeSet<_> = unprocessable
            .map(|it| by_payload(it.provider.as_str(), &it.body))
            .chain(unconfirmed.iter().map(|id| (*id).to_owned()))
            .collect();
        let quarantined: BTreeSet<_> = self
            .inbox
            .quarantined
            .iter()
            .filter_map(|it| match &it.event_id {
                Some(id) if unconfirmed.contains(id.as_str()) => Some(id.clone()),
                _ => it.payload.as_deref().map(|payload| by_payload(&it.provider, payload)),
            })
            .collect();
        tally_where(owed.into_iter(), |name| quarantined.contains(name))
    }
}

/// Counts things that cannot be repeated.
fn tally_where<T>(owed: impl Iterator<Item = T>, is_there: impl Fn(&T) -> bool) -> Tally {
    let is_there: Vec<_> = owed.map(|it| is_there(&it)).collect();
    let there = is_there.iter().filter(|it| **it).count();
    Tally { owed: is_there.len(), there, repeated: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::tests::good_run;
    use super::*;

    const fn tally(owed: usize, there: usize, repeated: usize) -> Tally {
        Tally { owed, there, repeated }
    }

    #[test]
    fn a_good_run_has_all_that_is_owed() {
        let run = good_run();
        // An extract, a fabricated alert, four completions, and an alert by webhook and one by poll.
        assert_eq!((run.record_tally(), run.queue_tally()), (tally(8, 8, 0), tally(8, 8, 0)));
        assert_eq!((run.completion_tally(), run.alert_tally()), (tally(4, 4, 0), tally(2, 2, 0)));
        assert_eq!((run.bus_tally(), run.balance_tally()), (tally(7, 7, 0), tally(12, 12, 0)));
        assert_eq!((run.forgery_tally(), run.fynapse_tally()), (tally(1, 1, 0), tally(3, 3, 0)));
        assert_eq!((run.tracking_tally(), run.quarantine_tally()), (tally(4, 4, 0), tally(2, 2, 0)));
    }

    #[test]
    fn what_is_missing_and_what_is_repeated_is_counted() {
        let mut run = good_run();
        run.messages.push(run.messages[0].clone());
        run.messages.push(run.messages[0].clone());
        run.bus_events.push(run.bus_events[0].clone());
        run.balances.pop();
        run.inbox.records.pop_first();
        run.inbox.quarantined.pop();
        run.inbox.tracked.values_mut().for_each(|is_due| *is_due = true);
        assert_eq!((run.record_tally(), run.queue_tally()), (tally(8, 7, 0), tally(8, 8, 2)));
        assert_eq!((run.bus_tally(), run.balance_tally()), (tally(7, 7, 1), tally(12, 11, 0)));
        assert_eq!((run.tracking_tally(), run.quarantine_tally()), (tally(4, 0, 0), tally(2, 1, 0)));
    }
}
