//! Alarm descriptions in infra/monitoring.yaml name commands that exist, and the thresholds equal the code's limits.

use std::collections::BTreeSet;

use inbox_core::limits;
use inbox_core::quarantine::QuarantineReason;
use serde_json::Value;

use super::documents::documents;
use super::monitoring::alarms;
use super::template::template;
use super::{crates_in, read_file, text_files};

/// Descriptions of the alarms, each on one line.
fn descriptions() -> Vec<(String, String)> {
    let text = |alarm: &Value| alarm["AlarmDescription"].as_str().unwrap().replace('\n', " ");
    alarms().iter().map(|(id, alarm)| (id.clone(), text(alarm))).collect()
}

/// Variants of an enum of the command line, in the form that a user types.
fn variants(cli: &str, of: &str) -> BTreeSet<String> {
    let body = cli.split_once(&format!("enum {of} {{")).unwrap_or_else(|| panic!("no enum {of}")).1;
    let lines = body.lines().take_while(|line| !line.starts_with('}')).map(str::trim);
    let variants = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    variants.map(|line| kebab_case(line.split(['(', ',', '{']).next().unwrap().trim())).collect()
}

/// Options of the command line: the fields that the attribute above them makes one.
fn options(cli: &str) -> BTreeSet<String> {
    let lines = cli.lines().map(str::trim);
    let fields = lines.clone().zip(lines.skip(1)).filter(|(above, _)| above.starts_with("#[arg(long"));
    let name =
        |field: &str| field.trim_start_matches("pub(crate) ").split(':').next().unwrap().replace('_', "-");
    fields.map(|(_, field)| name(field)).collect()
}

fn kebab_case(variant: &str) -> String {
    let mut typed = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !typed.is_empty() {
            typed.push('-');
        }
        typed.push(letter.to_ascii_lowercase());
    }
    typed
}

fn pascal_case(command: &str) -> String {
    let capitalized = |word: &str| word[..1].to_uppercase() + &word[1..];
    command.split('-').map(capitalized).collect()
}

#[test]
fn every_alarm_names_a_command_that_exists() {
    let cli: String = text_files()
        .into_iter()
        .filter(|file| file.is_in("infra/inboxctl/src/"))
        .map(|file| file.text)
        .collect();
    let (commands, options) = (variants(&cli, "Command"), options(&cli));
    for (id, text) in descriptions() {
        assert!(text.len() <= 1_024, "{id}: CloudWatch takes 1,024 characters");
        let named: Vec<_> = text.split("inboxctl ").skip(1).collect();
        assert!(!named.is_empty(), "{id} says nothing to do");
        for rest in named {
            let mut words = rest.split([' ', ';', ',', '.', ':']);
            let command = words.next().unwrap();
            assert!(commands.contains(command), "{id}: inboxctl {command}");
            if ["events", "batches", "submissions", "quarantine", "dead-letters", "url"].contains(&command) {
                let below = words.next().unwrap();
                let known = variants(&cli, &format!("{}Command", pascal_case(command)));
                assert!(known.contains(below), "{id}: inboxctl {command} {below}");
            }
            if command == "fynapse" {
                let below: Vec<_> = words.take(2).collect();
                assert!(variants(&cli, "FynapseCommand").contains(below[0]), "{id}: {below:?}");
                assert!(variants(&cli, "MissedCommand").contains(below[1]), "{id}: {below:?}");
            }
        }
        for option in text.split("--").skip(1).map(|rest| rest.split([' ', ';', ',', '.']).next().unwrap()) {
            assert!(options.contains(option), "{id}: --{option}");
        }
    }
}

/// Without a reason or a dry run, these commands only report that one is missing.
#[test]
fn commands_that_need_a_reason_are_quoted_with_one() {
    const ASKING: [&str; 6] = [
        "fynapse missed resolve",
        "dead-letters redrive",
        "events replay",
        "quarantine replay",
        "quarantine discard",
        "submissions conclude",
    ];
    let documents = documents().into_iter().map(|it| (it.path, it.text.replace('\n', "`"), ['`'; 2]));
    let texts = descriptions().into_iter().map(|(id, text)| (id, text, [';', '.']));
    let mut checked = 0;
    for (id, text, ends) in texts.chain(documents) {
        for command in ASKING {
            for rest in text.split(command).skip(1).map(|rest| rest.split(ends).next().unwrap()) {
                assert!(rest.contains("--why") || rest.contains("--dry-run"), "{id}: {command}{rest}");
                checked += 1;
            }
        }
    }
    assert!(checked >= 10, "{checked}");
}

#[test]
fn every_parameter_and_error_that_an_alarm_names_exists() {
    const NAMES: [&str; 2] = ["EventBridge", "PutEvents"];
    let template = template();
    let error_types = read_file("functions/rightfoot-poller/src/poll_run.rs")
        + &read_file("functions/fynapse-auditor/src/check_summary.rs");
    for (id, text) in descriptions() {
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()) {
            let humps = word.chars().filter(char::is_ascii_uppercase).count();
            let is_camel = humps > 1 && word.chars().any(|letter| letter.is_ascii_lowercase());
            let exists =
                template["Parameters"].get(word).is_some() || error_types.contains(&format!("\"{word}\""));
            assert!(!is_camel || exists || NAMES.contains(&word), "{id}: {word}");
        }
    }
}

