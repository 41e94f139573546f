//! How what was found is printed: as text for people, as JSON for machines.

mod stories;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use comfy_table::{ContentArrangement, Table, presets};
use inbox_core::audit::AuditEntry;
use inbox_core::time::UnixMillis;
use serde::{Serialize, Serializer};

pub(crate) use inbox_aws::escape::{json as printable_json, line, text as printable};
pub(crate) use stories::story;

/// What a command found.
pub(crate) trait Found: Serialize {
    /// For people.
    fn text(&self, now: UnixMillis) -> String;

    /// Whether everything is as it should be: if not, the command fails.
    fn is_fine(&self) -> bool {
        true
    }

    /// What the process exits with.
    fn exit_code(&self) -> u8 {
        u8::from(!self.is_fine())
    }
}

/// What is printed, and what the process exits with.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) text: String,
    pub(crate) exit_code: u8,
}

impl Shown {
    pub(crate) fn of(found: &impl Found, is_json: bool, now: UnixMillis) -> anyhow::Result<Self> {
        let text = if is_json {
            inbox_aws::escape::json(&serde_json::to_string_pretty(found)?)
        } else {
            printable(&found.text(now))
        };
        Ok(Self { text: format!("{}\n", text.trim_end()), exit_code: found.exit_code() })
    }
}

/// A time: in JSON as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At(pub(crate) UnixMillis);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl At {
    /// For people: the time, and how long ago that is.
    pub(crate) fn told(self, now: UnixMillis) -> String {
        format!("{} ({})", self.0.rfc3339(), self.age(now))
    }

    /// How long ago it is, or how soon.
    pub(crate) fn age(self, now: UnixMillis) -> String {
        if self.0 > now {
            format!("in {}", span(self.0.since(now)))
        } else {
            format!("{} ago", span(now.since(self.0)))
        }
    }
}

/// A time that may be missing.
pub(crate) fn at(time: Option<UnixMillis>) -> Option<At> {
    time.map(At)
}

/// A span in its largest unit that is not small.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        secs @ ..120 => format!("{secs} s"),
        secs @ ..7_200 => format!("{} min", secs / 60),
        secs @ ..172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// A number with its noun, in the plural unless it is one.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// Aligned columns under their names; nothing but `none` if there are no rows.
pub(crate) fn table<const N: usize>(names: [&str; N], rows: Vec<[String; N]>, none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(names);
    table.add_rows(rows.into_iter().map(|row| row.map(|cell| line(&cell))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    format!("{}\n", table.trim_fmt())
}

/// Names and values, one a line; those without a value are left out.
pub(crate) fn facts<const N: usize>(facts: [(&str, Option<String>); N]) -> String {
    let wide = facts.iter().filter(|it| it.1.is_some()).map(|it| it.0.len()).max().unwrap_or(0);
    let told = |(name, value): (&str, Option<String>)| {
        value.map(|value| format!("{name:wide$}  {}\n", line(&value)))
    };
    facts.into_iter().filter_map(told).collect()
}

/// How a list goes on.
pub(crate) fn more(next: Option<&String>) -> String {
    next.map(|token| format!("\nThere is more: --page {token}\n")).unwrap_or_default()
}

/// A place in a list, as the user hands it back.
pub(crate) fn token(parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(parts.join("\n"))
}

/// Reads it back.
pub(crate) fn untoken<const N: usize>(token: &str) -> anyhow::Result<[String; N]> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // Only the last part may hold a line break of its own.
    let parts = text.map(|text| text.splitn(N, '\n').map(str::to_owned).collect::<Vec<_>>());
    parts
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| anyhow::anyhow!("--page: not a token of this list"))
}

/// What an operator did, as it is printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trace {
    at: At,
    by: String,
    did: &'static str,
    why: String,
}

impl From<&AuditEntry> for Trace {
    fn from(it: &AuditEntry) -> Self {
        Self { at: At(it.at), by: it.by.clone(), did: it.action.as_str(), why: it.why.clone() }
    }
}

impl Trace {
    pub(crate) fn of(all: &[AuditEntry]) -> Vec<Self> {
        all.iter().map(Self::from).collect()
    }

    pub(crate) fn told(&self, now: UnixMillis) -> String {
        format!("{} {}: {} ({})", self.at.told(now), self.by, self.did, self.why)
    }

    /// When it was.
    pub(crate) fn at(&self) -> At {
        self.at
    }

    /// As a step of a story.
    pub(crate) fn step(&self) -> (At, String) {
        (self.at, format!("— {} by {}: {}", self.did, self.by, self.why))
    }
}

/// Bytes that the user asked to see.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Revealed {
    /// Whether they are base64, because they are no text.
    is_base64: bool,
    bytes: String,
}

impl Revealed {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(bytes) => Self { is_base64: false, bytes },
            Err(error) => {
                let bytes = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
                Self { is_base64: true, bytes }
            }
        }
    }

    pub(crate) fn told(&self) -> String {
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
        let told = |secs: i64| At(UnixMillis(now.0 - secs * 1_000)).age(now);
        assert_eq!(told(5), "5 s ago");
        assert_eq!(told(119), "119 s ago");
        assert_eq!(told(180), "3 min ago");
        assert_eq!(told(7_200), "2 h ago");
        assert_eq!(told(200_000), "2 days ago");
        assert_eq!(told(-65), "in 65 s");
        assert_eq!(At(now).told(now), "2026-01-02T03:04:05.000Z (0 s ago)");
    }

    #[test]
    fn one_is_not_told_in_the_plural() {
        let told = |count: u64| counted(count, "authorizer", "authorizers");
        assert_eq!([0, 1, 2].map(told), ["0 authorizers", "1 authorizer", "2 authorizers"]);
    }

    #[test]
    fn columns_are_aligned_and_end_without_blanks() {
        let rows = vec![["a".to_owned(), "long one".to_owned()], ["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(["ID", "WHAT"], rows, "none"), "ID   WHAT\na    long one\nbcd  x\n");
        assert_eq!(table(["ID"], vec![], "nothing"), "nothing\n");
    }

    #[test]
    fn a_place_in_a_list_can_be_handed_back() {
        let token = token(&["pk#1", "sk\n2"]);
        assert_eq!(untoken::<2>(&token).unwrap(), ["pk#1", "sk\n2"]);
        for wrong in ["", "!", "cGsx"] {
            assert!(untoken::<2>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        assert_eq!(Revealed::of(b"a\n".to_vec()).told(), "\nBytes:\na\n\n");
        assert_eq!(Revealed::of(vec![0xff]).told(), "\nBytes (base64, because they are no text):\n/w==\n");
    }
}
