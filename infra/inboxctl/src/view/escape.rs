//! Characters that play with a terminal, or hide what is there: whoever sent them, they are shown and not obeyed.
//! Applied to all that is printed, where it is printed.

use std::fmt::Write as _;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Text for people, without them. Lines and tabs stay.
pub(crate) fn text(text: &str) -> String {
    escaped(text, |c| matches!(c, '\n' | '\t'), |c, out| out.extend(c.escape_default()))
}

/// One line of text, without them.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false, |c, out| out.extend(c.escape_default()))
}

/// The same JSON, without them: outside of its strings it has only line breaks, which stay.
pub(crate) fn json(json: &str) -> String {
    escaped(
        json,
        |c| c == '\n',
        |c, out| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string takes whatever is written.
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn escaped(text: &str, stays: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_tricky(c) && !stays(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters, format characters (of which are bidi and those without width), U+2028 and U+2029.
fn is_tricky(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    matches!(get_general_category(c), Control | Format | LineSeparator | ParagraphSeparator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_plays_with_a_terminal_is_shown() {
        let tricks = "a\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{2029}\u{200b}\u{ad}\u{feff}\u{e0041}é €\tb\n";
        let shown = r"a\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{2029}\u{200b}\u{ad}\u{feff}\u{e0041}é €";
        assert_eq!(text(tricks), format!("{shown}\tb\n"));
        assert_eq!(line(tricks), format!("{shown}\\tb\\n"));
        assert_eq!(text(&text(tricks)), text(tricks), "once is enough");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{9b}": ["\u{202e}\u{2028}", "\u{e0041}é\r\n\u{7f}"]});
        let escaped = json(&serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        let expected = r#"{"a\u009b":["\u202e\u2028","\udb40\udc41é\r\n\u007f"]}"#;
        assert_eq!(escaped.replace([' ', '\n'], ""), expected);
    }
}
