//! Tests of finding a schedule's runs, and of the time of its next poll.

use super::*;
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const T0: UnixMillis = UnixMillis(1_767_323_045_000);

fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

fn tracked() -> TrackedSchedule {
    TrackedSchedule {
        schedule_id: id("s-1"),
        subject: None,
        probes: vec![id("p-1"), id("p-2")],
        since: T0,
        last_run_seen: None,
        interval: DAY,
        expires_at: T0.plus(DAY * 30),
        polls: 0,
    }
}

fn answered(
    last: Option<UnixMillis>,
    next: Option<UnixMillis>,
    history: &[(&str, UnixMillis)],
) -> PollResult<ScheduleSnapshot> {
    let entry = |(name, run_at): &(&str, UnixMillis)| HistoryEntry { run_at: *run_at, batch_id: id(name) };
    let state = ScheduleState { last_run_at: last, next_run_at: next, total_authorizers: 150 };
    PollResult::Answered(ScheduleSnapshot { state, history: history.iter().map(entry).collect() })
}

fn plan(
    tracked: &TrackedSchedule,
    result: &PollResult<ScheduleSnapshot>,
    known: &[(&str, BatchOwner)],
    now: UnixMillis,
) -> SchedulePlan {
    let known = known.iter().map(|(name, known)| (id(name), known.clone())).collect();
    let planned_at = now.plus(MINUTE * 5);
    plan_after_poll(tracked, result, &known, planned_at, &PollTiming::default(), now)
}

fn names(plan: &SchedulePlan) -> Vec<&str> {
    plan.new_runs.iter().map(|run| run.batch_id.as_str()).collect()
}

fn own_run() -> BatchOwner {
    BatchOwner::Schedule(id("s-1"))
}

#[test]
fn a_run_is_found_in_the_history_and_the_next_check_is_after_the_next_run() {
    let (ran, next) = (T0.plus(DAY), T0.plus(DAY * 2));
    let now = ran.plus(MINUTE * 10);
    let found = plan(
        &tracked(),
        &answered(Some(ran), Some(next), &[("b-1", ran), ("b-1", ran.plus(MINUTE))]),
        &[],
        now,
    );
    assert_eq!(found.new_runs, [NewRun { batch_id: id("b-1"), run_at: ran, expected: 150 }]);
    assert_eq!((found.last_run_seen, found.resets_poll_count, found.alarm), (Some(ran), true, None));
    assert_eq!(found.next_poll_at, Some(next.plus(MINUTE * 10)));
}

#[test]
fn two_runs_between_two_polls_are_both_found_the_older_one_first() {
    let (first, second) = (T0.plus(DAY), T0.plus(DAY * 2));
    let history = [("b-2", second), ("b-1", first)];
    let found =
        plan(&tracked(), &answered(Some(second), Some(T0.plus(DAY * 3)), &history), &[], second.plus(HOUR));
    assert_eq!((names(&found), found.last_run_seen), (vec!["b-1", "b-2"], Some(second)));
}

#[test]
fn batches_of_the_same_authorizers_submitted_on_their_own_are_no_runs() {
    let ran = T0.plus(DAY);
    let history = [("mine", ran.plus(HOUR)), ("b-1", ran)];
    let known = [("mine", BatchOwner::OnDemand)];
    let found =
        plan(&tracked(), &answered(Some(ran), Some(ran.plus(DAY)), &history), &known, ran.plus(HOUR * 2));
    assert_eq!((names(&found), found.last_run_seen), (vec!["b-1"], Some(ran)));
    let only_mine = plan(&tracked(), &answered(Some(ran), None, &history[..1]), &known, ran.plus(HOUR * 2));
    assert!(!only_mine.resets_poll_count, "its own history is not yet the run's");
    let before = plan(&tracked(), &answered(None, None, &[("old", UnixMillis(T0.0 - 1))]), &[], ran);
    assert_eq!(names(&before), Vec::<&str>::new(), "from before it was tracked");
}

