//! Runs of a healthy system, and of what comes from the internet anyway.

use std::collections::BTreeMap;
use std::time::Duration;

use inbox_core::providers::fynapse::signature;
use inbox_core::url_token;
use local::rightfoot_simulator::WebhookLoss;
use serde_json::json;
use tests::rightfoot_world::{RightfootWorld, daily_schedule_request};
use tests::worker_effects::balance_pairs;
use tests::{FYNAPSE_SIGNING_SECRET, HOUR, MINUTE, SUBJECT, completion_body, extract_body, gateway_event};

use super::{Recorder, Recording, WebhookSecret, keys};

/// The URL key of [`tests::World`].
const URL_KEY: &str = "local-rightfoot-url-key";
/// Deliveries in the recording `fynapse_run`.
pub(in crate::alarms) const RUN_SAMPLE: u32 = 100;

pub(super) async fn record(r: &Recorder, into: &mut BTreeMap<&'static str, Recording>) {
    into.insert("idle", r.minutes(&RightfootWorld::new().await, 1).await);
    into.insert("fynapse_event", deliveries(r, &["e-1"]).await);
    into.insert("fynapse_event_twice", deliveries(r, &["e-1", "e-1"]).await);
    let run: Vec<_> = (0..RUN_SAMPLE).map(|n| format!("e-{n}")).collect();
    into.insert("fynapse_run", deliveries(r, &run.iter().map(String::as_str).collect::<Vec<_>>()).await);
    into.insert("rightfoot_batch", rightfoot_batch(r, WebhookLoss::None, 8).await);
    into.insert("rightfoot_lost_webhook", rightfoot_batch(r, WebhookLoss::All, 12).await);
    into.insert("rightfoot_run", rightfoot_run(r).await);
    into.insert("fynapse_rotation", fynapse_rotation(r).await);
    into.insert("rightfoot_rotation", rightfoot_rotation(r).await);
    into.insert("deploy", deploy(r).await);
    into.insert("scanner", scanner(r, |_| {}).await);
    into.insert("foreign_address", foreign_address(r).await);
    into.insert("forgery", forgery(r).await);
}

/// A minute with Fynapse deliveries.
async fn deliveries(r: &Recorder, events: &[&str]) -> Recording {
    let it = RightfootWorld::new().await;
    for event in events {
        assert!(it.world.deliver_fynapse(extract_body(event)).await.is_success());
    }
    r.minutes(&it, 1).await
}

/// A batch that is submitted, and announced by its webhook or found by the poller.
async fn rightfoot_batch(r: &Recorder, loss: WebhookLoss, minutes: usize) -> Recording {
    let it = RightfootWorld::with_behaviour(|rightfoot| rightfoot.webhook_loss = loss).await;
    it.submit_batch(SUBJECT, &["a", "b"]).await;
    r.minutes(&it, minutes).await
}

/// A schedule's run with an alert, from five minutes before it begins to its last poll.
async fn rightfoot_run(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_behaviour(|rightfoot| {
        rightfoot.schedule_day = HOUR;
        rightfoot.balances = balance_pairs(&[("a", "150.00"), ("b", "1.00")]).into_iter().collect();
    })
    .await;
    it.request(daily_schedule_request(SUBJECT, &["a", "b"])).await;
    it.run_for(MINUTE * 55).await;
    r.discard();
    r.minutes(&it, 40).await
}

/// Fynapse signs with the new secret as soon as it is rotated; the function has the old one until a signature does not match.
async fn fynapse_rotation(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    let deliver = async |event: &str, secret: &str| {
        let body = extract_body(event);
        let signature = signature::sign(it.world.now().secs(), body.as_bytes(), &keys(secret));
        assert!(it.world.deliver_fynapse_with(&body, &signature, None).await.is_success(), "{event}");
    };
    deliver("e-1", FYNAPSE_SIGNING_SECRET).await;
    let both = json!(["new", FYNAPSE_SIGNING_SECRET]).to_string();
    WebhookSecret::Fynapse.put(&it.world, &both).await;
    it.world.age_secret_caches(Duration::from_secs(31));
    deliver("e-2", "new").await;
    deliver("e-3", FYNAPSE_SIGNING_SECRET).await;
    r.minutes(&it, 1).await
}

/// A new URL key is put before the old one; URLs of both are called.
async fn rightfoot_rotation(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1.00")]).await;
    it.rightfoot.add_completed_batch("b-2", &balance_pairs(&[("a", "1.00")]));
    let deliver = async |batch: &str, key: &str| {
        let token = url_token::mint(&SUBJECT.parse().unwrap(), &keys(key)).unwrap();
        let response = it.world.deliver_rightfoot_to(&token, completion_body(batch, "u-1")).await;
        assert!(response.is_success(), "{batch}");
    };
    deliver("b-1", URL_KEY).await;
    WebhookSecret::Rightfoot.put(&it.world, &json!(["new", URL_KEY]).to_string()).await;
    it.world.age_secret_caches(Duration::from_secs(31));
    deliver("b-2", "new").await;
    deliver("b-2", URL_KEY).await;
    r.minutes(&it, 5).await
}

/// New instances of every function beside the old ones: each loads its secrets, and both take deliveries.
async fn deploy(r: &Recorder) -> Recording {
    let it = RightfootWorld::with_batch("b-1", &[("a", "1.00")]).await;
    let new = it.world.another_process();
    for (n, world) in [&it.world, &new, &new, &it.world].into_iter().enumerate() {
        assert!(world.deliver_fynapse(extract_body(&format!("e-{n}"))).await.is_success());
        assert!(world.deliver_rightfoot(completion_body("b-1", "u-1")).await.is_success());
    }
    new.run_relay().await.unwrap().unwrap();
    new.run_poller().await.unwrap().unwrap();
    r.minutes(&it, 3).await
}

/// One POST without a credential to each route.
async fn scanner(r: &Recorder, options: impl FnOnce(&mut local::stack::StackOptions)) -> Recording {
    let it = RightfootWorld::with_options(options).await;
    for (path, token) in
        [("/webhooks/fynapse", None), ("/webhooks/rightfoot/wp-login.php", Some("wp-login.php"))]
    {
        let event = gateway_event(path, json!({}), b"{}", token);
        assert_eq!(it.world.invoke_webhook(event).await.status, 403);
    }
    r.minutes(&it, 1).await
}

/// The same, of a stack that accepts other addresses only.
async fn foreign_address(r: &Recorder) -> Recording {
    scanner(r, |options| {
        let allowed = inbox_core::delivery::Provider::ALL.iter();
        options.allow_lists = allowed.map(|it| (*it, "198.51.100.0/24".parse().unwrap())).collect();
    })
    .await
}

/// One delivery with a well-formed credential to each route, which no secret of ours has made.
async fn forgery(r: &Recorder) -> Recording {
    let it = RightfootWorld::new().await;
    let body = extract_body("e-1");
    let signature = signature::sign(it.world.now().secs(), body.as_bytes(), &keys("forged"));
    assert_eq!(it.world.deliver_fynapse_with(&body, &signature, None).await.status, 403);
    let token = url_token::mint(&SUBJECT.parse().unwrap(), &keys("forged")).unwrap();
    assert_eq!(it.world.deliver_rightfoot_to(&token, completion_body("b-1", "u-1")).await.status, 403);
    r.minutes(&it, 1).await
}
