//! Schedules and the times of their runs (shared/providers/rightfoot.md, "Create a schedule").

use std::time::Duration;

use inbox_core::time::UnixMillis;

use super::batch_entry::RequestedAuthorizer;
use super::behaviour::CALENDAR_DAY;
use super::request_parsing::{ScheduleExpiry, ScheduleRequest};
use super::seeded_rng::SeededRng;
use super::snapshot::{SimulatedRun, SimulatedSchedule};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
const EXPIRY_MAX_DAYS: i64 = 365;
/// Default time of day: a random minute from 08:00 to 11:00, as the earliest and the number of minutes.
const DEFAULT_START_MINUTES: (i64, u64) = (8 * 60, 3 * 60 + 1);

/// A schedule and its runs so far.
#[derive(Debug)]
pub(super) struct ScheduleEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) webhook_url: Option<String>,
    pub(super) authorizers: Vec<RequestedAuthorizer>,
    pub(super) run_times: RunTimes,
    pub(super) next_run_at: Option<UnixMillis>,
    pub(super) runs: Vec<SimulatedRun>,
}

/// The times of a schedule's runs: the first, then at every interval, and a final one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunTimes {
    first: UnixMillis,
    interval: Duration,
    last: UnixMillis,
    pub(super) expires_at: UnixMillis,
}

impl ScheduleEntry {
    pub(super) fn new(id: String, request: ScheduleRequest, run_times: RunTimes) -> Self {
        let ScheduleRequest { name, authorizers, webhook_url, .. } = request;
        Self {
            id,
            name,
            webhook_url,
            authorizers,
            run_times,
            next_run_at: Some(run_times.first),
            runs: Vec::new(),
        }
    }

    /// Starts the run that is due by `now` and returns it; `None` if none is due.
    pub(super) fn start_due_run(&mut self, now: UnixMillis, rng: SeededRng) -> Option<SimulatedRun> {
        let run_at = self.next_run_at.filter(|at| *at <= now)?;
        self.next_run_at = self.run_times.next_after(run_at);
        let number = self.runs.len().to_string();
        let run = SimulatedRun { run_at, batch_id: rng.uuid(&["run", &self.id, &number]) };
        self.runs.push(run.clone());
        Some(run)
    }

    pub(super) fn snapshot(&self) -> SimulatedSchedule {
        SimulatedSchedule {
            schedule_id: self.id.clone(),
            name: self.name.clone(),
            runs: self.runs.clone(),
            next_run_at: self.next_run_at,
        }
    }
}

