//! Balance Inbox on one machine.
//!
//! The handlers, the relay and the AWS SDK are the real ones. What AWS would bring is embedded: DynamoDB
//! (dynoxide), SQS and Secrets Manager (winterbaume), and stand-ins of our own for EventBridge and API Gateway.
//!
//! ```text
//!  senders ──HTTP──▶ gateway ──▶ the functions ──SDK──▶ wire (log, faults) ──▶ engine
//!                                                       any AWS client ──HTTP──┘
//! ```

pub mod demo;
pub mod engine;
pub mod gateway;
pub mod lambda;
pub mod load;
pub mod mapping;
pub mod onlooker;
mod progress;
pub mod rightfoot;
pub mod senders;
pub mod serve;
pub mod system;
pub mod wire;
