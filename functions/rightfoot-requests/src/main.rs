//! The Lambda function `rightfoot-requests`.

use inbox_aws::boot::boot;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use lambda_runtime::{Diagnostic, Error, LambdaEvent};
use rightfoot_requests::{Config, RightfootRequests};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let requests = RightfootRequests::new(&config, &process.clients, Clock::system());
    process.clients.warm_up_table(&common.table, requests.load_secrets()).await;
    process
        .run(async |event: LambdaEvent<Box<RawValue>>| {
            Ok::<_, Diagnostic>(requests.handle(&event.payload).await?)
        })
        .await
}
