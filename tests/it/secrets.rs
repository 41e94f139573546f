//! Secrets: several values are accepted, a rotation needs no deployment, and a caller cannot cause more than a few
//! fetches.

use std::time::Duration;

use inbox_aws::secrets::SecretCache;
use inbox_core::delivery::{Delivery, RejectReason, Verification};
use inbox_core::providers::fynapse::signature;
use inbox_core::secret_keys::{KeyCodec, Keys};
use local::connector::{AwsConnector, Fault};
use local::stack::FYNAPSE_SECRET as SECRET_ID;
use tests::{World, extract_body};

fn sign_with(world: &World, body: &str, secrets: &str) -> String {
    signature::sign(world.now().secs(), body.as_bytes(), &Keys::parse(secrets, KeyCodec::Utf8).unwrap())
}

async fn rotate_secret(world: &World, value: &str) {
    let put = world.stack.inspector.secrets.put_secret_value().secret_id(SECRET_ID).secret_string(value);
    put.send().await.unwrap();
}

/// Delivers an event signed with these secrets; returns the status.
async fn deliver(world: &World, id: &str, secrets: &str) -> u16 {
    let body = extract_body(id);
    world.deliver_fynapse_with(&body, &sign_with(world, &body, secrets), None).await.status
}

fn fetch_count(world: &World) -> usize {
    world.stack.connector.call_log().iter().filter(|(call, _)| call.operation == "GetSecretValue").count()
}

