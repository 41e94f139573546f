//! Check of what the auditor has found: Fynapse's deliveries are checked, and none is missing.

use inbox_aws::items::DeliveryCheckItem;
use inbox_aws::stores::{MissedFilter, PageStart};
use inbox_core::id::Id;
use inbox_core::time::UnixMillis;

use super::check_result::CheckResult;
use crate::output::Timestamp;
use crate::target::Target;

const CHECK: &str = "deliveries of Fynapse";

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let subscription = target.parameter("FynapseSubscriptionId").filter(|_| !target.is_auditor_disabled());
    let Some(subscription_id) = subscription.and_then(Id::new) else {
        return Ok(CheckResult::skipped(CHECK, "no stack is named, or it has no fynapse-auditor"));
    };
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let open = MissedFilter { is_open: Some(true), ..MissedFilter::default() };
    let missed = stores.operator.list_missed_deliveries(&open, &PageStart::Newest, 1).await;
    let state = stores.delivery_checks.state(&subscription_id).await;
    Ok(match (missed, state) {
        (Err(fault), _) | (_, Err(fault)) => CheckResult::from_error(target, CHECK, &fault, &table),
        (Ok(missed), Ok(_)) if !missed.items.is_empty() => CheckResult::fail(
            CHECK,
            "Fynapse's deliveries were missed, and nobody has resolved that",
            "`inboxctl fynapse missed list`",
        ),
        (Ok(_), Ok(state)) => judge(&state, now),
    })
}

fn judge(state: &DeliveryCheckItem, now: UnixMillis) -> CheckResult {
    let checked = state.checked_at.map(|at| Timestamp(at).with_age(now));
    match (&state.problem, checked) {
        (Some(problem), _) => {
            let since = Timestamp(problem.since).with_age(now);
            let finding = format!(
                "{} for {} runs, since {since}",
                problem.reason,
                problem.consecutive_polls(state.runs)
            );
            let advice =
                "`reason` and `why` in the log lines of fynapse-auditor; infra/OPERATIONS.md, \"Alarms\"";
            if problem.needs_operator(None, now) || problem.reason.starts_with("credentials_") {
                CheckResult::fail(CHECK, finding, advice)
            } else {
                CheckResult::warn(CHECK, finding, advice)
            }
        }
        (None, Some(at)) => {
            CheckResult::ok(CHECK, format!("the last complete check began {at}, and no delivery is missing"))
        }
        (None, None) => CheckResult::warn(
            CHECK,
            "no check has come to its end yet",
            "wait for the next runs of fynapse-auditor, every 15 minutes",
        ),
    }
}
