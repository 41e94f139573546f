//! What we rely on in DynamoDB, SQS, EventBridge and Secrets Manager, shown on the engines that the tests and the local
//! system run on; and where an engine lets through what AWS refuses, that our own code never sends it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own code: a surprise shall end the test"
)]

#[path = "contracts/dynamodb.rs"]
mod dynamodb;
#[path = "contracts/eventbridge.rs"]
mod eventbridge;
#[path = "contracts/mapping.rs"]
mod mapping;
#[path = "contracts/reserved_words.rs"]
mod reserved_words;
#[path = "contracts/restart.rs"]
mod restart;
#[path = "contracts/secrets.rs"]
mod secrets;
#[path = "contracts/sets.rs"]
mod sets;
#[path = "contracts/sqs.rs"]
mod sqs;
