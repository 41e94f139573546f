//! Failures of a POST to Rightfoot: the caller's error, the number of POSTs, the state of the submission, and the
//! outcome of a retry.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use local::rightfoot_simulator::{CannedResponse, NoFailedAuthorizers, ScriptedResponse};
use serde_json::{Value, json};
use tests::rightfoot_world::{API_KEY, RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{MINUTE, World, number, text};

use super::{
    BATCH_PATH, COMPLETED, PENDING, RELEASED, RequestOutcome, SCHEDULE_PATH, expect_answer, expect_error,
    outcome_name, post_count, posted_url, reworded, state_attributes, submission_item, tracked_items,
};

const NAME: &str = "payroll-1";

/// A row of the table: Rightfoot's response until it recovers, the caller's outcome, the number of POSTs, the
/// submission's state, and the outcome of the retry.
type PostFailureCase = (CannedResponse, &'static str, usize, &'static [&'static str], &'static str);

/// Returns the world, the caller's outcome, and the outcome of a retry after Rightfoot has recovered.
async fn check_post_failure(
    request: &Value,
    line: &PostFailureCase,
) -> (RightfootWorld, RequestOutcome, RequestOutcome) {
    let (canned, expected, expected_posts, state, then) = *line;
    let it = RightfootWorld::with_transport(
        |rightfoot| {
            rightfoot.scripted_responses = vec![ScriptedResponse {
                path_contains: "balance_request".to_owned(),
                response: canned,
                remaining_uses: None,
            }];
        },
        |client| {
            if canned == CannedResponse::Hang {
                client.post_timeout = Duration::from_secs(1);
            }
        },
        |_, routes| routes,
    )
    .await;
    let outcome = it.world.request(request.clone()).await;
    assert_eq!(outcome_name(&outcome), expected, "{canned:?}");
    assert_eq!(post_count(&it), expected_posts, "{canned:?}");
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), state, "{canned:?}");
    assert_eq!(tracked_items(&it.world).await, [], "{canned:?}");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    let again = it.world.another_process().request_raw(&reworded(request)).await;
    assert_eq!(outcome_name(&again), then, "{canned:?}");
    assert_eq!(post_count(&it), expected_posts + 1, "{canned:?}");
    posted_url(&it);
    (it, outcome, again)
}