#[tokio::test]
async fn a_rotation_needs_no_deploy() {
    let world = World::new().await;
    assert_eq!(deliver(&world, "e-1", "local-fynapse-secret").await, 200);
    rotate_secret(&world, r#"["new","local-fynapse-secret"]"#).await;
    assert_eq!(deliver(&world, "e-2", r#"["new","local-fynapse-secret"]"#).await, 200, "two v1, one known");
    assert_eq!(deliver(&world, "e-3", "new").await, 403, "the last fetch was less than 30 s ago");
    // Past `SECRET_REFETCH_SECS`: a mismatch may cause another fetch.
    world.age_secret_caches(Duration::from_secs(31));
    assert_eq!(deliver(&world, "e-3", "new").await, 200, "fetched again because of the mismatch");
    rotate_secret(&world, "new").await;
    // Past `SECRET_TTL_SECS`: the secret is fetched again before it is used.
    world.age_secret_caches(Duration::from_secs(301));
    assert_eq!(deliver(&world, "e-4", "local-fynapse-secret").await, 403, "no longer accepted");
}

#[tokio::test]
async fn a_mismatch_fetches_again_but_at_most_every_thirty_seconds_also_when_fetches_fail() {
    let cache = LiveCache::new().await;
    cache.secret.load().await;
    cache.connector.set_fault_plan(|_| Some(Fault::AccessDenied));
    cache.connector.clear_call_log();
    let fetched = || cache.connector.call_log().len();
    for (after_secs, fetches, why) in [
        (1, 0, "the load was a second ago"),
        (24, 0, "and 25 seconds ago"),
        (6, 1, "31 seconds after the load"),
        (25, 1, "a failed fetch counts, from its start"),
        (6, 2, "31 seconds after the failed one"),
    ] {
        cache.world.age_secret_caches(Duration::from_secs(after_secs));
        let verification = cache.secret.verify(delivery(), always_mismatch).await;
        assert!(matches!(verification, Some(Verification::Rejected(_, RejectReason::Mismatch))), "{why}");
        assert_eq!(fetched(), fetches, "{why}");
    }
}

#[tokio::test]
async fn a_mismatch_is_verified_again_only_with_other_keys() {
    let cache = LiveCache::new().await;
    cache.secret.load().await;
    let passes = std::cell::Cell::new(0);
    let counted = |delivery, keys: &Keys| {
        passes.set(passes.get() + 1);
        always_mismatch(delivery, keys)
    };
    cache.secret.verify(delivery(), counted).await;
    assert_eq!(passes.get(), 1, "nothing was fetched: a second pass over the body would say the same");
    cache.world.age_secret_caches(Duration::from_secs(31));
    cache.secret.verify(delivery(), counted).await;
    assert_eq!(passes.get(), 3, "fetched, and tried again");
}

#[tokio::test]
async fn while_none_was_ever_loaded_it_is_asked_for_every_second() {
    let cache = LiveCache::new().await;
    cache.connector.set_fault_plan(|_| Some(Fault::AccessDenied));
    for (after_ms, fetches) in [(0, 1), (500, 1), (600, 2)] {
        cache.world.age_secret_caches(Duration::from_millis(after_ms));
        assert!(cache.secret.verify(delivery(), always_mismatch).await.is_none());
        assert_eq!(cache.connector.call_log().len(), fetches, "after {after_ms} ms");
    }
}

#[tokio::test]
async fn a_storm_of_mismatches_costs_one_fetch() {
    let world = World::new().await;
    assert_eq!(deliver(&world, "e-0", "local-fynapse-secret").await, 200);
    assert_eq!(fetch_count(&world), 1);
    let forged = (0..30).map(|n| {
        let world = world.clone();
        async move { deliver(&world, &format!("f-{n}"), "wrong").await }
    });
    let responses = futures::future::join_all(forged).await;
    assert_eq!(responses, [403; 30]);
    assert_eq!(fetch_count(&world), 1, "the first load was less than 30 s ago");

    let cold = world.another_process();
    let forged = (0..30).map(|n| {
        let world = cold.clone();
        async move { deliver(&world, &format!("g-{n}"), "wrong").await }
    });
    assert_eq!(futures::future::join_all(forged).await, [403; 30]);
    assert_eq!(fetch_count(&cold), 1, "thirty at once share one fetch");
}

#[tokio::test]
async fn nothing_is_decided_while_no_secret_was_ever_loaded() {
    for value in ["", "[]", r#"{"key":"value"}"#, r#"["a",""]"#] {
        let world = World::new().await;
        // Secrets Manager rejects an empty string itself.
        if value.is_empty() {
            world.inject_fault("GetSecretValue", Fault::AccessDenied);
        } else {
            rotate_secret(&world, value).await;
        }
        assert_eq!(deliver(&world, "e-1", "local-fynapse-secret").await, 503, "{value}");
        world.stack.connector.clear_fault_plan();
        rotate_secret(&world, "local-fynapse-secret").await;
        world.age_secret_caches(Duration::from_millis(1_001));
        assert_eq!(deliver(&world, "e-1", "local-fynapse-secret").await, 200, "{value}");
    }
}

#[tokio::test]
async fn the_last_good_copy_stays_when_a_fetch_fails() {
    let cache = LiveCache::new().await;
    assert!(cache.secret.current().await.is_some());
    cache.connector.set_fault_plan(|_| Some(Fault::AccessDenied));
    // Past `SECRET_TTL_SECS`.
    cache.world.age_secret_caches(Duration::from_secs(301));
    assert!(cache.secret.current().await.is_some(), "older than five minutes, and still the best there is");
    cache.connector.clear_fault_plan();
    cache.world.age_secret_caches(Duration::from_secs(31));
    cache.connector.clear_call_log();
    assert!(cache.secret.current().await.is_some());
    assert_eq!(cache.connector.call_log().len(), 1, "asked for again after the pause");
}

#[tokio::test]
async fn a_secret_is_refreshed_in_passing_before_it_is_too_old() {
    let cache = LiveCache::new().await;
    cache.secret.load().await;
    cache.connector.clear_call_log();
    // Before `SECRET_REFRESH_SECS` (240 s), and past it in the next step.
    cache.world.age_secret_caches(Duration::from_secs(230));
    cache.secret.load().await;
    assert_eq!(cache.connector.call_log().len(), 0, "young enough");
    cache.world.age_secret_caches(Duration::from_secs(15));
    cache.secret.load().await;
    assert_eq!(cache.connector.call_log().len(), 1, "fetched before it is used");
}

/// A cache over the emulator, whose age can be advanced.
struct LiveCache {
    secret: SecretCache,
    connector: AwsConnector,
    world: World,
}

impl LiveCache {
    async fn new() -> Self {
        let world = World::new().await;
        let system = &world.stack;
        let (secrets, clock) = (system.unrestricted_clients().secrets, system.clock.clone());
        let secret = SecretCache::new(secrets, SECRET_ID, KeyCodec::Utf8, clock);
        Self { secret, connector: system.connector.clone(), world }
    }
}

fn delivery() -> Delivery {
    Delivery { body: Vec::new(), headers: [].into(), received_at: tests::START }
}

fn always_mismatch(delivery: Delivery, _: &Keys) -> Verification {
    Verification::Rejected(delivery, RejectReason::Mismatch)
}
