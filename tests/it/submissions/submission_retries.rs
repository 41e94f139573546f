//! Retries of a submission: after other callers used its name, after a key rotation, too late, or after a webhook or
//! the poller came first.

use std::time::Duration;

use local::connector::Fault;
use local::rightfoot_simulator::{CannedResponse, ScriptedResponse, WebhookLoss};
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{HOUR, MINUTE, text};

use super::{
    BATCH_PATH, COMPLETED, OLD_KEY, PENDING, expect_answer, expect_error, post_count, posted_url,
    rotate_url_key, state_attributes, submission_item, token, tracked_items,
};

const NAME: &str = "payroll-1";

/// A Rightfoot that executes every request and loses every response until it recovers.
async fn world_with_lost_responses() -> RightfootWorld {
    RightfootWorld::with_behaviour(|rightfoot| {
        let answer = CannedResponse::AppliedThen500;
        rightfoot.scripted_responses = vec![ScriptedResponse {
            path_contains: "balance_request".to_owned(),
            response: answer,
            remaining_uses: None,
        }];
        rightfoot.webhook_loss = WebhookLoss::All;
    })
    .await
}

/// A submission that created a batch whose id is unknown.
async fn batch_of_unknown_outcome() -> (RightfootWorld, String) {
    let it = world_with_lost_responses().await;
    assert_eq!(
        expect_error(it.world.request(submit_batch_request(NAME, &["a", "b"])).await).name(),
        "OutcomeUnknown"
    );
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    let batch = it.rightfoot.batches()[0].batch_id.clone();
    (it, batch)
}

fn batch_pk(batch_id: &str) -> String {
    format!("rightfoot#batch#{batch_id}")
}

#[tokio::test]
async fn p5_the_same_people_under_a_new_name_are_a_new_batch() {
    let it = RightfootWorld::new().await;
    let first = it.submit_batch("payroll-1", &["a", "b"]).await;
    let second = it.submit_batch("payroll-2", &["a", "b"]).await;
    assert_ne!(first["batch_id"], second["batch_id"]);
    assert_eq!(it.rightfoot.batches().len(), 2);
    let subjects: Vec<_> =
        tracked_items(&it.world).await.iter().map(|item| text(item, "subject").to_owned()).collect();
    assert_eq!(subjects.len(), 2);
    assert!(subjects.contains(&"payroll-1".to_owned()) && subjects.contains(&"payroll-2".to_owned()));
}

#[tokio::test]
async fn other_people_or_another_kind_under_the_same_name_are_refused_and_nothing_is_posted() {
    let it = RightfootWorld::new().await;
    it.submit_batch("batch", &["a", "b"]).await;
    it.request(daily_schedule_request("schedule", &["a", "b"])).await;
    let before = it.world.items().await;
    let mut other_ssn = submit_batch_request("batch", &["a", "b"]);
    other_ssn["authorizers"][0]["ssn"] = "078051121".into();
    let mut other_day = daily_schedule_request("schedule", &["a", "b"]);
    other_day["interval_days"] = 2.into();
    for (request, stands) in [
        (submit_batch_request("batch", &["a", "c"]), "batch"),
        (submit_batch_request("batch", &["a"]), "batch"),
        (submit_batch_request("batch", &["b", "a"]), "batch"),
        (other_ssn, "batch"),
        (daily_schedule_request("batch", &["a", "b"]), "batch"),
        (other_day, "schedule"),
        (submit_batch_request("schedule", &["a", "b"]), "schedule"),
    ] {
        let refused = expect_error(it.world.request(request.clone()).await);
        assert_eq!(refused.name(), "SubmissionIdConflict", "{request}");
        assert_eq!(
            refused.to_string(),
            format!(
                "submission_id: another {stands} was submitted with this id; nothing was done. Send a submission \
                 again with the same request, or give a new one a new id"
            )
        );
    }
    assert_eq!(post_count(&it), 2);
    assert_eq!(it.world.items().await.len(), before.len());
    assert!(it.world.items().await.iter().all(|item| before.contains(item)), "something was written");
}