/// Responses that mean the same whether or not the POST is idempotent.
const UNAMBIGUOUS: [PostFailureCase; 16] = [
    (CannedResponse::Status(400), "RightfootDeclined", 1, &RELEASED, "done"),
    (CannedResponse::Status(413), "RightfootDeclined", 1, &RELEASED, "done"),
    (CannedResponse::Status(422), "RightfootDeclined", 1, &RELEASED, "done"),
    // A gateway may send it, whatever became of the request.
    (CannedResponse::Status(404), "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::Status(408), "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::Status(401), "RightfootUnauthorized", 1, &PENDING, "done"),
    (CannedResponse::Status(403), "RightfootUnavailable", 1, &PENDING, "done"),
    // The requested pause is longer than any invocation.
    (CannedResponse::RetryAfter { status: 429, secs: 60 }, "RightfootUnavailable", 1, &PENDING, "done"),
    (CannedResponse::RetryAfter { status: 503, secs: 60 }, "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::Status(429), "RightfootUnavailable", 3, &PENDING, "done"),
    (CannedResponse::Status(307), "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::Html, "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::WrongShape, "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::TooLarge, "OutcomeUnknown", 1, &PENDING, "done"),
    (CannedResponse::Status(600), "OutcomeUnknown", 1, &PENDING, "done"),
    // The request may still be in progress.
    (CannedResponse::Hang, "OutcomeUnknown", 1, &PENDING, "done"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_a_batch_whatever_rightfoot_answers_is_made_once() {
    // A batch: the same bytes give the same batch, so the POST is repeated after a response.
    let again: [PostFailureCase; 4] = [
        (CannedResponse::Status(500), "OutcomeUnknown", 3, &PENDING, "done"),
        (CannedResponse::AppliedThen500, "OutcomeUnknown", 3, &PENDING, "done"),
        (CannedResponse::Truncated, "OutcomeUnknown", 1, &PENDING, "done"),
        // Undocumented for a batch.
        (CannedResponse::Status(409), "OutcomeUnknown", 1, &PENDING, "done"),
    ];
    let lines = UNAMBIGUOUS.into_iter().chain(again).map(|line| {
        tokio::spawn(async move {
            let (it, _, again) = check_post_failure(&submit_batch_request(NAME, &["a", "b"]), &line).await;
            let batches = it.rightfoot.batches();
            assert_eq!(batches.len(), 1, "{line:?}");
            assert_eq!(expect_answer(again)["batch_id"], batches[0].batch_id.as_str(), "{line:?}");
            assert_eq!(tracked_items(&it.world).await.len(), 1, "{line:?}");
            assert_eq!(
                state_attributes(&submission_item(&it.world, NAME).await.unwrap()),
                COMPLETED,
                "{line:?}"
            );
        })
    });
    for line in lines.collect::<Vec<_>>() {
        line.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_never_posted_again_where_it_may_have_been_made() {
    let once: [PostFailureCase; 4] = [
        (CannedResponse::Status(500), "OutcomeUnknown", 1, &PENDING, "done"),
        (CannedResponse::AppliedThen500, "OutcomeUnknown", 1, &PENDING, "ScheduleNameTaken"),
        (CannedResponse::Truncated, "OutcomeUnknown", 1, &PENDING, "ScheduleNameTaken"),
        // Nothing was posted before, so the name belongs to another schedule.
        (CannedResponse::Status(409), "ScheduleNameTaken", 1, &RELEASED, "done"),
    ];
    let lines = UNAMBIGUOUS.into_iter().chain(once).map(|line| {
        tokio::spawn(async move {
            let (it, _, again) = check_post_failure(&daily_schedule_request(NAME, &["a", "b"]), &line).await;
            let schedules = it.rightfoot.schedules();
            assert_eq!(schedules.len(), 1, "{line:?}");
            let (state, is_tracked) = if outcome_name(&again) == "done" {
                assert_eq!(
                    expect_answer(again)["schedule_id"],
                    schedules[0].schedule_id.as_str(),
                    "{line:?}"
                );
                (COMPLETED, 1)
            } else {
                (PENDING, 0)
            };
            assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), state, "{line:?}");
            assert_eq!(tracked_items(&it.world).await.len(), is_tracked, "{line:?}");
        })
    });
    for line in lines.collect::<Vec<_>>() {
        line.await.unwrap();
    }
}

/// A single lost response does not reach the caller: the client repeats the request.
#[tokio::test]
async fn p5_one_lost_answer_of_a_batch_is_asked_for_again_at_once() {
    let answer = CannedResponse::AppliedThen500;
    let lost =
        ScriptedResponse { path_contains: BATCH_PATH.to_owned(), response: answer, remaining_uses: Some(1) };
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.scripted_responses = vec![lost]).await;
    let submitted = it.submit_batch(NAME, &["a"]).await;
    assert_eq!(post_count(&it), 2);
    assert_eq!(it.rightfoot.batches().len(), 1);
    assert_eq!(submitted["batch_id"], it.rightfoot.batches()[0].batch_id.as_str());
}

/// Scripted responses, each for a number of requests.
fn scripted(answers: &[(CannedResponse, usize)]) -> Vec<ScriptedResponse> {
    let one = |(answer, times): &(CannedResponse, usize)| ScriptedResponse {
        path_contains: "balance_request".to_owned(),
        response: *answer,
        remaining_uses: Some(*times),
    };
    answers.iter().map(one).collect()
}

const AFTER_ATTEMPTS: &str = "Rightfoot declined it (HTTP 400), and this was not the only attempt: another one may have \
                              created a batch. The submission_id is not free, and the submission alarms until that is known. \
                              Send the same request again: if there is a batch, Rightfoot may respond with it. If \
                              Rightfoot knows a batch of it, call track_batch with its id and this submission_id; if it \
                              knows none, free the id: inboxctl submissions conclude SUBMISSION_ID --none --why TEXT";

/// The batch was created and the response lost, within this call or by an earlier one. The next response then says
/// nothing about that batch.
#[tokio::test]
async fn p9_a_refusal_after_another_attempt_frees_no_name_and_the_batch_is_tracked_in_the_end() {
    let lost = CannedResponse::AppliedThen500;
    for (tries, first) in [(3, "OutcomeUnknown"), (1, "DeclinedAfterAttempts")] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.scripted_responses = scripted(&[(lost, tries), (CannedResponse::Status(400), 1)]);
        })
        .await;
        let request = submit_batch_request(NAME, &["a", "b"]);
        let mut outcome = it.world.request(request.clone()).await;
        assert_eq!(outcome_name(&outcome), first);
        assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), PENDING, "{first}");
        if first == "OutcomeUnknown" {
            outcome = it.world.another_process().request_raw(&reworded(&request)).await;
        }
        let refused = expect_error(outcome);
        assert_eq!((refused.name(), refused.to_string().as_str()), ("DeclinedAfterAttempts", AFTER_ATTEMPTS));
        assert_eq!(
            state_attributes(&submission_item(&it.world, NAME).await.unwrap()),
            PENDING,
            "{first}: it made a batch"
        );
        let other = expect_error(it.world.request(submit_batch_request(NAME, &["c"])).await);
        assert_eq!(other.name(), "SubmissionIdConflict", "{first}: the name is not free");

        it.world.advance(MINUTE * 15);
        assert_eq!(it.run_poller().await.unwrap()["submissions_unknown"], 1, "{first}: it alarms");
        assert_eq!(it.request(request).await["batch_id"], it.rightfoot.batches()[0].batch_id.as_str());
        assert_eq!((it.rightfoot.batches().len(), tracked_items(&it.world).await.len()), (1, 1));
        assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
    }
}

