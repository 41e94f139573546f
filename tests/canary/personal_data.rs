//! Requests with canaries in all personal data, and the checks that none of it appears elsewhere.

use std::io::Read;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::DeflateDecoder;
use inbox_core::event::payload_hash;
use serde_json::{Value, json};
use tests::{Item, World};

/// Fields of every authorizer, besides the id.
const AUTHORIZER_FIELDS: [(&str, &str); 12] = [
    ("first_name", "CANARY-Jolanda"),
    ("last_name", "CANARY Doehring"),
    ("phone_number", "5550142233"),
    ("ssn", "078-05-1120"),
    ("ein", "12-3456789"),
    ("account_number", "000123987654"),
    ("routing_number", "021000021"),
    ("debit_card_number", "4111111111111111"),
    ("cvv", "737"),
    ("memo", "078051120"),
    ("email", "jolanda@CANARY.example"),
    ("note", "of Elmstreet, \"Springhill\""),
];
/// Parts of these fields that are long and odd enough to be searched for.
const SEARCHED_FRAGMENTS: [&str; 13] = [
    "CANARY",
    "Jolanda",
    "jolanda",
    "Doehring",
    "Elmstreet",
    "Springhill",
    "5550142233",
    "078-05-1120",
    "078051120",
    "12-3456789",
    "000123987654",
    "021000021",
    "4111111111111111",
];
/// Beginnings of SHA-256, SHA-1 and MD5 of the numbers among the fields: `printf %s 078-05-1120 | openssl dgst
/// -sha256 -r`.
const DIGESTS: [&str; 15] = [
    "ef6385e044681287",
    "b397e856ee347f34",
    "4c7ba0f145c56490",
    "8115c48aa9e937af",
    "f9f3d8a1df03ca3c",
    "e90ad120ee5b9186",
    "3384a7dc2a3da909",
    "5ad832cdb38aad56",
    "c78626473ffb30b5",
    "9bbef19476623ca5",
    "68bfb396f35af387",
    "5910f4ea0062a0e2",
    "489553f3942f7a33",
    "2c9273e27f70df93",
    "371c13cc3ac0bb78",
];
/// Submission ids, and the subject of the minted URL.
pub(crate) const SUBJECTS: [&str; 12] = [
    "fine",
    "partly",
    "many",
    "refuse",
    "denied",
    "taken",
    "trouble",
    "garbage",
    "weekly",
    "weekly-taken",
    "weekly-refuse",
    "demo",
];

pub(crate) fn authorizer_with_canaries(id: &str) -> Value {
    let mut person = json!({
        "authorizer_unique_id": id,
        "address": {"street_address_line1": "7 Elmstreet", "city": "CANARY-Springhill", "state": "CA"},
        "date_of_birth": {"day": 1, "month": 1, "year": 1987},
        "threshold_amount": 100,
    });
    for (field, value) in AUTHORIZER_FIELDS {
        person[field] = value.into();
    }
    person
}

pub(crate) fn batch_request(name: &str, ids: &[&str]) -> Value {
    let people: Vec<_> = ids.iter().map(|id| authorizer_with_canaries(id)).collect();
    json!({"action": "submit_batch", "submission_id": name, "authorizers": people})
}

pub(crate) fn schedule_request(name: &str, id: &str) -> Value {
    json!({
        "action": "create_schedule",
        "submission_id": name,
        "name": "CANARY Doehring, 078-05-1120",
        "interval_days": 1,
        "authorizers": [authorizer_with_canaries(id)],
    })
}

