//! Balance Inbox on one machine, for development, demonstration and tests.
//!
//! The functions and the AWS SDK are the deployed ones; AWS is emulated in the same process: DynamoDB (dynoxide), SQS
//! and Secrets Manager (winterbaume), EventBridge, API Gateway, Lambda's `Invoke` and its SQS trigger, and CloudWatch's `GetMetricData` (this crate).
//!
//! ```text
//!  senders ──HTTP──▶ api_gateway ──▶ functions ──SDK──▶ connector (call log, faults) ──▶ emulator
//!                                                       any AWS client ──HTTP────────────┘
//! ```
//!
//! | part | modules |
//! |---|---|
//! | emulated AWS | [`emulator`], [`api_gateway`], [`sqs_trigger`], [`lambda_api`], [`api_destination`]; [`connector`] is the way to it |
//! | the functions over it | [`stack`], [`resource_names`] |
//! | simulated providers | [`senders`], [`rightfoot_simulator`], [`fynapse_simulator`] |
//! | what a run left, and what must be true of it | [`inspect`], [`invariants`] |
//! | commands | [`serve`], [`demo`], [`load_test`] |

pub mod api_destination;
pub mod api_gateway;
pub mod connector;
pub mod demo;
pub mod emulator;
pub mod fynapse_simulator;
mod host_check;
pub mod inspect;
pub mod invariants;
pub mod lambda_api;
pub mod load_test;
mod progress;
pub mod resource_names;
pub mod rightfoot_simulator;
mod run_every;
pub mod senders;
pub mod serve;
pub mod sqs_trigger;
pub mod stack;
