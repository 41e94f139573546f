//! The stack on one machine: every function of the template, its AWS resources, and the connectors between them.

use std::collections::{BTreeMap, BTreeSet};
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
use inbox_aws::config::{CommonConfig, Env};
use inbox_aws::stores::Stores;
use inbox_aws::webhook_function::{Verifier, WebhookConfig, WebhookFunction};
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::Provider;
use inbox_core::due_queue::DueQueue;
use inbox_core::effect::alert::UntrackedAlertPolicy;
use inbox_core::id::Id;
use inbox_core::limits::{RETENTION_MIN_DAYS, SIGNATURE_TOLERANCE_SECS, VISIBILITY_SECS};
use inbox_core::poll::PollTiming;
use inbox_core::providers::{Credential, ProviderSpec};
use inbox_core::secret_keys::{KeyCodec, Keys};
use inbox_core::subject::Subject;
use inbox_core::url_token;
use inbox_fynapse::FynapseClient;
use inbox_rightfoot::{AccountConfig, RightfootClient};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api_gateway;
use crate::connector::{AwsConnector, until_crash};
use crate::emulator::Emulator;
use crate::run_every::run_every;
use crate::sqs_trigger::SqsTrigger;

mod resources;

pub use crate::resource_names::{
    BALANCES_TABLE, BUS_QUEUE, DEAD_LETTER_QUEUE, EVENT_BUS, EVENTS_QUEUE, FYNAPSE_API_CREDENTIALS_SECRET,
    FYNAPSE_SECRET, INBOX_TABLE, METRICS_NAMESPACE, RIGHTFOOT_API_KEY_SECRET, RIGHTFOOT_URL_KEY_SECRET,
};

/// Address on which nothing listens (the discard port): for a stack that never calls a provider's API.
const UNREACHABLE_URL: &str = "http://127.0.0.1:9";

/// Fynapse's API, as the auditor reaches it.
#[derive(Clone, Debug)]
pub struct FynapseApi {
    /// Client of the API.
    pub client: FynapseClient,
    /// Value of the secret with the credentials.
    pub credentials: String,
    /// Subscription whose deliveries are checked.
    pub subscription_id: Id,
}

impl FynapseApi {
    /// The API at this URL, with the client and the subscription that the simulated Fynapse of `local` has.
    pub fn simulated_at(url: &str) -> anyhow::Result<Self> {
        let credentials =
            json!({"client_id": FYNAPSE_CLIENT_ID, "client_secret": FYNAPSE_CLIENT_SECRET}).to_string();
        Ok(Self {
            client: FynapseClient::new(inbox_fynapse::ClientConfig::new(url, None)?)?,
            credentials,
            subscription_id: Id::new(FYNAPSE_SUBSCRIPTION_ID).context("no id")?,
        })
    }
}

/// Id of the simulated Fynapse's API client.
pub const FYNAPSE_CLIENT_ID: &str = "local-fynapse-client";
/// Secret of the simulated Fynapse's API client.
pub const FYNAPSE_CLIENT_SECRET: &str = "local-fynapse-client-secret";
/// Id of the simulated Fynapse's subscription.
pub const FYNAPSE_SUBSCRIPTION_ID: &str = "local-subscription";

/// Options of [`Stack::start`].
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// SQLite file of the tables; `None` keeps them in memory.
    pub database_file: Option<PathBuf>,
    /// Accepted Fynapse secrets; the first one signs.
    pub fynapse_secrets: Vec<String>,
    /// Key that signs Rightfoot's webhook URLs.
    pub rightfoot_url_key: String,
    /// Addresses from which a provider may call. Without a list, or with an empty one, from any.
    pub allow_lists: BTreeMap<Provider, AllowList>,
    /// Client of Rightfoot's API.
    pub rightfoot_client: RightfootClient,
    /// Key for Rightfoot's API.
    pub rightfoot_api_key: String,
    /// Fynapse's API.
    pub fynapse_api: FynapseApi,
    /// Intervals of the polls.
    pub poll_timing: PollTiming,
    /// Base URL of the webhook routes, from which submissions make their webhook URLs.
    pub webhook_base_url: String,
    /// True if the worker publishes an alert only after Rightfoot's API confirms the balance.
    pub verify_alerts: bool,
    /// Treatment of alerts of untracked batches.
    pub untracked_alerts: UntrackedAlertPolicy,
    /// Visibility timeout of the queue `events`.
    pub visibility_timeout: Duration,
    /// Clock of the functions.
    pub clock: Clock,
}

