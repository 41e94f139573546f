//! The time by AWS's own clock. The SDK corrects its signatures by it and says nothing, while the operator's clock decides
//! when an event is due, and what its record says of him.

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

/// The largest difference between the two clocks with which something may be changed.
const SKEW_MAX: Duration = Duration::from_secs(120);

/// The header `Date` of AWS's last answer, and the time here when it came.
#[derive(Clone, Debug)]
pub(crate) struct AwsTime {
    clock: Clock,
    last: Arc<Mutex<Option<Reading>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    here: UnixMillis,
    at_aws: UnixMillis,
}

impl AwsTime {
    /// Compares with this clock.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, last: Arc::default() }
    }

    /// Fails if the clock here is more than two minutes from AWS's. An AWS that tells no time is believed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reading) if reading.skew() > SKEW_MAX => bail!(
                "this machine's clock says {}, AWS's says {}: nothing was changed, because the wrong time would stand \
                 in the table. Set the clock right",
                reading.here.rfc3339(),
                reading.at_aws.rfc3339()
            ),
            Some(_) | None => Ok(()),
        }
    }
}

impl Reading {
    fn skew(self) -> Duration {
        self.here.since(self.at_aws).max(self.at_aws.since(self.here))
    }
}

#[dyn_dispatch_hint]
impl Intercept for AwsTime {
    fn name(&self) -> &'static str {
        "AwsTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let at_aws = date.and_then(|date| httpdate::parse_http_date(date).ok());
        if let Some(at_aws) = at_aws.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            let reading = Reading { here: self.clock.now(), at_aws: UnixMillis(0).plus(at_aws) };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(here: i64, at_aws: i64) -> Option<String> {
        let time = AwsTime::new(Clock::new(|| UnixMillis(0)));
        *time.last.lock().unwrap() = Some(Reading { here: UnixMillis(here), at_aws: UnixMillis(at_aws) });
        time.check().err().map(|error| error.to_string())
    }

    #[test]
    fn two_minutes_are_the_limit_either_way() {
        assert_eq!(said(120_000, 0), None);
        assert_eq!(said(0, 120_000), None);
        assert!(AwsTime::new(Clock::system()).check().is_ok(), "nothing is known");
        let text = said(0, 121_000).unwrap();
        let both =
            "this machine's clock says 1970-01-01T00:00:00.000Z, AWS's says 1970-01-01T00:02:01.000Z: ";
        assert!(text.starts_with(both), "{text}");
        assert!(said(121_000, 0).is_some());
    }
}
