//! The Lambda function `rightfoot-requests`.

use anyhow::Context;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use inbox_aws::telemetry;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::lambda::service::run;
use rightfoot_requests::{Config, RightfootRequests};
use serde_json::Value;
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    let requests = RightfootRequests::new(&config, &clients, Clock::system());
    clients.warm_up_table(&common.table, requests.load_secrets()).await;
    let handle = async |event: LambdaEvent<Box<RawValue>>| -> Result<Value, Diagnostic> {
        Ok(requests.handle(&event.payload).await?)
    };
    run(metrics, service_fn(handle)).await
}
