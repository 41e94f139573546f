//! Runs of fynapse-auditor: of a healthy system, and with what its alarms are for.

use std::collections::BTreeMap;

use inbox_aws::telemetry::metrics;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use local::stack::FYNAPSE_API_CREDENTIALS_SECRET;
use tests::MINUTE;
use tests::fynapse_world::FynapseWorld;

use super::{Recorder, Recording};

pub(super) async fn record(r: &Recorder, into: &mut BTreeMap<&'static str, Recording>) {
    into.insert("auditor", auditor(r).await);
    into.insert("delivery_lost", delivery_lost(r).await);
    into.insert("delivery_missed", delivery_missed(r).await);
    into.insert("credentials_refused", credentials_refused(r).await);
    // It takes months to provoke, so it is counted as the function counts it.
    metrics::CREDENTIALS_EXPIRING.add(1);
    into.insert("credentials_expiring", vec![r.metrics()]);
    metrics::DELIVERY_CHECK_FAILED.add("unavailable", 1);
    into.insert("delivery_check_failed", vec![r.metrics()]);
}

/// A run that finds every delivery recorded.
async fn auditor(r: &Recorder) -> Recording {
    let it = FynapseWorld::new().await;
    it.deliver("e-1").await;
    r.discard();
    it.run_auditor().await;
    vec![r.metrics()]
}

/// The second run that does not find the record of a delivered event.
async fn delivery_lost(r: &Recorder) -> Recording {
    let it = FynapseWorld::new().await;
    for event_id in ["e-1", "e-2"] {
        it.deliver(event_id).await;
    }
    it.world.expire_items("fynapse#event#e-2").await;
    it.run_auditor().await;
    it.world.advance(MINUTE * 15);
    r.discard();
    it.run_auditor().await;
    vec![r.metrics()]
}

/// A run that finds a delivery that was given up.
async fn delivery_missed(r: &Recorder) -> Recording {
    let it = FynapseWorld::new().await;
    it.add_ended("e-1", DeliveryStatus::DeadLetter);
    it.run_auditor().await;
    vec![r.metrics()]
}

/// A run whose API client Fynapse refuses.
async fn credentials_refused(r: &Recorder) -> Recording {
    let it = FynapseWorld::new().await;
    let put = it.world.stack.inspector.secrets.put_secret_value().secret_id(FYNAPSE_API_CREDENTIALS_SECRET);
    put.secret_string(r#"{"client_id":"other","client_secret":"wrong"}"#).send().await.unwrap();
    assert!(it.try_auditor().await.unwrap().is_err());
    vec![r.metrics()]
}
