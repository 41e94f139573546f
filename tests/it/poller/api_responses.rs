//! The effect of each of Rightfoot's responses on the batch that was polled, and on the rest of the run.

use std::collections::BTreeSet;
use std::time::Duration;

use inbox_rightfoot::ClientConfig;
use local::connector::Fault;
use local::rightfoot_simulator::{
    CannedResponse, IncompleteBatchResponse, PageTokenParam, ScriptedResponse, WebhookLoss,
};
use local::stack::RIGHTFOOT_API_KEY_SECRET;
use serde_json::{Value, json};
use tests::rightfoot_world::{API_KEY, RightfootWorld, authorizer_json};
use tests::{DAY, HOUR, MINUTE};

use super::{
    authorizer_ids, completion_event_id, id_and_origin, minute, request_minutes, set_balances, submit_batch,
    submit_without_inbox, tracked_item,
};
use crate::metrics_recorder::Counters;

/// A response about a batch.
#[derive(Clone, Copy, Debug)]
enum ResponseCase {
    This(CannedResponse),
    BeforeCompletion(IncompleteBatchResponse),
}

use ResponseCase::{BeforeCompletion as Before, This};

/// The expected handling of a response.
struct ExpectedHandling {
    response: ResponseCase,
    /// Requests that the client makes in one poll.
    requests: usize,
    /// True if the poll counts as failed.
    failed: bool,
    fails_the_function: bool,
    /// Seconds until the batch is polled again: five minutes, unless Rightfoot asks for more.
    retry_secs: u64,
    /// True if Rightfoot has answered the question, so that a batch past its deadline becomes overdue (P9).
    is_answer: bool,
}

const fn expect(says: ResponseCase, requests: usize, failed: bool, is_answer: bool) -> ExpectedHandling {
    ExpectedHandling {
        response: says,
        requests,
        failed,
        fails_the_function: false,
        retry_secs: 300,
        is_answer,
    }
}

const fn expect_pause(status: u16, secs: u64, requests: usize, again_secs: u64) -> ExpectedHandling {
    ExpectedHandling {
        retry_secs: again_secs,
        ..expect(This(CannedResponse::RetryAfter { status, secs }), requests, true, false)
    }
}

const ALL_RESPONSES: [ExpectedHandling; 27] = [
    // Not ready.
    expect(Before(IncompleteBatchResponse::FewerRows), 1, false, true),
    expect(Before(IncompleteBatchResponse::EmptyList), 1, false, true),
    expect(Before(IncompleteBatchResponse::Accepted202), 1, false, true),
    expect(Before(IncompleteBatchResponse::NotFound404), 1, false, true),
    expect(Before(IncompleteBatchResponse::TooEarly425), 1, false, true),
    expect(This(CannedResponse::Status(202)), 1, false, true),
    expect(This(CannedResponse::Status(204)), 1, false, true),
    expect(This(CannedResponse::Status(404)), 1, false, true),
    expect(This(CannedResponse::Status(425)), 1, false, true),
    // The batch is not ours to see, or is not a batch; or our key is invalid.
    expect(This(CannedResponse::Status(403)), 1, true, true),
    expect(This(CannedResponse::Status(400)), 1, true, true),
    ExpectedHandling {
        fails_the_function: true,
        ..expect(This(CannedResponse::Status(401)), 1, true, false)
    },
    // Rate limits. The client itself retries where the pause is two seconds at most.
    expect(This(CannedResponse::Status(429)), 3, true, false),
    expect_pause(429, 0, 3, 300),
    expect_pause(429, 60, 1, 300),
    expect_pause(429, 3_600, 1, 3_600),
    expect_pause(429, 999_999_999, 1, 86_400),
    expect_pause(503, 3_600, 1, 3_600),
    // Rightfoot's own failures.
    expect(This(CannedResponse::Status(500)), 3, true, false),
    expect(This(CannedResponse::Status(502)), 3, true, false),
    expect(This(CannedResponse::Status(503)), 3, true, false),
    expect(This(CannedResponse::Hang), 3, true, false),
    expect(This(CannedResponse::Truncated), 3, true, false),
    // Responses that cannot be parsed.
    expect(This(CannedResponse::Status(302)), 1, true, false),
    expect(This(CannedResponse::Html), 1, true, false),
    expect(This(CannedResponse::WrongShape), 1, true, false),
    expect(This(CannedResponse::TooLarge), 1, true, false),
];

