//! The Lambda function `rightfoot-poller`.

use anyhow::Context;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use inbox_aws::telemetry;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::lambda::service::run;
use rightfoot_poller::{Config, Poller};
use serde_json::Value;
use std::time::SystemTime;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    telemetry::log_to(common.log_level, std::io::stdout);
    let metrics = telemetry::collect_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await;
    let poller = Poller::new(&config, &clients, Clock::system());
    clients.warm_up_sweep(&common.table, &common.queue_url, poller.load_key()).await;
    let handle = async |event: LambdaEvent<Value>| -> Result<Value, Diagnostic> {
        let time_left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        poller.handle(time_left).await
    };
    run(metrics, service_fn(handle)).await
}
