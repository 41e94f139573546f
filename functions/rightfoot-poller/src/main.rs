//! The Lambda function `rightfoot-poller`.

use anyhow::Context;
use inbox_aws::clients::Clients;
use inbox_aws::clock::{Clock, time_left};
use inbox_aws::config::Env;
use inbox_aws::telemetry;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::lambda::service::run;
use rightfoot_poller::{Config, RightfootPoller};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    let poller = RightfootPoller::new(&config, &clients, Clock::system());
    clients.warm_up_due_scan(&common.table, &common.queue_url, poller.load_api_key()).await;
    let handle = async |event: LambdaEvent<Value>| -> Result<Value, Diagnostic> {
        poller.handle(time_left(event.context.deadline())).await
    };
    run(metrics, service_fn(handle)).await
}
