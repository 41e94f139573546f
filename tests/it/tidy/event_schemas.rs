//! The schemas of bus events in `infra/schemas/`, and the template with them, are generated from the types.

use std::fs;

use inbox_core::bus::SOURCE;
use inbox_core::bus::detail::schemas;
use inbox_core::bus::openapi::documents;
use serde_json::{Value, json};

use super::template::{resources, template, template_at};
use super::{file_names, no_offences, read_file, repository_root};

/// Environment variable: if set, the files are written.
const WRITE: &str = "WRITE_SCHEMAS";
const TEMPLATE: &str = "infra/event-schemas.yaml";
/// The registry's limit for the content of a schema.
const CONTENT_MAX_BYTES: usize = 100_000;

/// Asserts that the file has this text, or writes it.
fn assert_generated(path: &str, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        fs::write(repository_root().join(path), text).unwrap();
    }
    let is_written = fs::exists(repository_root().join(path)).unwrap() && read_file(path) == text;
    assert!(
        is_written,
        "{path} is not as generated: {WRITE}=1 cargo test -p tests --test it tidy::event_schemas:: writes it"
    );
}

fn json_schema_path(name: &str) -> String {
    format!("infra/schemas/{name}.json")
}

fn openapi_path(name: &str) -> String {
    format!("infra/schemas/{name}.openapi.json")
}

fn openapi_text(document: &Value) -> String {
    format!("{document:#}\n")
}

#[test]
fn the_schemas_are_those_of_the_types() {
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap();
        assert_generated(&json_schema_path(name), &format!("{text}\n"));
    }
    for (name, document) in documents() {
        assert_generated(&openapi_path(name), &openapi_text(&document));
    }
    let names = documents().map(|(name, _)| [format!("{name}.json"), format!("{name}.openapi.json")]);
    let mut names = names.concat();
    names.sort();
    assert_eq!(file_names("infra/schemas"), names);
}

#[test]
fn the_template_of_the_registry_is_generated() {
    assert_generated(TEMPLATE, &registry_template());
}

fn registry_template() -> String {
    let mut text = format!(
        r#"# The schemas of the bus events, in a schema registry of EventBridge: a nested stack of template.yaml, which creates it with
# EventSchemasEnabled=true.
#
# Generated. `{WRITE}=1 cargo test -p tests --test it tidy::event_schemas::` writes it and infra/schemas/.

AWSTemplateFormatVersion: "2010-09-09"
Description: Balance Inbox, schemas of the bus events

Parameters:
  StackName:
    Description: The stack that publishes the events. The registry has its name.
    Type: String

Resources:
  Registry:
    Type: AWS::EventSchemas::Registry
    Properties:
      RegistryName: !Ref StackName
      Description: The events on the bus of the stack with this name
"#
    );
    for (name, document) in documents() {
        let description = document["components"]["schemas"][name]["description"].as_str().unwrap();
        text += &format!(
            r#"
  {name}:
    Type: AWS::EventSchemas::Schema
    Properties:
      RegistryName: !GetAtt Registry.RegistryName
      SchemaName: {SOURCE}@{name}
      Description: {description}
      Type: OpenApi3
      Content: |
"#
        );
        text.extend(openapi_text(&document).lines().map(|line| format!("        {line}\n")));
    }
    text + r#"
Outputs:
  RegistryName:
    Description: The schema registry
    Value: !GetAtt Registry.RegistryName
"#
}

/// The template is parsed as CloudFormation does, so this also checks its quoting and indentation.
#[test]
fn the_registry_has_the_generated_documents_within_its_limits() {
    let in_template = resources(&template_at(TEMPLATE), "AWS::EventSchemas::Schema");
    assert_eq!(in_template.len(), documents().len());
    for (name, _) in documents() {
        let properties = &in_template[name]["Properties"];
        assert_eq!(properties["Content"], read_file(&openapi_path(name)).as_str(), "{name}");
        assert_eq!(properties["Type"], "OpenApi3");
        assert_eq!(properties["SchemaName"], format!("balance-inbox@{name}").as_str());
        let size = properties["Content"].as_str().unwrap().len();
        assert!(size < CONTENT_MAX_BYTES, "{name} has {size} bytes");
    }
}

#[test]
fn the_registry_is_created_only_by_parameter() {
    let template = template();
    assert_eq!(template["Parameters"]["EventSchemasEnabled"]["Default"], "false");
    let condition = json!({"Fn::Equals": [{"Ref": "EventSchemasEnabled"}, "true"]});
    assert_eq!(template["Conditions"]["WithEventSchemas"], condition);
    let stack = &template["Resources"]["EventSchemas"];
    assert_eq!(stack["Condition"], "WithEventSchemas");
    assert_eq!(stack["Properties"]["TemplateURL"], TEMPLATE);
    assert_eq!(stack["Properties"]["Parameters"], json!({"StackName": {"Ref": "AWS::StackName"}}));
}

/// Keywords of JSON Schema that OpenAPI 3.0 does not have.
#[test]
fn the_openapi_documents_use_no_newer_json_schema() {
    const NEWER: [&str; 8] = [
        "$schema",
        "$defs",
        "const",
        "examples",
        "if",
        "prefixItems",
        "patternProperties",
        "unevaluatedProperties",
    ];
    fn keywords(value: &Value, found: &mut Vec<String>) {
        let Some(fields) = value.as_object() else {
            return value.as_array().into_iter().flatten().for_each(|item| keywords(item, found));
        };
        for (name, field) in fields {
            found.extend(NEWER.contains(&name.as_str()).then(|| name.clone()));
            let is_type_list = name == "type" && field.is_array();
            found.extend(is_type_list.then(|| format!("type: {field}")));
            keywords(field, found);
        }
    }
    let mut found = Vec::new();
    documents().iter().for_each(|(_, document)| keywords(document, &mut found));
    assert_eq!(found, no_offences());
}

#[test]
fn every_detail_that_a_schema_requires_is_in_its_openapi_document() {
    let documents = documents();
    for ((name, schema), (_, document)) in schemas().iter().zip(&documents) {
        let (schema, openapi) = (schema.as_value(), &document["components"]["schemas"][name]);
        assert_eq!(openapi["required"], schema["required"], "{name}");
        let names =
            |schema: &Value| schema["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(openapi), names(schema), "{name}");
        let envelope = &document["components"]["schemas"]["AWSEvent"];
        assert_eq!(envelope["x-amazon-events-source"], "balance-inbox");
        assert_eq!(envelope["x-amazon-events-detail-type"], *name);
    }
}
