//! Tests of `sidekey scaffold` with the real AWS CLI and the emulator moto. The command creates
//! secrets with placeholder values, and later fills in real values.

use crate::clients::{Clients, killed_with_test};
use crate::moto::Moto;
use crate::support::TempFolder;
use crate::support::agent::{REGION, Setup, Sidekey, TOKEN_HEADER};
use crate::support::client::request;
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

type Vars = BTreeMap<String, String>;

/// The names of the secrets of the test project.
const NAMES: [&str; 6] = [
    "whatsapp-credentials/cucumber-recruitment/cv-analysis/twilio",
    "sms-credentials/cucumber-recruitment/cv-analysis/twilio",
    "email-credentials/cucumber-recruitment/cv-analysis/sendgrid",
    "openai-api-key/whatsapp",
    "openai-api-key/sms",
    "openai-api-key/email",
];

/// A TOML file with additional rules for secret values.
const OWN: &str = r#"
built_in = false

[[convention]]
kind = "acme-db"
pattern = "acme/{stage:dev|prod}/db"
service = "Acme"
fields = { user = "string", port = "number" }
placeholders = ["TODO*"]
"#;

const PROJECT: [&str; 4] = ["--company", "cucumber-recruitment", "--project", "cv-analysis"];

/// Returns the environment variables of a user who calls the Secrets Manager at `endpoint`.
fn operator(endpoint: &str) -> Vars {
    let pairs = [
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint),
        ("SIDEKEY_ENDPOINT", endpoint),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "AKIATESTS"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key-of-these-tests"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        // The AWS CLI is a Python program, which starts slowly on a busy machine.
        ("SIDEKEY_UPSTREAM_TIMEOUT", "1m"),
        ("SIDEKEY_READER_WAIT", "1m"),
    ];
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn sidekey(args: &[&str], vars: &Vars, stdin: &str) -> Finished {
    let done = Finished::sidekey(args, vars, stdin.as_bytes()).await;
    assert!(!done.text().contains("hunter") && !done.err.contains("hunter"), "{done:?}");
    done
}

/// Runs a shell script, which `sh` reads from its standard input.
async fn sh(script: &str, vars: &Vars) -> Finished {
    Finished::run(killed_with_test("sh"), vars, script.as_bytes()).await
}

fn values() -> Value {
    let twilio = json!({"twilio_account_sid": "AC1", "twilio_auth_token": "hunter2 '$x'",
        "twilio_template_sid": "HX1"});
    let sendgrid = json!({"sendgrid_auth_value": "hunter3", "sendgrid_from_email": "a@b.c",
        "sendgrid_from_name": "Ann", "sendgrid_template_id": "d-1"});
    let openai = json!({"ai_api_key": "hunter4"});
    let of_kind = [&twilio, &twilio, &sendgrid, &openai, &openai, &openai];
    let pairs = NAMES.iter().zip(of_kind).map(|(name, value)| ((*name).to_owned(), value.clone()));
    Value::Object(pairs.collect())
}

async fn stored_value(moto: &Moto, name: &str) -> Value {
    let answer = moto.call("GetSecretValue", &json!({"SecretId": name})).await;
    serde_json::from_str(answer["SecretString"].as_str().expect("the JSON value must be a string"))
        .expect("the text is JSON")
}

/// Runs `sidekey check`. Returns its exit code, and the names of the secrets that have placeholder
/// values.
async fn run_check(vars: &Vars) -> (Option<i32>, Vec<String>) {
    let done = sidekey(&[&["check", "--json"][..], &NAMES].concat(), vars, "").await;
    let reported: Value =
        serde_json::from_str(done.text()).unwrap_or_else(|_| panic!("{}", done.err));
    let results = reported["results"].as_array().expect("the JSON value must be an array").iter();
    let placeholders = results.filter(|one| {
        let findings = one["findings"].as_array().expect("the JSON value must be an array");
        !findings.is_empty() && findings.iter().all(|finding| finding["code"] == "placeholder")
    });
    (
        done.code,
        placeholders.map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect(),
    )
}

/// Sends ten messages in one request to `/resolve`. Returns each credential by the name of its
/// secret.
async fn resolve_all(sidekey: &Sidekey) -> BTreeMap<String, Value> {
    let record = |number: usize| {
        let (channel, credentials, key) = match number % 3 {
            0 => ("whatsapp", NAMES[0], NAMES[3]),
            1 => ("sms", NAMES[1], NAMES[4]),
            _ => ("email", NAMES[2], NAMES[5]),
        };
        let context = json!({
            "channel_config": {channel: {"credentials_id": credentials}},
            "ai_config": {"ai_api_key_reference": key},
        });
        json!({"messageId": format!("m-{number}"), "body": context.to_string()})
    };
    let event = json!({"Records": (0..10).map(record).collect::<Vec<_>>()});
    let sent = request("POST", "/resolve", &[TOKEN_HEADER], &event.to_string());
    let answer = sidekey.connect().await.exchange(sent).await.json();
    assert_eq!(answer["batchItemFailures"], json!([]), "{}", answer["batchItemFailures"]);
    let results = answer["results"].as_array().expect("the JSON value must be an array");
    assert_eq!(results.len(), 10);
    let credentials = results.iter().flat_map(|one| {
        one["credentials"].as_object().expect("the result must contain credentials")
    });
    let named = credentials
        .map(|(_, one)| (one["reference"].as_str().expect("the JSON value must be a string"), one));
    named.map(|(name, one)| (name.to_owned(), one["value"].clone())).collect()
}

