//! The Lambda function `event-relay`.

use event_relay::EventRelay;
use inbox_aws::boot::boot;
use inbox_aws::clock::{Clock, time_left};
use inbox_aws::config::{CommonConfig, Env};
use lambda_runtime::{Error, LambdaEvent};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = CommonConfig::from_env(&Env::process()).map_err(|error| error.to_string())?;
    let process = boot(&config).await?;
    let relay = EventRelay::new(&config, &process.clients, Clock::system());
    // A scan makes several calls at once, and each needs a connection of its own.
    process.clients.warm_up_due_scan(&config.table, &config.queue_url, async {}).await;
    process
        .run(async |event: LambdaEvent<Value>| relay.handle(time_left(event.context.deadline())).await)
        .await
}
