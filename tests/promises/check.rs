//! `sidekey check`: of many secrets it says exactly which cannot be read or are not what they should be,
//! why, and what would help, without a value.

use crate::support::agent::Setup;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::linters::Linters;
use crate::support::{Folder, fake};
use fake_aws::Fake;
use fake_aws::Operation::{DescribeSecret, GetSecretValue};
use serde_json::{Value, json};
use sidekey::convention::problem::Problem;
use sidekey::source::FetchErrorKind;
use std::collections::BTreeMap;

type Vars = BTreeMap<String, String>;

const SCHEMA: &str = include_str!("../../docs/check.schema.json");

/// Validates standard input by the schema that is given, which itself has to be one.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.loads(sys.argv[1])
Validator.check_schema(schema)
errors = list(Validator(schema).iter_errors(json.load(sys.stdin)))
print('\\n'.join(error.message for error in errors), file=sys.stderr)
sys.exit(len(errors) > 0)
";

/// As API Gateway makes them; this one is nobody's.
const GATEWAY_KEY: &str = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";

const TWILIO: &str =
    r#"{"twilio_account_sid":"AC1","twilio_auth_token":"hunter2","twilio_template_sid":"HX1"}"#;
const SENDGRID: &str = r#"{"sendgrid_auth_value":"hunter3","sendgrid_from_email":"a@b.c","sendgrid_from_name":"Ann","sendgrid_template_id":"d-1"}"#;
const OPENAI: &str = r#"{"ai_api_key":"hunter4"}"#;

/// A fake, and the variables of whoever asks it.
async fn scene(secrets: &[(&str, &str)]) -> (Fake, Vars) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for (name, value) in secrets {
        fake.secrets().create(name, *value).expect("a new name");
    }
    let vars = Setup::of(&fake, &clock).without("SIDEKEY_PORT").vars().clone();
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
    serde_json::from_str(done.text()).unwrap_or_else(|_| panic!("no JSON: {}", done.err))
}

/// A finding's code, and the field that it is about.
type Finding<'a> = (&'a str, Option<&'a str>);

/// Returns the findings of each reference that has any.
fn findings(told: &Value) -> Vec<(&str, Vec<Finding<'_>>)> {
    let results = told["results"].as_array().expect("a list");
    results
        .iter()
        .map(|result| {
            let findings = result["findings"].as_array().expect("a list");
            let told = findings
                .iter()
                .map(|one| (one["code"].as_str().expect("a text"), one["field"].as_str()));
            (result["reference"].as_str().expect("a text"), told.collect::<Vec<_>>())
        })
        .filter(|(_, findings)| !findings.is_empty())
        .collect()
}

/// Twelve references, one of them denied, one missing, one a placeholder and one malformed: it says
/// exactly that, names the permission and the policy, exits with 1, and its JSON is as documented.
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
    let (fake, vars) = scene(&secrets).await;
    fake.faults().deny_secret(&names[4]);
    let mut references: Vec<&str> = secrets.iter().map(|(name, _)| *name).collect();
    references.extend(["sms-credentials/acme/p1/twilio", "openai-api-key/what app"]);
    assert_eq!(references.len(), 12);

    let done = check(&[&["--json"][..], &references].concat(), &vars, b"").await;
    assert_eq!((done.code, &*done.err), (Some(1), ""));
    let told = parsed(&done);
    assert_eq!([&told["checked"], &told["withFindings"]], [&json!(12), &json!(4)]);
    assert_eq!(
        findings(&told),
        [
            (&*names[4], vec![("denied", None)]),
            ("openai-api-key/email", vec![("placeholder", Some("ai_api_key"))]),
            ("sms-credentials/acme/p1/twilio", vec![("not-found", None)]),
            ("openai-api-key/what app", vec![("bad-reference", None)]),
        ]
    );
    let denied = &told["results"][4];
    assert_eq!((&denied["readable"], &denied["kind"]), (&json!(false), &json!("whatsapp-twilio")));
    let finding = &denied["findings"][0];
    assert_eq!(finding["permission"], "secretsmanager:GetSecretValue");
    // The account is that of a secret that was read by its name.
    let arn = fake.secrets().arn("app/db").expect("it is there");
    let expected = arn.replace("app/db", &names[4]);
    let expected = format!("{}-??????", &expected[..expected.len() - 7]);
    assert_eq!(finding["grant"]["Statement"][0]["Resource"], json!([expected]));
    let good = &told["results"][0];
    assert_eq!((&good["rotation"], &good["kind"]), (&json!("off"), &json!("whatsapp-twilio")));
    assert_eq!(good["arn"], json!(fake.secrets().arn(&names[0]).expect("it is there")));
    for name in &references[..11] {
        assert_eq!(fake.calls().count_for(GetSecretValue, name), 1, "{name}");
    }

    let done = check(&references, &vars, b"").await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(!done.text().contains('\u{1b}'), "no colours where nobody looks");
    for line in [
        "12 references checked, 4 with findings",
        "This policy allows reading the secrets to which AWS denied access:",
        &format!("        \"{expected}\""),
    ] {
        assert!(done.text().lines().any(|own| own == line), "{line}:\n{}", done.text());
    }

    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let validated = async |told: &Value| {
        let done = linters.python(VALIDATE, &[SCHEMA], told.to_string().as_bytes()).await;
        (done.code, done.err.trim().to_owned())
    };
    assert_eq!(validated(&told).await, (Some(0), String::new()));
    let mut spoilt = told;
    spoilt["results"][0]["value"] = json!("x");
    let (code, why) = validated(&spoilt).await;
    assert!(code == Some(1) && why.contains("'value' was unexpected"), "{why}");
}

