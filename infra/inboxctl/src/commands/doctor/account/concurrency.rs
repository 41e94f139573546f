//! Checks that Lambda can run as many instances as the limits of the routes let deliveries in.

use std::collections::BTreeMap;

use futures::future::join_all;
use inbox_aws::AwsError;
use serde::Deserialize;

use super::required_concurrency::{RequiredConcurrency, RouteLimits, required};
use super::{Account, list_names};
use crate::aws_error::ResourceRef;
use crate::commands::doctor::check_result::CheckResult;
use crate::commands::doctor::function_code::LAMBDA;

const QUOTA: &str = "concurrency quota";
const RESERVED: &str = "reserved concurrency";
const GET_ACCOUNT_SETTINGS: &str = "lambda:GetAccountSettings";
const GET_FUNCTION_CONCURRENCY: &str = "lambda:GetFunctionConcurrency";

/// Limits of the account in its region.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountLimit {
    /// The quota.
    concurrent_executions: u64,
    /// What functions without a reservation share.
    unreserved_concurrent_executions: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountSettings {
    account_limit: AccountLimit,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FunctionConcurrency {
    /// `None` without a reservation.
    reserved_concurrent_executions: Option<u64>,
}

/// Reserved concurrency by function; `None` without a reservation.
type Reservations = BTreeMap<String, Option<u64>>;

pub(super) async fn checks(account: Account<'_>) -> [CheckResult; 2] {
    let Some(required) = required(account.target) else {
        let why = "not checked: a limit of the stack is not a number";
        return [QUOTA, RESERVED].map(|check| CheckResult::skipped(check, why));
    };
    let (settings, reservations) =
        futures::join!(account_settings(account), read_reservations(account, &required));
    let in_parameters = reservations_in_parameters(&required);
    let quota = match settings {
        Ok(limit) => check_quota(&required, reservations.as_ref().unwrap_or(&in_parameters), &limit),
        Err(fault) => {
            let resource = ResourceRef::new("the account of", account.stack, "--stack");
            CheckResult::from_optional_call(account.target, QUOTA, &fault, &resource)
        }
    };
    let reserved = match reservations {
        Ok(reservations) => check_reserved(account, &required, &reservations),
        Err((fault, function)) => {
            let resource = ResourceRef::new("function", function, "--stack");
            CheckResult::from_optional_call(account.target, RESERVED, &fault, &resource)
        }
    };
    [quota, reserved]
}

async fn account_settings(account: Account<'_>) -> Result<AccountLimit, AwsError> {
    let path = "/2016-08-19/account-settings/";
    let settings: AccountSettings =
        account.aws.get_json(&LAMBDA, GET_ACCOUNT_SETTINGS, path, account.now()).await?;
    Ok(settings.account_limit)
}

/// Reads the reservation of each function; an error comes with the function's whole name.
async fn read_reservations(
    account: Account<'_>,
    required: &[RequiredConcurrency],
) -> Result<Reservations, (AwsError, String)> {
    let read = async |function: &str| {
        let name = account.function_name(function);
        let path = format!("/2019-09-30/functions/{name}/concurrency");
        let found = account.aws.get_json(&LAMBDA, GET_FUNCTION_CONCURRENCY, &path, account.now()).await;
        let FunctionConcurrency { reserved_concurrent_executions: reserved } =
            found.map_err(|fault| (fault, name))?;
        Ok((function.to_owned(), reserved))
    };
    join_all(required.iter().map(|it| read(&it.function))).await.into_iter().collect()
}

fn reservations_in_parameters(required: &[RequiredConcurrency]) -> Reservations {
    let reserved = |route: &RouteLimits| (route.reserved > 0).then_some(route.reserved);
    required.iter().map(|it| (it.function.clone(), it.route.as_ref().and_then(reserved))).collect()
}

/// Compares the account's unreserved concurrency with the need of the functions that have no reservation.
fn check_quota(
    required: &[RequiredConcurrency],
    reservations: &Reservations,
    limit: &AccountLimit,
) -> CheckResult {
    let AccountLimit { concurrent_executions: quota, unreserved_concurrent_executions: unreserved } = *limit;
    let sharing = || required.iter().filter(|it| reservations.get(&it.function).copied().flatten().is_none());
    let needed: u64 = sharing().map(|it| it.executions).sum();
    let found = format!("Lambda's quota is {quota} concurrent executions, {unreserved} of them unreserved");
    let missing = needed.saturating_sub(unreserved);
    if missing == 0 {
        return CheckResult::ok(QUOTA, format!("{found}; the stack can need {needed} at once"));
    }
    let raise = format!(
        "raise the quota \"Concurrent executions\" of Lambda to {} in Service Quotas",
        quota.saturating_add(missing)
    );
    let routes = sharing().filter_map(|it| it.route.as_ref());
    let largest = routes.max_by_key(|route| route.burst).filter(|route| route.burst > missing);
    let advice = match largest {
        Some(route) => format!("{raise}, or lower {} to {}", route.burst_parameter, route.burst - missing),
        None => raise,
    };
    let found = format!(
        "{found}; the stack can need {needed} at once: deliveries of a burst are throttled, and its provider sends them again"
    );
    CheckResult::warn(QUOTA, found, advice)
}

fn check_reserved(
    account: Account<'_>,
    required: &[RequiredConcurrency],
    reservations: &Reservations,
) -> CheckResult {
    let reserved = |it: &RequiredConcurrency| reservations.get(&it.function).copied().flatten();
    let off: Vec<_> = required.iter().filter(|it| reserved(it) == Some(0)).collect();
    if let Some(first) = off.first() {
        let names: Vec<_> = off.iter().map(|it| account.function_name(&it.function)).collect();
        let names = list_names(names.iter().map(String::as_str));
        let found = format!("{names}: a reserved concurrency of 0 switches the function off");
        return CheckResult::fail(
            RESERVED,
            found,
            format!("{} switches it on", restore_command(account, first)),
        );
    }
    let problems: Vec<_> =
        required.iter().filter_map(|it| reservation_problem(account, it, reserved(it))).collect();
    if let Some((_, advice)) = problems.first() {
        let found = problems.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join("; ");
        return CheckResult::warn(RESERVED, found, advice);
    }
    let with: Vec<_> = required.iter().filter(|it| reserved(it).is_some()).collect();
    match with.len() {
        0 => CheckResult::ok(RESERVED, "no function of the stack has a reservation"),
        _ => {
            let names = list_names(with.iter().map(|it| it.function.as_str()));
            CheckResult::ok(RESERVED, format!("{names}: the reservation is as large as the limits need it"))
        }
    }
}

/// Finding and advice, if a reservation is too small, or not the one that the stack has deployed.
fn reservation_problem(
    account: Account<'_>,
    required: &RequiredConcurrency,
    reserved: Option<u64>,
) -> Option<(String, String)> {
    let name = account.function_name(&required.function);
    let (actual, deployed) =
        (reserved.unwrap_or(0), required.route.as_ref().map_or(0, |route| route.reserved));
    if actual != deployed {
        let text = |count| if count == 0 { "no reservation".to_owned() } else { format!("{count} reserved") };
        let found = format!("{name} has {}, the stack has deployed {}", text(actual), text(deployed));
        let restore = format!("{} restores it", restore_command(account, required));
        let advice = match &required.route {
            Some(route) => format!("{restore}; or change {}, and deploy", route.reserved_parameter),
            None => restore,
        };
        return Some((found, advice));
    }
    let needed = required.executions;
    let route = required.route.as_ref().filter(|_| reserved.is_some_and(|it| it < needed))?;
    let found = format!("{name} has {actual} reserved, but can need {needed} at once");
    let RouteLimits { reserved_parameter, burst_parameter, burst, .. } = route;
    let raise = format!("raise {reserved_parameter} to {needed}");
    let lower = burst.saturating_sub(needed - actual);
    let advice = match lower {
        0 => raise,
        lower => format!("{raise}, or lower {burst_parameter} to {lower}"),
    };
    Some((
        found,
        format!("{advice}: beyond it, deliveries are throttled, and their provider sends them again"),
    ))
}

/// Command that sets the reservation that the stack has deployed: for CloudFormation, another deployment of the same is no change.
fn restore_command(account: Account<'_>, required: &RequiredConcurrency) -> String {
    let name = account.function_name(&required.function);
    match required.route.as_ref().map_or(0, |route| route.reserved) {
        0 => format!("`aws lambda delete-function-concurrency --function-name {name}`"),
        deployed => format!(
            "`aws lambda put-function-concurrency --function-name {name} --reserved-concurrent-executions {deployed}`"
        ),
    }
}
