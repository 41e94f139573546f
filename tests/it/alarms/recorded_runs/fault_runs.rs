//! Runs with the faults that alarms are for.

use std::collections::BTreeMap;

use inbox_aws::telemetry::metrics;
use inbox_core::providers::fynapse::signature;
use local::connector::Fault;
use local::rightfoot_simulator::{Behaviour, CannedResponse, ScriptedResponse, WebhookLoss};
use local::stack::RIGHTFOOT_API_KEY_SECRET;
use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request, submit_batch_request};
use tests::{DAY, HOUR, MINUTE, SUBJECT, alert_body, completion_body, extract_body};

use super::{Recorder, Recording, keys};

pub(super) async fn record(r: &Recorder, into: &mut BTreeMap<&'static str, Recording>) {
    into.insert("dynamodb_down", dynamodb_down(r).await);
    into.insert("wrong_secret", wrong_secret(r).await);
    into.insert("stale", stale(r).await);
    into.insert("payload_differs", payload_differs(r).await);
    into.insert("secret_denied", secret_denied(r).await);
    into.insert("unreadable", unreadable(r).await);
    into.insert("sqs_denied", sqs_denied(r).await);
    into.insert("worker_without_table", worker_without_table(r).await);
    into.insert("bus_down", bus_down(r).await);
    into.insert("balances_denied", balances_denied(r).await);
    into.insert("api_key_refused", api_key_refused(r).await);
    into.insert("rightfoot_down", rightfoot_down(r).await);
    into.insert("rightfoot_pauses", rightfoot_pauses(r).await);
    into.insert("batch_overdue", batch_past_deadline(r, None).await);
    into.insert("batch_overdue_unanswered", batch_past_deadline(r, Some(CannedResponse::Status(500))).await);
    into.insert("submission_unknown", submission_unknown(r).await);
    into.insert("schedule_stopped", schedule_stopped(r).await);
    into.insert("row_unreadable", row_unreadable(r).await);
    record_counted(r, into);
}

/// What takes too much to provoke is counted as the functions count it, without them.
fn record_counted(r: &Recorder, into: &mut BTreeMap<&'static str, Recording>) {
    let mut counted = |name, count: fn()| {
        count();
        into.insert(name, vec![r.metrics()]);
    };
    counted("processing_timed_out", || metrics::REQUEUED.add("timed_out", 1));
    counted("claim_lost", || metrics::CLAIM_LOST.add(1));
    counted("threshold_differs", || metrics::THRESHOLD_DIFFERS.add(1));
    counted("processing_overdue", || metrics::PROCESSING_OVERDUE.add(1));
    counted("schedule_overtaken", || metrics::SCHEDULE_OVERTAKEN.add(1));
    counted("alert_flood", || metrics::ALERT_FLOOD.add(1));
    counted("record_reopened", || metrics::RECORD_REOPENED.add("was_quarantined", 1));
}

/// A delivery of each provider while DynamoDB accepts no write.
async fn dynamodb_down(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    it.world.inject_fault("PutItem", Fault::ServerError);
    assert_eq!(it.world.deliver_fynapse(extract_body("e-1")).await.status, 503);
    assert_eq!(it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await.status, 503);
    r.minutes(&it, 1).await
}

/// A small extract run while the secret is not the one that Fynapse signs with.
async fn wrong_secret(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    for n in 0..20 {
        let body = extract_body(&format!("e-{n}"));
        let signature = signature::sign(it.world.now().secs(), body.as_bytes(), &keys("another"));
        assert_eq!(it.world.deliver_fynapse_with(&body, &signature, None).await.status, 403);
    }
    r.minutes(&it, 1).await
}

async fn stale(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    let body = extract_body("e-1");
    let signature = it.world.sign(&body);
    it.world.advance(HOUR);
    assert_eq!(it.world.deliver_fynapse_with(&body, &signature, None).await.status, 403);
    r.minutes(&it, 1).await
}

async fn payload_differs(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_batch("b-1", &[("a", "150.00")]).await;
    let body = extract_body("e-1");
    let alert = alert_body("b-1", "u-1");
    for (fynapse, rightfoot) in
        [(body.clone(), alert.clone()), (body.replace("150", "151"), alert.replace("150", "151"))]
    {
        assert!(it.world.deliver_fynapse(fynapse).await.is_success());
        assert!(it.world.deliver_rightfoot(rightfoot).await.is_success());
    }
    vec![r.metrics()]
}

/// A delivery to a new instance that may not read its secret.
async fn secret_denied(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    it.world.inject_fault("GetSecretValue", Fault::AccessDenied);
    assert_eq!(it.world.deliver_fynapse(extract_body("e-1")).await.status, 503);
    r.minutes(&it, 1).await
}

