//! The overview: what waits at each step, the worst findings first, the latest events, and charts.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use inbox_console::{FindingStatus, LAST_HOUR_MINUTES, LastHour, MetricSeries, MetricSource, OverviewMetric};
use local::stack::DEAD_LETTER_QUEUE;
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

/// A metric, its group, and the values of minutes.
type Series<'a> = (OverviewMetric, &'a str, &'a [(usize, u64)]);

/// Metrics of an hour. The last value of each is of the current minute.
fn last_hour(source: MetricSource, series: &[Series<'_>]) -> LastHour {
    let series = series.iter().map(|(metric, group, values)| {
        let mut minutes = [None; LAST_HOUR_MINUTES];
        values.iter().for_each(|(minute, value)| minutes[*minute] = Some(*value));
        MetricSeries { metric: *metric, group: (*group).to_owned(), minutes }
    });
    LastHour { source, series: series.collect() }
}

/// Metrics with a value for each step.
fn metrics_of_all_steps() -> LastHour {
    last_hour(
        MetricSource::CloudWatch,
        &[
            (OverviewMetric::Received, "fynapse", &[(10, 40), (57, 8), (58, 4), (59, 90)]),
            (OverviewMetric::Received, "rightfoot", &[(58, 1)]),
            (OverviewMetric::Recorded, "fynapse", &[(57, 8), (58, 2)]),
            (OverviewMetric::Duplicate, "fynapse", &[(58, 2)]),
            (OverviewMetric::Enqueued, "", &[(58, 10)]),
            (OverviewMetric::Processed, "fynapse", &[(58, 5)]),
            (OverviewMetric::Published, "BalanceExtracted", &[(58, 4)]),
            (OverviewMetric::Quarantined, "", &[(58, 1)]),
            (OverviewMetric::OldestMessageSecs, "", &[(20, 901), (59, 45)]),
            (OverviewMetric::OldestDeadLetterSecs, "", &[(59, 7_300)]),
        ],
    )
}

fn host_with(last_hour: LastHour) -> TestHost {
    TestHost { last_hour: Mutex::new(Ok(last_hour)), ..TestHost::default() }
}

#[tokio::test]
async fn each_step_has_its_rate_and_its_oldest_age() {
    let world = World::new().await;
    world.deliver_fynapse(extract_body("e-1")).await;
    let dead_letters = world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    let send = world.stack.inspector.sqs.send_message().queue_url(dead_letters).message_body("{}");
    send.send().await.unwrap();
    let browser = Browser::with(world, host_with(metrics_of_all_steps()), false).await;
    // The first page does not wait for metrics.
    let first = browser.open("/").await;
    assert_eq!((first.texts(".rate").len(), browser.host.metric_reads.load(Ordering::SeqCst)), (0, 0));
    browser.open("/overview/charts").await;
    let flow = browser.open("/overview/flow").await;
    assert_eq!(
        flow.texts("ol.flow a"),
        [
            "Received and recorded 0 s ago the last event 2.6 received, 2 recorded, 0.4 duplicate a minute",
            "Wait for the relay 0 nothing waits",
            "On the queue 1 wait for the worker; the oldest is 45 s old 2 enqueued a minute",
            "In the worker 0 received, and not deleted yet 1 processed a minute",
            "Done 0 of 1 of the latest events 0.8 published a minute",
        ]
    );
    assert_eq!(
        flow.texts("ul.flow a"),
        [
            "Polled at Rightfoot 0 nothing is tracked",
            "In quarantine 0 nothing is open 0.2 quarantined a minute",
            "Dead letters 1 given up after five receives; the oldest is 2 h old look",
        ]
    );
}

#[tokio::test]
async fn a_queue_is_late_if_its_oldest_message_is_and_an_empty_one_has_no_age() {
    for (secs, delivered, expected) in [
        (900, true, "On the queue 1 wait for the worker; the oldest is 15 min old 0 enqueued a minute"),
        (901, true, "On the queue 1 wait for the worker; the oldest is 15 min old 0 enqueued a minute late"),
        // The age is of the minute before.
        (901, false, "On the queue 0 wait for the worker 0 enqueued a minute"),
    ] {
        let world = World::new().await;
        if delivered {
            world.deliver_fynapse(extract_body("e-1")).await;
        }
        let hour = last_hour(MetricSource::Local, &[(OverviewMetric::OldestMessageSecs, "", &[(58, secs)])]);
        let browser = Browser::with(world, host_with(hour), false).await;
        browser.open("/overview/charts").await;
        assert_eq!(browser.open("/overview/flow").await.texts("ol.flow a")[2], expected);
    }
}

#[tokio::test]
async fn charts_show_the_metrics_with_their_text_and_source() {
    let browser = Browser::with(World::new().await, host_with(metrics_of_all_steps()), false).await;
    for path in ["/overview/charts", "/last-hour"] {
        let page = browser.open(path).await;
        assert_eq!(
            page.texts("figcaption"),
            [
                "Received: 143 (fynapse 142, rightfoot 1) in the last hour, at most 90 in a minute",
                "Published: 4 (BalanceExtracted 4) in the last hour, at most 4 in a minute",
                "Quarantined: 1 in the last hour, at most 1 in a minute",
                "Oldest message on the queue: 45 s now, at most 15 min in the last hour",
            ]
        );
        assert!(page.text.contains("From CloudWatch, which is a minute or two behind."), "{path}");
        assert_eq!(
            page.attributes("svg", "aria-label")[1],
            "Published in each minute of the last hour: 4 (BalanceExtracted 4) in the last hour, at most 4 in a minute"
        );
        assert_eq!(page.attributes("rect", "x")[..5], ["10", "57", "58", "59", "58"], "{path}");
    }
    // A request costs: all tabs share one a minute.
    assert_eq!(browser.host.metric_reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_metrics_charts_count_the_lists_and_say_why() {
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
    assert_eq!(charts.texts("p"), ["Counted from the lists, without rates: no <metrics>."]);
    assert!(browser.open("/overview/flow").await.texts(".rate").is_empty());
    // Nor is a missing permission asked for every few seconds.
    browser.open("/overview/charts").await;
    assert_eq!(browser.host.metric_reads.load(Ordering::SeqCst), 1);
}

/// infra/console/README.md, "What it reads and costs", has the number.
#[tokio::test]
async fn a_refresh_of_the_overview_costs_67_calls() {
    let world = World::new().await;
    for n in 0..30 {
        world.deliver_fynapse(extract_body(&format!("e-{n}"))).await;
    }
    let browser = Browser::with(world, host_with(metrics_of_all_steps()), false).await;
    let calls = || browser.world.stack.connector.call_log().len();
    browser.world.stack.connector.clear_call_log();
    for path in ["/overview/flow", "/overview/latest", "/overview/charts", "/overview/findings"] {
        browser.open(path).await;
    }
    // 16 shards of four indexes; the latest events; both queues.
    assert_eq!(calls(), 4 * 16 + 1 + 2);
    // Other tabs, at the same time, and the whole page cost nothing more.
    browser.open("/overview/flow").await;
    browser.open("/").await;
    assert_eq!(calls(), 67);
}
