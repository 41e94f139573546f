//! What the demo prints.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use inbox_core::delivery::Provider;

use super::cast::Expected;
use super::check::{Evidence, POLL, Problem, WEBHOOK, completion_id, problems};
use super::rightfoot::{ALERT, COMPLETED};
use super::submissions::Heard;
use crate::inspect::PublishedDetail;
use crate::senders::{Answer, Attempt};
use crate::connector::CallOutcome;

/// What the demo came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One row for each provider: what its senders delivered.
    pub rows: Vec<Row>,
    /// What came of what was submitted to Rightfoot: a row for the completions, and one for the alerts.
    pub told: Vec<Told>,
    /// What events brought about, kind by kind.
    pub effects: Vec<Effects>,
    /// Runs of schedules; as many batches more were submitted one by one.
    pub runs: usize,
    /// Webhooks of completions that came after the poller had found the same.
    pub late: usize,
    /// What was submitted, each under a name of its own.
    pub submissions: usize,
    /// How often a function was called to submit it.
    pub calls: usize,
    /// How often that function died.
    pub deaths: usize,
    /// Events whose message went to two workers at once.
    pub twice: usize,
    /// How often a worker died.
    pub worker_deaths: usize,
    /// How often a worker put an event back.
    pub put_back: usize,
    /// Events that tell what Rightfoot does not show.
    pub unconfirmed: usize,
    /// Deliveries that were answered 5xx or not at all, and came again.
    pub undecided: usize,
    /// AWS calls that failed or died on the way.
    pub failed_calls: usize,
    /// How many different things were forged.
    pub forgeries: usize,
    /// What is wrong; nothing, if every promise was kept.
    pub problems: Vec<Problem>,
    /// How long it took.
    pub took: Duration,
}

/// What was seen of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub provider: &'static str,
    /// HTTP requests that its senders made.
    pub sent: usize,
    /// Answers that said so.
    pub received: usize,
    /// Answers that said so.
    pub duplicate: usize,
    /// Answers that said so, or 400: proven, not usable, and kept.
    pub kept: usize,
    /// Answers 403.
    pub refused: usize,
    /// Answers 5xx, and requests without any.
    pub undecided: usize,
    /// Event records in the table.
    pub recorded: usize,
    /// Quarantined deliveries in the table.
    pub quarantined: usize,
    /// Different events received from the queue.
    pub on_the_queue: usize,
    /// Different events that the relay sent.
    pub relayed: usize,
    /// Messages received beyond the first of their event.
    pub repeated: usize,
}

/// What was seen of one kind of event about what was submitted to Rightfoot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The kind.
    pub what: &'static str,
    /// How many had to be told: batches and runs, or authorizers that met their threshold in a run.
    pub owed: usize,
    /// How many of them events tell that came by webhook.
    pub by_webhook: usize,
    /// How many of them events tell that the poller found.
    pub by_poll: usize,
    /// Different events received from the queue.
    pub events: usize,
    /// Messages received beyond the first of their event.
    pub repeated: usize,
    /// Webhooks that Rightfoot had to send.
    pub webhooks: usize,
    /// Webhooks that got lost.
    pub lost: usize,
}

/// What was seen of one kind of effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// The kind.
    pub what: &'static str,
    /// How many there had to be.
    pub owed: usize,
    /// How many different ones are there.
    pub there: usize,
    /// How many are there beyond the first of each.
    pub repeated: usize,
}

const ANSWERS: &str =
    "Delivered by the simulated senders: requests, and their answers, which add up to them.";
const ANSWER_HEADINGS: [&str; 6] =
    ["sent", "received", "duplicate", "quarantined", "refused", "5xx or nothing"];
const BECAME: &str =
    "What became of these: events and quarantined deliveries in the inbox, each once, and messages.";
const BECAME_HEADINGS: [&str; 5] = ["recorded", "quarantined", "on the queue", "relayed", "repeated"];
const TOLD: &str = "Submitted to Rightfoot: what was owed, and what told it. One event tells all alerts of a webhook or poll.";
const EFFECTS: &str =
    "Effects of everything, delivered and submitted: events on the bus, and balances in their table.";
