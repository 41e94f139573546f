//! Times, ages and counts as people read them, on the pages and in `inboxctl`.

use std::time::Duration;

use askama::Template;
use inbox_core::time::UnixMillis;

/// A time on a page: its age, and the time in UTC as a tool tip. The script keeps the age right, and can show the time
/// instead.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "time.html")]
pub(crate) struct TimeTag {
    at: UnixMillis,
    now: UnixMillis,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for TimeTag {}

impl TimeTag {
    pub(crate) fn new(at: UnixMillis, now: UnixMillis) -> Self {
        Self { at, now }
    }

    pub(crate) fn optional(at: Option<UnixMillis>, now: UnixMillis) -> Option<Self> {
        at.map(|at| Self::new(at, now))
    }

    fn utc(&self) -> String {
        self.at.rfc3339()
    }

    fn age(&self) -> String {
        age(self.at, self.now)
    }
}

/// Distance of a time from `now`: `5 min ago` or `in 65 s`.
pub fn age(at: UnixMillis, now: UnixMillis) -> String {
    if at > now {
        format!("in {}", duration(at.since(now)))
    } else {
        format!("{} ago", duration(now.since(at)))
    }
}

/// A time and its age; `?` if it is not known.
pub fn with_age(at: Option<UnixMillis>, now: UnixMillis) -> String {
    at.map_or_else(|| "?".to_owned(), |at| format!("{} ({})", at.rfc3339(), age(at, now)))
}

/// A span in the largest unit of which it has two or more.
pub fn duration(span: Duration) -> String {
    match span.as_secs() {
        secs @ ..120 => format!("{secs} s"),
        secs @ ..7_200 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// A span between two steps of a timeline, in milliseconds below ten seconds.
pub(crate) fn step_duration(span: Duration) -> String {
    match span.as_millis() {
        millis @ ..1_000 => format!("{millis} ms"),
        millis @ ..10_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => duration(span),
    }
}

/// The time of day in UTC.
pub(crate) fn time_of_day(at: UnixMillis) -> String {
    at.rfc3339().get(11..19).unwrap_or_default().to_owned()
}

/// A count with its noun, singular for 1.
pub fn pluralize(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// A size for people.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => pluralize(bytes as u64, "byte", "bytes"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_by_its_age_and_named_in_utc() {
        let now = UnixMillis(1_767_323_045_000);
        let tag = TimeTag::new(UnixMillis(now.0 - 180_000), now).render().unwrap();
        assert_eq!(
            tag,
            "<time datetime=\"2026-01-02T03:01:05.000Z\" title=\"2026-01-02T03:01:05.000Z\">3 min ago</time>"
        );
        let ages = [5, 119, 180, 7_200, 200_000, -65].map(|secs| age(UnixMillis(now.0 - secs * 1_000), now));
        assert_eq!(ages, ["5 s ago", "119 s ago", "3 min ago", "2 h ago", "2 days ago", "in 65 s"]);
        assert_eq!(with_age(Some(now), now), "2026-01-02T03:04:05.000Z (0 s ago)");
        assert_eq!(time_of_day(now), "03:04:05");
    }

    #[test]
    fn one_is_singular() {
        let pluralized = |count: u64| pluralize(count, "authorizer", "authorizers");
        assert_eq!([0, 1, 2].map(pluralized), ["0 authorizers", "1 authorizer", "2 authorizers"]);
    }

    #[test]
    fn short_spans_have_milliseconds() {
        let of = |millis| step_duration(Duration::from_millis(millis));
        assert_eq!([of(0), of(999), of(1_250), of(10_000)], ["0 ms", "999 ms", "1.2 s", "10 s"]);
        assert_eq!([size(1), size(4_096), size(2_097_152)], ["1 byte", "4 KiB", "2 MiB"]);
    }
}