async fn unreadable(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    assert_eq!(it.world.deliver_fynapse("{}").await.body, r#"{"status":"quarantined"}"#);
    r.minutes(&it, 1).await
}

/// An event that neither the webhook function nor the relay can enqueue.
async fn sqs_denied(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    it.world
        .stack
        .connector
        .set_fault_plan(|call| call.operation.starts_with("SendMessage").then_some(Fault::AccessDenied));
    assert!(it.world.deliver_fynapse(extract_body("e-1")).await.is_success());
    r.minutes(&it, 10).await
}

/// Five messages whose events the worker can neither claim nor requeue.
async fn worker_without_table(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    for n in 0..5 {
        assert!(it.world.deliver_fynapse(extract_body(&format!("e-{n}"))).await.is_success());
    }
    it.world
        .stack
        .connector
        .set_fault_plan(|call| (call.function == Some("event-worker")).then_some(Fault::AccessDenied));
    r.minutes(&it, 1).await
}

async fn bus_down(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    it.world.inject_fault("PutEvents", Fault::AccessDenied);
    assert!(it.world.deliver_fynapse(extract_body("e-1")).await.is_success());
    r.minutes(&it, 60).await
}

async fn balances_denied(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1.00")]).await;
    it.request(json!({"action": "track_batch", "batch_id": "b-1", "expected": 1, "subject": SUBJECT})).await;
    it.world.inject_fault("BatchWriteItem", Fault::AccessDenied);
    assert!(it.world.deliver_rightfoot(completion_body("b-1", "u-1")).await.is_success());
    r.discard();
    r.minutes(&it, 60).await
}

/// Answers requests whose path has this text so from now on.
fn script(it: &RightfootWorld, path_contains: &str, response: CannedResponse) {
    let path_contains = path_contains.to_owned();
    let scripted = ScriptedResponse { path_contains, response, remaining_uses: None };
    it.rightfoot.configure(|rightfoot| rightfoot.scripted_responses = vec![scripted]);
}

/// A batch whose webhooks are lost and that is not complete for so long, in the minute before its first poll.
async fn before_first_poll(r: &Recorder, change: impl FnOnce(&mut Behaviour)) -> RightfootWorld {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.webhook_loss = WebhookLoss::All;
        change(rightfoot);
    })
    .await;
    it.submit_batch(SUBJECT, &["a"]).await;
    it.run_for(MINUTE * 9).await;
    r.discard();
    it
}

async fn api_key_refused(r: &Recorder) -> Recording {
    let it = before_first_poll(r, |_| {}).await;
    let secrets = &it.world.stack.inspector.secrets;
    let put = secrets.put_secret_value().secret_id(RIGHTFOOT_API_KEY_SECRET).secret_string("rf_live_old");
    put.send().await.unwrap();
    it.world.age_secret_caches(MINUTE * 6);
    r.minutes(&it, 1).await
}

async fn rightfoot_down(r: &Recorder) -> Recording {
    let it = before_first_poll(r, |rightfoot| rightfoot.processing_time = DAY).await;
    script(&it, "/v1/balances", CannedResponse::Status(500));
    r.minutes(&it, 75).await
}

/// Rightfoot asks for a pause of an hour. The recording begins when another batch is due.
async fn rightfoot_pauses(r: &Recorder) -> Recording {
    let it = before_first_poll(r, |_| {}).await;
    it.submit_batch("payroll-2", &["b"]).await;
    script(&it, "/v1/balances", CannedResponse::RetryAfter { status: 429, secs: 3_600 });
    drop(r.minutes(&it, 9).await);
    r.minutes(&it, 20).await
}

/// A batch that is never complete, from its deadline on; `answer` is Rightfoot's from five minutes before.
async fn batch_past_deadline(r: &Recorder, answer: Option<CannedResponse>) -> Recording {
    let it = before_first_poll(r, |rightfoot| rightfoot.processing_time = HOUR * 999).await;
    it.run_in_steps(MINUTE, DAY - MINUTE * 14).await;
    if let Some(answer) = answer {
        script(&it, "/v1/balances", answer);
    }
    it.run_for(MINUTE * 5).await;
    r.discard();
    r.minutes(&it, 20).await
}

async fn submission_unknown(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    script(&it, "/v1/", CannedResponse::Html);
    let answer = it.world.request(submit_batch_request(SUBJECT, &["a"])).await;
    assert!(answer.unwrap().is_err(), "the outcome is unknown");
    r.discard();
    r.minutes(&it, 17).await
}

/// A schedule that Rightfoot does not know any more, from the time on at which its run is looked for.
async fn schedule_stopped(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.schedule_day = HOUR).await;
    it.request(daily_schedule_request(SUBJECT, &["a"])).await;
    script(&it, "/schedules/", CannedResponse::Status(404));
    it.run_for(HOUR).await;
    r.discard();
    r.minutes(&it, 12).await
}

async fn row_unreadable(r: &Recorder) -> Recording {
    let it = before_first_poll(r, |rightfoot| {
        rightfoot.balances.insert("a".to_owned(), "150.00".to_owned());
    })
    .await;
    script(&it, "/v1/balances", CannedResponse::Edited(&[(":150.00", ":\"150.00 USD\"")]));
    r.minutes(&it, 1).await
}
