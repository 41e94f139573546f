//! Tracking what was submitted by other means, and minting URLs for it.

use inbox_aws::config::BaseUrl;
use local::rightfoot_simulator::WebhookLoss;
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{DAY, MINUTE, World, completion_body, number, text};

use super::{
    COMPLETED, PENDING, expect_answer, expect_error, rotate_url_key, state_attributes, submission_item,
    token, tracked_items,
};

fn track_batch_request(fields: Value) -> Value {
    let mut request = json!({"action": "track_batch", "batch_id": "b-1", "expected": 3});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

fn track_schedule_request(fields: Value) -> Value {
    let mut request =
        json!({"action": "track_schedule", "schedule_id": "s-1", "probe_authorizers": ["p", "q"]});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn a_batch_is_tracked_once_and_never_as_something_else() {
    let it = RightfootWorld::new().await;
    let begun = track_batch_request(json!({"subject": "mine", "failed_authorizer_ids": ["x"]}));
    assert_eq!(it.request(begun.clone()).await, json!({"batch_id": "b-1", "status": "tracked"}));
    let item = tracked_items(&it.world).await.remove(0);
    assert_eq!((text(&item, "pk"), text(&item, "subject")), ("rightfoot#batch#b-1", "mine"));
    assert_eq!(number(&item, "expected"), Some(3));
    assert_eq!(number(&item, "deadline_at"), Some(it.world.now().plus(DAY).0));
    let due = [("rightfoot#batch#b-1".to_owned(), it.world.now().plus(MINUTE * 10))];
    assert_eq!(it.world.due_polls().await, due);

    it.world.advance(MINUTE);
    for (again, expected) in [
        (begun, Ok("already_tracked")),
        (track_batch_request(json!({})), Ok("already_tracked")),
        (track_batch_request(json!({"expected": 4})), Err("expected")),
        (track_batch_request(json!({"subject": "another"})), Err("subject")),
        (track_batch_request(json!({"failed_authorizer_ids": ["y"]})), Err("failed_authorizer_ids")),
    ] {
        match (it.world.request(again.clone()).await.unwrap(), expected) {
            (Ok(answer), Ok(status)) => assert_eq!(answer, json!({"batch_id": "b-1", "status": status})),
            (Err(refused), Err(what)) => {
                assert_eq!(refused.name(), "TrackingConflict", "{again}");
                assert_eq!(refused.to_string(), format!("{what}: already tracked with another value"));
            }
            (other, _) => panic!("{again}: {other:?}"),
        }
    }
    assert_eq!(tracked_items(&it.world).await, [item], "nothing of it was changed");
    assert_eq!(it.rightfoot.requests(), []);
}

#[tokio::test]
async fn a_schedule_is_tracked_once_and_never_as_something_else() {
    let it = RightfootWorld::new().await;
    let request = json!({
        "subject": "mine",
        "thresholds": {"default": 100, "authorizers": {"p": 50.00}},
        "interval_days": 7,
        "expires_at": "2026-03-01",
    });
    let begun = track_schedule_request(request.clone());
    assert_eq!(it.request(begun.clone()).await, json!({"schedule_id": "s-1", "status": "tracked"}));
    let item = tracked_items(&it.world).await.remove(0);
    assert_eq!((text(&item, "pk"), text(&item, "subject")), ("rightfoot#schedule#s-1", "mine"));
    assert_eq!(
        (number(&item, "interval_secs"), number(&item, "since")),
        (Some(7 * 86_400), Some(it.world.now().0))
    );
    // The midnight after `expires_at`, because the schedule still runs on that day.
    assert_eq!(number(&item, "schedule_expires_at"), Some(1_772_409_600_000));
    assert_eq!(it.world.due_polls().await, [("rightfoot#schedule#s-1".to_owned(), it.world.now())]);

    it.world.advance(MINUTE);
    let but = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        track_schedule_request(request)
    };
    for (again, expected) in [
        (begun, Ok("already_tracked")),
        (but("subject", json!("another")), Err("subject")),
        (but("probe_authorizers", json!(["p"])), Err("probe_authorizers")),
        (but("thresholds", json!({"default": 101})), Err("thresholds")),
    ] {
        match (it.world.request(again.clone()).await.unwrap(), expected) {
            (Ok(answer), Ok(status)) => assert_eq!(answer, json!({"schedule_id": "s-1", "status": status})),
            (Err(refused), Err(what)) => {
                assert_eq!(refused.to_string(), format!("{what}: already tracked with another value"));
            }
            (other, _) => panic!("{again}: {other:?}"),
        }
    }
    assert_eq!(tracked_items(&it.world).await, [item], "nothing of it was changed");
}

#[tokio::test]
async fn p7_what_is_tracked_under_a_subject_accepts_no_other_subjects_url() {
    let it = RightfootWorld::new().await;
    it.request(track_batch_request(json!({"subject": "mine"}))).await;
    let url = |subject: &str| it.world.stack.mint_url_token(&subject.parse().unwrap()).unwrap();
    let response = it.world.deliver_rightfoot_to(&url("another"), completion_body("b-1", "u-1")).await;
    assert_eq!(response.body, r#"{"status":"quarantined"}"#);
    assert_eq!(it.world.quarantined().await[0].0, "subject_mismatch");
    let response = it.world.deliver_rightfoot_to(&url("mine"), completion_body("b-1", "u-1")).await;
    assert_eq!(response.body, r#"{"status":"received"}"#);
}

#[tokio::test]
async fn p9_an_authorizer_given_as_failed_is_not_waited_for() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    // Submitted by other means, so that nothing here knows of it.
    let mut request = submit_batch_request("elsewhere", &["a", "b", "c"]);
    request["authorizers"][2]["ssn"] = json!("");
    let batch = it.request(request).await["batch_id"].clone();
    for pk in ["rightfoot#batch#", "rightfoot#submission#"] {
        it.world.expire_items(pk).await;
    }
    it.request(track_batch_request(json!({"batch_id": batch, "failed_authorizer_ids": ["c"]}))).await;
    it.run_for(MINUTE * 10).await;
    let completed = format!("rightfoot/batch/{}/completed", batch.as_str().unwrap());
    assert_eq!(it.world.drain_ids_and_origins().await, [(completed, "poll".to_owned())]);
    assert_eq!(it.world.due_polls().await, []);
}

#[tokio::test]
async fn a_submission_is_ended_only_by_what_it_can_have_made() {
    let it = RightfootWorld::new().await;
    let made = it.submit_batch("done", &["a"]).await["batch_id"].clone();
    for name in ["open-batch", "open-schedule"] {
        let request = if name == "open-batch" {
            submit_batch_request(name, &["a"])
        } else {
            daily_schedule_request(name, &["a"])
        };
        let dying = it.world.another_process();
        dying.inject_fault("PutItem", local::connector::Fault::CrashAfter);
        assert_eq!(dying.request(request).await, None);
    }
    let before = it.world.items().await.len();
    let other_kind = |kind: &str| {
        format!(
            "submission_id: another {kind} was submitted with this id; nothing was done. Send a submission again with \
             the same request, or give a new one a new id"
        )
    };
    for (request, name, message) in [
        (
            track_batch_request(json!({"submission_id": "never"})),
            "NoSuchSubmission",
            "submission_id: there is no submission with this id".to_owned(),
        ),
        (
            track_schedule_request(json!({"submission_id": "open-batch"})),
            "SubmissionIdConflict",
            other_kind("batch"),
        ),
        (
            track_batch_request(json!({"submission_id": "open-schedule"})),
            "SubmissionIdConflict",
            other_kind("schedule"),
        ),
        (
            track_batch_request(json!({"submission_id": "done"})),
            "TrackingConflict",
            "submission_id: already tracked with another value".to_owned(),
        ),
    ] {
        let refused = expect_error(it.world.request(request.clone()).await);
        assert_eq!((refused.name(), refused.to_string()), (name, message), "{request}");
    }
    assert_eq!(it.world.items().await.len(), before, "something was written");
    for name in ["open-batch", "open-schedule"] {
        assert_eq!(state_attributes(&submission_item(&it.world, name).await.unwrap()), PENDING, "{name}");
    }
    let again = track_batch_request(json!({"batch_id": made, "expected": 1, "submission_id": "done"}));
    assert_eq!(it.request(again).await["status"], "already_tracked");
    assert_eq!(state_attributes(&submission_item(&it.world, "done").await.unwrap()), COMPLETED);
}

/// `printf %s rightfoot-webhook-url/v1:demo | openssl dgst -sha256 -hmac KEY -binary | openssl base64 -A | tr '+/'
/// '-_' | tr -d '='`
#[tokio::test]
async fn p4_a_minted_url_is_what_openssl_makes_and_proves_at_the_webhook() {
    const BY_THE_OLD: &str = "demo.LBqwep969-60s9I9TeWGIuOL23BzLnsGhQzb4mm0rT0";
    const BY_THE_NEW: &str = "demo.9ikP36KGeq2BF0zZ4bv6wJdNEXi0WoycUkMEBia6GJo";
    let mint = json!({"action": "webhook_url", "subject": "demo"});
    let world = World::with_options(|options| {
        options.webhook_base_url = "https://x.example/stage/".parse::<BaseUrl>().unwrap().into()
    })
    .await;
    let url = format!("https://x.example/stage/webhooks/rightfoot/{BY_THE_OLD}");
    assert_eq!(
        expect_answer(world.request(mint.clone()).await),
        json!({"subject": "demo", "webhook_url": url})
    );
    assert_eq!(world.deliver_rightfoot_to(token(&url), completion_body("b-1", "u-1")).await.status, 200);
    rotate_url_key(&world, r#"["new","local-rightfoot-url-key"]"#).await;
    // Past `SECRET_TTL_SECS`: the new keys are fetched.
    world.age_secret_caches(std::time::Duration::from_secs(301));
    let url = expect_answer(world.request(mint).await)["webhook_url"].as_str().unwrap().to_owned();
    assert_eq!(token(&url), BY_THE_NEW, "the first key signs");
    assert_eq!(world.deliver_rightfoot_to(token(&url), completion_body("b-2", "u-2")).await.status, 200);
    assert_eq!(world.items().await.len(), 2, "the two webhooks'");
}

#[tokio::test]
async fn a_batch_as_large_as_a_csv_upload_is_tracked_and_found() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let people = |range: std::ops::Range<usize>| range.map(|n| format!("person-{n:04}")).collect::<Vec<_>>();
    let shown: Vec<_> = people(1_200..5_000).into_iter().map(|id| (id, "1.00".to_owned())).collect();
    it.rightfoot.add_completed_batch("b-1", &shown);
    let request = track_batch_request(json!({"expected": 5_000, "failed_authorizer_ids": people(0..1_200)}));
    assert_eq!(it.request(request.clone()).await["status"], "tracked");
    assert_eq!(it.request(request).await["status"], "already_tracked");
    it.advance(MINUTE * 10).await;
    assert_eq!(it.run_poller().await.unwrap()["recorded"], 1);
    assert_eq!(it.world.drain_event_ids().await, [tests::completion_event_id("b-1")]);

    let too_many = track_batch_request(json!({"expected": 6_000, "failed_authorizer_ids": people(0..5_001)}));
    let refused = expect_error(it.world.request(too_many).await);
    assert_eq!(
        refused.to_string(),
        "failed_authorizer_ids: has more than 5000 elements, Rightfoot's limit for one batch"
    );
}
