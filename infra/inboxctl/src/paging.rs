//! Pages of a list: `--limit`, `--older`, `--newer`, and the tokens of the next pages.

use clap::Args;
use inbox_aws::stores::{ListCursor, ListPage, PageStart};
use inbox_core::list_kind::ListKind;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use crate::output::Timestamp;
use crate::short_id;
use crate::target::Target;

/// Limit and place of a page.
#[derive(Args)]
pub(crate) struct PageArgs {
    /// Maximum number of items, up to 500.
    #[arg(long, default_value = "20", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// The next page of older items: the token that the previous page printed.
    #[arg(long, value_name = "TOKEN", conflicts_with = "newer")]
    older: Option<ListCursor>,
    /// The next page of newer items: the token that the previous page printed.
    #[arg(long, value_name = "TOKEN")]
    newer: Option<ListCursor>,
    /// Print whole ids, and times with their ages.
    #[arg(long)]
    wide: bool,
}

impl PageArgs {
    pub(crate) fn limit(&self) -> usize {
        usize::from(self.limit)
    }

    /// Prepares the ids of a list to be printed: short ones, unless `--wide` is given. The whole ids are remembered, for commands that
    /// take short ones.
    pub(crate) fn printed_ids(&self, target: &Target, kind: ListKind, ids: &[String]) -> Vec<String> {
        short_id::remember(target, kind, ids);
        if self.wide { ids.to_vec() } else { short_id::shorten(ids) }
    }

    /// Prepares an id to be printed beside the listed ones.
    pub(crate) fn printed_id(&self, id: &str) -> String {
        let ids = [id.to_owned()];
        if self.wide { id.to_owned() } else { short_id::shorten(&ids).concat() }
    }

    /// Prepares a time to be printed.
    pub(crate) fn printed_time(&self, time: Timestamp, now: UnixMillis) -> String {
        if self.wide { time.with_age(now) } else { time.to_short_text(now) }
    }

    pub(crate) const fn is_wide(&self) -> bool {
        self.wide
    }

    pub(crate) fn start(&self) -> PageStart {
        match (&self.older, &self.newer) {
            (Some(cursor), _) => PageStart::OlderThan(cursor.clone()),
            (None, Some(cursor)) => PageStart::NewerThan(cursor.clone()),
            (None, None) => PageStart::Newest,
        }
    }
}

/// Tokens of the pages before and after a page, and how far a filter has looked.
#[derive(Serialize)]
pub(crate) struct PageInfo {
    /// Token for `--older`; `None` on the last page.
    older: Option<String>,
    /// Token for `--newer`; `None` on the first page.
    newer: Option<String>,
    /// Number of items that the filter was compared with.
    examined: usize,
    /// Time of the last item that was compared.
    examined_to: Option<Timestamp>,
    /// True if the page is not full although there are more items to compare.
    #[serde(skip)]
    is_short: bool,
}

impl PageInfo {
    pub(crate) fn new<T>(page: &ListPage<T>, args: &PageArgs) -> Self {
        let has_further = match args.start() {
            PageStart::NewerThan(_) => page.newer.is_some(),
            PageStart::Newest | PageStart::Oldest | PageStart::OlderThan(_) => page.older.is_some(),
        };
        Self {
            older: page.older.as_ref().map(ToString::to_string),
            newer: page.newer.as_ref().map(ToString::to_string),
            examined: page.examined,
            examined_to: page.examined_to.map(Timestamp),
            is_short: has_further && page.items.len() < args.limit(),
        }
    }

    /// Hints at the other pages, after a list.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(examined_to) = self.examined_to.filter(|_| self.is_short) {
            let (count, time) = (self.examined, examined_to.to_text());
            text += &format!("\nOnly {count} items were compared, as far as {time}: there may be more.\n");
        }
        let words: Vec<_> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let hint = |label: &str, option: &str, token: &str| {
            format!("\n{label}: inboxctl {}", command_of_page(&words, option, token))
        };
        text.extend(self.older.as_ref().map(|token| hint("Older", "--older", token)));
        text.extend(self.newer.as_ref().map(|token| hint("Newer", "--newer", token)));
        if text.is_empty() { text } else { text + "\n" }
    }
}

/// The words of a list's command for another page of the same list, as a shell takes them.
fn command_of_page(words: &[String], option: &str, token: &str) -> String {
    let mut own = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--older" | "--newer" => drop(rest.next()),
            word if word.starts_with("--older=") || word.starts_with("--newer=") => {}
            word => own.push(quote(word)),
        }
    }
    own.extend([option.to_owned(), token.to_owned()]);
    own.join(" ")
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_another_page_is_that_of_this_one_with_another_token() {
        let command = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            command_of_page(&words, "--older", "AAAB")
        };
        assert_eq!(command(&["events", "list"]), "events list --older AAAB");
        assert_eq!(
            command(&["--stack", "s", "events", "list", "--newer", "x", "--state", "done", "--older=y"]),
            "--stack s events list --state done --older AAAB"
        );
        assert_eq!(
            command(&["audit", "--operator", "Ada's mate", "--since", ""]),
            r"audit --operator 'Ada'\''s mate' --since '' --older AAAB"
        );
    }
}
