//! `inboxctl timeline`: all that is known of a batch, event, schedule or submission.

pub(crate) mod report;
mod text;

use anyhow::bail;
use clap::Args;
use inbox_core::delivery::Provider;
use inbox_core::event::EventKey;
use inbox_core::id::Id;
use inbox_core::list_kind::ListKind;
use inbox_core::table_keys::batch_pk;
use inbox_core::table_keys::{schedule_pk, submission_pk};

use crate::aws_error::WithResource;
use crate::commands::events::show::quarantined_item_of;
use crate::short_id;
use crate::target::Target;
use report::{EventWithStatus, TimelineOutput, TimelineReport};

#[derive(Args)]
pub(crate) struct TimelineArgs {
    /// An event's id (`rightfoot/batch/…/completed`, `fynapse/event/…`), the bare id of a batch, schedule, submission or Fynapse
    /// event, or the beginning of one of these.
    id: String,
}

pub(crate) async fn show(target: &Target, args: TimelineArgs) -> anyhow::Result<TimelineReport> {
    let table = target.inbox_table()?;
    if let Some(key) = EventKey::from_event_id(&args.id) {
        let timeline = load_timeline(target, args.id.clone(), &key.pk(), Some(&args.id)).await?;
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
        timelines.extend(load_timeline(target, format!("{kind} {}", args.id), &pk, None).await?);
    }
    add_created(target, &mut timelines).await?;
    if timelines.is_empty() {
        timelines = find_by_prefix(target, &args.id).await?;
    }
    if timelines.is_empty() {
        bail!("nothing is known in {table} of a batch, event, schedule or submission {}", args.id);
    }
    Ok(TimelineReport { timelines })
}

/// Shows the timeline of a submission, and of what it created.
pub(crate) async fn show_submission(target: &Target, args: TimelineArgs) -> anyhow::Result<TimelineReport> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut id = args.id;
    let mut timelines: Vec<_> = load_timeline(target, format!("submission {id}"), &submission_pk(&id), None)
        .await?
        .into_iter()
        .collect();
    if timelines.is_empty()
        && let Some(whole) = short_id::find(&stores, &table, ListKind::Submission, &id).await?
    {
        id = whole;
        timelines.extend(load_timeline(target, format!("submission {id}"), &submission_pk(&id), None).await?);
    }
    if timelines.is_empty() {
        bail!("there is no submission {id} in {table}, or its record has expired");
    }
    add_created(target, &mut timelines).await?;
    Ok(TimelineReport { timelines })
}

/// Loads the timelines of the items among the newest ones whose ids begin with `prefix`. Events of a batch whose id begins so
/// stand in the timeline of the batch.
async fn find_by_prefix(target: &Target, prefix: &str) -> anyhow::Result<Vec<TimelineOutput>> {
    let (stores, table) = (target.stores()?, target.inbox_table()?);
    let mut batches = short_id::find_all(&stores, &table, ListKind::Batch, prefix).await?;
    let mut events = Vec::new();
    for id in short_id::find_all(&stores, &table, ListKind::Event, prefix).await? {
        let key = EventKey::from_event_id(&id);
        let batch = key.as_ref().and_then(EventKey::batch_id).map(|batch| batch.as_str().to_owned());
        match batch.filter(|batch| batch.starts_with(prefix)) {
            Some(batch) => batches.push(batch),
            None => events.push(id),
        }
    }
    let schedules = short_id::find_all(&stores, &table, ListKind::Schedule, prefix).await?;
    let submissions = short_id::find_all(&stores, &table, ListKind::Submission, prefix).await?;
    let mut timelines = Vec::new();
    for (kind, ids) in [
        (ListKind::Event, events),
        (ListKind::Batch, batches),
        (ListKind::Schedule, schedules),
        (ListKind::Submission, submissions),
    ] {
        let Some(id) = short_id::only_match(ids, prefix)? else { continue };
        let (title, pk) = match (kind, Id::new(id.clone())) {
            (ListKind::Batch, Some(batch)) => (format!("batch {id}"), batch_pk(&batch)),
            (ListKind::Schedule, Some(schedule)) => (format!("schedule {id}"), schedule_pk(&schedule)),
            (ListKind::Submission, _) => (format!("submission {id}"), submission_pk(&id)),
            _ => match EventKey::from_event_id(&id) {
                Some(key) => (id.clone(), key.pk()),
                None => continue,
            },
        };
        let only = (kind == ListKind::Event).then_some(id.as_str());
        timelines.extend(load_timeline(target, title, &pk, only).await?);
    }
    Ok(timelines)
}

/// Adds the timeline and status of the batch or schedule that a submission created.
async fn add_created(target: &Target, timelines: &mut Vec<TimelineOutput>) -> anyhow::Result<()> {
    let submission = timelines.iter().find_map(|timeline| timeline.submission.as_ref());
    let Some((kind, created_id)) = submission.and_then(|it| it.created_item()) else { return Ok(()) };
    let pk = if kind == "batch" { batch_pk(&created_id) } else { schedule_pk(&created_id) };
    let created = load_timeline(target, format!("{kind} {}", created_id.as_str()), &pk, None).await?;
    let status = created.as_ref().and_then(|timeline| timeline.status_text());
    let status = status.unwrap_or_else(|| "its item has expired".to_owned());
    for submission in timelines.iter_mut().filter_map(|timeline| timeline.submission.as_mut()) {
        submission.created_status = Some(status.clone());
    }
    // With the submission's own id it is in the list already.
    timelines.extend(created.filter(|it| timelines.iter().all(|timeline| timeline.title != it.title)));
    Ok(())
}

/// Loads all items of a partition key; `None` if there are none. If `only` names an event, the batch's other events and
/// their alerts are left out.
async fn load_timeline(
    target: &Target,
    title: String,
    pk: &str,
    only: Option<&str>,
) -> anyhow::Result<Option<TimelineOutput>> {
    let (stores, table, now) = (target.stores()?, target.inbox_table()?, target.now());
    let mut item_collection = stores.operator.timeline(pk).await.with_resource(&table)?;
    if item_collection.is_empty() {
        return Ok(None);
    }
    // Its completion may be among the events that are left out.
    let results = item_collection.batch_results();
    if let Some(event_id) = only {
        item_collection.events.retain(|event| event.key.event_id() == event_id);
        item_collection.alerts.retain(|alert| alert.event_id.as_deref() == Some(event_id));
    }
    let mut events = Vec::new();
    for event in &item_collection.events {
        let item = quarantined_item_of(&stores, event, now).await.with_resource(&table)?;
        events.push(EventWithStatus::new(event, item.as_ref(), now));
    }
    Ok(Some(TimelineOutput::new(title, item_collection, results, events, now)))
}
