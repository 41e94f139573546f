//! The Lambda function `fynapse-auditor`.

use fynapse_auditor::{Config, FynapseAuditor};
use inbox_aws::boot::boot;
use inbox_aws::clock::{Clock, time_left};
use inbox_aws::config::Env;
use lambda_runtime::{Error, LambdaEvent};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let auditor = FynapseAuditor::new(&config, &process.clients, Clock::system());
    process.clients.warm_up(&common.table, &common.queue_url, auditor.warm_up()).await;
    process
        .run(async |event: LambdaEvent<Value>| auditor.handle(time_left(event.context.deadline())).await)
        .await
}
