//! The Lambda function `event-worker`.

use aws_lambda_events::sqs::SqsEvent;
use event_worker::{Config, EventWorker};
use inbox_aws::boot::boot;
use inbox_aws::clock::Clock;
use inbox_aws::config::Env;
use lambda_runtime::{Error, LambdaEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = Config::read(&Env::process()).map_err(|error| error.to_string())?;
    let common = &config.common;
    let process = boot(common).await?;
    let worker = EventWorker::new(&config, &process.clients, Clock::system());
    // The worker sends nothing to the queue, so it needs no connection to SQS.
    process.clients.warm_up_table(&common.table, worker.load_api_key()).await;
    process.run(async |event: LambdaEvent<SqsEvent>| Ok::<_, Error>(worker.handle(event.payload).await)).await
}