impl StackOptions {
    /// Tables in memory, the secrets that infra/local/README.md shows, and unreachable APIs of the providers.
    pub fn in_memory(clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            database_file: None,
            fynapse_secrets: vec!["local-fynapse-secret".to_owned()],
            rightfoot_url_key: "local-rightfoot-url-key".to_owned(),
            allow_lists: BTreeMap::new(),
            rightfoot_client: RightfootClient::new(inbox_rightfoot::ClientConfig::new(
                UNREACHABLE_URL,
                None,
            )?)?,
            rightfoot_api_key: "local-rightfoot-api-key".to_owned(),
            fynapse_api: FynapseApi::simulated_at(UNREACHABLE_URL)?,
            poll_timing: PollTiming::default(),
            webhook_base_url: "http://127.0.0.1:9000".to_owned(),
            verify_alerts: true,
            untracked_alerts: UntrackedAlertPolicy::default(),
            visibility_timeout: Duration::from_secs(VISIBILITY_SECS),
            clock,
        })
    }
}

/// Creates a client of the Rightfoot API at `url`, which also trusts the certificates in `AWS_CA_BUNDLE`.
pub fn rightfoot_client(url: &str) -> anyhow::Result<RightfootClient> {
    let mut config = inbox_rightfoot::ClientConfig::new(url, None)?;
    config.ca_bundle = CaBundle::from_env(&Env::process())?;
    Ok(RightfootClient::new(config)?)
}

/// Functions over an emulator, without HTTP servers. Clones share the emulator and the connector.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Connector of the functions: their call log, and where faults are injected.
    pub connector: AwsConnector,
    /// Webhook functions.
    pub webhooks: BTreeMap<Provider, WebhookFunction>,
    /// Function `event-relay`.
    pub relay: event_relay::EventRelay,
    /// Function `fynapse-auditor`.
    pub auditor: fynapse_auditor::FynapseAuditor,
    /// Function `rightfoot-poller`.
    pub poller: rightfoot_poller::RightfootPoller,
    /// Function `rightfoot-requests`.
    pub requests: rightfoot_requests::RightfootRequests,
    /// Function `event-worker`.
    pub worker: event_worker::EventWorker,
    /// Stores over the inspector's clients.
    pub stores: Stores,
    /// Unrestricted clients over a separate connector, without faults: for setup and inspection.
    pub inspector: Clients,
    /// Clock of the functions.
    pub clock: Clock,
    /// URL of the queue `events` for the clients in this process.
    pub events_queue_url: String,
    options: StackOptions,
}

impl Stack {
    /// Starts an emulator, creates queues, bus, secrets and the tables that do not exist yet, and builds the functions.
    pub async fn start(options: StackOptions) -> anyhow::Result<Self> {
        let emulator = match &options.database_file {
            Some(file) => Emulator::in_file(file, options.clock.clone())?,
            None => Emulator::in_memory(options.clock.clone())?,
        };
        let inspector = clients_over(&AwsConnector::new(emulator.clone()));
        resources::create_tables(&inspector).await.context("create the tables")?;
        let events_url = resources::create_queues(&inspector, options.visibility_timeout)
            .await
            .context("create the queues")?;
        resources::create_bus(&inspector).await.context("create the event bus")?;
        resources::create_secrets(&inspector, &options).await.context("create the secrets")?;
        Ok(Self::build(emulator, inspector, events_url, options))
    }

    /// Another set of functions over the same emulator, with a connector of its own, as a second process would have.
    pub fn another_process(&self) -> Self {
        let (emulator, inspector) = (self.connector.emulator().clone(), self.inspector.clone());
        Self::build(emulator, inspector, self.events_queue_url.clone(), self.options.clone())
    }

