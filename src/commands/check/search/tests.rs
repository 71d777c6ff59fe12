use super::*;
use crate::commands::check::candidates::has_convention;
use crate::commands::check::dynamo::Type;
use crate::convention::Conventions;
use crate::hostile::{self, VALUE, mangled};
use crate::message::paths::Paths;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const PATHS: [&str; 2] = ["channel_config.*.credentials_id", "ai_config.ai_api_key_reference"];

type Found = Vec<(String, Vec<String>)>;

fn found(text: &str) -> Result<Found, SearchError> {
    let paths = Paths::parse(PATHS).expect("the paths must be valid");
    let conventions = Conventions::built_in();
    let wanted = Wanted { paths: &paths, conventions: &conventions };
    let mut candidates = Candidates::default();
    search(text.as_bytes(), "file.json", wanted, &mut candidates)?;
    Ok(candidates.into_all().into_iter().map(|one| (one.text, one.locations)).collect())
}

#[track_caller]
fn check(text: &str, expected: &[(&str, &[&str])]) {
    let owned = |locations: &[&str]| locations.iter().map(|one| (*one).to_owned()).collect();
    let expected: Found =
        expected.iter().map(|(text, places)| ((*text).to_owned(), owned(places))).collect();
    assert_eq!(found(text), Ok(expected), "{text}");
}

const WHATSAPP: &str = "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio";

#[test]
fn context_object_is_searched_at_the_configured_paths() {
    let message = json!({
        "channel_config": {"whatsapp": {"credentials_id": "own/name", "other": "own/other"}},
        "ai_config": {"ai_api_key_reference": "own/key#ai_api_key", "model": "gpt"},
    });
    check(
        &message.to_string(),
        &[
            ("own/key#ai_api_key", &["ai_config.ai_api_key_reference"]),
            ("own/name", &["channel_config.whatsapp.credentials_id"]),
        ],
    );
}

#[test]
fn scan_of_a_table_is_searched_in_its_items() {
    let item = |company: &str, reference: &str| {
        json!({
            "company_id": {"S": company},
            "channel_config": {"M": {"whatsapp": {"M": {"credentials_id": {"S": reference}}}}},
            "ai_config": {"M": {"ai_api_key_reference": {"S": "openai-api-key/whatsapp"}}},
        })
    };
    let items = [item("a", WHATSAPP), item("b", "own/name")];
    let key_at = "ai_config.ai_api_key_reference";
    check(
        &json!({"Items": items, "Count": 2}).to_string(),
        &[
            (
                "openai-api-key/whatsapp",
                &[&format!("Items[0].{key_at}"), &format!("Items[1].{key_at}")],
            ),
            (WHATSAPP, &["Items[0].channel_config.whatsapp.credentials_id"]),
            ("own/name", &["Items[1].channel_config.whatsapp.credentials_id"]),
        ],
    );
    let lines = items.map(|item| json!({ "Item": item }).to_string()).join("\n\n");
    check(
        &lines,
        &[
            (
                "openai-api-key/whatsapp",
                &[&format!("[0].Item.{key_at}"), &format!("[1].Item.{key_at}")],
            ),
            (WHATSAPP, &["[0].Item.channel_config.whatsapp.credentials_id"]),
            ("own/name", &["[1].Item.channel_config.whatsapp.credentials_id"]),
        ],
    );
}

#[test]
fn names_that_match_a_convention_are_found_anywhere() {
    let arn = format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{WHATSAPP}-AbC123");
    let message = json!({"a": [{"b": "openai-api-key/sms"}, arn, "x y", "openai-api-key/fax"]});
    check(&message.to_string(), &[("openai-api-key/sms", &["a[0].b"]), (&arn, &["a[1]"])]);
    check("\"openai-api-key/sms\"", &[("openai-api-key/sms", &[""])]);
}

#[test]
fn parameters_are_found_anywhere() {
    let arn = "arn:aws:ssm:eu-north-1:123456789012:parameter/app/url";
    let message = json!({
        "a": ["ssm:/app/url#host", "ssm:GetParameter", "ssm:/app/*", "/app/url"],
        "b": arn,
        "c": {"S": "ssm:/app/key"},
    });
    let expected = [("ssm:/app/url#host", &["a[0]"][..]), (arn, &["b"]), ("ssm:/app/key", &["c"])];
    check(&message.to_string(), &expected);
}

#[test]
fn value_from_of_a_task_definition_is_found() {
    let secret = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:own/db-AbC123:user::";
    let secrets = json!([
        {"name": "USER", "valueFrom": secret},
        {"name": "URL", "valueFrom": "/app/url"},
        {"name": "KEY", "valueFrom": "key"},
        {"name": "BUCKET", "valueFrom": "arn:aws:s3:::bucket"},
        {"name": "OBJECT", "valueFrom": {"name": "own"}},
    ]);
    let definition = json!({"containerDefinitions": [{"name": "app", "secrets": secrets}]});
    let at = |index: usize| format!("containerDefinitions[0].secrets[{index}].valueFrom");
    check(
        &definition.to_string(),
        &[(secret, &[&at(0)]), ("ssm:/app/url", &[&at(1)]), ("ssm:key", &[&at(2)])],
    );
}