/// Every code that a finding can have is in the schema.
#[test]
fn schema_lists_every_code() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let known =
        schema["$defs"]["finding"]["properties"]["code"]["enum"].as_array().expect("a list");
    let kinds = FetchErrorKind::ALL.map(|kind| kind.label().replace('_', "-"));
    let problems = Problem::CODES.map(str::to_owned);
    let own = ["bad-reference", "no-such-field", "no-convention", "api-gateway-key"];
    let all: Vec<String> =
        own.map(str::to_owned).into_iter().chain(problems).chain(kinds).collect();
    let known: Vec<&str> = known.iter().filter_map(Value::as_str).collect();
    assert_eq!(known, all);
}

/// A table of companies, as a scan prints it and as an export has it in lines: each reference in it is
/// found where it stands, in plain JSON too.
#[tokio::test]
async fn references_are_found_in_a_dynamodb_table() {
    let (_fake, vars) = scene(&[
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
        let told = parsed(&done);
        let results = told["results"].as_array().expect("a list");
        let found: Vec<(&Value, String)> = results
            .iter()
            .map(|one| {
                (&one["reference"], one["places"][0].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let at = |end: &str| format!("{place}{end}");
        let expected = [
            (
                &json!("whatsapp-credentials/acme/support/twilio"),
                at("channel_config.whatsapp.credentials_id"),
            ),
            (&json!("own/openai#ai_api_key"), at("ai_config.ai_api_key_reference")),
            (&json!("openai-api-key/sms"), at("notes[0]")),
        ];
        assert_eq!(found, expected, "{text}");
        let expected = [("openai-api-key/sms", vec![("missing", Some("ai_api_key"))])];
        assert_eq!((done.code, findings(&told)), (Some(1), expected.to_vec()));
    }
    let folder = Folder::new();
    let broken = folder.write("broken.json", "{\"hunter2\": hunter2}").display().to_string();
    let done = check(&["--from-json", &broken], &vars, b"").await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    assert!(done.err.contains("broken.json: not JSON: error at line 1"), "{}", done.err);
}

/// A file of settings says what is checked and by which settings; the environment's own list is not
/// what was asked for. A list in the environment is checked where nothing is given.
#[tokio::test]
async fn secrets_of_a_settings_file_are_checked() {
    let (_fake, mut vars) = scene(&[("openai-api-key/sms", OPENAI), ("app/db", "hunter5")]).await;
    vars.insert("SIDEKEY_SECRETS".to_owned(), "app/db,app/gone".to_owned());
    let folder = Folder::new();
    let file = folder.write("sidekey.toml", "secrets = [\"openai-api-key/sms\"]\n");
    let file = file.display().to_string();
    let done = check(&["--json", "--config", &file], &vars, b"").await;
    let told = parsed(&done);
    assert_eq!((done.code, &told["checked"], &told["ok"]), (Some(0), &json!(1), &json!(true)));

    let told = parsed(&check(&["--json"], &vars, b"").await);
    assert_eq!(findings(&told), [("app/gone", vec![("not-found", None)])]);
    let told = parsed(&check(&["--json", "--strict", "app/db"], &vars, b"").await);
    assert_eq!(findings(&told), [("app/db", vec![("no-convention", None)])]);

    let own = "[[convention]]\nkind = \"db\"\npattern = \"app/{x}\"\nservice = \"Acme\"\n\
               fields = { user = \"string\" }\n";
    let own = folder.write("conventions.toml", own).display().to_string();
    let done = check(&["--json", "--conventions", &own, "app/db"], &vars, b"").await;
    assert_eq!(findings(&parsed(&done)), [("app/db", vec![("not-json", None)])]);

    let wrong = folder.write("wrong.toml", "ttl = \"soon\"\nsecret = \"a\"\n");
    let wrong = wrong.display().to_string();
    let done = check(&["--config", &wrong], &vars, b"").await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    for part in ["SIDEKEY_TTL: ", "did you mean secrets?"] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    vars.remove("SIDEKEY_SECRETS");
    let done = check(&[], &vars, b"").await;
    assert!(done.code == Some(2) && done.err.contains("nothing to check"), "{}", done.err);
}

/// A key of API Gateway's is named wherever it is; fields are looked for; and where a secret may not
/// be described, its rotation is unknown and nothing else is.
#[tokio::test]
async fn misplaced_gateway_keys_are_reported() {
    let in_a_field = json!({"user": "ann", "x-api-key": GATEWAY_KEY}).to_string();
    let (fake, vars) = scene(&[("a/alone", GATEWAY_KEY), ("a/field", &in_a_field)]).await;
    fake.faults().deny_operation(DescribeSecret);
    let done = check(&["--json", "a/alone", "a/field#user", "a/field#pass"], &vars, b"").await;
    let told = parsed(&done);
    let in_field = ("api-gateway-key", Some("x-api-key"));
    assert_eq!(
        findings(&told),
        [
            ("a/alone", vec![("api-gateway-key", None)]),
            ("a/field#user", vec![in_field]),
            ("a/field#pass", vec![("no-such-field", Some("pass")), in_field]),
        ]
    );
    for result in told["results"].as_array().expect("a list") {
        assert_eq!((&result["rotation"], &result["readable"]), (&json!("unknown"), &json!(true)));
    }
    assert_eq!(fake.calls().count_for(GetSecretValue, "a/field"), 1, "two fields are one read");
}
