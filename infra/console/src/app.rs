//! State of the console that every request shares.

use std::sync::{Arc, Mutex, PoisonError};

use inbox_aws::clock::Clock;
use inbox_aws::stores::{StoredBalances, Stores};
use inbox_core::poll::PollTiming;
use inbox_core::time::UnixMillis;

use crate::host::Host;
use crate::results::Results;
use crate::session::Session;
use crate::snapshot::Snapshots;

/// The inbox that a console shows, and the clients to reach it.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Stores of the table `inbox`.
    pub stores: Stores,
    /// Clock of the audit entries that operators leave.
    pub clock: Clock,
    /// SQS client.
    pub sqs: aws_sdk_sqs::Client,
    /// URL of the queue `events`.
    pub events_queue_url: String,
    /// URL of its dead-letter queue.
    pub dead_letter_queue_url: String,
    /// Reader of the table of balances; `None` if its name is not known.
    pub balances: Option<StoredBalances>,
    /// Intervals of the polls of a batch that the console has tracked.
    pub poll_timing: PollTiming,
}

/// Facts that every page shows, so that nobody mistakes one stack for another.
#[derive(Clone, Debug)]
pub struct StackFacts {
    /// Name of the stack.
    pub stack: String,
    /// AWS account, or the endpoint that stands for AWS.
    pub account: String,
    /// AWS region.
    pub region: String,
    /// True if deliveries and effects are real.
    pub is_production: bool,
    /// True if the console changes nothing.
    pub is_read_only: bool,
    /// Options with which `inboxctl` talks to the same inbox, for commands to copy.
    pub inboxctl_options: String,
    /// Name for the audit trail that forms suggest.
    pub operator_name: Option<String>,
}

/// Shared state. Cloned for each request.
#[derive(Clone)]
pub(crate) struct App(Arc<AppParts>);

pub(crate) struct AppParts {
    pub(crate) inbox: Inbox,
    pub(crate) facts: StackFacts,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) session: Session,
    pub(crate) port: u16,
    pub(crate) results: Results,
    pub(crate) snapshots: Snapshots,
    /// Name of the last operator, which forms suggest.
    operator_name: Mutex<Option<String>>,
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

impl App {
    pub(crate) fn new(inbox: Inbox, facts: StackFacts, host: Arc<dyn Host>, port: u16) -> Self {
        let operator_name = Mutex::new(facts.operator_name.clone());
        Self(Arc::new(AppParts {
            inbox,
            facts,
            host,
            session: Session::new(port),
            port,
            results: Results::default(),
            snapshots: Snapshots::default(),
            operator_name,
        }))
    }
}

impl AppParts {
    pub(crate) fn stores(&self) -> &Stores {
        &self.inbox.stores
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.inbox.clock.now()
    }

    /// Name for the audit trail that forms suggest: the last one that was given.
    pub(crate) fn operator_name(&self) -> String {
        self.operator_name.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Remembers the name of an operator, for the next form.
    pub(crate) fn remember_operator(&self, name: &str) {
        *self.operator_name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }
}
