//! Checks that fail: because of the credentials, of Fynapse's answers, or of AWS. The next run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use local::connector::Fault;
use local::stack::{FYNAPSE_API_CREDENTIALS_SECRET, FYNAPSE_CLIENT_SECRET};
use serde_json::json;
use tests::fynapse_world::FynapseWorld;
use tests::{DAY, MINUTE, number, text};

use super::{counts, missed};

/// The stored problem of the checks: its reason, and its first run.
async fn problem(it: &FynapseWorld) -> Option<(String, i64)> {
    let state = it.world.item("fynapse#subscription#local-subscription", "check").await?;
    let fields = state.get("poll_problem")?.as_m().unwrap();
    Some((text(fields, "reason").to_owned(), number(fields, "first_poll").unwrap()))
}

fn reason(reason: &str, first_run: i64) -> Option<(String, i64)> {
    Some((reason.to_owned(), first_run))
}

/// Runs the auditor, which must fail; returns the type and the text of its error.
async fn run_and_fail(it: &FynapseWorld) -> (String, String) {
    let Err(error) = it.try_auditor().await.unwrap() else { panic!("it did not fail") };
    (error.error_type, error.error_message)
}

async fn put_credentials(it: &FynapseWorld, value: &str) {
    let secrets = &it.world.stack.inspector.secrets;
    let put = secrets.put_secret_value().secret_id(FYNAPSE_API_CREDENTIALS_SECRET);
    put.secret_string(value).send().await.unwrap();
}

#[tokio::test]
async fn p8_refused_credentials_fail_the_run_until_they_are_replaced() {
    let it = FynapseWorld::new().await;
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    it.fynapse.set_client_secret("rotated");
    let refused =
        ("FynapseUnauthorized".to_owned(), "Fynapse does not accept the client's credentials".to_owned());
    assert_eq!(run_and_fail(&it).await, refused);
    assert_eq!(problem(&it).await, reason("credentials_refused", 1));
    put_credentials(&it, "").await;
    let empty = ("FynapseUnauthorized".to_owned(), "the secret is empty".to_owned());
    assert_eq!(run_and_fail(&it).await, empty);
    assert_eq!(problem(&it).await, reason("credentials_unavailable", 1));
    put_credentials(&it, r#"{"client_id":"local-fynapse-client","client_secret":"rotated"}"#).await;
    let found = json!({"pages": 1, "listed": {"DEAD_LETTER": 1}, "missed": 1, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), found);
    assert_eq!(problem(&it).await, None);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_problem_until_one_does() {
    let it = FynapseWorld::new().await;
    it.add_ended("e-1", DeliveryStatus::Pending);
    for (status, body, expected) in [
        (200, r#"{"rows":[{"state":"SENT"}]}"#, "no_deliveries"),
        (200, "<html>", "not_json"),
        (403, "{}", "forbidden"),
        (404, "{}", "not_found"),
        (418, "{}", "declined"),
        (302, "", "invalid_response"),
        (503, "", "unavailable"),
        (429, "", "rate_limited"),
    ] {
        it.fynapse.configure(|list| list.scripted = Some((status, body.to_owned())));
        let response = it.run_auditor().await;
        assert_eq!(
            (&response["problem"], &response["is_complete"]),
            (&json!(expected), &json!(false)),
            "{status}"
        );
        assert_eq!(problem(&it).await, reason(expected, 1), "{status}");
        it.world.advance(MINUTE * 15);
    }
    it.fynapse.configure(|list| list.scripted = None);
    assert_eq!(it.run_auditor().await["is_complete"], true);
    assert_eq!(problem(&it).await, None);
}

#[tokio::test]
async fn a_run_goes_on_at_the_page_that_failed() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.page_rows = 1);
    for number in 0..101 {
        it.add_ended(&format!("e-{number}"), DeliveryStatus::Pending);
    }
    assert_eq!(it.run_auditor().await["pages"], 100);
    it.fynapse.configure(|list| list.scripted = Some((500, String::new())));
    assert_eq!(it.run_auditor().await["problem"], "unavailable");
    it.fynapse.configure(|list| list.scripted = None);
    let last = json!({"pages": 1, "listed": {"PENDING": 1}, "is_complete": true});
    assert_eq!(counts(&it.run_auditor().await), last);
}

#[tokio::test]
async fn a_page_that_fails_again_does_not_keep_the_check_from_new_deliveries() {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.page_rows = 1);
    for number in 0..101 {
        it.add_ended(&format!("e-{number}"), DeliveryStatus::Pending);
    }
    assert_eq!(it.run_auditor().await["pages"], 100);
    it.fynapse.configure(|list| list.scripted = Some((500, String::new())));
    for _ in 0..2 {
        assert_eq!(it.run_auditor().await["problem"], "unavailable");
    }
    it.fynapse.configure(|list| list.scripted = None);
    it.add_ended("e-new", DeliveryStatus::DeadLetter);
    let from_the_start = it.run_auditor().await;
    assert_eq!((&from_the_start["pages"], &from_the_start["missed"]), (&json!(100), &json!(1)));
}

