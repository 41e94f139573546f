//! The command line.

mod parse;
mod quarantine;
mod value_parsers;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser as NonEmpty;
use clap::{Args, Parser, Subcommand, ValueEnum};
use inbox_core::audit::Operator;
use inbox_core::delivery::{Provider, Subject};
use inbox_core::event::Id;
use inbox_core::keys::KeyCodec;
use inbox_core::lifecycle::EventState;

pub(crate) use parse::parse;
pub(crate) use quarantine::{
    DiscardQuarantinedArgs, ListQuarantineArgs, QuarantineCommand, ReplayQuarantinedArgs, ShowQuarantinedArgs,
};
pub(crate) use value_parsers::{EventRef, TimeArg};
use value_parsers::{
    parse_base_url, parse_by, parse_event_ref, parse_id, parse_provider, parse_state, parse_why,
};

const EXAMPLES: &str = "\
Examples, against a stack, by the outputs that it names:
  export INBOXCTL_STACK=balance-inbox INBOXCTL_BY=ada
  inboxctl doctor
  inboxctl trace 5d3c6bbb-fc1a-46a4-93da-1ce4a54b0d83
  inboxctl quarantine list --reason unknown_type
  inboxctl quarantine replay --reason unknown_type --why 'known since 1.4'
  inboxctl dead redrive --dry-run

Against `cargo run -p local`, whose names are the defaults:
  export AWS_ENDPOINT_URL=http://127.0.0.1:9001
  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
  inboxctl --base-url http://127.0.0.1:9000 send fynapse --duplicate
  inboxctl due

Credentials, region, endpoint and AWS_CA_BUNDLE are looked for where the AWS CLI
looks for them: an option beats the environment, which beats the profile. An
empty variable is an unset one.
What changes something, or sends to anything but this machine, asks first, or
takes --yes.
Exit code: 0; 1 if something failed, was refused, or is not as it should be;
2 for a wrong command line. Of doctor: 0 if nothing is failing, 1 if something
is, 2 if nothing is known to fail and something could not be looked at.";

/// See what a Balance Inbox holds and where it is stuck, mend it, and replay.
#[derive(Parser)]
#[command(name = "inboxctl", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which inbox, and how to print.
#[derive(Args)]
#[command(next_help_heading = "Which inbox")]
pub(crate) struct GlobalArgs {
    /// Take every name below from this CloudFormation stack (needs cloudformation:DescribeStacks). Given here, it beats the
    /// variables below; given in INBOXCTL_STACK, they beat it.
    #[arg(long, global = true, env = "INBOXCTL_STACK", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) stack: Option<String>,
    /// Table of the inbox.
    #[arg(long, global = true, env = "INBOX_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) table: Option<String>,
    /// Table of the balances that the worker stores.
    #[arg(long, global = true, env = "BALANCES_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) balances_table: Option<String>,
    /// Queue `events`.
    #[arg(long, global = true, env = "EVENTS_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) queue_url: Option<String>,
    /// Dead-letter queue of `events`.
    #[arg(long, global = true, env = "DEAD_LETTER_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) dead_queue_url: Option<String>,
    /// EventBridge bus that the worker publishes to.
    #[arg(long, global = true, env = "EVENT_BUS_NAME", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) bus: Option<String>,
    /// Secret that Fynapse signs with: its name or ARN.
    #[arg(long, global = true, env = "FYNAPSE_SIGNING_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) fynapse_secret: Option<String>,
    /// Secret that signs Rightfoot's URLs: its name or ARN.
    #[arg(long, global = true, env = "RIGHTFOOT_URL_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_url_key: Option<String>,
    /// Secret with the key of Rightfoot's API: its name or ARN.
    #[arg(long, global = true, env = "RIGHTFOOT_API_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_api_key: Option<String>,
    /// Where the webhook routes answer, for example `https://abc.execute-api.eu-west-1.amazonaws.com`.
    #[arg(long, global = true, env = "WEBHOOK_BASE_URL", value_name = "URL", value_parser = parse_base_url)]
    pub(crate) base_url: Option<String>,
    /// How long a finished record is kept [default: the stack's RetentionDays, or 30].
    #[arg(long, global = true, env = "RETENTION_DAYS", value_name = "DAYS")]
    pub(crate) retention_days: Option<u64>,
    /// AWS region [default: AWS_REGION, AWS_DEFAULT_REGION, or the profile's].
    #[arg(long, global = true, value_name = "REGION", value_parser = NonEmpty::new())]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration: its credentials beat exported keys [default: AWS_PROFILE, whose do not].
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) profile: Option<String>,
    /// Where AWS is asked, if not at AWS [default: AWS_ENDPOINT_URL, or the profile's].
    #[arg(long, global = true, value_name = "URL", value_parser = parse_base_url)]
    pub(crate) endpoint_url: Option<String>,
    /// Print JSON, for machines. An error is JSON, too: {"error": "…"}, on stderr.
    #[arg(long, global = true, help_heading = "How to print")]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Webhook URLs for Rightfoot.
    #[command(subcommand)]
    Url(UrlCommand),
    /// Send a test delivery as a provider would, and say whether what came back is what should come.
    Send(SendArgs),
    /// Tell the whole story of an event, batch, schedule or submission: with times, and where it stands.
    Trace(TimelineArgs),
    /// Recorded events.
    #[command(subcommand)]
    Events(EventsCommand),
    /// Watched batches.
    #[command(subcommand)]
    Batches(BatchesCommand),
    /// What was submitted through rightfoot-requests: `trace` shows how it stands.
    #[command(subcommand)]
    Submissions(SubmissionsCommand),
    /// What was proven and could not be used.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Messages that were received too often and never done.
    #[command(subcommand)]
    Dead(DeadLettersCommand),
    /// What waits for whom, and since when: for the relay, the poller, an operator.
    Due(DueArgs),
    /// Look whether anything is stuck or not set up as the promises need. Changes nothing.
    ///
    /// Exits with 0 if nothing is failing, with 1 if something is (what is in quarantine, too), and with 2 if nothing is known to
    /// fail and something could not be looked at.
    Doctor(DoctorArgs),
}

