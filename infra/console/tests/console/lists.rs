//! Lists: order, filters in the address, pages both ways, the button for new ones, and their cost.

use std::time::Duration;

use reqwest::StatusCode;
use tests::rightfoot_world::RightfootWorld;
use tests::{alert_body, completion_body, extract_body};

use crate::{Browser, Page, TestHost};

/// A browser, and this many events, a second apart.
async fn browser_with_events(count: usize) -> Browser {
    let browser = Browser::new().await;
    for n in 0..count {
        browser.world.deliver_fynapse(extract_body(&format!("e-{n:03}"))).await;
        browser.world.advance(Duration::from_secs(1));
    }
    browser
}

/// The ids on a page of events.
fn ids(page: &Page) -> Vec<String> {
    page.attributes("tbody a", "title")
}

fn event_ids(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("fynapse/event/e-{n:03}")).collect()
}

fn link(page: &Page, text: &str) -> String {
    let (texts, links) = (page.texts("nav.pages a"), page.attributes("nav.pages a", "href"));
    links[texts.iter().position(|it| it == text).unwrap()].clone()
}

#[tokio::test]
async fn events_are_listed_newest_first_and_paged_both_ways() {
    let browser = browser_with_events(120).await;
    let first = browser.open("/events").await;
    assert_eq!(ids(&first), event_ids((70..120).rev()));
    assert_eq!(first.texts("nav.pages a"), ["Older →"]);
    let second = browser.open(&link(&first, "Older →")).await;
    assert_eq!(ids(&second), event_ids((20..70).rev()));
    assert_eq!(second.texts("nav.pages a"), ["Newest", "← Newer", "Older →"]);
    let third = browser.open(&link(&second, "Older →")).await;
    assert_eq!(ids(&third), event_ids((0..20).rev()));
    assert_eq!(third.texts("nav.pages a"), ["Newest", "← Newer"]);
    let back = browser.open(&link(&third, "← Newer")).await;
    assert_eq!(ids(&back), ids(&second));
    assert_eq!(ids(&browser.open(&link(&back, "← Newer")).await), ids(&first));
}

