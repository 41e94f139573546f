//! What each write comes to, and what is known afterwards.

use super::{Doing, Found, Mutant, Record, State, Write};

impl State {
    /// Only whether a `rev` is the one that stands matters, and none comes back: so they are counted anew.
    pub(super) fn forget_revs(&mut self) {
        let old = *self;
        let delayed = match old.delayed {
            Some(Write::PutOff { rev } | Write::End { rev, .. }) => rev,
            Some(Write::Record { .. } | Write::GiveBack { .. }) | None => 0,
        };
        let known = [old.pollers[0].rev, old.pollers[1].rev, delayed, old.tracked.rev];
        // So many of those that are known, each once, are not above it.
        let anew = |rev: u8| {
            let is_first = |at: &usize| !known[..*at].contains(&known[*at]);
            let below = (0..known.len()).filter(is_first).filter(|at| known[*at] != 0 && known[*at] <= rev);
            u8::try_from(below.count()).unwrap_or(u8::MAX)
        };
        self.pollers.iter_mut().for_each(|poller| poller.rev = anew(poller.rev));
        self.tracked.rev = anew(old.tracked.rev);
        if let Some(Write::PutOff { rev } | Write::End { rev, .. }) = &mut self.delayed {
            *rev = anew(*rev);
        }
    }

    /// Of whom an event tells.
    pub(super) fn alerted(&self, mutant: Option<Mutant>) -> u8 {
        let counts = |record: &Record| {
            let is_given_up = record.is_given_up() && mutant != Some(Mutant::GivenUpTells);
            *record != Record::None && !is_given_up
        };
        let webhooks = self.webhooks.iter().zip([1, 2]).filter(|(record, _)| counts(record));
        let polled = self.polled.iter().zip(1..).filter(|(record, _)| counts(record));
        webhooks.chain(polled).fold(0, |all, (_, whom)| all | whom)
    }

    /// Whether it is known that the batch is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.tracked.shown || matches!(self.completion, Record::Stands | Record::GivenBack)
    }

    pub(super) fn record(&mut self, found: Found, mutant: Option<Mutant>) -> Option<&mut Record> {
        match found {
            Found::Nothing => None,
            Found::Completion => Some(&mut self.completion),
            Found::Alerts(_) if mutant == Some(Mutant::OneKeyForAlerts) => {
                // The one record has the authorizers of whoever was first.
                let first = self.polled.iter().position(|record| *record != Record::None);
                let Found::Alerts(whom) = found else { return None };
                Some(&mut self.polled[first.unwrap_or(usize::from(whom) - 1)])
            }
            Found::Alerts(whom) => Some(&mut self.polled[usize::from(whom) - 1]),
        }
    }

    /// Whether a write is applied.
    pub(super) fn apply(&mut self, write: Write, mutant: Option<Mutant>) -> bool {
        match write {
            Write::PutOff { rev } => self.tracked.put_off(rev),
            Write::Record { found } => match self.record(found, mutant) {
                Some(record) if *record == Record::None => {
                    *record = Record::Stands;
                    true
                }
                Some(_) | None => false,
            },
            Write::GiveBack { found } => self.record(found, mutant).is_some_and(Record::give_back),
            Write::End { rev, then } => self.tracked.end(rev, then),
        }
    }

    /// After a poller has recorded alerts, or given them back, somebody tells each of them.
    pub(super) fn note_untold(&mut self, write: Write) {
        let (Write::Record { found: Found::Alerts(whom) } | Write::GiveBack { found: Found::Alerts(whom) }) =
            write
        else {
            return;
        };
        let is_at_it =
            self.pollers.iter().any(|it| it.doing == Doing::GiveBack && it.found == Found::Alerts(whom));
        let webhooks = self.webhooks.iter().zip([1, 2]).filter(|(record, _)| record.tells());
        let polled = self.polled.iter().zip(1..).filter(|(record, _)| record.tells());
        let told = webhooks.chain(polled).fold(0, |all, (_, whom)| all | whom);
        self.left_untold |= !is_at_it && whom & !told != 0;
    }
}