/// Creates every secret of the project with a placeholder value, checks the secrets, and fills in
/// values from a file and a folder.
#[tokio::test]
async fn project_is_created_checked_and_filled() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    let vars = operator(&moto.endpoint());
    let aws = clients.python().with_file_name("aws").display().to_string();
    let scaffold = [&["scaffold", "--aws", &aws][..], &PROJECT].concat();

    let written = sidekey(&scaffold, &vars, "").await;
    assert_eq!((written.code, &*written.err), (Some(0), ""));
    assert_eq!(written.text().lines().count(), NAMES.len());
    let made = sh(written.text(), &vars).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let all = NAMES.map(str::to_owned).to_vec();
    assert_eq!(run_check(&vars).await, (Some(1), all));
    let first = stored_value(&moto, NAMES[0]).await;
    assert_eq!(first["twilio_auth_token"], "PLACEHOLDER_TWILIO_AUTH_TOKEN");

    let agent = Setup::for_endpoint(&moto.endpoint(), &ManualClock::new()).start().await;
    assert_eq!(resolve_all(&agent).await[NAMES[0]], first);

    let again = sidekey(&[&scaffold[..], &["--run", "--channel", "sms"]].concat(), &vars, "").await;
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains(&format!("1/2 {}: exists\n", NAMES[1])), "{}", again.err);

    let mut values = values();
    let all = values.clone();
    let (sms, key) = (NAMES[1], values[NAMES[1]].take());
    values.as_object_mut().expect("the JSON value must be an object").remove(sms);
    let update = ["scaffold", "--aws", &aws, "--update", "--values", "-", "--json", "--run"];
    let updated = sidekey(&update, &vars, &values.to_string()).await;
    assert_eq!(updated.code, Some(0), "{}", updated.err);
    assert_eq!(updated.text().matches("\"outcome\": \"updated\"").count(), 5, "{}", updated.text());
    assert_eq!(run_check(&vars).await, (Some(1), vec![sms.to_owned()]));

    let folder = TempFolder::new();
    let path = folder.path().join(format!("{sms}.json"));
    fs::create_dir_all(path.parent().expect("the path must have a parent folder"))
        .expect("the test must be able to write the file");
    fs::write(&path, key.to_string()).expect("the test must be able to write the file");
    let folder = folder.path().display().to_string();
    let only = ["--kind", "sms-twilio", "--update", "--values", &folder];
    let written = sidekey(&[&scaffold[..], &only].concat(), &vars, "").await;
    assert_eq!((written.code, &*written.err), (Some(0), ""));
    let updated = sh(written.text(), &vars).await;
    assert_eq!(updated.code, Some(0), "{}", updated.err);
    assert_eq!(run_check(&vars).await, (Some(0), Vec::new()));
    assert_eq!(stored_value(&moto, sms).await, key);

    agent.advance(Duration::from_secs(300));
    let all = all.as_object().expect("the JSON value must be an object").clone();
    assert!(
        resolve_all(&agent).await.into_iter().eq(all),
        "the agent must return the values that the command has written"
    );
}

/// Writes a program that records its arguments and its standard input. Returns its path.
fn recorder(folder: &TempFolder, end: &str) -> String {
    let log = folder.path().join("log").display().to_string();
    let script = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" >> {log}\nprintf 'pipe %s\\n' \"$(cat)\" >> {log}\n{end}\n"
    );
    let path = folder.write("aws", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
        .expect("the file must belong to the current user");
    path.display().to_string()
}

fn recorded_lines(folder: &Path) -> Vec<String> {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// `sidekey scaffold` passes values to the AWS CLI only through a pipe, because other users can see
/// the arguments of a process.
#[tokio::test]
async fn command_lines_show_no_value() {
    let folder = TempFolder::new();
    let aws = recorder(&folder, "exit 0");
    let vars = Vars::new();
    let values = json!({"openai-api-key/sms": {"ai_api_key": "hunter4"}}).to_string();
    let update = ["scaffold", "--aws", &aws, "--update", "--values", "-", "--run"];
    let args = [&update[..], &["--region", "eu-north-1"]].concat();
    let done = sidekey(&args, &vars, &values).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let expected = "secretsmanager update-secret --secret-id openai-api-key/sms --secret-string \
                    file:///dev/stdin --region eu-north-1 pipe {\"ai_api_key\":\"hunter4\"}";
    assert_eq!(recorded_lines(folder.path()), [expected]);

    for (end, reported) in [
        (
            "echo 'Unable to locate credentials' >&2; exit 253",
            "failed   openai-api-key  openai-api-key/sms  Unable to locate credentials",
        ),
        ("echo 'bad hunter4' >&2; exit 1", "Sidekey hides the error message"),
        (
            "echo 'An error occurred (ResourceNotFoundException) when' >&2; exit 254",
            "create it first",
        ),
    ] {
        recorder(&folder, end);
        let done = sidekey(&update, &vars, &values).await;
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.text().contains(reported), "{reported}: {}", done.text());
    }
}

