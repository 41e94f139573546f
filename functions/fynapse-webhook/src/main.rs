//! The Lambda function `fynapse-webhook`: Fynapse's deliveries (see `inbox_aws::webhook_function`).

use anyhow::Context;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use inbox_aws::telemetry;
use inbox_aws::webhook_function::{WebhookConfig, WebhookFunction};
use inbox_core::delivery::Provider;
use lambda_runtime::{Error, LambdaEvent};
use metrics_cloudwatch_embedded::lambda::handler::run;
use serde_json::value::RawValue;

const PROVIDER: Provider = Provider::Fynapse;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = WebhookConfig::read(PROVIDER, &Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    telemetry::init_logging(common.log_level, std::io::stdout);
    let metrics = telemetry::init_metrics(common.metrics_namespace.clone()).context("metrics")?;
    let clients = Clients::from_env().await.map_err(|error| error.to_string())?;
    let webhook = WebhookFunction::new(PROVIDER, &config, &clients, Clock::system());
    // A cold start has more CPU than an invocation. Later, the TLS handshakes would delay the first delivery.
    clients.warm_up(&common.table, &common.queue_url, webhook.load_secret()).await;
    run(metrics, async |event: LambdaEvent<Box<RawValue>>| {
        Ok::<_, Error>(webhook.handle(event.payload).await)
    })
    .await
}
