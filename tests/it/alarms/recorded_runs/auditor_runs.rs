//! Runs of fynapse-auditor: of a healthy system, and with what its alarms are for.

use std::collections::BTreeMap;

use inbox_aws::telemetry::metrics;
use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use local::stack::FYNAPSE_API_CREDENTIALS_SECRET;
use tests::fynapse_world::FynapseWorld;

use super::{Recorder, Recording};

pub(super) async fn record(r: &Recorder, into: &mut BTreeMap<&'static str, Recording>) {
    into.insert("auditor", auditor(r).await);
    into.insert("delivery_lost", ended(r, DeliveryStatus::Delivered).await);
    into.insert("delivery_missed", ended(r, DeliveryStatus::DeadLetter).await);
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

/// A run that finds a delivery whose event never arrived, although it ended like this.
async fn ended(r: &Recorder, status: DeliveryStatus) -> Recording {
    let it = FynapseWorld::new().await;
    it.add_ended("e-1", status);
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
