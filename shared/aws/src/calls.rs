//! Which AWS calls each function makes: all that its role must permit, and nothing else. `template.yaml` is compared with this
//! table, and the local system refuses what does not stand in it, as IAM would.

use Resource::{Balances, Bus, Due, Events, FynapseSigning, Inbox, RightfootApiKey, RightfootUrlKey};

/// What a call is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The inbox's table.
    Inbox,
    /// The inbox's index `due`.
    Due,
    /// The table of balances.
    Balances,
    /// The queue `events`.
    Events,
    /// The event bus.
    Bus,
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
    pub may: &'static [(Resource, &'static [&'static str])],
}

const GET_SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
/// The second one only warms up the connection.
const SEND: &[&str] = &["sqs:SendMessage", "sqs:GetQueueAttributes"];
const GET_PUT_UPDATE: &[&str] = &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"];

/// The role of each function.
pub const ROLES: [Role; 6] = [
    Role {
        function: "rightfoot-webhook",
        may: &[(RightfootUrlKey, GET_SECRET), (Inbox, GET_PUT_UPDATE), (Events, SEND)],
    },
    Role {
        function: "fynapse-webhook",
        may: &[(FynapseSigning, GET_SECRET), (Inbox, GET_PUT_UPDATE), (Events, SEND)],
    },
    Role {
        function: "event-relay",
        may: &[
            (Due, &["dynamodb:Query"]),
            (Inbox, &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"]),
            (Events, SEND),
        ],
    },
    Role {
        function: "rightfoot-poller",
        may: &[
            (RightfootApiKey, GET_SECRET),
            (Due, &["dynamodb:Query"]),
            (Inbox, GET_PUT_UPDATE),
            (Inbox, &["dynamodb:BatchGetItem", "dynamodb:Query"]),
            (Events, SEND),
        ],
    },
    Role {
        function: "rightfoot-requests",
        may: &[(RightfootApiKey, GET_SECRET), (RightfootUrlKey, GET_SECRET), (Inbox, GET_PUT_UPDATE)],
    },
    Role {
        function: "event-worker",
        may: &[
            (RightfootApiKey, GET_SECRET),
            (Inbox, &["dynamodb:GetItem", "dynamodb:UpdateItem"]),
            (Balances, &["dynamodb:BatchWriteItem"]),
            (Bus, &["events:PutEvents"]),
            (Events, BY_ITS_MAPPING),
        ],
    },
];

/// What Lambda does in the worker's name to bring it messages.
pub const BY_ITS_MAPPING: &[&str] = &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

impl Role {
    /// The role of the function of this name.
    pub fn of(function: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.function == function)
    }

    /// Whether it may do this on that.
    pub fn permits(&self, action: &str, on: Resource) -> bool {
        self.may.iter().any(|(resource, actions)| *resource == on && actions.contains(&action))
    }
}
