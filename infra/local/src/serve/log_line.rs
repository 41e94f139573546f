//! Log lines for people, coloured by outcome.
//!
//! They are made of the fields that the functions log ([`inbox_aws::telemetry`]), so they show nothing that a log may not
//! show (P8).

use std::fmt;
use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use chrono::Local;
use inbox_aws::escape;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};

/// Width of the first column: the longest source, `rightfoot`.
const SOURCE_WIDTH: usize = 9;
/// Width of the second column: the usual outcomes.
const OUTCOME_WIDTH: usize = 13;
/// Longest id that is shown whole. UUIDs and hashes are longer.
const ID_MAX_CHARS: usize = 24;
/// Length of a shortened id.
const SHORT_ID_CHARS: usize = 8;

/// Counts of a run of the relay, the poller or the auditor that are results, in the order in which they are shown.
const RUN_RESULTS: [(&str, Tone); 11] = [
    ("sent", Tone::Good),
    ("recorded", Tone::Good),
    ("recovered", Tone::Good),
    ("reopened", Tone::Good),
    ("runs_found", Tone::Good),
    ("settled", Tone::Good),
    ("quarantined", Tone::Attention),
    ("overdue", Tone::Attention),
    ("missed", Tone::Attention),
    ("lost", Tone::Bad),
    ("failed", Tone::Bad),
];
/// Counts of such a run that are no results.
const RUN_PROGRESS: [&str; 4] = ["due", "polled", "remaining", "oldest_due_age_secs"];

/// Writes each event as one line to `writer`.
#[derive(Debug)]
pub(super) struct TextLines<W> {
    writer: W,
    is_verbose: bool,
}

impl<W> TextLines<W> {
    pub(super) fn new(writer: W, is_verbose: bool) -> Self {
        Self { writer, is_verbose }
    }
}

impl<S, W> Layer<S> for TextLines<W>
where
    S: Subscriber,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        let Some(line) = LogLine::new(target, level, fields, self.is_verbose) else { return };
        let (dim, time) = (Style::new().dimmed(), Local::now().format("%H:%M:%S"));
        let line = format!("{dim}{time}{dim:#}  {line}\n");
        // In one write, so that lines of several tasks do not mix. There is nowhere to report a failed one.
        let _ = self.writer.make_writer().write_all(line.as_bytes());
    }
}

/// Fields of an event, escaped.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, String)>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), escape::line(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), escape::line(&format!("{value:?}"))));
    }
}

impl Fields {
    /// Removes a field; `None` if it is absent or empty.
    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|field| field.0 == name)?;
        Some(self.0.remove(index).1).filter(|value| !value.is_empty())
    }

    fn take_count(&mut self, name: &str) -> u64 {
        self.take(name).and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

/// Meaning of an outcome, shown by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tone {
    Neutral,
    Good,
    Attention,
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = match self {
            Self::Neutral => return Style::new(),
            Self::Good => AnsiColor::Green,
            Self::Attention => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
        };
        Style::new().fg_color(Some(colour.into()))
    }

    fn of_outcome(outcome: &str) -> Self {
        match outcome {
            "recorded" | "done" | "published" | "delivered" => Self::Good,
            "duplicate" | "acknowledged" => Self::Neutral,
            "rejected" | "quarantined" | "stale_but_authentic" | "requeued" | "retry" => Self::Attention,
            _ => Self::Bad,
        }
    }

    fn of_level(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Bad,
            Level::WARN => Self::Attention,
            _ => Self::Neutral,
        }
    }
}

/// A line, without its time.
#[derive(Debug, PartialEq, Eq)]
struct LogLine {
    source: String,
    outcome: String,
    tone: Tone,
    details: Vec<String>,
}

impl LogLine {
    /// `None` for a run that did nothing, unless `is_verbose`.
    fn new(target: &str, level: Level, mut fields: Fields, is_verbose: bool) -> Option<Self> {
        let is_run = ["relay", "poller", "auditor"].contains(&target)
            && fields.0.iter().any(|field| ["due", "pages"].contains(&field.0));
        let error = fields.take("error").or_else(|| fields.take("why"));
        let mut line = match target {
            "delivery" => Self::of_delivery(&mut fields, is_verbose),
            "forward" => Self::of_forwarded(&mut fields, is_verbose),
            _ if is_run => Self::of_run(target, &mut fields, is_verbose),
            _ => Self::of_outcome(target, level, &mut fields, is_verbose),
        };
        match error {
            None if is_run && line.tone == Tone::Neutral && !is_verbose => return None,
            None => {}
            Some(_) if is_run => line.tone = Tone::Bad,
            // An event that is recorded and not enqueued is no failure: the relay enqueues it.
            Some(_) => line.tone = line.tone.max(Tone::Attention),
        }
        line.details.extend(error);
        Some(line)
    }

    /// Line of a webhook delivery.
    fn of_delivery(fields: &mut Fields, is_verbose: bool) -> Self {
        let outcome = fields.take("outcome").unwrap_or_default();
        // The word in the reply, where it has one.
        let word = match outcome.as_str() {
            "recorded" => "received",
            "stale_but_authentic" => "stale",
            other => other,
        };
        let status = fields.take("status").unwrap_or_default();
        let mut details: Vec<_> = fields.take("reason").into_iter().collect();
        let event_type = fields.take("event_type").filter(|_| is_verbose);
        details.extend(event_type);
        details.extend(fields.take("event_id").map(|id| event_id_text(&id, is_verbose)));
        details.extend(fields.take("bytes").map(|bytes| format!("{bytes} B")));
        details.extend(fields.take("duration_ms").map(|ms| format!("{ms} ms")));
        let request_id = fields.take("request_id").filter(|_| is_verbose);
        details.extend(request_id.map(|id| format!("request {id}")));
        Self {
            source: fields.take("provider").unwrap_or_default(),
            outcome: format!("{status} {word}"),
            tone: Tone::of_outcome(&outcome),
            details,
        }
    }

