//! The inbox that a command talks to, with names from the command line, the stack's outputs, or the defaults of `local`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use inbox_aws::clock::Clock;
use inbox_aws::stores::{PersonalData, StoredBalances, Stores, Table};
use inbox_aws::{AwsError, AwsErrorKind};
use inbox_core::delivery::Provider;
use inbox_core::limits::RETENTION_MIN_DAYS;
use inbox_core::providers::ProviderSpec;
use inbox_core::time::UnixMillis;

use crate::aws_account::{AwsAccount, CONNECT_TIMEOUT};
use crate::aws_error::{ResourceRef, WithResource};
use crate::clock_skew::ClockSkewCheck;
use crate::global_args::GlobalArgs;
use crate::output::{Render, Rendered};
use crate::terminal;

/// Time-out of one attempt to reach AWS.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest pause before the second attempt.
const BACKOFF_MAX: Duration = Duration::from_millis(200);

/// Base URL of the webhook routes of `local`.
const LOCAL_WEBHOOK_BASE_URL: &str = "http://127.0.0.1:9000";
/// Base URL of the simulated Fynapse of `local`.
const LOCAL_FYNAPSE_URL: &str = "http://127.0.0.1:9005";

/// Namespace of the metrics of `local`. A stack's has its name behind a slash.
const METRICS_NAMESPACE: &str = "BalanceInbox";

/// Name, outputs and parameters of a CloudFormation stack.
#[derive(Debug, Default)]
struct StackDescription {
    name: String,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

/// An inbox, and the clients to reach it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) account: AwsAccount,
    pub(crate) sdk: SdkConfig,
    pub(crate) clock: Clock,
    pub(crate) clock_skew: ClockSkewCheck,
    /// Names that options or variables give.
    explicit: GlobalArgs,
    stack: Option<StackDescription>,
    pub(crate) is_json: bool,
}

impl Target {
    pub(crate) async fn resolve(args: GlobalArgs) -> anyhow::Result<Self> {
        let loading = AwsAccount::load(&args);
        let account = terminal::with_progress("AWS credentials", args.json, Box::pin(loading)).await?;
        let sdk = account.sdk.clone();
        let stack = match &args.stack {
            Some(name) => {
                let endpoint = account.describe_endpoint("cloudformation");
                let described =
                    terminal::with_progress(&endpoint, args.json, Box::pin(describe_stack(&sdk, name))).await;
                Some(described.map_err(|error| account.with_location(error))?)
            }
            None => None,
        };
        let clock = Clock::system();
        Ok(Self {
            account,
            sdk,
            clock_skew: ClockSkewCheck::new(clock.clone()),
            clock,
            is_json: args.json,
            explicit: args,
            stack,
        })
    }

    /// The inbox behind an AWS endpoint on this machine, with the names of `local`.
    pub(crate) fn of_local_endpoint(endpoint_url: &str, base_url: &str) -> Self {
        let clock = Clock::system();
        let account = AwsAccount::of_local_endpoint(endpoint_url);
        Self {
            sdk: account.sdk.clone(),
            account,
            clock_skew: ClockSkewCheck::new(clock.clone()),
            clock,
            explicit: GlobalArgs { base_url: Some(base_url.to_owned()), ..GlobalArgs::default() },
            stack: None,
            is_json: false,
        }
    }

