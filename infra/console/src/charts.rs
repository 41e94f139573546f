//! Charts of the last hour: one bar for each minute, drawn as SVG.

use std::time::Duration;

use inbox_core::limits::ID_PREFIX_ENTRIES;
use inbox_core::time::UnixMillis;

use crate::last_hour::{LAST_HOUR_MINUTES, LastHour, OverviewMetric};
use crate::time_text::duration;

/// Height of a chart, in its own units.
const HEIGHT: u64 = 50;

/// A chart of a value per minute.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Text of the same: the number in the hour, and the highest of a minute.
    pub(crate) summary: String,
    pub(crate) bars: Vec<Bar>,
}

/// A bar: its place from the left, and its height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) x: usize,
    pub(crate) y: u64,
    pub(crate) height: u64,
}

impl Chart {
    /// A chart of a count, all groups together. The text has each group.
    pub(crate) fn of_counts(title: &'static str, hour: &LastHour, metric: OverviewMetric) -> Self {
        let groups: Vec<_> =
            hour.by_group(metric).into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        let groups = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
        let minutes = hour.by_minute(metric);
        Self { title, summary: summarize_counts(&minutes, &groups), bars: bars(&minutes) }
    }

    /// A chart of an age.
    pub(crate) fn of_ages(title: &'static str, hour: &LastHour, metric: OverviewMetric) -> Self {
        let minutes = hour.by_minute(metric);
        let text = |secs| duration(Duration::from_secs(secs));
        let highest = minutes.iter().copied().max().unwrap_or(0);
        let summary = match (highest, hour.latest(metric)) {
            (0, _) => "none in the last hour".to_owned(),
            (highest, None | Some(0)) => format!("none now, at most {} in the last hour", text(highest)),
            (highest, Some(now)) => format!("{} now, at most {} in the last hour", text(now), text(highest)),
        };
        Self { title, summary, bars: bars(&minutes) }
    }

    /// A chart of the times of the last hour.
    pub(crate) fn of_times(title: &'static str, times: &[UnixMillis], now: UnixMillis) -> Self {
        let mut minutes = [0_u64; LAST_HOUR_MINUTES];
        for at in times {
            let age_minutes = usize::try_from(now.since(*at).as_secs() / 60).unwrap_or(LAST_HOUR_MINUTES);
            let minute = LAST_HOUR_MINUTES.checked_sub(age_minutes + 1);
            if let Some(minute) = minute.and_then(|it| minutes.get_mut(it)) {
                *minute += 1;
            }
        }
        // The index was read only up to a limit, and all of it was within the hour.
        let is_cut = minutes.iter().sum::<u64>() >= ID_PREFIX_ENTRIES as u64;
        let plus = if is_cut { " or more" } else { "" };
        Self { title, summary: summarize_counts(&minutes, plus), bars: bars(&minutes) }
    }
}

/// The number in the hour, with this addition, and the highest of a minute.
fn summarize_counts(minutes: &[u64], addition: &str) -> String {
    let (total, highest) = (minutes.iter().sum::<u64>(), minutes.iter().copied().max().unwrap_or(0));
    if total == 0 {
        return "none in the last hour".to_owned();
    }
    format!("{total}{addition} in the last hour, at most {highest} in a minute")
}

fn bars(minutes: &[u64]) -> Vec<Bar> {
    let highest = minutes.iter().copied().max().unwrap_or(0);
    let bar = |(x, value): (usize, &u64)| {
        // A single one among many stays visible.
        let height =
            value.saturating_mul(HEIGHT).checked_div(highest).unwrap_or(0).max(u64::from(*value > 0));
        Bar { x, y: HEIGHT - height, height }
    };
    minutes.iter().enumerate().filter(|(_, value)| **value > 0).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::last_hour::{MetricSeries, MetricSource};

    const fn bar(x: usize, height: u64) -> Bar {
        Bar { x, y: 50 - height, height }
    }

    #[test]
    fn a_chart_has_a_bar_for_each_minute_with_something() {
        let now = UnixMillis(10 * 3_600_000);
        let ago = |secs: i64| UnixMillis(now.0 - secs * 1_000);
        let chart = Chart::of_times("x", &[ago(0), ago(59), ago(60), ago(3_599), ago(3_600)], now);
        assert_eq!(chart.summary, "4 in the last hour, at most 2 in a minute");
        assert_eq!(chart.bars, [bar(0, 25), bar(58, 25), bar(59, 50)]);
        let empty = Chart::of_times("x", &[], now);
        assert_eq!((empty.summary.as_str(), empty.bars.len()), ("none in the last hour", 0));
    }

    #[test]
    fn counts_are_shown_by_group_and_ages_as_a_span() {
        let series = |metric, group: &str, values: &[(usize, u64)]| {
            let mut minutes = [None; LAST_HOUR_MINUTES];
            values.iter().for_each(|(minute, value)| minutes[*minute] = Some(*value));
            MetricSeries { metric, group: group.to_owned(), minutes }
        };
        let (published, age) = (OverviewMetric::Published, OverviewMetric::OldestMessageSecs);
        let mut hour = LastHour {
            source: MetricSource::Local,
            series: vec![
                series(published, "A", &[(0, 100)]),
                series(published, "B", &[(0, 100), (59, 1)]),
                series(published, "C", &[(0, 0)]),
                series(age, "", &[(10, 600), (59, 30)]),
            ],
        };
        let chart = Chart::of_counts("x", &hour, published);
        assert_eq!(chart.summary, "201 (A 100, B 101) in the last hour, at most 200 in a minute");
        assert_eq!(chart.bars, [bar(0, 50), bar(59, 1)]);
        let chart = Chart::of_ages("x", &hour, age);
        assert_eq!(chart.summary, "30 s now, at most 10 min in the last hour");
        assert_eq!(chart.bars, [bar(10, 50), bar(59, 2)]);
        hour.series[3].minutes[59] = Some(0);
        assert_eq!(Chart::of_ages("x", &hour, age).summary, "none now, at most 10 min in the last hour");
        hour.series.pop();
        assert_eq!(Chart::of_ages("x", &hour, age).summary, "none in the last hour");
    }
}
