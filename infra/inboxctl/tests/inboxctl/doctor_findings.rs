//! Problems that `doctor` and `timeline` report although everything is scheduled; the exit code of `doctor`.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::StatusCode;
use axum::routing::post;
use local::stack::DEAD_LETTER_QUEUE;
use tests::{Item, completion_body, extract_body, number};

use crate::timeline::{item, thresholds};
use crate::{CliHarness, snapshot};

/// Status and finding of one check, and the exit code of `doctor`.
async fn doctor_check(harness: &CliHarness, name: &str) -> (String, String, i32) {
    let ran = harness.run("--json doctor").await;
    let report = ran.json();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["check"] == name).unwrap();
    let text = |field: &str| check[field].as_str().unwrap().to_owned();
    (text("status"), text("finding"), ran.exit_code)
}

fn problem(reason: &str, since: i64, first_poll: i64) -> AttributeValue {
    let fields = [("since", since), ("first_poll", first_poll)].into_iter();
    let fields = fields.map(|(name, value)| (name.to_owned(), AttributeValue::N(value.to_string())));
    let reason = [("reason".to_owned(), AttributeValue::S(reason.to_owned()))];
    AttributeValue::M(fields.chain(reason).collect())
}

/// A tracked batch that is polled again in a while; its deadline is so many minutes from now.
fn batch(batch_id: &str, now: i64, deadline_mins: i64, problem: Option<AttributeValue>) -> Item {
    let pk = format!("rightfoot#batch#{batch_id}");
    let texts = [("pk", pk.as_str()), ("sk", "tracked"), ("due", "poll#00"), ("listed", "batch#00")];
    let tracked_at = now - 86_400_000;
    let deadline_at = now + deadline_mins * 60_000;
    let times = [("tracked_at", tracked_at), ("listed_at", tracked_at), ("deadline_at", deadline_at)];
    let numbers = [("expected", 1), ("polls", 25), ("rev", 26), ("due_at", now + 600_000)];
    let mut item = item(&texts, &[times.as_slice(), numbers.as_slice()].concat());
    item.extend(problem.map(|problem| ("poll_problem".to_owned(), problem)));
    item
}

