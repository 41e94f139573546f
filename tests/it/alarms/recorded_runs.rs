//! Runs of the functions on the embedded AWS services, whose metrics are recorded: of a healthy system, and with faults.

mod auditor_runs;
mod fault_runs;
mod healthy_runs;

use std::collections::BTreeMap;

use inbox_aws::telemetry::flush_metrics;
use inbox_core::secret_keys::{KeyCodec, Keys};
use local::stack::{FYNAPSE_SECRET, RIGHTFOOT_URL_KEY_SECRET};
use metrics_cloudwatch_embedded::Collector;
use tests::rightfoot_world::RightfootWorld;
use tests::{MINUTE, World};

use super::recordings::Recording;
use super::series::{Minute, parse_emf};

pub(super) use healthy_runs::RUN_SAMPLE;

/// Collects the metrics of the functions.
pub(super) struct Recorder {
    collector: &'static Collector,
}

impl Recorder {
    pub(super) fn new(collector: &'static Collector) -> Self {
        Self { collector }
    }

    /// The metrics since the last call.
    fn metrics(&self) -> Minute {
        parse_emf(&flush_metrics(self.collector))
    }

    /// Forgets the metrics of what led to a recording.
    fn discard(&self) {
        drop(self.metrics());
    }

    /// Ends a minute of the stack: webhooks that are due, then poller, relay and worker. A failing run is part of some recordings.
    async fn minute(&self, it: &RightfootWorld) -> Minute {
        it.advance(MINUTE).await;
        drop(it.run_poller().await);
        drop(it.world.run_relay().await);
        it.world.run_worker().await;
        self.metrics()
    }

    async fn minutes(&self, it: &RightfootWorld, count: usize) -> Recording {
        let mut minutes = Recording::new();
        for _ in 0..count {
            minutes.push(self.minute(it).await);
        }
        minutes
    }
}

/// Every recording, by name.
pub(super) async fn record_all(recorder: &Recorder) -> BTreeMap<&'static str, Recording> {
    let mut recordings = BTreeMap::new();
    healthy_runs::record(recorder, &mut recordings).await;
    fault_runs::record(recorder, &mut recordings).await;
    auditor_runs::record(recorder, &mut recordings).await;
    recordings
}

/// A secret of the webhook functions.
#[derive(Clone, Copy)]
enum WebhookSecret {
    Fynapse,
    Rightfoot,
}

impl WebhookSecret {
    async fn put(self, world: &World, value: &str) {
        let secret_id = match self {
            Self::Fynapse => FYNAPSE_SECRET,
            Self::Rightfoot => RIGHTFOOT_URL_KEY_SECRET,
        };
        let put = world.stack.inspector.secrets.put_secret_value().secret_id(secret_id).secret_string(value);
        put.send().await.unwrap();
    }
}

fn keys(value: &str) -> Keys {
    Keys::parse(value, KeyCodec::Utf8).unwrap()
}
