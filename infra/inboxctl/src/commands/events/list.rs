//! `inboxctl events list`.

use clap::Args;
use inbox_aws::items::EventRecord;
use inbox_aws::stores::{BatchSelector, EventFilter, SelectedBatches};
use inbox_core::delivery::Provider;
use inbox_core::id::Id;
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
use crate::value_parsers::{TimeRangeArgs, origin_parser, parse_id, provider_parser, state_parser};

/// What --batch, --schedule and --authorizer leave out.
pub(super) const TOO_MUCH: &str = "of the batches of a schedule or an authorizer, the newest 100 are found (the runs of a schedule \
     among some 2,000 batches that were tracked last), and at most 500 events of these are read";

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
    /// Only events of this batch.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    batch: Option<Id>,
    /// Only events of this schedule's runs.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    schedule: Option<Id>,
    /// Only events of the batches that have checked this authorizer.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    authorizer: Option<Id>,
    /// Only events with this Idempotency-Key.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    pub(super) received: TimeRangeArgs,
}

impl EventFilterArgs {
    /// The filter that the arguments describe. Batches of a schedule or an authorizer are looked up for it.
    pub(crate) async fn resolve(
        self,
        target: &Target,
        states: Vec<EventState>,
        now: UnixMillis,
    ) -> anyhow::Result<EventFilter> {
        let received = self.received.resolve(now)?;
        let batches = self.select_batches(target).await?;
        Ok(EventFilter {
            received,
            batches,
            provider: self.provider,
            event_type: self.event_type,
            origin: self.origin,
            subject: self.subject,
            idempotency_key: self.idempotency_key,
            states: states.into_iter().collect(),
        })
    }

    /// Returns `true` if only events of some batches are wanted.
    pub(super) const fn selects_batches(&self) -> bool {
        self.batch.is_some() || self.schedule.is_some() || self.authorizer.is_some()
    }

    async fn select_batches(&self, target: &Target) -> anyhow::Result<Option<SelectedBatches>> {
        let balances = self.authorizer.as_ref().map(|_| target.stored_balances()).transpose()?;
        let selector = BatchSelector {
            batch_id: self.batch.clone(),
            schedule_id: self.schedule.clone(),
            authorizer: self.authorizer.clone().zip(balances.as_ref()),
        };
        let selected = target.stores()?.operator.select_batches(&selector).await;
        // The call that is likeliest to lack a permission is that of the table of balances.
        let table = if balances.is_some() { target.balances_table()? } else { target.inbox_table()? };
        selected.with_resource(&table)
    }
}

/// A page of recorded events.
#[derive(Serialize)]
pub(crate) struct EventList {
    events: Vec<EventRow>,
    /// True if the batches have events that no page of the list has.
    is_truncated: bool,
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
    let now = target.now();
    let filter = args.filter.resolve(target, args.state, now).await?;
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
    let is_truncated = page.is_truncated;
    Ok(EventList { events, is_truncated, page: PageInfo::new(&page, &args.page) })
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
        let table = render_table(headers, rows.collect(), "no event matches");
        let note = if self.is_truncated {
            format!("\nThere may be more, which no page has: {TOO_MUCH}.\n")
        } else {
            String::new()
        };
        table + &note + &self.page.to_text()
    }
}
