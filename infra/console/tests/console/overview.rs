//! The overview: what waits at each step, the worst findings first, the latest events, and charts.

use inbox_console::FindingStatus;
use tests::{World, extract_body};

use crate::{Browser, TestHost, finding};

#[tokio::test]
async fn the_flow_shows_what_waits_at_each_step_and_what_is_late() {
    let world = World::new().await;
    for id in ["e-1", "e-2", "e-3"] {
        world.deliver_fynapse(extract_body(id)).await;
    }
    world.mark_done("fynapse/event/e-1").await;
    world.deliver_rightfoot("{").await;
    let browser = Browser::with(world, TestHost::default(), false).await;
    let page = browser.open("/").await;
    let steps = page.texts("ol.flow a");
    assert_eq!(
        steps,
        [
            "Received and recorded 0 s ago the last event",
            "Wait for the relay 0 nothing waits",
            "On the queue 3 wait for the worker",
            "In the worker 0 received, and not deleted yet",
            "Done 1 of 3 of the latest events",
        ]
    );
    assert_eq!(
        page.texts("ul.flow a"),
        [
            "Polled at Rightfoot 0 nothing is tracked",
            "In quarantine 1 the oldest 0 s ago look",
            "Dead letters 0 given up after five receives",
        ]
    );
    assert_eq!(page.attributes("ol.flow a", "href")[2], "/events?state=sent");
    assert_eq!(page.texts("tbody .state"), ["sent", "sent", "done"]);
}

#[tokio::test]
async fn an_empty_inbox_says_what_to_do() {
    let browser = Browser::new().await;
    let page = browser.open("/").await;
    assert_eq!(page.texts(".empty"), ["No event is recorded yet. Send a test delivery."]);
    let charts = browser.open("/overview/charts").await;
    assert_eq!(
        charts.attributes("svg", "aria-label")[0],
        "Events received in each minute of the last hour: none in the last hour"
    );
}

#[tokio::test]
async fn the_worst_finding_comes_first_and_good_ones_are_counted() {
    let host = TestHost {
        findings: vec![
            finding("relay", FindingStatus::Ok, "nothing waits"),
            finding("tracking", FindingStatus::Warn, "not tracked: 1"),
            finding("lost messages", FindingStatus::Skipped, "this check reads the whole table"),
            finding("quarantine", FindingStatus::Fail, "open: 3"),
            finding("queue", FindingStatus::Unknown, "denied <b>"),
        ],
        ..TestHost::default()
    };
    let browser = Browser::with(World::new().await, host, false).await;
    let page = browser.open("/overview/findings").await;
    assert_eq!(
        page.texts(".findings li"),
        [
            "failed quarantine: open: 3 → look at quarantine",
            "unknown queue: denied <b> → look at queue",
            "warning tracking: not tracked: 1 → look at tracking",
        ]
    );
    assert_eq!(page.texts(".findings code"), ["quarantine", "queue", "tracking"]);
    assert!(page.text.contains("1 other checks found nothing wrong"));
    assert!(page.text.contains("inboxctl doctor"));
    // The same as a page of its own, for those without the script.
    assert_eq!(browser.open("/checks").await.texts(".findings li").len(), 3);
}

#[tokio::test]
async fn charts_count_the_events_of_each_minute() {
    let browser = Browser::new().await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.advance(tests::MINUTE * 30);
    browser.world.deliver_fynapse(extract_body("e-2")).await;
    browser.world.deliver_fynapse(extract_body("e-3")).await;
    let charts = browser.open("/overview/charts").await;
    assert_eq!(
        charts.texts("figcaption"),
        [
            "Events received: 3 in the last hour, at most 2 in a minute",
            "Batches tracked: none in the last hour",
            "Quarantined: none in the last hour",
        ]
    );
    assert_eq!(charts.attributes("rect", "x"), ["29", "59"]);
    assert_eq!(charts.attributes("rect", "height"), ["25", "50"]);
}
