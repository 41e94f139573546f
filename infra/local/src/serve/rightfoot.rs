//! `local rightfoot`: the simulated Rightfoot alone, for functions that run elsewhere, such as on an emulated AWS.

#![expect(clippy::print_stdout, reason = "this is a command: it talks to a terminal")]

use std::time::Duration;

use anyhow::Context;
use inbox_aws::clock::Clock;

use super::{bind, until_asked_to_stop};
use crate::rightfoot::{Lose, Simulator};
use crate::system;

/// Pause between two looks at the webhooks that are due.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// How it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its port; 0 for any that is free.
    pub port: u16,
    /// The key that it takes.
    pub api_key: String,
    /// How many of its webhooks get lost, in percent.
    pub lost_pct: u8,
    /// How long it works on a batch.
    pub processing: Duration,
    /// The length of a day of `interval_days`.
    pub schedule_day: Duration,
    /// Its chance: the same seed makes the same ids and balances. `None` for another one each time.
    pub seed: Option<u64>,
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let listener = bind([(options.port, "--port")]).await?.pop().context("its listener")?;
    let url = format!("http://{}", listener.local_addr()?);
    let simulator = options.simulator()?;
    let serving = [system::serve(listener, simulator.routes()), simulator.run_every(PAUSE)];
    println!("Rightfoot's API            {url}\nready");
    until_asked_to_stop().await?;
    for task in serving {
        task.abort();
    }
    Ok(())
}

impl Options {
    pub(super) fn simulator(&self) -> anyhow::Result<Simulator> {
        // It forgets its batches at its end, and the inbox does not: an id that it gave away must not come again.
        let seed = self.seed.unwrap_or_else(rand::random);
        let simulator = Simulator::new(Clock::system(), &self.api_key, seed)?;
        simulator.change(|behaviour| {
            behaviour.processing = self.processing;
            behaviour.schedule_day = self.schedule_day;
            behaviour.lose_webhooks = Lose::Share(self.lost_pct);
        });
        Ok(simulator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of the first batch that is submitted to it after a start.
    async fn first_batch(seed: Option<u64>) -> String {
        let options = Options {
            port: 0,
            api_key: "k".to_owned(),
            lost_pct: 0,
            processing: Duration::ZERO,
            schedule_day: Duration::from_secs(60),
            seed,
        };
        let listener = bind([(0, "--port")]).await.unwrap().pop().unwrap();
        let url = format!("http://{}/v1/balance_requests", listener.local_addr().unwrap());
        let serving = system::serve(listener, options.simulator().unwrap().routes());
        let body = r#"{"authorizers":[{"authorizer_unique_id":"a","ssn":"123456789","account_number":"1","routing_number":"031100649"}]}"#;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.post(url).bearer_auth("k").body(body).send().await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        serving.abort();
        answer["batch_id"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn no_batch_has_the_id_of_one_before_a_restart_unless_a_seed_is_named() {
        assert_ne!(first_batch(None).await, first_batch(None).await);
        assert_eq!(first_batch(Some(7)).await, first_batch(Some(7)).await);
    }
}