    /// Renders a command's report as text or JSON.
    pub(crate) fn render(&self, result: &impl Render) -> anyhow::Result<Rendered> {
        Rendered::new(result, self.is_json, self.now())
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// Returns `true` if the endpoint is not AWS's own, such as `local`.
    pub(crate) fn has_custom_endpoint(&self) -> bool {
        self.sdk.endpoint_url().is_some()
    }

    pub(crate) fn inbox_table(&self) -> anyhow::Result<ResourceRef> {
        self.resource("table", &self.explicit.table, "--table", "InboxTableName", "inbox")
    }

    pub(crate) fn balances_table(&self) -> anyhow::Result<ResourceRef> {
        self.resource(
            "table",
            &self.explicit.balances_table,
            "--balances-table",
            "BalancesTableName",
            "balances",
        )
    }

    pub(crate) fn event_bus(&self) -> anyhow::Result<ResourceRef> {
        self.resource("bus", &self.explicit.bus, "--bus", "EventBusName", "balance-inbox")
    }

    pub(crate) fn fynapse_secret(&self) -> anyhow::Result<ResourceRef> {
        let explicit = &self.explicit.fynapse_secret;
        self.resource("secret", explicit, "--fynapse-secret", "FynapseSigningSecretArn", "fynapse-signing")
    }

    pub(crate) fn rightfoot_url_key(&self) -> anyhow::Result<ResourceRef> {
        let explicit = &self.explicit.rightfoot_url_key;
        self.resource("secret", explicit, "--rightfoot-url-key", "RightfootUrlKeyArn", "rightfoot-url-key")
    }

    pub(crate) fn rightfoot_api_key(&self) -> anyhow::Result<ResourceRef> {
        let explicit = &self.explicit.rightfoot_api_key;
        self.resource("secret", explicit, "--rightfoot-api-key", "RightfootApiKeyArn", "rightfoot-api-key")
    }

    pub(crate) fn fynapse_api_credentials(&self, explicit: &Option<String>) -> anyhow::Result<ResourceRef> {
        let (output, local_default) = ("FynapseApiCredentialsArn", "fynapse-api-credentials");
        self.resource("secret", explicit, "--credentials", output, local_default)
    }

    /// Address of the Fynapse instance.
    pub(crate) fn fynapse_api_url(&self, explicit: &Option<String>) -> Option<String> {
        let of_stack = self.parameter("FynapseApiUrl").filter(|url| !url.is_empty());
        let url = explicit.as_deref().or(of_stack);
        let url = url.or_else(|| self.has_local_defaults().then_some(LOCAL_FYNAPSE_URL));
        url.map(str::to_owned)
    }

    /// Namespace of the functions' metrics, as in `METRICS_NAMESPACE` of the template. `None` on AWS if no stack is named.
    pub(crate) fn metrics_namespace(&self) -> Option<String> {
        match self.stack_name() {
            Some(stack) => Some(format!("{METRICS_NAMESPACE}/{stack}")),
            None => self.has_custom_endpoint().then(|| METRICS_NAMESPACE.to_owned()),
        }
    }

    /// URL of the queue `events`.
    pub(crate) async fn events_queue(&self) -> anyhow::Result<ResourceRef> {
        let explicit = &self.explicit.queue_url;
        let queue = self.resource("queue", explicit, "--queue-url", "EventsQueueUrl", "events")?;
        self.with_queue_url(queue).await
    }

    /// URL of the dead-letter queue.
    pub(crate) async fn dead_letter_queue(&self) -> anyhow::Result<ResourceRef> {
        let explicit = &self.explicit.dead_letter_queue_url;
        let queue =
            self.resource("queue", explicit, "--dead-letter-queue-url", "DeadLetterQueueUrl", "events-dead")?;
        self.with_queue_url(queue).await
    }

    /// Base URL of the webhook routes, without a slash at its end.
    pub(crate) fn base_url(&self) -> Option<String> {
        let local_default = || self.has_local_defaults().then(|| LOCAL_WEBHOOK_BASE_URL.to_owned());
        let base_url = self.explicit.base_url.clone().or_else(|| self.output("WebhookBaseUrl"));
        let base_url = base_url.or_else(local_default);
        base_url.map(|url| url.trim_end_matches('/').to_owned())
    }

    /// Name of the stack, if one is given.
    pub(crate) fn stack_name(&self) -> Option<&str> {
        self.stack.as_ref().map(|stack| stack.name.as_str())
    }

    /// Parameter of the stack.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.stack.as_ref()?.parameters.get(name).map(String::as_str)
    }

    /// Returns `true` if the stack is deployed without event-worker.
    pub(crate) fn is_worker_disabled(&self) -> bool {
        self.parameter("EventWorkerEnabled") == Some("false")
    }

    /// Returns `true` if the stack is deployed without fynapse-auditor.
    pub(crate) fn is_auditor_disabled(&self) -> bool {
        let has_api = self.parameter("FynapseApiUrl").is_some_and(|url| !url.is_empty());
        !has_api || self.disabled_text(Provider::Fynapse).is_some()
    }

    /// Returns why a provider has no functions in the stack, with the parameter that leaves them out; `None` if it has them.
    pub(crate) fn disabled_text(&self, provider: Provider) -> Option<String> {
        let title = ProviderSpec::of(provider).title;
        let is_disabled = self.parameter(&format!("{title}Enabled")) == Some("false");
        is_disabled.then(|| format!("the stack is deployed without {title} ({title}Enabled=false)"))
    }

    pub(crate) fn stores(&self) -> anyhow::Result<Stores> {
        Ok(Stores::new(Table::new(self.dynamodb(), self.inbox_table()?.name, self.retention_days())))
    }

    /// Finds and erases what is stored of a person, in both tables.
    pub(crate) fn personal_data(&self) -> anyhow::Result<PersonalData> {
        let (inbox, balances) = (self.inbox_table()?.name, self.balances_table()?.name);
        Ok(PersonalData::new(self.dynamodb(), inbox, balances, self.retention_days()))
    }

    /// The shortest retention is a safe default: an expiry is never moved to an earlier time.
    fn retention_days(&self) -> u64 {
        let stack_days = self.parameter("RetentionDays").and_then(|days| days.parse().ok());
        self.explicit.retention_days.or(stack_days).unwrap_or(RETENTION_MIN_DAYS)
    }

