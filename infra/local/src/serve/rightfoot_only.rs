//! `local rightfoot`: the simulated Rightfoot alone, for functions that run elsewhere, such as on an emulated AWS.

#![expect(clippy::print_stdout, reason = "this is a command: it talks to a terminal")]

use std::time::Duration;

use anyhow::Context;
use inbox_aws::clock::Clock;

use super::{bind_ports, wait_for_shutdown};
use crate::rightfoot_simulator::{RightfootSimulator, WebhookLoss};
use crate::stack;

/// Pause between two looks at the webhooks that are due.
pub(super) const TICK_PAUSE: Duration = Duration::from_millis(500);

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatorOptions {
    /// Its port; 0 for any that is free.
    pub port: u16,
    /// The key that it takes.
    pub api_key: String,
    /// How many of its webhooks get lost, in percent.
    pub lost_webhooks_pct: u8,
    /// How long it works on a batch.
    pub batch_processing: Duration,
    /// The length of a day of `interval_days`.
    pub schedule_day: Duration,
    /// Its chance: the same seed makes the same ids and balances. `None` for another one each time.
    pub seed: Option<u64>,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(options: SimulatorOptions) -> anyhow::Result<()> {
    let listener = bind_ports([(options.port, "--port")]).await?.pop().context("its listener")?;
    let url = format!("http://{}", listener.local_addr()?);
    let simulator = options.build_simulator()?;
    let serving = [stack::spawn_server(listener, simulator.routes()), simulator.run_every(TICK_PAUSE)];
    println!("Rightfoot's API            {url}\nready");
    wait_for_shutdown().await?;
    for task in serving {
        task.abort();
    }
    Ok(())
}

impl SimulatorOptions {
    pub(super) fn build_simulator(&self) -> anyhow::Result<RightfootSimulator> {
        // It forgets its batches at its end, and the inbox does not: an id that it gave away must not come again.
        let seed = self.seed.unwrap_or_else(rand::random);
        let simulator = RightfootSimulator::new(Clock::system(), &self.api_key, seed)?;
        simulator.configure(|behaviour| {
            behaviour.processing_time = self.batch_processing;
            behaviour.schedule_day = self.schedule_day;
            behaviour.webhook_loss = WebhookLoss::Percent(self.lost_webhooks_pct);
        });
        Ok(simulator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of the first batch that is submitted to it after a start.
    async fn first_batch(seed: Option<u64>) -> String {
        let options = SimulatorOptions {
            port: 0,
            api_key: "k".to_owned(),
            lost_webhooks_pct: 0,
            batch_processing: Duration::ZERO,
            schedule_day: Duration::from_secs(60),
            seed,
        };
        let listener = bind_ports([(0, "--port")]).await.unwrap().pop().unwrap();
        let url = format!("http://{}/v1/balance_requests", listener.local_addr().unwrap());
        let serving = stack::spawn_server(listener, options.build_simulator().unwrap().routes());
        let body = r#"{"authorizers":[{"authorizer_unique_id":"a","ssn":"123456789","account_number":"1","routing_number":"031100649"}]}"#;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.post(url).bearer_auth("k").body(body).send().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        serving.abort();
        answer["batch_id"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn batch_ids_differ_after_a_restart_unless_a_seed_is_given() {
        assert_ne!(first_batch(None).await, first_batch(None).await);
        assert_eq!(first_batch(Some(7)).await, first_batch(Some(7)).await);
    }
}
