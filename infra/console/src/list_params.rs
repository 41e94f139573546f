//! Filters and pages of lists: all of them are in the address, so that a view can be shared.

use std::time::Duration;

use inbox_aws::stores::{ListCursor, ListPage, PageStart, TimeRange};
use inbox_core::time::UnixMillis;

use crate::layout::PageError;
use crate::links::Params;

/// Items of a page.
pub(crate) const PAGE_ITEMS: usize = 50;
/// What a filter by batch, schedule or authorizer leaves out.
pub(crate) const TOO_MUCH: &str = "of the batches of a schedule or an authorizer, the newest 100 are found, and at most 500 \
                                   events of these are read";
/// Parameters that name a page, not a filter.
const PAGE_PARAMETERS: [&str; 2] = ["older", "newer"];

/// Links to the pages before and after.
pub(crate) struct PageLinks {
    pub(crate) newest: Option<String>,
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
    /// Said if a filter has left out many items, or a limit has.
    pub(crate) note: Option<String>,
}

impl PageLinks {
    /// Links of a page of the list at `path`.
    pub(crate) fn new<T>(path: &str, params: &Params, page: &ListPage<T>) -> Self {
        let filters = filters(params);
        let link = |name: &str, cursor: &Option<ListCursor>| {
            cursor.as_ref().map(|cursor| filters.clone().with(name, cursor.to_string()).href(path))
        };
        let is_first = page.newer.is_none();
        let note = if page.is_truncated {
            Some(format!(
                "There may be more, which no page has: {TOO_MUCH}. The runs of a schedule are looked for among some 2,000 batches \
                 that were tracked last."
            ))
        } else if page.items.len() < PAGE_ITEMS && page.older.is_some() {
            Some(format!(
                "{} of the {} items that this page has compared with the filter. Go on with older ones.",
                page.items.len(),
                page.examined
            ))
        } else {
            None
        };
        Self {
            newest: (!is_first).then(|| filters.href(path)),
            newer: link("newer", &page.newer),
            older: link("older", &page.older),
            note,
        }
    }
}

/// Tokens of the pages before and after, for forms: what is revealed has no address.
pub(crate) struct PageTokens {
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
}

impl PageTokens {
    pub(crate) fn new<T>(page: &ListPage<T>) -> Self {
        let token = |cursor: &Option<ListCursor>| cursor.as_ref().map(ToString::to_string);
        Self { newer: token(&page.newer), older: token(&page.older) }
    }
}

/// The parameters without those that name a page.
pub(crate) fn filters(params: &Params) -> Params {
    params.without(&PAGE_PARAMETERS)
}

/// Where the page begins that the address names.
pub(crate) fn page_start(params: &Params) -> Result<PageStart, PageError> {
    let cursor = |name: &str| {
        let token = params.get(name);
        let parsed = token.map(|token| token.parse::<ListCursor>());
        parsed
            .transpose()
            .map_err(|_| PageError::BadRequest("The address names no page of this list.".to_owned()))
    };
    Ok(match (cursor("older")?, cursor("newer")?) {
        (Some(cursor), _) => PageStart::OlderThan(cursor),
        (None, Some(cursor)) => PageStart::NewerThan(cursor),
        (None, None) => PageStart::Newest,
    })
}

/// The parameters `since` and `until`.
pub(crate) fn time_range(params: &Params, now: UnixMillis) -> Result<TimeRange, PageError> {
    let time = |name: &str| {
        let text = params.get(name);
        text.map(|text| {
            parse_time(text, now).ok_or_else(|| {
                PageError::BadRequest(format!(
                    "{text} is not a time: write 2026-01-02T03:04:05Z, or an age such as 45s, 90m, 36h or 7d."
                ))
            })
        })
        .transpose()
    };
    Ok(TimeRange { since: time("since")?, until: time("until")? })
}

/// Parses a parameter; an absent one is `None`.
pub(crate) fn parse<T>(
    params: &Params,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, PageError> {
    let parsed = params.get(name).map(|text| {
        parse(text)
            .ok_or_else(|| PageError::BadRequest(format!("{text} is no value of the filter “{name}”.")))
    });
    parsed.transpose()
}

/// A time: RFC 3339, or an age such as `36h`.
fn parse_time(text: &str, now: UnixMillis) -> Option<UnixMillis> {
    if let Some(at) = UnixMillis::from_rfc3339(text) {
        return Some(at);
    }
    let mut digits = text.chars();
    let unit = match digits.next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u64 = digits.as_str().parse().ok()?;
    Some(now.minus(Duration::from_secs(count.saturating_mul(unit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_an_age() {
        let now = UnixMillis(10 * 86_400_000);
        assert_eq!(parse_time("36h", now), Some(UnixMillis(8 * 86_400_000 + 43_200_000)));
        assert_eq!(parse_time("1970-01-02T00:00:00Z", now), Some(UnixMillis(86_400_000)));
        for wrong in ["", "h", "5", "5w", "-5m", "yesterday", "é"] {
            assert_eq!(parse_time(wrong, now), None, "{wrong}");
        }
    }
}
