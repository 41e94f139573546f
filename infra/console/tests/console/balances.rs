//! Stored balances: of a batch, and on the page of an authorizer; hidden until they are revealed, exact, and paged.

use std::time::Duration;

use inbox_aws::stores::ListCursor;
use inbox_core::time::UnixMillis;
use reqwest::{Method, StatusCode};
use tests::rightfoot_world::RightfootWorld;
use tests::{World, alert_body, completion_body, extract_body};

use crate::{Browser, Page, TestHost, encode, form_headers};

const ROWS: &str = "[aria-label=Balances] tbody tr";
const CHECKS: &str = "[aria-label=Checks] tbody tr";
const SECRET_AMOUNT: &str = "9876.54";

/// A run with two results, whose alert of `user-123` is published.
async fn world_with_run() -> RightfootWorld {
    let rightfoot = RightfootWorld::with_run("r-1", &[("user-123", "150.00"), ("b", "-0.10")]).await;
    let world = &rightfoot.world;
    world.deliver_rightfoot(alert_body("r-1", "u-2")).await;
    world.deliver_rightfoot(completion_body("r-1", "u-1")).await;
    world.run_worker().await;
    rightfoot
}

async fn browser(world: &World) -> Browser {
    Browser::with(world.clone(), TestHost::default(), false).await
}

/// The value of the hidden field of this name.
fn token(page: &Page, name: &str) -> String {
    page.attributes(&format!("main input[name={name}]"), "value").remove(0)
}

#[tokio::test]
async fn the_balances_of_a_batch_are_shown_only_on_request_and_exactly_as_they_are_stored() {
    let rightfoot = world_with_run().await;
    let world = &rightfoot.world;
    world.store_balances("r-1", Some("s-1"), &[("c", None), ("d", Some("12345678901234567890.12"))]).await;
    world.store_balances("r-2", None, &[("e", Some(SECRET_AMOUNT))]).await;
    let browser = browser(world).await;
    for path in ["/batch?id=r-1", "/batch/live?id=r-1"] {
        let page = browser.open(path).await;
        assert!(!page.text.contains("150") && page.texts(ROWS).is_empty(), "{path}");
    }
    let page = browser.open("/batch?id=r-1").await;
    assert_eq!(page.attributes("main form", "action"), ["/batch/balances"]);
    assert_eq!(page.attributes("main form input", "name"), ["id"], "nobody has to name an authorizer");
    let revealed = browser.post("/batch/balances", &[("id", "r-1")]).await;
    assert_eq!(
        revealed.texts(ROWS),
        [
            "b -0.1 $ success 0 s ago",
            "c – institution_not_supported (3300) 0 s ago",
            "d 12345678901234567890.12 $ success 0 s ago",
            "user-123 150 $ success 0 s ago",
        ]
    );
    assert!(!revealed.text.contains(SECRET_AMOUNT), "it is of another batch");
    assert_eq!(revealed.texts("main button"), [""; 0], "there is one page");
    world.deliver_rightfoot(completion_body("r-3", "u-3")).await;
    let none = browser.post("/batch/balances", &[("id", "r-3")]).await;
    assert_eq!(none.texts(".empty"), ["No balance of this batch is stored."]);
}

#[tokio::test]
async fn the_balances_of_a_large_batch_are_paged_both_ways_by_one_query_each() {
    let world = World::new().await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let names: Vec<_> = (0..250).map(|n| format!("user-{n:03}")).collect();
    let rows: Vec<_> = names.iter().map(|name| (name.as_str(), Some("1"))).collect();
    world.store_balances("b-1", None, &rows).await;
    let browser = browser(&world).await;
    let shown = |page: &Page| page.texts("[aria-label=Balances] td.id");
    world.stack.connector.clear_call_log();
    let first = browser.post("/batch/balances", &[("id", "b-1")]).await;
    let queries = world.stack.connector.call_log();
    // The batch itself, and its balances.
    assert_eq!(queries.iter().filter(|(call, _)| call.operation == "Query").count(), 2);
    assert_eq!(
        (shown(&first), first.texts("main button")),
        (names[..100].to_vec(), vec!["Next page →".to_owned()])
    );
    let second = browser.post("/batch/balances", &[("id", "b-1"), ("older", &token(&first, "older"))]).await;
    assert_eq!(shown(&second), names[100..200]);
    assert_eq!(second.texts("main button"), ["← Previous page", "Next page →"]);
    let third = browser.post("/batch/balances", &[("id", "b-1"), ("older", &token(&second, "older"))]).await;
    assert_eq!(
        (shown(&third), third.texts("main button")),
        (names[200..].to_vec(), vec!["← Previous page".to_owned()])
    );
    let back = browser.post("/batch/balances", &[("id", "b-1"), ("newer", &token(&third, "newer"))]).await;
    assert_eq!(shown(&back), shown(&second));
}

