//! `inboxctl timeline`: all that is known of a batch, event, schedule or submission.

mod report;
mod text;

use anyhow::bail;
use clap::Args;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::table_keys::batch_pk;
use inbox_core::table_keys::{schedule_pk, submission_pk};

use crate::aws_error::WithResource;
use crate::commands::events::show::quarantine_id_of;
use crate::target::Target;
use report::{EventWithStatus, TimelineOutput, TimelineReport};

#[derive(Args)]
pub(crate) struct TimelineArgs {
    /// An event's id (`rightfoot/batch/…/completed`, `fynapse/event/…`), or the bare id of a batch, schedule,
    /// submission or Fynapse event.
    id: String,
}

pub(crate) async fn show(target: &Target, args: TimelineArgs) -> anyhow::Result<TimelineReport> {
    let table = target.inbox_table()?;
    if let Some(key) = EventKey::from_event_id(&args.id) {
        let timeline = load_timeline(target, args.id.clone(), &key.pk())
            .await?
            .map(|timeline| only_event(timeline, &args.id));
        let timeline = timeline.filter(|timeline| !timeline.events.is_empty());
        let Some(timeline) = timeline else {
            bail!("{} is not recorded in {table}, or its record has expired", args.id);
        };
        return Ok(TimelineReport { timelines: vec![timeline] });
    }
    let Some(id) = Id::new(args.id.clone()) else { bail!("an id has 1 to 512 bytes") };
    // A bare id does not tell its kind, so every kind is looked up.
    let signed = Provider::ALL.iter().filter_map(|provider| EventKey::signed(*provider, id.clone()));
    let mut candidates = vec![("batch", batch_pk(&id))];
    candidates.extend(signed.map(|key| ("event", key.pk())));
    candidates.extend([("schedule", schedule_pk(&id)), ("submission", submission_pk(id.as_str()))]);
    let mut timelines = Vec::new();
    for (kind, pk) in candidates {
        timelines.extend(load_timeline(target, format!("{kind} {}", args.id), &pk).await?);
    }
    add_created(target, &mut timelines).await?;
    if timelines.is_empty() {
        bail!("nothing is known in {table} of a batch, event, schedule or submission {}", args.id);
    }
    Ok(TimelineReport { timelines })
}

/// Adds the timeline and status of the batch or schedule that a submission created.
async fn add_created(target: &Target, timelines: &mut Vec<TimelineOutput>) -> anyhow::Result<()> {
    let submission = timelines.iter().find_map(|timeline| timeline.submission.as_ref());
    let Some((kind, created_id)) = submission.and_then(|it| it.created_item()) else { return Ok(()) };
    let pk = if kind == "batch" { batch_pk(&created_id) } else { schedule_pk(&created_id) };
    let created = load_timeline(target, format!("{kind} {}", created_id.as_str()), &pk).await?;
    let status = created.as_ref().and_then(|timeline| timeline.status_text());
    let status = status.unwrap_or_else(|| "its item has expired".to_owned());
    for submission in timelines.iter_mut().filter_map(|timeline| timeline.submission.as_mut()) {
        submission.created_status = Some(status.clone());
    }
    // With the submission's own id it is in the list already.
    timelines.extend(created.filter(|it| timelines.iter().all(|timeline| timeline.title != it.title)));
    Ok(())
}

/// Loads all items of a partition key; `None` if there are none.
async fn load_timeline(target: &Target, title: String, pk: &str) -> anyhow::Result<Option<TimelineOutput>> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let item_collection = stores.operator.timeline(pk).await.with_resource(&table)?;
    if item_collection.is_empty() {
        return Ok(None);
    }
    let mut events = Vec::new();
    for event in &item_collection.events {
        let item = quarantine_id_of(&stores, event, now).await.with_resource(&table)?;
        events.push(EventWithStatus::new(event, item.as_ref(), now));
    }
    Ok(Some(TimelineOutput::new(title, item_collection, events, now)))
}

/// Reduces a batch's timeline to one of its events.
fn only_event(mut timeline: TimelineOutput, event_id: &str) -> TimelineOutput {
    timeline.events.retain(|event| event.details.id() == event_id);
    timeline.alerts.retain(|alert| alert.event.as_deref() == Some(event_id));
    timeline
}