    /// Line of an answer to a forwarded event.
    fn of_forwarded(fields: &mut Fields, is_verbose: bool) -> Self {
        let outcome = fields.take("outcome").unwrap_or_default();
        let retry_in_secs = Duration::from_millis(fields.take_count("retry_in_ms")).as_secs_f64();
        let answer = match (fields.take("status"), fields.take("no_answer")) {
            (Some(status), _) => status,
            (None, why) => format!("{},", why.unwrap_or_default()),
        };
        let what_follows = match outcome.as_str() {
            "retry" => format!("retry in {retry_in_secs:.1} s"),
            other => other.replace('_', " "),
        };
        let mut details: Vec<_> = fields.take("reason").into_iter().collect();
        details.extend(fields.take("detail_type"));
        let event_id = fields.take("event_id").unwrap_or_default();
        details.push(if is_verbose { event_id } else { subject_of_event(&event_id) });
        let (attempt, took_ms) = (fields.take_count("attempt"), fields.take_count("took_ms"));
        let is_retry = outcome == "retry";
        details.extend((is_verbose || !is_retry && attempt > 1).then(|| format!("attempt {attempt}")));
        details.extend((is_verbose || !is_retry).then(|| format!("{took_ms} ms")));
        let tone = Tone::of_outcome(&outcome);
        Self { source: "forward".to_owned(), outcome: format!("{answer} {what_follows}"), tone, details }
    }

    /// Line of a run of the relay or the poller. Neutral if it has no result.
    fn of_run(target: &str, fields: &mut Fields, is_verbose: bool) -> Self {
        let mut counts = Vec::new();
        let mut tone = Tone::Neutral;
        for (name, its_tone) in RUN_RESULTS {
            let count = fields.take_count(name);
            if count > 0 {
                counts.push(format!("{count} {}", name.replace('_', " ")));
                tone = tone.max(its_tone);
            }
        }
        let outcome = if counts.is_empty() { "nothing done".to_owned() } else { counts.join(", ") };
        let progress = RUN_PROGRESS.map(|name| (name, fields.take_count(name)));
        let progress = progress.into_iter().filter(|(_, count)| is_verbose && *count > 0);
        let details = progress.map(|(name, count)| format!("{name}={count}")).collect();
        Self { source: target.to_owned(), outcome, tone, details }
    }

    /// Line with an outcome or a message, and whatever else it has.
    fn of_outcome(target: &str, level: Level, fields: &mut Fields, is_verbose: bool) -> Self {
        let message = fields.take("message");
        let (outcome, tone) = match fields.take("outcome") {
            Some(outcome) => {
                let tone = Tone::of_outcome(&outcome).max(Tone::of_level(level));
                (outcome, tone)
            }
            None => (message.clone().unwrap_or_default(), Tone::of_level(level)),
        };
        let mut details: Vec<_> = message.into_iter().filter(|message| *message != outcome).collect();
        let reason = fields.take("reason");
        let detail_type = fields.take("detail_type");
        let has_type = detail_type.is_some();
        details.extend([reason, detail_type].into_iter().flatten());
        for name in ["action", "subject", "detail"] {
            details.extend(fields.take(name));
        }
        let event_id = fields.take("event_id");
        details.extend(event_id.map(|id| match (is_verbose, has_type) {
            (false, true) => subject_of_event(&id),
            _ => event_id_text(&id, is_verbose),
        }));
        for name in ["batch", "schedule", "submission"] {
            let id = fields.take(&format!("{name}_id"));
            details.extend(id.map(|id| format!("{name} {}", id_text(&id, is_verbose))));
        }
        let took = fields.take("took_ms").map(|ms| format!("{ms} ms"));
        let requeues = fields.take_count("requeues");
        details.extend((requeues > 0).then(|| format!("attempt {}", requeues + 1)));
        details.extend(fields.0.drain(..).map(|(name, value)| format!("{}={value}", name.replace('_', " "))));
        details.extend(took);
        Self { source: target.to_owned(), outcome, tone, details }
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = self.tone.style();
        write!(f, "{:SOURCE_WIDTH$}  {style}{}{style:#}", self.source, self.outcome)?;
        if !self.details.is_empty() {
            let padding = OUTCOME_WIDTH.saturating_sub(self.outcome.chars().count()) + 2;
            write!(f, "{:padding$}{}", "", self.details.join("  "))?;
        }
        Ok(())
    }
}

/// An id of an event: its last part, or batch and last part; shortened unless `is_whole`.
fn event_id_text(event_id: &str, is_whole: bool) -> String {
    if is_whole {
        return event_id.to_owned();
    }
    let parts: Vec<_> = event_id.split('/').collect();
    let shown = match parts.as_slice() {
        [_, "event" | "batch", rest @ ..] => rest,
        all => all,
    };
    shown.iter().map(|part| id_text(part, false)).collect::<Vec<_>>().join("/")
}

/// Short id of what an event is about: its batch, or itself.
fn subject_of_event(event_id: &str) -> String {
    id_text(event_id.split('/').nth(2).unwrap_or(event_id), false)
}

fn id_text(id: &str, is_whole: bool) -> String {
    if is_whole || id.chars().count() <= ID_MAX_CHARS {
        return id.to_owned();
    }
    let short: String = id.chars().take(SHORT_ID_CHARS).collect();
    format!("{short}…")
}

#[cfg(test)]
mod tests;
