//! The audit trail: every action with its operator, subject and reason, filtered by the address, paged, and linked.

use std::time::Duration;

use reqwest::StatusCode;
use tests::extract_body;

use crate::{Browser, Page};

/// A browser, and the actions of two operators on an event, a quarantined item and a batch, a second apart.
async fn browser_with_actions() -> Browser {
    let browser = Browser::new().await;
    let world = &browser.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.mark_done("fynapse/event/e-1").await;
    let unknown = "{\"type\":\"NEW\",\"event_uuid\":\"u-1\",\"batch_id\":\"b-2\"}";
    world.deliver_rightfoot(unknown).await;
    // As if an older version had not known the type.
    world.quarantine_as_older_version(unknown, &unknown.replace("NEW", "BALANCE_BATCH_COMPLETED")).await;
    let item = browser.attributes_of("/quarantine", "tbody a", "title").await.remove(0);
    let replay =
        [("id", "fynapse/event/e-1"), ("plan", "0123456789ab"), ("by", "ada"), ("why", "rule <b>wrong</b>")];
    browser.act("/events/replay", &replay).await;
    world.advance(Duration::from_secs(1));
    browser.act("/quarantine/replay", &[("id", &item), ("by", "grace h."), ("why", "known since 1.4")]).await;
    world.advance(Duration::from_secs(1));
    track(&browser, "b-1").await;
    world.advance(Duration::from_secs(1));
    browser
}

async fn track(browser: &Browser, batch: &str) {
    let form = [("id", batch), ("expected", "2"), ("by", "ada"), ("why", "webhook lost")];
    browser.act("/batches/track", &form).await;
}

/// Operator, action and the link to the subject, of each row.
fn entries(page: &Page) -> Vec<(String, String, String)> {
    let operators = page.texts("tbody td:nth-child(2)").into_iter();
    let actions = page.texts("tbody td:nth-child(3)").into_iter();
    let links = page.attributes("tbody td:nth-child(4) a", "href").into_iter();
    operators.zip(actions).zip(links).map(|((operator, action), link)| (operator, action, link)).collect()
}

#[tokio::test]
async fn every_action_is_listed_with_its_operator_and_reason_and_leads_to_its_subject() {
    let browser = browser_with_actions().await;
    let page = browser.open("/audit").await;
    let item = page.attributes("tbody td:nth-child(4) a", "title").remove(1);
    let row = |operator: &str, action: &str, link: String| (operator.to_owned(), action.to_owned(), link);
    assert_eq!(
        entries(&page),
        [
            row("ada", "track", "/batch?id=b-1".to_owned()),
            row("grace h.", "replay", format!("/quarantine/item?id={item}")),
            row("ada", "replay", "/event?id=fynapse/event/e-1".to_owned()),
        ]
    );
    assert_eq!(page.texts("tbody td:nth-child(1)"), ["1 s ago", "2 s ago", "3 s ago"]);
    assert_eq!(
        page.texts("tbody td:nth-child(5)"),
        ["webhook lost", "known since 1.4", "rule <b>wrong</b>"],
        "reasons are text"
    );
    assert_eq!(page.texts("nav a[aria-current]"), ["Audit"]);
    // Each subject has its page, and the operator's name leads to what else they did.
    for link in page.attributes("tbody a", "href") {
        browser.open(&link).await;
    }
    let of_grace = page.attributes("tbody td:nth-child(2) a", "href").remove(1);
    assert_eq!(of_grace, "/audit?operator=grace%20h.");
    assert_eq!(entries(&browser.open(&of_grace).await).len(), 1);
}

#[tokio::test]
async fn the_audit_list_is_filtered_by_the_address_and_says_by_what() {
    let browser = browser_with_actions().await;
    for (query, actions) in [
        ("operator=ada", vec!["track", "replay"]),
        ("action=replay", vec!["replay", "replay"]),
        ("action=replay&operator=ada", vec!["replay"]),
        ("since=2s", vec!["track", "replay"]),
        ("until=2026-01-02T03:04:06Z", vec!["replay"]),
        ("operator=%20&action=", vec!["track", "replay", "replay"]),
        ("action=discard", vec![]),
        ("operator=ad", vec![]),
    ] {
        let page = browser.open(&format!("/audit?{query}")).await;
        assert_eq!(page.texts("tbody td:nth-child(3)"), actions, "{query}");
    }
    let empty = browser.open("/audit?operator=linus&action=declare_lost").await;
    assert_eq!(empty.texts(".empty"), ["No entry matches operator linus, action declare_lost."]);
    assert_eq!(
        empty.texts("title"),
        ["Audit: operator linus, action declare_lost · payments-inbox · Balance Inbox"]
    );
    assert_eq!(empty.attributes("option[selected]", "value"), ["declare_lost"]);
    assert_eq!(empty.attributes("input[name=operator]", "value"), ["linus"]);
    for wrong in ["action=x", "since=yesterday", "older=x"] {
        let page = browser.get(&format!("/audit?{wrong}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let new = Browser::new().await.open("/audit").await;
    assert_eq!(new.texts(".empty"), ["No operator has done anything."]);
}

#[tokio::test]
async fn the_audit_list_is_paged_to_the_oldest_entry_and_keeps_its_filter() {
    let browser = browser_with_actions().await;
    for n in 0..51 {
        track(&browser, &format!("c-{n:02}")).await;
        browser.world.advance(Duration::from_secs(1));
    }
    let first = browser.open("/audit?operator=ada").await;
    assert_eq!(entries(&first).len(), 50);
    assert_eq!(entries(&first)[0].2, "/batch?id=c-50");
    assert_eq!(first.texts("nav.pages a"), ["Older →"]);
    let older = browser.open(&first.attributes("nav.pages a", "href")[0]).await;
    let links: Vec<_> = entries(&older).into_iter().map(|entry| entry.2).collect();
    assert_eq!(links, ["/batch?id=c-00", "/batch?id=b-1", "/event?id=fynapse/event/e-1"]);
    assert_eq!(older.texts("nav.pages a"), ["Newest", "← Newer"]);
    assert_eq!(older.attributes("nav.pages a", "href")[0], "/audit?operator=ada");
}
