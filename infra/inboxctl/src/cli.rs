//! Command-line arguments of `inboxctl`.

mod parse;
mod quarantine;
mod value_parsers;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use clap::{Args, Parser, Subcommand, ValueEnum};
use inbox_core::audit::Operator;
use inbox_core::delivery::Provider;
use inbox_core::id::Id;
use inbox_core::keys::KeyCodec;
use inbox_core::lifecycle::EventState;
use inbox_core::subject::Subject;

pub(crate) use parse::parse;
pub(crate) use quarantine::{
    DiscardQuarantinedArgs, ListQuarantineArgs, QuarantineCommand, ReplayQuarantinedArgs, ShowQuarantinedArgs,
};
pub(crate) use value_parsers::{EventRef, TimeArg};
use value_parsers::{
    parse_base_url, parse_by, parse_event_ref, parse_id, parse_provider, parse_state, parse_why,
};

const EXAMPLES: &str = "\
Examples against a deployed stack; its outputs name the resources:
  export INBOXCTL_STACK=balance-inbox INBOXCTL_BY=ada
  inboxctl doctor
  inboxctl timeline 5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83
  inboxctl quarantine list --reason unknown_type
  inboxctl quarantine replay --reason unknown_type --why 'known since 1.4'
  inboxctl dead-letters redrive --dry-run

Examples against `cargo run -p local`; its resource names are the defaults:
  export AWS_ENDPOINT_URL=http://127.0.0.1:9001
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  inboxctl --base-url http://127.0.0.1:9000 send fynapse --duplicate
  inboxctl due

Credentials, region, endpoint and AWS_CA_BUNDLE come from where the AWS CLI takes
them: an option overrides the environment, which overrides the profile. An empty
variable counts as unset.
Commands that change something, or send to another machine, ask first unless
--yes is given.
Exit code: 0 on success; 1 if something failed, was refused or has an unexpected
result; 2 for an invalid command line. Of doctor: 0 if no check fails, 1 if one
fails, 2 if none is known to fail but one could not be made.";

/// Inspect a Balance Inbox, find what is stuck, and replay or repair it.
#[derive(Parser)]
#[command(name = "inboxctl", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that select the inbox and the output format.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct GlobalArgs {
    /// Take every name below from this CloudFormation stack (needs cloudformation:DescribeStacks). As an option, it overrides the
    /// variables below; as INBOXCTL_STACK, they override it.
    #[arg(long, global = true, env = "INBOXCTL_STACK", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) stack: Option<String>,
    /// Inbox table.
    #[arg(long, global = true, env = "INBOX_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) table: Option<String>,
    /// Table in which the worker stores balances.
    #[arg(long, global = true, env = "BALANCES_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) balances_table: Option<String>,
    /// URL of the queue `events`.
    #[arg(long, global = true, env = "EVENTS_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) queue_url: Option<String>,
    /// URL of the dead-letter queue of `events`.
    #[arg(long, global = true, env = "DEAD_LETTER_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) dead_letter_queue_url: Option<String>,
    /// EventBridge bus that the worker publishes to.
    #[arg(long, global = true, env = "EVENT_BUS_NAME", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) bus: Option<String>,
    /// Name or ARN of the secret that Fynapse signs with.
    #[arg(long, global = true, env = "FYNAPSE_SIGNING_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) fynapse_secret: Option<String>,
    /// Name or ARN of the secret that signs Rightfoot's URLs.
    #[arg(long, global = true, env = "RIGHTFOOT_URL_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_url_key: Option<String>,
    /// Name or ARN of the secret with the key of Rightfoot's API.
    #[arg(long, global = true, env = "RIGHTFOOT_API_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_api_key: Option<String>,
    /// Base URL of the webhook routes, for example `https://abc.execute-api.eu-west-1.amazonaws.com`.
    #[arg(long, global = true, env = "WEBHOOK_BASE_URL", value_name = "URL", value_parser = parse_base_url)]
    pub(crate) base_url: Option<String>,
    /// Days that a finished record is kept [default: the stack's RetentionDays, or 30].
    #[arg(long, global = true, env = "RETENTION_DAYS", value_name = "DAYS")]
    pub(crate) retention_days: Option<u64>,
    /// AWS region [default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's].
    #[arg(long, global = true, value_name = "REGION", value_parser = NonEmpty::new())]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration; its credentials override exported keys [default: AWS_PROFILE, whose do not].
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) profile: Option<String>,
    /// Endpoint to use instead of AWS's own [default: AWS_ENDPOINT_URL, or the profile's].
    #[arg(long, global = true, value_name = "URL", value_parser = parse_base_url)]
    pub(crate) endpoint_url: Option<String>,
    /// Print JSON. Errors are JSON, too: {"error": "…"}, on stderr.
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Mint webhook URLs for Rightfoot.
    #[command(subcommand)]
    Url(UrlCommand),
    /// Send a test delivery as a provider would, and check the response.
    Send(SendArgs),
    /// Show the timeline of an event, batch, schedule or submission, and its status.
    Timeline(TimelineArgs),
    /// List, show and replay recorded events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Tracked batches.
    #[command(subcommand)]
    Batches(BatchesCommand),
    /// Submissions through rightfoot-requests; `timeline` shows their status.
    #[command(subcommand)]
    Submissions(SubmissionsCommand),
    /// Verified deliveries that could not be processed.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Messages in the dead-letter queue.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// List what is due for the relay, the poller and an operator, with its times.
    Due(DueArgs),
    /// Check for stuck items and wrong settings. Changes nothing.
    ///
    /// Exits with 0 if no check fails, with 1 if one fails (an open item in quarantine is a failure), and with 2 if none is known
    /// to fail but one could not be made.
    Doctor(DoctorArgs),
}

