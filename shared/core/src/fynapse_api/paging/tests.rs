use super::*;
use crate::fynapse_api::delivery_page::parse_page;
use proptest::prelude::*;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

/// A list of deliveries, the newest first, one an hour.
struct List {
    count: usize,
    rows: usize,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `page`, counted from 0, and `totalPages`.
    TotalPages,
    /// Counted from 1; page 0 is page 1.
    FromOne,
    /// Only `last`.
    Last,
    /// `nextCursor`.
    Cursor,
    /// A link to the next page.
    Link,
    /// An array without any hint; a page after the last one is empty.
    Bare,
    /// Every parameter is ignored: the whole list.
    Whole,
}

impl List {
    fn answer(&self, request: &PageRequest) -> String {
        let query = request.query();
        let param = |name: &str| query.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        let number = |name: &str| param(name).and_then(|value| value.parse::<usize>().ok());
        let start = match self.style {
            Style::Whole => return format!("[{}]", self.items(0, self.count)),
            Style::FromOne => number("page").unwrap_or(1).max(1) - 1,
            Style::Cursor => number("cursor").unwrap_or(0),
            Style::Link => number("start").unwrap_or(0),
            Style::TotalPages | Style::Last | Style::Bare => number("page").unwrap_or(0),
        };
        let pages = self.count.div_ceil(self.rows);
        let is_last = start + 1 >= pages;
        let items = self.items(start * self.rows, (start + 1) * self.rows);
        match self.style {
            Style::TotalPages => format!(r#"{{"data":[{items}],"page":{start},"totalPages":{pages}}}"#),
            Style::FromOne => format!(r#"{{"data":[{items}],"page":{},"totalPages":{pages}}}"#, start + 1),
            Style::Last => format!(r#"{{"content":[{items}],"last":{is_last}}}"#),
            Style::Cursor if is_last => format!(r#"{{"items":[{items}],"nextCursor":null}}"#),
            Style::Cursor => format!(r#"{{"items":[{items}],"nextCursor":"{}"}}"#, start + 1),
            Style::Link if is_last => format!(r#"{{"items":[{items}],"links":{{"next":null}}}}"#),
            Style::Link => {
                format!(
                    r#"{{"items":[{items}],"_links":{{"next":{{"href":"https://elsewhere.test/x?start={}&a=b%20c"}}}}}}"#,
                    start + 1
                )
            }
            Style::Bare | Style::Whole => format!("[{items}]"),
        }
    }

    fn items(&self, from: usize, to: usize) -> String {
        let item = |at: usize| {
            let hours = u64::try_from(at).unwrap();
            let at_text = NOW.minus(Duration::from_secs(hours * 3_600)).rfc3339();
            format!(r#"{{"id":"d-{at}","status":"DELIVERED","createdAt":"{at_text}"}}"#)
        };
        (from..to.min(self.count)).map(item).collect::<Vec<_>>().join(",")
    }

    /// Reads the list; returns the number of different deliveries and of requests.
    fn read(&self, since: Option<UnixMillis>) -> (usize, usize) {
        let (mut pager, mut request, mut found, mut requests) =
            (DeliveryPager::default(), PageRequest::FIRST, BTreeSet::new(), 0);
        loop {
            requests += 1;
            assert!(requests < 200, "no end");
            let page = parse_page(self.answer(&request).as_bytes()).unwrap();
            found.extend(page.deliveries.iter().map(|it| it.delivery_id.clone().unwrap()));
            match pager.advance(request, &page, since) {
                PagingStep::Fetch(next) => request = next,
                PagingStep::End => return (found.len(), requests),
                PagingStep::Incomplete => panic!("incomplete"),
            }
        }
    }
}

const STYLES: [Style; 7] =
    [Style::TotalPages, Style::FromOne, Style::Last, Style::Cursor, Style::Link, Style::Bare, Style::Whole];

#[test]
fn a_list_is_read_to_its_end_in_every_style_of_paging() {
    for (style, requests) in STYLES.into_iter().zip([3, 3, 3, 3, 3, 4, 3]) {
        let list = List { count: 25, rows: 10, style };
        assert_eq!(list.read(None), (25, requests), "{style:?}");
    }
}

/// If an empty page does not say that the list is empty, the list may count from one.
#[test]
fn an_empty_list_is_asked_for_twice_at_most() {
    for (style, requests) in STYLES.into_iter().zip([1, 1, 1, 2, 2, 2, 2]) {
        assert_eq!(List { count: 0, rows: 10, style }.read(None), (0, requests), "{style:?}");
    }
}

#[test]
fn a_list_with_the_newest_first_is_read_as_far_as_it_is_wanted() {
    // 12 hours: that are the pages 1 and 2 of 25.
    let since = Some(NOW.minus(Duration::from_secs(12 * 3_600)));
    for style in [Style::TotalPages, Style::FromOne, Style::Last, Style::Cursor, Style::Link, Style::Bare] {
        assert_eq!(List { count: 250, rows: 10, style }.read(since), (20, 2), "{style:?}");
    }
}

/// A time in seconds, from which the times of these tests count.
const DAWN: i64 = 1_700_000_000;

fn page(items: &[(&str, Option<i64>)]) -> DeliveryPage {
    let item = |(id, at): &(&str, Option<i64>)| match at.map(|at| DAWN + at) {
        Some(at) => format!(r#"{{"id":"{id}","status":"DELIVERED","createdAt":{at}}}"#),
        None => format!(r#"{{"id":"{id}","status":"DELIVERED"}}"#),
    };
    let items: Vec<_> = items.iter().map(item).collect();
    parse_page(format!("[{}]", items.join(",")).as_bytes()).unwrap()
}

#[test]
fn a_list_in_another_order_is_read_to_its_end() {
    let since = Some(UnixMillis((DAWN + 500) * 1_000));
    let next = PagingStep::Fetch(PageRequest::Number { page: 1, first: 0 });
    for items in [
        // Oldest first, without an order, of one time, without times.
        [("a", Some(100)), ("b", Some(200))],
        [("a", Some(100)), ("b", None)],
        [("a", Some(100)), ("b", Some(100))],
        [("a", None), ("b", None)],
    ] {
        assert_eq!(
            DeliveryPager::default().advance(PageRequest::FIRST, &page(&items), since),
            next,
            "{items:?}"
        );
    }
    let newest_first = page(&[("a", Some(700)), ("b", Some(200))]);
    assert_eq!(DeliveryPager::default().advance(PageRequest::FIRST, &newest_first, since), PagingStep::End);
}

#[test]
fn a_request_that_is_declined_is_made_in_another_way() {
    let number = |page, first| PageRequest::Number { page, first };
    assert_eq!(PageRequest::FIRST.after_declined(), Some(number(1, 1)));
    assert_eq!(number(1, 1).after_declined(), Some(PageRequest::Bare));
    assert_eq!(PageRequest::Bare.after_declined(), None);
    assert_eq!(PageRequest::Query(vec![]).after_declined(), None);
    assert_eq!(number(7, 0).after_declined(), None);
    let next = DeliveryPager::default().advance(PageRequest::Bare, &page(&[("a", None)]), None);
    assert_eq!(next, PagingStep::End, "a list that takes no parameters is one page");
}

/// The steps after each of these answers, from the first request on.
fn steps(first: PageRequest, answers: &[&str]) -> Vec<PagingStep> {
    let (mut pager, mut request) = (DeliveryPager::default(), first);
    let step = |answer: &&str| {
        let step = pager.advance(request.clone(), &parse_page(answer.as_bytes()).unwrap(), None);
        if let PagingStep::Fetch(next) = &step {
            request = next.clone();
        }
        step
    };
    answers.iter().map(step).collect()
}

#[test]
fn a_list_is_not_read_to_its_end_if_an_answer_says_that_there_is_more() {
    const ROW: &str = r#"{"id":"a","status":"DELIVERED"}"#;
    let incomplete = Some(PagingStep::Incomplete);
    // It takes no parameters.
    for more in [r#""page":0,"totalPages":50"#, r#""hasMore":true"#, r#""totalSize":2"#] {
        let answer = format!(r#"{{"data":[{ROW}],{more}}}"#);
        assert_eq!(steps(PageRequest::Bare, &[&answer]).pop(), incomplete, "{more}");
    }
    // It ignores the number of the page.
    for more in [r#""hasMore":true"#, r#""total":5000"#, r#""totalPages":50"#] {
        let answer = format!(r#"{{"data":[{ROW}],{more}}}"#);
        assert_eq!(steps(PageRequest::FIRST, &[&answer, &answer, &answer]).pop(), incomplete, "{more}");
    }
    let all = format!(r#"{{"data":[{ROW}],"totalSize":1,"totalPages":1,"last":true}}"#);
    for request in [PageRequest::Bare, PageRequest::FIRST] {
        assert_eq!(steps(request, &[&all]), [PagingStep::End]);
    }
    let cursor = r#"{"items":[],"nextCursor":null,"hasMore":true}"#;
    assert_eq!(steps(PageRequest::Query(vec![]), &[cursor]).pop(), incomplete);
    let same_cursor = r#"{"items":[],"nextCursor":"x","hasMore":true}"#;
    assert_eq!(steps(PageRequest::FIRST, &[same_cursor; 2]).pop(), incomplete);
}

#[test]
fn a_list_that_counts_from_one_may_have_nothing_on_page_0() {
    let page = r#"{"data":[{"id":"a","status":"DELIVERED"}],"page":1,"totalSize":1,"totalPages":1}"#;
    let first = PagingStep::Fetch(PageRequest::Number { page: 1, first: 1 });
    for empty in [r#"{"data":[],"totalSize":1,"totalPages":1}"#, r#"{"data":[],"totalPages":1}"#, "[]"] {
        assert_eq!(steps(PageRequest::FIRST, &[empty, page]), [first.clone(), PagingStep::End], "{empty}");
    }
}

#[test]
fn an_empty_page_between_others_does_not_end_a_list_of_cursors() {
    let row = |id: &str| format!(r#"[{{"id":"{id}","status":"DELIVERED"}}]"#);
    let answer = |items: &str, next: &str| format!(r#"{{"items":{items},"nextCursor":{next}}}"#);
    let answers = [answer(&row("a"), r#""x""#), answer("[]", r#""y""#), answer(&row("b"), "null")];
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let steps = steps(PageRequest::FIRST, &answers);
    assert!(matches!(steps[..], [PagingStep::Fetch(_), PagingStep::Fetch(_), PagingStep::End]), "{steps:?}");
}

#[test]
fn an_empty_page_between_others_does_not_end_a_list_that_has_more_pages() {
    let row = |id: &str| format!(r#"{{"data":[{{"id":"{id}","status":"DELIVERED"}}],"totalPages":3}}"#);
    let answers = [row("a"), r#"{"data":[],"totalPages":3}"#.to_owned(), row("b")];
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let steps = steps(PageRequest::FIRST, &answers);
    assert!(matches!(steps[..], [PagingStep::Fetch(_), PagingStep::Fetch(_), PagingStep::End]), "{steps:?}");
}

/// Fynapse's documents show an envelope whose totals are 0.
#[test]
fn totals_that_are_not_filled_in_do_not_end_a_list() {
    let page =
        r#"{"data":[{"id":"a","status":"DELIVERED"}],"page":0,"limit":0,"totalSize":0,"totalPages":0}"#;
    let next = PagingStep::Fetch(PageRequest::Number { page: 1, first: 0 });
    assert_eq!(steps(PageRequest::FIRST, &[page]), [next]);
}

#[test]
fn a_list_that_counts_from_one_and_does_not_say_so_is_read_to_its_last_page() {
    let row = |id: &str| format!(r#"{{"data":[{{"id":"{id}","status":"DELIVERED"}}],"totalPages":3}}"#);
    // The pages 0 and 1 are the same.
    let answers = [row("a"), row("a"), row("b"), row("c")];
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let last = PagingStep::Fetch(PageRequest::Number { page: 3, first: 1 });
    assert_eq!(steps(PageRequest::FIRST, &answers)[2..], [last, PagingStep::End]);
}

#[test]
fn deliveries_with_an_unknown_status_are_read_like_others() {
    // The newest pages of an outage.
    let unknown = |id: &str| format!(r#"{{"data":[{{"id":"{id}","status":"RETRYING"}}],"totalPages":5}}"#);
    let answers = ["a", "b", "c", "d"].map(unknown);
    let answers: Vec<_> = answers.iter().map(String::as_str).collect();
    let steps_before_last = steps(PageRequest::FIRST, &answers);
    assert!(
        steps_before_last.iter().all(|step| matches!(step, PagingStep::Fetch(_))),
        "{steps_before_last:?}"
    );
    let all = r#"{"data":[{"id":"a","status":"DELIVERED"},{"id":"b","status":"PAUSED"}],"total":2}"#;
    assert_eq!(steps(PageRequest::Bare, &[all]), [PagingStep::End]);
}

#[test]
fn a_list_that_grows_while_it_is_read_is_whole() {
    let first = r#"{"data":[{"id":"a","status":"DELIVERED"}],"total":1}"#;
    let grown = r#"{"data":[],"total":2}"#;
    assert_eq!(steps(PageRequest::FIRST, &[first, grown]).pop(), Some(PagingStep::End));
}

#[test]
fn deliveries_without_an_id_are_read_as_far_as_the_list_says_that_it_goes() {
    let page = r#"{"data":[{"status":"DELIVERED"}],"totalPages":4,"total":4}"#;
    let steps = steps(PageRequest::FIRST, &[page; 4]);
    assert!(steps[..3].iter().all(|step| matches!(step, PagingStep::Fetch(_))), "{steps:?}");
    assert_eq!(steps[3], PagingStep::End);
}

#[test]
fn a_page_may_be_missing_only_if_no_answer_has_announced_it() {
    for (answer, may_have_ended) in [
        (r#"[{"id":"a","status":"DELIVERED"}]"#, true),
        (r#"{"data":[{"id":"a","status":"DELIVERED"}],"totalPages":3}"#, false),
        (r#"{"data":[{"id":"a","status":"DELIVERED"}],"total":2}"#, false),
        (r#"{"data":[{"id":"a","status":"DELIVERED"}],"total":1}"#, true),
        (r#"{"data":[{"id":"a","status":"DELIVERED"}],"hasMore":true}"#, false),
    ] {
        let mut pager = DeliveryPager::default();
        assert!(!pager.may_have_ended(), "nothing was read");
        pager.advance(PageRequest::FIRST, &parse_page(answer.as_bytes()).unwrap(), None);
        assert_eq!(pager.may_have_ended(), may_have_ended, "{answer}");
    }
}

#[test]
fn a_link_gives_the_parameters_and_never_the_address() {
    let answer = List { count: 25, rows: 10, style: Style::Link }.answer(&PageRequest::FIRST);
    let page = parse_page(answer.as_bytes()).unwrap();
    let pairs = [("start", "1"), ("a", "b c")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(page.hints.next, Some(pairs.to_vec()));
}

#[test]
fn a_cursor_goes_into_the_parameter_of_its_name() {
    for (name, param) in [("nextCursor", "cursor"), ("next_page_token", "page_token"), ("nextToken", "token")]
    {
        let page = parse_page(format!(r#"{{"data":[],"{name}":"x"}}"#).as_bytes()).unwrap();
        let pairs = [(param, "x"), ("limit", "100")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(page.hints.next, Some(pairs.to_vec()), "{name}");
    }
}

#[test]
fn a_request_is_read_back_as_it_was_stored() {
    for request in [
        PageRequest::Number { page: 3, first: 1 },
        PageRequest::Bare,
        PageRequest::Query(vec![("a".into(), "b".into())]),
    ] {
        let stored = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<PageRequest>(&stored).unwrap(), request);
    }
}

proptest! {
    #[test]
    fn every_list_has_an_end_and_no_delivery_of_it_is_left_out(count in 0_usize..60, rows in 1_usize..12, style in 0_usize..7) {
        let list = List { count, rows, style: STYLES[style] };
        let (found, requests) = list.read(None);
        prop_assert_eq!(found, count);
        prop_assert!(requests <= count.div_ceil(rows) + 2, "{requests} requests");
    }
}
