//! Pages of events and batches, and what every page has.

use std::time::Duration;

use tests::rightfoot_world::RightfootWorld;
use tests::{alert_body, completion_body, extract_body};

use crate::{Browser, TestHost};

const PATHS: [&str; 10] = [
    "/",
    "/events",
    "/batches",
    "/schedules",
    "/submissions",
    "/quarantine",
    "/dead-letters",
    "/audit",
    "/send",
    "/checks",
];

#[tokio::test]
async fn every_page_names_the_stack_the_time_and_itself() {
    let browser = Browser::new().await;
    let mut titles = Vec::new();
    for path in PATHS {
        let page = browser.open(path).await;
        assert_eq!(page.texts("header .stack"), ["payments-inbox"], "{path}");
        assert_eq!(page.texts("header .badge.bad"), ["production"]);
        assert_eq!(page.texts("header .quiet"), ["account 123456789012 · eu-west-1"]);
        assert_eq!(page.texts("#as-of"), ["03:04:05"]);
        assert_eq!(page.texts("h1").len(), 1, "{path}");
        titles.extend(page.texts("title"));
    }
    let mut unique = titles.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), titles.len(), "{titles:?}");
}

#[tokio::test]
async fn every_page_can_be_used_by_keyboard_and_by_ear() {
    let browser = Browser::new().await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.mark_done("fynapse/event/e-1").await;
    browser.world.store_balances("b-1", None, &[("user-1", Some("1"))]).await;
    let more = [
        "/event?id=fynapse/event/e-1",
        "/events/replay?id=fynapse/event/e-1",
        "/events?batch=b-1&schedule=s-1&authorizer=user-1",
        "/authorizer?id=user-1",
    ];
    for path in PATHS.iter().chain(&more) {
        let page = browser.open(path).await;
        assert_eq!(page.attributes("html", "lang"), ["en"]);
        assert_eq!(page.attributes("a.skip", "href"), ["#content"]);
        assert_eq!(page.attributes("main", "id"), ["content"]);
        // A table that scrolls can be reached and has a name; its columns have headers.
        let tables = page.texts("table").len();
        assert_eq!(
            page.attributes(".table[role=region][tabindex='0']", "aria-label").len(),
            tables,
            "{path}"
        );
        let headers = page.texts("thead th");
        assert!(headers.iter().all(|header| !header.is_empty()), "{path}: {headers:?}");
        assert_eq!(page.attributes("thead th", "scope").len(), headers.len(), "{path}");
        // What is filled in has a label.
        let fields = page.attributes("input:not([type=hidden]), select", "name").len();
        let labelled = page
            .attributes("label input:not([type=hidden]), label select, input[aria-label], #search", "name");
        assert_eq!(labelled.len(), fields, "{path}");
        // Rows that change are no live region; one status speaks.
        assert_eq!(
            page.attributes("[data-live][role], [data-live] [aria-live], [role=log]", "role"),
            [""; 0]
        );
        assert_eq!(page.attributes("[role=status]", "id"), ["announcement"], "{path}");
    }
}

/// On a phone's width there is no row of headers: each cell shows its own.
#[tokio::test]
async fn each_cell_has_the_name_of_its_column() {
    let browser = Browser::new().await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.mark_done("fynapse/event/e-1").await;
    browser.world.deliver_fynapse("{\"half\":").await;
    browser.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    browser.world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    let form = [("id", "b-1"), ("expected", "2"), ("subject", "demo"), ("by", "ada"), ("why", "lost")];
    browser.act("/batches/track", &form).await;
    let item = browser.attributes_of("/quarantine", "tbody a", "href").await.remove(0);
    for (path, columns) in [
        ("/", 6),
        ("/events", 7),
        ("/events/replay?id=fynapse/event/e-1", 4),
        ("/batches", 5),
        ("/quarantine", 5),
        (&item.replace("/item", "/replay"), 4),
        ("/audit", 5),
        ("/search?q=b", 2),
        ("/send", 3),
    ] {
        let page = browser.open(path).await;
        let headers = page.texts("thead th");
        let labels = page.attributes("tbody tr:first-of-type td", "data-label");
        assert_eq!(
            (headers.len() % columns, labels.len() % columns),
            (0, 0),
            "{path}: {headers:?} {labels:?}"
        );
        assert!(!labels.is_empty(), "{path}");
        for (row, header) in labels.chunks(columns).zip(headers.chunks(columns)) {
            assert_eq!(row, header, "{path}");
        }
        assert_eq!(page.texts("td").len(), page.attributes("td", "data-label").len(), "{path}");
    }
}

