//! Effects of the writes on the whole state, and what the state then implies.

use super::{ModelFinding, PollModelState, PollMutant, PollWrite, PollerPhase, RecordState};

impl PollModelState {
    /// Renumbers all revisions: only equality with the current `rev` matters, and none comes back.
    pub(super) fn normalize_revs(&mut self) {
        let old = *self;
        let delayed = match old.delayed {
            Some(PollWrite::Defer { rev } | PollWrite::UpdateBatch { rev, .. }) => rev,
            Some(PollWrite::RecordEvent { .. } | PollWrite::RequeueQuarantined { .. }) | None => 0,
        };
        let known = [old.pollers[0].rev, old.pollers[1].rev, delayed, old.tracked.rev];
        // The new number is the count of distinct known revisions up to this one.
        let anew = |rev: u8| {
            let is_first = |at: &usize| !known[..*at].contains(&known[*at]);
            let below = (0..known.len()).filter(is_first).filter(|at| known[*at] != 0 && known[*at] <= rev);
            u8::try_from(below.count()).unwrap_or(u8::MAX)
        };
        self.pollers.iter_mut().for_each(|poller| poller.rev = anew(poller.rev));
        self.tracked.rev = anew(old.tracked.rev);
        if let Some(PollWrite::Defer { rev } | PollWrite::UpdateBatch { rev, .. }) = &mut self.delayed {
            *rev = anew(*rev);
        }
    }

    /// Authorizers that events cover, as bits.
    pub(super) fn covered_authorizers(&self, mutant: Option<PollMutant>) -> u8 {
        let counts = |record: &RecordState| {
            let is_given_up = record.is_quarantined() && mutant != Some(PollMutant::QuarantinedCoversAlerts);
            *record != RecordState::None && !is_given_up
        };
        let webhooks = self.webhooks.iter().zip([1, 2]).filter(|(record, _)| counts(record));
        let polled = self.polled.iter().zip(1..).filter(|(record, _)| counts(record));
        webhooks.chain(polled).fold(0, |all, (_, authorizers)| all | authorizers)
    }

    /// Returns `true` if the batch is known to be complete.
    pub(super) fn is_complete(&self) -> bool {
        self.tracked.shown_complete || matches!(self.completion, RecordState::Active | RecordState::Requeued)
    }

    pub(super) fn record(
        &mut self,
        found: ModelFinding,
        mutant: Option<PollMutant>,
    ) -> Option<&mut RecordState> {
        match found {
            ModelFinding::Nothing => None,
            ModelFinding::Completion => Some(&mut self.completion),
            ModelFinding::Alerts(_) if mutant == Some(PollMutant::OneKeyForAlerts) => {
                // The single record has the authorizers of the first finding.
                let first = self.polled.iter().position(|record| *record != RecordState::None);
                let ModelFinding::Alerts(authorizers) = found else { return None };
                Some(&mut self.polled[first.unwrap_or(usize::from(authorizers) - 1)])
            }
            ModelFinding::Alerts(authorizers) => Some(&mut self.polled[usize::from(authorizers) - 1]),
        }
    }

    /// Applies a write; returns `true` if its condition held.
    pub(super) fn apply(&mut self, write: PollWrite, mutant: Option<PollMutant>) -> bool {
        match write {
            PollWrite::Defer { rev } => self.tracked.defer(rev),
            PollWrite::RecordEvent { found } => match self.record(found, mutant) {
                Some(record) if *record == RecordState::None => {
                    *record = RecordState::Active;
                    true
                }
                Some(_) | None => false,
            },
            PollWrite::RequeueQuarantined { found } => {
                self.record(found, mutant).is_some_and(RecordState::requeue_quarantined)
            }
            PollWrite::UpdateBatch { rev, then } => self.tracked.update(rev, then),
        }
    }

    /// After a poller has recorded or requeued alerts, each of them must be covered.
    pub(super) fn check_missed_alerts(&mut self, write: PollWrite) {
        let (PollWrite::RecordEvent { found: ModelFinding::Alerts(authorizers) }
        | PollWrite::RequeueQuarantined { found: ModelFinding::Alerts(authorizers) }) = write
        else {
            return;
        };
        let is_at_it = self.pollers.iter().any(|it| {
            it.phase == PollerPhase::RequeueQuarantined && it.found == ModelFinding::Alerts(authorizers)
        });
        let webhooks = self.webhooks.iter().zip([1, 2]).filter(|(record, _)| record.covers_alerts());
        let polled = self.polled.iter().zip(1..).filter(|(record, _)| record.covers_alerts());
        let covered = webhooks.chain(polled).fold(0, |all, (_, authorizers)| all | authorizers);
        self.missed_alert |= !is_at_it && authorizers & !covered != 0;
    }
}
