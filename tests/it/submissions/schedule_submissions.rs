//! Schedule submissions: Rightfoot does not deduplicate them, so an unknown outcome is resolved by the schedule's
//! name or by an operator.

use local::connector::Fault;
use local::rightfoot_simulator::{CannedResponse, ScriptedResponse};
use serde_json::{Value, json};
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::{DAY, HOUR, MINUTE, START, completion_body, number, text};

use super::{
    COMPLETED, PENDING, RELEASED, SCHEDULE_PATH, expect_error, post_count, posted_url, state_attributes,
    submission_item, token, tracked_items,
};

const NAME: &str = "weekly";
const NAME_TAKEN_MESSAGE: &str = "name: Rightfoot has a schedule of this name. If it is the one that this submission made, call \
                     track_schedule with its id and this submission_id; if not, choose another name under a new \
                     submission_id";

fn schedule_request() -> Value {
    let mut request = daily_schedule_request(NAME, &["a", "b", "c", "d"]);
    request["time_of_day"] = "04:00".into();
    request["expires_at"] = "2026-02-01".into();
    request
}

fn track_request(schedule_id: &str) -> Value {
    json!({
        "action": "track_schedule",
        "schedule_id": schedule_id,
        "submission_id": NAME,
        "probe_authorizers": ["b"],
        "thresholds": {"default": 100},
    })
}

/// A schedule that was created and whose caller does not know.
async fn schedule_of_unknown_outcome() -> (RightfootWorld, String) {
    let answer = CannedResponse::AppliedThen500;
    let lost = ScriptedResponse {
        path_contains: SCHEDULE_PATH.to_owned(),
        response: answer,
        remaining_uses: Some(1),
    };
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.scripted_responses = vec![lost]).await;
    let refused = expect_error(it.world.request(schedule_request()).await);
    assert_eq!(refused.name(), "OutcomeUnknown");
    assert_eq!(
        refused.to_string(),
        "outcome unknown (Rightfoot is unavailable: server_error); send the same request again: if Rightfoot then \
         reports the name as taken, the schedule exists"
    );
    let id = it.rightfoot.schedules()[0].schedule_id.clone();
    (it, id)
}

#[tokio::test]
async fn a_schedule_is_tracked_from_its_creation_on_and_due_after_its_first_run() {
    let it = RightfootWorld::new().await;
    let made = it.request(schedule_request()).await;
    let id = it.rightfoot.schedules()[0].schedule_id.clone();
    assert_eq!(
        made,
        json!({
            "schedule_id": id,
            "expires_at": "2026-02-01T00:00:00.000Z",
            "next_run_at": "2026-01-02T04:00:00.000Z",
            "probe_authorizers": ["a", "b", "c"],
        })
    );
    let tracked = tracked_items(&it.world).await;
    assert_eq!(tracked.len(), 1);
    let item = &tracked[0];
    assert_eq!(text(item, "pk"), format!("rightfoot#schedule#{id}"));
    assert_eq!(text(item, "subject"), NAME);
    assert_eq!(number(item, "since"), Some(it.world.now().0));
    assert_eq!(number(item, "interval_secs"), Some(86_400));
    let moment = |text| inbox_core::time::UnixMillis::from_rfc3339(text).unwrap();
    assert_eq!(number(item, "schedule_expires_at"), Some(moment("2026-02-01T00:00:00Z").0));
    let due_at = moment("2026-01-02T04:10:00Z");
    assert_eq!(it.world.due_polls().await, [(format!("rightfoot#schedule#{id}"), due_at)]);

    let posted: Value = serde_json::from_slice(&it.rightfoot.post_bodies()[0]).unwrap();
    let names: Vec<_> = posted.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["authorizers", "expires_at", "interval_days", "name", "threshold_amount", "time_of_day", "webhook"];
    assert_eq!(names, expected);
    assert_eq!(token(&posted_url(&it)), it.world.stack.mint_url_token(&NAME.parse().unwrap()).unwrap());
    assert_eq!(it.request(schedule_request()).await, made);
    assert_eq!(post_count(&it), 1);
}

#[tokio::test]
async fn a_schedule_found_by_a_later_retry_is_polled_from_its_submission_on() {
    let it = RightfootWorld::new().await;
    let dying = it.world.another_process();
    dying.inject_fault("PutItem", Fault::CrashAfter);
    assert_eq!(dying.request(schedule_request()).await, None);
    it.world.advance(MINUTE * 5);
    it.request(schedule_request()).await;
    assert_eq!(number(&tracked_items(&it.world).await[0], "since"), Some(START.0));
}

