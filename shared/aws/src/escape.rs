//! Escapes characters that control a terminal or hide text, in everything that is printed or logged.

use std::fmt::Write as _;
use std::io;

use tracing_subscriber::fmt::MakeWriter;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Escapes them in text for people. Line breaks and tabs stay.
pub fn text(text: &str) -> String {
    escape_where(text, |c| matches!(c, '\n' | '\t'), |c, out| out.extend(c.escape_default()))
}

/// Escapes them in one line of text, line breaks and tabs too.
pub fn line(text: &str) -> String {
    escape_where(text, |_| false, |c, out| out.extend(c.escape_default()))
}

/// Escapes them in JSON; the value stays the same. Outside of its strings it has only line breaks, which stay.
pub fn json(json: &str) -> String {
    escape_where(
        json,
        |c| c == '\n',
        |c, out| {
            // JSON escapes a character above U+FFFF as two surrogates.
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// Makes writers that escape lines of JSON.
#[derive(Clone, Copy, Debug)]
pub struct EscapedJsonLines<W>(pub W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for EscapedJsonLines<W> {
    type Writer = EscapedJsonLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedJsonLine(self.0.make_writer())
    }
}

/// Writes escaped lines of JSON. Each write must hold whole characters.
#[derive(Debug)]
pub struct EscapedJsonLine<W>(W);

impl<W: io::Write> io::Write for EscapedJsonLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(json(&String::from_utf8_lossy(line)).as_bytes())?;
        // The caller counts its own bytes, not the escaped ones.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escape_where(text: &str, keep: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if needs_escape(c) && !keep(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, format characters (of which are bidi and those without width), U+2028 and U+2029.
fn needs_escape(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    matches!(get_general_category(c), Control | Format | LineSeparator | ParagraphSeparator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_format_characters_are_escaped() {
        let input = "a\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{2029}\u{200b}\u{ad}\u{feff}\u{e0041}é €\tb\n";
        let expected = r"a\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{2029}\u{200b}\u{ad}\u{feff}\u{e0041}é €";
        assert_eq!(text(input), format!("{expected}\tb\n"));
        assert_eq!(line(input), format!("{expected}\\tb\\n"));
        assert_eq!(text(&text(input)), text(input), "once is enough");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{9b}": ["\u{202e}\u{2028}", "\u{e0041}é\r\n\u{7f}"]});
        let escaped = json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        let expected = r#"{"a\u009b":["\u202e\u2028","\udb40\udc41é\r\n\u007f"]}"#;
        assert_eq!(escaped.replace([' ', '\n'], ""), expected);
    }

    #[test]
    fn an_escaped_log_line_is_the_same_json() {
        let mut log = Vec::new();
        let line = "{\"batch_id\":\"b\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\"}\n";
        io::Write::write_all(&mut EscapedJsonLine(&mut log), line.as_bytes()).unwrap();
        let expected = r#"{"batch_id":"b\u202e\u2066\u200b\u2028\ufeff"}"#;
        assert_eq!(String::from_utf8(log).unwrap(), format!("{expected}\n"));
    }
}