#[tokio::test]
async fn bad_input_is_named_and_nothing_is_asked_or_written() {
    let it = RightfootWorld::new().await;
    let with = |change: fn(&mut Value)| {
        let mut request = submit_batch_request(NAME, &["a", "b"]);
        change(&mut request);
        request
    };
    for (request, expected) in [
        (json!([]), "the request: is not a JSON object"),
        (
            json!({"action": "submit"}),
            "action: is not one of submit_batch, create_schedule, track_batch, track_schedule, webhook_url",
        ),
        (
            with(|it| it["authorizers"][1]["authorizer_unique_id"] = "a".into()),
            "authorizers[1].authorizer_unique_id: is the same as that of authorizers[0]",
        ),
        (with(|it| it["authorizers"] = json!([])), "authorizers: is empty"),
        (
            with(|it| it["submission_id"] = "payroll 1".into()),
            "submission_id: is not 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        (
            with(|it| it["webhook_url"] = "https://h.example".into()),
            "webhook_url: is set by the inbox; leave it out",
        ),
        (with(|it| it["retries"] = 3.into()), "the request: has retries, which this action does not take"),
        (json!({"action": "track_batch", "batch_id": "b-1"}), "expected: is missing"),
        (json!({"action": "track_schedule", "schedule_id": "s-1"}), "probe_authorizers: is missing"),
        (json!({"action": "webhook_url"}), "subject: is missing"),
    ] {
        let refused = expect_error(it.world.request(request.clone()).await);
        assert_eq!((refused.name(), refused.to_string().as_str()), ("InvalidRequest", expected), "{request}");
    }
    assert_eq!(it.world.stack.connector.call_log(), [], "AWS was called");
    assert_eq!(it.rightfoot.requests(), [], "Rightfoot was asked");
    assert_eq!(it.world.items().await, []);
}

#[tokio::test]
async fn p4_a_rotation_of_the_url_key_changes_nothing_of_what_was_submitted() {
    let (it, batch) = batch_of_unknown_outcome().await;
    rotate_url_key(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
    let again = it.world.another_process();
    let made = expect_answer(again.request(submit_batch_request(NAME, &["a", "b"])).await);
    assert_eq!(made["batch_id"], batch.as_str());
    assert_eq!(it.rightfoot.batches().len(), 1);
    let url = posted_url(&it);
    assert_eq!(
        token(&url),
        it.world.stack.mint_url_token(&NAME.parse().unwrap()).unwrap(),
        "signed with the old key"
    );

    let other = expect_answer(again.request(submit_batch_request("payroll-2", &["a", "b"])).await);
    let body: Value = serde_json::from_slice(it.rightfoot.post_bodies().last().unwrap()).unwrap();
    let other_url = body["webhook_url"].as_str().unwrap();
    for (url, batch) in [(url.as_str(), &made), (other_url, &other)] {
        let batch = batch["batch_id"].as_str().unwrap();
        let response = again.deliver_rightfoot_to(token(url), tests::completion_body(batch, "u-1")).await;
        assert_eq!(response.body, r#"{"status":"received"}"#, "{url}");
    }
    // A process that knows only the new key rejects the old URL.
    rotate_url_key(&it.world, "new").await;
    let last = it.world.another_process();
    assert_eq!(last.deliver_rightfoot_to(token(&url), tests::completion_body("b", "u-2")).await.status, 403);
    assert_eq!(
        last.deliver_rightfoot_to(token(other_url), tests::completion_body("b", "u-2")).await.status,
        200
    );
}

#[tokio::test]
async fn without_the_old_url_key_a_repetition_is_refused_and_nothing_is_posted() {
    let (it, batch) = batch_of_unknown_outcome().await;
    let posted = post_count(&it);
    rotate_url_key(&it.world, "new").await;
    let refused =
        expect_error(it.world.another_process().request(submit_batch_request(NAME, &["a", "b"])).await);
    assert_eq!(refused.name(), "UrlKeyUnknown");
    assert_eq!(
        refused.to_string(),
        "submission_id: a submission with this id exists, but it was made with a URL key that is not in the secret; \
         nothing was done. If the key was rotated in the last minutes, send the request again in half a minute; if it was \
         removed, put it back into the secret as its last element, and send the request again"
    );
    assert_eq!(post_count(&it), posted);
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING);
    rotate_url_key(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
    let made =
        expect_answer(it.world.another_process().request(submit_batch_request(NAME, &["a", "b"])).await);
    assert_eq!(made["batch_id"], batch.as_str());
}

/// A process that still caches the keys from before a rotation finds a submission that was made after it.
#[tokio::test]
async fn p5_a_process_with_yesterdays_url_key_knows_a_submission_made_with_the_new_one() {
    let it = RightfootWorld::new().await;
    let warm = it.world.another_process();
    expect_answer(warm.request(submit_batch_request("warm-up", &["a"])).await);
    rotate_url_key(&it.world, &json!(["new", OLD_KEY]).to_string()).await;
    // Past `SECRET_REFETCH_SECS` and before `SECRET_TTL_SECS`: the old keys are still cached, and may be fetched
    // again.
    it.world.age_secret_caches(Duration::from_secs(31));
    let made =
        expect_answer(it.world.another_process().request(submit_batch_request(NAME, &["a", "b"])).await);
    assert_eq!(expect_answer(warm.request(submit_batch_request(NAME, &["a", "b"])).await), made);
    assert_eq!(it.rightfoot.batches().len(), 2);
}

/// Polled every quarter of an hour, 92 times; the last poll marks it overdue.
#[tokio::test]
async fn p9_a_submission_whose_outcome_is_unknown_alarms_until_it_is_too_late_to_repeat_it() {
    let (it, _) = batch_of_unknown_outcome().await;
    it.rightfoot.clear_requests();
    // One millisecond before `SUBMISSION_DUE_SECS`.
    it.world.advance(MINUTE * 15 - Duration::from_millis(1));
    assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 0);
    it.world.advance(Duration::from_millis(1));
    for quarter in 1..=92 {
        let state: &[&str] = if quarter < 92 { &PENDING } else { &["expires_at", "abandoned_at"] };
        let run = it.run_poller().await.unwrap();
        assert_eq!((&run["submissions_unknown"], &run["due"]), (&json!(1), &json!(1)), "{quarter}");
        assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), state, "{quarter}");
        if quarter % 23 == 0 {
            assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 0, "{quarter}: once");
        }
        it.world.advance(MINUTE * 15);
    }
    assert_eq!(it.world.due_polls().await, []);
    assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 0);
    assert_eq!(it.rightfoot.requests(), [], "only the caller can repeat it");
}

