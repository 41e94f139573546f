//! `timeline`.

use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use tests::{Item, alert_body, completion_body};

use crate::{CliHarness, START_MS, snapshot};

/// A table item with these string and number attributes.
pub(crate) fn item(fields: &[(&str, &str)], numbers: &[(&str, i64)]) -> Item {
    let text =
        fields.iter().map(|(name, value)| ((*name).to_owned(), AttributeValue::S((*value).to_owned())));
    let number =
        numbers.iter().map(|(name, value)| ((*name).to_owned(), AttributeValue::N(value.to_string())));
    text.chain(number).collect()
}

/// The attributes of a schedule's thresholds.
pub(crate) fn thresholds() -> Item {
    let mut attributes = item(&[("payload_hash", "h")], &[("payload_bytes", 2)]);
    attributes.insert("payload".to_owned(), AttributeValue::B(Blob::new(b"{}")));
    attributes
}

/// A run of a schedule: submitted, tracked, completed, with one alert published and one claimed.
async fn harness_with_schedule_run() -> CliHarness {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world
        .put_item(item(
            &[
                ("pk", "rightfoot#submission#nightly"),
                ("sk", "submitted"),
                ("subject", "nightly"),
                ("kind", "schedule"),
                ("schedule_id", "s-1"),
                ("fingerprint", "f"),
                ("fingerprint_key", "k"),
                ("call_id", "c"),
            ],
            &[
                ("written_at", START_MS - 5_000),
                ("done_at", START_MS - 3_000),
                ("attempts", 1),
                ("polls", 0),
                ("rev", 2),
            ],
        ))
        .await;
    let mut schedule = item(
        &[("pk", "rightfoot#schedule#s-1"), ("sk", "tracked"), ("subject", "nightly"), ("due", "poll#00")],
        &[
            ("since", START_MS - 5_000),
            ("last_run_seen", START_MS),
            ("due_at", START_MS + 86_400_000),
            ("polls", 0),
            ("rev", 1),
            ("interval_secs", 86_400),
            ("schedule_expires_at", START_MS + 864_000_000),
        ],
    );
    schedule.insert("probes".to_owned(), AttributeValue::L(vec![AttributeValue::S("user-1".to_owned())]));
    schedule.extend(thresholds());
    world.put_item(schedule).await;
    let batch =
        [("pk", "rightfoot#batch#b-1"), ("sk", "tracked"), ("schedule_id", "s-1"), ("subject", "demo")];
    let times = [
        ("tracked_at", START_MS + 1_000),
        ("deadline_at", START_MS + 86_400_000),
        ("done_at", START_MS + 900_000),
    ];
    world
        .put_item(item(&batch, &[times.as_slice(), &[("expected", 2), ("polls", 1), ("rev", 3)]].concat()))
        .await;
    harness.advance(Duration::from_secs(10));
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    harness.advance(Duration::from_secs(20));
    world.mark_done("rightfoot/batch/b-1/completed").await;
    world.deliver_rightfoot(alert_body("b-1", "u-2")).await;
    let effect = |authorizer: &'static str, numbers: &[(&str, i64)]| {
        let sk = format!("effect#alert#{authorizer}");
        let event = "rightfoot/batch/b-1/alert/u-2";
        item(&[("pk", "rightfoot#batch#b-1"), ("sk", sk.as_str()), ("event_id", event)], numbers)
    };
    world.put_item(effect("user-1", &[("published_at", START_MS + 31_000)])).await;
    world.put_item(effect("user-2", &[("claim_until", START_MS + 90_000)])).await;
    harness
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batchs_timeline_is_in_chronological_order() {
    let harness = harness_with_schedule_run().await;
    snapshot!(harness.run("timeline b-1").await.transcript());
    snapshot!(harness.run("--json timeline b-1").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_a_schedule_and_a_submission_have_their_own_timelines() {
    let harness = harness_with_schedule_run().await;
    snapshot!(harness.run("timeline rightfoot/batch/b-1/alert/u-2").await.transcript());
    snapshot!(harness.run("timeline s-1").await.transcript());
    snapshot!(harness.run("timeline nightly").await.transcript());
    snapshot!(harness.run("timeline nobody").await.transcript());
    snapshot!(harness.run("timeline fynapse/event/nobody").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_and_results_are_in_the_words_of_the_console() {
    let harness = harness_with_schedule_run().await;
    let world = &harness.world;
    harness.advance(Duration::from_secs(60));
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    world.deliver_rightfoot(completion_body("b-1", "u-9")).await;
    let mut batch = world.item("rightfoot#batch#b-1", "tracked").await.unwrap();
    let found = item(&[], &[("count", 1), ("since", START_MS + 600_000)]);
    batch.insert("results_found".to_owned(), AttributeValue::M(found));
    world.put_item(batch).await;
    snapshot!(harness.run("timeline b-1").await.transcript());
    let json = harness.run("--json timeline b-1").await.json();
    let batch = &json["timelines"][0]["batch"];
    let expected = serde_json::json!({
        "expected": 2, "found": 1, "found_by": "poll", "found_since": "2020-01-02T03:14:05.000Z",
        "published": null, "published_by": null, "published_at": null,
    });
    assert_eq!(batch["results"], expected);
    let event = harness.run("--json events show rightfoot/batch/b-1/completed").await.json();
    let counts =
        ["duplicates", "differing_duplicates", "last_duplicate_at"].map(|name| event[name].to_string());
    assert_eq!(counts, ["2", "1", "\"2020-01-02T03:05:35.000Z\""]);
    snapshot!(harness.run("events show rightfoot/batch/b-1/completed").await.transcript());
    // The timeline of another event has the results that the completion knows of, too.
    let mut completion = world.event_record("rightfoot/batch/b-1/completed").await;
    completion.extend(item(&[], &[("published_count", 2)]));
    world.put_item(completion).await;
    for id in ["b-1", "rightfoot/batch/b-1/alert/u-2"] {
        let timeline = harness.run(&format!("timeline {id}")).await.stdout;
        let results = "  results: 2 of 2 results, published 2020-01-02T03:04:35.000Z (";
        assert!(timeline.contains(results), "{timeline}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_found_by_the_beginning_of_its_id_and_shown_once() {
    let harness = CliHarness::new().await;
    harness.world.deliver_rightfoot(alert_body("48aa-b-1", "u-2")).await;
    let shown = harness.run("--json events show 48a").await.json();
    assert_eq!(shown["event"], "rightfoot/batch/48aa-b-1/alert/u-2");
    harness.world.deliver_rightfoot(completion_body("48aa-b-1", "u-1")).await;
    let track = "batches track 48aa-b-1 --expected 1 --by ada --why drill --yes";
    for is_tracked in [false, true] {
        let timelines = harness.run("--json timeline 48a").await.json()["timelines"].clone();
        let timelines = timelines.as_array().unwrap();
        let titles: Vec<_> = timelines.iter().map(|it| it["title"].as_str().unwrap()).collect();
        assert_eq!(titles, ["batch 48aa-b-1"]);
        assert_eq!(timelines[0]["events"].as_array().unwrap().len(), 2);
        assert_eq!(timelines[0]["batch"].is_object(), is_tracked);
        assert_eq!(harness.run(track).await.exit_code, 0);
    }
}
