//! Where the inbox is: what is named on the command line, by the stack, or as in `local`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use inbox_aws::clock::Clock;
use inbox_aws::inbox::Inbox;
use inbox_aws::{AwsErrorKind, AwsError};
use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::time::UnixMillis;

use crate::account::{Account, CONNECT_TIMEOUT};
use crate::aws_time::AwsTime;
use crate::cli::Everywhere;
use crate::terminal;
use crate::trouble::About;
use crate::view::{Found, Shown};

/// Longest time of one attempt to find out whether AWS can be reached.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Longest pause before the second attempt.
const BACKOFF: Duration = Duration::from_millis(200);

/// Something in AWS, and the option that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thing {
    kind: &'static str,
    pub(crate) name: String,
    pub(crate) flag: &'static str,
}

impl Thing {
    pub(crate) fn new(kind: &'static str, name: impl Into<String>, flag: &'static str) -> Self {
        Self { kind, name: name.into(), flag }
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of a URL or an ARN the last part is what people call it.
        let name = self.name.rsplit(['/', ':']).next().unwrap_or_default();
        write!(f, "{} {name}", self.kind)
    }
}

/// What a stack says of itself.
#[derive(Debug, Default)]
struct Stack {
    name: String,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

/// One inbox, and how to reach it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) account: Account,
    pub(crate) sdk: SdkConfig,
    pub(crate) clock: Clock,
    pub(crate) aws_time: AwsTime,
    named: Named,
    stack: Option<Stack>,
    pub(crate) is_json: bool,
}

/// What was named on the command line.
#[derive(Debug)]
struct Named {
    table: Option<String>,
    balances_table: Option<String>,
    queue_url: Option<String>,
    dead_queue_url: Option<String>,
    bus: Option<String>,
    fynapse_secret: Option<String>,
    rightfoot_url_key: Option<String>,
    rightfoot_api_key: Option<String>,
    base_url: Option<String>,
    retention_days: Option<u64>,
}

impl Place {
    pub(crate) async fn of(told: &Everywhere) -> anyhow::Result<Self> {
        let opened = Account::open(told);
        let account = terminal::waiting("AWS credentials", told.json, Box::pin(opened)).await?;
        let sdk = account.sdk.clone();
        let stack = match &told.stack {
            Some(name) => {
                let on = account.asked("cloudformation");
                let described = terminal::waiting(&on, told.json, Box::pin(describe(&sdk, name))).await;
                Some(described.map_err(|error| account.located(error))?)
            }
            None => None,
        };
        let clock = Clock::system();
        Ok(Self {
            account,
            sdk,
            aws_time: AwsTime::new(clock.clone()),
            clock,
            named: Named {
                table: told.table.clone(),
                balances_table: told.balances_table.clone(),
                queue_url: told.queue_url.clone(),
                dead_queue_url: told.dead_queue_url.clone(),
                bus: told.bus.clone(),
                fynapse_secret: told.fynapse_secret.clone(),
                rightfoot_url_key: told.rightfoot_url_key.clone(),
                rightfoot_api_key: told.rightfoot_api_key.clone(),
                base_url: told.base_url.clone(),
                retention_days: told.retention_days,
            },
            stack,
            is_json: told.json,
        })
    }

