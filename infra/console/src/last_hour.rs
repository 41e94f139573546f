//! Metrics of the last hour, by minute.

use std::fmt;

/// Minutes of a [`LastHour`].
pub const LAST_HOUR_MINUTES: usize = 60;
/// Full minutes of which a rate is the average.
const RATE_MINUTES: usize = 5;

/// Metrics of the last sixty minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHour {
    /// The source of the metrics.
    pub source: MetricSource,
    /// All series. A metric has one for each of its groups.
    pub series: Vec<MetricSeries>,
}

/// The source of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricSource {
    /// CloudWatch. Each request costs, and metrics come a minute or two late.
    CloudWatch,
    /// The local system's own count.
    Local,
}

/// One metric of one group, by minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSeries {
    /// The metric.
    pub metric: OverviewMetric,
    /// The provider or type; empty if the metric has none.
    pub group: String,
    /// The value of each minute, oldest first; the last minute is not over yet. `None` if nothing was reported.
    pub minutes: [Option<u64>; LAST_HOUR_MINUTES],
}

/// A metric of the overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverviewMetric {
    /// Deliveries that arrived, by provider.
    Received,
    /// Deliveries whose event was recorded, by provider.
    Recorded,
    /// Deliveries whose event was recorded before, by provider.
    Duplicate,
    /// Messages that were sent to the queue.
    Enqueued,
    /// Events that the worker processed, by provider.
    Processed,
    /// Events that were published on the bus, by type.
    Published,
    /// Deliveries and events that were put into quarantine.
    Quarantined,
    /// Age of the oldest message on the queue, in seconds.
    OldestMessageSecs,
    /// Age of the oldest dead letter, in seconds.
    OldestDeadLetterSecs,
}

impl LastHour {
    /// The counts of all groups together, by minute.
    pub(crate) fn by_minute(&self, metric: OverviewMetric) -> [u64; LAST_HOUR_MINUTES] {
        let mut sums = [0_u64; LAST_HOUR_MINUTES];
        for series in self.series_of(metric) {
            for (sum, value) in sums.iter_mut().zip(series.minutes) {
                *sum = sum.saturating_add(value.unwrap_or(0));
            }
        }
        sums
    }

    /// The groups with a count in this hour.
    pub(crate) fn by_group(&self, metric: OverviewMetric) -> Vec<(&str, u64)> {
        let named = self.series_of(metric).filter(|series| !series.group.is_empty());
        let counts = named.map(|it| (it.group.as_str(), it.minutes.iter().flatten().sum::<u64>()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// The rate in the last full minutes.
    pub(crate) fn rate(&self, metric: OverviewMetric) -> Rate {
        // The last minute is not over.
        let newest_first = self.by_minute(metric).into_iter().rev();
        Rate { count: newest_first.skip(1).take(RATE_MINUTES).sum() }
    }

    /// The newest value of a metric without groups; `None` if nothing was reported for some minutes.
    pub(crate) fn latest(&self, metric: OverviewMetric) -> Option<u64> {
        let series = self.series_of(metric).next()?;
        series.minutes.iter().rev().take(RATE_MINUTES).find_map(|value| *value)
    }

    fn series_of(&self, metric: OverviewMetric) -> impl Iterator<Item = &MetricSeries> {
        self.series.iter().filter(move |series| series.metric == metric)
    }
}

/// A rate, shown per minute with one decimal if it is low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Count in [`RATE_MINUTES`].
    count: u64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.count.saturating_mul(10) / RATE_MINUTES as u64;
        match (tenths / 10, tenths % 10) {
            (whole, 0) | (whole @ 10.., _) => write!(f, "{whole}"),
            (whole, tenth) => write!(f, "{whole}.{tenth}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metric: OverviewMetric, group: &str, values: &[(usize, u64)]) -> MetricSeries {
        let mut minutes = [None; LAST_HOUR_MINUTES];
        for (minute, value) in values {
            minutes[*minute] = Some(*value);
        }
        MetricSeries { metric, group: group.to_owned(), minutes }
    }

    #[test]
    fn a_rate_is_of_the_last_five_full_minutes_and_of_all_groups() {
        let hour = LastHour {
            source: MetricSource::Local,
            series: vec![
                series(OverviewMetric::Received, "fynapse", &[(53, 1_000), (54, 4), (58, 5), (59, 1_000)]),
                series(OverviewMetric::Received, "rightfoot", &[(58, 3)]),
                series(OverviewMetric::Processed, "fynapse", &[(58, 5)]),
                series(OverviewMetric::OldestMessageSecs, "", &[(50, 9), (56, 7), (57, 0)]),
                series(OverviewMetric::OldestDeadLetterSecs, "", &[(54, 9)]),
            ],
        };
        let rate = |metric| hour.rate(metric).to_string();
        assert_eq!(rate(OverviewMetric::Received), "2.4");
        assert_eq!(
            (rate(OverviewMetric::Processed), rate(OverviewMetric::Published)),
            ("1".into(), "0".into())
        );
        assert_eq!(hour.by_minute(OverviewMetric::Received)[58], 8);
        assert_eq!(hour.by_group(OverviewMetric::Received), [("fynapse", 2_009), ("rightfoot", 3)]);
        assert_eq!(hour.latest(OverviewMetric::OldestMessageSecs), Some(0));
        assert_eq!(hour.latest(OverviewMetric::OldestDeadLetterSecs), None, "too long ago");
        assert_eq!([1, 49, 51, 5_000].map(|count| Rate { count }.to_string()), ["0.2", "9.8", "10", "1000"]);
    }
}
