//! What `inboxctl doctor` knows of the stack is what the templates have.

use std::collections::BTreeSet;

use super::documents::section;
use super::monitoring::{alarms, as_written};
use super::template::{functions, resources, template};
use super::{read_file, string_literals};

const ACCOUNT: &str = "infra/inboxctl/src/commands/doctor/account";

fn source(file: &str) -> String {
    read_file(&format!("{ACCOUNT}/{file}.rs"))
}

/// Code between two texts.
fn between<'a>(code: &'a str, start: &str, end: &str) -> &'a str {
    let rest = code.split_once(start).unwrap_or_else(|| panic!("no {start}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end}")).0
}

#[test]
fn the_alarms_that_doctor_expects_no_action_of_are_those_without_one() {
    let without = alarms().into_values().filter(|alarm| alarm.get("AlarmActions").is_none());
    let without: Vec<_> = without.map(|alarm| as_written(&alarm["AlarmName"])).collect();
    let code = source("alarms");
    let expected = string_literals(between(&code, "const INFORMATIONAL: [&str; 1] = [", "];"));
    let expected: Vec<_> = expected.map(|name| format!("${{StackName}}-{name}")).collect();
    assert_eq!(without, expected);
    let nested = string_literals(between(&code, "const NESTED_STACK: &str = ", ";")).next().unwrap();
    assert_eq!(template()["Resources"][nested]["Properties"]["TemplateURL"], "infra/monitoring.yaml");
}

#[test]
fn doctor_looks_at_the_throttling_of_every_index() {
    let tables = resources(&template(), "AWS::DynamoDB::Table");
    let of_tables = tables.values().flat_map(|table| {
        let indexes = table["Properties"]["GlobalSecondaryIndexes"].as_array().unwrap().iter();
        indexes.map(|index| index["IndexName"].as_str().unwrap().to_owned())
    });
    let code = source("table_throttling");
    let checked = string_literals(between(&code, "let tables = [", "];")).map(str::to_owned);
    assert_eq!(checked.collect::<BTreeSet<_>>(), of_tables.collect());
}

#[test]
fn doctor_reads_parameters_and_functions_that_the_template_has() {
    let template = template();
    let names = functions(&template).into_values().map(|function| {
        let name = function["Properties"]["FunctionName"]["Fn::Sub"].as_str().unwrap().to_owned();
        name.strip_prefix("${AWS::StackName}-").unwrap().to_owned()
    });
    let code = source("required_concurrency");
    let known = string_literals(between(&code, "fn required_from(", "fn webhook_function("));
    let others = known.filter(|text| text.contains('-')).map(str::to_owned);
    let webhooks = ["rightfoot-webhook", "fynapse-webhook"].map(str::to_owned);
    assert_eq!(others.chain(webhooks).collect::<BTreeSet<_>>(), names.collect());
    let mut parameters = vec!["MonitoringEnabled", "AlarmTopicArn", "EventWorkerMaxConcurrency"];
    let limits = ["RateLimit", "BurstLimit", "ReservedConcurrency"];
    let of_providers: Vec<_> = ["Fynapse", "Rightfoot"]
        .iter()
        .flat_map(|title| limits.map(|limit| format!("{title}{limit}")))
        .collect();
    parameters.extend(of_providers.iter().map(String::as_str));
    for parameter in parameters {
        assert!(template["Parameters"][parameter].is_object(), "{parameter}");
    }
}

/// Without this, `function code` would look for functions that the stack is deployed without.
#[test]
fn doctor_knows_every_condition_under_which_a_function_exists() {
    let template = template();
    let conditions = functions(&template).into_values();
    let conditions = conditions.filter_map(|function| Some(function.get("Condition")?.as_str()?.to_owned()));
    let code = read_file("infra/inboxctl/src/commands/doctor/function_code.rs");
    let known = string_literals(between(&code, "fn unmet_conditions(", "fn parse_functions("));
    let known = known.filter(|text| !text.contains('{')).map(str::to_owned);
    let of_providers = ["WithFynapse", "WithRightfoot"].map(str::to_owned);
    assert_eq!(known.chain(of_providers).collect::<BTreeSet<_>>(), conditions.collect());
}

/// The need of the template's defaults is computed here once more, by its parts.
#[test]
fn the_documents_say_what_the_defaults_need() {
    let code = source("required_concurrency");
    assert!(code.contains("const DELIVERY_MS: u64 = 20;"));
    assert!(section("infra/OPERATIONS.md", "Cost").contains("1 M × 20 ms × 0.25 GB"));
    let default = |name: &str| template()["Parameters"][name]["Default"].as_u64().unwrap();
    let webhook = |title: &str| {
        let (rate, burst) = (default(&format!("{title}RateLimit")), default(&format!("{title}BurstLimit")));
        burst.min(1_000) + (rate * 20).div_ceil(1_000)
    };
    let needed = webhook("Fynapse") + webhook("Rightfoot") + default("EventWorkerMaxConcurrency") + 3;
    let said = format!("The defaults need {}", needed.to_string().replacen('1', "1,", 1));
    let text = read_file("infra/OPERATIONS.md");
    assert!(text.contains(&said), "infra/OPERATIONS.md does not say: {said}");
}