#[tokio::test]
async fn an_event_shows_its_timeline_with_durations_attempts_and_reasons() {
    let browser = Browser::new().await;
    browser.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    browser.world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    // Rightfoot's API does not answer in this world: the worker requeues the event.
    browser.world.advance(Duration::from_secs(2));
    browser.world.run_worker().await;
    browser.world.advance(Duration::from_secs(180));
    let page = browser.open("/event?id=rightfoot/batch/b-1/completed").await;
    assert_eq!(page.texts("ol.timeline strong"), ["is received and recorded, by webhook"]);
    let status = page.texts("main p").remove(0);
    assert!(
        status.starts_with("waiting requeued by the worker, 1 time so far, last because of "),
        "{status}"
    );
    let facts = page.texts("dl.facts dd");
    assert!(
        facts.contains(&"BALANCE_BATCH_COMPLETED".to_owned()) && facts.contains(&"demo".to_owned()),
        "{facts:?}"
    );
    assert!(facts.iter().any(|fact| fact.starts_with("1 (")), "requeues with their reason: {facts:?}");
    assert_eq!(
        page.texts("tbody td.id"),
        ["b-1", "rightfoot/batch/b-1/alert/u-2"],
        "the batch, and the other event of the same batch"
    );
    assert_eq!(page.texts("tbody td:last-child"), ["not tracked", "waiting"]);
    // The alert of another batch's event is not related.
    let fynapse = extract_body("e-1");
    browser.world.deliver_fynapse(&fynapse).await;
    browser.world.advance(Duration::from_millis(1_250));
    browser.world.run_worker().await;
    let page = browser.open("/event?id=fynapse/event/e-1").await;
    assert_eq!(
        page.texts("ol.timeline li"),
        [
            "is received and recorded, by webhook 1 s ago",
            "is put on the queue 1 s ago · 0 ms after the step before",
            "is done: its effect is on the bus 0 s ago · 1.2 s after the step before",
        ]
    );
    assert_eq!(page.texts("tbody tr"), [""; 0]);
}

#[tokio::test]
async fn a_quarantined_event_leads_to_its_item_and_the_item_says_what_to_do() {
    let browser = Browser::new().await;
    browser.world.deliver_rightfoot("{\"type\":\"NEW_TYPE\",\"event_uuid\":\"u\",\"batch_id\":\"b\"}").await;
    let page = browser.open("/quarantine").await;
    assert_eq!(page.texts("h2 code"), ["unknown_type"]);
    assert!(
        page.main()
            .contains("What to do: Look at the payload. Deploy a version that accepts it. Then replay.")
    );
    let item = page.attributes("tbody a", "href").remove(0);
    let item = browser.open(&item).await;
    assert!(item.main().contains("open unknown_type: This version does not know the type of the event."));
    assert!(!item.text.contains("NEW_TYPE"), "hidden until it is asked for");
    let id = item.attributes("input[name=id]", "value").remove(0);
    let revealed = browser.post("/quarantine/payload", &[("id", &id)]).await;
    assert!(revealed.text.contains("NEW_TYPE"));
    let file = browser.post("/quarantine/download", &[("id", &id)]).await;
    assert!(file.header("content-disposition").starts_with("attachment"));
}

#[tokio::test]
async fn a_batch_shows_its_events_and_alerts_in_the_order_of_time() {
    let rightfoot = RightfootWorld::with_run("r-1", &[("user-123", "150.00"), ("b", "1.00")]).await;
    let world = &rightfoot.world;
    world.advance(Duration::from_secs(1));
    world.deliver_rightfoot(alert_body("r-1", "u-2")).await;
    world.advance(Duration::from_secs(1));
    world.run_worker().await;
    let browser = Browser::with(world.clone(), TestHost::default(), false).await;
    let page = browser.open("/batch?id=r-1").await;
    let steps = page.texts("ol.timeline strong");
    assert_eq!(steps.first().unwrap(), "batch is tracked: 2 authorizers");
    assert!(steps.contains(&"alert of user-123 is on the bus".to_owned()), "{steps:?}");
    let event = browser.open("/event?id=rightfoot/batch/r-1/alert/u-2").await;
    let steps = event.texts("ol.timeline strong");
    assert!(steps.contains(&"alert of user-123 is on the bus".to_owned()), "{steps:?}");
    assert_eq!(event.texts("tbody td:first-child"), ["batch", "schedule"]);
    let live = browser.open("/batch/live?id=r-1").await;
    assert_eq!(live.texts("ol.timeline strong"), page.texts("ol.timeline strong"));
}