/// One request for every path through `rightfoot-requests`, and input that is no request.
pub(crate) fn every_request_path() -> Vec<Value> {
    let many: Vec<_> = (0..40).map(|n| format!("partly-{n}")).collect();
    let with = |field: &str, value: Value| {
        let mut request = batch_request("bad", &["a"]);
        request[field] = value;
        request
    };
    let mut in_a_row = batch_request("bad", &["a"]);
    in_a_row["authorizers"][0]["078-05-1120"] = json!({"CANARY": [1, {"CANARY": "078051120"}]});
    in_a_row["authorizers"][0]["authorizer_unique_id"] = json!(["CANARY"]);
    let track = |fields: Value| {
        let mut request = json!({"action": "track_batch", "batch_id": "batch-0", "expected": 2});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    let mut requests: Vec<_> = [
        "fine", "fine", "denied", "taken", "trouble", "trouble", "garbage", "refuse", "refuse", "partly",
        "partly",
    ]
    .map(|name| batch_request(name, &[&format!("{name}-1"), &format!("{name}-2")]))
    .into();
    requests.extend([
        batch_request("many", &many.iter().map(String::as_str).collect::<Vec<_>>()),
        batch_request("fine", &["fine-3"]),
        schedule_request("fine", "fine-1"),
        schedule_request("weekly", "fine-1"),
        schedule_request("weekly-taken", "taken-1"),
        schedule_request("weekly-refuse", "refuse-1"),
        batch_request("bad", &["same", "same"]),
        with("submission_id", "CANARY Doehring".into()),
        with("authorizers", "078-05-1120".into()),
        with("webhook_url", "https://CANARY.example".into()),
        with("078-05-1120", 1.into()),
        in_a_row,
        track(json!({"submission_id": "garbage", "batch_id": "batch-99"})),
        track(json!({"expected": "078-05-1120"})),
        track(json!({"failed_authorizer_ids": ["CANARY", "CANARY"]})),
        json!({"action": "track_schedule", "schedule_id": "s", "probe_authorizers": ["p"], "thresholds": {"authorizers": {"CANARY": "078051120"}}}),
        json!({"action": "078-05-1120"}),
        json!({"CANARY": "078-05-1120"}),
        json!("078-05-1120 CANARY"),
        json!(["CANARY", {"ssn": "078-05-1120"}]),
        json!(78_051_120),
        json!(null),
        json!({"action": "webhook_url", "subject": "demo"}),
    ]);
    requests
}

/// Strings that must be absent: personal data, and the second half of each URL's token, which is the secret part.
pub(crate) struct Canaries {
    personal: Vec<String>,
    macs: Vec<String>,
}

impl Canaries {
    /// Includes the hashes of the posted bodies and of their rows: an unkeyed hash of personal data is personal data.
    pub(crate) fn new(world: &World, bodies: &[String]) -> Self {
        let mut personal: Vec<_> = SEARCHED_FRAGMENTS.into_iter().chain(DIGESTS).map(str::to_owned).collect();
        for digest in DIGESTS {
            let bytes = hex::decode(digest).unwrap();
            personal.push(digest.to_uppercase());
            personal.push(STANDARD.encode(bytes)[..10].to_owned());
        }
        for body in bodies {
            let request: Value = serde_json::from_str(body).unwrap();
            let rows = request["authorizers"].as_array().unwrap().iter().map(Value::to_string);
            let mut without_url = request.clone();
            without_url["webhook_url"] = "".into();
            for text in
                rows.chain([body.clone(), request["authorizers"].to_string(), without_url.to_string()])
            {
                personal.push(payload_hash(text.as_bytes())[..16].to_owned());
            }
        }
        personal.sort();
        personal.dedup();
        let token = |subject: &str| world.stack.mint_url_token(&subject.parse().unwrap()).unwrap();
        let macs = SUBJECTS.map(|subject| token(subject).split('.').next_back().unwrap().to_owned());
        Self { personal, macs: macs.into() }
    }

    fn assert_no_personal_data(&self, what: &str, output: &str) {
        assert_none_of(&self.personal, what, output);
    }

    pub(crate) fn assert_absent(&self, what: &str, output: &str) {
        assert_none_of(&self.personal, what, output);
        assert_none_of(&self.macs, what, output);
    }
}

pub(crate) fn assert_none_of(canaries: &[String], what: &str, output: &str) {
    for canary in canaries {
        let line = output.lines().find(|line| line.contains(canary.as_str()));
        assert!(line.is_none(), "P8: {canary} in {what}: {}", line.unwrap_or_default());
    }
}

/// Checks every item of the table. Only a submission that is still open may hold its webhook URL.
pub(crate) fn assert_clean_table(items: &[Item], canaries: &Canaries) {
    for item in items {
        let place = format!("{} {}", tests::text(item, "pk"), tests::text(item, "sk"));
        for (name, value) in item {
            canaries.assert_absent("the table", name);
            let what = format!("{place} {name}");
            let is_open = item.contains_key("due");
            if name == "webhook_url" {
                assert!(is_open, "{what} outlives its use");
                canaries.assert_no_personal_data(&what, value.as_s().unwrap());
            } else {
                assert_clean_value(&what, value, canaries);
            }
        }
    }
}

fn assert_clean_value(what: &str, value: &AttributeValue, canaries: &Canaries) {
    if let Ok(text) = value.as_s().or(value.as_n()) {
        canaries.assert_absent(what, text);
    } else if let Ok(blob) = value.as_b() {
        let mut inflated = Vec::new();
        let _ = DeflateDecoder::new(blob.as_ref()).read_to_end(&mut inflated);
        for bytes in [blob.as_ref(), inflated.as_slice()] {
            canaries.assert_absent(what, &String::from_utf8_lossy(bytes));
            for digest in DIGESTS.map(|digest| hex::decode(digest).unwrap()) {
                assert!(!bytes.windows(8).any(|window| window == digest), "P8: a digest in {what}");
            }
        }
    } else if let Ok(list) = value.as_l() {
        list.iter().for_each(|value| assert_clean_value(what, value, canaries));
    } else if let Ok(fields) = value.as_m() {
        for (name, value) in fields {
            canaries.assert_absent(what, name);
            assert_clean_value(&format!("{what} {name}"), value, canaries);
        }
    } else {
        assert!(value.is_null() || value.is_bool(), "{what}: {value:?} is not looked into");
    }
}
