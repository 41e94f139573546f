//! Reading all pages, with an end.
//!
//! Rightfoot's documents name two parameters for the page token (shared/providers/rightfoot.md, "Contradictions").
//! The newer one is sent first. If it is ignored, the same page comes again: then the other one is tried, once. A page that repeats
//! after that, or a token that was used before, is the end of it: there is no loop.

use std::collections::BTreeSet;

use crate::limits::PAGES_MAX;

/// The name under which a page token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenParam {
    /// `next_page_token`, of the newer documents.
    Snake,
    /// `nextPageToken`, of the older ones.
    Camel,
}

impl TokenParam {
    /// The parameter's name in the query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snake => "next_page_token",
            Self::Camel => "nextPageToken",
        }
    }
}

/// Which page to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The parameter's name.
    pub param: TokenParam,
    /// Its value: opaque.
    pub token: String,
}

/// What comes after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another page.
    Ask(PageToken),
    /// Nothing: that was the last page.
    LastPage,
    /// Nothing: it names no other page, although it says that there are more.
    NoToken,
    /// Nothing, although it was not the last page: it repeats, or is one too many.
    Stopped,
}

/// How far a list has been read. `K` is what makes a row that row.
#[derive(Clone, Debug)]
pub struct Paging<K> {
    seen: BTreeSet<K>,
    sent: BTreeSet<String>,
    asked: Option<PageToken>,
    param: TokenParam,
    pages: usize,
}

impl<K: Ord> Paging<K> {
    /// Nothing has been read.
    pub fn new() -> Self {
        Self { seen: BTreeSet::new(), sent: BTreeSet::new(), asked: None, param: TokenParam::Snake, pages: 0 }
    }

    /// Whether a page that was taken in has this row.
    pub fn has_seen(&self, key: &K) -> bool {
        self.seen.contains(key)
    }

    /// Takes in a page: the keys of its rows, whether it says that there are more, and its token.
    pub fn turn(&mut self, keys: impl IntoIterator<Item = K>, has_more: bool, next: Option<String>) -> Turn {
        self.pages += 1;
        let (mut rows, mut fresh) = (0, 0);
        for key in keys {
            rows += 1;
            fresh += usize::from(self.seen.insert(key));
        }
        let next = next.filter(|token| !token.is_empty());
        let used = next.as_ref().is_some_and(|token| self.sent.contains(token));
        if let Some(asked) = self.asked.take()
            && ((rows > 0 && fresh == 0) || used)
        {
            return self.try_other_name(asked);
        }
        match (has_more, next) {
            (false, _) => Turn::LastPage,
            (true, None) => Turn::NoToken,
            (true, Some(token)) if self.pages < PAGES_MAX => self.ask(token),
            (true, Some(_)) => Turn::Stopped,
        }
    }

    fn try_other_name(&mut self, asked: PageToken) -> Turn {
        match self.param {
            TokenParam::Snake => {
                self.param = TokenParam::Camel;
                self.ask(asked.token)
            }
            TokenParam::Camel => Turn::Stopped,
        }
    }

    fn ask(&mut self, token: String) -> Turn {
        self.sent.insert(token.clone());
        let page = PageToken { param: self.param, token };
        self.asked = Some(page.clone());
        Turn::Ask(page)
    }
}

impl<K: Ord> Default for Paging<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(param: TokenParam, token: &str) -> Turn {
        Turn::Ask(PageToken { param, token: token.to_owned() })
    }

    fn token(token: &str) -> Option<String> {
        Some(token.to_owned())
    }

    #[test]
    fn pages_are_asked_for_until_the_last_one() {
        let mut paging = Paging::new();
        assert_eq!(paging.turn([1, 2], true, token("a")), ask(TokenParam::Snake, "a"));
        assert_eq!(paging.turn([3, 4], true, token("b")), ask(TokenParam::Snake, "b"));
        assert_eq!(paging.turn([5], false, None), Turn::LastPage);
        assert_eq!(Paging::<u8>::new().turn([], false, token("a")), Turn::LastPage);
    }

    #[test]
    fn a_token_that_is_ignored_is_sent_once_more_under_its_older_name() {
        let mut paging = Paging::new();
        paging.turn([1, 2], true, token("a"));
        assert_eq!(paging.turn([1, 2], true, token("a")), ask(TokenParam::Camel, "a"));
        assert_eq!(paging.turn([3, 4], true, token("b")), ask(TokenParam::Camel, "b"), "it stays with it");
        assert_eq!(paging.turn([5], false, None), Turn::LastPage);

        let mut ignored_both = Paging::new();
        ignored_both.turn([1, 2], true, token("a"));
        ignored_both.turn([1, 2], true, token("a"));
        assert_eq!(ignored_both.turn([1, 2], true, token("a")), Turn::Stopped);
    }

    #[test]
    fn a_list_ends_where_no_token_leads_on_whatever_it_says() {
        assert_eq!(Paging::new().turn([1], true, None), Turn::NoToken);
        assert_eq!(Paging::new().turn([1], true, token("")), Turn::NoToken);
        let mut paging = Paging::new();
        paging.turn([1, 2], true, token("a"));
        assert_eq!(paging.turn([3], true, None), Turn::NoToken);
        let mut repeating = Paging::new();
        repeating.turn([1, 2], true, token("a"));
        assert_eq!(repeating.turn([1, 2], true, None), ask(TokenParam::Camel, "a"), "the token was ignored");
    }

    proptest! {
        #[test]
        fn it_always_ends(
            pages in proptest::collection::vec((proptest::collection::vec(0u8..6, 0..4), any::<bool>(), proptest::option::of("[ab]{0,2}")), 1..60)
        ) {
            // Whatever comes, and if it goes on coming for ever.
            let mut paging = Paging::new();
            let mut asked = 0;
            for (rows, has_more, token) in pages.iter().cycle() {
                if !matches!(paging.turn(rows.clone(), *has_more, token.clone()), Turn::Ask(_)) {
                    break;
                }
                asked += 1;
                prop_assert!(asked <= 20, "seven tokens, each under two names at the most");
            }
        }

        #[test]
        fn even_endless_news_has_an_end(first in any::<u32>()) {
            let mut paging = Paging::new();
            let asked = (0u64..).take_while(|n| {
                let turn = paging.turn([u64::from(first) + n], true, Some(n.to_string()));
                matches!(turn, Turn::Ask(_))
            });
            prop_assert_eq!(asked.count(), PAGES_MAX - 1);
        }

        #[test]
        fn the_last_page_is_reached_only_where_nothing_repeats_and_no_more_is_said(
            rows in proptest::collection::vec(0u8..4, 1..4), has_more in any::<bool>()
        ) {
            let mut paging = Paging::new();
            paging.turn(rows.clone(), true, Some("a".to_owned()));
            prop_assert_ne!(paging.turn(rows, has_more, None), Turn::LastPage);
        }
    }
}
