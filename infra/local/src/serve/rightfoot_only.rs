//! `local rightfoot`: serves only the simulated Rightfoot API, for functions that run elsewhere, such as on an emulated AWS.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints its results")]

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use inbox_aws::clock::Clock;

use super::listeners::{bind_ports, bind_warning};
use super::wait_for_shutdown;
use crate::rightfoot_simulator::{RightfootSimulator, WebhookLoss};

/// Pause between two checks for webhooks that are due.
pub(super) const TICK_PAUSE: Duration = Duration::from_millis(500);

/// Options of the simulated Rightfoot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatorOptions {
    /// Port; 0 for any free one.
    pub port: u16,
    /// Address on which the port is open, in addition to 127.0.0.1.
    pub bind: Option<IpAddr>,
    /// API key that it accepts.
    pub api_key: String,
    /// Share of its webhooks that are lost, in percent.
    pub lost_webhooks_pct: u8,
    /// Time that a batch takes.
    pub batch_processing: Duration,
    /// Length of a simulated day, the unit of a schedule's `interval_days`.
    pub schedule_day: Duration,
    /// Random seed: the same seed gives the same ids and balances. `None` for a new one at each start.
    pub seed: Option<u64>,
}

/// Serves until Ctrl-C or SIGTERM. Prints the URL and then `ready` on stdout.
pub async fn run(options: SimulatorOptions) -> anyhow::Result<()> {
    let listener =
        bind_ports(options.bind, [(options.port, "--port")]).await?.pop().context("no listener")?;
    let url = listener.url.clone();
    let simulator = options.build_simulator()?;
    let mut serving = listener.serve_programs(|_| simulator.routes());
    serving.push(simulator.run_every(TICK_PAUSE));
    if let Some(warning) = bind_warning(options.bind) {
        eprintln!("{warning}");
    }
    println!("Rightfoot's API            {url}\nready");
    wait_for_shutdown().await?;
    for task in serving {
        task.abort();
    }
    Ok(())
}

impl SimulatorOptions {
    pub(super) fn build_simulator(&self) -> anyhow::Result<RightfootSimulator> {
        // The simulator forgets its batches on exit and the inbox does not, so batch ids must not repeat after a restart.
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

    /// Starts a simulator, submits a batch and returns its id.
    async fn first_batch(seed: Option<u64>) -> String {
        let options = SimulatorOptions {
            port: 0,
            bind: None,
            api_key: "k".to_owned(),
            lost_webhooks_pct: 0,
            batch_processing: Duration::ZERO,
            schedule_day: Duration::from_secs(60),
            seed,
        };
        let listener = bind_ports(options.bind, [(options.port, "--port")]).await.unwrap().pop().unwrap();
        let url = format!("{}/v1/balance_requests", listener.url);
        let routes = options.build_simulator().unwrap().routes();
        let serving = listener.serve_programs(|_| routes.clone());
        let body = r#"{"authorizers":[{"authorizer_unique_id":"a","ssn":"123456789","account_number":"1","routing_number":"031100649"}]}"#;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.post(url).bearer_auth("k").body(body).send().await.unwrap();
        let response: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        for task in serving {
            task.abort();
        }
        response["batch_id"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn batch_ids_differ_after_a_restart_unless_a_seed_is_given() {
        assert_ne!(first_batch(None).await, first_batch(None).await);
        assert_eq!(first_batch(Some(7)).await, first_batch(Some(7)).await);
    }
}
