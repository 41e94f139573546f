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
use crate::metrics_recorder::Counters;

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

/// A world with a list of 101 pages, whose first 100 were read.
async fn world_before_last_page() -> FynapseWorld {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.page_rows = 1);
    for number in 0..101 {
        it.add_ended(&format!("e-{number}"), DeliveryStatus::Pending);
    }
    assert_eq!(it.run_auditor().await["pages"], 100);
    it
}

#[tokio::test]
async fn a_page_that_fails_again_does_not_keep_the_check_from_new_deliveries() {
    for (status, problem, runs) in [(418, "declined", 2), (404, "not_found", 2), (503, "unavailable", 8)] {
        let it = world_before_last_page().await;
        it.fynapse.configure(|list| list.scripted = Some((status, String::new())));
        for _ in 0..runs {
            assert_eq!(it.run_auditor().await["problem"], problem);
        }
        it.fynapse.configure(|list| list.scripted = None);
        it.add_ended("e-new", DeliveryStatus::DeadLetter);
        let from_the_start = it.run_auditor().await;
        let expected = (&json!(100), &json!(1));
        assert_eq!((&from_the_start["pages"], &from_the_start["missed"]), expected, "{status}");
    }
}

#[tokio::test]
async fn a_check_goes_on_after_a_failure_that_is_not_the_pages() {
    for (status, runs) in [(503, 7), (429, 9), (403, 9)] {
        let it = world_before_last_page().await;
        it.fynapse.configure(|list| list.scripted = Some((status, String::new())));
        for _ in 0..runs {
            assert_eq!(it.run_auditor().await["is_complete"], false);
        }
        if status != 503 {
            it.fynapse.configure(|list| list.scripted = Some((503, String::new())));
            assert_eq!(it.run_auditor().await["problem"], "unavailable", "the first one of this page");
        }
        it.fynapse.configure(|list| list.scripted = None);
        let last = json!({"pages": 1, "listed": {"PENDING": 1}, "is_complete": true});
        assert_eq!(counts(&it.run_auditor().await), last, "{status}");
    }
}

/// A world in which one delivery was given up.
async fn world_with_missed(has_payloads: bool) -> FynapseWorld {
    let it = FynapseWorld::new().await;
    it.fynapse.configure(|list| list.has_payloads = has_payloads);
    it.deliver("e-1").await;
    it.add_ended("e-2", DeliveryStatus::DeadLetter);
    it.world.advance(MINUTE * 15);
    it
}

/// The number of missed deliveries that a run reports. One that crashes writes no metrics.
async fn reported(it: &FynapseWorld) -> u64 {
    let counters = Counters::default();
    let run = {
        let _counting = metrics::set_default_local_recorder(&counters);
        it.try_auditor().await
    };
    run.map_or(0, |_| counters.count("delivery_missed", "dead_letter"))
}

/// A run that crashes writes no metrics, so a later one reports what it had found, even if Fynapse does not answer the next one. The
/// exception is a crash in the moment between the last write and the end of the run.
#[tokio::test]
async fn whatever_aws_call_fails_a_missed_event_is_found_and_reported() {
    for has_payloads in [false, true] {
        let good = world_with_missed(has_payloads).await;
        good.world.stack.connector.clear_call_log();
        assert_eq!(reported(&good).await, 1);
        let calls_of_run = good.world.stack.connector.call_log().len();
        assert!(calls_of_run >= 6, "{calls_of_run} calls");
        for fault in Fault::FOR_ANY_CALL {
            for failing_call in 0..=calls_of_run {
                let it = world_with_missed(has_payloads).await;
                let (calls, connector) = (Arc::new(AtomicUsize::new(0)), &it.world.stack.connector);
                let counted = calls.clone();
                connector.set_fault_plan(move |_| {
                    (counted.fetch_add(1, Ordering::SeqCst) == failing_call).then_some(fault)
                });
                let mut reports = reported(&it).await;
                connector.clear_fault_plan();
                for answer in [Some((503, String::new())), None, None] {
                    it.fynapse.configure(|list| list.scripted = answer);
                    it.world.advance(MINUTE * 15);
                    reports += reported(&it).await;
                }
                let case = format!("{fault:?} at call {failing_call}, payloads {has_payloads}");
                let is_lost = fault == Fault::CrashAfter && failing_call + 1 == calls_of_run;
                let most = if failing_call < calls_of_run { 2 } else { 1 };
                assert!((u64::from(!is_lost)..=most).contains(&reports), "{case}: reported {reports} times");
                if has_payloads {
                    assert!(it.world.item("fynapse#event#e-2", "event").await.is_some(), "{case}");
                } else {
                    assert_eq!(it.missed().await, missed(&[("delivery-e-2", "dead_letter")]), "{case}");
                }
            }
        }
    }
}

