//! Tests of the command `sidekey check`, which reports secrets that are unreadable or malformed.
//! The command never prints a value.

use crate::clients::killed_with_test;
use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::linters::Linters;
use crate::support::program::SIDEKEY;
use crate::support::{TempFolder, fake};
use fake_aws::Fake;
use fake_aws::Operation::{DescribeSecret, GetSecretValue};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sidekey::convention::problem::Problem;
use sidekey::source::FetchErrorKind;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

type Vars = BTreeMap<String, String>;

/// The JSON schema of the report of `sidekey check`.
const SCHEMA: &str = include_str!("../../docs/check.schema.json");

/// A Python script that checks the schema in its argument, and validates standard input against
/// this schema.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.loads(sys.argv[1])
Validator.check_schema(schema)
errors = list(Validator(schema).iter_errors(json.load(sys.stdin)))
print('\\n'.join(error.message for error in errors), file=sys.stderr)
sys.exit(len(errors) > 0)
";

/// An API key in the format of API Gateway. The key belongs to no account.
const GATEWAY_KEY: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";

const TWILIO: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"hunter2","twilio_template_sid":"HX1"}"#;
const SENDGRID: &str = r#"{"sendgrid_auth_value":"hunter3","sendgrid_from_email":"a@b.c","sendgrid_from_name":"Ann","sendgrid_template_id":"d-1"}"#;
const OPENAI: &str = r#"{"ai_api_key":"hunter4"}"#;

/// Starts a fake AWS server with these secrets. Returns the server, and the environment variables
/// of a program that calls this server.
async fn prepare(secrets: &[(&str, &str)]) -> (Fake, Vars) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for (name, value) in secrets {
        fake.secrets().create(name, *value).expect("the fake AWS server must create the secret");
    }
    let vars = Setup::for_fake(&fake, &clock).without("SIDEKEY_PORT").vars().clone();
    (fake, vars)
}

async fn check(args: &[&str], vars: &Vars, stdin: &[u8]) -> Finished {
    let done = Finished::sidekey(&[&["check"][..], args].concat(), vars, stdin).await;
    for hidden in ["hunter", GATEWAY_KEY] {
        assert!(!done.text().contains(hidden) && !done.err.contains(hidden), "{}", done.text());
    }
    done
}

fn parsed(done: &Finished) -> Value {
    serde_json::from_str(done.text())
        .unwrap_or_else(|_| panic!("the output is not JSON: {}", done.err))
}

/// A problem in the report of `sidekey check`: its code, and the field of the secret that has the
/// problem.
type Finding<'a> = (&'a str, Option<&'a str>);

/// Returns the secrets that have problems in the report of `sidekey check`, each with its problems.
fn findings(reported: &Value) -> Vec<(&str, Vec<Finding<'_>>)> {
    let results = reported["results"].as_array().expect("the JSON value must be an array");
    results
        .iter()
        .map(|result| {
            let findings = result["findings"].as_array().expect("the JSON value must be an array");
            let codes = findings.iter().map(|one| {
                (
                    one["code"].as_str().expect("the JSON value must be a string"),
                    one["field"].as_str(),
                )
            });
            (
                result["reference"].as_str().expect("the JSON value must be a string"),
                codes.collect::<Vec<_>>(),
            )
        })
        .filter(|(_, findings)| !findings.is_empty())
        .collect()
}

