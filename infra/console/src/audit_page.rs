//! The audit trail: what operators have done, the newest first, as `inboxctl audit` lists it.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use inbox_aws::items::AuditItem;
use inbox_aws::stores::AuditFilter;
use inbox_core::audit::OperatorAction;
use inbox_core::limits::AUDIT_RETENTION_DAYS;
use inbox_core::time::UnixMillis;

use crate::app::App;
use crate::event_list::short_id;
use crate::layout::{Layout, PageError, Section, html};
use crate::links::{Params, href};
use crate::list_params::{PAGE_ITEMS, PageLinks, filters, page_start, parse, time_range};
use crate::time_text::TimeTag;

const PATH: &str = "/audit";

/// An audit entry in the list.
struct EntryRow {
    acted: TimeTag,
    operator: String,
    /// The list with the entries of this operator only.
    operator_link: String,
    action: String,
    subject: SubjectLink,
    reason: String,
}

/// What an entry is about: an event, quarantined item, batch, schedule, submission or missed delivery.
struct SubjectLink {
    kind: String,
    id: String,
    short_id: String,
    /// The page of the item; `None` if this version knows none.
    link: Option<String>,
}

/// A choice of the filter by action.
struct ActionChoice {
    value: &'static str,
    text: String,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    layout: Layout,
    params: Params,
    actions: Vec<ActionChoice>,
    rows: Vec<EntryRow>,
    pages: PageLinks,
    /// The filter in words; empty without one.
    filter_text: String,
    retention_days: u64,
}

impl AuditPage {
    fn value(&self, name: &str) -> &str {
        self.params.get(name).unwrap_or_default()
    }
}

/// `GET /audit`
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (params, now) = (Params::new(query), app.now());
    let filter = AuditFilter {
        acted: time_range(&params, now)?,
        action: parse(&params, "action", OperatorAction::from_name)?,
        operator: params.get("operator").map(str::to_owned),
    };
    let page = app.stores().operator.list_audit(&filter, &page_start(&params)?, PAGE_ITEMS).await?;
    let filter_text = filters(&params).words();
    let title = if filter_text.is_empty() { "Audit".to_owned() } else { format!("Audit: {filter_text}") };
    Ok(html(&AuditPage {
        layout: Layout::new(&app, Section::Audit, title),
        actions: action_choices(filter.action),
        rows: page.items.iter().map(|item| EntryRow::new(item, &params, now)).collect(),
        pages: PageLinks::new(PATH, &params, &page),
        filter_text,
        retention_days: AUDIT_RETENTION_DAYS,
        params,
    }))
}

fn action_choices(chosen: Option<OperatorAction>) -> Vec<ActionChoice> {
    let choice = |action: &OperatorAction| ActionChoice {
        value: action.as_str(),
        text: action.as_str().replace('_', " "),
        is_chosen: chosen == Some(*action),
    };
    OperatorAction::ALL.iter().map(choice).collect()
}

impl EntryRow {
    fn new(item: &AuditItem, params: &Params, now: UnixMillis) -> Self {
        let operator = item.entry.operator.clone();
        let of_operator = filters(params).without(&["operator"]).with("operator", operator.as_str());
        Self {
            acted: TimeTag::new(item.entry.at, now),
            operator_link: of_operator.href(PATH),
            operator,
            action: item.entry.action.as_str().replace('_', " "),
            subject: SubjectLink::new(&item.subject),
            reason: item.entry.reason.clone(),
        }
    }
}

impl SubjectLink {
    /// Parses a subject as [`inbox_core::audit::AuditSubject`] is written: a kind, a blank, and an id.
    fn new(subject: &str) -> Self {
        let (kind, id) = subject.split_once(' ').unwrap_or(("", subject));
        let path = match kind {
            "event" => Some("/event"),
            "quarantine" => Some("/quarantine/item"),
            "batch" => Some("/batch"),
            "schedule" => Some("/schedule"),
            "submission" => Some("/submission"),
            "missed-delivery" => Some("/missed/item"),
            _ => None,
        };
        Self {
            kind: if kind == "quarantine" { "quarantined item".to_owned() } else { kind.replace('-', " ") },
            id: id.to_owned(),
            // Of a person, numbers follow instead of an id.
            short_id: if kind == "person" { id.to_owned() } else { short_id(id) },
            link: path.map(|path| href(path, "id", id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use inbox_core::audit::AuditSubject;
    use inbox_core::event::EventKey;
    use inbox_core::id::Id;
    use inbox_core::quarantine::QuarantineId;

    use super::*;

    #[test]
    fn an_entry_leads_to_the_page_of_what_it_is_about() {
        let id = || Id::new("x-1").unwrap();
        let quarantined = format!("fynapse/{}", "a".repeat(64));
        for (subject, kind, link) in [
            (
                AuditSubject::Event(EventKey::from_event_id("rightfoot/batch/b-1/completed").unwrap()),
                "event",
                "/event?id=rightfoot/batch/b-1/completed".to_owned(),
            ),
            (
                AuditSubject::Quarantined(QuarantineId::from_name(&quarantined).unwrap()),
                "quarantined item",
                format!("/quarantine/item?id={quarantined}"),
            ),
            (AuditSubject::Batch(id()), "batch", "/batch?id=x-1".to_owned()),
            (AuditSubject::Schedule(id()), "schedule", "/schedule?id=x-1".to_owned()),
            (AuditSubject::Submission("x-1".parse().unwrap()), "submission", "/submission?id=x-1".to_owned()),
            (AuditSubject::MissedDelivery(id()), "missed delivery", "/missed/item?id=x-1".to_owned()),
        ] {
            let found = SubjectLink::new(&subject.to_string());
            assert_eq!((found.kind.as_str(), found.link), (kind, Some(link)));
        }
        let person = SubjectLink::new(&AuditSubject::Person { found: 12, to_erase: 10 }.to_string());
        assert_eq!(
            (person.kind.as_str(), person.short_id.as_str(), person.link),
            ("person", "(10 of 12 items)", None)
        );
        let unknown = SubjectLink::new("javascript:alert(1) x");
        assert_eq!((unknown.kind.as_str(), unknown.link), ("javascript:alert(1)", None));
    }
}
