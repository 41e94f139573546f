//! The stack's parameters as the functions' environment, for the functions' own parsers.

use inbox_aws::config::Env;

use crate::target::Target;

/// Environment of the functions, as far as it comes from parameters: `POLL_FIRST_SECS` is `PollFirstSecs`.
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
