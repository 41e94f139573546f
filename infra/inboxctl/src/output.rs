//! Output of the commands: text for people, JSON for machines.

pub(crate) mod colours;
pub(crate) mod poll_problem;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use inbox_aws::escape;
use inbox_console::time_text;
use inbox_core::time::UnixMillis;
use serde::{Serialize, Serializer};

pub(crate) use inbox_aws::escape::line;
pub(crate) use inbox_console::time_text::{duration as format_duration, pluralize};

/// Result of a command that can be printed.
pub(crate) trait Render: Serialize {
    /// Renders it for people; `now` is for ages.
    fn to_text(&self, now: UnixMillis) -> String;

    /// Adds colours to the text, which is escaped by now. They are dropped where they are not shown.
    fn paint(&self, text: &str) -> String {
        colours::paint_states(text)
    }

    /// Returns `false` if the command has to fail with exit code 1.
    fn is_success(&self) -> bool {
        true
    }

    /// Exit code of the process.
    fn exit_code(&self) -> u8 {
        u8::from(!self.is_success())
    }
}

/// Printed text and exit code of a command.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) exit_code: u8,
}

impl Rendered {
    pub(crate) fn new(result: &impl Render, is_json: bool, now: UnixMillis) -> anyhow::Result<Self> {
        let text = if is_json {
            escape::json(&serde_json::to_string_pretty(result)?)
        } else {
            result.paint(&escape::text(&result.to_text(now)))
        };
        Ok(Self { text: format!("{}\n", text.trim_end()), exit_code: result.exit_code() })
    }
}

/// A time; RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) UnixMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl Timestamp {
    /// The time to the second, in UTC: `2026-01-02 03:04:05Z`.
    pub(crate) fn to_text(self) -> String {
        let text = self.0.rfc3339();
        text.get(..19).map_or(text.clone(), |secs| format!("{}Z", secs.replace('T', " ")))
    }

    /// The same without the year, if it is not long ago: `01-02 03:04:05Z`.
    pub(crate) fn to_short_text(self, now: UnixMillis) -> String {
        /// Up to this age, month and day mean one day only.
        const YEARLESS_AGE_MAX: Duration = Duration::from_secs(300 * 86_400);
        let text = self.to_text();
        let is_recent = self.0 <= now && now.since(self.0) <= YEARLESS_AGE_MAX;
        text.get(5..).filter(|_| is_recent).map_or(text.clone(), str::to_owned)
    }

    /// The time and its age, for people.
    pub(crate) fn with_age(self, now: UnixMillis) -> String {
        time_text::with_age(Some(self.0), now)
    }

    /// Its distance from `now`, as `5 min ago` or `in 65 s`.
    pub(crate) fn age(self, now: UnixMillis) -> String {
        time_text::age(self.0, now)
    }
}

/// Wraps an optional time.
pub(crate) fn timestamp(time: Option<UnixMillis>) -> Option<Timestamp> {
    time.map(Timestamp)
}

/// Aligned columns under their headers; only `if_empty` if there are no rows.
pub(crate) fn render_table<const N: usize>(
    headers: [&str; N],
    rows: Vec<[String; N]>,
    if_empty: &str,
) -> String {
    if rows.is_empty() {
        return format!("{if_empty}\n");
    }
    let mut table = aligned_rows(rows);
    table.set_header(headers);
    format!("{}\n", table.trim_fmt())
}

/// Aligned columns without headers; empty if there are no rows.
pub(crate) fn render_rows<const N: usize>(rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{}\n", aligned_rows(rows).trim_fmt())
}

fn aligned_rows<const N: usize>(rows: Vec<[String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // A cell may hold text that a sender chose, so control characters are escaped.
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| line(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Aligned columns under their headers, of which the last one is wrapped at this width; only `if_empty` without rows.
pub(crate) fn render_wrapped_table<const N: usize>(
    headers: [&str; N],
    rows: Vec<[String; N]>,
    if_empty: &str,
    width: usize,
) -> String {
    if rows.is_empty() {
        return format!("{if_empty}\n");
    }
    let mut table = wrapped_rows(rows, width);
    table.set_header(headers);
    format!("{}\n", table.trim_fmt())
}

/// Aligned columns without headers, of which the last one is wrapped at this width; empty if there are no rows.
pub(crate) fn render_wrapped_rows<const N: usize>(rows: Vec<[String; N]>, width: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{}\n", wrapped_rows(rows, width).trim_fmt())
}

fn wrapped_rows<const N: usize>(rows: Vec<[String; N]>, width: usize) -> Table {
    let mut table = aligned_rows(rows);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    // The padding after the last column is cut off later.
    table.set_width(u16::try_from(width.saturating_add(2)).unwrap_or(u16::MAX));
    for column in table.column_iter_mut().take(N.saturating_sub(1)) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

/// Lines of name and value, without the fields that have none.
pub(crate) fn render_fields<const N: usize>(fields: [(&str, Option<String>); N]) -> String {
    let row = |(name, value): (&str, Option<String>)| value.map(|value| [name.to_owned(), value]);
    render_rows(fields.into_iter().filter_map(row).collect())
}

/// Bytes of a payload, for `--reveal`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RevealedBytes {
    /// True if `bytes` is base64, because the payload is not UTF-8.
    is_base64: bool,
    bytes: String,
}

impl RevealedBytes {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(bytes) => Self { is_base64: false, bytes },
            Err(error) => {
                let bytes = STANDARD.encode(error.as_bytes());
                Self { is_base64: true, bytes }
            }
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let form = if self.is_base64 { " (base64: not UTF-8)" } else { "" };
        format!("\nBytes{form}:\n{}\n", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_with_its_age() {
        let now = UnixMillis(1_767_323_045_000);
        assert_eq!(Timestamp(now).with_age(now), "2026-01-02T03:04:05.000Z (0 s ago)");
        let short_text = |days: i64| Timestamp(UnixMillis(now.0 - days * 86_400_000)).to_short_text(now);
        assert_eq!(
            [0, 300, 301, -1].map(short_text),
            ["01-02 03:04:05Z", "03-08 03:04:05Z", "2025-03-07 03:04:05Z", "2026-01-03 03:04:05Z"]
        );
    }

    #[test]
    fn columns_are_aligned_and_end_without_blanks() {
        let rows = vec![["a".to_owned(), "long one".to_owned()], ["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(render_table(["ID", "WHAT"], rows, "none"), "ID   WHAT\na    long one\nbcd  x\n");
        assert_eq!(render_table(["ID"], vec![], "nothing"), "nothing\n");
    }

    #[test]
    fn a_long_last_column_is_wrapped_under_itself() {
        let rows = vec![["FAIL".to_owned(), "relay".to_owned(), "it does not run, or fails".to_owned()]];
        let table = render_wrapped_table(["A", "B", "WHAT"], rows.clone(), "none", 30);
        assert_eq!(table, "A     B      WHAT\nFAIL  relay  it does not run,\n             or fails\n");
        assert_eq!(render_wrapped_rows(rows, 30), "FAIL  relay  it does not run,\n             or fails\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        assert_eq!(RevealedBytes::of(b"a\n".to_vec()).to_text(), "\nBytes:\na\n\n");
        assert_eq!(RevealedBytes::of(vec![0xff]).to_text(), "\nBytes (base64: not UTF-8):\n/w==\n");
    }
}