impl RunTimes {
    /// Plans the runs of a requested schedule. The error is the message of the response.
    pub(super) fn plan(
        request: &ScheduleRequest,
        now: UnixMillis,
        day: Duration,
        rng: SeededRng,
    ) -> Result<Self, &'static str> {
        let today = now.0.div_euclid(DAY_MS);
        let expiry_day = match request.expiry {
            ScheduleExpiry::OnDate(midnight) => midnight.0.div_euclid(DAY_MS),
            ScheduleExpiry::InDays(days) => today.saturating_add(i64::from(days)),
        };
        let days = expiry_day.saturating_sub(today);
        if days > EXPIRY_MAX_DAYS {
            return Err("The expiry is more than 365 days away.");
        }
        let times = if day == CALENDAR_DAY {
            Self::by_calendar(request, now, expiry_day, rng)?
        } else {
            Self::on_simulated_days(request, now, days, day)
        };
        if times.last <= now {
            return Err("The expiry must be in the future.");
        }
        // A schedule that expires before its first interval still has its final run.
        Ok(Self { first: times.first.min(times.last), ..times })
    }

    fn by_calendar(
        request: &ScheduleRequest,
        now: UnixMillis,
        expiry_day: i64,
        rng: SeededRng,
    ) -> Result<Self, &'static str> {
        let time_of_day = request.time_of_day_ms.unwrap_or_else(|| {
            let (earliest, range) = DEFAULT_START_MINUTES;
            MINUTE_MS * earliest.saturating_add_unsigned(rng.below(range, &["time of day", &request.name]))
        });
        let on = |day: i64| UnixMillis(day.saturating_mul(DAY_MS).saturating_add(time_of_day));
        let today = now.0.div_euclid(DAY_MS);
        // By default the next `time_of_day` (shared/providers/rightfoot.md, "Create a schedule").
        let first = match request.start {
            Some(midnight) => on(midnight.0.div_euclid(DAY_MS)),
            None if on(today) > now => on(today),
            None => on(today.saturating_add(1)),
        };
        if first <= now {
            return Err("The start must be in the future.");
        }
        Ok(Self {
            first,
            interval: CALENDAR_DAY * request.interval_days,
            // A last run happens on this day (shared/providers/rightfoot.md, "Create a schedule").
            last: on(expiry_day),
            expires_at: UnixMillis(expiry_day.saturating_mul(DAY_MS)),
        })
    }

    fn on_simulated_days(request: &ScheduleRequest, now: UnixMillis, days: i64, day: Duration) -> Self {
        let interval = day.saturating_mul(request.interval_days);
        let last = now.plus(day.saturating_mul(u32::try_from(days).unwrap_or(0)));
        Self { first: now.plus(interval), interval, last, expires_at: last }
    }

    fn next_after(&self, run_at: UnixMillis) -> Option<UnixMillis> {
        // The final run comes on the last day, even if that is less than an interval after its predecessor.
        (run_at < self.last).then(|| run_at.plus(self.interval).min(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// 2026-01-02T03:04:05Z
    const NOW: UnixMillis = UnixMillis(1_767_323_045_000);

    fn plan(fields: Value, day: Duration) -> Result<RunTimes, &'static str> {
        let mut body = json!({
            "name": "n",
            "interval_days": 7,
            "authorizers": [{"authorizer_unique_id": "a", "ssn": "1", "account_number": "2", "routing_number": "3"}],
        });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let request = ScheduleRequest::parse(body.to_string().as_bytes()).map_err(|error| error.message)?;
        RunTimes::plan(&request, NOW, day, SeededRng::new(7))
    }

    fn runs(times: RunTimes) -> Vec<String> {
        let all = std::iter::successors(Some(times.first), |run_at| times.next_after(*run_at));
        all.map(|at| at.rfc3339().replace(":00.000Z", "")).collect()
    }

    #[test]
    fn it_runs_at_its_time_of_day_at_every_interval_and_a_final_time_on_the_expiry_date() {
        let fields = json!({"time_of_day": "02:30", "expires_at": "2026-01-20"});
        let times = plan(fields, CALENDAR_DAY).unwrap();
        let expected = ["2026-01-03T02:30", "2026-01-10T02:30", "2026-01-17T02:30", "2026-01-20T02:30"];
        assert_eq!(runs(times), expected);
        assert_eq!(times.expires_at.rfc3339(), "2026-01-20T00:00:00.000Z");
        let fields = json!({"time_of_day": "03:05", "expires_at": "2026-01-09"});
        assert_eq!(runs(plan(fields, CALENDAR_DAY).unwrap()), ["2026-01-02T03:05", "2026-01-09T03:05"]);
    }

    #[test]
    fn it_starts_on_the_requested_day_and_ends_after_thirty_days_by_default() {
        for start in ["start_at", "starts_at"] {
            let fields = json!({"time_of_day": "02:30", start: "2026-01-30"});
            assert_eq!(runs(plan(fields, CALENDAR_DAY).unwrap()), ["2026-01-30T02:30", "2026-02-01T02:30"]);
        }
        let at_random = plan(json!({"expires_in_days": 1}), CALENDAR_DAY).unwrap();
        assert!((8..=11).contains(&(at_random.first.0.rem_euclid(DAY_MS) / 3_600_000)));
    }

    #[test]
    fn on_short_days_the_first_run_comes_one_interval_after_the_creation() {
        let fields = json!({"time_of_day": "02:30", "start_at": "2026-01-30", "expires_in_days": 16});
        let times = plan(fields, Duration::from_secs(60)).unwrap();
        let after_mins = |mins: u64| NOW.plus(Duration::from_secs(mins * 60));
        let expected: Vec<_> = [7, 14, 16].into_iter().map(|mins| after_mins(mins).rfc3339()).collect();
        assert_eq!(runs(times), expected);
        assert_eq!(times.expires_at, after_mins(16));
    }

    #[test]
    fn an_invalid_schedule_is_rejected() {
        for (bad, day) in [
            (json!({"expires_at": "2026-01-01"}), CALENDAR_DAY),
            (json!({"expires_at": "2026-01-02", "time_of_day": "03:04"}), CALENDAR_DAY),
            (json!({"expires_at": "2026-01-02"}), Duration::from_secs(1)),
            (json!({"expires_at": "2027-01-03"}), CALENDAR_DAY),
            (json!({"expires_in_days": 366}), CALENDAR_DAY),
            (json!({"start_at": "2026-01-01"}), CALENDAR_DAY),
            (json!({"start_at": "tomorrow"}), CALENDAR_DAY),
            (json!({"time_of_day": "24:00"}), CALENDAR_DAY),
            (json!({"time_of_day": "2:30"}), CALENDAR_DAY),
            (json!({"interval_days": 0}), CALENDAR_DAY),
            (json!({"interval_days": 31}), CALENDAR_DAY),
            (json!({"interval_days": null}), CALENDAR_DAY),
            (json!({"name": ""}), CALENDAR_DAY),
            (json!({"name": "n".repeat(256)}), CALENDAR_DAY),
            (json!({"threshold_amount": 1}), CALENDAR_DAY),
            (json!({"threshold_amount": "1", "webhook": "https://h.example"}), CALENDAR_DAY),
            (json!({"webhook": "h.example"}), CALENDAR_DAY),
        ] {
            assert!(plan(bad.clone(), day).is_err(), "{bad}");
        }
        plan(json!({"threshold_amount": 1, "webhook": "https://h.example"}), CALENDAR_DAY).unwrap();
        plan(json!({"name": "n".repeat(255)}), CALENDAR_DAY).unwrap();
    }
}
