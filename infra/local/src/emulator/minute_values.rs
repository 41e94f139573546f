//! Values of a metric by minute, for the last hour.

use std::collections::BTreeMap;

use inbox_core::time::UnixMillis;

/// Minutes that are kept, the current one included.
const KEPT_MINUTES: i64 = 60;
/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;

/// A minute, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Minute(i64);

impl Minute {
    pub(super) fn of(at: UnixMillis) -> Self {
        Self(at.0.div_euclid(MINUTE_MS))
    }

    /// The first minute that begins at this time or later.
    pub(super) fn from(at: UnixMillis) -> Self {
        let minute = Self::of(at);
        if minute.start() == at { minute } else { minute.next() }
    }

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn start(self) -> UnixMillis {
        UnixMillis(self.0 * MINUTE_MS)
    }

    /// The oldest minute that is kept in this one.
    pub(super) fn oldest_kept(self) -> Self {
        Self(self.0 - KEPT_MINUTES + 1)
    }
}

/// Values of one metric, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct MinuteValues(BTreeMap<Minute, u64>);

impl MinuteValues {
    /// Adds to the value of a minute.
    pub(super) fn add(&mut self, minute: Minute, count: u64) {
        let value = self.at(minute);
        *value = value.saturating_add(count);
    }

    /// Raises the value of a minute to at least this one.
    pub(super) fn raise_to(&mut self, minute: Minute, at_least: u64) {
        let value = self.at(minute);
        *value = at_least.max(*value);
    }

    fn at(&mut self, minute: Minute) -> &mut u64 {
        while self.0.first_key_value().is_some_and(|(oldest, _)| *oldest < minute.oldest_kept()) {
            self.0.pop_first();
        }
        self.0.entry(minute).or_default()
    }

    /// The values from one minute up to, and without, another one.
    pub(super) fn between(&self, start: Minute, end: Minute) -> Vec<(Minute, u64)> {
        let minutes = self.0.iter().filter(|(minute, _)| (start..end).contains(minute));
        minutes.map(|(minute, value)| (*minute, *value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_values_is_kept() {
        let mut values = MinuteValues::default();
        for minute in 100..200 {
            values.add(Minute(minute), 1);
            values.add(Minute(minute), 2);
        }
        values.raise_to(Minute(199), 2);
        let kept = values.between(Minute(0), Minute(1_000));
        assert_eq!((kept.len(), kept[0], kept[59]), (60, (Minute(140), 3), (Minute(199), 3)));
        assert_eq!(values.between(Minute(150), Minute(152)), [(Minute(150), 3), (Minute(151), 3)]);
    }

    #[test]
    fn a_time_is_in_the_minute_that_it_begins() {
        let minute = Minute(7);
        assert_eq!(minute.start(), UnixMillis(420_000));
        assert_eq!([420_000, 479_999].map(|at| Minute::of(UnixMillis(at))), [minute, minute]);
        assert_eq!([420_000, 420_001].map(|at| Minute::from(UnixMillis(at))), [minute, Minute(8)]);
    }
}
