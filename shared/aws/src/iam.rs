//! The AWS calls of each function: all that its role must permit, and nothing else. Tests compare
//! `template.yaml` with this table, and the local system denies every other call, as IAM would.

use Resource::{BalancesTable, DueIndex, EventBus, EventsQueue, InboxTable, RightfootApiKey, WebhookSecret};
use inbox_core::delivery::Provider;

/// A resource that calls are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The inbox's table.
    InboxTable,
    /// The inbox's index `due`.
    DueIndex,
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
}

/// The permissions of one function.
#[derive(Debug)]
pub struct Role {
    /// The function's name, without the stack's prefix.
    pub function: &'static str,
    /// The permitted IAM actions, by resource.
    pub allowed: &'static [(Resource, &'static [&'static str])],
}

const GET_SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
/// `GetQueueAttributes` only warms up the connection.
const SEND_MESSAGE: &[&str] = &["sqs:SendMessage", "sqs:GetQueueAttributes"];
const GET_PUT_UPDATE: &[&str] = &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/// The role of each function.
pub const ROLES: [Role; 6] = [
    Role {
        function: "rightfoot-webhook",
        allowed: &[
            (WebhookSecret(Provider::Rightfoot), GET_SECRET),
            (InboxTable, GET_PUT_UPDATE),
            (EventsQueue, SEND_MESSAGE),
        ],
    },
    Role {
        function: "fynapse-webhook",
        allowed: &[
            (WebhookSecret(Provider::Fynapse), GET_SECRET),
            (InboxTable, GET_PUT_UPDATE),
            (EventsQueue, SEND_MESSAGE),
        ],
    },
    Role {
        function: "event-relay",
        allowed: &[
            (DueIndex, &["dynamodb:Query"]),
            // `GetItem` reads the parts of large payloads; the records are read in batches.
            (InboxTable, &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]),
            (EventsQueue, SEND_MESSAGE),
        ],
    },
    Role {
        function: "rightfoot-poller",
        allowed: &[
            (RightfootApiKey, GET_SECRET),
            (DueIndex, &["dynamodb:Query"]),
            (InboxTable, GET_PUT_UPDATE),
            (InboxTable, &["dynamodb:BatchGetItem", "dynamodb:Query"]),
            (EventsQueue, SEND_MESSAGE),
        ],
    },
    Role {
        function: "rightfoot-requests",
        allowed: &[
            (RightfootApiKey, GET_SECRET),
            (WebhookSecret(Provider::Rightfoot), GET_SECRET),
            // Its transactions need no permission besides those of the writes in them.
            (InboxTable, GET_PUT_UPDATE),
        ],
    },
    Role {
        function: "event-worker",
        allowed: &[
            (RightfootApiKey, GET_SECRET),
            (InboxTable, &["dynamodb:GetItem", "dynamodb:UpdateItem"]),
            (BalancesTable, &["dynamodb:BatchWriteItem"]),
            (EventBus, &["events:PutEvents"]),
            (EventsQueue, EVENT_SOURCE_MAPPING_ACTIONS),
        ],
    },
];

/// IAM actions by which Lambda itself, under the worker's role, brings it messages.
pub const EVENT_SOURCE_MAPPING_ACTIONS: &[&str] =
    &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

impl Role {
    /// The role of the function of this name.
    pub fn of(function: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.function == function)
    }

    /// Returns `true` if the role permits this action on this resource.
    pub fn permits(&self, action: &str, on: Resource) -> bool {
        self.allowed.iter().any(|(resource, actions)| *resource == on && actions.contains(&action))
    }
}