#[test]
fn a_run_missing_from_the_history_is_polled_until_it_is_found() {
    let (ran, next) = (T0.plus(DAY), T0.plus(DAY * 2));
    let now = ran.plus(MINUTE * 10);
    let lagging = plan(&tracked(), &answered(Some(ran), Some(next), &[]), &[], now);
    assert_eq!((lagging.next_poll_at, lagging.resets_poll_count), (Some(now.plus(MINUTE * 5)), false));
    let reported_late = plan(&tracked(), &answered(None, Some(next), &[]), &[], now);
    assert_eq!(
        reported_late.next_poll_at, lagging.next_poll_at,
        "`last_run_at` may change only at the run's completion"
    );
    let at_last = plan(&tracked(), &answered(Some(ran), Some(next), &[("b-1", ran)]), &[], now.plus(HOUR));
    assert_eq!((names(&at_last), at_last.resets_poll_count), (vec!["b-1"], true));
    let never = plan(&tracked(), &answered(Some(ran), Some(next), &[]), &[], ran.plus(DAY));
    assert_eq!(never.alarm, Some(ScheduleAlarm::RunNotFound));
}

#[test]
fn a_run_whose_history_lags_behind_the_next_run_is_found() {
    let (first, second) = (T0.plus(DAY), T0.plus(DAY * 2));
    let mut tracked = tracked();
    tracked.last_run_seen = Some(second);
    assert!(tracked.history_start(&PollTiming::default(), second) <= first);
    let history = [("b-2", second), ("b-1", first)];
    let late =
        plan(&tracked, &answered(Some(second), None, &history), &[("b-2", own_run())], second.plus(HOUR));
    assert_eq!((names(&late), late.last_run_seen), (vec!["b-1"], Some(second)));
}

#[test]
fn a_stopped_schedule_raises_an_alarm() {
    let (ran, next) = (T0.plus(DAY), T0.plus(DAY * 2));
    let history = [("b-1", ran)];
    let at = |next, now| plan(&tracked(), &answered(Some(ran), next, &history), &[("b-1", own_run())], now);
    assert_eq!(at(Some(next), next.plus(HOUR)).alarm, None, "a run may come late");
    assert_eq!(at(Some(next), next.plus(DAY)).alarm, Some(ScheduleAlarm::Stopped));
    assert_eq!(at(None, next).alarm, Some(ScheduleAlarm::Stopped), "disabled before its expiry");
    assert_eq!(at(None, tracked().expires_at).alarm, None, "completed");
    for answer in [PollResult::NotReady, PollResult::Denied] {
        assert_eq!(plan(&tracked(), &answer, &[], next).alarm, Some(ScheduleAlarm::Stopped));
    }
    assert_eq!(plan(&tracked(), &PollResult::Unanswered, &[], next).alarm, None);
}

#[test]
fn a_schedule_ends_one_interval_after_its_expiry_if_rightfoot_has_answered() {
    let end = tracked().ends_at();
    assert_eq!(end, T0.plus(DAY * 31));
    let before = UnixMillis(end.0 - 1);
    let history = [("b-1", T0.plus(DAY * 30))];
    let observed = answered(Some(T0.plus(DAY * 30)), None, &history);
    assert!(plan(&tracked(), &observed, &[("b-1", own_run())], before).next_poll_at.is_some());
    assert_eq!(plan(&tracked(), &observed, &[("b-1", own_run())], end).next_poll_at, None);
    assert_eq!(plan(&tracked(), &PollResult::NotReady, &[], end).next_poll_at, None);
    for silence in [PollResult::Unanswered, PollResult::Unauthorized] {
        assert!(plan(&tracked(), &silence, &[], end.plus(DAY * 99)).next_poll_at.is_some());
    }
}

#[test]
fn p9_a_schedule_is_not_over_before_its_last_runs_are_tracked() {
    let late = tracked().ends_at().plus(DAY * 2);
    let (last, before) = (tracked().expires_at.plus(HOUR * 23), tracked().expires_at);
    let observed = answered(Some(last), None, &[("b-2", last), ("b-1", before)]);
    let found = plan(&tracked(), &observed, &[], late);
    assert_eq!((names(&found), found.next_poll_at), (vec!["b-1", "b-2"], Some(late.plus(MINUTE * 5))));
    assert_eq!(
        plan(&tracked(), &observed, &[("b-1", own_run()), ("b-2", own_run())], late).next_poll_at,
        None
    );
}

