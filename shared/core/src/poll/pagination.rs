//! Reading all pages of a list, with a guaranteed end.
//!
//! Rightfoot's documents name two parameters for the page token (shared/providers/rightfoot.md, "Contradictions"). The newer one is sent first. If it
//! is ignored, the same page comes again; then the other one is tried, once. A page that repeats after that, or a token
//! that was used before, ends the list, so there is no endless loop.

use std::collections::BTreeSet;

use crate::limits::PAGES_MAX;

/// The name of the query parameter for the page token.
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

/// The token of the next page, and the parameter to send it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The parameter's name.
    pub param: TokenParam,
    /// The opaque value.
    pub token: String,
}

/// The step after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagingStep {
    /// Fetch this page.
    Fetch(PageToken),
    /// Stop: this was the last page.
    LastPage,
    /// Stop: the page claims that there are more, but has no token for the next one.
    MissingToken,
    /// Stop before the last page: the page was a repetition, or the limit of [`PAGES_MAX`] is reached.
    Stopped,
}

/// The state of reading a list. `K` is the key that identifies a row.
#[derive(Clone, Debug)]
pub struct Paginator<K> {
    seen_keys: BTreeSet<K>,
    sent_tokens: BTreeSet<String>,
    requested: Option<PageToken>,
    param: TokenParam,
    pages_read: usize,
}

impl<K: Ord> Paginator<K> {
    /// Starts a list.
    pub fn new() -> Self {
        Self {
            seen_keys: BTreeSet::new(),
            sent_tokens: BTreeSet::new(),
            requested: None,
            param: TokenParam::SnakeCase,
            pages_read: 0,
        }
    }

    /// Returns `true` if a page that was added has this row.
    pub fn has_seen(&self, key: &K) -> bool {
        self.seen_keys.contains(key)
    }

    /// Adds a page (the keys of its rows, its "has more" flag, and its token) and decides the next step.
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
        // Nothing new, or a token that was sent before: the token parameter was probably ignored.
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
                // Kept for the rest of the list, because Rightfoot has ignored the newer name.
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
            // `cycle` makes the list endless.
            let mut paging = Paginator::new();
            let mut fetches = 0;
            for (rows, has_more, token) in pages.iter().cycle() {
                if !matches!(paging.advance(rows.clone(), *has_more, token.clone()), PagingStep::Fetch(_)) {
                    break;
                }
                fetches += 1;
                prop_assert!(fetches <= 20, "seven tokens, each under two names at the most");
            }
        }

        #[test]
        fn an_endless_list_ends(first in any::<u32>()) {
            let mut paging = Paginator::new();
            let fetches = (0u64..).take_while(|n| {
                let step = paging.advance([u64::from(first) + n], true, Some(n.to_string()));
                matches!(step, PagingStep::Fetch(_))
            });
            prop_assert_eq!(fetches.count(), PAGES_MAX - 1);
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