/// A world in which one delivery was given up.
async fn world_with_missed() -> FynapseWorld {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    it.add_ended("e-2", DeliveryStatus::DeadLetter);
    it.world.advance(MINUTE * 15);
    it
}

/// A run that crashes does not save its state, nor write its metrics. So the next one reports what it had found. The exception is a crash
/// in the moment between the last write and the end of the run.
#[tokio::test]
async fn whatever_aws_call_fails_a_missed_event_is_found_and_reported() {
    let good = world_with_missed().await;
    good.world.stack.connector.clear_call_log();
    good.run_auditor().await;
    let last_call = good.world.stack.connector.call_log().len() - 1;
    for fault in Fault::FOR_ANY_CALL {
        let mut failing_call = 0;
        loop {
            let it = world_with_missed().await;
            let (calls, connector) = (Arc::new(AtomicUsize::new(0)), &it.world.stack.connector);
            let counted = calls.clone();
            connector.set_fault_plan(move |_| {
                (counted.fetch_add(1, Ordering::SeqCst) == failing_call).then_some(fault)
            });
            let first = it.try_auditor().await;
            connector.clear_fault_plan();
            let was_injected = calls.load(Ordering::SeqCst) > failing_call;
            let has_failed = matches!(first, Some(Err(_)));
            let crashed_at_the_end = fault == Fault::CrashAfter && failing_call == last_call;
            let mut reported = first.map_or(0, |first| first.map_or(0, |it| it["missed"].as_u64().unwrap()));
            for _ in 0..2 {
                it.world.advance(MINUTE * 15);
                reported += it.run_auditor().await["missed"].as_u64().unwrap();
            }
            // A run that fails for its last write has counted it, which its response does not show.
            assert!(
                (usize::from(!has_failed && !crashed_at_the_end)..=1)
                    .contains(&usize::try_from(reported).unwrap()),
                "{fault:?} at call {failing_call}: reported {reported} times"
            );
            assert_eq!(
                it.missed().await,
                missed(&[("delivery-e-2", "dead_letter")]),
                "{fault:?} at call {failing_call}"
            );
            if !was_injected {
                break;
            }
            failing_call += 1;
        }
        assert!(failing_call >= 5, "{fault:?}: {failing_call} calls");
    }
}

#[tokio::test]
async fn two_runs_at_once_save_a_missed_event_once() {
    let it = FynapseWorld::new().await;
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    let other = it.world.another_process();
    let (one, two) = tokio::join!(it.run_auditor(), other.stack.auditor.handle(MINUTE));
    let two = two.unwrap();
    // Neither knows whether the other one comes to its end.
    assert!((1..=2).contains(&(one["missed"].as_u64().unwrap() + two["missed"].as_u64().unwrap())));
    assert_eq!(it.missed().await.len(), 1);
    let state = it.world.item("fynapse#subscription#local-subscription", "check").await.unwrap();
    assert_eq!(number(&state, "rev"), Some(1), "the other one's write is a conflict");
}

#[tokio::test]
async fn credentials_that_end_soon_do_not_stop_the_check() {
    let it = FynapseWorld::new().await;
    let soon = it.world.now().plus(DAY).rfc3339();
    put_credentials(
        &it,
        &format!(r#"{{"client_id":"local-fynapse-client","client_secret":"{FYNAPSE_CLIENT_SECRET}","expires_at":"{soon}"}}"#),
    )
    .await;
    assert_eq!(it.run_auditor().await["is_complete"], true);
}