fn schedule(schedule_id: &str, now: i64, problem: AttributeValue) -> Item {
    let pk = format!("rightfoot#schedule#{schedule_id}");
    let texts = [("pk", pk.as_str()), ("sk", "tracked"), ("due", "poll#00")];
    let times =
        [("since", now - 86_400_000), ("due_at", now + 600_000), ("schedule_expires_at", now + 864_000_000)];
    let numbers = [("polls", 3), ("rev", 4), ("interval_secs", 86_400)];
    let mut item = item(&texts, &[times, numbers].concat());
    item.extend(thresholds());
    item.insert("probes".to_owned(), AttributeValue::L(vec![AttributeValue::S("user-1".to_owned())]));
    item.insert("poll_problem".to_owned(), problem);
    item
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_a_missed_deadline_is_reported_although_the_batch_is_polled_next() {
    let harness = CliHarness::with_system_clock().await;
    let now = harness.world.now().0;
    harness.world.put_item(batch("well", now, 60, None)).await;
    let fine = "the last poll of every tracked batch and schedule was answered".to_owned();
    assert_eq!(doctor_check(&harness, "polls").await, ("ok".to_owned(), fine, 0));

    harness
        .world
        .put_item(batch("b-1", now, -60, Some(problem("invalid_response", now - 1_800_000, 2))))
        .await;
    let (status, found, code) = doctor_check(&harness, "polls").await;
    assert_eq!((status.as_str(), code), ("fail", 1), "{found}");
    assert!(found.starts_with("batch b-1: its deadline passed "), "{found}");
    let polls = " without an answer; the last 24 polls failed: Rightfoot's response is not as documented \
                 (invalid_response), since ";
    assert!(found.contains(polls), "{found}");
    let timeline = harness.run("timeline b-1").await.stdout;
    assert!(timeline.contains("  batch b-1: polled next ") && timeline.contains(polls), "{timeline}");
    assert!(harness.run("batches list --wide").await.stdout.contains(polls));
    let json = harness.run("--json timeline b-1").await.json();
    let problem = &json["timelines"][0]["batch"]["problem"];
    assert_eq!((problem["reason"].as_str(), problem["polls"].as_u64()), (Some("invalid_response"), Some(24)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_overdue_batches_are_counted_for_a_week_although_nobody_polls_them() {
    let harness = CliHarness::with_system_clock().await;
    let now = harness.world.now().0;
    let none = "no batch became overdue in the last 7 days".to_owned();
    assert_eq!(doctor_check(&harness, "overdue batches").await, ("ok".to_owned(), none, 0));
    for (batch_id, overdue_mins_ago) in [("b-1", 90), ("b-2", 180), ("b-3", 8 * 24 * 60)] {
        let mut overdue = batch(batch_id, now, -overdue_mins_ago, None);
        overdue.remove("due");
        overdue.remove("due_at");
        let overdue_at = now - overdue_mins_ago * 60_000;
        overdue.insert("overdue_at".to_owned(), AttributeValue::N(overdue_at.to_string()));
        harness.world.put_item(overdue).await;
    }
    let (status, found, code) = doctor_check(&harness, "overdue batches").await;
    assert_eq!((status.as_str(), code), ("warn", 0), "{found}");
    assert!(
        found.starts_with("overdue in the last 7 days: 2 batches; the oldest is b-2, overdue since "),
        "{found}"
    );
    assert!(found.ends_with(" (3 h ago)"), "{found}");
    let advice = "`inboxctl batches list --state overdue` shows them: ask Rightfoot. ";
    assert!(harness.run("doctor").await.stdout.contains(advice));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_came_to_nothing_warns_and_fails_once_it_lasts_or_is_ours_to_mend() {
    for (reason, since_mins, verdict, code) in [
        ("unavailable", 5, "warn", 0),
        ("rate_limited", 59, "warn", 0),
        ("unavailable", 61, "fail", 1),
        ("unauthorized", 1, "fail", 1),
        ("key_unavailable", 1, "fail", 1),
        ("aws_error", 1, "fail", 1),
    ] {
        let harness = CliHarness::with_system_clock().await;
        let now = harness.world.now().0;
        let since = now - since_mins * 60_000;
        harness.world.put_item(batch("b-1", now, 60, Some(problem(reason, since, 25)))).await;
        let (status, found, exit) = doctor_check(&harness, "polls").await;
        assert_eq!((status.as_str(), exit), (verdict, code), "{reason}");
        assert!(found.starts_with("batch b-1: the last poll failed: "), "{found}");
        assert!(found.contains(&format!(" ({reason}), since ")), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_schedule_is_reported_although_it_is_polled_next() {
    let harness = CliHarness::with_system_clock().await;
    let now = harness.world.now().0;
    harness.world.put_item(schedule("s-1", now, problem("stopped", now - 60_000, 3))).await;
    harness.world.put_item(batch("b-1", now, 60, Some(problem("unavailable", now - 120_000, 25)))).await;
    let (status, found, code) = doctor_check(&harness, "polls").await;
    assert_eq!((status.as_str(), code), ("fail", 1));
    let stopped = "it has stopped: Rightfoot names no next run, or one that did not happen (stopped), since ";
    assert!(found.starts_with(&format!("schedule s-1: {stopped}")), "{found}");
    assert!(found.ends_with("; and 1 problem more"), "{found}");
    let advice = "if you ended it on purpose, `inboxctl schedules untrack SCHEDULE --by NAME --why '…'`";
    assert!(harness.run("doctor").await.stdout.contains(advice));
    let timeline = harness.run("timeline s-1").await.stdout;
    assert!(timeline.contains("  schedule s-1: polled next ") && timeline.contains(stopped), "{timeline}");
}

/// Anyone who knows a URL chooses the ids of batches and schedules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_forges_a_line_of_what_doctor_finds() {
    let harness = CliHarness::with_system_clock().await;
    let now = harness.world.now().0;
    let forged = "b\nok    relay  fine\u{202e}\u{feff}";
    harness.world.put_item(batch(forged, now, 60, Some(problem("aws_error", now - 60_000, 25)))).await;
    for words in ["doctor", "batches list", "timeline b-1", "due"] {
        let ran = harness.run(words).await;
        assert!(!ran.stdout.contains("\nok    relay  fine"), "{}", ran.transcript());
        assert!(!ran.stdout.contains(['\u{202e}', '\u{feff}']), "{}", ran.transcript());
    }
    let stdout = harness.run("doctor").await.stdout;
    assert!(stdout.contains(r"batch b\nok    relay  fine\u{202e}\u{feff}: the last poll failed"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_in_flight_is_counted() {
    let harness = CliHarness::with_system_clock().await;
    let name = "dead-letter queue";
    assert_eq!(
        doctor_check(&harness, name).await,
        ("ok".to_owned(), "queue events-dead is empty".to_owned(), 0)
    );
    harness.send_dead_letter("not ours").await;
    let one = "queue events-dead: 1 message; not processed".to_owned();
    assert_eq!(harness.run("dead-letters list").await.exit_code, 0);
    assert_eq!(
        doctor_check(&harness, name).await,
        ("fail".to_owned(), one.clone(), 1),
        "the list has put it back"
    );

    let sqs = &harness.world.stack.inspector.sqs;
    let url = harness.world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    sqs.receive_message().queue_url(&url).visibility_timeout(2).send().await.unwrap();
    let hidden = "queue events-dead: 1 message (1 of them received and not deleted yet); not processed";
    assert_eq!(doctor_check(&harness, name).await, ("fail".to_owned(), hidden.to_owned(), 1));
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(
        doctor_check(&harness, name).await,
        ("fail".to_owned(), one, 1),
        "its visibility time-out is over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_at_work_and_delayed_ones_are_on_the_queue_of_events() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_fynapse(extract_body("e-1")).await;
    harness.world.deliver_fynapse(extract_body("e-2")).await;
    let system = &harness.world.stack;
    let receive = system.inspector.sqs.receive_message().queue_url(&system.events_queue_url);
    receive.max_number_of_messages(1).send().await.unwrap();
    let later = system.inspector.sqs.send_message().queue_url(&system.events_queue_url).message_body("later");
    later.delay_seconds(600).send().await.unwrap();
    let found = doctor_check(&harness, "queue of events").await.1;
    assert_eq!(
        found,
        "queue events: correct settings; 3 messages (1 of them received and not deleted yet, 1 of them delayed)"
    );
}

/// 0 if no check fails, 1 if one fails, 2 if none is known to fail but one could not be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_exits_with_0_if_all_is_well_1_if_something_fails_and_2_if_it_could_not_look() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let fine = harness.run("doctor").await;
    assert!(
        fine.exit_code == 0 && fine.stdout.contains("warn  tracking"),
        "a warning is no failure: {}",
        fine.transcript()
    );

    let denied = r#"{"__type":"AccessDeniedException","Message":"refused"}"#;
    let secrets = crate::serve_stub(post(move || async move { (StatusCode::BAD_REQUEST, denied) })).await;
    let env = [
        ("AWS_ENDPOINT_URL", harness.aws_url.as_str()),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.as_str()),
    ];
    let blind = harness.run_with_env("doctor", &env).await;
    assert_eq!(blind.exit_code, 2, "{}", blind.transcript());
    assert!(blind.stdout.contains("?     secret of Fynapse"), "{}", blind.transcript());
    assert!(blind.stdout.ends_with(" 3 unknown, 0 failed\n"), "{}", blind.transcript());
    assert_eq!(harness.run_with_env("doctor", &[]).await.exit_code, 2, "no region: no check can be made");
    assert_eq!(harness.run_with_env("due", &[]).await.exit_code, 1, "of no other command");

    harness.world.deliver_fynapse("{").await;
    let both = harness.run_with_env("doctor", &env).await;
    assert_eq!(both.exit_code, 1, "a failure outweighs an unknown status: {}", both.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_quarantine_fails_until_it_is_dealt_with() {
    let harness = CliHarness::with_system_clock().await;
    harness.world.deliver_fynapse("{").await;
    let (status, found, code) = doctor_check(&harness, "quarantine").await;
    assert_eq!((status.as_str(), code), ("fail", 1));
    assert!(found.starts_with("open: 1, not processed; the oldest since "), "{found}");
    let hash = inbox_core::event::payload_hash(b"{");
    let discard = format!("quarantine discard fynapse/{hash} --by ada --why drill --yes");
    assert_eq!(harness.run(&discard).await.exit_code, 0);
    assert_eq!(
        doctor_check(&harness, "quarantine").await,
        ("ok".to_owned(), "nothing is open".to_owned(), 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requeued_event_shows_its_reason_and_next_attempt() {
    let harness = CliHarness::with_system_clock().await;
    let world = &harness.world;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    let mut record = world.event_record("rightfoot/batch/b-1/completed").await;
    record.insert("requeues".to_owned(), AttributeValue::N("5".to_owned()));
    record.insert("retry_reason".to_owned(), AttributeValue::S("not_ready".to_owned()));
    let sent_at = number(&record, "sent_at").unwrap();
    world.put_item(record.clone()).await;
    let status_line = async || {
        let timeline = harness.run("timeline b-1").await.stdout;
        timeline
            .lines()
            .find(|line| line.starts_with("  rightfoot/batch/b-1/completed: "))
            .unwrap()
            .to_owned()
    };
    let requeued = "requeued by the worker, 5 times so far, last because of not_ready (Rightfoot has not finished the \
                    batch, or does not know it)";
    let line = status_line().await;
    assert!(line.contains(": waits for the worker, until its message expires 20"), "{line}");
    assert!(line.ends_with(&format!(" days); {requeued}")), "{line}");

    record.remove("sent_at");
    record.insert("due".to_owned(), AttributeValue::S("outbox#00".to_owned()));
    record.insert("due_at".to_owned(), AttributeValue::N((sent_at + 60_000).to_string()));
    world.put_item(record.clone()).await;
    let line = status_line().await;
    assert!(
        line.starts_with(&format!(
            "  rightfoot/batch/b-1/completed: {requeued}: the relay sends it again, due "
        )),
        "{line}"
    );
    assert!(harness.run("events list").await.stdout.contains("  waiting (not_ready)  "));
    assert!(harness.run("events show b-1").await.stdout.contains("requeued by the worker  5 (not_ready)\n"));

    record.insert("requeues".to_owned(), AttributeValue::N("1".to_owned()));
    world.put_item(record).await;
    assert!(status_line().await.contains("requeued by the worker, 1 time so far, last because of not_ready"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_waits_fits_a_narrow_terminal() {
    let harness = CliHarness::with_system_clock().await;
    let (batch_id, alert) = ("5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83", "7b6ff2ac-4779-4893-b5a8-d2c726d366bd");
    harness.world.deliver_rightfoot(tests::alert_body(batch_id, alert)).await;
    let mut record = harness.world.event_record(&format!("rightfoot/batch/{batch_id}/alert/{alert}")).await;
    let due_at = number(&record, "sent_at").unwrap() + 60_000;
    record.remove("sent_at");
    record.extend([
        ("requeues".to_owned(), AttributeValue::N("5".to_owned())),
        ("retry_reason".to_owned(), AttributeValue::S("not_ready".to_owned())),
        ("due".to_owned(), AttributeValue::S("outbox#00".to_owned())),
        ("due_at".to_owned(), AttributeValue::N(due_at.to_string())),
    ]);
    harness.world.put_item(record).await;
    let listed = harness.run("events list").await.stdout;
    let row = listed.lines().nth(1).unwrap();
    assert!(row.starts_with("7b6ff2ac  BALANCE_THRESHOLD_ALERT  waiting (not_ready)  webhook  "), "{listed}");
    assert_eq!(listed.lines().map(str::len).max(), Some(80), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bare_id_is_enough_for_every_command_that_takes_an_event() {
    let harness = CliHarness::new().await;
    let world = &harness.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.deliver_rightfoot(completion_body("b-1", "u-1")).await;
    for (bare, whole) in [("e-1", "fynapse/event/e-1"), ("b-1", "rightfoot/batch/b-1/completed")] {
        assert_eq!(harness.run(&format!("--json events show {bare}")).await.json()["event"], whole);
        world.mark_done(whole).await;
        let replay = format!("--json events replay {bare} --by ada --why drill --yes");
        assert_eq!(harness.run(&replay).await.json()["replays"][0]["event"], whole);
    }
    world.deliver_rightfoot(tests::alert_body("b-1", "u-2")).await;
    let ambiguous = harness.run("events show b-1").await;
    snapshot!(ambiguous.transcript());
    snapshot!(harness.run("events show nobody").await.transcript());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dead_or_in_quarantine_is_listed_newest_first() {
    let harness = CliHarness::new().await;
    let mut hashes = Vec::new();
    for n in 0..4 {
        let body = format!("{{{n}");
        harness.world.deliver_fynapse(&body).await;
        hashes.insert(0, format!("fynapse/{}", inbox_core::event::payload_hash(body.as_bytes())));
        harness.advance(Duration::from_secs(60));
        harness.send_dead_letter(&format!("dead {n}")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listed = harness.run("--json quarantine list --limit 3").await.json();
    let items = |listed: &serde_json::Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|it| it["item"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(items(&listed), hashes[..3]);
    let page = listed["older"].as_str().unwrap();
    let rest = harness.run(&format!("--json quarantine list --limit 3 --older {page}")).await.json();
    assert_eq!((items(&rest), rest["older"].as_str()), (hashes[3..].to_vec(), None));

    let dead = harness.run("--json dead-letters list").await.json();
    let times: Vec<_> = dead["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["sent_at"].as_str().unwrap().to_owned())
        .collect();
    let mut newest_first = times.clone();
    newest_first.sort_by(|one, other| other.cmp(one));
    assert_eq!((times.len(), times), (4, newest_first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_this_version_cannot_read_is_no_clean_bill() {
    let harness = CliHarness::with_system_clock().await;
    let texts = [("pk", "rightfoot#submission#nightly"), ("sk", "submitted"), ("due", "poll#00")];
    let numbers = [("rev", 1), ("due_at", harness.world.now().0 + 600_000)];
    harness.world.put_item(item(&texts, &numbers)).await;
    let (status, found, code) = doctor_check(&harness, "submissions").await;
    assert_eq!((status.as_str(), code), ("fail", 1));
    assert_eq!(found, "rightfoot#submission#nightly cannot be read by this version of inboxctl");
}
