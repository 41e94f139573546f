//! Payloads: hidden, revealed on request as escaped text, and downloaded as received.

use reqwest::StatusCode;
use tests::extract_body;

use crate::Browser;

const SCRIPT: &str = "<script>alert(1)</script>";

/// A browser, and an event whose payload has a script, a number that no float holds, and odd spacing.
async fn browser_with_event() -> (Browser, String) {
    let browser = Browser::new().await;
    let body = extract_body("e-1");
    let body = format!("{}  ,\"x\":\"{SCRIPT}\",\"n\":1.10000000000000000001}}", body.trim_end_matches('}'));
    // The body's own braces were cut off together.
    let open = body.matches('{').count() - body.matches('}').count();
    let body = body.replacen("  ,\"x\"", &format!("{},\"x\"", "}".repeat(open)), 1);
    assert!(browser.world.deliver_fynapse(&body).await.is_success());
    (browser, body)
}

#[tokio::test]
async fn a_payload_is_in_no_page_until_it_is_asked_for() {
    let (browser, _) = browser_with_event().await;
    for path in [
        "/",
        "/overview/latest",
        "/events",
        "/event?id=fynapse/event/e-1",
        "/event/live?id=fynapse/event/e-1",
    ] {
        assert!(!browser.open(path).await.text.contains("alert(1)"), "{path}");
    }
    // No link reveals it, so no history and no preview does.
    let link = browser.get("/event/payload?id=fynapse/event/e-1").await;
    assert_eq!(link.status, StatusCode::METHOD_NOT_ALLOWED);
    // It is not searched either.
    assert!(!browser.open("/search?q=alert(1)").await.main().contains("e-1"));
}

#[tokio::test]
async fn a_revealed_payload_is_text_as_received_and_runs_nothing() {
    let (browser, body) = browser_with_event().await;
    let page = browser.post("/event/payload", &[("id", "fynapse/event/e-1")]).await;
    assert_eq!(page.status, StatusCode::OK);
    let revealed = page.attributes("[aria-label^=Payload]", "aria-label");
    assert_eq!(revealed, ["Payload, as received", "Payload, indented"]);
    let raw = scraper::Html::parse_document(&page.text);
    let pre = scraper::Selector::parse("[aria-label^=Payload]").unwrap();
    let shown: Vec<String> = raw.select(&pre).map(|pre| pre.text().collect()).collect();
    assert_eq!(shown[0], body, "every byte, in its place");
    assert!(shown[1].contains("\n  \"n\": 1.10000000000000000001\n"), "numbers are never printed anew");
    assert!(!page.text.contains(SCRIPT), "it is escaped");
    // The page's only script is its own.
    assert_eq!(page.texts("script").len(), 1);
}

#[tokio::test]
async fn a_payload_of_more_than_64_kib_is_shown_in_part_and_downloaded_whole() {
    let browser = Browser::new().await;
    let body = extract_body("e-2").replacen('{', &format!("{{\"long\":\"{}\",", "é".repeat(60_000)), 1);
    browser.world.deliver_fynapse(&body).await;
    let page = browser.post("/event/payload", &[("id", "fynapse/event/e-2")]).await;
    let main = page.main();
    assert!(main.contains("Only the first 64 KiB of 117 KiB are shown"), "{}", &main[..300]);
    assert_eq!(page.attributes("[aria-label^=Payload]", "aria-label"), ["Payload, as received"]);
    assert!(page.text.len() < 110_000, "{}", page.text.len());
    let file = browser.post("/event/download", &[("id", "fynapse/event/e-2")]).await;
    assert_eq!(file.text, body);
    assert_eq!(file.header("content-type"), "application/octet-stream");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"fynapse_event_e-2.payload\"");
}

#[tokio::test]
async fn what_a_sender_chose_is_escaped_everywhere() {
    let browser = Browser::new().await;
    let id = "\"><img src=x onerror=alert(1)>";
    let json_id = id.replace('"', "\\\"");
    let body = extract_body("e-3").replace("e-3", &json_id).replace("balance.extracted", "<b>type</b>");
    assert!(browser.world.deliver_fynapse(&body).await.is_success());
    let event_id = browser.attributes_of("/events", "tbody a", "title").await.remove(0);
    for path in ["/", "/events", &format!("/event?id={event_id}"), "/search?q=%3Cimg", "/events?type=%3Cb%3E"]
    {
        let page = browser.get(path).await;
        assert!(!page.text.contains("<img"), "{path}");
        assert_eq!(page.texts("main b, main img"), [""; 0], "{path}");
    }
}

#[tokio::test]
async fn an_erased_payload_is_said_to_be_erased_and_cannot_be_asked_for() {
    let browser = Browser::new().await;
    let body = extract_body("e-1").replace("150.00", "\"user-1\"");
    assert!(browser.world.deliver_fynapse(&body).await.is_success());
    browser.world.run_worker().await;
    assert_eq!(browser.world.erase_person("user-1").await.unwrap(), []);
    let page = browser.open("/event?id=fynapse/event/e-1").await;
    assert!(page.main().contains("It was erased with a person that it named."), "{}", page.main());
    assert!(!page.main().contains("Reveal the payload") && !page.main().contains("Download"));
}
