//! `fynapse setup` and `fynapse rotate`, against the simulated Fynapse.

use inbox_core::secret_keys::{KeyCodec, Keys};
use local::fynapse_simulator::{FynapseSimulator, SimulatedSubscription};
use local::stack::{
    self, FYNAPSE_API_CREDENTIALS_SECRET, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET, FYNAPSE_SECRET,
    FYNAPSE_SUBSCRIPTION_ID,
};
use serde_json::json;

use crate::{CliHarness, CliOutput, bind_listener};

const WEBHOOK_URL: &str = "https://inbox.test/webhooks/fynapse";
/// The stored value before anything was set up.
const STORED: &str = "local-fynapse-secret";
const FIRST_VALUE: &str = "simulated-signing-secret-value-0001";
const SECOND_VALUE: &str = "simulated-signing-secret-value-0002";

/// An inbox, and a Fynapse that knows nothing of it.
struct Setup {
    harness: CliHarness,
    fynapse: FynapseSimulator,
    api_url: String,
}

impl Setup {
    async fn new() -> Self {
        let harness = CliHarness::with_system_clock().await;
        let clock = harness.world.stack.clock.clone();
        let fynapse =
            FynapseSimulator::new(clock, FYNAPSE_SUBSCRIPTION_ID, FYNAPSE_CLIENT_ID, FYNAPSE_CLIENT_SECRET);
        let listener = bind_listener().await;
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        stack::spawn_server(listener, fynapse.routes());
        Self { harness, fynapse, api_url }
    }

    /// Runs a command; neither a secret nor a token is ever printed.
    async fn run(&self, command: &str) -> CliOutput {
        let options = format!("--api-url {} --base-url https://inbox.test", self.api_url);
        let ran = self.harness.run(&format!("{command} {options}")).await;
        for secret in [STORED, "simulated-", FYNAPSE_CLIENT_SECRET] {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{}", ran.transcript());
        }
        ran
    }

    async fn put(&self, secret_id: &str, value: &str) {
        let secrets = &self.harness.world.stack.inspector.secrets;
        secrets.put_secret_value().secret_id(secret_id).secret_string(value).send().await.unwrap();
    }

    async fn stored(&self) -> String {
        let secrets = &self.harness.world.stack.inspector.secrets;
        let answer = secrets.get_secret_value().secret_id(FYNAPSE_SECRET).send().await.unwrap();
        answer.secret_string.unwrap()
    }

