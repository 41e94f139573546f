//! The console's host: the checks of `doctor`, the test deliveries of `send`, and the inbox of a target.

use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use futures::FutureExt;
use futures::future::BoxFuture;
use inbox_aws::config::{poll_timing, redact_userinfo};
use inbox_console::{
    Answer, Console, Defect, Finding, FindingStatus, Host, Inbox, LastHour, SentDelivery, StackFacts,
    TestDelivery,
};
use inbox_core::delivery::Provider;
use inbox_core::poll::PollTiming;

use crate::cloudwatch::{self, MonitoredQueues};
use crate::commands::doctor;
use crate::commands::doctor::check_result::{CheckResult, CheckStatus};
use crate::commands::send::{self, SendArgs, SpoilKind};
use crate::confirm::ConfirmArgs;
use crate::stack_parameters;
use crate::target::Target;

/// Words in the names of stacks that hold no real data.
const TEST_WORDS: [&str; 6] = ["demo", "dev", "local", "sandbox", "staging", "test"];

/// The addresses of an inbox that runs on this machine.
#[derive(Clone, Copy, Debug)]
pub struct LocalInbox<'a> {
    /// AWS endpoint.
    pub aws_url: &'a str,
    /// Base URL of the webhook routes.
    pub http_url: &'a str,
    /// True if the worker processes the queue.
    pub has_worker: bool,
    /// Intervals of its polls.
    pub poll_timing: PollTiming,
}

/// Binds a console of the inbox that runs on this machine.
///
/// # Errors
///
/// The port is taken, or the endpoint does not answer.
pub async fn bind_local_console(port: u16, local: LocalInbox<'_>) -> anyhow::Result<Console> {
    let target = Arc::new(Target::of_local_endpoint(local.aws_url, local.http_url));
    let options = ConsoleOptions { port, is_read_only: false, has_worker: local.has_worker, by: None };
    // No stack's parameters tell them here.
    let inbox = Inbox { poll_timing: local.poll_timing, ..inbox(&target).await? };
    bind_console_of(inbox, target, options).await
}

/// Options of a console.
pub(crate) struct ConsoleOptions {
    pub(crate) port: u16,
    pub(crate) is_read_only: bool,
    pub(crate) has_worker: bool,
    /// Operator's name that forms suggest.
    pub(crate) by: Option<String>,
}

/// Binds a console of a target's inbox.
pub(crate) async fn bind_console(target: Arc<Target>, options: ConsoleOptions) -> anyhow::Result<Console> {
    bind_console_of(inbox(&target).await?, target, options).await
}

async fn bind_console_of(
    inbox: Inbox,
    target: Arc<Target>,
    options: ConsoleOptions,
) -> anyhow::Result<Console> {
    let facts = StackFacts {
        stack: target.stack_name().map_or_else(|| inbox_name(&target), str::to_owned),
        account: account(&target, &inbox.events_queue_url),
        region: target.account.region().to_owned(),
        is_production: !target.has_custom_endpoint() && !is_test_stack(target.stack_name()),
        is_read_only: options.is_read_only,
        inboxctl_options: inboxctl_options(&target),
        operator_name: options.by,
    };
    let queues = MonitoredQueues {
        events: queue_name(&inbox.events_queue_url),
        dead_letters: queue_name(&inbox.dead_letter_queue_url),
    };
    let host = TargetHost { target, has_worker: options.has_worker, queues };
    let port = options.port;
    let bound = Console::bind(port, inbox, facts, Arc::new(host)).await;
    bound.with_context(|| format!("cannot listen on port {port}; choose another one"))
}

async fn inbox(target: &Target) -> anyhow::Result<Inbox> {
    Ok(Inbox {
        stores: target.stores()?,
        clock: target.clock.clone(),
        sqs: target.sqs(),
        events_queue_url: target.events_queue().await?.name,
        dead_letter_queue_url: target.dead_letter_queue().await?.name,
        balances: target.stored_balances().ok(),
        poll_timing: poll_timing(&stack_parameters::function_env(target))
            .context("the stack's parameters")?,
    })
}

/// Name of an inbox without a stack: its table.
fn inbox_name(target: &Target) -> String {
    target.inbox_table().map_or_else(|_| "inbox".to_owned(), |table| format!("table {}", table.name))
}

/// The account's number, from the URL of a queue; the endpoint, if it is not AWS's own.
fn account(target: &Target, queue_url: &str) -> String {
    if let Some(endpoint) = target.account.endpoint_url("DynamoDB") {
        return redact_userinfo(&endpoint);
    }
    let is_account = |part: &&str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = queue_url.split('/').find(is_account);
    number.map_or_else(|| "AWS".to_owned(), |number| format!("account {number}"))
}

