//! Comparison of this machine's clock with AWS's. The SDK corrects its signatures silently, but this machine's clock decides when
//! an event is due and dates the audit trail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::bail;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use inbox_aws::clock::Clock;
use inbox_core::time::UnixMillis;

/// Largest difference of the clocks at which changes are allowed.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(120);

/// Interceptor that keeps the `Date` header of AWS's last response and the local time of its arrival.
#[derive(Clone, Debug)]
pub(crate) struct ClockSkewCheck {
    clock: Clock,
    last_sample: Arc<Mutex<Option<ClockSample>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClockSample {
    local: UnixMillis,
    aws: UnixMillis,
}

impl ClockSkewCheck {
    /// Compares AWS's time with `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, last_sample: Arc::default() }
    }

    /// Fails if this machine's clock is off by more than two minutes. Passes without a response that has a date.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match *self.last_sample.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(sample) if sample.skew() > CLOCK_SKEW_MAX => bail!(
                "this machine's clock says {}, AWS's says {}: nothing was changed, because the wrong time would be \
                 stored in the table. Correct the clock",
                sample.local.rfc3339(),
                sample.aws.rfc3339()
            ),
            Some(_) | None => Ok(()),
        }
    }
}

impl ClockSample {
    fn skew(self) -> Duration {
        // `since` is zero for a later time, so the larger one is the difference.
        self.local.since(self.aws).max(self.aws.since(self.local))
    }
}

#[dyn_dispatch_hint]
impl Intercept for ClockSkewCheck {
    fn name(&self) -> &'static str {
        "ClockSkewCheck"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Read before the response is parsed, so that an error response shows AWS's time, too.
        let date = context.response().headers().get("date");
        let aws_date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(at_aws) = aws_date.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            let sample = ClockSample { local: self.clock.now(), aws: UnixMillis(0).plus(at_aws) };
            *self.last_sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(sample);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_error(here: i64, at_aws: i64) -> Option<String> {
        let time = ClockSkewCheck::new(Clock::new(|| UnixMillis(0)));
        *time.last_sample.lock().unwrap() =
            Some(ClockSample { local: UnixMillis(here), aws: UnixMillis(at_aws) });
        time.check().err().map(|error| error.to_string())
    }

    #[test]
    fn two_minutes_are_the_limit_either_way() {
        assert_eq!(check_error(120_000, 0), None);
        assert_eq!(check_error(0, 120_000), None);
        assert!(ClockSkewCheck::new(Clock::system()).check().is_ok(), "nothing is known");
        let text = check_error(0, 121_000).unwrap();
        let both =
            "this machine's clock says 1970-01-01T00:00:00.000Z, AWS's says 1970-01-01T00:02:01.000Z: ";
        assert!(text.starts_with(both), "{text}");
        assert!(check_error(121_000, 0).is_some());
    }
}