#[derive(Subcommand)]
pub(crate) enum UrlCommand {
    /// Mint the URL to give to Rightfoot for this subject. It is a credential.
    Mint(MintUrlArgs),
}

#[derive(Args)]
pub(crate) struct MintUrlArgs {
    /// Whom it is for: a name of 1 to 64 characters of A-Z a-z 0-9 _ -, never a personal datum.
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
    /// Who sends.
    #[arg(value_parser = parse_provider)]
    pub(crate) provider: Provider,
    /// The whole URL to send to [default: the base URL and the provider's path].
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Send the same delivery twice.
    #[arg(long)]
    pub(crate) duplicate: bool,
    /// Spoil it in this way.
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) spoil: Option<SpoilKind>,
    /// Rightfoot: whom the URL is minted for.
    #[arg(long, default_value = "inboxctl", value_name = "SUBJECT")]
    pub(crate) subject: Subject,
    /// Rightfoot: tell a threshold alert instead of a completion.
    #[arg(long)]
    pub(crate) alert: bool,
    /// The batch, or Fynapse's event id [default: a new one].
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Send the bytes of this file instead.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "alert"])]
    pub(crate) body: Option<PathBuf>,
    /// Fynapse: how the key's bytes are made of the secret (utf8, base64, hex) [default: the stack's FynapseKeyCodec, or utf8].
    #[arg(long, value_name = "CODEC")]
    pub(crate) key_codec: Option<KeyCodec>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// What is wrong with a test delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SpoilKind {
    /// Fynapse: signed with another key.
    Signature,
    /// Fynapse: signed four days ago.
    Timestamp,
    /// Fynapse: another body than the one that was signed.
    Body,
    /// Fynapse: no signature.
    Unsigned,
    /// Rightfoot: a token that no accepted key made.
    Token,
    /// Properly proven, and no JSON.
    Json,
    /// Properly proven, without its required fields.
    Fields,
    /// Rightfoot: properly proven, and of a type that nobody knows.
    Type,
    /// Properly proven, with an id that is too long.
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
    /// List events, in no order. Reads the table: for what is stuck, `due` is quicker.
    List(ListEventsArgs),
    /// Show one event.
    Show(ShowEventArgs),
    /// Send done events again, on purpose: their effects happen again, and carry the number of the replay. With --lost:
    /// send again what was sent and whose message is gone.
    Replay(ReplayEventsArgs),
}

#[derive(Args)]
pub(crate) struct ListEventsArgs {
    /// In this state; repeat it for several.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub(crate) state: Vec<EventState>,
    /// Of this type, as the provider calls it: BALANCE_BATCH_COMPLETED, BALANCE_THRESHOLD_ALERT, balance.extracted, …
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) event_type: Option<String>,
    /// Of this provider.
    #[arg(long, value_parser = parse_provider)]
    pub(crate) provider: Option<Provider>,
    /// Received at this time or later: RFC 3339, or an age such as 90m, 36h, 7d.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<TimeArg>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<TimeArg>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// How much of a list.
#[derive(Args)]
pub(crate) struct PageArgs {
    /// How many at the most.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Go on where an earlier part of the list ended.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page: Option<String>,
}