#[tokio::test]
async fn whose_histories_show_its_runs_can_be_chosen() {
    let it = RightfootWorld::new().await;
    let mut request = schedule_request();
    request["probe_authorizers"] = json!(["d", "b"]);
    assert_eq!(it.request(request.clone()).await["probe_authorizers"], json!(["d", "b"]));
    let posted: Value = serde_json::from_slice(&it.rightfoot.post_bodies()[0]).unwrap();
    assert_eq!(posted.get("probe_authorizers"), None, "that is between the caller and us");
    // Probe authorizers are not part of the submitted request.
    request["probe_authorizers"] = json!(["a"]);
    assert_eq!(it.request(request).await["probe_authorizers"], json!(["d", "b"]));
    assert_eq!(post_count(&it), 1);
}

#[tokio::test]
async fn a_name_taken_by_somebody_else_is_reported_and_the_submission_is_released() {
    let it = RightfootWorld::new().await;
    it.request(daily_schedule_request("first", &["a"])).await;
    let mut second = daily_schedule_request(NAME, &["b"]);
    second["name"] = "Daily first".into();
    let refused = expect_error(it.world.request(second.clone()).await);
    assert_eq!((refused.name(), refused.to_string().as_str()), ("ScheduleNameTaken", NAME_TAKEN_MESSAGE));
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), RELEASED);
    assert_eq!(tracked_items(&it.world).await.len(), 1);
    second["name"] = "Daily second".into();
    it.request(second.clone()).await;
    assert_eq!(it.rightfoot.schedules().len(), 2);
    assert_eq!(tracked_items(&it.world).await.len(), 2);
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
}

/// The error says so, because the name may have been taken by this very submission before its item was lost.
#[tokio::test]
async fn a_released_submission_can_be_assigned_what_it_made_and_is_then_complete() {
    let it = RightfootWorld::new().await;
    it.request(daily_schedule_request("first", &["a"])).await;
    let id = it.rightfoot.schedules()[0].schedule_id.clone();
    let mut second = daily_schedule_request(NAME, &["b"]);
    second["name"] = "Daily first".into();
    assert_eq!(expect_error(it.world.request(second.clone()).await).name(), "ScheduleNameTaken");
    assert_eq!(it.request(track_request(&id)).await, json!({"schedule_id": id, "status": "tracked"}));
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
    let posts_so_far = post_count(&it);
    assert_eq!(it.request(second).await["schedule_id"], id.as_str());
    assert_eq!(post_count(&it), posts_so_far, "what stands is not posted again");
}

#[tokio::test]
async fn a_schedule_whose_response_was_lost_is_recognised_by_its_name_and_completed_by_an_operator() {
    let (it, id) = schedule_of_unknown_outcome().await;
    assert_eq!(post_count(&it), 1, "a schedule is not posted again where it may have been made");
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING);
    for posts_so_far in [1, 2] {
        let refused = expect_error(it.world.another_process().request(schedule_request()).await);
        assert_eq!((refused.name(), refused.to_string().as_str()), ("ScheduleNameTaken", NAME_TAKEN_MESSAGE));
        assert_eq!(post_count(&it), posts_so_far + 1);
        assert_eq!(
            state_attributes(&submission_item(&it.world, NAME).await.unwrap()),
            PENDING,
            "it may be its own"
        );
        assert_eq!(tracked_items(&it.world).await, []);
    }
    it.world.advance(HOUR);
    assert_eq!(it.request(track_request(&id)).await, json!({"schedule_id": id, "status": "tracked"}));
    assert_eq!(it.request(track_request(&id)).await, json!({"schedule_id": id, "status": "already_tracked"}));
    assert_eq!(number(&tracked_items(&it.world).await[0], "since"), Some(START.0), "it may have run since");
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
    // Due at once, because its next run is unknown.
    assert_eq!(it.world.due_polls().await, [(format!("rightfoot#schedule#{id}"), it.world.now())]);
    let expires_at = it.world.now().plus(DAY * 365).rfc3339();
    assert_eq!(
        it.request(schedule_request()).await,
        json!({"schedule_id": id, "expires_at": expires_at, "next_run_at": null, "probe_authorizers": ["b"]})
    );
    assert_eq!((post_count(&it), it.rightfoot.schedules().len()), (3, 1));
    let url = posted_url(&it);
    let response = it.world.deliver_rightfoot_to(token(&url), completion_body("run-1", "u-1")).await;
    assert_eq!(response.body, r#"{"status":"received"}"#);
}

