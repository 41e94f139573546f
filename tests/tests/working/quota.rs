//! Rightfoot's quota: what a pause that Rightfoot asks for stops.

use std::time::Duration;

use local::rightfoot::{Canned, Scripted};
use tests::rightfoot::{MINUTE, RightfootWorld, submission};
use tests::{completed, completion, number};

const SECOND: Duration = Duration::from_secs(1);

fn made_up(n: usize) -> String {
    format!("made-up-{n}")
}

fn asked_in_vain(it: &RightfootWorld) -> usize {
    it.rightfoot.requests().iter().filter(|request| request.query.contains("made-up-")).count()
}

fn limit_rate(it: &RightfootWorld, path_contains: &str, answer: Canned) {
    let scripted = Scripted { path_contains: path_contains.to_owned(), answer, times: None };
    it.rightfoot.change(|rightfoot| rightfoot.answers = vec![scripted]);
}

async fn a_pause_that_rightfoot_asks_for_stops_every_question_of_the_process_until_it_is_over() {
    for (answer, attempts, secs) in
        [(Canned::RetryAfter { status: 429, secs: 60 }, 1, 60), (Canned::Status(429), 3, 30)]
    {
        let it = RightfootWorld::new().await;
        limit_rate(&it, "/v1/balances", answer);
        for n in 0..10 {
            it.world.rightfoot(completion(&made_up(n), "u")).await;
        }
        it.world.work_once().await;
        let asked = asked_in_vain(&it);
        assert!((1..=10 * attempts).contains(&asked), "{answer:?}: ten at once: {asked}");

        it.rightfoot.change(|rightfoot| rightfoot.answers.clear());
        it.world.pass(SECOND * (secs - 1));
        for n in 10..30 {
            it.world.rightfoot(completion(&made_up(n), "u")).await;
        }
        let worked = it.world.work().await;
        assert_eq!((worked.deleted, asked_in_vain(&it)), (20, asked), "{answer:?}");
        let now = it.world.now().0;
        for n in 10..30 {
            let record = it.world.record(&completed(&made_up(n))).await;
            assert_eq!(number(&record, "due_at"), Some(now + 60_000), "{answer:?}");
        }
        it.world.pass(SECOND);
        it.world.rightfoot(completion(&made_up(30), "u")).await;
        it.world.work().await;
        assert_eq!(asked_in_vain(&it), asked + 1, "{answer:?}: it is over");
    }
}

async fn what_meets_a_long_pause_is_due_again_when_it_is_over() {
    let it = RightfootWorld::new().await;
    limit_rate(&it, "/v1/balances", Canned::RetryAfter { status: 429, secs: 3_600 });
    it.world.rightfoot(completion("b-1", "u")).await;
    it.world.work().await;
    it.world.pass(MINUTE * 10);
    it.world.rightfoot(completion("b-2", "u")).await;
    it.world.work().await;
    assert_eq!(it.rightfoot.requests().len(), 1);
    let record = it.world.record(&completed("b-2")).await;
    assert_eq!(number(&record, "due_at"), Some(it.world.now().plus(MINUTE * 50).0));
}

async fn a_submission_that_meets_a_pause_is_not_sent_and_is_done_when_it_is_repeated() {
    let it = RightfootWorld::new().await;
    limit_rate(&it, "/v1/balance_requests", Canned::RetryAfter { status: 429, secs: 60 });
    for name in ["one", "two"] {
        let refused = it.world.ask(submission(name, &["a"])).await.unwrap().unwrap_err();
        assert_eq!(refused.name(), "RightfootUnavailable");
        assert_eq!(
            refused.to_string(),
            "not done: Rightfoot asks for a pause; repeat the very same request later"
        );
        assert_eq!(it.rightfoot.requests().len(), 1, "{name}");
    }
    it.rightfoot.change(|rightfoot| rightfoot.answers.clear());
    it.world.pass(MINUTE);
    it.submit("one", &["a"]).await;
    it.submit("two", &["a"]).await;
    assert_eq!((it.rightfoot.requests().len(), it.rightfoot.batches().len()), (3, 2));
}
