//! The Lambda function `fynapse-webhook`.

use fynapse_webhook::{Config, FynapseWebhook};
use inbox_aws::boot::boot;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let webhook = FynapseWebhook::new(&config, &process.clients, Clock::system());
    // A cold start has more CPU than an invocation. Later, the TLS handshakes would delay the first delivery.
    process.clients.warm_up(&common.table, &common.queue_url, webhook.load_signing_secret()).await;
    process
        .run(async |event: LambdaEvent<Box<RawValue>>| Ok::<_, Error>(webhook.handle(event.payload).await))
        .await
}