/// A due batch, about which Rightfoot gives this response.
async fn batch_with_response(says: ResponseCase) -> (RightfootWorld, String) {
    let it = RightfootWorld::with_transport(
        |rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            if let Before(answer) = says {
                rightfoot.incomplete_batch_response = answer;
                rightfoot.processing_time = HOUR * 30;
            }
        },
        // Longer than any regular response takes here, even the largest.
        |client| client.request_timeout = Duration::from_millis(if is_hang(says) { 1_000 } else { 10_000 }),
        |_, routes| routes,
    )
    .await;
    let batch = submit_batch(&it, "payroll-1", &["a", "b"]).await;
    if let This(answer) = says {
        let scripted = ScriptedResponse {
            path_contains: "/v1/balances".to_owned(),
            response: answer,
            remaining_uses: None,
        };
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
    }
    (it, batch)
}

fn is_hang(says: ResponseCase) -> bool {
    matches!(says, This(CannedResponse::Hang))
}

/// Polls once after `span`; returns the report or the error's type.
async fn poll_after(it: &RightfootWorld, span: Duration) -> Result<Value, String> {
    it.advance(span).await;
    it.rightfoot.clear_requests();
    it.run_poller().await.map_err(|failed| failed.error_type)
}

async fn assert_handled(expected: &ExpectedHandling) {
    let says = expected.response;
    let (it, batch) = batch_with_response(says).await;
    let run = poll_after(&it, MINUTE * 10).await;
    match run {
        Ok(run) => {
            assert!(!expected.fails_the_function, "{says:?}");
            assert_eq!((&run["polled"], &run["recorded"]), (&json!(1), &json!(0)), "{says:?}");
            assert_eq!(run["failed"], json!(u64::from(expected.failed)), "{says:?}");
        }
        Err(name) => {
            assert_eq!(name, "RightfootUnauthorized", "{says:?}");
            assert!(expected.fails_the_function, "{says:?}");
        }
    }
    assert_eq!(it.rightfoot.requests().len(), expected.requests, "{says:?}");
    let again = it.world.now().plus(Duration::from_secs(expected.retry_secs));
    let due = vec![(format!("rightfoot#batch#{batch}"), again)];
    assert_eq!(it.world.due_polls().await, due, "{says:?}");

    // Polled again before its deadline, and a day later.
    drop(poll_after(&it, Duration::from_secs(expected.retry_secs)).await);
    assert_eq!(it.rightfoot.requests().len(), expected.requests, "{says:?}");
    drop(poll_after(&it, DAY).await);
    let item = tracked_item(&it, &batch).await;
    assert_eq!(item.contains_key("overdue_at"), expected.is_answer, "P9: {says:?}");
    assert_eq!(item.contains_key("due"), !expected.is_answer, "P9: {says:?}");
    if !expected.is_answer {
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        drop(poll_after(&it, DAY).await);
        assert_eq!(it.world.due_polls().await, [], "{says:?}");
        assert_eq!(
            it.world.drain_ids_and_origins().await,
            [id_and_origin(completion_event_id(&batch), "poll")],
            "P5: {says:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_p9_every_answer_is_taken_for_what_it_is_and_loses_nothing() {
    // The key is fetched every 30 s at most, so a rejected key is not replaced within this test.
    futures::future::join_all(ALL_RESPONSES.iter().map(assert_handled)).await;
}

/// A world with twenty due batches.
async fn twenty_due_batches() -> (RightfootWorld, Vec<String>) {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        set_balances(rightfoot, &[("a", "1.00")]);
    })
    .await;
    let mut batches = Vec::new();
    for n in 0..20 {
        batches.push(submit_batch(&it, &format!("payroll-{n}"), &["a"]).await);
    }
    (it, batches)
}

fn set_response(it: &RightfootWorld, path_contains: &str, answer: CannedResponse) {
    let scripted =
        ScriptedResponse { path_contains: path_contains.to_owned(), response: answer, remaining_uses: None };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
}

async fn assert_all_found(it: &RightfootWorld, batches: &[String]) {
    let mut expected: Vec<_> =
        batches.iter().map(|batch| id_and_origin(completion_event_id(batch), "poll")).collect();
    expected.sort();
    assert_eq!(it.world.drain_ids_and_origins().await, expected);
    assert_eq!(it.world.due_polls().await, []);
}

async fn rotate_api_key(it: &RightfootWorld, key: &str) {
    let secrets = &it.world.stack.inspector.secrets;
    secrets.put_secret_value().secret_id(RIGHTFOOT_API_KEY_SECRET).secret_string(key).send().await.unwrap();
}