    /// The text or JSON of what a command found.
    pub(crate) fn show(&self, found: &impl Found) -> anyhow::Result<Shown> {
        Shown::of(found, self.is_json, self.now())
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Whether the AWS that is asked is an endpoint of the user's own, such as `local`.
    pub(crate) fn is_own_endpoint(&self) -> bool {
        self.sdk.endpoint_url().is_some()
    }

    pub(crate) fn table(&self) -> anyhow::Result<Thing> {
        self.thing("table", &self.named.table, "--table", "InboxTableName", "inbox")
    }

    pub(crate) fn balances_table(&self) -> anyhow::Result<Thing> {
        self.thing("table", &self.named.balances_table, "--balances-table", "BalancesTableName", "balances")
    }

    pub(crate) fn bus(&self) -> anyhow::Result<Thing> {
        self.thing("bus", &self.named.bus, "--bus", "EventBusName", "balance-inbox")
    }

    pub(crate) fn fynapse_secret(&self) -> anyhow::Result<Thing> {
        let named = &self.named.fynapse_secret;
        self.thing("secret", named, "--fynapse-secret", "FynapseSigningSecretArn", "fynapse-signing")
    }

    pub(crate) fn rightfoot_url_key(&self) -> anyhow::Result<Thing> {
        let named = &self.named.rightfoot_url_key;
        self.thing("secret", named, "--rightfoot-url-key", "RightfootUrlKeyArn", "rightfoot-url-key")
    }

    pub(crate) fn rightfoot_api_key(&self) -> anyhow::Result<Thing> {
        let named = &self.named.rightfoot_api_key;
        self.thing("secret", named, "--rightfoot-api-key", "RightfootApiKeyArn", "rightfoot-api-key")
    }

    /// The URL of the queue `events`.
    pub(crate) async fn queue(&self) -> anyhow::Result<Thing> {
        let named = &self.named.queue_url;
        let queue = self.thing("queue", named, "--queue-url", "EventsQueueUrl", "events")?;
        self.with_url(queue).await
    }

    /// The URL of the dead-letter queue.
    pub(crate) async fn dead_queue(&self) -> anyhow::Result<Thing> {
        let named = &self.named.dead_queue_url;
        let queue = self.thing("queue", named, "--dead-queue-url", "DeadLetterQueueUrl", "events-dead")?;
        self.with_url(queue).await
    }

    /// Where the webhook routes answer, if that is known.
    pub(crate) fn base_url(&self) -> Option<String> {
        let named = self.named.base_url.clone().or_else(|| self.output("WebhookBaseUrl"));
        named.map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The stack's name, if one is named.
    pub(crate) fn stack_name(&self) -> Option<&str> {
        self.stack.as_ref().map(|stack| stack.name.as_str())
    }

    /// A parameter of the stack.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.stack.as_ref()?.parameters.get(name).map(String::as_str)
    }

    /// Whether the stack says that there is no worker in it.
    pub(crate) fn has_no_worker(&self) -> bool {
        self.parameter("EventWorkerEnabled") == Some("false")
    }

    pub(crate) fn inbox(&self) -> anyhow::Result<Inbox> {
        let stacks = self.parameter("RetentionDays").and_then(|days| days.parse().ok());
        let retention_days = self.named.retention_days.or(stacks).unwrap_or(RETENTION_MIN_DAYS);
        let config = aws_sdk_dynamodb::config::Builder::from(&self.sdk).interceptor(self.aws_time.clone());
        let db = aws_sdk_dynamodb::Client::from_conf(config.build());
        Ok(Inbox::new(db, self.table()?.name, retention_days))
    }

    /// Fails if there is nobody to ask: said once, instead of by every question.
    pub(crate) async fn check_reachable(&self) -> anyhow::Result<()> {
        // Without a name there is nothing to ask for.
        let Ok(table) = self.table() else { return Ok(()) };
        let quick =
            TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT);
        let once_more = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(BACKOFF);
        let config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
        let config = config.timeout_config(quick.build()).retry_config(once_more).build();
        let asked = aws_sdk_dynamodb::Client::from_conf(config).describe_table().table_name(&table.name);
        match asked.send().await.map_err(|error| AwsError::from_sdk_error("dynamodb:DescribeTable", &error)) {
            Err(fault) if is_unreachable(&fault.kind) => Err(fault).about(&table),
            // What it answered is looked at elsewhere.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The client of the queues.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::config::Builder::from(&self.sdk).interceptor(self.aws_time.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    fn output(&self, name: &str) -> Option<String> {
        self.stack.as_ref()?.outputs.get(name).cloned()
    }

    fn thing(
        &self,
        kind: &'static str,
        named: &Option<String>,
        flag: &'static str,
        output: &str,
        in_local: &str,
    ) -> anyhow::Result<Thing> {
        let usual = || (self.stack.is_none() && self.is_own_endpoint()).then(|| in_local.to_owned());
        let name = named.clone().or_else(|| self.output(output)).or_else(usual);
        let name = name.ok_or_else(|| match &self.stack {
            Some(_) => anyhow!("the stack has no output {output}: name the {kind} with {flag}"),
            None => anyhow!("which {kind}? name the stack with --stack, or the {kind} with {flag}"),
        })?;
        Ok(Thing::new(kind, name, flag))
    }

    async fn with_url(&self, queue: Thing) -> anyhow::Result<Thing> {
        if queue.name.contains("://") {
            return Ok(queue);
        }
        let asked = self.sqs().get_queue_url().queue_name(&queue.name).send().await;
        let answer = asked.map_err(|error| AwsError::from_sdk_error("sqs:GetQueueUrl", &error)).about(&queue)?;
        let url = answer.queue_url.with_context(|| format!("{queue} has no URL"))?;
        Ok(Thing { name: url, ..queue })
    }
}

async fn describe(sdk: &SdkConfig, name: &str) -> anyhow::Result<Stack> {
    let thing = Thing::new("stack", name, "--stack");
    let asked = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
    let fault = |error| AwsError::from_sdk_error("cloudformation:DescribeStacks", &error);
    let answer = match asked.map_err(fault) {
        Err(AwsError { kind: cause, .. }) if sdk.endpoint_url().is_some() && says_nothing(&cause) => bail!(
            "this endpoint answers no CloudFormation, so it has no {thing}: leave --stack (INBOXCTL_STACK) away; \
             the names of `local` are the defaults then, and --table, --queue-url, … name others"
        ),
        asked => asked.about(&thing)?,
    };
    let stack = answer.stacks().first().with_context(|| format!("there is no {thing}"))?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let outputs = stack.outputs().iter().map(|it| (text(it.output_key()), text(it.output_value())));
    let parameters =
        stack.parameters().iter().map(|it| (text(it.parameter_key()), text(it.parameter_value())));
    let name = text(stack.stack_name());
    Ok(Stack { name, outputs: outputs.collect(), parameters: parameters.collect() })
}

/// Whether an endpoint does not know the service at all.
fn says_nothing(cause: &AwsErrorKind) -> bool {
    match cause {
        AwsErrorKind::UnreadableResponse => true,
        AwsErrorKind::Service(code) => code.contains("UnknownOperation") || code.contains("NotImplemented"),
        AwsErrorKind::Construction
        | AwsErrorKind::Timeout
        | AwsErrorKind::Connection
        | AwsErrorKind::Certificate
        | AwsErrorKind::UnreadableItem
        | AwsErrorKind::PayloadGone => false,
    }
}

/// Whether nobody has answered.
fn is_unreachable(cause: &AwsErrorKind) -> bool {
    match cause {
        AwsErrorKind::Timeout | AwsErrorKind::Connection | AwsErrorKind::Certificate => true,
        AwsErrorKind::Construction | AwsErrorKind::UnreadableResponse | AwsErrorKind::Service(_) | AwsErrorKind::UnreadableItem | AwsErrorKind::PayloadGone => false,
    }
}
