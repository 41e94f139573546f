//! `inboxctl events list`.

use clap::Args;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::EventFilter;
use inbox_core::delivery::Provider;
use inbox_core::lifecycle::EventState;
use inbox_core::list_kind::ListKind;
use inbox_core::origin::Origin;
use inbox_core::subject::Subject;
use inbox_core::time::UnixMillis;
use serde::Serialize;

use super::show::reason_suffix;
use crate::aws_error::WithResource;
use crate::output::{Render, Timestamp, render_table};
use crate::paging::{PageArgs, PageInfo};
use crate::target::Target;
use crate::value_parsers::{TimeRangeArgs, origin_parser, provider_parser, state_parser};

#[derive(Args)]
pub(crate) struct ListEventsArgs {
    /// Only events in this state; repeat for several.
    #[arg(long, value_name = "STATE", value_parser = state_parser())]
    state: Vec<EventState>,
    #[command(flatten)]
    filter: EventFilterArgs,
    #[command(flatten)]
    page: PageArgs,
}

/// Which events to list or replay, besides their state.
#[derive(Args)]
pub(crate) struct EventFilterArgs {
    /// Only events of this type, as the provider calls it: BALANCE_BATCH_COMPLETED, BALANCE_THRESHOLD_ALERT, balance.extracted, …
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this provider.
    #[arg(long, value_parser = provider_parser())]
    provider: Option<Provider>,
    /// Only events that came this way.
    #[arg(long, value_parser = origin_parser())]
    origin: Option<Origin>,
    /// Only events that came by the URL of this subject.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<Subject>,
    /// Only events with this Idempotency-Key.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) received: TimeRangeArgs,
}

impl EventFilterArgs {
    pub(crate) fn resolve(self, states: Vec<EventState>, now: UnixMillis) -> anyhow::Result<EventFilter> {
        Ok(EventFilter {
            received: self.received.resolve(now)?,
            provider: self.provider,
            event_type: self.event_type,
            origin: self.origin,
            subject: self.subject,
            idempotency_key: self.idempotency_key,
            states: states.into_iter().collect(),
        })
    }
}

/// A page of recorded events.
#[derive(Serialize)]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    #[serde(flatten)]
    page: PageInfo,
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
    subject: Option<String>,
    replay: u64,
    received_at: Timestamp,
    #[serde(skip)]
    printed_id: String,
    #[serde(skip)]
    printed_time: String,
}

pub(crate) async fn list(target: &Target, args: ListEventsArgs) -> anyhow::Result<EventList> {
    let (now, filter) = (target.now(), args.filter.resolve(args.state, target.now())?);
    let listed =
        target.stores()?.operator.list_events(&filter, &args.page.start(), args.page.limit(), now).await;
    let page = listed.with_resource(&target.inbox_table()?)?;
    let ids: Vec<_> = page.items.iter().map(|event| event.key.event_id()).collect();
    let printed_ids = args.page.printed_ids(target, ListKind::Event, &ids);
    let row = |(event, printed_id): (&EventRecord, String)| EventRow {
        event: event.key.event_id(),
        event_type: event.event_type.clone(),
        state: event.lifecycle.state(now).as_str(),
        // Once the event has ended, the reason of an earlier requeue would mislead.
        retry_reason: event
            .retry_reason
            .clone()
            .filter(|_| event.lifecycle.done_at.is_none() && event.lifecycle.quarantined_at.is_none()),
        origin: event.origin.as_str(),
        subject: event.subject.as_ref().map(ToString::to_string),
        replay: event.replay,
        received_at: Timestamp(event.received_at),
        printed_id,
        printed_time: args.page.printed_time(Timestamp(event.received_at), now),
    };
    let events = page.items.iter().zip(printed_ids).map(row).collect();
    Ok(EventList { events, page: PageInfo::new(&page, &args.page) })
}

impl Render for EventList {
    fn to_text(&self, _: UnixMillis) -> String {
        let rows = self.events.iter().map(|it| {
            let replay = if it.replay > 0 { format!(" (replay {})", it.replay) } else { String::new() };
            [
                it.printed_id.clone(),
                it.event_type.clone(),
                format!("{}{}{replay}", it.state, reason_suffix(it.retry_reason.as_ref())),
                it.origin.to_owned(),
                it.printed_time.clone(),
            ]
        });
        let headers = ["EVENT", "TYPE", "STATE", "ORIGIN", "RECEIVED"];
        render_table(headers, rows.collect(), "no event matches") + &self.page.to_text()
    }
}