#[tokio::test]
async fn filters_are_in_the_address_and_a_page_says_what_they_left_out() {
    let browser = browser_with_events(2).await;
    browser.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    browser.world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    browser.world.mark_done("fynapse/event/e-000").await;
    for (query, expected) in [
        ("state=done", vec!["fynapse/event/e-000"]),
        ("provider=rightfoot&type=BALANCE_BATCH_COMPLETED", vec!["rightfoot/batch/b-1/completed"]),
        ("provider=fynapse&state=sent", vec!["fynapse/event/e-001"]),
        ("origin=poll", vec![]),
        ("subject=demo", vec!["rightfoot/batch/b-1/completed", "rightfoot/batch/b-1/alert/u-2"]),
        ("until=2026-01-02T03:04:06Z", vec!["fynapse/event/e-000"]),
        ("since=1s&provider=fynapse", vec!["fynapse/event/e-001"]),
        (
            "type=%20",
            vec![
                "rightfoot/batch/b-1/completed",
                "rightfoot/batch/b-1/alert/u-2",
                "fynapse/event/e-001",
                "fynapse/event/e-000",
            ],
        ),
    ] {
        let page = browser.open(&format!("/events?{query}")).await;
        assert_eq!(ids(&page), expected, "{query}");
    }
    let page = browser.open("/events?state=done&provider=fynapse").await;
    // The other tabs keep the filter, and the title names it.
    assert_eq!(page.texts(".tabs a[aria-current]"), ["done"]);
    assert!(page.attributes(".tabs a", "href").contains(&"/events?provider=fynapse&state=sent".to_owned()));
    assert_eq!(
        page.texts("title"),
        ["Events: state done, provider fynapse · payments-inbox · Balance Inbox"]
    );
    let empty = browser.open("/events?origin=poll").await;
    assert_eq!(empty.texts(".empty"), ["No event matches origin poll."]);
    for wrong in ["state=x", "provider=x", "since=yesterday", "older=x", "origin=x", "subject=a%20b"] {
        let page = browser.get(&format!("/events?{wrong}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn new_events_only_raise_a_button_that_follows_a_cursor() {
    let browser = browser_with_events(3).await;
    let page = browser.open("/events").await;
    let live = page.attributes("[data-announce]", "data-live").remove(0);
    let fragment = browser.open(&live).await;
    assert_eq!(fragment.text.trim(), "", "nothing is new");
    // A burst of more than a page is counted whole.
    for n in 0..60 {
        browser.world.deliver_fynapse(extract_body(&format!("new-{n}"))).await;
    }
    // Tabs share an answer for two seconds.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let fragment = browser.open(&live).await;
    assert_eq!(
        (fragment.texts("a"), fragment.attributes("a", "href")),
        (vec!["+60 new".to_owned()], vec!["/events".to_owned()])
    );
    assert_eq!(fragment.header("console-as-of"), "03:04:08");
    // A filtered list counts what matches its filter.
    let filtered = browser.open("/events?provider=rightfoot").await;
    let live = filtered.attributes("[data-announce]", "data-live").remove(0);
    browser.world.deliver_rightfoot(completion_body("b-9", "u-9")).await;
    let fragment = browser.open(&live).await;
    assert_eq!(fragment.texts("a"), ["+1 new"]);
    assert_eq!(fragment.attributes("a", "href"), ["/events?provider=rightfoot"]);
    // An older page has no such button: its events do not change.
    let first = browser.open("/events").await;
    assert_eq!(browser.open(&link(&first, "Older →")).await.attributes("[data-live]", "data-live"), [""; 0]);
}

#[tokio::test]
async fn the_first_page_costs_a_query_for_each_shard_and_one_read_of_its_items() {
    let browser = browser_with_events(120).await;
    browser.world.stack.connector.clear_call_log();
    browser.open("/events").await;
    let calls = browser.world.stack.connector.call_log();
    let count = |operation: &str| calls.iter().filter(|(call, _)| call.operation == operation).count();
    assert_eq!((count("Query"), count("BatchGetItem"), calls.len()), (16, 1, 17));
}

#[tokio::test]
async fn no_page_scans_the_table() {
    let browser = browser_with_events(2).await;
    browser.world.mark_done("fynapse/event/e-000").await;
    browser.world.stack.connector.clear_call_log();
    for path in [
        "/",
        "/overview/charts",
        "/events",
        "/events?state=done",
        "/event?id=fynapse/event/e-000",
        "/batches",
        "/schedules",
        "/submissions",
        "/quarantine",
        "/audit?action=replay",
        "/search?q=e-0",
        "/events?schedule=s-1",
        "/events?authorizer=user-1",
        "/events/replay?id=fynapse/event/e-000",
    ] {
        browser.open(path).await;
    }
    let calls = browser.world.stack.connector.call_log();
    assert!(calls.len() > 50, "{}", calls.len());
    let scans: Vec<_> = calls.iter().filter(|(call, _)| call.operation == "Scan").collect();
    assert!(scans.is_empty(), "{scans:?}");
}

#[tokio::test]
async fn batches_schedules_and_submissions_are_listed_with_their_state_and_next_step() {
    let rightfoot = RightfootWorld::new().await;
    rightfoot.submit_batch("payroll-1", &["user-1", "user-2"]).await;
    rightfoot.track_schedule("s-1", "user-1").await;
    let browser = Browser::with(rightfoot.world.clone(), TestHost::default(), false).await;
    let batches = browser.open("/batches").await;
    assert_eq!(batches.texts("tbody .state"), ["tracked"]);
    let row = batches.texts("tbody tr").remove(0);
    assert!(
        row.contains(" ? / 2 ")
            && row
                .contains("polled next 2026-01-02T03:14:05.000Z (in 10 min), until 2026-01-03T03:04:05.000Z"),
        "{row}"
    );
    assert_eq!(browser.open("/batches?state=overdue").await.texts("tbody tr"), [""; 0]);
    let schedules = browser.open("/schedules").await;
    assert_eq!(schedules.attributes("tbody a", "href"), ["/schedule?id=s-1"]);
    assert_eq!(browser.open("/schedules?state=ended").await.texts("tbody tr"), [""; 0]);
    let submissions = browser.open("/submissions?state=created").await;
    assert_eq!(submissions.attributes("tbody a", "href"), ["/submission?id=payroll-1"]);
    let submission = browser.open("/submission?id=payroll-1").await;
    let batch = submission.attributes("dl.facts a", "href").remove(0);
    let batch = browser.open(&batch).await;
    assert_eq!(batch.texts("ol.timeline strong"), ["batch is tracked: 2 authorizers"]);
}

#[tokio::test]
async fn any_id_leads_to_its_page_and_a_part_of_it_to_what_begins_so() {
    let browser = browser_with_events(2).await;
    browser.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    browser.world.deliver_rightfoot("{").await;
    let quarantined = browser.attributes_of("/quarantine", "tbody a", "href").await.remove(0);
    let item = quarantined.split_once("id=").unwrap().1.to_owned();
    for (query, location) in [
        ("fynapse/event/e-000", "/event?id=fynapse/event/e-000".to_owned()),
        ("e-000", "/event?id=fynapse/event/e-000".to_owned()),
        ("%20b-1%20", "/batch?id=b-1".to_owned()),
        (item.as_str(), quarantined.clone()),
        (&item.rsplit_once('/').unwrap().1[..12], quarantined.clone()),
    ] {
        let page = browser.get(&format!("/search?q={query}")).await;
        assert_eq!(
            (page.status, page.header("location")),
            (StatusCode::SEE_OTHER, location.as_str()),
            "{query}"
        );
    }
    let several = browser.open("/search?q=e-").await;
    assert_eq!(several.texts("tbody .id"), ["fynapse/event/e-001", "fynapse/event/e-000"]);
    assert_eq!(browser.open("/search?q=unknown").await.texts("tbody tr"), [""; 0]);
    assert_eq!(browser.get("/event?id=fynapse/event/none").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/event?id=none").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.get("/batch?id=none").await.status, StatusCode::NOT_FOUND);
}