#[tokio::test]
async fn p5_a_retry_within_23_hours_ends_with_the_same_batch() {
    let (it, batch) = batch_of_unknown_outcome().await;
    // One millisecond before `SUBMISSION_REPEATABLE_SECS`.
    it.world.advance(HOUR * 23 - Duration::from_millis(1));
    it.run_poller().await.unwrap();
    let made = it.submit_batch(NAME, &["a", "b"]).await;
    assert_eq!(made["batch_id"], batch.as_str());
    assert_eq!(it.rightfoot.batches().len(), 1);
    assert_eq!(it.world.due_polls().await, [(batch_pk(&batch), it.world.now().plus(MINUTE * 10))]);
}

#[tokio::test]
async fn p9_a_retry_after_23_hours_is_declined_until_an_operator_states_the_outcome() {
    for polled in [false, true] {
        let (it, batch) = batch_of_unknown_outcome().await;
        let posted = post_count(&it);
        it.world.advance(HOUR * 23);
        if polled {
            it.run_poller().await.unwrap();
        }
        let refused = expect_error(it.world.request(submit_batch_request(NAME, &["a", "b"])).await);
        assert_eq!(refused.name(), "TooLateToRepeat");
        assert_eq!(
            refused.to_string(),
            "submission_id: the outcome of this submission is unknown, and it is too old to be sent again: after 24 \
             hours Rightfoot could create a duplicate. If Rightfoot knows it, call track_batch with its id and this \
             submission_id; if not, submit with a new id"
        );
        let track = json!({"action": "track_batch", "batch_id": batch, "expected": 2, "submission_id": NAME});
        let tracked_at = it.world.now();
        assert_eq!(it.request(track.clone()).await, json!({"batch_id": batch, "status": "tracked"}));
        assert_eq!(it.request(track).await, json!({"batch_id": batch, "status": "already_tracked"}));
        assert_eq!(
            it.submit_batch(NAME, &["a", "b"]).await,
            json!({"batch_id": batch, "submitted_at": tracked_at.rfc3339(), "failed_authorizers": [], "warnings": []})
        );
        assert_eq!(post_count(&it), posted, "too late to ask for it");
        it.run_for(MINUTE * 10).await;
        let completed = format!("rightfoot/batch/{batch}/completed");
        assert_eq!(it.world.drain_ids_and_origins().await, [(completed, "poll".to_owned())]);
        assert_eq!(it.world.due_polls().await, []);
    }
}