#[tokio::test]
async fn a_refusal_of_everybody_says_whom_and_why_and_frees_the_name() {
    let it = RightfootWorld::new().await;
    let mut request = submit_batch_request(NAME, &["a", "b", "c", "d", "e", "f", "g"]);
    for authorizer in request["authorizers"].as_array_mut().unwrap() {
        authorizer["ssn"] = json!("");
    }
    let refused = expect_error(it.world.request(request.clone()).await);
    let why = "Either ssn or ein is required.";
    assert_eq!(
        refused.to_string(),
        format!(
            "Rightfoot declined it (HTTP 400); nothing was submitted, and the submission_id is free again; \
             a: {why}; b: {why}; c: {why}; d: {why}; e: {why}; and 2 more"
        )
    );
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), RELEASED);
    assert_eq!((tracked_items(&it.world).await.len(), it.world.due_polls().await.len()), (0, 0));

    let corrected = submit_batch_request(NAME, &["a", "b", "c", "d", "e", "f", "g"]);
    let made = it.request(corrected.clone()).await;
    assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED);
    assert_eq!(it.request(corrected).await, made);
    assert_eq!(it.rightfoot.batches().len(), 1);
    assert_eq!(expect_error(it.world.request(request).await).name(), "SubmissionIdConflict");
}

#[tokio::test]
async fn p9_a_failed_authorizer_is_reported_stored_and_not_waited_for() {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = local::rightfoot_simulator::WebhookLoss::All
    })
    .await;
    let mut request = submit_batch_request(NAME, &["a", "b", "c"]);
    request["authorizers"][1]["routing_number"] = json!("");
    let made = it.request(request.clone()).await;
    let batch = it.rightfoot.batches()[0].clone();
    assert_eq!((batch.authorizers.len(), batch.failed_authorizers.as_slice()), (2, &["b".to_owned()][..]));
    assert_eq!(
        made,
        json!({
            "batch_id": batch.batch_id,
            "submitted_at": "2026-01-02T03:04:05.000Z",
            "failed_authorizers": [{
                "authorizer_unique_id": "b",
                "error": "Either account_number and routing_number or debit_card_number is required.",
                "account_type": null,
                "row_number": 2,
            }],
            "warnings": [],
        })
    );
    assert_eq!(it.world.another_process().request_raw(&reworded(&request)).await.unwrap().unwrap(), made);
    assert_eq!(post_count(&it), 1);
    assert_eq!(number(&tracked_items(&it.world).await[0], "expected"), Some(3));

    it.run_for(MINUTE * 10).await;
    let completed = format!("rightfoot/batch/{}/completed", batch.batch_id);
    assert_eq!(it.world.drain_ids_and_origins().await, [(completed, "poll".to_owned())]);
    assert_eq!(it.world.due_polls().await, []);
}

