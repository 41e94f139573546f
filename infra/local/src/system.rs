//! The whole system, wired as in AWS.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::AttributeValue;
use axum::Router;
use inbox_aws::ca_bundle::CaBundle;
use inbox_aws::clients::Clients;
use inbox_aws::clock::Clock;
use inbox_aws::config::{Common, Env};
use inbox_aws::inbox::Inbox;
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::Subject;
use inbox_core::effect::alert::UntrackedAlerts;
use inbox_core::inbox::Desk;
use inbox_core::keys::{KeyCodec, Keys};
use inbox_core::limits::{RETENTION_MIN_DAYS, TOLERANCE_SECS, VISIBILITY_SECS};
use inbox_core::poll::Cadence;
use inbox_core::url_token;
use inbox_rightfoot::{Access, Rightfoot};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::gateway::{self, Functions};
use crate::mapping::Mapping;
use crate::wire::{Wire, mortal};

mod resources;

pub use crate::engine::BUS_QUEUE;

/// The inbox's name.
pub const TABLE: &str = "inbox";
/// The name of the table of balances.
pub const BALANCES: &str = "balances";
/// The queue's name.
pub const QUEUE: &str = "events";
/// The dead-letter queue's name.
pub const DEAD: &str = "events-dead";
/// The event bus's name.
pub const BUS: &str = "balance-inbox";
/// The name of the secret that Fynapse signs with.
pub const FYNAPSE_SECRET: &str = "fynapse-signing";
/// The name of the secret that signs Rightfoot's URLs.
pub const RIGHTFOOT_URL_KEY: &str = "rightfoot-url-key";
/// The name of the secret with Rightfoot's API key.
pub const RIGHTFOOT_API_KEY: &str = "rightfoot-api-key";
/// Where nobody answers: for a system that never asks Rightfoot.
const NOWHERE: &str = "http://127.0.0.1:9";

/// What the system is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file that the tables stand in; `None` for memory.
    pub file: Option<PathBuf>,
    /// Accepted Fynapse secrets; the first one signs.
    pub fynapse_secrets: Vec<String>,
    /// The key that signs Rightfoot's URLs.
    pub rightfoot_url_key: String,
    /// Addresses that may call as Rightfoot.
    pub allowed: AllowList,
    /// Where Rightfoot's API is asked.
    pub rightfoot: Rightfoot,
    /// The key that it is asked with.
    pub rightfoot_api_key: String,
    /// When it is asked, and how long.
    pub cadence: Cadence,
    /// Where the webhook routes answer.
    pub webhook_base_url: String,
    /// Whether the worker believes an alert only if Rightfoot's API shows it.
    pub verify_alerts: bool,
    /// What the worker does with alerts of batches that nobody tracks.
    pub untracked_alerts: UntrackedAlerts,
    /// For how long a message of `events` is hidden once it was received.
    pub visibility: Duration,
    /// The time.
    pub clock: Clock,
}

impl Options {
    /// In memory, with the secrets that infra/local/README.md shows, and nobody who answers as Rightfoot's API.
    pub fn in_memory(clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            file: None,
            fynapse_secrets: vec!["local-fynapse-secret".to_owned()],
            rightfoot_url_key: "local-rightfoot-url-key".to_owned(),
            allowed: AllowList::default(),
            rightfoot: Rightfoot::new(inbox_rightfoot::Config::new(NOWHERE)?)?,
            rightfoot_api_key: "local-rightfoot-api-key".to_owned(),
            cadence: Cadence::default(),
            webhook_base_url: "http://127.0.0.1:9000".to_owned(),
            verify_alerts: true,
            untracked_alerts: UntrackedAlerts::default(),
            visibility: Duration::from_secs(VISIBILITY_SECS),
            clock,
        })
    }
}

/// A client of Rightfoot's API at this address, which trusts the certificates of `AWS_CA_BUNDLE`, too.
pub fn rightfoot_at(url: &str) -> anyhow::Result<Rightfoot> {
    let mut config = inbox_rightfoot::Config::new(url)?;
    config.ca_bundle = CaBundle::of(&Env::process())?;
    Ok(Rightfoot::new(config)?)
}

/// The system without its HTTP side: engines, functions, and the wire between them.
#[derive(Clone, Debug)]
pub struct System {
    /// Carries the calls of the functions.
    pub wire: Wire,
    /// The webhook functions.
    pub functions: Functions,
    /// The relay function.
    pub relay: event_relay::EventRelay,
    /// The poller function.
    pub poller: rightfoot_poller::Poller,
    /// The requests function.
    pub requests: rightfoot_requests::Requests,
    /// The worker function.
    pub worker: event_worker::EventWorker,
    /// The inbox, by a wire of its own on which nothing fails.
    pub inbox: Inbox,
    /// Clients of an onlooker, by that wire.
    pub onlooker: Clients,
    /// The time.
    pub clock: Clock,
    /// The URL of the queue `events`, as the SDK's clients know it.
    pub events_url: String,
    options: Options,
}

