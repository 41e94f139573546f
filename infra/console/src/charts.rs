//! Charts of the last hour: one bar for each minute, drawn as SVG.

use inbox_core::limits::ID_PREFIX_ENTRIES;
use inbox_core::time::UnixMillis;

/// Bars of a chart.
const MINUTES: usize = 60;
/// Height of a chart, in its own units.
const HEIGHT: u64 = 50;

/// A chart of things per minute.
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
    /// Counts the times of the last hour by minute.
    pub(crate) fn of_last_hour(title: &'static str, times: &[UnixMillis], now: UnixMillis) -> Self {
        let mut minutes = [0_u64; MINUTES];
        for at in times {
            let age_minutes = usize::try_from(now.since(*at).as_secs() / 60).unwrap_or(MINUTES);
            if let Some(minute) = MINUTES.checked_sub(age_minutes + 1).and_then(|it| minutes.get_mut(it)) {
                *minute += 1;
            }
        }
        let (total, most) = (minutes.iter().sum::<u64>(), minutes.iter().copied().max().unwrap_or(0));
        // The index was read only up to a limit, and all of it was within the hour.
        let plus = if total >= ID_PREFIX_ENTRIES as u64 { " or more" } else { "" };
        let summary = if total == 0 {
            "none in the last hour".to_owned()
        } else {
            format!("{total}{plus} in the last hour, at most {most} in a minute")
        };
        let bar = |(x, count): (usize, &u64)| {
            // A single one among many stays visible.
            let height = (count * HEIGHT).checked_div(most).unwrap_or(0).max(u64::from(*count > 0));
            Bar { x, y: HEIGHT - height, height }
        };
        let bars = minutes.iter().enumerate().filter(|(_, count)| **count > 0).map(bar).collect();
        Self { title, summary, bars }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_bar_for_each_minute_with_something() {
        let now = UnixMillis(10 * 3_600_000);
        let ago = |secs: i64| UnixMillis(now.0 - secs * 1_000);
        let chart = Chart::of_last_hour("x", &[ago(0), ago(59), ago(60), ago(3_599), ago(3_600)], now);
        assert_eq!(chart.summary, "4 in the last hour, at most 2 in a minute");
        let bar = |x, height| Bar { x, y: 50 - height, height };
        assert_eq!(chart.bars, [bar(0, 25), bar(58, 25), bar(59, 50)]);
        let empty = Chart::of_last_hour("x", &[], now);
        assert_eq!((empty.summary.as_str(), empty.bars.len()), ("none in the last hour", 0));
    }
}