    fn build(
        emulator: Emulator,
        inspector: Clients,
        events_queue_url: String,
        options: StackOptions,
    ) -> Self {
        let connector = AwsConnector::new(emulator);
        // One role per function, so a call that its role does not allow fails here as it does in AWS.
        let clients_of = |function| clients_over(&connector.with_role_of(function));
        let clock = options.clock.clone();
        let common = common_config(&events_queue_url);
        let access = AccountConfig {
            client: options.rightfoot_client.clone(),
            secret_id: RIGHTFOOT_API_KEY_SECRET.to_owned(),
        };
        let poller = rightfoot_poller::Config {
            common: common.clone(),
            rightfoot: access.clone(),
            poll_timing: options.poll_timing,
        };
        let requests = rightfoot_requests::Config {
            common: common.clone(),
            rightfoot: access.clone(),
            poll_timing: options.poll_timing,
            url_key_secret_id: RIGHTFOOT_URL_KEY_SECRET.to_owned(),
            webhook_base_url: options.webhook_base_url.clone(),
        };
        let auditor = fynapse_auditor::Config {
            common: common.clone(),
            client: options.fynapse_api.client.clone(),
            secret_id: FYNAPSE_API_CREDENTIALS_SECRET.to_owned(),
            subscription_id: options.fynapse_api.subscription_id.clone(),
        };
        let worker = event_worker::Config {
            common: common.clone(),
            is_rightfoot_enabled: true,
            rightfoot: access,
            balances_table: BALANCES_TABLE.to_owned(),
            // For ever: no balance expires.
            balances_retention_days: 0,
            event_bus: EVENT_BUS.to_owned(),
            verify_alerts: options.verify_alerts,
            untracked_alerts: options.untracked_alerts,
            poll_deadline: options.poll_timing.deadline,
            revoked_subjects: BTreeSet::new(),
        };
        Self {
            webhooks: webhook_functions(&connector, &common, &options),
            auditor: fynapse_auditor::FynapseAuditor::new(
                &auditor,
                &clients_of("fynapse-auditor"),
                clock.clone(),
            ),
            poller: rightfoot_poller::RightfootPoller::new(
                &poller,
                &clients_of("rightfoot-poller"),
                clock.clone(),
            ),
            requests: rightfoot_requests::RightfootRequests::new(
                &requests,
                &clients_of("rightfoot-requests"),
                clock.clone(),
            ),
            worker: event_worker::EventWorker::new(&worker, &clients_of("event-worker"), clock.clone()),
            relay: event_relay::EventRelay::new(&common, &clients_of("event-relay"), clock.clone()),
            stores: Stores::new(inspector.table(&common)),
            inspector,
            clock,
            events_queue_url,
            options,
            connector,
        }
    }

    /// SDK clients over the functions' connector, without a role: every call is allowed, and faults apply.
    pub fn unrestricted_clients(&self) -> Clients {
        clients_over(&self.connector)
    }

    /// SDK clients of a function: calls that its role does not allow are denied.
    pub fn clients_for(&self, function: &str) -> Clients {
        clients_over(&self.connector.with_role_of(function))
    }

    /// Keys that verify a provider's deliveries; the first one signs, all are accepted.
    pub fn webhook_keys(&self, provider: Provider) -> anyhow::Result<Keys> {
        Ok(Keys::parse(&webhook_secret_value(provider, &self.options), KeyCodec::Utf8)?)
    }

    /// Mints the token of a webhook URL for a subject.
    pub fn mint_url_token(&self, subject: &Subject) -> anyhow::Result<String> {
        url_token::mint(subject, &self.webhook_keys(Provider::Rightfoot)?).context("the URL key is empty")
    }

    /// URL of a queue for the clients in this process.
    pub async fn queue_url(&self, name: &str) -> anyhow::Result<String> {
        let response = self.inspector.sqs.get_queue_url().queue_name(name).send().await?;
        response.queue_url.context("no such queue")
    }