#[test]
fn non_string_at_a_path_is_an_empty_reference() {
    for value in ["5", "null", "true", "{}", "[]", "{\"a\":1}", "{\"NULL\":true}", "{\"M\":{}}"] {
        let message = format!("{{\"ai_config\":{{\"ai_api_key_reference\":{value}}}}}");
        check(&message, &[("", &["ai_config.ai_api_key_reference"])]);
    }
}

#[test]
fn values_one_after_another_are_searched_one_by_one() {
    let item = json!({"pk": {"S": "ACME"}, "x": {"L": [{"S": "openai-api-key/sms"}]}});
    let text = format!("{item:#}\n{item}{item:#}\n");
    check(&text, &[("openai-api-key/sms", &["[0].x[0]", "[1].x[0]", "[2].x[0]"])]);
}

#[test]
fn json_inside_strings_is_searched() {
    let message = json!({"ai_config": {"ai_api_key_reference": "own/key"}}).to_string();
    let sns = json!({"Type": "Notification", "Message": message}).to_string();
    let at = "ai_config.ai_api_key_reference";
    for (event, location) in [
        (json!({"Records": [{"body": message}]}), format!("Records[0].body.{at}")),
        (json!({"Records": [{"body": sns}]}), format!("Records[0].body.Message.{at}")),
        (
            json!({"Records": [{"Sns": {"Message": message}}]}),
            format!("Records[0].Sns.Message.{at}"),
        ),
        (json!({"Items": [{"body": {"S": message}}]}), format!("Items[0].body.{at}")),
    ] {
        check(&event.to_string(), &[("own/key", &[&location])]);
    }
    for text in ["{not JSON}", "[", "{\"a\":"] {
        check(
            &json!({"body": text, "a": "openai-api-key/sms"}).to_string(),
            &[("openai-api-key/sms", &["a"])],
        );
    }
}

#[test]
fn half_an_emoji_does_not_hide_the_secrets_of_a_message() {
    let message = r#"{"text":"\ud83d","ai_config":{"ai_api_key_reference":"own/key"}}"#;
    let at = "ai_config.ai_api_key_reference";
    check(message, &[("own/key", &[at])]);
    let event = json!({"Records": [{"body": message}]}).to_string();
    check(&event, &[("own/key", &[&format!("Records[0].body.{at}")])]);
}

#[test]
fn objects_that_only_resemble_dynamodbs_types_are_plain() {
    let name = "openai-api-key/sms";
    check(&json!({"S": name, "T": 1}).to_string(), &[(name, &["S"])]);
    check(&json!({"S": [name]}).to_string(), &[(name, &["S[0]"])]);
    check(&json!({"M": name}).to_string(), &[(name, &["M"])]);
    check(&json!({"BOOL": name}).to_string(), &[(name, &["BOOL"])]);
    check(&json!({"M": {"S": {"S": name}}}).to_string(), &[(name, &["S"])]);
    check(&json!({"M": {"a": 1}, "N": name}).to_string(), &[(name, &["N"])]);
}

#[test]
fn wildcard_of_a_path_does_not_stand_for_a_type_of_dynamodb() {
    let typed = json!({"channel_config": {"M": {"credentials_id": {"S": "own/name"}}}});
    check(&typed.to_string(), &[]);
    check(&json!({"channel_config": {"credentials_id": "own/name"}}).to_string(), &[]);
}

#[test]
fn error_in_a_file_is_reported_by_line_and_column() {
    let error = |text: &str| {
        found(text).expect_err("the search must refuse the malformed file").to_string()
    };
    assert_eq!(error(" \n"), "the file is empty");
    let expected = "the file is not JSON: there is an error at line 2, column 1";
    assert_eq!(error("{}\nhunter2\n{}"), expected);
    let expected = "the file is incomplete: it ends within a JSON value at line 1, column 5";
    assert_eq!(error("{\"a\":"), expected);
    let many: Vec<String> = (0..=crate::commands::check::candidates::REFERENCES_MAX)
        .map(|n| format!("sms-credentials/a/{n}/twilio"))
        .collect();
    let many =
        serde_json::to_string(&many).expect("a list of strings must be serializable as JSON");
    assert_eq!(found(&many), Err(SearchError::TooMany(TooMany)));
    let nested = json!({ "body": many }).to_string();
    assert_eq!(found(&nested), Err(SearchError::TooMany(TooMany)));
}

/// The file has 200,000 values below a key of 4 MiB. If the search copied the key for each value,
/// the copies would need 800 GB.
#[test]
fn long_key_costs_no_more_than_its_own_length() {
    let (key, zeros) = ("k".repeat(4 * 1024 * 1024), "0,".repeat(200_000));
    let text = format!(r#"{{"{key}":[{zeros}"openai-api-key/sms"]}}"#);
    let all = found(&text).expect("the search of the file must succeed");
    assert!(all[0].1[0].starts_with("kkk") && all[0].1[0].ends_with('…'));
}

const MESSAGE: &str = r#"{"channel_config":{"a":{"credentials_id":"own/name"}},"b":["hunter2",
    {"S":"openai-api-key/sms"}],"ai_config":{"ai_api_key_reference":5}}"#;