#[derive(Subcommand)]
pub(crate) enum UrlCommand {
    /// Mint the URL to give to Rightfoot for this subject. The URL is a credential.
    Mint(MintUrlArgs),
}

#[derive(Args)]
pub(crate) struct MintUrlArgs {
    /// Name that the URL is minted for: 1 to 64 characters of A-Z a-z 0-9 _ -. Do not use personal data.
    pub(crate) subject: Subject,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  inboxctl --stack balance-inbox send fynapse                      # signed now: 200 received
  inboxctl --stack balance-inbox send rightfoot --duplicate        # twice: 200 received, 200 duplicate
  inboxctl --stack balance-inbox send fynapse --spoil timestamp    # signed too long ago: 403, and quarantined
  inboxctl send rightfoot --url https://example.com/webhooks/rightfoot/demo.LBqw…")]
pub(crate) struct SendArgs {
    /// Provider to send as.
    #[arg(value_parser = parse_provider)]
    pub(crate) provider: Provider,
    /// Full URL to send to [default: the base URL and the provider's path].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Send the same delivery twice.
    #[arg(long)]
    pub(crate) duplicate: bool,
    /// Make the delivery invalid in this way.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) spoil: Option<SpoilKind>,
    /// Rightfoot: subject of the minted URL.
    #[arg(long, default_value = "inboxctl", value_name = "SUBJECT")]
    pub(crate) subject: Subject,
    /// Rightfoot: send a threshold alert instead of a completion.
    #[arg(long)]
    pub(crate) alert: bool,
    /// Batch id, or Fynapse's event id [default: a new one].
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Send the bytes of this file as the body.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "alert"])]
    pub(crate) body: Option<PathBuf>,
    /// Fynapse: encoding of the key in the secret (utf8, base64, hex) [default: the stack's FynapseKeyCodec, or utf8].
    #[arg(long, value_name = "CODEC")]
    pub(crate) key_codec: Option<KeyCodec>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Defect of a test delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpoilKind {
    /// Fynapse: signed with another key.
    Signature,
    /// Fynapse: signed four days ago.
    Timestamp,
    /// Fynapse: body changed after signing.
    Body,
    /// Fynapse: no signature.
    Unsigned,
    /// Rightfoot: token of an unknown key.
    Token,
    /// Valid signature or token, but not JSON.
    Json,
    /// Valid signature or token, but without the required fields.
    Fields,
    /// Rightfoot: valid token, but an unknown event type.
    Type,
    /// Valid signature or token, but an id that is too long.
    Id,
}

#[derive(Args)]
pub(crate) struct TimelineArgs {
    /// An event's id (`rightfoot/batch/…/completed`, `fynapse/event/…`), or the bare id of a batch, schedule,
    /// submission or Fynapse event.
    pub(crate) id: String,
}

#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// List events, in no order. Scans the table: to find stuck events, `due` is faster.
    List(ListEventsArgs),
    /// Show one event.
    Show(ShowEventArgs),
    /// Send done events again: their effects happen again and carry the number of the replay. With --lost: send events again
    /// whose message was lost.
    Replay(ReplayEventsArgs),
}

#[derive(Args)]
pub(crate) struct ListEventsArgs {
    /// Only events in this state; repeat for several.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub(crate) state: Vec<EventState>,
    /// Only events of this type, as the provider calls it: BALANCE_BATCH_COMPLETED, BALANCE_THRESHOLD_ALERT, balance.extracted, …
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Only events of this provider.
    #[arg(long, value_parser = parse_provider)]
    pub(crate) provider: Option<Provider>,
    /// Only events received at this time or later: RFC 3339, or an age such as 90m, 36h, 7d.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<TimeArg>,
    /// Only events received before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<TimeArg>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// Limits and paging of a list.
#[derive(Args)]
pub(crate) struct PageArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Token of the next page, as printed by the previous one.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page: Option<String>,
}