    /// Makes every unfinished event due and returns their number.
    ///
    /// The emulated queue is in memory, so after a restart its messages are lost, and the workers that had claimed events
    /// are gone. The relay enqueues the events again, under the same ids (P2).
    pub async fn make_unfinished_due(&self) -> anyhow::Result<usize> {
        let db = &self.inspector.dynamodb;
        // Only event records have a `delivery_id`.
        let mut pages = db
            .scan()
            .table_name(INBOX_TABLE)
            .consistent_read(true)
            .filter_expression("attribute_exists(delivery_id) AND attribute_not_exists(done_at) AND attribute_not_exists(quarantined_at)")
            .into_paginator()
            .items()
            .send();
        let mut count = 0;
        while let Some(item) = pages.try_next().await? {
            let (Some(pk), Some(sk), Some(rev)) = (item.get("pk"), item.get("sk"), item.get("rev")) else {
                continue;
            };
            let shard = pk.as_s().map(|pk| DueQueue::Outbox.shard(pk)).unwrap_or_default();
            db.update_item()
                .table_name(INBOX_TABLE)
                .key("pk", pk.clone())
                .key("sk", sk.clone())
                // `rev` only grows, and a due event never expires (shared/README.md, "Invariants").
                .update_expression(
                    "SET rev = rev + :one, due = :shard, due_at = :now, enqueue_after = :now, attempts = :zero \
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
            count += 1;
        }
        Ok(count)
    }

    /// Routes of the webhook functions, as API Gateway has them.
    pub fn webhook_routes(&self) -> Router {
        api_gateway::webhook_routes(self.webhooks.clone())
    }

    /// Runs the relay repeatedly, at this interval, until the handle is aborted.
    pub fn run_relay_every(&self, interval: Duration) -> JoinHandle<()> {
        let relay = self.relay.clone();
        run_every(interval, move || {
            let relay = relay.clone();
            // A failed run has logged its error, and the next one covers what it left.
            async move { drop(until_crash(relay.handle(INVOCATION_TIMEOUT)).await) }
        })
    }

    /// Runs the poller repeatedly, at this interval, until the handle is aborted.
    pub fn run_poller_every(&self, interval: Duration) -> JoinHandle<()> {
        let poller = self.poller.clone();
        run_every(interval, move || {
            let poller = poller.clone();
            async move { drop(until_crash(poller.handle(INVOCATION_TIMEOUT)).await) }
        })
    }

    /// Runs the auditor repeatedly, at this interval, until the handle is aborted.
    pub fn run_auditor_every(&self, interval: Duration) -> JoinHandle<()> {
        let auditor = self.auditor.clone();
        run_every(interval, move || {
            let auditor = auditor.clone();
            async move { drop(until_crash(auditor.handle(INVOCATION_TIMEOUT)).await) }
        })
    }

    /// Event source mapping of the queue `events`; it does not run yet.
    pub fn sqs_trigger(&self) -> SqsTrigger {
        // Over the inspector's client: faults are injected only into the calls of functions.
        SqsTrigger::new(self.inspector.sqs.clone(), self.events_queue_url.clone())
    }

    /// Runs the worker on the messages of the queue `events` until the handle is aborted. While the queue is empty, it is
    /// received from after each `pause`.
    pub fn run_worker_every(&self, pause: Duration) -> JoinHandle<()> {
        let worker = self.worker.clone();
        self.sqs_trigger().run(pause, move |event| {
            let worker = worker.clone();
            async move { until_crash(worker.handle(event)).await }
        })
    }
}

fn webhook_functions(
    connector: &AwsConnector,
    common: &CommonConfig,
    options: &StackOptions,
) -> BTreeMap<Provider, WebhookFunction> {
    let build = |provider: Provider| {
        let config = WebhookConfig {
            common: common.clone(),
            secret_id: ProviderSpec::of(provider).secret_name.to_owned(),
            allow_list: options.allow_lists.get(&provider).cloned().unwrap_or_default(),
            verifier: match ProviderSpec::of(provider).credential {
                Credential::Signature(scheme) => Verifier::Signature {
                    scheme,
                    key_codec: KeyCodec::Utf8,
                    tolerance_secs: SIGNATURE_TOLERANCE_SECS,
                },
                Credential::UrlToken => Verifier::UrlToken { revoked_subjects: BTreeSet::new() },
            },
        };
        let clients = clients_over(&connector.with_role_of(&format!("{}-webhook", provider.as_str())));
        (provider, WebhookFunction::new(provider, &config, &clients, options.clock.clone()))
    };
    Provider::ALL.iter().copied().map(build).collect()
}

/// Configuration that all functions share.
pub fn common_config(events_url: &str) -> CommonConfig {
    CommonConfig {
        table: INBOX_TABLE.to_owned(),
        queue_url: events_url.to_owned(),
        retention_days: RETENTION_MIN_DAYS,
        metrics_namespace: METRICS_NAMESPACE.to_owned(),
        log_level: tracing::Level::INFO,
    }
}

/// Timeout of an invocation of a scheduled function.
pub(crate) const INVOCATION_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves routes on a listener until the handle is aborted.
pub fn spawn_server(listener: TcpListener, routes: Router) -> JoinHandle<()> {
    tokio::spawn(async move {
        // The webhook routes need the caller's address: the providers' allow-lists are checked against it.
        let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
        let _ = axum::serve(listener, service).await;
    })
}

fn clients_over(connector: &AwsConnector) -> Clients {
    Clients::new(&sdk_config(connector))
}

fn sdk_config(connector: &AwsConnector) -> SdkConfig {
    // The SDK signs every request; the emulator does not check the signature.
    let credentials = Credentials::new("local", "local", None, None, "local");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(connector.http_client())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SharedTimeSource::new(
            aws_smithy_async::time::SystemTimeSource::new(),
        ))
        .build()
}

/// Value of the secret that verifies a provider's deliveries.
fn webhook_secret_value(provider: Provider, options: &StackOptions) -> String {
    if provider == Provider::Rightfoot {
        return options.rightfoot_url_key.clone();
    }
    match options.fynapse_secrets.as_slice() {
        _ if provider != Provider::Fynapse => format!("local-{}-secret", provider.as_str()),
        [single] => single.clone(),
        several => json!(several).to_string(),
    }
}
