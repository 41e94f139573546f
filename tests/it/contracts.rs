//! Contracts with DynamoDB, SQS, EventBridge, Secrets Manager and CloudWatch: the behaviour that our code relies on, shown on the
//! emulators of the tests and the local system. Where an emulator accepts what AWS rejects, the tests show that our
//! code never sends it.

mod cloudwatch;
mod crash_faults;
mod dynamodb;
mod dynamodb_sets;
mod eventbridge;
mod restart_with_file;
mod secrets_manager;
mod sqs;
mod sqs_trigger;
