//! Reading all pages, with an end.
//!
//! Rightfoot's documents name two parameters for the page token (shared/providers/rightfoot.md, "Contradictions"). The newer one is sent
//! first. If it is ignored, the same page comes again: then the other one is tried, once. A page that repeats
//! after that, or a token that was used before, is the end of it: there is no loop.

use std::collections::BTreeSet;

use crate::limits::PAGES_MAX;

/// The name under which a page token is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenParam {
    /// `next_page_token`, of the newer documents.
    SnakeCase,
    /// `nextPageToken`, of the older ones.
    CamelCase,
}

impl TokenParam {
    /// The parameter's name in the query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SnakeCase => "next_page_token",
            Self::CamelCase => "nextPageToken",
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
pub enum PagingStep {
    /// Another page.
    Fetch(PageToken),
    /// Nothing: that was the last page.
    LastPage,
    /// Nothing: it names no other page, although it says that there are more.
    MissingToken,
    /// Nothing, although it was not the last page: it repeats, or is one too many.
    Stopped,
}

/// How far a list has been read. `K` is what makes a row that row.
#[derive(Clone, Debug)]
pub struct Paginator<K> {
    seen_keys: BTreeSet<K>,
    sent_tokens: BTreeSet<String>,
    requested: Option<PageToken>,
    param: TokenParam,
    pages_read: usize,
}

impl<K: Ord> Paginator<K> {
    /// Nothing has been read.
    pub fn new() -> Self {
        Self {
            seen_keys: BTreeSet::new(),
            sent_tokens: BTreeSet::new(),
            requested: None,
            param: TokenParam::SnakeCase,
            pages_read: 0,
        }
    }

    /// Whether a page that was taken in has this row.
    pub fn has_seen(&self, key: &K) -> bool {
        self.seen_keys.contains(key)
    }

    /// Takes in a page: the keys of its rows, whether it says that there are more, and its token.
    pub fn advance(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        has_more: bool,
        next_token: Option<String>,
    ) -> PagingStep {
        self.pages_read += 1;
        let (mut rows, mut new_rows) = (0, 0);
        for key in keys {
            rows += 1;
            new_rows += usize::from(self.seen_keys.insert(key));
        }
        let next = next_token.filter(|token| !token.is_empty());
        let was_used = next.as_ref().is_some_and(|token| self.sent_tokens.contains(token));
        if let Some(requested) = self.requested.take()
            && ((rows > 0 && new_rows == 0) || was_used)
        {
            return self.retry_with_other_param(requested);
        }
        match (has_more, next) {
            (false, _) => PagingStep::LastPage,
            (true, None) => PagingStep::MissingToken,
            (true, Some(token)) if self.pages_read < PAGES_MAX => self.request(token),
            (true, Some(_)) => PagingStep::Stopped,
        }
    }

    fn retry_with_other_param(&mut self, requested: PageToken) -> PagingStep {
        match self.param {
            TokenParam::SnakeCase => {
                self.param = TokenParam::CamelCase;
                self.request(requested.token)
            }
            TokenParam::CamelCase => PagingStep::Stopped,
        }
    }

    fn request(&mut self, token: String) -> PagingStep {
        self.sent_tokens.insert(token.clone());
        let page = PageToken { param: self.param, token };
        self.requested = Some(page.clone());
        PagingStep::Fetch(page)
    }
}

impl<K: Ord> Default for Paginator<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(param: TokenParam, token: &str) -> PagingStep {
        PagingStep::Fetch(PageToken { param, token: token.to_owned() })
    }

    fn token(token: &str) -> Option<String> {
        Some(token.to_owned())
    }

    #[test]
    fn pages_are_asked_for_until_the_last_one() {
        let mut paging = Paginator::new();
        assert_eq!(paging.advance([1, 2], true, token("a")), fetch(TokenParam::SnakeCase, "a"));
        assert_eq!(paging.advance([3, 4], true, token("b")), fetch(TokenParam::SnakeCase, "b"));
        assert_eq!(paging.advance([5], false, None), PagingStep::LastPage);
        assert_eq!(Paginator::<u8>::new().advance([], false, token("a")), PagingStep::LastPage);
    }

    #[test]
    fn a_token_that_is_ignored_is_sent_once_more_under_its_older_name() {
        let mut paging = Paginator::new();
        paging.advance([1, 2], true, token("a"));
        assert_eq!(paging.advance([1, 2], true, token("a")), fetch(TokenParam::CamelCase, "a"));
        assert_eq!(
            paging.advance([3, 4], true, token("b")),
            fetch(TokenParam::CamelCase, "b"),
            "it stays with it"
        );
        assert_eq!(paging.advance([5], false, None), PagingStep::LastPage);

        let mut ignored_both = Paginator::new();
        ignored_both.advance([1, 2], true, token("a"));
        ignored_both.advance([1, 2], true, token("a"));
        assert_eq!(ignored_both.advance([1, 2], true, token("a")), PagingStep::Stopped);
    }

    #[test]
    fn a_list_ends_at_a_missing_token_even_if_it_claims_more() {
        assert_eq!(Paginator::new().advance([1], true, None), PagingStep::MissingToken);
        assert_eq!(Paginator::new().advance([1], true, token("")), PagingStep::MissingToken);
        let mut paging = Paginator::new();
        paging.advance([1, 2], true, token("a"));
        assert_eq!(paging.advance([3], true, None), PagingStep::MissingToken);
        let mut repeating = Paginator::new();
        repeating.advance([1, 2], true, token("a"));
        assert_eq!(
            repeating.advance([1, 2], true, None),
            fetch(TokenParam::CamelCase, "a"),
            "the token was ignored"
        );
    }

    proptest! {
        #[test]
        fn it_always_ends(
            pages in proptest::collection::vec((proptest::collection::vec(0u8..6, 0..4), any::<bool>(), proptest::option::of("[ab]{0,2}")), 1..60)
        ) {
            // Whatever comes, and if it goes on coming for ever.
            let mut paging = Paginator::new();
            let mut asked = 0;
            for (rows, has_more, token) in pages.iter().cycle() {
                if !matches!(paging.advance(rows.clone(), *has_more, token.clone()), PagingStep::Fetch(_)) {
                    break;
                }
                asked += 1;
                prop_assert!(asked <= 20, "seven tokens, each under two names at the most");
            }
        }

        #[test]
        fn even_endless_news_has_an_end(first in any::<u32>()) {
            let mut paging = Paginator::new();
            let asked = (0u64..).take_while(|n| {
                let turn = paging.advance([u64::from(first) + n], true, Some(n.to_string()));
                matches!(turn, PagingStep::Fetch(_))
            });
            prop_assert_eq!(asked.count(), PAGES_MAX - 1);
        }

        #[test]
        fn the_last_page_is_reached_only_where_nothing_repeats_and_no_more_is_said(
            rows in proptest::collection::vec(0u8..4, 1..4), has_more in any::<bool>()
        ) {
            let mut paging = Paginator::new();
            paging.advance(rows.clone(), true, Some("a".to_owned()));
            prop_assert_ne!(paging.advance(rows, has_more, None), PagingStep::LastPage);
        }
    }
}