impl System {
    /// Starts the engines, makes tables, queues, bus and secrets where they are not there yet, and builds the
    /// functions.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let engine = match &options.file {
            Some(file) => Engine::in_file(file).await?,
            None => Engine::in_memory().await?,
        };
        let onlooker = clients_on(&Wire::new(engine.clone()));
        resources::create_tables(&onlooker).await.context("create the tables")?;
        let events_url =
            resources::create_queues(&onlooker, options.visibility).await.context("create the queues")?;
        resources::create_bus(&onlooker).await.context("create the event bus")?;
        resources::create_secrets(&onlooker, &options).await.context("create the secrets")?;
        Ok(Self::built(engine, onlooker, events_url, options))
    }

    /// Another process over the same engines: functions of its own, with a wire of its own.
    pub fn another(&self) -> Self {
        let (engine, onlooker) = (self.wire.engine().clone(), self.onlooker.clone());
        Self::built(engine, onlooker, self.events_url.clone(), self.options.clone())
    }

    fn built(engine: Engine, onlooker: Clients, events_url: String, options: Options) -> Self {
        let wire = Wire::new(engine);
        let clients_of = |function| clients_on(&wire.acting_as(function));
        let clock = options.clock.clone();
        let common = common(&events_url);
        let fynapse = fynapse_webhook::Config {
            common: common.clone(),
            secret_id: FYNAPSE_SECRET.to_owned(),
            key_codec: KeyCodec::Utf8,
            tolerance_secs: TOLERANCE_SECS,
        };
        let rightfoot = rightfoot_webhook::Config {
            common: common.clone(),
            secret_id: RIGHTFOOT_URL_KEY.to_owned(),
            allowed: options.allowed.clone(),
            revoked: BTreeSet::new(),
        };
        let functions = Functions {
            fynapse: fynapse_webhook::Webhook::new(&fynapse, &clients_of("fynapse-webhook"), clock.clone()),
            rightfoot: rightfoot_webhook::Webhook::new(
                &rightfoot,
                &clients_of("rightfoot-webhook"),
                clock.clone(),
            ),
        };
        let access = Access { client: options.rightfoot.clone(), secret_id: RIGHTFOOT_API_KEY.to_owned() };
        let poller = rightfoot_poller::Config {
            common: common.clone(),
            rightfoot: access.clone(),
            cadence: options.cadence,
        };
        let requests = rightfoot_requests::Config {
            common: common.clone(),
            rightfoot: access.clone(),
            cadence: options.cadence,
            url_key_secret_id: RIGHTFOOT_URL_KEY.to_owned(),
            webhook_base_url: options.webhook_base_url.clone(),
        };
        let worker = event_worker::Config {
            common: common.clone(),
            rightfoot: access,
            balances_table: BALANCES.to_owned(),
            balances_retention_days: 0,
            event_bus: BUS.to_owned(),
            verify_alerts: options.verify_alerts,
            untracked_alerts: options.untracked_alerts,
            deadline: options.cadence.deadline,
            revoked: BTreeSet::new(),
        };
        Self {
            functions,
            poller: rightfoot_poller::Poller::new(&poller, &clients_of("rightfoot-poller"), clock.clone()),
            requests: rightfoot_requests::Requests::new(
                &requests,
                &clients_of("rightfoot-requests"),
                clock.clone(),
            ),
            worker: event_worker::EventWorker::new(&worker, &clients_of("event-worker"), clock.clone()),
            relay: event_relay::EventRelay::new(&common, &clients_of("event-relay"), clock.clone()),
            inbox: onlooker.inbox(&common),
            onlooker,
            clock,
            events_url,
            options,
            wire,
        }
    }

    /// The SDK's clients as the functions have them, on the same wire; nothing is forbidden to them.
    pub fn clients(&self) -> Clients {
        clients_on(&self.wire)
    }

    /// The clients of the function of this name: what its role does not permit is refused.
    pub fn clients_of(&self, function: &str) -> Clients {
        clients_on(&self.wire.acting_as(function))
    }

    /// The keys that Fynapse signs with.
    pub fn fynapse_keys(&self) -> anyhow::Result<Keys> {
        Ok(Keys::parse(&fynapse_value(&self.options), KeyCodec::Utf8)?)
    }

    /// The token of a URL for this subject.
    pub fn mint(&self, subject: &Subject) -> anyhow::Result<String> {
        let keys = Keys::parse(&self.options.rightfoot_url_key, KeyCodec::Utf8)?;
        url_token::mint(subject, &keys).context("the URL key is empty")
    }

    /// A queue's URL by its name, as the SDK's clients know it.
    pub async fn queue_url(&self, name: &str) -> anyhow::Result<String> {
        let answer = self.onlooker.sqs.get_queue_url().queue_name(name).send().await?;
        answer.queue_url.context("no such queue")
    }

    /// Makes every event that is not done due again, and says how many there are: the embedded queue is in
    /// memory, so what it held before a restart is gone, and so are the workers who had claimed some of them. Returns to the
    /// queue under the same id.
    pub async fn make_undone_due_again(&self) -> anyhow::Result<usize> {
        let db = &self.onlooker.dynamodb;
        let mut pages = db
            .scan()
            .table_name(TABLE)
            .consistent_read(true)
            .filter_expression("attribute_exists(delivery_id) AND attribute_not_exists(done_at) AND attribute_not_exists(quarantined_at)")
            .into_paginator()
            .items()
            .send();
        let mut again = 0;
        while let Some(item) = pages.try_next().await? {
            let (Some(pk), Some(sk), Some(rev)) = (item.get("pk"), item.get("sk"), item.get("rev")) else {
                continue;
            };
            let shard = pk.as_s().map(|pk| Desk::Outbox.shard(pk)).unwrap_or_default();
            db.update_item()
                .table_name(TABLE)
                .key("pk", pk.clone())
                .key("sk", sk.clone())
                .update_expression(
                    "SET rev = rev + :one, due = :shard, due_at = :now, wanted_at = :now, attempts = :zero \
                     REMOVE claim_by, claim_until, sent_at, expires_at",
                )
                .condition_expression("rev = :seen")
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()))
                .expression_attribute_values(":shard", AttributeValue::S(shard))
                .expression_attribute_values(":now", AttributeValue::N(self.clock.now().0.to_string()))
                .expression_attribute_values(":seen", rev.clone())
                .send()
                .await?;
            again += 1;
        }
        Ok(again)
    }

    /// The webhook routes.
    pub fn routes(&self) -> Router {
        gateway::routes(self.functions.clone())
    }

    /// Runs the relay again and again, with this pause between two runs, until the handle is aborted.
    pub fn run_relay_every(&self, pause: Duration) -> JoinHandle<()> {
        let relay = self.relay.clone();
        run_every(pause, move || {
            let relay = relay.clone();
            async move { drop(relay.handle(INVOCATION).await) }
        })
    }

    /// Runs the poller again and again, with this pause between two runs, until the handle is aborted.
    pub fn run_poller_every(&self, pause: Duration) -> JoinHandle<()> {
        let poller = self.poller.clone();
        run_every(pause, move || {
            let poller = poller.clone();
            async move { drop(poller.handle(INVOCATION).await) }
        })
    }

    /// Has the worker work on whatever comes to the queue, with this pause between two looks at an empty one, until the
    /// handle is aborted.
    pub fn run_worker_every(&self, pause: Duration) -> JoinHandle<()> {
        let worker = self.worker.clone();
        Mapping::new(self).run(pause, move |event| {
            let worker = worker.clone();
            async move { mortal(worker.handle(event)).await }
        })
    }
}

/// What every function is told here.
pub fn common(events_url: &str) -> Common {
    Common {
        table: TABLE.to_owned(),
        queue_url: events_url.to_owned(),
        retention_days: RETENTION_MIN_DAYS,
        metrics_namespace: "BalanceInbox".to_owned(),
        log_level: tracing::Level::INFO,
    }
}

/// How long an invocation of a scheduled function may take.
pub(crate) const INVOCATION: Duration = Duration::from_secs(60);

/// A failed run has said so in the log; the next one takes over.
fn run_every<F>(pause: Duration, run: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let _ = mortal(run()).await;
        }
    })
}

/// Serves routes on a listener, until the handle is aborted.
pub fn serve(listener: TcpListener, routes: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
        let _ = axum::serve(listener, service).await;
    })
}

fn clients_on(wire: &Wire) -> Clients {
    Clients::new(&sdk_config(wire))
}

fn sdk_config(wire: &Wire) -> SdkConfig {
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(wire.http_client())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SharedTimeSource::new(
            aws_smithy_async::time::SystemTimeSource::new(),
        ))
        .build()
}

fn fynapse_value(options: &Options) -> String {
    match options.fynapse_secrets.as_slice() {
        [one] => one.clone(),
        several => json!(several).to_string(),
    }
}
