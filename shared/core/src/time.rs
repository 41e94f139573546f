//! Points in time: milliseconds and seconds are distinct types, so that they cannot be mixed up.

use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSecs(pub i64);

impl UnixMillis {
    /// The second that contains this point (rounded down).
    pub fn secs(self) -> UnixSecs {
        UnixSecs(self.0.div_euclid(1_000))
    }

    /// Adds a span; saturates instead of overflowing.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time elapsed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses RFC 3339 with any offset; `None` for any other text.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().and_then(Self::from_datetime)
    }

    /// Parses a time as a provider's API may write it: RFC 3339, or ISO 8601, whose offset may lack its colon
    /// or be missing (UTC); a blank may replace the `T`. `None` for any other text, and for a date without a
    /// time.
    pub fn from_iso8601(text: &str) -> Option<Self> {
        // RFC 3339 allows a lower-case `t` and `z`, but no blank before the offset.
        let text = text.trim().to_ascii_uppercase().replace(" +", "+").replace(" -", "-");
        let text = match text.strip_suffix(" UTC") {
            // Go writes both the offset and its name.
            Some(at) if at.ends_with("+0000") => at.to_owned(),
            Some(local) => format!("{local}Z"),
            None => text,
        };
        let text = text.replacen(' ', "T", 1);
        let parsed = OffsetDateTime::parse(&text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&text, &Iso8601::PARSING))
            .or_else(|_| {
                PrimitiveDateTime::parse(&text, &Iso8601::PARSING).map(PrimitiveDateTime::assume_utc)
            });
        parsed.ok().and_then(Self::from_datetime)
    }

    fn from_datetime(at: OffsetDateTime) -> Option<Self> {
        i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().map(Self)
    }

    /// Parses `YYYY-MM-DD` as the end of that day in UTC; `None` for any other text.
    pub fn end_of_date(text: &str) -> Option<Self> {
        let midnight = Date::parse(text, DATE).ok()?.midnight().assume_utc();
        Some(Self(midnight.unix_timestamp().saturating_add(86_400).saturating_mul(1_000)))
    }

    /// Subtracts a span; saturates instead of overflowing.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Formats as RFC 3339 in UTC with three decimals, as CloudEvents requires for `time`. A point outside
    /// the years 0000–9999 is formatted as the epoch.
    pub fn rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            // RFC 3339 has years of four digits.
            .filter(|at| (0..=9_999).contains(&at.year()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .format(RFC3339_MILLIS)
            .unwrap_or_default()
    }
}

impl UnixSecs {
    /// The absolute difference in seconds. Never overflows.
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// Adds days; saturates instead of overflowing.
    pub fn plus_days(self, days: u64) -> Self {
        Self(self.0.saturating_add_unsigned(days.saturating_mul(86_400)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_printed_in_utc_with_milliseconds() {
        assert_eq!(UnixMillis(1_767_323_045_123).rfc3339(), "2026-01-02T03:04:05.123Z");
        assert_eq!(UnixMillis(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis(-1).rfc3339(), "1969-12-31T23:59:59.999Z");
        assert_eq!(UnixMillis(i64::MAX).rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn times_are_read_with_any_offset_and_fraction() {
        let at = |text| UnixMillis::from_rfc3339(text).map(|at| at.0);
        assert_eq!(at("2026-01-02T03:04:05Z"), Some(1_767_323_045_000));
        assert_eq!(at("2026-01-02T03:04:05.123456Z"), Some(1_767_323_045_123));
        assert_eq!(at("2026-01-02T05:04:05+02:00"), Some(1_767_323_045_000));
        for wrong in ["", "2026-01-02", "2026-01-02T03:04:05", "yesterday", "2026-13-02T03:04:05Z"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(
            UnixMillis::end_of_date("2026-01-01").map(UnixMillis::rfc3339).as_deref(),
            Some("2026-01-02T00:00:00.000Z")
        );
        assert_eq!(UnixMillis::end_of_date("2026-1-1"), None);
    }

    #[test]
    fn times_of_an_api_are_read_in_every_form_of_one_meaning() {
        let at = |text| UnixMillis::from_iso8601(text).map(|at| at.0);
        for same in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02t03:04:05z",
            "2026-01-02T03:04:05.000000",
            "2026-01-02T03:04:05+0000",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T03:04:05+00",
            "2026-01-02T05:04:05+0200",
            "2026-01-02 03:04:05 +0000",
            "2026-01-02 03:04:05 +0000 UTC",
            "2026-01-01 22:04:05 -0500",
            "2026-01-01T22:04:05-05:00",
            "20260102T030405Z",
            " 2026-01-02T03:04:05Z\n",
        ] {
            assert_eq!(at(same), Some(1_767_323_045_000), "{same}");
        }
        assert_eq!(at("2026-01-02T03:04:05.123456"), Some(1_767_323_045_123));
        assert_eq!(at("2026-01-02T03:04"), Some(1_767_323_040_000));
        for odd in [
            "",
            " ",
            "2026-01-02",
            "03:04:05",
            "1767323045",
            "yesterday",
            "2026-13-02T03:04:05",
            "2026-01-02T25:04:05",
            "2026-01-02T03:04:05+99:00",
            "02.01.2026 03:04:05",
            "01/02/2026 03:04:05",
            "2026-01-02T03:04:05 CET",
        ] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn distances_never_overflow() {
        assert_eq!(UnixSecs(i64::MIN).distance(UnixSecs(i64::MAX)), u64::MAX);
        assert_eq!(UnixMillis(i64::MAX).plus(Duration::MAX), UnixMillis(i64::MAX));
        assert_eq!(UnixMillis(1).since(UnixMillis(2)), Duration::ZERO);
        assert_eq!(UnixMillis(i64::MAX).since(UnixMillis(i64::MIN)), Duration::from_millis(i64::MAX as u64));
    }

    proptest! {
        #[test]
        fn a_time_means_the_same_in_every_form(at in -62_135_596_800_000i64..253_402_300_800_000, text in "\\PC{0,30}") {
            let at = UnixMillis(at);
            let utc = at.rfc3339();
            let local = utc.trim_end_matches('Z');
            for form in [utc.clone(), local.to_owned(), format!("{local}+0000"), local.replace('T', " ")] {
                prop_assert_eq!(UnixMillis::from_iso8601(&form), Some(at), "{}", form);
            }
            let _ = UnixMillis::from_iso8601(&text);
        }
    }
}
