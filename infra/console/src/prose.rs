//! Sentences with commands in them: what stands between backticks is shown as code.

use askama::Template;

/// A sentence. Its parts are text and code in turn, beginning with text.
#[derive(Clone, Debug, Template)]
#[template(path = "prose.html")]
pub(crate) struct Prose {
    parts: Vec<String>,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for Prose {}

impl Prose {
    pub(crate) fn new(text: &str) -> Self {
        Self { parts: text.split('`').map(str::to_owned).collect() }
    }
}

/// A status without the word that its mark shows already.
pub(crate) fn without_word<'a>(status: &'a str, word: &str) -> &'a str {
    status.strip_prefix(word).map_or(status, |rest| rest.trim_start_matches([':', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_code_and_everything_is_escaped() {
        let html = Prose::new("see `show <x>` & `y`").render().unwrap();
        assert_eq!(html, "see <code>show &#60;x&#62;</code> &#38; <code>y</code>");
    }
}