#[tokio::test]
async fn p9_a_refused_key_stops_the_run_and_fails_the_function_and_everything_stays_due() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let (it, batches) = twenty_due_batches().await;
    rotate_api_key(&it, "rf_live_old").await;
    let poller = it.world.another_process();
    it.advance(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    let failed = poller.run_poller().await.unwrap().unwrap_err();
    assert_eq!(failed.error_type, "RightfootUnauthorized");
    assert_eq!(failed.error_message, "Rightfoot does not accept the API key");
    assert!((1..=8).contains(&it.rightfoot.requests().len()), "those that were under way at the same time");
    assert_eq!(it.world.due_polls().await.len(), 20);
    let refused = counters.count("key_refused", "");
    assert_eq!(refused, it.rightfoot.requests().len() as u64);
    assert_eq!(counters.count("poll_failed", "unauthorized"), refused);
    assert_eq!(counters.count("poll_failed", ""), refused, "and as a whole");

    rotate_api_key(&it, API_KEY).await;
    it.advance(MINUTE * 5).await;
    poller.run_poller().await.unwrap().unwrap_err();
    // Past `SECRET_REFETCH_SECS`: the key may be fetched again.
    it.world.age_secret_caches(Duration::from_secs(31));
    it.advance(MINUTE * 10).await;
    let before = counters.count("key_refused", "");
    assert_eq!(
        poller.run_poller().await.unwrap().unwrap()["recorded"],
        20,
        "the same process, with the new key"
    );
    assert_eq!(counters.count("key_refused", ""), before, "a key that was replaced in time is no trouble");
    assert_all_found(&it, &batches).await;
}

#[tokio::test]
async fn p9_a_key_that_cannot_be_loaded_stops_the_run_and_everything_stays_due() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let (it, batches) = twenty_due_batches().await;
    let poller = it.world.another_process();
    poller.inject_fault("GetSecretValue", Fault::AccessDenied);
    it.advance(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    let failed = poller.run_poller().await.unwrap().unwrap_err();
    assert_eq!(failed.error_type, "RightfootUnauthorized");
    assert_eq!(failed.error_message, "the API key cannot be loaded");
    assert_eq!((it.rightfoot.requests().len(), it.world.due_polls().await.len()), (0, 20));
    assert!(counters.count("key_refused", "") > 0);
    poller.stack.connector.clear_fault_plan();
    // Past `SECRET_REFETCH_SECS`: the key may be fetched again.
    it.world.age_secret_caches(Duration::from_secs(31));
    it.advance(MINUTE * 5).await;
    assert_eq!(poller.run_poller().await.unwrap().unwrap()["recorded"], 20);
    assert_all_found(&it, &batches).await;
}

