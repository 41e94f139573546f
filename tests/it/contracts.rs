//! Contracts with DynamoDB, SQS, EventBridge and Secrets Manager: the behaviour that our code relies on, shown on the
//! emulators of the tests and the local system. Where an emulator accepts what AWS rejects, the tests show that our
//! code never sends it.

mod dynamodb;
mod dynamodb_sets;
mod eventbridge;
mod restart_with_file;
mod secrets_manager;
mod sqs;
mod sqs_trigger;
