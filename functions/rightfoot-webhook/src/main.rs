//! The Lambda function `rightfoot-webhook`: Rightfoot's deliveries (see `inbox_aws::webhook_function`).

use inbox_aws::webhook_function;
use inbox_core::delivery::Provider;
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    webhook_function::run(Provider::Rightfoot).await
}
