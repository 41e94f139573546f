//! Acts: each asks for a reason, says what will happen, leaves the audit entry of the command line, and shows its result.

use inbox_aws::stores::{AuditFilter, PageStart};
use inbox_core::audit::OperatorAction;
use inbox_core::event::EventKey;
use local::stack::{DEAD_LETTER_QUEUE, EVENTS_QUEUE};
use reqwest::StatusCode;
use tests::worker_effects::event_message;
use tests::{World, extract_body};

use crate::{Browser, TestHost};

/// Id of a plan, as the page of a replay has it.
const PLAN: (&str, &str) = ("plan", "0123456789ab");

/// Action, operator and reason of an event's audit entries.
async fn audit(world: &World, event_id: &str) -> Vec<(String, String, String)> {
    let key = EventKey::from_event_id(event_id).unwrap();
    let event = world.stores().operator.event(&key).await.unwrap().unwrap();
    let entries = event.audit_entries.into_iter();
    entries.map(|it| (it.action.as_str().to_owned(), it.operator, it.reason)).collect()
}

fn entry(action: &str, reason: &str) -> (String, String, String) {
    (action.to_owned(), "ada".to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_replay_says_what_will_happen_asks_for_a_reason_and_shows_the_event() {
    let browser = Browser::new().await;
    let world = &browser.world;
    world.deliver_fynapse(extract_body("e-1")).await;
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"]);
    let event = browser.open("/event?id=fynapse/event/e-1").await;
    let plan = event.attributes("main a.button", "href");
    assert_eq!(plan, ["/events/replay?id=fynapse/event/e-1"]);
    let plan = browser.open(&plan[0]).await;
    assert_eq!(plan.texts("form[method=post] button"), ["Replay 1 event"]);
    assert!(plan.main().contains("BalanceExtracted is published again, as replay 1."));
    assert_eq!(plan.attributes("input[name=by]", "value"), ["ada"]);
    // Without a reason or a name, nothing happens.
    for form in [
        vec![("id", "fynapse/event/e-1"), PLAN, ("by", "ada")],
        vec![("id", "fynapse/event/e-1"), PLAN, ("by", "ada"), ("why", "  ")],
        vec![("id", "fynapse/event/e-1"), PLAN, ("by", ""), ("why", "x")],
        vec![PLAN, ("by", "ada"), ("why", "x")],
        vec![("id", "x"), PLAN, ("by", "ada"), ("why", "x")],
        vec![("id", "fynapse/event/e-1"), ("by", "ada"), ("why", "x")],
        vec![("id", "fynapse/event/e-1"), ("plan", "../0123456789"), ("by", "ada"), ("why", "x")],
    ] {
        assert_eq!(browser.post("/events/replay", &form).await.status, StatusCode::BAD_REQUEST, "{form:?}");
    }
    assert_eq!(audit(world, "fynapse/event/e-1").await, []);
    let form = [("id", "fynapse/event/e-1"), PLAN, ("by", "grace"), ("why", "rule was wrong")];
    let page = browser.act("/events/replay", &form).await;
    assert_eq!(page.texts("h1"), ["Event fynapse/event/e-1"]);
    assert_eq!(page.texts(".notice"), ["It is due again: the relay sends it. This page follows it."]);
    assert_eq!(page.texts("ol.timeline strong").last().unwrap(), "— replay by grace: rule was wrong");
    let given = ("replay".to_owned(), "grace".to_owned(), "rule was wrong".to_owned());
    assert_eq!(audit(world, "fynapse/event/e-1").await, [given]);
    world.run_relay().await;
    world.run_worker().await;
    assert_eq!(world.drain_bus_ids().await, ["fynapse/event/e-1"], "the replay reached the bus");
    // The next form suggests the name that was given.
    let next = browser.open("/events/replay?id=fynapse/event/e-1").await;
    assert_eq!(next.attributes("input[name=by]", "value"), ["grace"]);
    // The same form sent again, by a second click or a reload, does nothing.
    browser.act("/events/replay", &form).await;
    assert_eq!(audit(world, "fynapse/event/e-1").await.len(), 1);
}

#[tokio::test]
async fn several_events_are_replayed_at_once_and_each_has_its_outcome() {
    let browser = Browser::new().await;
    let world = &browser.world;
    for id in ["e-1", "e-2", "e-3"] {
        world.deliver_fynapse(extract_body(id)).await;
    }
    world.mark_done("fynapse/event/e-1").await;
    world.mark_done("fynapse/event/e-2").await;
    // Only what is done can be checked.
    let list = browser.open("/events").await;
    assert_eq!(list.attributes("tbody input", "value"), ["fynapse/event/e-2", "fynapse/event/e-1"]);
    let query = "id=fynapse/event/e-1&id=fynapse/event/e-2&id=fynapse/event/e-3&id=fynapse/event/e-1";
    let plan = browser.open(&format!("/events/replay?{query}")).await;
    assert_eq!(plan.texts("form[method=post] button"), ["Replay 2 events"]);
    assert!(plan.main().contains("Nothing: it is sent, not done: it may still be processed."));
    assert!(plan.main().contains("BalanceExtracted is published again, as replay 1."));
    let ids = plan.attributes("form input[name=id]", "value");
    assert_eq!(ids, ["fynapse/event/e-1", "fynapse/event/e-2"], "what the button names, and nothing else");
    let mut form = vec![PLAN, ("by", "ada"), ("why", "again"), ("id", "fynapse/event/e-3")];
    form.extend(ids.iter().map(|id| ("id", id.as_str())));
    let result = browser.act("/events/replay", &form).await;
    assert_eq!(result.texts(".notice"), ["2 of 3 events are due again."]);
    assert_eq!(
        result.texts("tbody td:last-child"),
        [
            "not replayed: it is sent, not done: it may still be processed. If its message is lost, use `inboxctl events replay --lost`",
            "due: the relay sends it, as replay 1",
            "due: the relay sends it, as replay 1",
        ]
    );
}

#[tokio::test]
async fn all_events_of_a_filter_are_replayed_once_with_progress() {
    let browser = Browser::new().await;
    let world = &browser.world;
    for n in 1..=60 {
        world.deliver_fynapse(extract_body(&format!("e-{n:02}"))).await;
        if n > 1 {
            world.mark_done(&format!("fynapse/event/e-{n:02}")).await;
        }
    }
    world.advance(std::time::Duration::from_secs(1));
    // Without a time range, nothing is offered.
    assert_eq!(browser.open("/events?provider=fynapse").await.texts("main a.button"), [""; 0]);
    assert_eq!(browser.get("/events/replay-all?provider=fynapse").await.status, StatusCode::BAD_REQUEST);
    let list = browser.open("/events?since=1h&provider=fynapse&state=done").await;
    let plan = list.attributes("main a.button", "href");
    assert_eq!(plan, ["/events/replay-all?since=1h&provider=fynapse&state=done"]);
    let plan = browser.open(&plan[0]).await;
    assert_eq!(plan.texts("form[method=post] button"), ["Replay 59 events"]);
    assert_eq!(plan.texts("ul li").last().unwrap(), "and 49 more");
    let facts = plan.texts("dl.facts dt").into_iter().zip(plan.texts("dl.facts dd")).collect::<Vec<_>>();
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert!(
        facts.contains(&fact("left out: sent", "1")) && facts.contains(&fact("balance.extracted", "59")),
        "{facts:?}"
    );
    // An event that comes after the plan is not part of it.
    world.advance(std::time::Duration::from_secs(1));
    world.deliver_fynapse(extract_body("late")).await;
    world.mark_done("fynapse/event/late").await;
    let (names, values) = (
        plan.attributes("form.fields input[type=hidden]", "name"),
        plan.attributes("form.fields input[type=hidden]", "value"),
    );
    let mut form: Vec<_> = names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
    assert_eq!(browser.post("/events/replay-all", &form).await.status, StatusCode::BAD_REQUEST, "no reason");
    form.extend([("by", "ada"), ("why", "rule was wrong")]);
    for round in 0..2 {
        let result = browser.act("/events/replay-all", &form).await;
        if let Some(live) = result.attributes("[data-live]", "data-live").first() {
            while !browser.open(live).await.text.contains("the relay sends them") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        assert_eq!(
            audit(world, "fynapse/event/e-60").await,
            [entry("replay", "rule was wrong")],
            "round {round}"
        );
    }
    assert_eq!(audit(world, "fynapse/event/e-01").await, []);
    assert_eq!(audit(world, "fynapse/event/late").await, []);
}

#[tokio::test]
async fn a_wrong_clock_stops_every_act() {
    let host =
        TestHost { clock_error: Some("this machine's clock is wrong".to_owned()), ..TestHost::default() };
    let browser = Browser::with(World::new().await, host, false).await;
    browser.world.deliver_fynapse(extract_body("e-1")).await;
    browser.world.mark_done("fynapse/event/e-1").await;
    let form = [("id", "fynapse/event/e-1"), PLAN, ("by", "ada"), ("why", "x")];
    let page = browser.post("/events/replay", &form).await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.main().contains("this machine's clock is wrong"));
    assert_eq!(audit(&browser.world, "fynapse/event/e-1").await, []);
}

#[tokio::test]
async fn p7_a_reason_of_the_quarantine_is_planned_replayed_and_reported() {
    let browser = Browser::new().await;
    let world = &browser.world;
    for n in 1..=2 {
        let unknown = format!("{{\"type\":\"NEW\",\"event_uuid\":\"u-{n}\",\"batch_id\":\"b-{n}\"}}");
        world.deliver_rightfoot(&unknown).await;
        if n == 1 {
            // As if an older version had not known the type.
            let known = unknown.replace("NEW", "BALANCE_BATCH_COMPLETED");
            world.quarantine_as_older_version(&unknown, &known).await;
        }
    }
    let page = browser.open("/quarantine").await;
    let plan = page.attributes("main a.button", "href");
    assert_eq!(plan, ["/quarantine/replay?reason=unknown_type"]);
    let plan = browser.open(&plan[0]).await;
    assert_eq!(plan.texts("form[method=post] button"), ["Replay 2 items"]);
    let mut effects = plan.texts("tbody td:last-child");
    effects.sort();
    assert_eq!(
        effects,
        [
            "nothing: it is still unknown_type",
            "the event rightfoot/batch/b-1/completed is recorded, unless it is already",
        ]
    );
    let ids = plan.attributes("form input[name=id]", "value");
    let mut form: Vec<_> = ids.iter().map(|id| ("id", id.as_str())).collect();
    assert_eq!(browser.post("/quarantine/replay", &form).await.status, StatusCode::BAD_REQUEST, "no reason");
    form.extend([("by", "ada"), ("why", "known since 1.4")]);
    let result = browser.act("/quarantine/replay", &form).await;
    assert_eq!(result.texts(".notice"), ["1 of 2 items are closed."]);
    let event = "rightfoot/batch/b-1/completed";
    assert_eq!(audit(world, event).await, [entry("replay", "known since 1.4")]);
    assert_eq!(world.drain_event_ids().await, [event]);
    let page = browser.open("/quarantine").await;
    assert_eq!(page.texts("h2 .badge"), ["1 open"]);
    let closed = result.attributes("tbody a", "href");
    let mut pages = Vec::new();
    for link in closed {
        pages.push(browser.open(&link).await.main());
    }
    assert!(
        pages
            .iter()
            .any(|page| page.contains(": recorded") && page.contains("— replay by ada: known since 1.4"))
    );
}

#[tokio::test]
async fn dead_letters_are_looked_at_only_on_request_and_the_checked_ones_are_redriven() {
    let browser = Browser::new().await;
    let world = &browser.world;
    for id in ["e-1", "e-2"] {
        world.deliver_fynapse(extract_body(id)).await;
    }
    world.drain_queue().await;
    let url = world.stack.queue_url(DEAD_LETTER_QUEUE).await.unwrap();
    for id in ["e-1", "e-2"] {
        let body = event_message(&format!("fynapse/event/{id}"));
        world.stack.inspector.sqs.send_message().queue_url(&url).message_body(body).send().await.unwrap();
    }
    world.stack.connector.clear_call_log();
    let page = browser.open("/dead-letters").await;
    assert!(world.stack.connector.call_log().is_empty(), "the page itself does not look");
    assert_eq!(page.texts("form button"), ["Find", "Look", "Close"]);
    let looked = browser.post("/dead-letters/look", &[]).await;
    assert_eq!(looked.texts("main p[role=status]"), ["2 messages were received."], "{}", looked.main());
    let mut events = looked.texts("tbody td[data-label=Event]");
    events.sort();
    assert_eq!(events, ["fynapse/event/e-1", "fynapse/event/e-2"]);
    let rows = looked.texts("tbody td[data-label=Event]");
    let ids = looked.attributes("tbody input[name=id]", "value");
    let chosen = &ids[rows.iter().position(|event| event == "fynapse/event/e-1").unwrap()];
    assert_eq!(
        browser.post("/dead-letters/redrive", &[("id", chosen)]).await.status,
        StatusCode::BAD_REQUEST
    );
    let form = [("id", chosen.as_str()), ("id", "no-such-message"), ("by", "ada"), ("why", "rule repaired")];
    let result = browser.act("/dead-letters/redrive", &form).await;
    assert_eq!(result.texts(".notice"), ["1 of 2 messages are back on the queue."]);
    assert_eq!(audit(world, "fynapse/event/e-1").await, [entry("redrive", "rule repaired")]);
    assert_eq!(audit(world, "fynapse/event/e-2").await, []);
    let queued = local::inspect::receive_all(&world.stack, EVENTS_QUEUE).await.unwrap();
    assert_eq!(queued, [event_message("fynapse/event/e-1")]);
    let dead = local::inspect::receive_all(&world.stack, DEAD_LETTER_QUEUE).await.unwrap();
    assert_eq!(dead, [event_message("fynapse/event/e-2")], "the other one was released at once");
}

#[tokio::test]
async fn a_test_delivery_shows_its_command_the_expected_and_the_actual_answer() {
    let browser = Browser::new().await;
    let page = browser.open("/send").await;
    let commands = page.texts("code");
    assert!(
        commands.contains(&"inboxctl --stack payments-inbox send fynapse --duplicate".to_owned()),
        "{commands:?}"
    );
    assert!(commands.contains(&"inboxctl --stack payments-inbox send rightfoot --spoil json".to_owned()));
    assert!(page.main().contains("This is a production stack: the effects of a good delivery are real."));
    let result = browser.act("/send", &[("delivery", "fynapse:twice")]).await;
    let sent = browser.host.sent.lock().unwrap().remove(0);
    assert!(sent.is_twice && sent.defect.is_none() && !sent.is_alert);
    assert_eq!(result.texts(".notice"), ["1 of 2 answers are as expected."]);
    assert_eq!(
        result.texts("tbody td:last-child"),
        [
            "200 {\"status\":\"received\"} in 7 ms: as expected",
            "503 <b> in 7 ms: NOT as expected, which is 200 {\"status\":\"received\"}",
            "the event of the delivery",
        ]
    );
    assert_eq!(result.attributes("main a.button", "href"), ["/event?id=fynapse/event/e-9"]);
    browser.act("/send", &[("delivery", "rightfoot:json")]).await;
    assert_eq!(browser.host.sent.lock().unwrap().remove(0).defect.as_deref(), Some("json"));
    for wrong in ["", "x", "fynapse:", "fynapse:x", "nobody:good", "fynapse:alert"] {
        let page = browser.post("/send", &[("delivery", wrong)]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert!(browser.host.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn p9_a_batch_is_tracked_from_the_page_that_misses_it() {
    let browser = Browser::new().await;
    browser.world.deliver_rightfoot(tests::completion_body("b-1", "u-1")).await;
    let page = browser.open("/batch?id=b-1").await;
    assert_eq!(page.texts("main .state").remove(0), "not tracked");
    assert_eq!(page.attributes("main a.button", "href"), ["/batches/track?id=b-1"]);
    let form = browser.open("/batches/track?id=b-1").await;
    assert_eq!(form.attributes("main input[name=id]", "value"), ["b-1"]);
    for wrong in [
        vec![("id", "b-1")],
        vec![("id", "b-1"), ("expected", "0")],
        vec![("id", "b-1"), ("expected", "1"), ("failed", "a b")],
        vec![("id", ""), ("expected", "1")],
        vec![("id", "b-1"), ("expected", "1"), ("subject", "a b")],
        vec![("id", "b-1"), ("expected", "1"), ("by", "ada")],
        vec![("id", "b-1"), ("expected", "1"), ("why", "lost")],
    ] {
        assert_eq!(browser.post("/batches/track", &wrong).await.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    }
    let who = [("by", "ada"), ("why", "its webhook was lost")];
    let with = |more: &[(&'static str, &'static str)]| [who.as_slice(), more].concat();
    let tracked =
        browser.act("/batches/track", &with(&[("id", "b-1"), ("expected", "2"), ("subject", "demo")])).await;
    assert_eq!(tracked.texts("main .state").remove(0), "tracked");
    assert!(local::inspect::is_tracked(&browser.world.stack, "b-1").await.unwrap());
    let audit = browser.world.stores().operator;
    let audit = audit.list_audit(&AuditFilter::default(), &PageStart::Newest, 10).await.unwrap().items;
    let entries: Vec<_> =
        audit.iter().map(|it| (it.subject.as_str(), it.entry.action, it.entry.reason.as_str())).collect();
    assert_eq!(entries, [("batch b-1", OperatorAction::Track, "its webhook was lost")]);
    let other =
        browser.post("/batches/track", &with(&[("id", "b-1"), ("expected", "3"), ("subject", "demo")])).await;
    assert!(other.main().contains("The batch is tracked already, with another "), "{}", other.main());
}
