//! The Lambda function `rightfoot-webhook`.

use inbox_aws::boot::boot;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use lambda_runtime::{Error, LambdaEvent};
use rightfoot_webhook::{Config, RightfootWebhook};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let webhook = RightfootWebhook::new(&config, &process.clients, Clock::system());
    process.clients.warm_up(&common.table, &common.queue_url, webhook.load_url_key()).await;
    process
        .run(async |event: LambdaEvent<Box<RawValue>>| Ok::<_, Error>(webhook.handle(event.payload).await))
        .await
}
