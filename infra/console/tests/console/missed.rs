//! Missed deliveries of Fynapse's: the list, and the page of one of them.

use inbox_core::fynapse_api::listed_delivery::DeliveryStatus;
use reqwest::StatusCode;
use tests::fynapse_world::FynapseWorld;

use crate::{Browser, TestHost};

#[tokio::test]
async fn missed_deliveries_are_listed_filtered_and_shown_with_what_to_do() {
    let it = FynapseWorld::new().await;
    for (event_id, status) in [("e-1", DeliveryStatus::DeadLetter), ("e-2", DeliveryStatus::Cancelled)] {
        it.add_ended(event_id, status);
    }
    it.run_auditor().await;
    let browser = Browser::with(it.world.clone(), TestHost::default(), false).await;
    let page = browser.open("/missed").await;
    assert_eq!(page.texts("nav a[aria-current]"), ["Missed"]);
    assert_eq!(page.texts("tbody td:nth-child(2)"), ["open", "open"]);
    let cancelled = browser.open("/missed?reason=cancelled&state=open").await;
    assert_eq!(cancelled.texts("tbody td:nth-child(4)"), ["fynapse/event/e-2"]);
    assert_eq!(
        browser.open("/missed?state=resolved").await.texts("p.empty"),
        ["No missed delivery matches."]
    );
    let links = cancelled.attributes("tbody a", "href");
    assert_eq!(links, ["/missed/item?id=delivery-e-2"]);
    let item = browser.open(&links[0]).await;
    assert!(item.main().contains("What to do: The subscription was inactive"), "{}", item.main());
    assert_eq!(item.texts("dd")[..3], ["fynapse/event/e-2", "balance.extracted", "key-e-2"]);
    assert_eq!(browser.get("/missed/item?id=nobody").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/missed?state=lost").await.status, StatusCode::BAD_REQUEST);
    // The search finds it by the beginning of its id.
    let found = browser.get("/search?q=delivery-e-2").await;
    assert_eq!(found.header("location"), "/missed/item?id=delivery-e-2");
}

#[tokio::test]
async fn p8_what_fynapse_wrote_is_text() {
    let it = FynapseWorld::new().await;
    let body = r#"[{"id":"<b>d","status":"DEAD_LETTER","eventType":"<script>"}]"#;
    it.fynapse.configure(|list| list.scripted = Some((200, body.to_owned())));
    it.run_auditor().await;
    let browser = Browser::with(it.world.clone(), TestHost::default(), false).await;
    let page = browser.open("/missed").await;
    assert_eq!(page.texts("tbody td:nth-child(1)"), ["<b>d"]);
    let link = page.attributes("tbody a", "href").remove(0);
    let item = browser.open(&link).await;
    assert_eq!(item.texts("h1"), ["Missed delivery <b>d"]);
    assert_eq!(item.texts("dd")[0], "<script>");
}
