//! The Lambda function `event-relay`.

use anyhow::Context;
use event_relay::EventRelay;
use inbox_aws::AwsError;
use inbox_aws::clients::Clients;
use inbox_aws::clock::{Clock, time_left};
use inbox_aws::config::{CommonConfig, Env};
use inbox_aws::telemetry;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::lambda::service::run;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let common = CommonConfig::from_env(&Env::process()).map_err(|error| error.to_string())?;
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    let relay = EventRelay::new(&common, &clients, Clock::system());
    // A scan makes several calls at once, and each needs a connection of its own.
    clients.warm_up_due_scan(&common.table, &common.queue_url, async {}).await;
    let handle = async |event: LambdaEvent<Value>| -> Result<Value, AwsError> {
        relay.handle(time_left(event.context.deadline())).await
    };
    run(metrics, service_fn(handle)).await
}
