//! `local rightfoot`: the simulated Rightfoot alone, for functions that run elsewhere, such as on an emulated AWS.

#![expect(clippy::print_stdout, reason = "this is a command: it talks to a terminal")]

use std::time::Duration;

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
}

/// Serves until Ctrl-C or SIGTERM.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let listener = bind(options.port, "--port").await?;
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
        let simulator = Simulator::new(Clock::system(), &self.api_key, 1)?;
        simulator.change(|behaviour| {
            behaviour.processing = self.processing;
            behaviour.schedule_day = self.schedule_day;
            behaviour.lose_webhooks = Lose::Share(self.lost_pct);
        });
        Ok(simulator)
    }
}