#[derive(Args)]
pub(crate) struct ShowEventArgs {
    /// The event's id, or the bare id of a Fynapse event or of a batch.
    #[arg(value_parser = parse_event_ref)]
    pub(crate) event: EventRef,
    /// Print the payload, which may hold personal data.
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Args)]
pub(crate) struct ReplayEventsArgs {
    /// The events' ids, or the bare ids of Fynapse events or of batches.
    #[arg(required = true, value_parser = parse_event_ref)]
    pub(crate) events: Vec<EventRef>,
    /// The messages of these events are lost: sent, never done. Refused for 14 days after sending, while the queues may still
    /// hold them. If a message arrives after all, its effect still happens only once.
    #[arg(long)]
    pub(crate) lost: bool,
    /// With --lost: the queue was purged; skip the 14 days.
    #[arg(long, requires = "lost")]
    pub(crate) purged: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// Name and reason for the audit trail.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by)]
    by: String,
    /// Reason, for the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = parse_why)]
    why: String,
}

impl AuditArgs {
    pub(crate) fn operator(&self) -> Operator {
        Operator { name: self.by.clone(), reason: self.why.clone() }
    }
}

/// Confirmation of a change.
#[derive(Args)]
pub(crate) struct ConfirmArgs {
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Subcommand)]
pub(crate) enum BatchesCommand {
    /// List batches that are or were tracked, in no order. Scans the table.
    List(ListBatchesArgs),
    /// Track a batch that was not submitted through rightfoot-requests.
    Track(TrackBatchArgs),
}

#[derive(Args)]
pub(crate) struct ListBatchesArgs {
    /// Only batches in this state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<BatchState>,
    /// Only runs of this schedule.
    #[arg(long, value_name = "ID")]
    pub(crate) schedule: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// State of a tracked batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatchState {
    /// Not settled yet; the poller still asks for it.
    Tracked,
    /// All results are known.
    Settled,
    /// Its deadline has passed.
    Overdue,
}

#[derive(Args)]
pub(crate) struct TrackBatchArgs {
    /// Batch id.
    #[arg(value_parser = parse_id)]
    pub(crate) batch: Id,
    /// Number of distinct authorizers that were submitted.
    #[arg(long, value_name = "N")]
    pub(crate) expected: u64,
    /// Authorizer that Rightfoot excluded at once; repeat for several.
    #[arg(long = "failed", value_name = "AUTHORIZER", value_parser = parse_id)]
    pub(crate) failed: Vec<Id>,
    /// Subject of the URL that it was submitted with; webhooks by another URL are quarantined.
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<Subject>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Subcommand)]
pub(crate) enum SubmissionsCommand {
    /// End a submission whose outcome is unknown and that created nothing. If it created a batch or schedule, call
    /// rightfoot-requests with track_batch or track_schedule and its submission_id instead.
    Conclude(ConcludeSubmissionArgs),
}

#[derive(Args)]
pub(crate) struct ConcludeSubmissionArgs {
    /// Submission id.
    pub(crate) submission: Subject,
    /// You made sure at Rightfoot that it created nothing; its name becomes free.
    #[arg(long, required = true)]
    pub(crate) none: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters that SQS returns, newest first. Hides them from other consumers for a few seconds.
    List(ListDeadLettersArgs),
    /// Move dead letters back to the queue, ten by default (--limit).
    Redrive(RedriveArgs),
}

#[derive(Args)]
pub(crate) struct ListDeadLettersArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
}

#[derive(Args)]
#[command(override_usage = "\
inboxctl dead-letters redrive [OPTIONS] --by <NAME> --why <TEXT>
       inboxctl dead-letters redrive [OPTIONS] --dry-run")]
pub(crate) struct RedriveArgs {
    /// Maximum number of items.
    #[arg(long, default_value = "10", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Only show which messages would be moved.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Your name, for the audit trail.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by, required_unless_present = "dry_run")]
    pub(crate) by: Option<String>,
    /// Reason, for the audit trail.
    #[arg(long, value_name = "TEXT", value_parser = parse_why, required_unless_present = "dry_run")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Args)]
pub(crate) struct DueArgs {
    /// Maximum number of items of each kind.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Skip the checks of event-worker, its balances table and its bus: you read the queue yourself.
    #[arg(long)]
    pub(crate) no_worker: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
