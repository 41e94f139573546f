//! What we rely on in DynamoDB, SQS, EventBridge and Secrets Manager, shown on the engines that the tests and the local
//! system run on; and where an engine lets through what AWS refuses, that our own code never sends it.

mod dynamodb;
mod eventbridge;
mod mapping;
mod reserved_words;
mod restart;
mod secrets;
mod sets;
mod sqs;
