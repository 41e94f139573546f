//! Checks of the account around the stack: concurrency, alarms and their subscribers, throttled tables.

mod alarm_topic;
mod alarms;
mod concurrency;
mod required_concurrency;
mod table_throttling;

use std::time::{Duration, SystemTime};

use super::check_result::CheckResult;
use crate::sigv4_client::SigV4Client;
use crate::target::Target;

/// Longest wait for a response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Names that a finding lists. An operator finds the others in the console.
const LISTED_MAX: usize = 8;

/// A stack of this template, and the client of the services without an SDK.
#[derive(Clone, Copy)]
struct Account<'a> {
    target: &'a Target,
    stack: &'a str,
    aws: &'a SigV4Client<'a>,
}

impl Account<'_> {
    /// Time of a signature.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.target.now().0.unsigned_abs())
    }

    /// Name of a function without the stack's prefix, with it.
    fn function_name(&self, function: &str) -> String {
        format!("{}-{function}", self.stack)
    }
}

/// Checks the account of a stack. Without a stack there are none: nothing says then what belongs to the inbox.
pub(super) async fn checks(target: &Target) -> anyhow::Result<Vec<CheckResult>> {
    // Every stack of this template has this parameter.
    let (Some(stack), Some(monitoring)) = (target.stack_name(), target.parameter("MonitoringEnabled")) else {
        return Ok(Vec::new());
    };
    let aws = SigV4Client::new(target, TIMEOUT)?;
    let account = Account { target, stack, aws: &aws };
    let has_alarms = monitoring == "true";
    let (concurrency, alarms, topic, throttling) = futures::join!(
        concurrency::checks(account),
        alarms::checks(account, has_alarms),
        alarm_topic::check(account, has_alarms),
        table_throttling::check(target),
    );
    Ok(concurrency.into_iter().chain(alarms).chain([topic, throttling]).collect())
}

/// The first names, and the number of the others.
fn list_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let listed = names.iter().take(LISTED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => listed,
        others => format!("{listed} and {others} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_names_is_cut() {
        assert_eq!(list_names(["a", "b"]), "a, b");
        assert_eq!(list_names(["a"; 8]), "a, a, a, a, a, a, a, a");
        assert_eq!(list_names(["a"; 10]), "a, a, a, a, a, a, a, a and 2 more");
    }
}
