//! Tests of the commands `get`, `exec`, `check`, `policy` and `dev` with parameters of Parameter
//! Store.

use crate::port::Port;
use crate::support::agent::{Setup, Sidekey};
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::program::Program;
use crate::support::{TempFolder, fake};
use fake_aws::Operation::{DescribeSecret, GetParameter, GetParameters, GetParametersByPath};
use fake_aws::{Fake, ParameterValue};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

type Vars = BTreeMap<String, String>;

const STORE: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";

/// Starts a fake AWS server with several parameters, and an agent that calls this server. Returns
/// both, and the environment variables of a program that calls the agent.
async fn start() -> (Fake, Sidekey, Vars) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let parameters = fake.parameters();
    let put = |name: &str, value: ParameterValue| {
        parameters.put(name, value).expect("the fake AWS server must accept the parameter");
    };
    put("/app/url", "https://old.example".into());
    put("/app/url", "https://new.example".into());
    put("/app/hosts", ParameterValue::list(["a.example", "b.example"]));
    put("/app/db", ParameterValue::secure(r#"{"user":"ann","pass":"hunter2"}"#));
    put("/app/below/key", "x".into());
    put("plain", "hunter3".into());
    parameters.move_label("/app/url", "before", 1).expect("the version exists");
    let setup = Setup::for_fake(&fake, &clock);
    let sidekey = setup.clone().start().await;
    let port = sidekey.address.port();
    (fake, sidekey, setup.with("SIDEKEY_PORT", port).vars().clone())
}

async fn run(args: &[&str], vars: &Vars) -> Finished {
    Finished::sidekey(args, vars, b"").await
}

/// `get` prints the same value whether an agent or AWS answers. A `SecureString` is decrypted.
#[tokio::test]
async fn get_prints_a_parameter_with_and_without_an_agent() {
    let (fake, sidekey, vars) = start().await;
    let arn = format!("{STORE}/app/url");
    for (reference, expected) in [
        ("ssm:/app/url", "https://new.example"),
        ("ssm:/app/url:1", "https://old.example"),
        (&*format!("{arn}:before"), "https://old.example"),
        (&*arn, "https://new.example"),
        ("ssm:/app/hosts", "a.example,b.example"),
        ("ssm:/app/db#pass", "hunter2"),
        ("ssm:plain", "hunter3"),
    ] {
        for option in ["--agent", "--direct"] {
            let done = run(&["get", option, reference], &vars).await;
            let found = (done.code, done.text(), &*done.err);
            assert_eq!(found, (Some(0), expected, ""), "{option} {reference}");
        }
    }
    assert_eq!(sidekey.metrics().await.sum("sidekey_reads_total"), 7.0);

    for (option, source) in [("--agent", "agent"), ("--direct", "aws")] {
        let done = run(&["get", "--json", option, "ssm:/app/db"], &vars).await;
        let mut reported: Value = serde_json::from_str(done.text()).expect("the output is JSON");
        assert!(reported["createdDate"].take().is_string());
        let expected = json!({
            "reference": "ssm:/app/db", "arn": format!("{STORE}/app/db"), "name": "/app/db",
            "versionId": "1", "versionStages": [], "parameterType": "SecureString",
            "createdDate": null, "source": source, "value": r#"{"user":"ann","pass":"hunter2"}"#,
        });
        assert_eq!(reported, expected);
    }

    fake.faults().deny_parameter("/app/hosts");
    for (reference, code, expected) in [
        ("ssm:/app/no", 1, "ParameterNotFound"),
        ("ssm:/app/url:9", 1, "ParameterVersionNotFound"),
        ("ssm:/app/db#port", 1, "the secret has no field 'port'; it has 'pass', 'user'"),
        ("ssm:/app/*", 2, "character 10 is not allowed; use only A-Za-z0-9/_.- in a parameter's"),
    ] {
        for option in ["--agent", "--direct"] {
            let done = run(&["get", option, reference], &vars).await;
            assert_eq!((done.code, done.text()), (Some(code), ""), "{option} {reference}");
            assert!(done.err.contains(expected), "{option} {reference}: {}", done.err);
        }
    }
    let done = run(&["get", "--direct", "ssm:/app/hosts"], &vars).await;
    assert!(done.err.contains("grant ssm:GetParameter"), "{}", done.err);
}

/// `exec` fills variables with parameters, and reads each parameter once. A plain ARN is not a
/// reference, so it stays unchanged.
#[tokio::test]
async fn exec_fills_variables_with_parameters() {
    let (fake, _sidekey, mut vars) = start().await;
    let arn = format!("{STORE}/app/url");
    for (name, value) in [
        ("DB_USER", "sidekey:ssm:/app/db#user".to_owned()),
        ("DB_PASS", "sidekey:ssm:/app/db#pass".to_owned()),
        ("URL", format!("sidekey:{arn}")),
        ("OLD", "sidekey:ssm:/app/url:before".to_owned()),
        ("ARN", arn.clone()),
    ] {
        vars.insert(name.to_owned(), value);
    }
    let script = r#"printf '%s|%s|%s|%s|%s' "$DB_USER" "$DB_PASS" "$URL" "$OLD" "$ARN""#;
    let done = run(&["exec", "--", "sh", "-c", script], &vars).await;
    let expected = format!("ann|hunter2|https://new.example|https://old.example|{arn}");
    assert_eq!((done.code, done.text()), (Some(0), &*expected), "{}", done.err);
    let reads = [GetParameter, GetParameters].map(|call| fake.calls().count_for(call, "/app/db"));
    assert_eq!(reads.iter().sum::<u64>(), 1, "{:?}", fake.calls());

    vars.insert("ABSENT".to_owned(), "sidekey:ssm:/app/no".to_owned());
    let done = run(&["exec", "true"], &vars).await;
    assert_eq!(done.code, Some(125), "{}", done.err);
    assert!(done.err.contains("ABSENT: ParameterNotFound"), "{}", done.err);
}

/// `check` reads parameters and paths from its arguments, from `SIDEKEY_SECRETS`, and from a task
/// definition of ECS. The report has the type and the version of a parameter.
#[tokio::test]
async fn check_reports_type_and_version_of_parameters() {
    let (fake, _sidekey, mut vars) = start().await;
    let references =
        ["ssm:/app/db#user", "ssm:/app/url", "ssm:/app/*", "ssm:/app/no", "ssm:/app/**"];
    let done = run(&[&["check", "--json", "--strict"][..], &references].concat(), &vars).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    let reported: Value = serde_json::from_str(done.text()).expect("the output is JSON");
    let facts: Vec<Value> = (reported["results"].as_array().expect("the results are a list"))
        .iter()
        .map(|one| json!([one["parameterType"], one["versionId"], one["parameters"], one["ok"]]))
        .collect();
    let expected = [
        json!(["SecureString", "1", null, true]),
        json!(["String", "2", null, true]),
        json!([null, null, 3, true]),
        json!([null, null, null, false]),
        json!([null, null, null, false]),
    ];
    assert_eq!(facts, expected, "{reported:#}");
    let code = |index: usize| &reported["results"][index]["findings"][0]["code"];
    assert_eq!([code(3), code(4)], ["not-found", "bad-reference"]);
    assert!(!done.text().contains("hunter"), "{}", done.text());
    assert_eq!(fake.calls().count(DescribeSecret), 0);

    vars.insert("SIDEKEY_SECRETS".to_owned(), "ssm:/app/*,ssm:/app/url:1".to_owned());
    let done = run(&["check"], &vars).await;
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    for row in [&["ok", "ssm:/app/*", "3 parameters"][..], &["ok", "ssm:/app/url:1", "String v1"]] {
        let has_row = |line: &str| row.iter().all(|cell| line.contains(cell));
        assert!(done.text().lines().any(has_row), "{row:?}: {}", done.text());
    }

    let folder = TempFolder::new();
    let definition = json!({"containerDefinitions": [{"secrets": [
        {"name": "URL", "valueFrom": "/app/url"},
        {"name": "DB", "valueFrom": format!("{STORE}/app/db")},
    ]}]});
    let file = folder.write("task.json", &definition.to_string()).display().to_string();
    let done = run(&["check", "--json", "--from-json", &file], &vars).await;
    let reported: Value = serde_json::from_str(done.text()).expect("the output is JSON");
    assert_eq!((done.code, &reported["checked"]), (Some(0), &json!(2)), "{reported:#}");
}

/// If AWS denies a read, the report contains a policy for exactly this parameter.
#[tokio::test]
async fn denied_parameter_gets_a_policy() {
    let (fake, _sidekey, vars) = start().await;
    fake.faults().deny_parameter("/app/url");
    let done = run(&["check", "ssm:/app/url"], &vars).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    let (_, policy) = done.text().split_once("denied access:\n\n").expect("a policy is printed");
    let policy: Value = serde_json::from_str(policy).expect("the policy is JSON");
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Action"], "ssm:GetParameter");
    let resource = statement["Resource"][0].as_str().expect("the resource is a string");
    assert!(resource.starts_with("arn:aws:ssm:eu-north-1:"), "{resource}");
    assert!(resource.ends_with(":parameter/app/url"), "{resource}");
}

/// A secret that is read as a parameter needs only `GetSecretValue`, on the secret's own ARN.
#[tokio::test]
async fn secret_that_is_named_as_a_parameter_gets_a_policy_for_the_secret() {
    let (_fake, _sidekey, vars) = start().await;
    let reference = "ssm:/aws/reference/secretsmanager/app/db";
    let place = ["--account", "123456789012", "--region", "eu-north-1"];
    let done = run(&[&["policy", reference][..], &place].concat(), &vars).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let policy: Value = serde_json::from_str(done.text()).expect("the policy is JSON");
    let statements = policy["Statement"].as_array().expect("the policy has statements");
    assert_eq!(statements.len(), 1, "{policy}");
    assert_eq!(statements[0]["Action"], "secretsmanager:GetSecretValue");
    let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-??????";
    assert_eq!(statements[0]["Resource"], json!([arn]));
    let folder = TempFolder::new();
    let file = folder.write("policy.json", done.text()).display().to_string();
    let verify = [&["policy", reference, "--verify", &file][..], &place].concat();
    let verified = run(&verify, &vars).await;
    assert_eq!(verified.code, Some(0), "{}{}", verified.text(), verified.err);
}

/// The policy for `SIDEKEY_SECRETS` allows each action that the agent needs, and `--verify` accepts
/// exactly this policy.
#[tokio::test]
async fn policy_for_listed_parameters_is_exact() {
    let key = "arn:aws:kms:eu-north-1:123456789012:key/1";
    let pairs = [
        ("SIDEKEY_SECRETS", "app/db ssm:/app/* ssm:/other/url"),
        ("SIDEKEY_REGION", "eu-north-1"),
        ("AWS_ACCOUNT_ID", "123456789012"),
    ];
    let mut vars: Vars =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let done = run(&["policy", "--kms-key", key], &vars).await;
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    let policy: Value = serde_json::from_str(done.text()).expect("the policy is JSON");
    let statements = policy["Statement"].as_array().expect("the policy has statements");
    let resources = |action: &str| -> Vec<Value> {
        let own = statements.iter().filter(|one| one["Action"] == action);
        own.flat_map(|one| one["Resource"].as_array().expect("a list").clone()).collect()
    };
    let (path, url) = (format!("{STORE}/app/*"), format!("{STORE}/other/url"));
    for action in ["ssm:GetParameter", "ssm:GetParameters"] {
        assert_eq!(resources(action), [&*path, &*url]);
    }
    assert_eq!(resources("ssm:GetParametersByPath"), [&*format!("{STORE}/app"), &*path]);
    assert_eq!(resources("kms:Decrypt"), [key, key]);

    let folder = TempFolder::new();
    let file = folder.write("policy.json", done.text()).display().to_string();
    let verify = ["policy", "--kms-key", key, "--verify", &file];
    let done = run(&verify, &vars).await;
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    vars.insert("SIDEKEY_SECRETS".to_owned(), "app/db ssm:/app/url ssm:/new".to_owned());
    let done = run(&verify, &vars).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    for row in [
        &["missing", "ssm:GetParameter", "parameter/new"][..],
        &["unneeded", "ssm:getparametersbypath"],
        &["unneeded", "ssm:GetParameters", "parameter/other/url"],
    ] {
        let has_row = |line: &str| row.iter().all(|cell| line.contains(cell));
        assert!(done.text().lines().any(has_row), "{row:?}: {}", done.text());
    }
}

/// `sidekey dev` serves the parameters in its file, and their new values after a change of the file.
#[tokio::test]
async fn dev_serves_parameters_of_its_file() {
    let home = TempFolder::new();
    let file = home.write(
        "secrets.toml",
        "\"ssm:/app/url\" = \"one\"\n\"ssm:/app/hosts\" = [\"a\", \"b\"]\n\
         \"ssm:/app/key\" = { \"$secure\" = \"hunter2\" }\n\"app/db\" = \"hunter3\"\n",
    );
    let port = Port::reserve();
    let vars = Vars::from([
        ("HOME".to_owned(), home.path().display().to_string()),
        ("SIDEKEY_PORT".to_owned(), port.to_string()),
        ("SIDEKEY_TTL".to_owned(), "1s".to_owned()),
        // The fake must answer for Parameter Store, whatever the user has set.
        ("SIDEKEY_SSM_ENDPOINT".to_owned(), "https://ssm.invalid".to_owned()),
    ]);
    let path = file.display().to_string();
    let program = Program::start(&["dev", "--latency", "0ms", "--secrets", &path], &vars);
    let first = program.line("Fake AWS: ").await;
    assert!(first.contains(", 1 secrets, 3 parameters, "), "{first}");
    program.line("Press Ctrl-C to stop").await;
    for (reference, expected) in
        [("ssm:/app/url", "one"), ("ssm:/app/hosts", "a,b"), ("ssm:/app/key", "hunter2")]
    {
        let done = run(&["get", "--agent", reference], &vars).await;
        assert_eq!((done.code, done.text()), (Some(0), expected), "{}", done.err);
    }
    fs::write(&file, "\"ssm:/app/url\" = \"a longer value\"\n").expect("the file is writable");
    let line = program.line("now serves a new version of ssm:/app/url").await;
    assert!(line.contains(": 2-"), "{line}");
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.0, Some(0));
}

/// A listed path is one call, also for its parameters that `get` reads by name.
#[tokio::test]
async fn listed_path_is_prefetched_by_one_call() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for name in ["/app/a", "/app/b", "/app/below/c"] {
        fake.parameters().put(name, name).expect("the fake AWS server must accept the parameter");
    }
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", "ssm:/app/*")
        .with("SIDEKEY_ALLOW", "ssm:/app/*");
    let sidekey = setup.clone().start().await;
    let vars = setup.with("SIDEKEY_PORT", sidekey.address.port()).vars().clone();
    for name in ["/app/a", "/app/b"] {
        let done = run(&["get", "--agent", &format!("ssm:{name}")], &vars).await;
        assert_eq!((done.code, done.text()), (Some(0), name), "{}", done.err);
    }
    let done = run(&["get", "--agent", "ssm:/app/below/c"], &vars).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("SIDEKEY_ALLOW"), "{}", done.err);
    let calls = [GetParametersByPath, GetParameters, GetParameter]
        .map(|operation| fake.calls().count(operation));
    assert_eq!(calls, [1, 0, 0]);
}