/// `sidekey scaffold` reports all values that break a rule, and then writes no value at all.
#[tokio::test]
async fn wrong_values_are_refused_before_any_write() {
    let folder = TempFolder::new();
    let aws = recorder(&folder, "exit 0");
    let vars = Vars::new();
    let values = json!({
        "openai-api-key/sms": {"ai_api_key": "hunter4"},
        "openai-api-key/email": {"ai_api_key": "PLACEHOLDER"},
        "openai-api-key/fax": {"ai_api_key": "hunter4"},
        "openai-api-key/whatsapp": {"ai_api_key": "hunter4\n"},
        "sms-credentials/a/b/twilio": {"twilio_account_sid": 5, "twilio_auth_token": "hunter2"},
    });
    let update = ["scaffold", "--aws", &aws, "--update", "--values", "-", "--run"];
    let done = sidekey(&update, &vars, &values.to_string()).await;
    assert_eq!((done.code, done.text()), (Some(1), ""));
    for line in [
        "sidekey: openai-api-key/email: the field 'ai_api_key' is still a placeholder; \
         use --allow-placeholders to write the value anyway",
        "sidekey: openai-api-key/fax: the secret's name matches no naming convention; correct the \
         name in the file of values",
        "sidekey: openai-api-key/whatsapp: the field 'ai_api_key' begins or ends with white space",
        "sidekey: sms-credentials/a/b/twilio: the field 'twilio_account_sid' is a number and not a \
         string",
        "sidekey: sms-credentials/a/b/twilio: the field 'twilio_template_sid' is missing",
    ] {
        assert!(done.err.lines().any(|own| own == line), "{line}:\n{}", done.err);
    }
    assert_eq!(done.err.lines().count(), 5, "{}", done.err);
    assert!(recorded_lines(folder.path()).is_empty());

    let placeholder = json!({"openai-api-key/email": {"ai_api_key": "PLACEHOLDER"}}).to_string();
    let args = [&update[..], &["--allow-placeholders"]].concat();
    assert_eq!(sidekey(&args, &vars, &placeholder).await.code, Some(0));
    assert_eq!(recorded_lines(folder.path()).len(), 1);

    let good = json!({"openai-api-key/email": {"ai_api_key": "hunter4"}}).to_string();
    for (args, reported) in [
        (&["scaffold"][..], "the placeholder 'company_name' has no value"),
        (
            &["scaffold", "--company", "a/b", "--project", "c"],
            "the value of the placeholder 'company_name' must",
        ),
        (&["scaffold", "--update"], "--values"),
        (&["scaffold", "--update", "--values", "-"], "use --run, or a folder"),
        (&["scaffold", "--update", "--values", "/nonexistent", "--run"], "/nonexistent: No such"),
    ] {
        let done = sidekey(args, &vars, &good).await;
        assert_eq!((done.code, done.text()), (Some(2), ""), "{args:?}");
        assert!(done.err.contains(reported), "{reported}: {}", done.err);
    }
}

#[tokio::test]
async fn own_conventions_are_followed() {
    let folder = TempFolder::new();
    let file = folder.write("conventions.toml", OWN).display().to_string();
    let by_variable = Vars::from([("SIDEKEY_CONVENTIONS".to_owned(), file.clone())]);
    let by_option = ["scaffold", "--conventions", &file, "--set", "stage=dev"];
    for (args, vars, expected) in [
        (&["scaffold"][..], &by_variable, &["acme/dev/db", "acme/prod/db"][..]),
        (&by_option, &Vars::new(), &["acme/dev/db"]),
    ] {
        let done = sidekey(args, vars, "").await;
        assert_eq!(done.code, Some(0), "{}", done.err);
        let expected: Vec<String> = expected
            .iter()
            .map(|name| {
                let stage = if name.contains("dev") { "DEV" } else { "PROD" };
                format!(
                    "aws secretsmanager create-secret --name {name} --secret-string \
                     '{{\"port\":\"TODO_{stage}_PORT\",\"user\":\"TODO_{stage}_USER\"}}'"
                )
            })
            .collect();
        assert_eq!(done.text().lines().collect::<Vec<_>>(), expected);
    }
    let wrong = folder.write("wrong.toml", &OWN.replace("kind", "kin")).display().to_string();
    let done = sidekey(&["scaffold", "--conventions", &wrong], &Vars::new(), "").await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    assert!(done.err.contains("SIDEKEY_CONVENTIONS"), "{}", done.err);
}