#[tokio::test]
async fn p9_a_limited_rate_stops_the_run_and_what_was_not_asked_stays_due() {
    let (it, batches) = twenty_due_batches().await;
    set_response(&it, "/v1/balances", CannedResponse::RetryAfter { status: 429, secs: 900 });
    it.advance(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    let run = it.run_poller().await.unwrap();
    let (asked, left) = (run["polled"].as_u64().unwrap(), run["remaining"].as_u64().unwrap());
    assert!((1..=8).contains(&asked) && asked + left == 20, "{run}");
    // Polls that had not sent their request when the pause began did not send it.
    let requests = it.rightfoot.requests().len() as u64;
    assert!((1..=asked).contains(&requests), "{requests}, {run}");
    let later = it.world.due_polls().await.iter().filter(|(_, due_at)| minute(*due_at) == 25).count();
    assert_eq!((it.world.due_polls().await.len(), later as u64), (20, asked), "the others are due at once");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.rightfoot.clear_requests();
    it.advance(MINUTE * 14).await;
    let during = it.run_poller().await.unwrap();
    assert_eq!(
        (&during["polled"], during["remaining"].as_u64()),
        (&json!(0), Some(left)),
        "the pause is for all"
    );
    assert_eq!((it.rightfoot.requests().len(), it.world.drain_event_ids().await.len()), (0, 0));
    it.run_for(MINUTE).await;
    assert_all_found(&it, &batches).await;
}

#[tokio::test]
async fn p9_a_limited_rate_without_a_pause_stops_the_run_and_the_next_one_goes_on() {
    let (it, batches) = twenty_due_batches().await;
    set_response(&it, "/v1/balances", CannedResponse::Status(429));
    it.advance(MINUTE * 10).await;
    let run = it.run_poller().await.unwrap();
    let (asked, left) = (run["polled"].as_u64().unwrap(), run["remaining"].as_u64().unwrap());
    assert!((1..=8).contains(&asked) && asked + left == 20, "{run}");
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.advance(MINUTE).await;
    assert_eq!(it.run_poller().await.unwrap()["recorded"].as_u64(), Some(left));
    it.run_in_steps(MINUTE * 4, MINUTE * 4).await;
    assert_all_found(&it, &batches).await;
}

#[tokio::test]
async fn what_is_due_for_longest_is_asked_for_first() {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    let mut batches = Vec::new();
    for n in 0..20 {
        batches.push(submit_batch(&it, &format!("payroll-{n}"), &["a"]).await);
        it.advance(MINUTE).await;
    }
    set_response(&it, "/v1/balances", CannedResponse::Status(429));
    it.advance(MINUTE * 20).await;
    let run = it.run_poller().await.unwrap();
    assert_eq!(run["oldest_delay_secs"], 1_800);
    let asked = run["polled"].as_u64().unwrap();
    assert!((1..=8).contains(&asked), "{run}");
    let put_off = it.world.due_polls().await.into_iter().filter(|(_, due_at)| minute(*due_at) == 45);
    let put_off: BTreeSet<_> = put_off.map(|(pk, _)| pk).collect();
    let oldest = batches.iter().take(put_off.len()).map(|batch| format!("rightfoot#batch#{batch}"));
    assert_eq!((put_off.len() as u64, put_off), (asked, oldest.collect()));
}

#[tokio::test]
async fn p9_a_run_that_does_not_come_to_its_end_is_cut_off_and_everything_stays_due() {
    let patient = |client: &mut ClientConfig| client.request_timeout = HOUR;
    let it = RightfootWorld::with_transport(
        |rightfoot| rightfoot.webhook_loss = WebhookLoss::All,
        patient,
        |_, routes| routes,
    )
    .await;
    let batch = submit_batch(&it, "payroll-1", &["a"]).await;
    set_response(&it, "/v1/balances", CannedResponse::Hang);
    it.advance(MINUTE * 10).await;
    it.rightfoot.clear_requests();
    let poller = it.world.another_process();
    let run = poller.stack.poller.run(Duration::from_millis(500), Duration::from_millis(500)).await;
    let failed = run.into_response().unwrap_err();
    assert_eq!((failed.error_type.as_str(), it.world.due_polls().await.len()), ("CutOff", 1));
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
    it.run_in_steps(MINUTE * 5, MINUTE * 5).await;
    assert_all_found(&it, &[batch]).await;
}

#[tokio::test]
async fn p9_what_is_forbidden_or_fails_for_one_batch_holds_up_no_other() {
    for answer in [
        CannedResponse::Status(403),
        CannedResponse::Status(500),
        CannedResponse::Html,
        CannedResponse::Status(404),
    ] {
        let (it, batches) = twenty_due_batches().await;
        set_response(&it, &batches[7], answer);
        it.advance(MINUTE * 10).await;
        let run = it.run_poller().await.unwrap();
        assert_eq!(
            (&run["polled"], &run["recorded"], &run["remaining"]),
            (&json!(20), &json!(19), &json!(0))
        );
        let due: Vec<_> = it.world.due_polls().await.into_iter().map(|(pk, _)| pk).collect();
        assert_eq!(due, [format!("rightfoot#batch#{}", batches[7])]);
        it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses.clear());
        it.run_in_steps(MINUTE * 5, MINUTE * 5).await;
        assert_all_found(&it, &batches).await;
    }
}

#[tokio::test]
async fn p9_a_list_that_is_not_whole_is_no_completion_and_ends_overdue() {
    // First all rows are expected, then fewer than the one visible page has.
    for expected in [101, 50] {
        let it = RightfootWorld::with_behaviour(|rightfoot| {
            rightfoot.webhook_loss = WebhookLoss::All;
            rightfoot.page_token_param = PageTokenParam::Ignored;
        })
        .await;
        let authorizers: Vec<_> = authorizer_ids(101).iter().map(|id| authorizer_json(id)).collect();
        let batch = submit_without_inbox(&it, json!({ "authorizers": authorizers })).await;
        it.request(json!({"action": "track_batch", "batch_id": batch, "expected": expected})).await;
        it.rightfoot.clear_requests();
        it.run_in_steps(MINUTE * 10, MINUTE * 10).await;
        let minutes = request_minutes(&it);
        assert_eq!(minutes, [10, 10, 10], "the page again under each name of the token, and no loop");
        assert_eq!(it.world.due_polls().await.len(), 1);
        it.run_in_steps(HOUR, DAY).await;
        assert!(tracked_item(&it, &batch).await.contains_key("overdue_at"));
        assert_eq!(it.world.drain_event_ids().await, Vec::<String>::new());
    }
}

/// The batch was deferred before it was polled, so only this counter shows that polling fails every time.
#[tokio::test]
async fn p9_an_answer_that_cannot_be_written_down_counts_as_failed() {
    let counters = Counters::default();
    let _counting = metrics::set_default_local_recorder(&counters);
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = WebhookLoss::All).await;
    it.submit_batch("payroll", &["a"]).await;
    it.advance(MINUTE * 10).await;
    let process = it.world.another_process();
    process.inject_fault("PutItem", Fault::AccessDenied);
    assert_eq!(process.run_poller().await.unwrap().unwrap_err().error_type, "AwsCallFailed");
    assert_eq!(counters.count("poll_failed", "aws_error"), 1);
    assert_eq!(it.world.due_polls().await.len(), 1);
}
