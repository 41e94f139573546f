//! The escaping of every value in a page: senders and operators choose texts.

use std::fmt::{Result, Write};

use askama::filters::{Escaper, Html};

/// Escapes HTML, and control and format characters: these could reorder what a person reads. Line breaks and tabs stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageEscaper;

impl Escaper for PageEscaper {
    fn write_escaped_str<W: Write>(&self, dest: W, string: &str) -> Result {
        Html.write_escaped_str(dest, &inbox_aws::escape::text(string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_characters_that_reorder_text_are_escaped() {
        let mut out = String::new();
        PageEscaper.write_escaped_str(&mut out, "<b>\u{202e}txt\u{1b}[1m\n\té").unwrap();
        assert_eq!(out, "&#60;b&#62;\\u{202e}txt\\u{1b}[1m\n\té");
    }
}