/// The SDK sends each write again, whose condition does not hold any more.
#[tokio::test]
async fn a_run_goes_on_if_the_response_of_its_own_write_was_lost() {
    for has_payloads in [false, true] {
        let it = world_with_missed(has_payloads).await;
        let lost = Arc::new(AtomicUsize::new(0));
        let counted = lost.clone();
        it.world.stack.connector.set_fault_plan(move |call| {
            let is_first_attempt =
                call.operation == "PutItem" && counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            is_first_attempt.then_some(Fault::TimeoutAfter)
        });
        assert_eq!(reported(&it).await, 1, "{has_payloads}");
        assert_eq!(lost.load(Ordering::SeqCst), 6, "the start, what was found, and the end: twice each");
        it.world.stack.connector.clear_fault_plan();
        let state = it.world.item("fynapse#subscription#local-subscription", "check").await.unwrap();
        assert_eq!((number(&state, "rev"), number(&state, "unreported_since")), (Some(2), None));
        it.world.advance(MINUTE * 15);
        assert_eq!(reported(&it).await, 0, "once");
    }
}

/// Of three deliveries that were given up longer ago than a second check reads otherwise.
#[tokio::test]
async fn a_write_that_fails_keeps_no_other_from_its_report_and_is_made_up_for() {
    for fault in [Fault::AccessDenied, Fault::MalformedResponse] {
        let it = FynapseWorld::new().await;
        for event_id in ["e-1", "e-2", "e-3"] {
            it.add_ended(event_id, DeliveryStatus::DeadLetter);
        }
        it.world.advance(DAY * 6);
        let (calls, connector) = (Arc::new(AtomicUsize::new(0)), &it.world.stack.connector);
        let counted = calls.clone();
        // The first put is that of the state.
        connector.set_fault_plan(move |call| {
            let is_second = call.operation == "PutItem" && counted.fetch_add(1, Ordering::SeqCst) == 1;
            is_second.then_some(fault)
        });
        assert_eq!(reported(&it).await, 2, "{fault:?}");
        connector.clear_fault_plan();
        for reports in [1, 0, 0] {
            it.world.advance(MINUTE * 15);
            assert_eq!(reported(&it).await, reports, "{fault:?}");
        }
        assert_eq!(it.missed().await.len(), 3, "{fault:?}");
        let state = it.world.item("fynapse#subscription#local-subscription", "check").await.unwrap();
        assert!(!state.contains_key("unreported_since") && !state.contains_key("reported"), "{state:?}");
    }
}

/// Fynapse has refused nothing.
#[tokio::test]
async fn an_outage_of_secrets_manager_is_not_a_refusal() {
    for (fault, expected, problem_name) in [
        (Fault::ServerError, "AwsCallFailed", "aws_error"),
        (Fault::AccessDenied, "FynapseUnauthorized", "credentials_unavailable"),
    ] {
        let it = FynapseWorld::new().await;
        let connector = &it.world.stack.connector;
        connector.set_fault_plan(move |call| (call.operation == "GetSecretValue").then_some(fault));
        assert_eq!(run_and_fail(&it).await.0, expected);
        it.world.stack.connector.clear_fault_plan();
        assert_eq!(problem(&it).await, reason(problem_name, 1));
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
    assert_eq!(number(&state, "rev"), Some(2), "the other one's writes are conflicts");
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
