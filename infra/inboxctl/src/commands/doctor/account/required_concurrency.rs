//! Concurrent executions that the functions of a stack can need.
//!
//! API Gateway lets `…BurstLimit` deliveries in at once, and `…RateLimit` more in each second. One takes some 20 ms
//! (infra/OPERATIONS.md, "Cost"). So at most the burst and a fiftieth of the rate are in progress at a time. Lambda
//! [adds](https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html) at most 1,000 instances of a function in ten seconds:
//! no quota serves a larger burst at once.

use inbox_core::delivery::Provider;
use inbox_core::providers::ProviderSpec;

use crate::target::Target;

/// Time that a delivery takes.
const DELIVERY_MS: u64 = 20;
/// Instances that Lambda adds to a function at once.
const INSTANCES_AT_ONCE_MAX: u64 = 1_000;

/// A function of the stack and the executions that it can need at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequiredConcurrency {
    /// Name without the stack's prefix.
    pub(super) function: String,
    pub(super) executions: u64,
    /// Limits of its route, for a webhook function.
    pub(super) route: Option<RouteLimits>,
}

/// Limits of a webhook route.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RouteLimits {
    /// Parameter of the burst limit.
    pub(super) burst_parameter: String,
    /// Parameter of the function's reserved concurrency.
    pub(super) reserved_parameter: String,
    /// Part of the burst that Lambda can serve at once.
    pub(super) burst: u64,
    /// Reserved concurrency that the parameter sets; 0 for none.
    pub(super) reserved: u64,
}

/// Functions that the stack has, by its parameters; `None` if a parameter is missing or not a number.
pub(super) fn required(target: &Target) -> Option<Vec<RequiredConcurrency>> {
    required_from(&|name| target.parameter(name).map(str::to_owned))
}

fn required_from(parameter: &dyn Fn(&str) -> Option<String>) -> Option<Vec<RequiredConcurrency>> {
    let is_on = |name: &str| parameter(name).as_deref() != Some("false");
    let others = |function: &str, executions| RequiredConcurrency {
        function: function.to_owned(),
        executions,
        route: None,
    };
    let mut required = Vec::new();
    for provider in Provider::ALL {
        let title = ProviderSpec::of(*provider).title;
        if is_on(&format!("{title}Enabled")) {
            required.push(webhook_function(*provider, title, parameter)?);
        }
    }
    // A schedule runs each of these, once a minute or less often.
    required.push(others("event-relay", 1));
    if is_on("FynapseEnabled") && parameter("FynapseApiUrl").is_some_and(|url| !url.is_empty()) {
        required.push(others("fynapse-auditor", 1));
    }
    if is_on("RightfootEnabled") {
        required.push(others("rightfoot-poller", 1));
        // At least one: how many at once, its callers decide.
        required.push(others("rightfoot-requests", 1));
    }
    if is_on("EventWorkerEnabled") {
        required.push(others("event-worker", round_up(&parameter("EventWorkerMaxConcurrency")?)?));
    }
    Some(required)
}

fn webhook_function(
    provider: Provider,
    title: &str,
    parameter: &dyn Fn(&str) -> Option<String>,
) -> Option<RequiredConcurrency> {
    let number = |name: &str| round_up(&parameter(&format!("{title}{name}"))?);
    let burst = number("BurstLimit")?.min(INSTANCES_AT_ONCE_MAX);
    let by_rate = number("RateLimit")?.saturating_mul(DELIVERY_MS).div_ceil(1_000);
    Some(RequiredConcurrency {
        function: format!("{}-webhook", provider.as_str()),
        executions: burst.saturating_add(by_rate),
        route: Some(RouteLimits {
            burst_parameter: format!("{title}BurstLimit"),
            reserved_parameter: format!("{title}ReservedConcurrency"),
            burst,
            reserved: number("ReservedConcurrency")?,
        }),
    })
}

/// A parameter's number, which may have a fraction.
fn round_up(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_fraction = fraction.bytes().any(|digit| digit != b'0');
    Some(whole.parse::<u64>().ok()?.saturating_add(u64::from(has_fraction)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Executions by function, with the template's defaults and these parameters.
    fn executions(changed: &[(&str, &str)]) -> Option<Vec<(String, u64)>> {
        const DEFAULTS: [(&str, &str); 7] = [
            ("FynapseRateLimit", "1000"),
            ("FynapseBurstLimit", "2000"),
            ("FynapseReservedConcurrency", "0"),
            ("RightfootRateLimit", "50"),
            ("RightfootBurstLimit", "100"),
            ("RightfootReservedConcurrency", "0"),
            ("EventWorkerMaxConcurrency", "5"),
        ];
        let value = |name: &str| changed.iter().chain(&DEFAULTS).find(|it| it.0 == name);
        let required = required_from(&|name| value(name).map(|it| it.1.to_owned()))?;
        Some(required.into_iter().map(|it| (it.function, it.executions)).collect())
    }

    fn of(expected: &[(&str, u64)]) -> Option<Vec<(String, u64)>> {
        Some(expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect())
    }

    #[test]
    fn a_function_needs_the_burst_and_what_comes_while_it_is_served() {
        let others =
            [("event-relay", 1), ("rightfoot-poller", 1), ("rightfoot-requests", 1), ("event-worker", 5)];
        let all = [[("rightfoot-webhook", 101), ("fynapse-webhook", 1_020)].as_slice(), &others].concat();
        assert_eq!(executions(&[]), of(&all));
        let small = [("FynapseBurstLimit", "300"), ("FynapseRateLimit", "100.5")];
        let all = [[("rightfoot-webhook", 101), ("fynapse-webhook", 303)].as_slice(), &others].concat();
        assert_eq!(executions(&small), of(&all));
    }

    #[test]
    fn what_the_stack_leaves_out_needs_nothing() {
        let fynapse_alone = [("RightfootEnabled", "false"), ("EventWorkerEnabled", "false")];
        assert_eq!(executions(&fynapse_alone), of(&[("fynapse-webhook", 1_020), ("event-relay", 1)]));
    }

    #[test]
    fn the_auditor_needs_one_if_the_stack_has_it() {
        let auditor = |enabled| {
            let set = [("FynapseApiUrl", "https://ours.fynapse.test"), ("FynapseEnabled", enabled)];
            executions(&set).unwrap().into_iter().find(|it| it.0 == "fynapse-auditor")
        };
        assert_eq!(auditor("true"), Some(("fynapse-auditor".to_owned(), 1)));
        assert_eq!((auditor("false"), executions(&[("FynapseApiUrl", "")])), (None, executions(&[])));
    }

    #[test]
    fn a_parameter_that_is_not_a_number_is_not_guessed() {
        assert_eq!(executions(&[("FynapseBurstLimit", "many")]), None);
    }
}
