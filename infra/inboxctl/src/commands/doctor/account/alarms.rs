//! Checks that the stack's alarms are there and notify, and which are in ALARM now.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::StackResourceSummary;
use inbox_aws::AwsError;
use serde::{Deserialize, Serialize};

use super::{Account, list_names};
use crate::aws_error::ResourceRef;
use crate::cloudwatch::CLOUDWATCH;
use crate::commands::doctor::check_result::CheckResult;
use crate::output::pluralize;

const ACTIONS: &str = "alarms";
const STATES: &str = "alarm states";
const DESCRIBE_ALARMS: &str = "cloudwatch:DescribeAlarms";
const LIST_STACK_RESOURCES: &str = "cloudformation:ListStackResources";
const OPERATION: &str = "GraniteServiceVersion20100801.DescribeAlarms";
/// Nested stack of the alarms in template.yaml.
const NESTED_STACK: &str = "Monitoring";
/// Alarms without an action: they are for information.
const INFORMATIONAL: [&str; 1] = ["found-by-poll"];
/// Most names and alarms of one call: AWS's limit.
const PAGE_MAX: usize = 100;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarm {
    alarm_name: String,
    #[serde(default)]
    actions_enabled: bool,
    #[serde(default)]
    alarm_actions: Vec<String>,
    state_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeAlarmsRequest<'a> {
    alarm_names: &'a [String],
    max_records: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeAlarmsResponse {
    #[serde(default)]
    metric_alarms: Vec<Alarm>,
    next_token: Option<String>,
}

pub(super) async fn checks(account: Account<'_>, has_alarms: bool) -> Vec<CheckResult> {
    if !has_alarms {
        let why = "the stack is deployed without alarms (MonitoringEnabled=false)";
        return vec![CheckResult::skipped(ACTIONS, why)];
    }
    let read = async {
        let names = alarm_names(account).await?;
        let alarms = describe_alarms(account, &names).await?;
        Ok::<_, AwsError>((names, alarms))
    };
    match read.await {
        Ok((names, _)) if names.is_empty() => {
            vec![CheckResult::skipped(ACTIONS, "not checked: the stack names no alarm")]
        }
        Ok((names, alarms)) => {
            let alarms: BTreeMap<_, _> = alarms.iter().map(|it| (it.alarm_name.as_str(), it)).collect();
            let prefix = account.function_name("");
            vec![check_actions(&names, &alarms, &prefix), check_states(&alarms, &prefix)]
        }
        Err(fault) => {
            let resource = ResourceRef::new("the alarms of", account.stack, "--stack");
            vec![CheckResult::from_optional_call(account.target, ACTIONS, &fault, &resource)]
        }
    }
}

/// Names of the alarms that the nested stack has deployed. (Those of another stack may begin with the same prefix.)
async fn alarm_names(account: Account<'_>) -> Result<Vec<String>, AwsError> {
    let of_stack = stack_resources(account, account.stack).await?;
    let is_nested = |it: &&StackResourceSummary| it.logical_resource_id() == Some(NESTED_STACK);
    let nested = of_stack.iter().find(is_nested).and_then(StackResourceSummary::physical_resource_id);
    let Some(nested) = nested else { return Ok(Vec::new()) };
    let resources = stack_resources(account, nested).await?;
    let alarms = resources.iter().filter(|it| it.resource_type() == Some("AWS::CloudWatch::Alarm"));
    Ok(alarms.filter_map(|it| it.physical_resource_id()).map(str::to_owned).collect())
}

async fn stack_resources(account: Account<'_>, stack: &str) -> Result<Vec<StackResourceSummary>, AwsError> {
    let client = aws_sdk_cloudformation::Client::new(&account.target.sdk);
    let pages = client.list_stack_resources().stack_name(stack).into_paginator().items().send();
    let resources = pages.collect::<Result<Vec<_>, _>>().await;
    resources.map_err(|error| AwsError::from_sdk_error(LIST_STACK_RESOURCES, &error))
}

async fn describe_alarms(account: Account<'_>, names: &[String]) -> Result<Vec<Alarm>, AwsError> {
    let mut alarms = Vec::new();
    for names in names.chunks(PAGE_MAX) {
        let mut next_token = None;
        loop {
            let request = DescribeAlarmsRequest { alarm_names: names, max_records: PAGE_MAX, next_token };
            let page: DescribeAlarmsResponse = account
                .aws
                .post_json(&CLOUDWATCH, DESCRIBE_ALARMS, OPERATION, &request, account.now())
                .await?;
            // Each page has an alarm, so the pages end.
            let is_last = page.metric_alarms.is_empty() || page.next_token.is_none();
            alarms.extend(page.metric_alarms);
            if is_last {
                break;
            }
            next_token = page.next_token;
        }
    }
    Ok(alarms)
}

fn is_informational(name: &str, prefix: &str) -> bool {
    INFORMATIONAL.contains(&short_name(name, prefix))
}

/// Name without the stack's prefix, as in infra/OPERATIONS.md.
fn short_name<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn check_actions(names: &[String], alarms: &BTreeMap<&str, &Alarm>, prefix: &str) -> CheckResult {
    let notifying: Vec<_> =
        alarms.values().filter(|it| !is_informational(&it.alarm_name, prefix)).copied().collect();
    let without: Vec<_> = notifying.iter().filter(|it| it.alarm_actions.is_empty()).collect();
    let disabled: Vec<_> = notifying.iter().filter(|it| !it.actions_enabled).collect();
    let missing: Vec<_> = names.iter().filter(|name| !alarms.contains_key(name.as_str())).collect();
    let list = |found: &mut dyn Iterator<Item = &str>| list_names(found.map(|it| short_name(it, prefix)));
    let mut findings = Vec::new();
    if !missing.is_empty() {
        let missing = list(&mut missing.iter().map(|it| it.as_str()));
        let advice = "the alarms were deleted: `sam deploy` does not create them again; deploy with MonitoringEnabled=false, then with true";
        findings.push((format!("deleted: {missing}"), advice));
    }
    if !disabled.is_empty() {
        let disabled = list(&mut disabled.iter().map(|it| it.alarm_name.as_str()));
        let advice = "`aws cloudwatch enable-alarm-actions --alarm-names …`";
        findings.push((format!("actions disabled: {disabled}"), advice));
    }
    if !without.is_empty() {
        let advice = "set AlarmTopicArn to an SNS topic with a subscriber";
        let found = if without.len() == notifying.len() {
            "no alarm has an action: nobody gets them".to_owned()
        } else {
            format!("without an action: {}", list(&mut without.iter().map(|it| it.alarm_name.as_str())))
        };
        findings.push((found, advice));
    }
    let Some((_, advice)) = findings.first() else {
        let count = notifying.len().try_into().unwrap_or(u64::MAX);
        return CheckResult::ok(ACTIONS, format!("{} with an action", pluralize(count, "alarm", "alarms")));
    };
    let found = findings.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join("; ");
    CheckResult::warn(ACTIONS, found, *advice)
}

fn check_states(alarms: &BTreeMap<&str, &Alarm>, prefix: &str) -> CheckResult {
    let on = alarms.values().filter(|it| it.state_value == "ALARM");
    let on: Vec<_> = on
        .map(|it| short_name(&it.alarm_name, prefix))
        .filter(|name| !INFORMATIONAL.contains(name))
        .collect();
    if on.is_empty() {
        return CheckResult::ok(STATES, "no alarm is on");
    }
    let advice =
        "infra/OPERATIONS.md, \"Alarms\", says what each means. Most stay on for an hour after their cause";
    CheckResult::warn(STATES, format!("on: {}", list_names(on)), advice)
}
