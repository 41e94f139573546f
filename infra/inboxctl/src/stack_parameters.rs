//! The stack's parameters, read by the code with which the functions read them.

use inbox_aws::config::Env;

use crate::target::Target;

/// The functions' environment, as far as the stack's parameters say: `POLL_FIRST_SECS` is `PollFirstSecs`.
pub(crate) fn function_env(target: &Target) -> Env<impl Fn(&str) -> Option<String>> {
    Env(|name: &str| target.parameter(&parameter_name(name)).map(str::to_owned))
}

fn parameter_name(variable: &str) -> String {
    let capitalized = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    };
    variable.split('_').map(capitalized).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_parameter_in_another_case() {
        assert_eq!(parameter_name("POLL_FIRST_SECS"), "PollFirstSecs");
        assert_eq!(parameter_name("RIGHTFOOT_ALLOWED_CIDRS"), "RightfootAllowedCidrs");
    }
}
