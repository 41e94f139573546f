//! What we rely on in DynamoDB, SQS, EventBridge and Secrets Manager, shown on the engines that the tests and the local
//! system run on; and where an engine lets through what AWS refuses, that our own code never sends it.

mod dynamodb;
mod dynamodb_sets;
mod eventbridge;
mod reserved_words;
mod restart_with_file;
mod secrets_manager;
mod sqs;
mod sqs_trigger;
