//! `inboxctl events list`.

use clap::Args;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::EventFilter;
use inbox_core::delivery::Provider;
use inbox_core::lifecycle::EventState;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::show::reason_suffix;
use crate::aws_error::WithResource;
use crate::output::{Render, Timestamp, render_table};
use crate::paging::{PageArgs, next_page_hint, scan_token};
use crate::target::Target;
use crate::value_parsers::{TimeArg, parse_provider, parse_state};

#[derive(Args)]
pub(crate) struct ListEventsArgs {
    /// Only events in this state; repeat for several.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Vec<EventState>,
    /// Only events of this type, as the provider calls it: BALANCE_BATCH_COMPLETED, BALANCE_THRESHOLD_ALERT, balance.extracted, …
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this provider.
    #[arg(long, value_parser = parse_provider)]
    provider: Option<Provider>,
    /// Only events received at this time or later: RFC 3339, or an age such as 90m, 36h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArg>,
    /// Only events received before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArg>,
    #[command(flatten)]
    page: PageArgs,
}

/// A page of recorded events.
#[derive(Serialize)]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    /// Token for `--page`; `None` on the last page.
    next: Option<String>,
}

#[derive(Serialize)]
struct EventRow {
    event: String,
    #[serde(rename = "type")]
    event_type: String,
    state: &'static str,
    /// Reason of the last requeue, while the event waits for its next attempt.
    retry_reason: Option<String>,
    origin: &'static str,
    replay: u64,
    received_at: Timestamp,
}

pub(crate) async fn list(target: &Target, args: ListEventsArgs) -> anyhow::Result<EventList> {
    let now = target.now();
    let selection = EventFilter {
        provider: args.provider,
        event_type: args.event_type,
        states: args.state.into_iter().collect(),
        since: args.since.map(|since| since.resolve(now)),
        until: args.until.map(|until| until.resolve(now)),
    };
    let cursor = args.page.scan_cursor()?;
    let page = target
        .stores()?
        .operator
        .list_events(&selection, cursor, args.page.limit.get(), now)
        .await
        .with_resource(&target.inbox_table()?)?;
    let row = |event: &EventRecord| EventRow {
        event: event.key.event_id(),
        event_type: event.event_type.clone(),
        state: event.lifecycle.state(now).as_str(),
        // Once the event has ended, the reason of an earlier requeue would mislead.
        retry_reason: event
            .retry_reason
            .clone()
            .filter(|_| event.lifecycle.done_at.is_none() && event.lifecycle.quarantined_at.is_none()),
        origin: event.origin.as_str(),
        replay: event.replay,
        received_at: Timestamp(event.received_at),
    };
    Ok(EventList { events: page.items.iter().map(row).collect(), next: scan_token(page.next) })
}

impl Render for EventList {
    fn to_text(&self, now: UnixMillis) -> String {
        let rows = self.events.iter().map(|it| {
            let replay = if it.replay > 0 { format!(" (replay {})", it.replay) } else { String::new() };
            [
                it.event.clone(),
                it.event_type.clone(),
                format!("{}{}{replay}", it.state, reason_suffix(it.retry_reason.as_ref())),
                it.origin.to_owned(),
                it.received_at.with_age(now),
            ]
        });
        let headers = ["EVENT", "TYPE", "STATE", "ORIGIN", "RECEIVED"];
        render_table(headers, rows.collect(), "no such event") + &next_page_hint(self.next.as_ref())
    }
}