/// Checks twelve secrets. One secret is denied, one is missing, one has a placeholder value, and
/// one is malformed. The report must contain exactly these four problems.
#[tokio::test]
async fn four_bad_references_of_twelve_are_reported() {
    let names: Vec<String> =
        (1..=5).map(|n| format!("whatsapp-credentials/acme/p{n}/twilio")).collect();
    let mut secrets: Vec<(&str, &str)> = names.iter().map(|name| (&**name, TWILIO)).collect();
    secrets.extend([
        ("email-credentials/acme/p1/sendgrid", SENDGRID),
        ("openai-api-key/whatsapp", OPENAI),
        ("openai-api-key/sms", OPENAI),
        ("openai-api-key/email", r#"{"ai_api_key":"PLACEHOLDER_EMAIL_AI_API_KEY"}"#),
        ("app/db", "hunter5"),
    ]);
    let (fake, vars) = prepare(&secrets).await;
    fake.faults().deny_secret(&names[4]);
    let mut references: Vec<&str> = secrets.iter().map(|(name, _)| *name).collect();
    references.extend(["sms-credentials/acme/p1/twilio", "openai-api-key/what app"]);
    assert_eq!(references.len(), 12);

    let done = check(&[&["--json"][..], &references].concat(), &vars, b"").await;
    assert_eq!((done.code, &*done.err), (Some(1), ""));
    let reported = parsed(&done);
    assert_eq!([&reported["checked"], &reported["withFindings"]], [&json!(12), &json!(4)]);
    assert_eq!(
        findings(&reported),
        [
            (&*names[4], vec![("denied", None)]),
            ("openai-api-key/email", vec![("placeholder", Some("ai_api_key"))]),
            ("sms-credentials/acme/p1/twilio", vec![("not-found", None)]),
            ("openai-api-key/what app", vec![("bad-reference", None)]),
        ]
    );
    let denied = &reported["results"][4];
    assert_eq!((&denied["readable"], &denied["kind"]), (&json!(false), &json!("whatsapp-twilio")));
    let finding = &denied["findings"][0];
    assert_eq!(finding["permission"], "secretsmanager:GetSecretValue");
    // A secret that was read by its name reveals the account id.
    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    let expected = arn.replace("app/db", &names[4]);
    let expected = format!("{}-??????", &expected[..expected.len() - 7]);
    assert_eq!(finding["grant"]["Statement"][0]["Resource"], json!([expected]));
    let good = &reported["results"][0];
    assert_eq!((&good["rotation"], &good["kind"]), (&json!("off"), &json!("whatsapp-twilio")));
    assert_eq!(good["arn"], json!(fake.secrets().arn(&names[0]).expect("the secret exists")));
    for name in &references[..11] {
        assert_eq!(fake.calls().count_for(GetSecretValue, name), 1, "{name}");
    }

    let done = check(&references, &vars, b"").await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(
        !done.text().contains('\u{1b}'),
        "the output must not contain colours without a terminal"
    );
    for line in [
        "12 secrets checked, 4 have problems",
        "This policy allows reading the secrets to which AWS denied access:",
        &format!("        \"{expected}\""),
    ] {
        assert!(done.text().lines().any(|own| own == line), "{line}:\n{}", done.text());
    }

    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let validated = async |reported: &Value| {
        let done = linters.python(VALIDATE, &[SCHEMA], reported.to_string().as_bytes()).await;
        (done.code, done.err.trim().to_owned())
    };
    assert_eq!(validated(&reported).await, (Some(0), String::new()));
    let mut invalid = reported;
    invalid["results"][0]["value"] = json!("x");
    let (code, why) = validated(&invalid).await;
    assert!(code == Some(1) && why.contains("'value' was unexpected"), "{why}");
}

#[test]
fn schema_lists_every_code() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the text is JSON");
    let known = schema["$defs"]["finding"]["properties"]["code"]["enum"]
        .as_array()
        .expect("the JSON value must be an array");
    let kinds = FetchErrorKind::ALL.map(|kind| kind.label().replace('_', "-"));
    let problems = Problem::CODES.map(str::to_owned);
    let own = ["bad-reference", "no-such-field", "no-convention", "api-gateway-key"];
    let all: Vec<String> =
        own.map(str::to_owned).into_iter().chain(problems).chain(kinds).collect();
    let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
    assert_eq!(known, all);
}

