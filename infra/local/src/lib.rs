//! Balance Inbox on one machine.
//!
//! The handlers, the relay and the AWS SDK are the real ones. What AWS would bring is embedded: DynamoDB
//! (dynoxide), SQS and Secrets Manager (winterbaume), and stand-ins of our own for EventBridge and API Gateway.
//!
//! ```text
//!  senders ──HTTP──▶ gateway ──▶ the functions ──SDK──▶ wire (log, faults) ──▶ engine
//!                                                       any AWS client ──HTTP──┘
//! ```

pub mod api_gateway;
pub mod connector;
pub mod demo;
pub mod emulator;
pub mod inspect;
pub mod lambda_api;
pub mod load_test;
mod progress;
pub mod rightfoot_simulator;
pub mod senders;
pub mod serve;
pub mod sqs_trigger;
pub mod stack;