#[test]
fn a_schedule_with_a_later_next_run_is_polled_beyond_its_expiry() {
    let end = tracked().ends_at();
    let ran = end.minus(DAY);
    let at =
        |next| plan(&tracked(), &answered(Some(ran), Some(next), &[("b", ran)]), &[("b", own_run())], end);
    let extended = at(end.plus(HOUR));
    assert_eq!((extended.next_poll_at, extended.alarm), (Some(end.plus(HOUR + MINUTE * 10)), None));
    assert_eq!(extended.expires_at, end.plus(HOUR));
    let late = at(end.minus(HOUR));
    assert_eq!((late.next_poll_at, late.alarm), (Some(end.plus(MINUTE * 5)), None), "a run may come late");
    assert_eq!(at(end.minus(DAY)).next_poll_at, None);
}

#[test]
fn p5_batches_older_than_the_known_ones_are_no_new_runs() {
    let ran = T0.plus(DAY);
    let history = [("b-1", ran)];
    let at = |now| names(&plan(&tracked(), &answered(Some(ran), None, &history), &[], now)).len();
    assert_eq!((at(ran.plus(DAY * 29)), at(ran.plus(DAY * 29 + MINUTE))), (1, 0));
}

#[test]
fn an_idle_schedule_is_checked_once_a_day() {
    let next = T0.plus(DAY * 20);
    let resting = plan(&tracked(), &answered(None, Some(next), &[]), &[], T0);
    assert_eq!((resting.next_poll_at, resting.resets_poll_count), (Some(T0.plus(DAY)), true));
    let completed = plan(&tracked(), &answered(None, None, &[]), &[], tracked().expires_at);
    assert_eq!((completed.next_poll_at, completed.alarm), (Some(tracked().ends_at()), None));
}

#[test]
fn p9_a_schedule_without_answers_raises_an_alarm() {
    let alarm = |polls| {
        let tracked = TrackedSchedule { polls, ..tracked() };
        plan(&tracked, &PollResult::Unanswered, &[], T0).alarm
    };
    assert_eq!((alarm(0), alarm(95), alarm(96)), (None, None, Some(ScheduleAlarm::Unanswered)));
}

#[test]
fn more_runs_than_one_transaction_takes_are_tracked_one_after_the_other() {
    let history: Vec<_> = (1..=50).map(|n| (format!("b-{n:02}"), T0.plus(HOUR * n))).collect();
    let history: Vec<_> = history.iter().map(|(name, at)| (name.as_str(), *at)).collect();
    let mut known = Vec::new();
    let mut rounds = Vec::new();
    loop {
        let now = T0.plus(HOUR * 51);
        let found = plan(&tracked(), &answered(Some(T0.plus(HOUR * 50)), None, &history), &known, now);
        rounds.push(found.new_runs.len());
        if found.next_poll_at != Some(now) {
            break;
        }
        known.extend(
            names(&found).iter().map(|name| (history.iter().find(|it| it.0 == *name).unwrap().0, own_run())),
        );
    }
    assert_eq!(rounds, [20, 20, 10]);
}

proptest! {
    #[test]
    fn p9_no_run_is_tracked_twice_and_no_schedule_is_forgotten(
        history in proptest::collection::vec((0u8..12, 0u64..400), 0..30),
        known in proptest::collection::btree_map(0u8..12, any::<bool>(), 0..12),
        last in proptest::option::of(0u64..400), next in proptest::option::of(0u64..800), now in 0u64..1_000,
    ) {
        let at = |hours: u64| T0.plus(HOUR * u32::try_from(hours).unwrap());
        let history: Vec<_> = history.into_iter().map(|(n, hours)| (format!("b-{n}"), at(hours))).collect();
        let history: Vec<_> = history.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        let known: Vec<_> = known.into_iter()
            .map(|(n, run)| (format!("b-{n}"), if run { own_run() } else { BatchOwner::OnDemand })).collect();
        let known: Vec<_> = known.iter().map(|(name, known)| (name.as_str(), known.clone())).collect();
        let now = at(now);
        let found = plan(&tracked(), &answered(last.map(at), next.map(at), &history), &known, now);
        let mut tracked_runs = names(&found);
        prop_assert!(tracked_runs.iter().all(|name| known.iter().all(|(known, _)| known != name)));
        prop_assert!(found.new_runs.is_sorted_by_key(|run| run.run_at));
        tracked_runs.sort_unstable();
        tracked_runs.dedup();
        prop_assert_eq!(tracked_runs.len(), found.new_runs.len());
        match found.next_poll_at {
            None => prop_assert!(now >= tracked().ends_at() && found.new_runs.is_empty()),
            Some(next) => prop_assert!(next >= now && next <= tracked().ends_at().max(now).plus(DAY)),
        }
    }
}