/// The alarms in the first column of the table in infra/OPERATIONS.md; `<function>` stands for every function.
#[test]
fn every_alarm_is_in_the_runbook_and_no_other() {
    let runbook = read_file("infra/OPERATIONS.md");
    let table = runbook.split_once("| alarm | means | do |").unwrap().1.split_once("\n\n").unwrap().0;
    let first_cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let mut listed = BTreeSet::new();
    for name in first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        match name.strip_prefix("<function>-") {
            Some(what) => {
                listed.extend(crates_in("functions").iter().map(|function| format!("{function}-{what}")))
            }
            None => drop(listed.insert(name.to_owned())),
        }
    }
    // Its failures are reported to its caller, so it has no alarm.
    listed.remove("rightfoot-requests-errors");
    let name = |alarm: &Value| alarm["AlarmName"]["Fn::Sub"].as_str().unwrap().replace("${StackName}-", "");
    assert_eq!(listed, alarms().values().map(name).collect());
    for reason in QuarantineReason::ALL {
        let row = format!("`{}`", reason.as_str());
        let rows = runbook.split_once("| in quarantine because |").unwrap().1.split_once("\n\n").unwrap().0;
        assert!(
            rows.lines().any(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&row))),
            "{row}"
        );
    }
}

#[test]
fn thresholds_are_the_limits_of_the_code() {
    let alarms = alarms();
    let number =
        |id: &str, field: &str| alarms[id][field].as_u64().unwrap_or_else(|| panic!("{id}: {field}"));
    let threshold = |id: &str| number(id, "Threshold");
    let text = |id: &str| descriptions().into_iter().find(|it| it.0 == id).unwrap().1;
    for id in ["FynapseLatency", "RightfootLatency"] {
        assert_eq!(threshold(id), limits::RECORD_BUDGET_MS, "{id}");
        assert!(text(id).contains("after 4.5 s") && limits::DELIVERY_DEADLINE_MS == 4_500, "{id}");
    }
    // Longest pause between two polls.
    let slowest_secs = limits::POLL_INTERVAL_SECS * u64::from(limits::POLL_INTERVAL_MAX_FACTOR);
    assert_eq!(threshold("OldestPollDelay"), slowest_secs);
    // By then the relay has had several runs in which it could send the event.
    assert!(threshold("OldestDueAge") >= limits::RELAY_AGE_MS / 1_000 + 3 * 60);
    // A message that succeeds at its second receive raises no alarm.
    assert!(threshold("OldestMessageAge") > limits::VISIBILITY_SECS + limits::WORKER_TIMEOUT_SECS);
    for id in ["RelayStopped", "PollerStopped"] {
        let silent_secs = number(id, "Period") * number(id, "EvaluationPeriods");
        assert_eq!((silent_secs, threshold(id)), (5 * 60, 1), "{id}: one run may fail, several may not");
    }
    let receives = &template()["Resources"]["EventsQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"];
    assert!(text("DeadLetters").contains(&format!("received {receives} times")));
    assert!(text("DeadLetters").contains(&format!("for {} days", limits::QUEUE_RETENTION_DAYS)));
    // `inboxctl dead-letters redrive` hides dead letters while it asks; that must not end their alarm.
    let remembered_secs = number("DeadLetters", "Period") * number("DeadLetters", "EvaluationPeriods");
    assert!(remembered_secs > 600 && number("DeadLetters", "DatapointsToAlarm") == 1);
    let hidden = read_file("infra/inboxctl/src/commands/dead_letters.rs");
    assert!(hidden.contains("const REDRIVE_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(600);"));
    // At the alarm, half of the retention is left to fix the cause.
    let retention_secs = limits::QUEUE_RETENTION_DAYS * 86_400;
    assert_eq!(threshold("OldestDeadLetterAge"), retention_secs / 2);
    let dead = text("OldestDeadLetterAge");
    assert!(
        dead.contains("dead letter for 7 days") && dead.contains("14 days after it was first sent"),
        "{dead}"
    );
    assert_eq!(retention_secs, 14 * 86_400);
    let hours = limits::SUBMISSION_REPEATABLE_SECS / 3_600;
    assert!(text("SubmissionUnknown").contains(&format!("within {hours} hours")));
    // A schedule without an answer is polled again within a quarter of an hour, so that it is one alarm.
    assert!(number("ScheduleAlarm", "Period") > slowest_secs);
    assert!(number("WorkOverdue", "Period") > limits::REQUEUE_DELAY_MAX_SECS);
    let poll_failed_secs = number("PollFailed", "Period");
    assert!(
        poll_failed_secs > slowest_secs
            && poll_failed_secs * number("PollFailed", "EvaluationPeriods") == 3_600
    );
    // A requeued event comes again in every period while the problem lasts.
    for id in ["BusFailed", "WorkFailed", "WorkTimedOut"] {
        assert!(number(id, "Period") >= limits::REQUEUE_DELAY_MAX_SECS, "{id}");
    }
    assert!(text("WorkTimedOut").contains("longer than a minute") && limits::PROCESSING_BUDGET_SECS == 60);
}
