//! Check of the stack's parameters with the functions' own parsers: a function does not start with an invalid one.

use inbox_aws::config::{poll_timing, revoked_subjects};
use inbox_aws::webhook_function::{key_codec, tolerance_secs};
use inbox_core::allow_list::AllowList;
use inbox_core::delivery::Provider;
use inbox_core::effect::alert::UntrackedAlertPolicy;
use inbox_core::providers::{Credential, ProviderSpec};

use super::check_result::CheckResult;
use crate::stack_parameters::function_env;
use crate::target::Target;

const CHECK: &str = "parameters";

pub(super) fn check(target: &Target) -> CheckResult {
    // Every stack of this template has this parameter, also one with defaults only.
    if target.parameter("RetentionDays").is_none() {
        return CheckResult::skipped(CHECK, "no stack is named, or it has none");
    }
    let env = function_env(target);
    let schemes = Provider::ALL.iter().filter_map(|provider| match ProviderSpec::of(*provider).credential {
        Credential::Signature(scheme) => Some(scheme),
        Credential::UrlToken => None,
    });
    let signatures =
        schemes.flat_map(|scheme| [key_codec(scheme, &env).err(), tolerance_secs(scheme, &env).err()]);
    let allow_lists = Provider::ALL.iter().map(|provider| {
        env.parsed_or(ProviderSpec::of(*provider).allowed_cidrs_variable, AllowList::default()).err()
    });
    let others = [
        revoked_subjects(&env).err(),
        poll_timing(&env).err(),
        env.parsed_or("VERIFY_ALERTS", true).err(),
        env.parsed_or("UNTRACKED_ALERTS", UntrackedAlertPolicy::default()).err(),
        env.parsed_or::<u64>("RETENTION_DAYS", 0).err(),
        env.parsed_or::<u64>("BALANCES_RETENTION_DAYS", 0).err(),
    ];
    let errors: Vec<_> =
        signatures.chain(allow_lists).chain(others).flatten().map(|error| error.to_string()).collect();
    if errors.is_empty() {
        return CheckResult::ok(CHECK, "the functions can read all checked parameters");
    }
    let advice = "the functions that read it do not start: correct the stack's parameter";
    CheckResult::fail(CHECK, errors.join("; "), advice)
}