#[derive(Args)]
pub(crate) struct ShowEventArgs {
    /// The event's id, or the bare id of a Fynapse event or of a batch.
    #[arg(value_parser = parse_event_ref)]
    pub(crate) event: EventRef,
    /// Print the payload: it may hold personal data.
    #[arg(long)]
    pub(crate) reveal: bool,
}

#[derive(Args)]
pub(crate) struct ReplayEventsArgs {
    /// The events' ids, or the bare ids of Fynapse events or of batches.
    #[arg(required = true, value_parser = parse_event_ref)]
    pub(crate) events: Vec<EventRef>,
    /// Their messages are gone: they were sent and never done. Refused for 14 days from the sending, while the queues
    /// may still hold them. If a message turns up after all, its effect happens once.
    #[arg(long)]
    pub(crate) lost: bool,
    /// With --lost: the queue was purged, so do not wait for the 14 days.
    #[arg(long, requires = "lost")]
    pub(crate) purged: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

/// The trace that is left.
#[derive(Args)]
pub(crate) struct AuditArgs {
    /// Who does this: a name, for the record's trace.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by)]
    by: String,
    /// Why: for the same.
    #[arg(long, value_name = "TEXT", value_parser = parse_why)]
    why: String,
}

impl AuditArgs {
    pub(crate) fn operator(&self) -> Operator {
        Operator { name: self.by.clone(), reason: self.why.clone() }
    }
}

/// Whether to ask.
#[derive(Args)]
pub(crate) struct ConfirmArgs {
    /// Do it without asking.
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Subcommand)]
pub(crate) enum BatchesCommand {
    /// List the batches that are watched, or were, in no order. Reads the table.
    List(ListBatchesArgs),
    /// Have a batch watched that was not submitted through rightfoot-requests.
    Track(TrackBatchArgs),
}

#[derive(Args)]
pub(crate) struct ListBatchesArgs {
    /// In this state.
    #[arg(long, value_enum)]
    pub(crate) state: Option<BatchState>,
    /// Runs of this schedule.
    #[arg(long, value_name = "ID")]
    pub(crate) schedule: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// How far a batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BatchState {
    /// Something is still to be known about it.
    Watched,
    /// All is known.
    Settled,
    /// Its deadline has passed.
    Overdue,
}

#[derive(Args)]
pub(crate) struct TrackBatchArgs {
    /// The batch.
    #[arg(value_parser = parse_id)]
    pub(crate) batch: Id,
    /// How many different authorizers were submitted.
    #[arg(long, value_name = "N")]
    pub(crate) expected: u64,
    /// One that Rightfoot refused at once; repeat it for several.
    #[arg(long = "failed", value_name = "AUTHORIZER", value_parser = parse_id)]
    pub(crate) failed: Vec<Id>,
    /// Whose URL it was submitted with: webhooks by another one are quarantined.
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<Subject>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Subcommand)]
pub(crate) enum SubmissionsCommand {
    /// End a submission of which nobody knows what became. If it made something, rightfoot-requests ends it: track_batch or
    /// track_schedule, with its submission_id.
    Conclude(ConcludeSubmissionArgs),
}

#[derive(Args)]
pub(crate) struct ConcludeSubmissionArgs {
    /// The submission's name.
    pub(crate) submission: Subject,
    /// It made nothing at Rightfoot, as you made sure there: its name is free for another one.
    #[arg(long, required = true)]
    pub(crate) none: bool,
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead messages, the newest first of those that SQS gives. They are hidden from others for some seconds meanwhile.
    List(ListDeadLettersArgs),
    /// Move dead messages back to the queue: ten, unless --limit says otherwise.
    Redrive(RedriveArgs),
}

#[derive(Args)]
pub(crate) struct ListDeadLettersArgs {
    /// How many at the most.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
}

#[derive(Args)]
#[command(override_usage = "\
inboxctl dead redrive [OPTIONS] --by <NAME> --why <TEXT>
       inboxctl dead redrive [OPTIONS] --dry-run")]
pub(crate) struct RedriveArgs {
    /// How many at the most.
    #[arg(long, default_value = "10", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
    /// Only show what would be moved.
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Who does this: a name, for the record's trace.
    #[arg(long, env = "INBOXCTL_BY", value_name = "NAME", value_parser = parse_by, required_unless_present = "dry_run")]
    pub(crate) by: Option<String>,
    /// Why: for the same.
    #[arg(long, value_name = "TEXT", value_parser = parse_why, required_unless_present = "dry_run")]
    pub(crate) why: Option<String>,
    #[command(flatten)]
    pub(crate) confirm: ConfirmArgs,
}

#[derive(Args)]
pub(crate) struct DueArgs {
    /// How many of each at the most.
    #[arg(long, default_value = "20", value_name = "N")]
    pub(crate) limit: NonZeroUsize,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// You read the queue yourself: there is no worker, no table of balances and no bus to look for.
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