/// Finds the names of secrets in a DynamoDB table: in a scan result, in an export of lines, and in
/// plain JSON.
#[tokio::test]
async fn references_are_found_in_a_dynamodb_table() {
    let (_fake, vars) = prepare(&[
        ("whatsapp-credentials/acme/support/twilio", TWILIO),
        ("own/openai", OPENAI),
        ("openai-api-key/sms", "{}"),
    ])
    .await;
    let typed = json!({
        "company_id": {"S": "acme"},
        "channel_config": {"M": {"whatsapp": {"M": {
            "credentials_id": {"S": "whatsapp-credentials/acme/support/twilio"},
            "sender": {"S": "+1"},
        }}}},
        "ai_config": {"M": {"ai_api_key_reference": {"S": "own/openai#ai_api_key"}}},
        "notes": {"L": [{"S": "openai-api-key/sms"}, {"NULL": true}]},
    });
    let plain = json!({
        "channel_config": {"whatsapp": {"credentials_id": "whatsapp-credentials/acme/support/twilio"}},
        "ai_config": {"ai_api_key_reference": "own/openai#ai_api_key"},
        "notes": ["openai-api-key/sms"],
    });
    let lines = format!("{}\n{}\n", json!({ "Item": typed }), json!({ "Item": typed }));
    for (text, place) in [
        (json!({"Items": [typed], "Count": 1, "ScannedCount": 1}).to_string(), "Items[0]."),
        (lines, "[0].Item."),
        (plain.to_string(), ""),
    ] {
        let done = check(&["--json", "--from-json", "-"], &vars, text.as_bytes()).await;
        let reported = parsed(&done);
        let results = reported["results"].as_array().expect("the JSON value must be an array");
        let found: Vec<(&Value, String)> = results
            .iter()
            .map(|one| {
                (&one["reference"], one["places"][0].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let at = |end: &str| format!("{place}{end}");
        let expected = [
            (&json!("own/openai#ai_api_key"), at("ai_config.ai_api_key_reference")),
            (
                &json!("whatsapp-credentials/acme/support/twilio"),
                at("channel_config.whatsapp.credentials_id"),
            ),
            (&json!("openai-api-key/sms"), at("notes[0]")),
        ];
        assert_eq!(found, expected, "{text}");
        let expected = [("openai-api-key/sms", vec![("missing", Some("ai_api_key"))])];
        assert_eq!((done.code, findings(&reported)), (Some(1), expected.to_vec()));
    }
    let folder = TempFolder::new();
    let broken = folder.write("broken.json", "{\"hunter2\": hunter2}").display().to_string();
    let done = check(&["--from-json", &broken], &vars, b"").await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    assert!(
        done.err.contains("broken.json: the file is not JSON: there is an error at line 1"),
        "{}",
        done.err
    );
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("writing to memory must not fail");
    encoder.finish().expect("writing to memory must not fail")
}

/// Finds the names of secrets in a DynamoDB export (a folder of compressed files), in items that
/// `jq` prints, and in an SQS event.
#[tokio::test]
async fn references_are_found_in_exports_items_and_events() {
    let (_fake, vars) = prepare(&[("openai-api-key/sms", OPENAI)]).await;
    let folder = TempFolder::new();
    let item = json!({"ai_config": {"M": {"ai_api_key_reference": {"S": "openai-api-key/sms"}}}});
    let lines = format!("{}\n", json!({ "Item": item })).repeat(2);
    let data = folder.path().join("AWSDynamoDB/01/data");
    fs::create_dir_all(&data).expect("the test must be able to create the folder");
    for part in ["a.json.gz", "b.json.gz"] {
        fs::write(data.join(part), gzip(&lines)).expect("the test must be able to write the file");
    }
    fs::write(data.join("notes.md5"), "not JSON").expect("the test must be able to write the file");
    let message = r#"{"text":"\ud83d","ai_config":{"ai_api_key_reference":"openai-api-key/sms"}}"#;
    let event = json!({"Records": [{"eventSource": "aws:sqs", "body": message}]}).to_string();
    let export = folder.path().join("AWSDynamoDB").display().to_string();
    let at = "ai_config.ai_api_key_reference";
    let in_export =
        |part: &str, value: usize| format!("{}: [{value}].Item.{at}", data.join(part).display());
    for (path, stdin, expected) in [
        (
            &*export,
            Vec::new(),
            vec![
                in_export("a.json.gz", 0),
                in_export("a.json.gz", 1),
                in_export("b.json.gz", 0),
                in_export("b.json.gz", 1),
            ],
        ),
        ("-", gzip(&lines), vec![format!("[0].Item.{at}"), format!("[1].Item.{at}")]),
        (
            "-",
            format!("{item:#}\n{item:#}\n").into(),
            vec![format!("[0].{at}"), format!("[1].{at}")],
        ),
        ("-", event.into(), vec![format!("Records[0].body.{at}")]),
    ] {
        let done = check(&["--json", "--from-json", path], &vars, &stdin).await;
        assert_eq!((done.code, &*done.err), (Some(0), ""));
        assert_eq!(parsed(&done)["results"][0]["places"], json!(expected));
    }
    let done = check(&["--from-json", &folder.path().display().to_string()], &vars, b"").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    fs::write(data.join("b.json.gz"), &gzip(&lines)[..20])
        .expect("the test must be able to write the file");
    let done = check(&["--from-json", &export], &vars, b"").await;
    assert!(done.code == Some(2) && done.err.contains("b.json.gz: the file"), "{}", done.err);
}

/// Checks a folder with an empty file and a malformed file. The command skips the empty file,
/// reports the malformed file, and still checks the other files.
#[tokio::test]
async fn empty_and_malformed_files_of_a_folder_do_not_stop_the_check() {
    let (_fake, vars) = prepare(&[("openai-api-key/sms", OPENAI)]).await;
    let folder = TempFolder::new();
    let all = folder.path().display().to_string();
    for (name, bytes) in [
        ("a.json.gz", gzip("")),
        ("b.json", Vec::new()),
        ("d.json", b"[\"openai-api-key/sms\"]".to_vec()),
    ] {
        fs::write(folder.path().join(name), bytes)
            .expect("the test must be able to write the file");
    }
    let done = check(&["--json", "--from-json", &all], &vars, b"").await;
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    assert_eq!(parsed(&done)["checked"], 1);

    for (name, bytes) in [("c.json", &b"{\"hunter2\": hunter2}"[..]), ("c2.json", b"\xff\xfe{\0")] {
        fs::write(folder.path().join(name), bytes)
            .expect("the test must be able to write the file");
    }
    let done = check(&["--json", "--from-json", &all], &vars, b"").await;
    let reported = parsed(&done);
    assert_eq!(
        (done.code, &reported["ok"], &reported["checked"]),
        (Some(2), &json!(false), &json!(1))
    );
    assert_eq!(reported["results"][0]["ok"], true);
    let unsearched =
        reported["unsearchedFiles"].as_array().expect("the JSON value must be an array");
    assert_eq!(unsearched.len(), 2);
    for part in ["c.json: the file is not JSON", "c2.json: the file cannot be read"] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    let done = check(&["--from-json", &all], &vars, b"").await;
    assert!(
        done.text().contains("\n2 files or patterns could not be searched\n"),
        "{}",
        done.text()
    );

    for (path, place) in [(format!("{all}/b.json"), "b.json"), ("-".to_owned(), "-")] {
        let done = check(&["--from-json", &path], &vars, b"").await;
        assert_eq!((done.code, done.text()), (Some(2), ""));
        assert!(done.err.contains(&format!("{place}: the file is empty")), "{}", done.err);
    }
}

/// Runs `sidekey check` on a JSON file. Checks that the command allocates at most 32 MB.
async fn check_in_little_memory(path: &Path, vars: &Vars) -> Finished {
    let mut limited = killed_with_test("sh");
    limited
        .args(["-c", "ulimit -d 32768 && exec \"$0\" check --from-json \"$1\"", SIDEKEY])
        .arg(path);
    Finished::run(limited, vars, b"").await
}

#[tokio::test]
async fn large_file_needs_little_memory() {
    let (_fake, vars) = prepare(&[("openai-api-key/sms", OPENAI)]).await;
    let item =
        json!({"id": {"N": "1"}, "tags": {"L": [{"BOOL": true}, {"S": "openai-api-key/sms"}]}});
    let mut items = format!("{item},").repeat(10_000_000 / item.to_string().len());
    items.pop();
    let folder = TempFolder::new();
    let path = folder.write("large.json", &format!("{{\"page\":{{\"Items\":[{items}]}}}}"));
    let done = check_in_little_memory(&path, &vars).await;
    assert_eq!((done.code, &*done.err), (Some(0), ""), "{}", done.text());
    assert!(done.text().contains("1 secrets checked, 0 have problems"), "{}", done.text());
}

/// The file contains 40 texts and 40 keys of 1 MB each. `sidekey check` must store only the
/// beginning of each.
#[tokio::test]
async fn long_texts_and_keys_need_little_memory() {
    let (_fake, vars) = prepare(&[("openai-api-key/sms", OPENAI)]).await;
    let long = "x".repeat(1_000_000);
    let folder = TempFolder::new();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("{{\"ai_config\":{{\"ai_api_key_reference\":\"{n}{long}\"}}}}"))
        .collect();
    let path = folder.write("texts.json", &texts.join("\n"));
    let done = check_in_little_memory(&path, &vars).await;
    assert_eq!((done.code, &*done.err), (Some(1), ""), "{}", done.text());
    assert!(done.text().contains("40 secrets checked, 40 have problems"), "{}", done.text());

    let (open, close) = (format!("{{\"{long}\":").repeat(40), "}".repeat(40));
    let path = folder.write("keys.json", &format!("{open}\"openai-api-key/sms\"{close}"));
    let done = check_in_little_memory(&path, &vars).await;
    assert_eq!((done.code, &*done.err), (Some(0), ""), "{}", done.text());
}

/// The file contains a text of 65,536 characters instead of a secret's name. The report shows only
/// the beginning of the text.
#[tokio::test]
async fn very_long_reference_does_not_hide_the_report() {
    let (_fake, vars) = prepare(&[("openai-api-key/sms", OPENAI)]).await;
    let long = "x".repeat(65_536);
    let file = json!([{"ai_config": {"ai_api_key_reference": long}}, "openai-api-key/sms"]);
    let done = check(&["--from-json", "-"], &vars, file.to_string().as_bytes()).await;
    assert_eq!((done.code, &*done.err), (Some(1), ""));
    assert!(done.text().contains("xxx…") && done.text().len() < 10_000, "{}", done.text());
    assert!(done.text().contains("2 secrets checked, 1 have problems"), "{}", done.text());
}

/// `sidekey check` checks the secrets of a settings file that is an argument. Without arguments, it
/// checks the secrets that the environment lists.
#[tokio::test]
async fn secrets_of_a_settings_file_are_checked() {
    let (_fake, mut vars) = prepare(&[("openai-api-key/sms", OPENAI), ("app/db", "hunter5")]).await;
    vars.insert("SIDEKEY_SECRETS".to_owned(), "app/db,app/gone".to_owned());
    let folder = TempFolder::new();
    let file = folder.write("sidekey.toml", "secrets = [\"openai-api-key/sms\"]\n");
    let file = file.display().to_string();
    let done = check(&["--json", "--config", &file], &vars, b"").await;
    let reported = parsed(&done);
    assert_eq!(
        (done.code, &reported["checked"], &reported["ok"]),
        (Some(0), &json!(1), &json!(true))
    );

    let reported = parsed(&check(&["--json"], &vars, b"").await);
    assert_eq!(findings(&reported), [("app/gone", vec![("not-found", None)])]);
    let reported = parsed(&check(&["--json", "--strict", "app/db"], &vars, b"").await);
    assert_eq!(findings(&reported), [("app/db", vec![("no-convention", None)])]);

    let own = "[[convention]]\nkind = \"db\"\npattern = \"app/{x}\"\nservice = \"Acme\"\n\
               fields = { user = \"string\" }\n";
    let own = folder.write("conventions.toml", own).display().to_string();
    let done = check(&["--json", "--conventions", &own, "app/db"], &vars, b"").await;
    assert_eq!(findings(&parsed(&done)), [("app/db", vec![("not-json", None)])]);

    let wrong = folder.write("wrong.toml", "ttl = \"soon\"\nsecret = \"a\"\n");
    let wrong = wrong.display().to_string();
    let done = check(&["--config", &wrong], &vars, b"").await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    for part in ["SIDEKEY_CONFIG: ttl: ", "did you mean secrets?"] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    vars.remove("SIDEKEY_SECRETS");
    let done = check(&[], &vars, b"").await;
    assert!(done.code == Some(2) && done.err.contains("nothing to check"), "{}", done.err);
}

#[tokio::test]
async fn misplaced_gateway_keys_are_reported() {
    let in_a_field = json!({"user": "ann", "x-api-key": GATEWAY_KEY}).to_string();
    let (fake, vars) = prepare(&[("a/alone", GATEWAY_KEY), ("a/field", &in_a_field)]).await;
    fake.faults().deny_operation(DescribeSecret);
    let done = check(&["--json", "a/alone", "a/field#user", "a/field#pass"], &vars, b"").await;
    let reported = parsed(&done);
    let in_field = ("api-gateway-key", Some("x-api-key"));
    assert_eq!(
        findings(&reported),
        [
            ("a/alone", vec![("api-gateway-key", None)]),
            ("a/field#user", vec![in_field]),
            ("a/field#pass", vec![("no-such-field", Some("pass")), in_field]),
        ]
    );
    for result in reported["results"].as_array().expect("the JSON value must be an array") {
        assert_eq!((&result["rotation"], &result["readable"]), (&json!("unknown"), &json!(true)));
    }
    assert_eq!(
        fake.calls().count_for(GetSecretValue, "a/field"),
        1,
        "two fields of one secret must cause only one call"
    );
}
