//! Pages of events and batches, and what every page has.

use std::time::Duration;

use local::rightfoot_simulator::WebhookLoss;
use tests::rightfoot_world::RightfootWorld;
use tests::{SUBJECT, alert_body, completion_body, extract_body};

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
    browser.world.store_balances("b-1", None, &[("user-1", Some("1"))]).await;
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
        ("/batch?id=b-1", 3),
        // Both of its tables.
        ("/authorizer?id=user-1", 11),
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
        page.texts("[aria-label='Related items'] td.id"),
        ["b-1", "rightfoot/batch/b-1/alert/u-2"],
        "the batch, and the other event of the same batch"
    );
    assert_eq!(page.texts("[aria-label='Related items'] td:last-child"), ["not tracked", "waiting"]);
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
    assert_eq!(page.texts("[aria-label='Related items']"), [""; 0]);
}

#[tokio::test]
async fn an_event_shows_what_went_on_the_queue_and_on_the_bus() {
    let browser = Browser::new().await;
    browser.world.deliver_fynapse(&extract_body("e-1")).await;
    let message = "{ \"specversion\": \"1.0\", \"id\": \"fynapse/event/e-1\", \"source\": \"/fynapse/webhook\", \
                   \"type\": \"com.fynapse.balance.extracted\", \"time\": \"2026-01-02T03:04:05.000Z\", \
                   \"datacontenttype\": \"application/json\", \"origin\": \"webhook\" }";
    let (sent, bus) =
        ("[aria-label='Message on the queue, without the payload']", "[aria-label='Events on the bus'] td");
    let page = browser.open("/event?id=fynapse/event/e-1").await;
    assert_eq!(page.texts(sent), [message]);
    assert!(page.main().contains("Nothing yet: BalanceExtracted once it is done."));
    browser.world.run_worker().await;
    let page = browser.open("/event?id=fynapse/event/e-1").await;
    assert_eq!(page.texts(bus), ["BalanceExtracted", "fynapse/event/e-1", "0 s ago", ""]);
    // With the payload, it is the message that SQS has.
    let revealed = browser.post("/event/payload", &[("id", "fynapse/event/e-1")]).await;
    let whole = revealed.texts("[aria-label='Message on the queue']").remove(0);
    assert!(whole.starts_with("{\"specversion\":\"1.0\",\"id\":\"fynapse/event/e-1\""), "{whole}");
    assert!(whole.ends_with(&format!(",\"data\":{}}}", extract_body("e-1"))), "{whole}");
}

#[tokio::test]
async fn an_event_shows_its_duplicates_and_that_another_payload_came() {
    let browser = Browser::new().await;
    let (first, other) = (extract_body("e-1"), extract_body("e-1").replace("150.00", "999.00"));
    browser.world.deliver_fynapse(&first).await;
    let page = browser.open("/event?id=fynapse/event/e-1").await;
    assert!(!page.texts("dl.facts dt").contains(&"duplicates".to_owned()));
    for (body, fact, step) in [
        (&first, "1, the last 2026-01-02T03:05:05.000Z (0 s ago)", "comes again, as a duplicate"),
        (
            &other,
            "2, the last 2026-01-02T03:06:05.000Z (0 s ago); another payload came 1 time, and the first one counts",
            "comes again: the last of 2 duplicates; another payload came 1 time, and the first one counts",
        ),
    ] {
        browser.world.advance(Duration::from_secs(60));
        browser.world.deliver_fynapse(body).await;
        let page = browser.open("/event?id=fynapse/event/e-1").await;
        assert!(page.texts("dl.facts dd").contains(&fact.to_owned()), "{:?}", page.texts("dl.facts dd"));
        assert_eq!(page.texts("ol.timeline strong").last().unwrap(), step);
    }
}

#[tokio::test]
async fn an_event_that_a_poll_found_shows_its_late_webhook() {
    let rightfoot =
        RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let batch = rightfoot.submit_batch(SUBJECT, &["a"]).await["batch_id"].as_str().unwrap().to_owned();
    rightfoot.run_in_steps(Duration::from_secs(600), Duration::from_secs(600)).await;
    rightfoot.world.deliver_rightfoot(completion_body(&batch, "u-1")).await;
    let browser = Browser::with(rightfoot.world.clone(), TestHost::default(), false).await;
    let page = browser.open(&format!("/event?id=rightfoot/batch/{batch}/completed")).await;
    let steps = page.texts("ol.timeline strong");
    assert!(steps.contains(&"comes by webhook, after the poll".to_owned()), "{steps:?}");
}

