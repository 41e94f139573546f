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

use crate::terminal;

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

/// Aligned columns under their headers, as wide as the terminal if they can be; only `if_empty` if there are no rows.
pub(crate) fn render_table<const N: usize>(
    headers: [&str; N],
    rows: Vec<[String; N]>,
    if_empty: &str,
) -> String {
    if rows.is_empty() {
        return format!("{if_empty}\n");
    }
    fit_table(headers, rows, terminal::stdout_width())
}

/// Aligned columns under their headers. If they do not fit the width, they move together; if that is not enough, the widest one that
/// has blanks is wrapped.
fn fit_table<const N: usize>(headers: [&str; N], rows: Vec<[String; N]>, width: Option<usize>) -> String {
    let mut table = aligned_rows(rows.clone());
    table.set_header(headers);
    let Some(width) = width.filter(|width| text_width(&table.trim_fmt()) > *width) else {
        return format!("{}\n", table.trim_fmt());
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    let excess = text_width(&table.trim_fmt()).saturating_sub(width);
    let cell_width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max();
    let has_blanks =
        |column: &usize| rows.iter().any(|row| row.get(*column).is_some_and(|cell| cell.contains(' ')));
    let widest = (0..N).filter(has_blanks).max_by_key(|column| cell_width(*column));
    let rest = widest.and_then(cell_width).map_or(0, |own| own.saturating_sub(excess));
    // A column of a few letters would be harder to read than lines that the terminal wraps.
    if let Some(widest) = widest.filter(|_| excess > 0 && rest >= WRAPPED_WIDTH_MIN) {
        wrap_column(&mut table, widest, width.saturating_add(1));
    }
    format!("{}\n", table.trim_fmt())
}

/// Aligned columns under their headers, and under each row a text of its own, indented and wrapped at this width; only `if_empty`
/// without rows.
pub(crate) fn render_table_with_texts<const N: usize>(
    headers: [&str; N],
    rows: Vec<([String; N], String)>,
    if_empty: &str,
    width: usize,
) -> String {
    const INDENT: &str = "    ";
    if rows.is_empty() {
        return format!("{if_empty}\n");
    }
    let (rows, texts): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let table = fit_table(headers, rows, None);
    let mut lines = table.lines();
    let mut text = format!("{}\n", lines.next().unwrap_or_default());
    for (row, own_text) in lines.zip(texts) {
        let wrapped = render_wrapped_rows(vec![[own_text]], width.saturating_sub(INDENT.len()));
        let indented = wrapped.lines().map(|line| format!("{INDENT}{line}\n"));
        text += &format!("{row}\n{}", indented.collect::<String>());
    }
    text
}

/// Least width of a column that is wrapped.
const WRAPPED_WIDTH_MIN: usize = 12;

fn text_width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
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
    wrap_column(&mut table, N.saturating_sub(1), width.saturating_add(2));
    table
}

/// Wraps one column of a table at this width, in which the padding after the last column counts, although it is cut off later.
fn wrap_column(table: &mut Table, wrapped: usize, width: usize) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    for (_, column) in table.column_iter_mut().enumerate().filter(|(at, _)| *at != wrapped) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
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
    fn a_table_fits_the_terminal_if_it_can() {
        let row =
            || vec![["a3efc743".to_owned(), "waiting (not_complete)".to_owned(), "11-29 10:29Z".to_owned()]];
        let fit = |width| fit_table(["EVENT", "STATE", "RECEIVED"], row(), width);
        let wide =
            "EVENT     STATE                   RECEIVED\na3efc743  waiting (not_complete)  11-29 10:29Z\n";
        assert_eq!([fit(None), fit(Some(46))], [wide, wide]);
        assert_eq!(
            fit(Some(45)),
            "EVENT    STATE                  RECEIVED\na3efc743 waiting (not_complete) 11-29 10:29Z\n"
        );
        assert_eq!(
            fit(Some(40)),
            "EVENT    STATE          RECEIVED\na3efc743 waiting        11-29 10:29Z\n         (not_complete)\n"
        );
        // What cannot be wrapped well is left to the terminal.
        assert_eq!(fit(Some(20)), fit(Some(45)));
    }

    #[test]
    fn a_text_stands_under_its_row() {
        let row = |id: &str, text: &str| ([id.to_owned(), "x".to_owned()], text.to_owned());
        let rows = vec![row("a-1", "because the job had stopped"), row("b", "a test")];
        assert_eq!(
            render_table_with_texts(["ID", "BY"], rows, "none", 20),
            "ID   BY\na-1  x\n    because the job\n    had stopped\nb    x\n    a test\n"
        );
        assert_eq!(render_table_with_texts(["ID"], vec![], "none", 20), "none\n");
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