/// The name of the effects that are no events on the bus.
const STORED: &str = "balances";
const EFFECT_HEADINGS: [&str; 3] = ["owed", "there", "repeated"];
const TOLD_HEADINGS: [&str; 7] = ["owed", "by webhook", "by poll", "events", "repeated", "webhooks", "lost"];

impl Report {
    pub(super) fn of(seen: &Evidence, took: Duration) -> Self {
        let failed = |fate: &CallOutcome| matches!(fate, CallOutcome::Faulted(_) | CallOutcome::Delayed | CallOutcome::AppliedLate(_));
        let undecided = |attempt: &&Attempt| !attempt.answer.is_decision();
        let is_forged = |part: &super::cast::Part| part.expected == Expected::Refused;
        let heard = || seen.submitted.iter().flat_map(|submitted| &submitted.heard);
        let runs = seen.truth.batches.iter().filter(|batch| batch.schedule_id.is_some());
        let late = seen.truth.webhooks_of(COMPLETED).filter(|webhook| {
            webhook.delivered && seen.origin_of(&completion_id(&webhook.batch_id)) == Some(POLL)
        });
        Self {
            rows: Provider::ALL.into_iter().map(|provider| Row::of(provider, seen)).collect(),
            told: vec![Told::completions(seen), Told::alerts(seen)],
            effects: Effects::all(seen),
            runs: runs.count(),
            late: late.count(),
            submissions: seen.submitted.len(),
            calls: heard().count(),
            deaths: heard().filter(|heard| **heard == Heard::Death).count(),
            twice: seen.worked.twice.len(),
            worker_deaths: seen.worked.deaths,
            put_back: seen.table.records.values().map(|record| record.requeues).sum(),
            unconfirmed: seen.table.records.values().filter(|record| record.is_quarantined).count(),
            undecided: all_attempts(seen, None).filter(undecided).count(),
            failed_calls: seen.log.iter().chain(&seen.worked_log).filter(|(_, fate)| failed(fate)).count(),
            forgeries: seen.played.iter().filter(|played| is_forged(&played.part)).count(),
            problems: problems(seen),
            took,
        }
    }

    /// Whether every promise was kept.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }

    fn sum(&self, of: impl Fn(&Row) -> usize, of_told: impl Fn(&Told) -> usize) -> usize {
        self.rows.iter().map(of).sum::<usize>() + self.told.iter().map(of_told).sum::<usize>()
    }
}

impl Row {
    fn of(provider: Provider, seen: &Evidence) -> Self {
        let name = provider.as_str();
        let is_ours = |id: &str| id.split('/').next() == Some(name) && !seen.is_about_submitted(id);
        let answers = |is_counted: &dyn Fn(&Answer) -> bool| {
            all_attempts(seen, Some(provider)).filter(|attempt| is_counted(&attempt.answer)).count()
        };
        let copies: Vec<usize> =
            seen.copies().into_iter().filter(|(id, _)| is_ours(id)).map(|(_, copies)| copies).collect();
        let relayed: BTreeSet<&String> = seen
            .log
            .iter()
            .filter(|(call, fate)| call.operation == "SendMessageBatch" && may_have_been_applied(fate))
            .flat_map(|(call, _)| &call.event_ids)
            // The log knows runs, too, that began too late to be looked at.
            .filter(|id| is_ours(id) && seen.table.records.contains_key(*id))
            .collect();
        Self {
            provider: name,
            sent: all_attempts(seen, Some(provider)).count(),
            received: answers(&|answer| says(answer, "received")),
            duplicate: answers(&|answer| says(answer, "duplicate")),
            kept: answers(&|answer| says(answer, "quarantined") || answer.status() == Some(400)),
            refused: answers(&|answer| answer.status() == Some(403)),
            undecided: answers(&|answer| !answer.is_decision()),
            recorded: seen.table.records.keys().filter(|id| is_ours(id)).count(),
            quarantined: seen.table.quarantined.iter().filter(|kept| kept.provider == name).count(),
            on_the_queue: copies.len(),
            relayed: relayed.len(),
            repeated: copies.iter().map(|copies| copies - 1).sum(),
        }
    }

