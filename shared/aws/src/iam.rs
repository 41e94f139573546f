//! The AWS calls of each function: all that its role must permit, and nothing else. Tests compare
//! `template.yaml` with this table, and the local system denies every other call, as IAM would.

use Resource::{
    BalancesTable, EventsQueue, FynapseApiCredentials, InboxTable, RightfootApiKey, WebhookSecret,
};

use inbox_core::delivery::Provider;

pub use crate::resources::{Actions, Resource};

use crate::stores::{
    DeliveryChecks, DueIndex, EventStore, Outbox, PollStore, Processing, Quarantine, Submissions, Tracking,
};

/// The permissions of one function.
#[derive(Debug)]
pub struct Role {
    /// The function's name, without the stack's prefix.
    pub function: &'static str,
    /// The actions of all that the function holds.
    holds: &'static [Actions],
}

/// `GetQueueAttributes` only warms up the connection.
const SEND_MESSAGE: Actions = &[(EventsQueue, &["sqs:SendMessage", "sqs:GetQueueAttributes"])];
/// Warms up the connection.
const WARM_UP: Actions = &[(InboxTable, &["dynamodb:GetItem"])];
const GET_SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
const READ_RIGHTFOOT_URL_KEY: Actions = &[(WebhookSecret(Provider::Rightfoot), GET_SECRET)];
const READ_FYNAPSE_SIGNING_SECRET: Actions = &[(WebhookSecret(Provider::Fynapse), GET_SECRET)];
const READ_RIGHTFOOT_API_KEY: Actions = &[(RightfootApiKey, GET_SECRET)];
const READ_FYNAPSE_API_CREDENTIALS: Actions = &[(FynapseApiCredentials, GET_SECRET)];

/// The role of each function.
pub const ROLES: [Role; 7] = [
    Role {
        function: "rightfoot-webhook",
        holds: &[WARM_UP, READ_RIGHTFOOT_URL_KEY, EventStore::ACTIONS, Quarantine::ACTIONS, SEND_MESSAGE],
    },
    Role {
        function: "fynapse-webhook",
        holds: &[
            WARM_UP,
            READ_FYNAPSE_SIGNING_SECRET,
            EventStore::ACTIONS,
            Quarantine::ACTIONS,
            SEND_MESSAGE,
        ],
    },
    Role {
        function: "fynapse-auditor",
        holds: &[
            WARM_UP,
            READ_FYNAPSE_API_CREDENTIALS,
            DeliveryChecks::ACTIONS,
            EventStore::ACTIONS,
            SEND_MESSAGE,
        ],
    },
    Role { function: "event-relay", holds: &[WARM_UP, DueIndex::ACTIONS, Outbox::ACTIONS, SEND_MESSAGE] },
    Role {
        function: "rightfoot-poller",
        holds: &[
            WARM_UP,
            READ_RIGHTFOOT_API_KEY,
            DueIndex::ACTIONS,
            EventStore::ACTIONS,
            PollStore::ACTIONS,
            Tracking::ACTIONS,
            Submissions::ACTIONS,
            SEND_MESSAGE,
        ],
    },
    Role {
        function: "rightfoot-requests",
        holds: &[WARM_UP, READ_RIGHTFOOT_API_KEY, READ_RIGHTFOOT_URL_KEY, Submissions::ACTIONS],
    },
    Role {
        function: "event-worker",
        holds: &[
            WARM_UP,
            READ_RIGHTFOOT_API_KEY,
            Processing::ACTIONS,
            Tracking::ACTIONS,
            &[
                (BalancesTable, &["dynamodb:BatchWriteItem"]),
                (Resource::EventBus, &["events:PutEvents"]),
                (EventsQueue, EVENT_SOURCE_MAPPING_ACTIONS),
            ],
        ],
    },
];

/// IAM actions by which Lambda itself, under the worker's role, brings it messages.
pub const EVENT_SOURCE_MAPPING_ACTIONS: &[&str] =
    &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

impl Role {
    /// A role that permits nothing.
    pub const OF_NOBODY: Self = Self { function: "", holds: &[] };

    /// The role of the function of this name.
    pub fn of(function: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.function == function)
    }

    /// The permitted actions; some occur more than once.
    pub fn allowed(&self) -> impl Iterator<Item = (Resource, &'static str)> {
        let all = self.holds.iter().flat_map(|actions| actions.iter());
        all.flat_map(|(resource, actions)| actions.iter().map(|action| (*resource, *action)))
    }

    /// Returns `true` if the role permits this action on this resource.
    pub fn permits(&self, action: &str, on: Resource) -> bool {
        self.allowed().any(|allowed| allowed == (on, action))
    }
}