#[tokio::test]
async fn an_authorizer_shows_its_checks_its_alerts_and_the_events_of_its_batches() {
    let rightfoot = world_with_run().await;
    let world = &rightfoot.world;
    world.advance(Duration::from_secs(60));
    world.store_balances("b-2", None, &[("user-123", None)]).await;
    let browser = browser(world).await;
    let page = browser.open("/authorizer?id=user-123").await;
    assert_eq!(page.texts("h1"), ["Authorizer user-123"]);
    assert_eq!(
        page.texts(CHECKS),
        ["0 s ago institution_not_supported (3300) b-2 – –", "60 s ago success r-1 s-1 published 60 s ago",]
    );
    assert!(!page.text.contains("150"), "hidden until it is asked for");
    let links = page.attributes("[aria-label=Checks] a", "href");
    assert_eq!(
        links,
        ["/batch?id=b-2", "/batch?id=r-1", "/schedule?id=s-1", "/event?id=rightfoot/batch/r-1/alert/u-2"]
    );
    assert_eq!(
        page.attributes("[aria-label=Events] a", "title"),
        ["rightfoot/batch/r-1/completed", "rightfoot/batch/r-1/alert/u-2"]
    );
    assert_eq!(page.attributes("main p > a", "href"), ["/events?authorizer=user-123"]);
    let revealed = browser.post("/authorizer/balances", &[("id", "user-123")]).await;
    assert_eq!(
        revealed.texts(CHECKS),
        [
            "0 s ago – institution_not_supported (3300) b-2 – –",
            "60 s ago 150 $ success r-1 s-1 published 60 s ago",
        ]
    );
    // Another authorizer of the same batch has no alert.
    let other = browser.open("/authorizer?id=b").await;
    assert_eq!(other.texts(CHECKS), ["60 s ago success r-1 s-1 –"]);
}

#[tokio::test]
async fn the_checks_of_an_authorizer_are_paged_and_each_page_is_revealed_in_its_place() {
    let world = World::new().await;
    for n in 0..120 {
        world.store_balances(&format!("b-{n:03}"), None, &[("user-1", Some(&format!("{n}.25")))]).await;
        world.advance(Duration::from_secs(1));
    }
    let browser = browser(&world).await;
    let batches = |page: &Page| page.texts("[aria-label=Checks] td[data-label=Batch]");
    let named = |numbers: std::ops::Range<usize>| -> Vec<String> {
        numbers.rev().map(|n| format!("b-{n:03}")).collect()
    };
    let first = browser.open("/authorizer?id=user-1").await;
    assert_eq!((batches(&first), first.texts("nav.pages a")), (named(70..120), vec!["Older →".to_owned()]));
    let second = browser.open(&first.attributes("nav.pages a", "href")[0]).await;
    assert_eq!(
        (batches(&second), second.texts("nav.pages a")),
        (named(20..70), vec!["Newest".into(), "← Newer".into(), "Older →".into()])
    );
    // The page that is shown is revealed, and the pages beside it stay revealed.
    let revealed =
        browser.post("/authorizer/balances", &[("id", "user-1"), ("older", &token(&second, "older"))]).await;
    assert_eq!(batches(&revealed), named(20..70));
    assert!(revealed.text.contains(">69.25 $<") && !revealed.text.contains(">70.25 $<"));
    assert_eq!(revealed.texts("main button"), ["← Previous page", "Next page →"]);
    assert_eq!(revealed.texts("nav.pages a"), [""; 0]);
    let last = browser
        .post("/authorizer/balances", &[("id", "user-1"), ("older", &token(&revealed, "older"))])
        .await;
    assert_eq!(batches(&last), named(0..20));
}

#[tokio::test]
async fn an_authorizer_is_found_by_its_whole_id_and_by_one_read() {
    let rightfoot = world_with_run().await;
    let world = &rightfoot.world;
    world.store_balances("b-2", None, &[("r-1", Some("1"))]).await;
    let browser = browser(world).await;
    let found = browser.get("/search?q=user-123").await;
    assert_eq!((found.status, found.header("location")), (StatusCode::SEE_OTHER, "/authorizer?id=user-123"));
    assert_eq!(browser.open("/search?q=user-12").await.texts("tbody tr"), [""; 0], "not by a part of it");
    // The same id may be that of a batch.
    let both = browser.open("/search?q=r-1").await;
    assert_eq!(both.attributes("tbody a", "href"), ["/batch?id=r-1", "/authorizer?id=r-1"]);
    for call in world.stack.connector.call_log() {
        assert_ne!(call.0.operation, "Scan");
    }
}

