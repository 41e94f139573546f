//! Options of every command: the inbox that it talks to, and the output format.

use clap::Args;
use clap::builder::NonEmptyStringValueParser as NonEmpty;

use crate::value_parsers::parse_base_url;

/// Options that select the inbox and the output format.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// Take the names of the inbox's resources from this CloudFormation stack.
    ///
    /// This needs cloudformation:DescribeStacks. As an option, it overrides the variables of the names; as INBOXCTL_STACK, they
    /// override it.
    #[arg(long, global = true, env = "INBOXCTL_STACK", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) stack: Option<String>,
    /// Inbox table.
    #[arg(long, global = true, hide_short_help = true, env = "INBOX_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) table: Option<String>,
    /// Table in which the worker stores balances.
    #[arg(long, global = true, hide_short_help = true, env = "BALANCES_TABLE", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) balances_table: Option<String>,
    /// URL of the queue `events`.
    #[arg(long, global = true, hide_short_help = true, env = "EVENTS_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) queue_url: Option<String>,
    /// URL of the dead-letter queue of `events`.
    #[arg(long, global = true, hide_short_help = true, env = "DEAD_LETTER_QUEUE_URL", value_name = "URL", value_parser = NonEmpty::new())]
    pub(crate) dead_letter_queue_url: Option<String>,
    /// EventBridge bus that the worker publishes to.
    #[arg(long, global = true, hide_short_help = true, env = "EVENT_BUS_NAME", value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) bus: Option<String>,
    /// Name or ARN of the secret that Fynapse signs with.
    #[arg(long, global = true, hide_short_help = true, env = "FYNAPSE_SIGNING_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) fynapse_secret: Option<String>,
    /// Name or ARN of the secret that signs Rightfoot's URLs.
    #[arg(long, global = true, hide_short_help = true, env = "RIGHTFOOT_URL_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_url_key: Option<String>,
    /// Name or ARN of the secret with the key of Rightfoot's API.
    #[arg(long, global = true, hide_short_help = true, env = "RIGHTFOOT_API_KEY_SECRET_ID", value_name = "ID", value_parser = NonEmpty::new())]
    pub(crate) rightfoot_api_key: Option<String>,
    /// Base URL of the webhook routes, for example `https://abc.execute-api.eu-west-1.amazonaws.com`.
    #[arg(long, global = true, hide_short_help = true, env = "WEBHOOK_BASE_URL", value_name = "URL", value_parser = parse_base_url)]
    pub(crate) base_url: Option<String>,
    /// Days that a finished record is kept [default: the stack's RetentionDays, or 30].
    #[arg(long, global = true, hide_short_help = true, env = "RETENTION_DAYS", value_name = "DAYS")]
    pub(crate) retention_days: Option<u64>,
    /// AWS region [default: AWS_REGION, or the profile's].
    ///
    /// AWS_DEFAULT_REGION is read after AWS_REGION.
    #[arg(long, global = true, value_name = "REGION", value_parser = NonEmpty::new())]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration [default: AWS_PROFILE].
    ///
    /// The credentials of the option's profile override exported keys; those of AWS_PROFILE do not.
    #[arg(long, global = true, value_name = "NAME", value_parser = NonEmpty::new())]
    pub(crate) profile: Option<String>,
    /// Endpoint to use instead of AWS's own [default: AWS_ENDPOINT_URL].
    ///
    /// The profile's endpoint_url is read after AWS_ENDPOINT_URL. On this machine (a loopback address), names, region and
    /// credentials that are not given are those of `local`.
    #[arg(long, global = true, value_name = "URL", value_parser = parse_base_url)]
    pub(crate) endpoint_url: Option<String>,
    /// Print JSON, errors too.
    ///
    /// An error is {"error": "…"}, on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}