/// A webhook arrives through the URL of a submission with an unknown outcome.
#[tokio::test]
async fn p5_a_webhook_that_comes_before_the_retry_is_the_one_completion() {
    let (it, batch) = batch_of_unknown_outcome().await;
    let url = posted_url(&it);
    let response = it.world.deliver_rightfoot_to(token(&url), tests::completion_body(&batch, "u-1")).await;
    assert_eq!(response.body, r#"{"status":"received"}"#);
    assert_eq!(it.submit_batch(NAME, &["a", "b"]).await["batch_id"], batch.as_str());
    it.rightfoot.clear_requests();
    it.run_for(MINUTE * 10).await;
    assert_eq!(it.rightfoot.requests(), []);
    let completed = format!("rightfoot/batch/{batch}/completed");
    assert_eq!(it.world.drain_ids_and_origins().await, [(completed, "webhook".to_owned())]);
    assert_eq!(it.world.due_polls().await, []);
}

/// The poller finds the batch in the history of a schedule's probe, and takes it for a run with alerts; the retry
/// corrects that.
#[tokio::test]
async fn p5_a_batch_that_was_taken_for_a_run_is_none_after_the_retry() {
    let it = world_with_lost_responses().await;
    it.rightfoot.configure(|rightfoot| {
        rightfoot.scripted_responses.clear();
        rightfoot.history_includes_on_demand = true;
        rightfoot.balances = [("a".to_owned(), "150.00".to_owned())].into();
        rightfoot.schedule_day = HOUR;
    });
    let schedule = it.request(daily_schedule_request("watch", &["a"])).await["schedule_id"].clone();
    it.run_for(MINUTE * 55).await;
    let lost = ScriptedResponse {
        path_contains: BATCH_PATH.to_owned(),
        response: CannedResponse::AppliedThen500,
        remaining_uses: Some(3),
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![lost]);
    assert_eq!(
        expect_error(it.world.request(submit_batch_request(NAME, &["a"])).await).name(),
        "OutcomeUnknown"
    );
    // The schedule runs after an hour, and is polled ten minutes later.
    it.run_for(MINUTE * 16).await;
    let batches = it.rightfoot.batches();
    let (mine, run) = (&batches[0].batch_id, &batches[1].batch_id);
    let taken = it.world.item(&batch_pk(mine), "tracked").await.unwrap();
    assert_eq!((text(&taken, "schedule_id"), text(&taken, "subject")), (schedule.as_str().unwrap(), "watch"));

    assert_eq!(it.submit_batch(NAME, &["a"]).await["batch_id"], mine.as_str());
    let mine_now = it.world.item(&batch_pk(mine), "tracked").await.unwrap();
    assert_eq!((text(&mine_now, "schedule_id"), text(&mine_now, "subject")), ("", NAME));
    assert!(tests::number(&mine_now, "rev") > tests::number(&taken, "rev"), "a late write must not hit it");
    it.run_for(MINUTE * 35).await;
    let mut events: Vec<_> = it.world.drain_event_ids().await;
    events.sort();
    let mut expected = vec![
        format!("rightfoot/batch/{mine}/completed"),
        tests::polled_alerts_event_id(run, &["a"]),
        format!("rightfoot/batch/{run}/completed"),
    ];
    expected.sort();
    assert_eq!(events, expected);
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
}

/// A caller that died before its POST is no different: its submission is repeated or raises an alarm.
#[tokio::test]
async fn a_submission_that_was_only_written_is_posted_by_the_retry() {
    let it = RightfootWorld::new().await;
    let dying = it.world.another_process();
    dying.inject_fault("PutItem", Fault::CrashAfter);
    assert_eq!(dying.request(submit_batch_request(NAME, &["a"])).await, None);
    assert_eq!(post_count(&it), 0);
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING);
    let pk = format!("rightfoot#submission#{NAME}");
    assert_eq!(it.world.due_polls().await, [(pk, it.world.now().plus(MINUTE * 15))]);
    it.submit_batch(NAME, &["a"]).await;
    assert_eq!(it.rightfoot.batches().len(), 1);
}

#[tokio::test]
async fn every_request_that_the_documents_show_is_done_as_it_stands_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let documents = ["infra/local/README.md", "functions/README.md"];
    let shown = documents.map(|path| std::fs::read_to_string(root.join(path)).unwrap()).concat();
    let it = RightfootWorld::new().await;
    let mut outcomes = Vec::new();
    for (at, _) in shown.match_indices("{\"action\"") {
        let first = serde_json::Deserializer::from_str(&shown[at..]).into_iter::<Value>().next();
        let request = first.unwrap().unwrap();
        let done = expect_answer(it.world.request(request.clone()).await);
        outcomes.push((request["action"].clone(), done["status"].clone()));
    }
    assert_eq!(
        outcomes,
        [
            (json!("submit_batch"), Value::Null),
            (json!("create_schedule"), Value::Null),
            (json!("track_batch"), json!("tracked")),
            (json!("track_schedule"), json!("tracked")),
        ]
    );
}
