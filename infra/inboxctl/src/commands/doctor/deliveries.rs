//! Check of what the auditor has found: Fynapse's deliveries are checked, and none is missing.

use std::time::Duration;

use inbox_aws::AwsError;
use inbox_aws::items::DeliveryCheckItem;
use inbox_aws::stores::{MissedFilter, PageStart, Stores};
use inbox_core::id::Id;
use inbox_core::limits::DELIVERY_CHECK_AGE_MAX_SECS;
use inbox_core::time::UnixMillis;

use super::check_result::CheckResult;
use crate::output::Timestamp;
use crate::target::Target;

const CHECK: &str = "deliveries of Fynapse";
const CHECK_AGE_MAX: Duration = Duration::from_secs(DELIVERY_CHECK_AGE_MAX_SECS);

pub(super) async fn check(target: &Target) -> anyhow::Result<CheckResult> {
    let subscription = target.parameter("FynapseSubscriptionId").filter(|_| !target.is_auditor_disabled());
    let Some(subscription_id) = subscription.and_then(Id::new) else {
        return Ok(CheckResult::skipped(CHECK, "no stack is named, or it has no fynapse-auditor"));
    };
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let state = stores.delivery_checks.state(&subscription_id).await;
    Ok(match (has_open(&stores).await, state) {
        (Err(fault), _) | (_, Err(fault)) => CheckResult::from_error(target, CHECK, &fault, &table),
        (Ok(true), Ok(_)) => CheckResult::fail(
            CHECK,
            "Fynapse's deliveries were missed, and nobody has resolved that",
            "`inboxctl fynapse missed list`",
        ),
        (Ok(false), Ok(state)) => judge(&state, now),
    })
}

/// Returns `true` if a missed delivery is not resolved. Those that are resolved may fill many pages.
async fn has_open(stores: &Stores) -> Result<bool, AwsError> {
    let open = MissedFilter { is_open: Some(true), ..MissedFilter::default() };
    let mut start = PageStart::Newest;
    loop {
        let page = stores.operator.list_missed_deliveries(&open, &start, 1).await?;
        match page.older {
            _ if !page.items.is_empty() => return Ok(true),
            Some(older) => start = PageStart::OlderThan(older),
            None => return Ok(false),
        }
    }
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
        (None, Some(at)) if state.checked_at.is_some_and(|at| now.since(at) >= CHECK_AGE_MAX) => {
            CheckResult::fail(
                CHECK,
                format!("the last complete check began {at}"),
                "is the schedule of fynapse-auditor on, its role intact? Its errors and throttles are on the dashboard",
            )
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

#[cfg(test)]
mod tests {
    use super::super::check_result::CheckStatus;
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    fn status(age_secs: Option<u64>) -> CheckStatus {
        let subscription = Id::new("s-1").unwrap();
        let mut state = DeliveryCheckItem::new(&subscription);
        state.checked_at = age_secs.map(|secs| NOW.minus(Duration::from_secs(secs)));
        judge(&state, NOW).status
    }

    #[test]
    fn an_auditor_that_has_stopped_fails_the_check_after_six_hours() {
        assert_eq!(status(None), CheckStatus::Warn);
        assert_eq!(status(Some(6 * 3_600 - 1)), CheckStatus::Ok);
        assert_eq!(status(Some(6 * 3_600)), CheckStatus::Fail);
    }
}
