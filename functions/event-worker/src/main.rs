//! The Lambda function `event-worker`.

use anyhow::Context;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use event_worker::{Config, EventWorker};
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use inbox_aws::telemetry;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use metrics_cloudwatch_embedded::lambda::service::run;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    let worker = EventWorker::new(&config, &clients, Clock::system());
    // The worker sends nothing to the queue, so it needs no connection to SQS.
    clients.warm_up_table(&common.table, worker.load_api_key()).await;
    let handle = async |event: LambdaEvent<SqsEvent>| -> Result<SqsBatchResponse, Error> {
        Ok(worker.handle(event.payload).await)
    };
    run(metrics, service_fn(handle)).await
}
