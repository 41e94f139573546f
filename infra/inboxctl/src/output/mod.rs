//! How what was found is printed: as text for people, as JSON for machines.

mod timelines;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comfy_table::{ContentArrangement, Table, presets};
use inbox_core::audit::AuditEntry;
use inbox_core::time::UnixMillis;
use serde::{Serialize, Serializer};

pub(crate) use inbox_aws::escape::{json as printable_json, line, text as printable};
pub(crate) use timelines::render_timeline;

/// What a command found.
pub(crate) trait Render: Serialize {
    /// For people.
    fn to_text(&self, now: UnixMillis) -> String;

    /// Whether everything is as it should be: if not, the command fails.
    fn is_success(&self) -> bool {
        true
    }

    /// What the process exits with.
    fn exit_code(&self) -> u8 {
        u8::from(!self.is_success())
    }
}

/// What is printed, and what the process exits with.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    pub(crate) exit_code: u8,
}

impl Rendered {
    pub(crate) fn new(result: &impl Render, is_json: bool, now: UnixMillis) -> anyhow::Result<Self> {
        let text = if is_json {
            inbox_aws::escape::json(&serde_json::to_string_pretty(result)?)
        } else {
            printable(&result.to_text(now))
        };
        Ok(Self { text: format!("{}\n", text.trim_end()), exit_code: result.exit_code() })
    }
}

/// A time: in JSON as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub(crate) UnixMillis);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl Timestamp {
    /// For people: the time, and how long ago that is.
    pub(crate) fn with_age(self, now: UnixMillis) -> String {
        format!("{} ({})", self.0.rfc3339(), self.age(now))
    }

    /// How long ago it is, or how soon.
    pub(crate) fn age(self, now: UnixMillis) -> String {
        if self.0 > now {
            format!("in {}", format_duration(self.0.since(now)))
        } else {
            format!("{} ago", format_duration(now.since(self.0)))
        }
    }
}

/// A time that may be missing.
pub(crate) fn timestamp(time: Option<UnixMillis>) -> Option<Timestamp> {
    time.map(Timestamp)
}

/// A span in its largest unit that is not small.
pub(crate) fn format_duration(span: Duration) -> String {
    match span.as_secs() {
        secs @ ..120 => format!("{secs} s"),
        secs @ ..7_200 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// A number with its noun, in the plural unless it is one.
pub(crate) fn pluralize(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// Aligned columns under their names; nothing but `none` if there are no rows.
pub(crate) fn render_table<const N: usize>(
    headers: [&str; N],
    rows: Vec<[String; N]>,
    if_empty: &str,
) -> String {
    if rows.is_empty() {
        return format!("{if_empty}\n");
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headers);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| line(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// Names and values, one a line; those without a value are left out.
pub(crate) fn render_fields<const N: usize>(fields: [(&str, Option<String>); N]) -> String {
    let width = fields.iter().filter(|it| it.1.is_some()).map(|it| it.0.len()).max().unwrap_or(0);
    let render_field = |(name, value): (&str, Option<String>)| {
        value.map(|value| format!("{name:width$}  {}\n", line(&value)))
    };
    fields.into_iter().filter_map(render_field).collect()
}

/// How a list goes on.
pub(crate) fn next_page_hint(next: Option<&String>) -> String {
    next.map(|token| format!("\nThere is more: --page {token}\n")).unwrap_or_default()
}

/// A place in a list, as the user hands it back.
pub(crate) fn encode_cursor(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(parts.join("\n"))
}

/// Reads it back.
pub(crate) fn decode_cursor<const N: usize>(token: &str) -> anyhow::Result<[String; N]> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Only the last part may hold a line break of its own.
    let parts = text.map(|text| text.splitn(N, '\n').map(str::to_owned).collect::<Vec<_>>());
    parts
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| anyhow::anyhow!("--page: not a token of this list"))
}

/// What an operator did, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AuditLine {
    at: Timestamp,
    by: String,
    did: &'static str,
    why: String,
}

impl From<&AuditEntry> for AuditLine {
    fn from(it: &AuditEntry) -> Self {
        Self {
            at: Timestamp(it.at),
            by: it.operator.clone(),
            did: it.action.as_str(),
            why: it.reason.clone(),
        }
    }
}

impl AuditLine {
    pub(crate) fn from_entries(all: &[AuditEntry]) -> Vec<Self> {
        all.iter().map(Self::from).collect()
    }

    pub(crate) fn to_text(&self, now: UnixMillis) -> String {
        format!("{} {}: {} ({})", self.at.with_age(now), self.by, self.did, self.why)
    }

    /// When it was.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// As a step of a story.
    pub(crate) fn timeline_step(&self) -> (Timestamp, String) {
        (self.at, format!("— {} by {}: {}", self.did, self.by, self.why))
    }
}

/// Bytes that the user asked to see.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RevealedBytes {
    /// Whether they are base64, because they are no text.
    is_base64: bool,
    bytes: String,
}

impl RevealedBytes {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(bytes) => Self { is_base64: false, bytes },
            Err(error) => {
                let bytes = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
                Self { is_base64: true, bytes }
            }
        }
    }

    pub(crate) fn to_text(&self) -> String {
        let form = if self.is_base64 { " (base64, because they are no text)" } else { "" };
        format!("\nBytes{form}:\n{}\n", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_with_its_age() {
        let now = UnixMillis(1_767_323_045_000);
        let age = |secs: i64| Timestamp(UnixMillis(now.0 - secs * 1_000)).age(now);
        assert_eq!(age(5), "5 s ago");
        assert_eq!(age(119), "119 s ago");
        assert_eq!(age(180), "3 min ago");
        assert_eq!(age(7_200), "2 h ago");
        assert_eq!(age(200_000), "2 days ago");
        assert_eq!(age(-65), "in 65 s");
        assert_eq!(Timestamp(now).with_age(now), "2026-01-02T03:04:05.000Z (0 s ago)");
    }

    #[test]
    fn one_is_singular() {
        let pluralized = |count: u64| pluralize(count, "authorizer", "authorizers");
        assert_eq!([0, 1, 2].map(pluralized), ["0 authorizers", "1 authorizer", "2 authorizers"]);
    }

    #[test]
    fn columns_are_aligned_and_end_without_blanks() {
        let rows = vec![["a".to_owned(), "long one".to_owned()], ["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(render_table(["ID", "WHAT"], rows, "none"), "ID   WHAT\na    long one\nbcd  x\n");
        assert_eq!(render_table(["ID"], vec![], "nothing"), "nothing\n");
    }

    #[test]
    fn a_place_in_a_list_can_be_handed_back() {
        let token = encode_cursor(&["pk#1", "sk\n2"]);
        assert_eq!(decode_cursor::<2>(&token).unwrap(), ["pk#1", "sk\n2"]);
        for wrong in ["", "!", "cGsx"] {
            assert!(decode_cursor::<2>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        assert_eq!(RevealedBytes::of(b"a\n".to_vec()).to_text(), "\nBytes:\na\n\n");
        assert_eq!(
            RevealedBytes::of(vec![0xff]).to_text(),
            "\nBytes (base64, because they are no text):\n/w==\n"
        );
    }
}