#[tokio::test]
async fn p9_a_schedule_that_was_made_and_not_written_down_is_named_to_its_caller() {
    let it = RightfootWorld::new().await;
    let failing = it.world.another_process();
    failing.inject_fault("TransactWriteItems", Fault::AccessDenied);
    let refused = expect_error(failing.request(schedule_request()).await);
    let id = it.rightfoot.schedules()[0].schedule_id.clone();
    assert_eq!(refused.name(), "ScheduleNotTracked");
    assert_eq!(
        refused.to_string(),
        format!(
            "Rightfoot created the schedule {id}, and it may not be tracked yet (dynamodb:TransactWriteItems: \
             AccessDeniedException): call track_schedule with that id and this submission_id"
        )
    );
    assert_eq!(it.request(track_request(&id)).await["status"], "tracked");
    assert_eq!(it.request(schedule_request()).await["schedule_id"], id.as_str());
    assert_eq!(post_count(&it), 1);
}

/// For example because its start date has passed: that says nothing about the first attempt.
#[tokio::test]
async fn a_refusal_of_a_repetition_does_not_free_what_may_have_been_made() {
    let (it, id) = schedule_of_unknown_outcome().await;
    let answer = CannedResponse::Status(400);
    let refuses = ScriptedResponse {
        path_contains: SCHEDULE_PATH.to_owned(),
        response: answer,
        remaining_uses: Some(1),
    };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![refuses]);
    let refused = expect_error(it.world.request(schedule_request()).await);
    assert_eq!(refused.name(), "DeclinedAfterAttempts");
    assert_eq!(
        refused.to_string(),
        "Rightfoot declined it (HTTP 400), and this was not the only attempt: another one may have created a schedule. The \
         submission_id is not free, and the submission alarms until that is known. Send the same request again: if there \
         is a schedule, Rightfoot may report its name as taken. If Rightfoot knows a schedule of it, call track_schedule \
         with its id and this submission_id; if it knows none, free the id: inboxctl submissions conclude SUBMISSION_ID \
         --none --why TEXT"
    );
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING);
    assert_eq!(expect_error(it.world.request(schedule_request()).await).name(), "ScheduleNameTaken");
    assert_eq!(it.request(track_request(&id)).await["status"], "tracked");
}

#[tokio::test]
async fn p9_a_schedule_is_not_posted_again_after_23_hours() {
    let (it, id) = schedule_of_unknown_outcome().await;
    it.world.advance(HOUR * 23);
    let refused = expect_error(it.world.request(schedule_request()).await);
    assert_eq!(refused.name(), "TooLateToRepeat");
    assert!(
        refused.to_string().contains("call track_schedule with its id and this submission_id"),
        "{refused}"
    );
    assert_eq!(post_count(&it), 1);
    it.run_poller().await.unwrap();
    assert_eq!(
        state_attributes(&submission_item(&it.world, NAME).await.unwrap()),
        ["expires_at", "abandoned_at"]
    );
    assert_eq!(it.request(track_request(&id)).await["status"], "tracked");
    assert_eq!(it.request(schedule_request()).await["schedule_id"], id.as_str());
    assert_eq!(post_count(&it), 1);
}

#[tokio::test]
async fn somebody_who_cannot_be_taken_refuses_the_schedule_and_frees_the_name() {
    let it = RightfootWorld::new().await;
    let mut bad = schedule_request();
    bad["authorizers"][2]["ssn"] = json!("");
    let refused = expect_error(it.world.request(bad).await);
    assert_eq!(
        refused.to_string(),
        "Rightfoot declined it (HTTP 400); nothing was submitted, and the submission_id is free again; c: Either ssn \
         or ein is required."
    );
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), RELEASED);
    assert_eq!((tracked_items(&it.world).await.len(), it.rightfoot.schedules().len()), (0, 0));
    it.request(schedule_request()).await;
    assert_eq!(it.rightfoot.schedules().len(), 1);
    it.run_for(MINUTE).await;
    assert_eq!(it.world.due_polls().await.len(), 1);
}