/// Returns `true` if a stack's name says that its data is not real.
fn is_test_stack(name: Option<&str>) -> bool {
    let words = name.into_iter().flat_map(|name| name.split(|c: char| !c.is_ascii_alphanumeric()));
    words.map(str::to_ascii_lowercase).any(|word| TEST_WORDS.contains(&word.as_str()))
}

/// Options that select the same inbox.
fn inboxctl_options(target: &Target) -> String {
    let base_url = target.base_url().map(|url| format!("--base-url {url}"));
    let endpoint = target.sdk.endpoint_url().map(|url| format!("--endpoint-url {url}"));
    let options = match target.stack_name() {
        Some(stack) => vec![Some(format!("--stack {stack}")), endpoint],
        None => vec![endpoint, base_url],
    };
    options.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A host over a target.
struct TargetHost {
    target: Arc<Target>,
    has_worker: bool,
    queues: MonitoredQueues,
}

/// Name of a queue, from its URL.
fn queue_name(url: &str) -> String {
    url.rsplit('/').next().unwrap_or_default().to_owned()
}

impl Host for TargetHost {
    fn last_hour(&self) -> BoxFuture<'_, Result<LastHour, String>> {
        cloudwatch::read_last_hour(&self.target, &self.queues).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>, String>> {
        let checks = doctor::run_checks(&self.target, self.has_worker, false);
        let found = async {
            let found = checks.await.map_err(|error| self.target.account.with_location(error));
            found.map_err(|error| format!("{error:#}")).map(|all| all.into_iter().map(finding).collect())
        };
        found.boxed()
    }

    fn send_test(&self, delivery: TestDelivery) -> BoxFuture<'_, Result<SentDelivery, String>> {
        async move {
            let args = send_args(&delivery)?;
            let report = send::send(&self.target, args).await.map_err(|error| format!("{error:#}"))?;
            let answers = report.responses.into_iter().map(|response| Answer {
                actual: format!("{} {}", response.status, response.body),
                expected: response.expected.iter().map(|it| format!("{} {}", it.status, it.body)).collect(),
                took_ms: response.took_ms,
                is_expected: response.is_expected,
            });
            Ok(SentDelivery { event_id: report.event, answers: answers.collect() })
        }
        .boxed()
    }

    fn check_clock(&self) -> Result<(), String> {
        self.target.clock_skew.check().map_err(|error| format!("{error:#}"))
    }

    fn defects(&self, provider: Provider) -> Vec<Defect> {
        let kinds = SpoilKind::value_variants().iter().filter(|kind| kind.check_provider(provider).is_ok());
        kinds
            .filter_map(|kind| {
                let value = kind.to_possible_value()?;
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                // The provider's name stands above the list.
                let description = help.split_once(": ").map_or(help.as_str(), |(_, text)| text).to_owned();
                Some(Defect { name: value.get_name().to_owned(), description })
            })
            .collect()
    }
}

fn send_args(delivery: &TestDelivery) -> Result<SendArgs, String> {
    let spoil = delivery.defect.as_deref().map(|name| SpoilKind::from_str(name, false)).transpose()?;
    Ok(SendArgs {
        provider: delivery.provider,
        url: None,
        duplicate: delivery.is_twice,
        spoil,
        subject: "inboxctl".parse().map_err(|_| "no subject".to_owned())?,
        alert: delivery.is_alert,
        id: None,
        body: None,
        key_codec: None,
        // The form has asked.
        confirm: ConfirmArgs { yes: true },
    })
}

fn finding(result: CheckResult) -> Finding {
    let status = match result.status {
        CheckStatus::Ok => FindingStatus::Ok,
        CheckStatus::Skipped => FindingStatus::Skipped,
        CheckStatus::Warn => FindingStatus::Warn,
        CheckStatus::Unknown => FindingStatus::Unknown,
        CheckStatus::Fail => FindingStatus::Fail,
    };
    Finding { check: result.check.to_owned(), status, finding: result.finding, advice: result.advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_a_production_stack_unless_its_name_says_otherwise() {
        for name in ["balance-inbox-staging", "dev", "Test-inbox", "inbox_demo"] {
            assert!(is_test_stack(Some(name)), "{name}");
        }
        for name in ["balance-inbox", "latest", "developers-inbox", "contest"] {
            assert!(!is_test_stack(Some(name)), "{name}");
        }
        assert!(!is_test_stack(None));
    }
}
