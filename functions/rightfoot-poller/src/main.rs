//! The Lambda function `rightfoot-poller`.

use inbox_aws::boot::boot;
use inbox_aws::clock::{Clock, time_left};
use inbox_aws::config::Env;
use lambda_runtime::{Error, LambdaEvent};
use rightfoot_poller::{Config, RightfootPoller};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let poller = RightfootPoller::new(&config, &process.clients, Clock::system());
    process.clients.warm_up_due_scan(&common.table, &common.queue_url, poller.load_api_key()).await;
    process
        .run(async |event: LambdaEvent<Value>| poller.handle(time_left(event.context.deadline())).await)
        .await
}