#[tokio::test]
async fn a_batch_shows_how_many_of_its_results_were_found_and_by_whom() {
    let rightfoot = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        rightfoot.processing_time = Duration::from_secs(12 * 60);
    })
    .await;
    let batch =
        rightfoot.submit_batch(SUBJECT, &["a", "b", "c"]).await["batch_id"].as_str().unwrap().to_owned();
    let browser = Browser::with(rightfoot.world.clone(), TestHost::default(), false).await;
    let results = async || {
        let fact = browser.open(&format!("/batch?id={batch}")).await.texts("dl.facts dd").remove(0);
        (browser.open("/batches").await.texts("tbody td[data-label=Results]").remove(0), fact)
    };
    assert_eq!(results().await, ("? / 3".to_owned(), "none found yet of 3 results".to_owned()));
    rightfoot.run_in_steps(Duration::from_secs(600), Duration::from_secs(600)).await;
    let found = "2 of 3 results found, by a poll 2026-01-02T03:14:05.000Z (0 s ago)".to_owned();
    assert_eq!(results().await, ("2 / 3".to_owned(), found));
    rightfoot.advance(Duration::from_secs(120)).await;
    rightfoot.world.deliver_rightfoot(completion_body(&batch, "u-1")).await;
    rightfoot.world.run_worker().await;
    let published = "3 of 3 results, published 2026-01-02T03:16:05.000Z (0 s ago); by webhook".to_owned();
    assert_eq!(results().await, ("3 / 3".to_owned(), published));
    let steps = browser.open(&format!("/batch?id={batch}")).await.texts("ol.timeline strong");
    let completion = format!("rightfoot/batch/{batch}/completed");
    assert_eq!(
        steps,
        [
            "batch is tracked: 3 authorizers".to_owned(),
            "a poll finds 2 results of the batch".to_owned(),
            format!("{completion} is received and recorded, by webhook"),
            format!("{completion} is put on the queue"),
            format!("{completion} is done: the batch is on the bus, with 3 results"),
        ]
    );
}

#[tokio::test]
async fn an_alert_event_that_names_nobody_has_published_nothing() {
    let rightfoot = RightfootWorld::with_run("r-1", &[("user-123", "150.00")]).await;
    let world = &rightfoot.world;
    let nobody = alert_body("r-1", "u-0")
        .replace(r#"[{"authorizer_unique_id":"user-123","balance":150.00,"threshold_amount":100.00}]"#, "[]");
    world.deliver_rightfoot(nobody).await;
    world.deliver_rightfoot(alert_body("r-1", "u-2")).await;
    world.run_worker().await;
    let browser = Browser::with(world.clone(), TestHost::default(), false).await;
    for (event, effect, on_bus) in [
        ("u-0", "nothing to publish, because it names no authorizer", vec![]),
        (
            "u-2",
            "1 alert is on the bus",
            vec!["BalanceThresholdMet", "rightfoot/batch/r-1/threshold-met/user-123", "0 s ago", ""],
        ),
    ] {
        let page = browser.open(&format!("/event?id=rightfoot/batch/r-1/alert/{event}")).await;
        let steps = page.texts("ol.timeline strong");
        assert!(steps.contains(&format!("is done: {effect}")), "{steps:?}");
        assert!(page.texts("main p").remove(0).ends_with(&format!(": {effect}")), "{event}");
        assert_eq!(page.texts("[aria-label='Events on the bus'] td"), on_bus);
        assert_eq!(page.main().contains("Nothing was published."), on_bus.is_empty());
    }
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
    assert_eq!(event.texts("[aria-label='Related items'] td:first-child"), ["batch", "schedule"]);
    let live = browser.open("/batch/live?id=r-1").await;
    assert_eq!(live.texts("ol.timeline strong"), page.texts("ol.timeline strong"));
}
