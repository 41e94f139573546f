//! The AWS resources that functions call, and the form of a list of permitted calls.

use inbox_core::delivery::Provider;

/// A resource that calls are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The inbox's table.
    InboxTable,
    /// The inbox's index `due`.
    DueIndex,
    /// The inbox's index `listed`.
    ListedIndex,
    /// The table of balances.
    BalancesTable,
    /// The queue `events`.
    EventsQueue,
    /// The event bus.
    EventBus,
    /// The secret that verifies a provider's deliveries.
    WebhookSecret(Provider),
    /// The secret with the key of Rightfoot's API.
    RightfootApiKey,
    /// The secret with our client's credentials for Fynapse's API.
    FynapseApiCredentials,
}

/// The IAM actions of something that calls AWS, by resource.
pub type Actions = &'static [(Resource, &'static [&'static str])];
