//! Names of the stack's AWS resources.

/// Name of the inbox table.
pub const INBOX_TABLE: &str = "inbox";
/// Name of the table of balances.
pub const BALANCES_TABLE: &str = "balances";
/// Name of the queue that the worker processes.
pub const EVENTS_QUEUE: &str = "events";
/// Name of the dead-letter queue.
pub const DEAD_LETTER_QUEUE: &str = "events-dead";
/// Name of the queue that receives every event of every bus, as if a rule matched all of them. Optional: without the
/// queue, events are dropped.
pub const BUS_QUEUE: &str = "bus-events";
/// Name of the event bus.
pub const EVENT_BUS: &str = "balance-inbox";
/// Namespace of the metrics of the functions.
pub const METRICS_NAMESPACE: &str = "BalanceInbox";
/// Name of the secret with Fynapse's signing secrets.
pub const FYNAPSE_SECRET: &str = "fynapse-signing";
/// Name of the secret with the keys that sign Rightfoot's webhook URLs.
pub const RIGHTFOOT_URL_KEY_SECRET: &str = "rightfoot-url-key";
/// Name of the secret with the key for Rightfoot's API.
pub const RIGHTFOOT_API_KEY_SECRET: &str = "rightfoot-api-key";
/// Name of the secret with the credentials for Fynapse's API.
pub const FYNAPSE_API_CREDENTIALS_SECRET: &str = "fynapse-api-credentials";
