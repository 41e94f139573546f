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
/// Time after the last run from which the auditor has stopped. The alarm `auditor-stopped` waits as long.
const RUN_AGE_MAX: Duration = Duration::from_secs(3_600);

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
    let is_old = |at: Option<UnixMillis>, max| at.is_none_or(|at| now.since(at) >= max);
    let shown = |at| Timestamp(at).with_age(now);
    // The start of the first check that was not completed, if none was.
    let Some(checked_at) = state.checked_at.or(state.started_at) else {
        return CheckResult::warn(
            CHECK,
            "no check has begun yet",
            "wait for the first run of fynapse-auditor, every 15 minutes",
        );
    };
    if is_old(state.ran_at.or(state.started_at), RUN_AGE_MAX) {
        return CheckResult::fail(
            CHECK,
            format!(
                "fynapse-auditor has not run to its end since {}",
                shown(state.ran_at.unwrap_or(checked_at))
            ),
            "is its schedule on, its role intact? Its errors and throttles are on the dashboard",
        );
    }
    if let Some(problem) = &state.problem {
        let (runs, since) = (problem.consecutive_polls(state.runs), shown(problem.since));
        let finding = format!("{} for {runs} runs, since {since}", problem.reason);
        let advice =
            "`reason` and `why` in the log lines of fynapse-auditor; infra/OPERATIONS.md, \"Alarms\"";
        return if problem.needs_operator(None, now) || problem.reason.starts_with("credentials_") {
            CheckResult::fail(CHECK, finding, advice)
        } else {
            CheckResult::warn(CHECK, finding, advice)
        };
    }
    match state.checked_at {
        _ if is_old(Some(checked_at), CHECK_AGE_MAX) => CheckResult::fail(
            CHECK,
            format!("no check is complete since {}", shown(checked_at)),
            "the first check of a long list takes hours: a run reads 10,000 deliveries; infra/OPERATIONS.md, \"Alarms\"",
        ),
        Some(at) => {
            let finding = format!("the last complete check began {}, and no delivery is missing", shown(at));
            CheckResult::ok(CHECK, finding)
        }
        None => CheckResult::warn(
            CHECK,
            "no check is complete yet",
            "wait for the next runs of fynapse-auditor, every 15 minutes",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_result::CheckStatus;
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    /// The result for an auditor whose last complete check, first check and last run were so many seconds ago.
    fn status(checked: Option<u64>, started: Option<u64>, ran: Option<u64>) -> CheckStatus {
        let ago = |secs: Option<u64>| secs.map(|secs| NOW.minus(Duration::from_secs(secs)));
        let mut state = DeliveryCheckItem::new(&Id::new("s-1").unwrap());
        (state.checked_at, state.started_at, state.ran_at) = (ago(checked), ago(started), ago(ran));
        judge(&state, NOW).status
    }

    #[test]
    fn an_auditor_whose_checks_do_not_end_fails_the_check_after_six_hours() {
        let six_hours = 6 * 3_600;
        assert_eq!(status(None, None, None), CheckStatus::Warn);
        assert_eq!(status(None, Some(six_hours - 1), Some(60)), CheckStatus::Warn);
        assert_eq!(status(None, Some(six_hours), Some(60)), CheckStatus::Fail);
        assert_eq!(status(Some(six_hours - 1), None, Some(60)), CheckStatus::Ok);
        assert_eq!(status(Some(six_hours), Some(60), Some(60)), CheckStatus::Fail);
    }

    #[test]
    fn an_auditor_that_has_stopped_fails_the_check_after_an_hour() {
        assert_eq!(status(Some(3_660), None, Some(3_599)), CheckStatus::Ok);
        assert_eq!(status(Some(3_660), None, Some(3_600)), CheckStatus::Fail);
        assert_eq!(status(None, Some(3_600), None), CheckStatus::Fail, "its first run crashed");
    }
}
