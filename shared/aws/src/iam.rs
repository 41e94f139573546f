//! Which AWS calls each function makes: all that its role must permit, and nothing else. `template.yaml` is compared with this
//! table, and the local system refuses what does not stand in it, as IAM would.

use Resource::{
    BalancesTable, DueIndex, EventBus, EventsQueue, FynapseSigning, InboxTable, RightfootApiKey,
    RightfootUrlKey,
};

/// What a call is made on.
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
    /// The secret that Fynapse signs with.
    FynapseSigning,
    /// The secret that signs Rightfoot's URLs.
    RightfootUrlKey,
    /// The secret that Rightfoot's API is asked with.
    RightfootApiKey,
}

/// What a function may do.
#[derive(Debug)]
pub struct Role {
    /// Its name without the stack's.
    pub function: &'static str,
    /// The IAM actions, by what they are done on.
    pub allowed: &'static [(Resource, &'static [&'static str])],
}

const GET_SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
/// The second one only warms up the connection.
const SEND_MESSAGE: &[&str] = &["sqs:SendMessage", "sqs:GetQueueAttributes"];
const GET_PUT_UPDATE: &[&str] = &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/// The role of each function.
pub const ROLES: [Role; 6] = [
    Role {
        function: "rightfoot-webhook",
        allowed: &[(RightfootUrlKey, GET_SECRET), (InboxTable, GET_PUT_UPDATE), (EventsQueue, SEND_MESSAGE)],
    },
    Role {
        function: "fynapse-webhook",
        allowed: &[(FynapseSigning, GET_SECRET), (InboxTable, GET_PUT_UPDATE), (EventsQueue, SEND_MESSAGE)],
    },
    Role {
        function: "event-relay",
        allowed: &[
            (DueIndex, &["dynamodb:Query"]),
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
            (RightfootUrlKey, GET_SECRET),
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

/// What Lambda does in the worker's name to bring it messages.
pub const EVENT_SOURCE_MAPPING_ACTIONS: &[&str] =
    &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

impl Role {
    /// The role of the function of this name.
    pub fn of(function: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.function == function)
    }

    /// Whether it may do this on that.
    pub fn permits(&self, action: &str, on: Resource) -> bool {
        self.allowed.iter().any(|(resource, actions)| *resource == on && actions.contains(&action))
    }
}
