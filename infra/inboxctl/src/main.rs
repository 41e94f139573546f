//! Starts `inboxctl`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    inboxctl::run().await
}