#[tokio::test]
async fn no_link_reveals_a_balance_and_a_read_only_console_reveals_it_by_post() {
    let rightfoot = world_with_run().await;
    for (is_read_only, status) in [(false, StatusCode::METHOD_NOT_ALLOWED), (true, StatusCode::FORBIDDEN)] {
        let browser = Browser::with(rightfoot.world.clone(), TestHost::default(), is_read_only).await;
        for (route, id) in [("/batch/balances", "r-1"), ("/authorizer/balances", "user-123")] {
            let link = browser.get(&format!("{route}?id={id}")).await;
            assert_eq!(link.status, status, "{route}");
            let revealed = browser.post(route, &[("id", id)]).await;
            assert!(revealed.status == StatusCode::OK && revealed.text.contains("150 $"), "{route}");
            // Another site's form gets nothing, nor does one without an origin.
            let own = format!("http://127.0.0.1:{}", browser.port);
            for (site, origin) in [
                ("cross-site", "http://evil.example"),
                ("same-site", "http://127.0.0.1:1"),
                ("same-site", own.as_str()),
                ("same-origin", ""),
            ] {
                let mut headers = form_headers(origin).to_vec();
                headers.push(("sec-fetch-site", site));
                let page = browser.request(Method::POST, route, &headers, &encode(&[("id", id)])).await;
                assert_eq!(page.status, StatusCode::FORBIDDEN, "{route} {site} {origin}");
                assert!(!page.text.contains("150"), "{route} {site} {origin}");
            }
        }
    }
}

#[tokio::test]
async fn ids_of_authorizers_are_escaped_and_only_ids_of_authorizers_lead_to_balances() {
    let world = World::new().await;
    let id = "\"><img src=x onerror=alert(1)>\u{202e}";
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.store_balances("b-1", None, &[(id, Some("1")), ("rightfoot#batch#b-1", Some("2"))]).await;
    let browser = browser(&world).await;
    let revealed = browser.post("/batch/balances", &[("id", "b-1")]).await;
    let link = revealed.attributes("[aria-label=Balances] a", "href").remove(0);
    let page = browser.open(&link).await;
    assert_eq!(page.texts("h1"), ["Authorizer \"><img src=x onerror=alert(1)>\\u{202e}"]);
    let forwarded = browser.post("/authorizer/balances", &[("id", id)]).await;
    assert_eq!(forwarded.texts(CHECKS).len(), 1);
    let events = browser.open(&format!("/events?{}", encode(&[("authorizer", id)]))).await;
    assert_eq!(events.attributes("tbody a", "title"), ["rightfoot/batch/b-1/completed"]);
    for page in [&revealed, &page, &forwarded, &events] {
        assert!(!page.text.contains("<img") && !page.text.contains('\u{202e}'));
        assert_eq!(page.texts("main img"), [""; 0]);
    }
    // Keys of the table of the inbox are no authorizers.
    for other in ["fynapse#event#e-1", "rightfoot#batch#b-2", "b-1", "none", "%"] {
        let page = browser.get(&format!("/authorizer?{}", encode(&[("id", other)]))).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{other}");
    }
    // An authorizer that is called as a key is one all the same.
    assert_eq!(browser.open("/authorizer?id=rightfoot%23batch%23b-1").await.texts(CHECKS).len(), 1);
    let (longest, too_long) = ("x".repeat(512), "x".repeat(513));
    assert_eq!(browser.get(&format!("/authorizer?id={longest}")).await.status, StatusCode::NOT_FOUND);
    for path in
        ["/authorizer", "/authorizer?id=", &format!("/authorizer?id={too_long}"), "/authorizer?id=a&older=x"]
    {
        assert_eq!(browser.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    for name in ["batch", "schedule", "authorizer"] {
        let page = browser.get(&format!("/events?{name}={too_long}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{name}");
    }
}

#[tokio::test]
async fn a_page_token_of_another_list_shows_no_balance_of_another_batch() {
    let world = World::new().await;
    for batch in ["b-1", "b-2"] {
        world.deliver_rightfoot(completion_body(batch, batch)).await;
    }
    world.store_balances("b-1", None, &[("a", Some("1"))]).await;
    world.store_balances("b-2", None, &[("a", Some(SECRET_AMOUNT)), ("z", Some(SECRET_AMOUNT))]).await;
    let browser = browser(&world).await;
    for (pk, sk) in [("a", "001767323045000#b-2"), ("", ""), ("rightfoot#batch#b-2", "tracked")] {
        let token = ListCursor { at: UnixMillis(0), pk: pk.to_owned(), sk: sk.to_owned() }.to_string();
        for name in ["older", "newer"] {
            let page = browser.post("/batch/balances", &[("id", "b-1"), (name, &token)]).await;
            assert!(page.status == StatusCode::OK && !page.text.contains(SECRET_AMOUNT), "{pk} {name}");
        }
    }
}