    /// Each response shows AWS's time: before a change, this machine's clock is compared with it.
    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.sdk).interceptor(self.clock_skew.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Reader of the table of balances.
    pub(crate) fn stored_balances(&self) -> anyhow::Result<StoredBalances> {
        Ok(StoredBalances::new(aws_sdk_dynamodb::Client::new(&self.sdk), self.balances_table()?.name))
    }

    /// Fails soon, with one error, if AWS cannot be reached.
    pub(crate) async fn check_reachable(&self) -> anyhow::Result<()> {
        // Without a table name, the check of the table reports that.
        let Ok(table) = self.inbox_table() else { return Ok(()) };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let one_retry = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(BACKOFF_MAX);
        let config = aws_sdk_dynamodb::config::Builder::from(&self.sdk);
        let config = config.timeout_config(timeouts.build()).retry_config(one_retry).build();
        let request = aws_sdk_dynamodb::Client::from_conf(config).describe_table().table_name(&table.name);
        match request.send().await.map_err(|error| AwsError::from_sdk_error("dynamodb:DescribeTable", &error))
        {
            Err(fault) if is_unreachable(&fault.kind) => Err(fault).with_resource(&table),
            // Any response proves that AWS is reachable; the checks judge it.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
    }

    /// SQS client that also compares the clocks.
    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::config::Builder::from(&self.sdk).interceptor(self.clock_skew.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// Returns `true` if what is not given is that of `local`.
    fn has_local_defaults(&self) -> bool {
        self.stack.is_none() && self.account.is_local()
    }

    fn output(&self, name: &str) -> Option<String> {
        self.stack.as_ref()?.outputs.get(name).cloned()
    }

    fn resource(
        &self,
        kind: &'static str,
        explicit: &Option<String>,
        flag: &'static str,
        output: &str,
        local_default: &str,
    ) -> anyhow::Result<ResourceRef> {
        // The defaults are those of `local`. On AWS, CloudFormation chooses the names.
        let default_name =
            || (self.stack.is_none() && self.has_custom_endpoint()).then(|| local_default.to_owned());
        let name = explicit.clone().or_else(|| self.output(output)).or_else(default_name);
        let name = name.ok_or_else(|| match &self.stack {
            Some(_) => anyhow!("the stack has no output {output}: name the {kind} with {flag}"),
            None => anyhow!("missing {flag} or --stack: the {kind} is unknown"),
        })?;
        Ok(ResourceRef::new(kind, name, flag))
    }

    async fn with_queue_url(&self, mut queue: ResourceRef) -> anyhow::Result<ResourceRef> {
        // The stack's output is a URL, the default of `local` is a name.
        if queue.name.contains("://") {
            return Ok(queue);
        }
        let result = self.sqs().get_queue_url().queue_name(&queue.name).send().await;
        let answer = result
            .map_err(|error| AwsError::from_sdk_error("sqs:GetQueueUrl", &error))
            .with_resource(&queue)?;
        let url = answer.queue_url.with_context(|| format!("{queue} has no URL"))?;
        queue.name = url;
        Ok(queue)
    }
}

async fn describe_stack(sdk: &SdkConfig, name: &str) -> anyhow::Result<StackDescription> {
    let resource = ResourceRef::new("stack", name, "--stack");
    let result = aws_sdk_cloudformation::Client::new(sdk).describe_stacks().stack_name(name).send().await;
    let fault = |error| AwsError::from_sdk_error("cloudformation:DescribeStacks", &error);
    let answer = match result.map_err(fault) {
        Err(AwsError { kind: cause, .. })
            if sdk.endpoint_url().is_some() && is_unsupported_service(&cause) =>
        {
            bail!(
                "this endpoint does not support CloudFormation, so it has no {resource}: omit --stack (INBOXCTL_STACK); \
             the names of `local` are the defaults then, and --table, --queue-url, … name others"
            )
        }
        result => result.with_resource(&resource)?,
    };
    let stack = answer.stacks().first().with_context(|| format!("there is no {resource}"))?;
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let outputs = stack.outputs().iter().map(|it| (text(it.output_key()), text(it.output_value())));
    let parameters =
        stack.parameters().iter().map(|it| (text(it.parameter_key()), text(it.parameter_value())));
    let name = text(stack.stack_name());
    Ok(StackDescription { name, outputs: outputs.collect(), parameters: parameters.collect() })
}

/// Returns `true` if an endpoint does not support the service at all.
fn is_unsupported_service(cause: &AwsErrorKind) -> bool {
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

/// Returns `true` if there was no response.
fn is_unreachable(cause: &AwsErrorKind) -> bool {
    match cause {
        AwsErrorKind::Timeout | AwsErrorKind::Connection | AwsErrorKind::Certificate => true,
        AwsErrorKind::Construction
        | AwsErrorKind::UnreadableResponse
        | AwsErrorKind::Service(_)
        | AwsErrorKind::UnreadableItem
        | AwsErrorKind::PayloadGone => false,
    }
}