    /// The requests that change something at Fynapse, without those for a token.
    fn changes(&self) -> Vec<String> {
        let requests = self.fynapse.requests().into_iter();
        requests.filter(|it| it.starts_with("POST /api")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_makes_secret_and_subscription_once_and_stores_the_value() {
    let it = Setup::new().await;
    let first = it.run("--json fynapse setup --yes").await.json();
    assert_eq!((&first["status"], &first["subscription_id"]), (&json!("done"), &json!("subscription-2")));
    let subscriptions = it.fynapse.subscriptions();
    let made = SimulatedSubscription {
        id: "subscription-2".to_owned(),
        name: "balance-inbox".to_owned(),
        endpoint_url: WEBHOOK_URL.to_owned(),
        secret_ref: "balance-inbox".to_owned(),
        event_types: vec!["balance.extracted".to_owned()],
    };
    assert_eq!(subscriptions.get(1), Some(&made));
    let stored = format!(r#"["{FIRST_VALUE}","{STORED}"]"#);
    assert_eq!(it.stored().await, stored);
    Keys::parse(&stored, KeyCodec::Utf8).unwrap();
    let changes = ["POST /api/v1/event-deliveries/secrets", "POST /api/v1/event-deliveries/subscriptions"];
    assert_eq!(it.changes(), changes);

    let again = it.run("--json fynapse setup --yes").await.json();
    let expected = (&json!("nothing_to_do"), &json!("subscription-2"));
    assert_eq!((&again["status"], &again["subscription_id"]), expected);
    assert_eq!(it.changes(), changes);
    assert_eq!(it.stored().await, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_the_steps_and_changes_nothing() {
    let it = Setup::new().await;
    let dry = it.run("fynapse setup --dry-run").await;
    let expected = format!(
        "to be done     make the secret balance-inbox at Fynapse\n\
         to be done     store its value in secret fynapse-signing, in front of the stored ones\n\
         to be done     make the subscription balance-inbox to balance.extracted, at {WEBHOOK_URL}\n"
    );
    assert_eq!((dry.stdout.as_str(), dry.exit_code), (expected.as_str(), 0));
    let unconfirmed = it.run("fynapse setup").await;
    assert!(unconfirmed.stderr.contains("add --yes") && unconfirmed.exit_code == 1, "{}", unconfirmed.stderr);
    assert_eq!((it.changes(), it.stored().await), (vec![], STORED.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_goes_on_where_it_was_interrupted() {
    let it = Setup::new().await;
    it.run("fynapse setup --yes").await;
    // The value was made, and not stored.
    it.put(FYNAPSE_SECRET, STORED).await;
    let ran = it.run("fynapse setup --yes").await;
    let states: Vec<_> = ran.stdout.lines().take(3).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(states, ["there already", "done", "there already"], "{}", ran.transcript());
    assert_eq!(it.stored().await, format!(r#"["{FIRST_VALUE}","{STORED}"]"#));
    assert_eq!(it.fynapse.subscriptions().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotate_stores_the_new_value_in_front_of_the_old_ones() {
    let it = Setup::new().await;
    let none = it.run("fynapse rotate --yes").await;
    assert_eq!(
        (none.stderr.as_str(), none.exit_code),
        ("error: Fynapse has no secret balance-inbox: `inboxctl fynapse setup` makes one\n", 1)
    );
    it.run("fynapse setup --yes").await;
    let before = it.stored().await;
    assert_eq!(it.run("fynapse rotate --dry-run").await.exit_code, 0);
    assert_eq!(it.stored().await, before);
    assert_eq!(it.run("--json fynapse rotate --yes").await.json()["status"], "done");
    let stored = format!(r#"["{SECOND_VALUE}","{FIRST_VALUE}","{STORED}"]"#);
    assert_eq!(it.stored().await, stored);
    // The rotation at Fynapse was done, and its value was not stored: that is made up for, and nothing more.
    it.put(FYNAPSE_SECRET, &before).await;
    let rotations = it.changes().len();
    let ran = it.run("fynapse rotate --yes").await;
    assert!(ran.stdout.contains("The value of an earlier rotation is stored now."), "{}", ran.transcript());
    assert_eq!((it.stored().await, it.changes().len()), (stored, rotations));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_api_does_not_rotate_setup_stores_the_new_value() {
    let it = Setup::new().await;
    it.run("fynapse setup --yes").await;
    it.fynapse.rotate_elsewhere("nothing");
    let ran = it.run("fynapse rotate --yes").await;
    let why = "Fynapse's API does not rotate a secret at the path that is assumed here: rotate balance-inbox at Fynapse, \
               then `inboxctl fynapse setup` stores the new value";
    assert_eq!((ran.stderr, ran.exit_code), (format!("error: {why}\n"), 1));
    it.fynapse.rotate_elsewhere("balance-inbox");
    assert_eq!(it.run("fynapse setup --yes").await.exit_code, 0);
    let third = "simulated-signing-secret-value-0003";
    assert_eq!(it.stored().await, format!(r#"["{third}","{FIRST_VALUE}","{STORED}"]"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_another_receiver_has_is_left_alone() {
    let it = Setup::new().await;
    it.fynapse.add_subscription(SimulatedSubscription {
        id: "other".to_owned(),
        name: "balance-inbox".to_owned(),
        endpoint_url: "https://other.test/webhooks".to_owned(),
        secret_ref: "other".to_owned(),
        event_types: vec![],
    });
    let ran = it.run("fynapse setup --yes").await;
    let why = "the subscription balance-inbox at Fynapse delivers to another address: choose another --name";
    assert_eq!((ran.stderr, ran.exit_code), (format!("error: {why}\n"), 1));
    assert_eq!(it.changes(), Vec::<String>::new());
    assert_eq!(it.run("fynapse setup --yes --name second").await.exit_code, 0);
    let named: Vec<_> = it.fynapse.subscriptions().into_iter().map(|it| it.name).collect();
    assert_eq!(named, ["first", "balance-inbox", "second"]);
}

/// A new secret would sign nothing: the subscription keeps its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_made_for_a_subscription_whose_secret_is_not_listed() {
    let it = Setup::new().await;
    it.fynapse.add_subscription(SimulatedSubscription {
        id: "ours".to_owned(),
        name: "made-by-hand".to_owned(),
        endpoint_url: WEBHOOK_URL.to_owned(),
        secret_ref: "on-another-page".to_owned(),
        event_types: vec![],
    });
    let why = "the subscription made-by-hand at Fynapse (id ours) signs with a secret that Fynapse's list does not show (searched for \
               on-another-page): put its value into secret fynapse-signing by hand";
    for command in ["setup", "rotate"] {
        let ran = it.run(&format!("fynapse {command} --yes")).await;
        assert_eq!((ran.stderr, ran.exit_code), (format!("error: {why}\n"), 1));
    }
    assert_eq!((it.changes(), it.stored().await), (vec![], STORED.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_would_be_dropped_is_named_before() {
    let it = Setup::new().await;
    it.put(FYNAPSE_SECRET, r#"["local-fynapse-secret","b-2","c-3","d-4"]"#).await;
    let dry = it.run("fynapse setup --dry-run").await;
    let step = "store its value in secret fynapse-signing, in front of the stored ones, and drop the oldest stored value: 4 values are the most\n";
    assert!(dry.stdout.contains(step), "{}", dry.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_named_before_anything_is_changed() {
    let it = Setup::new().await;
    it.put(FYNAPSE_API_CREDENTIALS_SECRET, r#"{"client_id":"c","client_secret":"wrong"}"#).await;
    let refused = it.run("fynapse setup --yes").await;
    let error = "error: listing the subscriptions: Fynapse does not accept the client's credentials\n";
    assert_eq!((refused.stderr.as_str(), refused.exit_code), (error, 1));
    it.put(FYNAPSE_API_CREDENTIALS_SECRET, "c").await;
    let unusable = it.run("fynapse setup --yes").await;
    assert!(unusable.stderr.contains("secret fynapse-api-credentials cannot be used"), "{}", unusable.stderr);
    let open =
        it.harness.run("fynapse setup --api-url http://fynapse.test --base-url https://inbox.test").await;
    assert!(open.stderr.starts_with("error: the address of your Fynapse instance"), "{}", open.stderr);
    assert_eq!(it.changes(), Vec::<String>::new());
}