    fn answers(&self) -> [usize; 6] {
        [self.sent, self.received, self.duplicate, self.kept, self.refused, self.undecided]
    }

    fn became(&self) -> [usize; 5] {
        [self.recorded, self.quarantined, self.on_the_queue, self.relayed, self.repeated]
    }
}

impl Told {
    fn completions(seen: &Evidence) -> Self {
        let ids: Vec<_> = seen.truth.batches.iter().map(|batch| completion_id(&batch.batch_id)).collect();
        let by = |origin| ids.iter().filter(|id| seen.origin_of(id) == Some(origin)).count();
        let (by_webhook, by_poll) = (by(WEBHOOK), by(POLL));
        Self {
            owed: ids.len(),
            by_webhook,
            by_poll,
            ..Self::of("completions", COMPLETED, "/completed", seen)
        }
    }

    fn alerts(seen: &Evidence) -> Self {
        let told = seen.alerts_told();
        let by = |origin| told.iter().filter(|alert| alert.origin == origin).count();
        let (owed, by_webhook, by_poll) = (seen.truth.due_alerts.len(), by(WEBHOOK), by(POLL));
        Self { owed, by_webhook, by_poll, ..Self::of("alerts", ALERT, "/alert/", seen) }
    }

    /// Everything but what was owed and how it came. The ids of its events contain `mark`.
    fn of(what: &'static str, event_type: &str, mark: &str, seen: &Evidence) -> Self {
        let copies = seen.copies();
        let copies: Vec<_> =
            copies.iter().filter(|(id, _)| id.contains(mark) && seen.is_about_submitted(id)).collect();
        Self {
            what,
            owed: 0,
            by_webhook: 0,
            by_poll: 0,
            events: copies.len(),
            repeated: copies.iter().map(|(_, copies)| **copies - 1).sum(),
            webhooks: seen.truth.webhooks_of(event_type).count(),
            lost: seen.truth.webhooks_of(event_type).filter(|webhook| webhook.lost).count(),
        }
    }

    fn cells(&self) -> [usize; 7] {
        [self.owed, self.by_webhook, self.by_poll, self.events, self.repeated, self.webhooks, self.lost]
    }
}

impl Effects {
    fn all(seen: &Evidence) -> Vec<Self> {
        let owed = seen.owed();
        let on_the_bus = |what, owed, is_one: fn(&PublishedDetail) -> bool| {
            let ids = seen.announced.iter().filter(|announced| is_one(&announced.detail)).map(|it| &it.id);
            let there = ids.clone().collect::<BTreeSet<_>>().len();
            Self { what, owed, there, repeated: ids.count() - there }
        };
        let rows: BTreeSet<_> = seen.stored.iter().map(|it| (&it.batch_id, &it.authorizer)).collect();
        vec![
            on_the_bus("completed", owed.completed.len(), |it| matches!(it, PublishedDetail::BatchCompleted { .. })),
            on_the_bus("threshold", owed.met.len(), |it| matches!(it, PublishedDetail::ThresholdMet { .. })),
            on_the_bus("extracted", owed.extracted.len(), |it| matches!(it, PublishedDetail::BalanceExtracted { .. })),
            Self {
                what: STORED,
                owed: owed.completed.values().map(|batch| batch.rows.len()).sum(),
                there: rows.len(),
                repeated: seen.stored.len() - rows.len(),
            },
        ]
    }

    fn cells(&self) -> [usize; 3] {
        [self.owed, self.there, self.repeated]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = || self.rows.iter();
        write_table(f, ANSWERS, ANSWER_HEADINGS, rows().map(|row| (row.provider, row.answers())))?;
        write_table(f, BECAME, BECAME_HEADINGS, rows().map(|row| (row.provider, row.became())))?;
        write_table(f, TOLD, TOLD_HEADINGS, self.told.iter().map(|told| (told.what, told.cells())))?;
        let effects = self.effects.iter().map(|effects| (effects.what, effects.cells()));
        write_table(f, EFFECTS, EFFECT_HEADINGS, effects)?;
        writeln!(
            f,
            "{} AWS calls failed or died on the way; {} deliveries heard 5xx or nothing, and came again.",
            self.failed_calls, self.undecided
        )?;
        writeln!(
            f,
            "{} submissions took {} calls, of which {} died; webhooks that came after the poller: {}.",
            self.submissions, self.calls, self.deaths, self.late
        )?;
        writeln!(
            f,
            "{} events went to two workers at once; workers died {} times and put events back {} times; {} events tell of alerts \
             that Rightfoot does not show.",
            self.twice, self.worker_deaths, self.put_back, self.unconfirmed
        )?;
        self.verdict(f)
    }
}