/// Finds names and ARNs of secrets in parsed JSON. Does not know DynamoDB's typed values, such as
/// `{"S": "x"}`. A test compares this simple implementation with the real search.
fn model(value: &Value, location: &str, all: &mut BTreeSet<(String, String)>) {
    let below = |key: &str| match location {
        "" => key.to_owned(),
        _ => format!("{location}.{key}"),
    };
    match value {
        Value::Object(object) => {
            let configs: Vec<(String, &Value)> = match object.get("channel_config") {
                Some(Value::Object(configs)) => {
                    configs.iter().map(|(key, config)| (format!(".{key}"), config)).collect()
                }
                Some(Value::Array(configs)) => (0..)
                    .zip(configs)
                    .map(|(index, config)| (format!("[{index}]"), config))
                    .collect(),
                _ => Vec::new(),
            };
            for (step, config) in configs {
                if let Some(text) = config.get("credentials_id") {
                    let at = format!("channel_config{step}.credentials_id");
                    all.insert((text.as_str().unwrap_or_default().to_owned(), below(&at)));
                }
            }
            if let Some(text) =
                object.get("ai_config").and_then(|config| config.get("ai_api_key_reference"))
            {
                let at = below("ai_config.ai_api_key_reference");
                all.insert((text.as_str().unwrap_or_default().to_owned(), at));
            }
            for (key, value) in object {
                model(value, &below(key), all);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                model(item, &format!("{location}[{at}]"), all);
            }
        }
        Value::String(text) if has_convention(text, &Conventions::built_in()) => {
            all.insert((text.clone(), location.to_owned()));
        }
        _ => {}
    }
}

/// Renames keys such as `S` and `M`, which DynamoDB uses as types.
fn without_types(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let renamed =
                |key: String| if Type::of_key(&key).is_some() { format!("{key}-") } else { key };
            object
                .into_iter()
                .map(|(key, value)| (renamed(key), without_types(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.into_iter().map(without_types).collect(),
        other => other,
    }
}

/// Converts JSON to the typed JSON of DynamoDB, such as `"x"` to `{"S": "x"}`.
fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(flag) => json!({"BOOL": flag}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(items) => json!({"L": items.iter().map(typed).collect::<Vec<_>>()}),
        Value::Object(object) => {
            json!({"M": object.iter().map(|(key, value)| (key.clone(), typed(value))).collect::<Map<_, _>>()})
        }
    }
}

/// Replaces each number by its text, because DynamoDB's typed JSON writes numbers as text.
fn with_text_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.iter().map(with_text_numbers).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), with_text_numbers(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// Generates JSON with names of secrets, both at the paths in `PATHS` and elsewhere.
fn referring() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("own/name")),
        Just(json!("openai-api-key/sms")),
        Just(json!(5)),
        Just(json!({})),
        hostile::json(),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        let key = "channel_config|ai_config|credentials_id|ai_api_key_reference|a|0";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|object| object.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn for_any_file_locations_are_few_and_no_error_quotes_the_file(
        text in prop_oneof![mangled(MESSAGE), hostile::json().prop_map(|json| json.to_string())],
    ) {
        match found(&text) {
            Ok(all) => prop_assert!(all.iter().all(|(_, locations)| locations.len() <= 5)),
            Err(bad) => prop_assert!(!bad.to_string().contains(VALUE), "{bad}"),
        }
    }

    #[test]
    fn for_any_json_the_search_finds_the_same_as_a_search_in_a_tree(value in referring()) {
        let value = without_types(value);
        let mut expected = BTreeSet::new();
        model(&value, "", &mut expected);
        let all = found(&value.to_string()).expect("the search of the JSON value must succeed");
        let texts = |all: &mut dyn Iterator<Item = &String>| all.cloned().collect::<BTreeSet<String>>();
        prop_assert_eq!(
            texts(&mut all.iter().map(|(text, _)| text)),
            texts(&mut expected.iter().map(|(text, _)| text))
        );
        for (text, locations) in all {
            for location in locations.into_iter().filter(|location| !location.ends_with('…')) {
                prop_assert!(expected.contains(&(text.clone(), location.clone())), "{location}");
            }
        }
    }

    #[test]
    fn for_any_json_typed_json_of_dynamodb_finds_the_same_as_plain_json(value in referring()) {
        let plain = with_text_numbers(&without_types(value));
        prop_assert_eq!(found(&typed(&plain).to_string()), found(&plain.to_string()));
    }

    #[test]
    fn for_any_lines_the_search_finds_the_same_as_in_a_list(
        values in proptest::collection::vec(referring(), 2..5),
    ) {
        let lines: Vec<String> = values.iter().map(Value::to_string).collect();
        prop_assert_eq!(found(&lines.join("\n")), found(&format!("[{}]", lines.join(","))));
    }
}
