//! Paging of E3 and E9: limits and page tokens.

use std::ops::Range;

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::behaviour::PageTokenParam;

// Documented for both E3 and E9.
const LIMIT_MAX: usize = 100;

/// Query parameters of a request.
#[derive(Debug)]
pub(super) struct QueryParams(Vec<(String, String)>);

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageSlice {
    pub(super) range: Range<usize>,
    /// `None` on the last page.
    pub(super) next_page_token: Option<String>,
}

impl QueryParams {
    pub(super) fn from_uri(uri: &Uri) -> Self {
        // The host is a placeholder: only the query is parsed.
        let url = format!("http://localhost/?{}", uri.query().unwrap_or_default());
        let pairs = reqwest::Url::parse(&url).map(|url| url.query_pairs().into_owned().collect());
        Self(pairs.unwrap_or_default())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(its, value)| (its == name).then_some(value.as_str()))
    }

    /// The requested page of a list of `total` entries, with `limit` as the default page size. The error is the message of
    /// the response.
    pub(super) fn page(
        &self,
        token_param: PageTokenParam,
        limit: usize,
        total: usize,
    ) -> Result<PageSlice, &'static str> {
        let limit = match self.get("limit") {
            None => limit,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or("limit must be an integer from 1 to 100")?,
        };
        let start = match self.page_token(token_param) {
            None => 0,
            Some(token) => decode_cursor(token).ok_or("the page token is not valid")?.min(total),
        };
        let end = start.saturating_add(limit).min(total);
        Ok(PageSlice { range: start..end, next_page_token: (end < total).then(|| encode_cursor(end)) })
    }

    fn page_token(&self, param: PageTokenParam) -> Option<&str> {
        let (new, old) = (self.get("next_page_token"), self.get("nextPageToken"));
        match param {
            PageTokenParam::New => new,
            PageTokenParam::Old => old,
            PageTokenParam::Both => new.or(old),
            PageTokenParam::Ignored => None,
        }
    }
}

/// Opaque base64 of JSON, as in the documents. The filler puts a `+` into it, so that a client that does not encode its
/// query fails: its `+` arrives as a space.
fn encode_cursor(cursor: usize) -> String {
    STANDARD.encode(json!({"cursor": cursor, "filler": ">>>"}).to_string())
}

fn decode_cursor(token: &str) -> Option<usize> {
    let parts: Value = serde_json::from_slice(&STANDARD.decode(token).ok()?).ok()?;
    usize::try_from(parts.get("cursor")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str, total: usize) -> Result<PageSlice, &'static str> {
        let uri: Uri = format!("/v1/balances?{query}").parse().unwrap();
        QueryParams::from_uri(&uri).page(PageTokenParam::New, 50, total)
    }

    #[test]
    fn a_limit_is_one_to_a_hundred() {
        assert_eq!(page("", 70).unwrap().range, 0..50);
        assert_eq!(page("limit=100", 70).unwrap(), PageSlice { range: 0..70, next_page_token: None });
        assert_eq!(page("limit=1", 0).unwrap().range, 0..0);
        for bad in ["limit=0", "limit=101", "limit=-1", "limit=ten", "limit="] {
            page(bad, 70).unwrap_err();
        }
    }

    #[test]
    fn a_token_must_come_back_as_it_was_and_encoded() {
        let token = page("limit=3", 70).unwrap().next_page_token.unwrap();
        assert!(token.contains('+'));
        let encoded = token.replace('+', "%2B");
        assert_eq!(page(&format!("limit=3&next_page_token={encoded}"), 70).unwrap().range, 3..6);
        page(&format!("limit=3&next_page_token={token}"), 70).unwrap_err();
        page("next_page_token=", 70).unwrap_err();
        page("next_page_token=e30%3D", 70).unwrap_err();
    }
}