fn write_table<'a, const N: usize>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    headings: [&str; N],
    rows: impl Iterator<Item = (&'a str, [usize; N])>,
) -> fmt::Result {
    let widths = headings.map(|heading| heading.len().max(6) + 2);
    writeln!(f, "{title}")?;
    write!(f, "{:11}", "")?;
    for (heading, width) in headings.iter().zip(widths) {
        write!(f, "{heading:>width$}")?;
    }
    writeln!(f)?;
    for (name, cells) in rows {
        write!(f, "{name:11}")?;
        for (cell, width) in cells.iter().zip(widths) {
            write!(f, "{cell:>width$}")?;
        }
        writeln!(f)?;
    }
    writeln!(f)
}

impl Report {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.holds() {
            writeln!(f, "NOT PROVED, after {:.0} s. What is wrong:", self.took.as_secs_f64())?;
            return self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"));
        }
        let owed = |what| self.told.iter().find(|told| told.what == what).map_or(0, |told| told.owed);
        let (completions, alerts) = (owed("completions"), owed("alerts"));
        let of_effects = |are_stored: bool, of: fn(&Effects) -> usize| {
            let some = self.effects.iter().filter(|effects| (effects.what == STORED) == are_stored);
            some.map(of).sum::<usize>()
        };
        writeln!(
            f,
            "Proved in {:.0} s: all {} authentic events are on the queue, byte for byte; {} messages came again, \
             each where an outcome was unknown or a worker had put its event back; {} batches and {} runs of a schedule ended in one completion each, and {} due \
             alerts in one alert each, although {} of {} webhooks got lost; {} events are on the bus and {} balances in their \
             table, each once, but for {} that came again under the same id where an outcome was unknown; {} forgeries left \
             nothing, and no alert that was made up is on the bus; {} unusable deliveries are kept; no delivery was killed.",
            self.took.as_secs_f64(),
            self.sum(|row| row.on_the_queue, |told| told.events),
            self.sum(|row| row.repeated, |told| told.repeated),
            completions.saturating_sub(self.runs),
            self.runs,
            alerts,
            self.told.iter().map(|told| told.lost).sum::<usize>(),
            self.told.iter().map(|told| told.webhooks).sum::<usize>(),
            of_effects(false, |effects| effects.there),
            of_effects(true, |effects| effects.there),
            of_effects(false, |effects| effects.repeated),
            self.forgeries,
            self.sum(|row| row.quarantined, |_| 0).saturating_sub(self.unconfirmed),
        )
    }
}

/// The requests that a provider's senders made, or those of all.
fn all_attempts(seen: &Evidence, of: Option<Provider>) -> impl Iterator<Item = &Attempt> {
    seen.played
        .iter()
        .filter(move |played| of.is_none_or(|provider| played.part.provider() == provider))
        .flat_map(|played| &played.deliveries)
        .flat_map(|delivered| &delivered.attempts)
}

fn says(answer: &Answer, what: &str) -> bool {
    matches!(answer, Answer::Heard { status: 200, body, .. } if *body == format!(r#"{{"status":"{what}"}}"#))
}

fn may_have_been_applied(fate: &CallOutcome) -> bool {
    use crate::connector::Fault::{CrashAfter, MalformedResponse, TimeoutAfter};
    matches!(
        fate,
        CallOutcome::Pending
            | CallOutcome::Answered(200)
            | CallOutcome::Delayed
            | CallOutcome::AppliedLate(200)
            | CallOutcome::Faulted(CrashAfter | MalformedResponse | TimeoutAfter)
    )
}