/// Rightfoot may reject an authorizer without naming one, or with an id that the caller did not send.
#[tokio::test]
async fn p9_a_failed_authorizer_without_an_id_is_not_waited_for() {
    let failed = json!([
        {"error": "Row 2 cannot be read.", "row_number": 2},
        {"authorizer_unique_id": "somebody", "error": ""},
        "Row 4 cannot be read.",
        {"authorizer_unique_id": "e", "error": "Unknown bank."},
    ]);
    let made =
        json!({"batch_id": "b-1", "submitted_at": "2026-01-02T03:04:00Z", "failed_authorizers": failed});
    let answers = move || async move { (StatusCode::CREATED, made.to_string()) };
    let before_api = |_: &World, _: Router| Router::new().route(BATCH_PATH, post(answers));
    let it = RightfootWorld::with_transport(|_| {}, |_| {}, before_api).await;
    let answer = it.submit_batch(NAME, &["a", "b", "c", "d", "e"]).await;
    let entry = |id: Value, error: &str, row: Value| json!({"authorizer_unique_id": id, "error": error, "account_type": null, "row_number": row});
    assert_eq!(
        answer["failed_authorizers"],
        json!([
            entry(Value::Null, "Row 2 cannot be read.", json!(2)),
            entry(Value::Null, "somebody", Value::Null),
            entry(Value::Null, "Row 4 cannot be read.", Value::Null),
            entry(json!("e"), "Unknown bank.", Value::Null),
        ])
    );
    assert_eq!(answer["submitted_at"], "2026-01-02T03:04:00.000Z");
    let item = tracked_items(&it.world).await.remove(0);
    assert_eq!(number(&item, "expected"), Some(2), "a, and e, who is known to be refused");
}

#[tokio::test]
async fn nobody_refused_is_an_empty_list_however_rightfoot_says_it() {
    for form in [NoFailedAuthorizers::Absent, NoFailedAuthorizers::Null, NoFailedAuthorizers::EmptyList] {
        let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.no_failed_authorizers = form).await;
        let made = it.submit_batch(NAME, &["a"]).await;
        assert_eq!((&made["failed_authorizers"], &made["warnings"]), (&json!([]), &json!([])), "{form:?}");
        assert_eq!(it.submit_batch(NAME, &["a"]).await, made, "{form:?}");
    }
}

#[tokio::test]
async fn an_unreachable_api_is_reported_and_the_submission_stays_pending() {
    let it = RightfootWorld::new().await;
    let mut world = it.world.another_process();
    world.stack.requests = super::caller_interleavings::requests_function(&world, "http://127.0.0.1:9");
    for request in [submit_batch_request(NAME, &["a"]), daily_schedule_request("weekly", &["a"])] {
        let name = request["submission_id"].as_str().unwrap().to_owned();
        let refused = expect_error(world.request(request.clone()).await);
        assert_eq!(refused.name(), "RightfootUnavailable");
        assert_eq!(
            refused.to_string(),
            "not submitted: Rightfoot is unavailable: not_connected; send the same request again later"
        );
        assert_eq!(state_attributes(&submission_item(&it.world, &name).await.unwrap()), PENDING);
        it.request(request).await;
        assert_eq!(state_attributes(&submission_item(&it.world, &name).await.unwrap()), COMPLETED);
    }
}

/// A rejected key is fetched again, and the request is repeated if it has changed.
#[tokio::test]
async fn a_rotation_of_the_api_key_needs_no_deploy() {
    let it = RightfootWorld::new().await;
    let put = |value: &str| {
        let put = it.world.stack.inspector.secrets.put_secret_value();
        put.secret_id(local::stack::RIGHTFOOT_API_KEY_SECRET).secret_string(value).send()
    };
    put("rf_live_old").await.unwrap();
    let refused = expect_error(it.world.request(submit_batch_request(NAME, &["a"])).await);
    assert_eq!(refused.name(), "RightfootUnauthorized");
    assert_eq!(
        refused.to_string(),
        "not submitted: Rightfoot does not accept the API key; send the same request again later"
    );
    put(API_KEY).await.unwrap();
    // Past `SECRET_REFETCH_SECS`: the rejected key may be fetched again.
    it.world.age_secret_caches(Duration::from_secs(31));
    it.rightfoot.clear_requests();
    it.submit_batch(NAME, &["a"]).await;
    let statuses: Vec<_> = it.rightfoot.requests().iter().filter_map(|request| request.status).collect();
    assert_eq!(statuses, [401, 201]);
    assert_eq!(text(&tracked_items(&it.world).await[0], "subject"), NAME);
}

/// If a proxy's compression made every outcome unknown, the submission would have to be repeated for ever.
#[tokio::test]
async fn an_answer_that_comes_compressed_is_read() {
    for (request, path) in [
        (submit_batch_request(NAME, &["a"]), BATCH_PATH),
        (daily_schedule_request(NAME, &["a"]), SCHEDULE_PATH),
    ] {
        let it = RightfootWorld::new().await;
        let scripted = ScriptedResponse {
            path_contains: path.to_owned(),
            response: CannedResponse::Gzip,
            remaining_uses: None,
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
        expect_answer(it.world.request(request).await);
        assert_eq!(tracked_items(&it.world).await.len(), 1, "{path}");
        assert_eq!(state_attributes(&submission_item(&it.world, NAME).await.unwrap()), COMPLETED, "{path}");
    }
}
