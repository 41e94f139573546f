//! The wait of an alert until its batch is tracked: a webhook is unsigned, so its thresholds cannot be trusted.

use std::time::Duration;

use crate::limits::UNKNOWN_BATCH_DEADLINE_SECS;
use crate::subject::Subject;
use crate::time::UnixMillis;

/// What an alert does whose batch is not tracked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackingWait {
    /// Waits for the poller to find the run of its batch.
    Continue,
    /// Asks Rightfoot once, and ends unless the answer has a row of the batch: the poller can still find its run.
    EndIfUnknown,
    /// Asks Rightfoot once, and ends with the answer, whatever it is.
    End,
}

impl TrackingWait {
    /// Decides what an alert does after it has waited for `waited`. `poll_deadline` is the time after which an incomplete batch
    /// is overdue.
    pub fn after(waited: Duration, poll_deadline: Duration) -> Self {
        if waited >= poll_deadline {
            Self::End
        } else if waited >= Duration::from_secs(UNKNOWN_BATCH_DEADLINE_SECS) {
            // No genuine webhook is hours ahead of the API.
            Self::EndIfUnknown
        } else {
            Self::Continue
        }
    }
}

/// Returns `true` if an alert may make a schedule due now, so that the poller finds its run: on the first attempt at the alert
/// only (`requeues` is 0), if the schedule is due later, and not if the alert came by the URL of another subject.
pub fn may_expedite_schedule(
    requeues: u64,
    event_subject: Option<&Subject>,
    schedule_subject: Option<&Subject>,
    due_at: Option<UnixMillis>,
    now: UnixMillis,
) -> bool {
    requeues == 0
        && event_subject.zip(schedule_subject).is_none_or(|(its, ours)| its == ours)
        && due_at.is_some_and(|due_at| due_at > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_waits_two_hours_for_a_batch_that_rightfoot_does_not_know_and_a_day_for_one_that_it_knows() {
        let hours = |waited: u64| {
            TrackingWait::after(Duration::from_secs(waited * 3_600), Duration::from_secs(86_400))
        };
        assert_eq!(hours(0), TrackingWait::Continue);
        assert_eq!(hours(2), TrackingWait::EndIfUnknown);
        assert_eq!(hours(23), TrackingWait::EndIfUnknown);
        assert_eq!(hours(24), TrackingWait::End);
        let almost = Duration::from_millis(2 * 3_600 * 1_000 - 1);
        assert_eq!(TrackingWait::after(almost, Duration::from_secs(86_400)), TrackingWait::Continue);
        let hour = Duration::from_secs(3_600);
        assert_eq!(TrackingWait::after(hour, hour), TrackingWait::End, "a short deadline comes first");
    }

    #[test]
    fn an_alert_expedites_a_schedule_once_and_only_its_own_subjects() {
        let (one, other): (Subject, Subject) = ("one".parse().unwrap(), "other".parse().unwrap());
        let may = |requeues, event, schedule, due_at: Option<i64>| {
            may_expedite_schedule(requeues, event, schedule, due_at.map(UnixMillis), UnixMillis(10))
        };
        assert!(may(0, Some(&one), Some(&one), Some(11)));
        assert!(may(0, None, Some(&one), Some(11)) && may(0, Some(&one), None, Some(11)));
        assert!(!may(0, Some(&one), Some(&other), Some(11)), "the URL of another subject");
        assert!(!may(1, Some(&one), Some(&one), Some(11)), "a later attempt");
        assert!(
            !may(0, Some(&one), Some(&one), Some(10)) && !may(0, None, None, None),
            "due already, or never"
        );
    }
}
