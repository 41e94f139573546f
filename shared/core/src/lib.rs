//! The decisions of Balance Inbox, as pure functions.
//!
//! The time is an argument; nothing here reads the environment or touches the network. `shared/aws` and the
//! functions carry out these decisions.
//!
//! A webhook passes through the modules in this order: [`delivery`] (the HTTP request) → [its signature](providers::fynapse::signature)
//! or [`url_token`] (verify the sender) → [`providers`] (parse the payload) → [`event`] (its dedupe key) →
//! [`duplicates`] (whether it is recorded already) → [`message`] (the SQS message) → [`reply`] (the HTTP reply).
//!
//! Events that no webhook announced are found by polling: [`requests`] (submissions, and what to track) → [`poll`]
//! (questions to Rightfoot's API and what its answers mean, in the types of [`rightfoot_api`]) → [`event`].
//!
//! What Fynapse's API says about the deliveries of its webhooks is compared with what is recorded by [`fynapse_api`].
//!
//! A message from the queue is processed by [`message`] (find its event) → [`effect`] (confirm it by the provider's
//! API) → [`bus`] (publish on EventBridge).
//!
//! Operators use [`lifecycle`] (the state of an event), [`timeline_status`] (who takes the next step), [`batch_results`] (how many
//! results of a batch were found), [`quarantine`] and [`reparse`] (quarantined deliveries, and parsing them again) and
//! [`audit`] (the entry that each of their actions leaves). [`person`] finds a person's id in what is stored.
//!
//! Shared by several of them: [`local_hosts`] (which URLs lead to the same machine).
//!
//! The tables are described by [`table_keys`], [`due_queue`] (the index `due`) and [`expiry`] (TTL).
//!
//! The promises P1–P10 that code and tests name:
//!
//! | id | promise |
//! |---|---|
//! | P1 | 2xx is answered for an event only after its record is durable. |
//! | P2 | Every recorded event reaches the queue, even if a function crashes or a service is down meanwhile. |
//! | P3 | An event is enqueued once; only a step whose outcome is unknown may repeat it, under the same id. |
//! | P4 | Nothing unverified becomes an event; the bytes stored are the bytes verified. |
//! | P5 | One batch gives one completion event, and at most one correction; one authorizer in one batch gives one alert effect. |
//! | P6 | Fynapse never gets a status that ends its retries, nor a `Retry-After`. |
//! | P7 | A verified delivery that cannot be processed is quarantined, and can be replayed. |
//! | P8 | No secret, token, payload or personal datum in a log line, an error, a metric or a reply. |
//! | P9 | Every tracked batch ends. |
//! | P10 | An effect happens once, however often its message is received. |

pub mod allow_list;
pub mod audit;
pub mod batch_results;
pub mod bus;
pub mod chunking;
pub mod delivery;
pub mod due_queue;
pub mod duplicates;
pub mod effect;
pub mod event;
pub mod expiry;
pub mod fynapse_api;
pub mod id;
pub mod json;
pub mod lateness;
pub mod lifecycle;
pub mod limits;
pub mod list_kind;
pub mod local_hosts;
pub mod message;
pub mod origin;
pub mod person;
pub mod poll;
pub mod providers;
pub mod quarantine;
pub mod reparse;
pub mod reply;
pub mod requests;
pub mod rightfoot_api;
pub mod secret_keys;
mod shards;
pub mod subject;
pub mod table_keys;
pub mod thresholds;
pub mod time;
pub mod timeline_status;
pub mod url_token;
