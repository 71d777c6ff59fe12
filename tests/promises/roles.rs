//! Tests of reads with an assumed role, which can be in another account.

use crate::clients::Clients;
use crate::moto::Moto;
use crate::support::agent::{REGION, Setup, Sidekey, TOKEN, TOKEN_HEADER, read_path};
use crate::support::client::{Answer, request};
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::{TempFolder, fake};
use fake_aws::Operation::{AssumeRole, GetParameter, GetSecretValue};
use fake_aws::{Fake, Fault, Location, Match};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The account of the role [`READER`] and of its secrets.
const THEIR_ACCOUNT: &str = "210987654321";
const READER: &str = "arn:aws:iam::210987654321:role/team/reader";
const AUDITOR: &str = "arn:aws:iam::111122223333:role/auditor";

/// Starts a fake AWS server with the role [`READER`], and with a secret `shared/db` in the agent's
/// own account and another one of this name in the role's account.
async fn start_fake(clock: &Arc<ManualClock>) -> Fake {
    let fake = fake(clock).await;
    create(&fake, "shared/db", "own");
    create_theirs(&fake, "shared/db", "theirs");
    fake.roles().create(READER);
    fake
}

fn create(fake: &Fake, name: &str, value: &str) {
    fake.secrets().create(name, value).expect("the fake AWS server must create the secret");
}

fn create_theirs(fake: &Fake, name: &str, value: &str) -> String {
    let theirs = Location::new(THEIR_ACCOUNT, REGION);
    let arn = fake.secrets().create_in(&theirs, name, value);
    arn.expect("the fake AWS server must create the secret")
}

/// Returns the settings of an agent with the configuration file `file`.
fn with_file(setup: Setup, folder: &TempFolder, file: &str) -> Setup {
    setup.with("SIDEKEY_CONFIG", folder.write("sidekey.toml", file).display())
}

/// Reads a secret by both paths that accept `roleArn`, and checks that the answers are equal.
async fn read_as(sidekey: &Sidekey, id: &str, role: &str) -> Answer {
    let first = sidekey.read(&format!("{id}&roleArn={role}")).await;
    let second = sidekey.get(&format!("/v1/{id}?roleArn={role}")).await;
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    first
}

/// Calls an operation of the AWS API.
async fn call(sidekey: &Sidekey, operation: &str, body: &Value) -> Answer {
    let headers = [("X-Amz-Security-Token", TOKEN), ("X-Amz-Target", operation)];
    let text = request("POST", "/", &headers, &body.to_string());
    sidekey.connect().await.exchange(text).await
}

#[tokio::test]
async fn role_of_a_request_reads_the_secret_of_its_account() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let theirs = read_as(&sidekey, "shared/db", READER).await;
    assert_eq!(theirs.value(), "theirs");
    assert!(theirs.json()["ARN"].as_str().is_some_and(|arn| arn.contains(THEIR_ACCOUNT)));
    let last = fake.calls().last().expect("the agent must call AWS");
    assert_eq!(last.operation, Some(GetSecretValue));
    assert!(
        last.authorization.is_some_and(|signed| signed.contains("Credential=ASIA")),
        "the call must be signed with the credentials of the role"
    );
    assert!(last.security_token.is_some());
    assert_eq!(fake.calls().count(AssumeRole), 1);
    assert_eq!(fake.calls().count(GetSecretValue), 1, "the second read must come from the cache");
}

/// The same name and even the same ARN are read with two roles and with no role. Each value is
/// cached for its own role only.
#[tokio::test]
async fn cached_value_never_answers_another_role() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.roles().create(AUDITOR);
    let arn = create_theirs(&fake, "only/db", "secret of one role");
    fake.roles().allow_only(AUDITOR, &["nothing"]);
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    for _ in 0..2 {
        assert_eq!(read_as(&sidekey, "shared/db", READER).await.value(), "theirs");
        assert_eq!(sidekey.read("shared/db").await.value(), "own");
        assert_eq!(read_as(&sidekey, &arn, READER).await.value(), "secret of one role");
        let denied = read_as(&sidekey, &arn, AUDITOR).await;
        assert_eq!((denied.status, &*denied.kind()), (400, "AccessDeniedException"));
        let missing = read_as(&sidekey, "shared/db", AUDITOR).await;
        assert_eq!(missing.status, 400);
        assert_eq!(sidekey.read("only/db").await.kind(), "ResourceNotFoundException");
    }
    // A call to AWS with one role must not refresh what another role has read.
    create_theirs(&fake, "new/db", "new");
    fake.secrets().put(&arn, "changed").expect("the secret exists");
    sidekey.advance(SECOND);
    let refreshed = sidekey.read(&format!("{arn}&refreshNow=true")).await;
    assert_eq!(refreshed.value(), "changed", "the agent's own credentials can read the ARN");
    let cached = sidekey.read(&format!("{arn}&roleArn={READER}")).await;
    assert_eq!((cached.value().as_str(), cached.cache()), ("secret of one role", "hit"));
}

/// Twenty readers of different secrets wait for the same role, which the agent assumes once.
#[tokio::test]
async fn role_is_assumed_once_for_all_waiting_readers() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    for number in 0..20 {
        create_theirs(&fake, &format!("app/{number}"), "value");
    }
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut readers = Vec::new();
    for number in 0..20 {
        let path = read_path(&format!("app/{number}&roleArn={READER}"));
        let mut connection = sidekey.connect().await;
        readers.push(tokio::spawn(async move {
            let text = crate::support::client::get(&path, &[TOKEN_HEADER]);
            connection.exchange(text).await.value()
        }));
    }
    for reader in readers {
        assert_eq!(reader.await.expect("the reader must not panic"), "value");
    }
    assert_eq!((fake.calls().count(AssumeRole), fake.calls().count(GetSecretValue)), (1, 20));
}

#[tokio::test]
async fn role_is_assumed_again_before_its_credentials_end_and_after_they_are_refused() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let folder = TempFolder::new();
    let file =
        format!("[[role]]\narn = \"{READER}\"\nduration = \"15m\"\nsession_name = \"app\"\n");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "1s");
    let sidekey = with_file(setup, &folder, &file).start().await;
    let id = format!("shared/db&roleArn={READER}");
    let check = async |assumed| {
        assert_eq!(sidekey.read(&id).await.value(), "theirs");
        assert_eq!(fake.calls().count(AssumeRole), assumed);
    };
    check(1).await;
    sidekey.advance(Duration::from_secs(14 * 60 - 1));
    check(1).await;
    // The credentials are replaced one minute before their end.
    sidekey.advance(SECOND);
    check(2).await;
    let token = fake.calls().last().and_then(|call| call.security_token);
    fake.session_tokens().expire(&token.expect("the credentials of a role have a token"));
    sidekey.advance(2 * SECOND);
    let stale = sidekey.read(&id).await;
    assert_eq!((stale.value().as_str(), stale.cache()), ("theirs", "stale"));
    sidekey.advance(2 * SECOND);
    check(3).await;
}

/// A caller of the agent cannot authenticate with the session token of an assumed role.
#[tokio::test]
async fn session_token_of_a_role_does_not_authenticate_callers() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    read_as(&sidekey, "shared/db", READER).await;
    let token = fake.calls().last().and_then(|call| call.security_token);
    let token = token.expect("the credentials of a role have a token");
    let headers =
        [("X-Amz-Security-Token", &*token), ("X-Amz-Target", "secretsmanager.GetSecretValue")];
    let text = request("POST", "/", &headers, r#"{"SecretId":"shared/db"}"#);
    let answer = sidekey.connect().await.exchange(text).await;
    assert_eq!((answer.status, &*answer.kind()), (400, "UnrecognizedClientException"));
}

/// AWS does not say why it refuses to assume a role. The error names all reasons: the missing
/// statement, the trust policy and the external id.
#[tokio::test]
async fn refusal_to_assume_a_role_is_typed_and_names_the_missing_statement() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.roles().require_external_id(READER, "x:7");
    let folder = TempFolder::new();
    let id_file = folder.write("external-id", "x:7\n").display().to_string();
    let setup = || Setup::for_fake(&fake, &clock);
    let file = |id: &str| format!("[[role]]\narn = \"{READER}\"\nexternal_id = \"{id}\"\n");

    let sidekey = setup().start().await;
    for (role, part) in
        [(READER, "set external_id in a [[role]] table"), (AUDITOR, "sts:AssumeRole")]
    {
        let refused = read_as(&sidekey, "shared/db", role).await;
        assert_eq!((refused.status, &*refused.kind()), (403, "AccessDeniedException"));
        let json = refused.json();
        let (message, hint) = (&json["message"], &json["hint"]);
        let message = message.as_str().expect("the message must be a string");
        assert!(message.starts_with(&format!("Sidekey could not assume the role {role}: User: ")));
        let hint = hint.as_str().expect("the hint must be a string");
        let statement =
            format!(r#"{{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"{role}"}}"#);
        assert!(hint.contains(part) && hint.contains(&statement), "{hint}");
    }
    let counted = sidekey.metrics().await.get(
        "sidekey_upstream_requests_total{operation=\"GetSecretValue\",outcome=\"role_denied\"}",
    );
    assert_eq!(counted, 2.0);

    let wrong = with_file(setup(), &folder, &file("x:8")).start().await;
    let refused = read_as(&wrong, "shared/db", READER).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("must equal the configured external_id"), "{}", refused.text());
    assert!(!refused.text().contains("x:8"), "{}", refused.text());

    for id in ["x:7".to_owned(), format!("file://{id_file}")] {
        let right = with_file(setup(), &folder, &file(&id)).start().await;
        assert_eq!(read_as(&right, "shared/db", READER).await.value(), "theirs");
    }
}

#[tokio::test]
async fn role_without_permission_on_a_secret_is_named_in_the_hint() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.roles().allow_only(READER, &["other/*"]);
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let denied = read_as(&sidekey, "shared/db", READER).await;
    assert_eq!((denied.status, &*denied.kind()), (400, "AccessDeniedException"));
    let hint = format!("allow the role {READER} to read this secret or parameter");
    assert!(denied.text().contains(&hint), "{}", denied.text());
}

/// STS fails or cannot be reached. Cached values are served by the rules for stale values, and other
/// reads get a typed error.
#[tokio::test]
async fn cached_values_are_served_while_sts_fails() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    create_theirs(&fake, "shared/new", "new");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "5m");
    let sidekey = setup.with("SIDEKEY_STALE_IF_ERROR", "3h").start().await;
    assert_eq!(read_as(&sidekey, "shared/db", READER).await.value(), "theirs");
    let sts = Match::operation(AssumeRole);
    for (fault, status, kind) in [
        (Fault::Throttle, 400, "ThrottlingException"),
        (Fault::InternalError, 500, "InternalServiceError"),
        (Fault::Reset, 502, "ConnectionError"),
        (Fault::Garbage, 502, "ConnectionError"),
    ] {
        fake.faults().clear();
        fake.faults().always(sts.clone(), fault.clone());
        // The credentials of the role end after one hour.
        sidekey.advance(Duration::from_secs(3600));
        let cached = read_as(&sidekey, "shared/db", READER).await;
        assert_eq!((cached.value().as_str(), cached.cache()), ("theirs", "stale"), "{fault:?}");
        let failed = read_as(&sidekey, "shared/new", READER).await;
        assert_eq!((failed.status, &*failed.kind()), (status, kind), "{fault:?}");
        let named = format!("Sidekey could not assume the role {READER}: ");
        assert!(failed.text().contains(&named), "{}", failed.text());
        assert_eq!(sidekey.read("shared/db").await.value(), "own", "{fault:?}");
        fake.faults().clear();
        sidekey.advance(Duration::from_secs(60));
        assert_eq!(read_as(&sidekey, "shared/db", READER).await.value(), "theirs");
    }
}

/// The variable `SIDEKEY_STS_ENDPOINT` overrides `SIDEKEY_ENDPOINT`, and the variables that programs
/// set for their SDKs have no effect.
#[tokio::test]
async fn sts_is_called_at_its_own_endpoint_and_never_at_sidekey_itself() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let sts = start_fake(&clock).await;
    let port = crate::port::Port::reserve();
    let own = format!("http://127.0.0.1:{port}");
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_PORT", &port)
        .with("AWS_ENDPOINT_URL", &own)
        .with("AWS_ENDPOINT_URL_STS", &own);
    let sidekey = setup.clone().start().await;
    assert_eq!(read_as(&sidekey, "shared/db", READER).await.value(), "theirs");
    assert_eq!(fake.calls().count(AssumeRole), 1);
    let port = crate::port::Port::reserve();
    let sidekey =
        setup.with("SIDEKEY_PORT", &port).with("SIDEKEY_STS_ENDPOINT", sts.url()).start().await;
    // This STS issues credentials that the other fake takes for the agent's own.
    assert_eq!(read_as(&sidekey, "shared/db", READER).await.status, 502);
    assert_eq!((fake.calls().count(AssumeRole), sts.calls().count(AssumeRole)), (1, 1));
    let port = crate::port::Port::reserve();
    let itself = format!("http://127.0.0.1:{port}");
    let sidekey = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_PORT", &port)
        .with("SIDEKEY_STS_ENDPOINT", &itself)
        .start()
        .await;
    let refused = read_as(&sidekey, "shared/db", READER).await;
    assert!(refused.text().contains("an address of Sidekey itself"), "{}", refused.text());
}

const FILE: &str = r#"
secrets = ["shared/db", "ssm:/shared/url"]
[[role]]
arn = "arn:aws:iam::210987654321:role/team/reader"
external_id = "x:7"
match = ["shared/*", "ssm:/shared/*"]
"#;

/// Starts a fake AWS server and an agent that reads `shared/*` with the role [`READER`].
async fn start_with_rule(folder: &TempFolder) -> (Fake, Setup, Sidekey) {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.roles().require_external_id(READER, "x:7");
    let parameters = fake.parameters();
    parameters.put("/shared/url", "own").expect("the name must be valid");
    let theirs = Location::new(THEIR_ACCOUNT, REGION);
    parameters.put_in(&theirs, "/shared/url", "theirs").expect("the name must be valid");
    create(&fake, "app/db", "own");
    let setup = with_file(Setup::for_fake(&fake, &clock), folder, FILE);
    let sidekey = setup.clone().start().await;
    (fake, setup, sidekey)
}

/// The configuration chooses the role by name for every way to read a secret.
#[tokio::test]
async fn configured_role_is_used_by_every_way_to_read() {
    let folder = TempFolder::new();
    let (fake, setup, sidekey) = start_with_rule(&folder).await;
    let reads = fake.calls().count(GetSecretValue) + fake.calls().count(GetParameter);
    assert_eq!((reads, fake.calls().count(AssumeRole)), (2, 1), "the prefetch uses the role");

    let arn = fake.secrets().arn("app/db").expect("the secret exists");
    let theirs = Location::new(THEIR_ACCOUNT, REGION);
    for (id, value) in [("shared/db", "theirs"), ("app/db", "own"), (&*arn, "own")] {
        assert_eq!(sidekey.read(id).await.value(), value, "{id}");
        assert_eq!(sidekey.get(&format!("/v1/{id}")).await.value(), value, "{id}");
        let body = json!({ "SecretId": id });
        let answer = call(&sidekey, "secretsmanager.GetSecretValue", &body).await;
        assert_eq!(answer.value(), value, "{id}");
    }
    let described =
        call(&sidekey, "secretsmanager.DescribeSecret", &json!({ "SecretId": "shared/db" })).await;
    assert!(described.text().contains(THEIR_ACCOUNT), "{}", described.text());
    let batch = json!({ "SecretIdList": ["shared/db", "app/db"] });
    let batch = call(&sidekey, "secretsmanager.BatchGetSecretValue", &batch).await;
    let values = batch.json()["SecretValues"].clone();
    let values: Vec<&Value> =
        values.as_array().into_iter().flatten().map(|one| &one["SecretString"]).collect();
    assert_eq!(values, [&json!("theirs"), &json!("own")]);
    let name = json!({ "Name": "/shared/url", "WithDecryption": true });
    let parameter = call(&sidekey, "AmazonSSM.GetParameter", &name).await;
    assert_eq!(parameter.json()["Parameter"]["Value"], "theirs");
    fake.parameters().put_in(&theirs, "/shared/other", "theirs too").expect("the name is valid");
    let path = json!({ "Path": "/shared", "WithDecryption": true });
    let listed = call(&sidekey, "AmazonSSM.GetParametersByPath", &path).await;
    assert!(listed.text().contains("theirs too"), "{}", listed.text());

    let body = r#"{"references": ["shared/db", "app/db"]}"#;
    let resolved = request("POST", "/resolve", &[TOKEN_HEADER], body);
    let resolved = sidekey.connect().await.exchange(resolved).await;
    assert!(resolved.text().contains("theirs") && resolved.text().contains("own"));

    let port = sidekey.address.port();
    let vars = setup.clone().with("SIDEKEY_PORT", port).with("DB", "sidekey:shared/db");
    let done = Finished::sidekey(&["exec", "--", "printenv", "DB"], vars.vars(), b"").await;
    assert_eq!((done.code, done.text()), (Some(0), "theirs\n"), "{}", done.err);
    for args in [&["get", "shared/db"][..], &["get", "--direct", "shared/db"]] {
        let done = Finished::sidekey(args, vars.vars(), b"").await;
        assert_eq!((done.code, done.text()), (Some(0), "theirs"), "{}", done.err);
    }
    let status = sidekey.get("/status").await.json();
    let entries = status["entries"].as_array().expect("the JSON value must be an array");
    let roles: BTreeMap<&str, &Value> = entries
        .iter()
        .filter_map(|entry| Some((entry["name"].as_str()?, &entry["role"])))
        .collect();
    assert_eq!(*roles["shared/db"], json!(READER));
    assert_eq!(*roles["app/db"], Value::Null);
}

/// A request's own role goes before the configuration, and uses the external id that is configured
/// for it.
#[tokio::test]
async fn role_of_a_request_goes_before_the_configuration() {
    let folder = TempFolder::new();
    let (fake, _, sidekey) = start_with_rule(&folder).await;
    fake.roles().create(AUDITOR);
    let auditors = Location::new("111122223333", REGION);
    let created = fake.secrets().create_in(&auditors, "shared/db", "of the auditor");
    created.expect("the fake AWS server must create the secret");
    create_theirs(&fake, "app/db", "theirs");
    assert_eq!(read_as(&sidekey, "shared/db", AUDITOR).await.value(), "of the auditor");
    assert_eq!(read_as(&sidekey, "app/db", READER).await.value(), "theirs");
    assert_eq!(sidekey.read("shared/db").await.value(), "theirs");
}

#[tokio::test]
async fn only_roles_of_sidekey_roles_are_assumed() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    fake.roles().create(AUDITOR);
    let setup =
        Setup::for_fake(&fake, &clock).with("SIDEKEY_ROLES", "arn:aws:iam::210987654321:role/*");
    for dialect in ["agent", "extension"] {
        let sidekey = setup.clone().with("SIDEKEY_DIALECT", dialect).start().await;
        assert_eq!(sidekey.read(&format!("shared/db&roleArn={READER}")).await.value(), "theirs");
        let refused = sidekey.read(&format!("shared/db&roleArn={AUDITOR}")).await;
        assert_eq!(refused.status, if dialect == "agent" { 403 } else { 400 });
        let why = format!("no pattern in SIDEKEY_ROLES matches the role {AUDITOR}");
        assert!(refused.text().contains(&why), "{}", refused.text());
        assert!(refused.text().contains("AccessDeniedException"), "{}", refused.text());
    }
    let loaded = setup.clone().with("SIDEKEY_ROLES", "").load();
    assert!(loaded.mistakes.to_string().contains("SIDEKEY_ROLES: the value must not be empty"));
    let folder = TempFolder::new();
    let loaded = with_file(setup, &folder, &format!("[[role]]\narn = \"{AUDITOR}\"\n")).load();
    assert!(loaded.mistakes.to_string().contains("role[1].arn: no pattern in SIDEKEY_ROLES"));
}

/// `SIDEKEY_ALLOW` applies to reads with a role too. A pattern for names then means secrets in the
/// account of the role.
#[tokio::test]
async fn allowed_names_are_those_of_the_roles_account() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let arn = create_theirs(&fake, "shared/new", "new");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_ALLOW", "shared/db");
    let sidekey = setup.with("AWS_ACCOUNT_ID", "123456789012").start().await;
    assert_eq!(read_as(&sidekey, "shared/db", READER).await.value(), "theirs");
    for id in ["shared/new", &*arn] {
        let refused = read_as(&sidekey, id, READER).await;
        assert_eq!((refused.status, &*refused.kind()), (400, "AccessDeniedException"), "{id}");
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
}

/// `sidekey check` reads with the configured role, and names the permission that is missing.
#[tokio::test]
async fn check_reads_with_the_configured_role() {
    let folder = TempFolder::new();
    let (fake, setup, _sidekey) = start_with_rule(&folder).await;
    let check = async || {
        let args = ["check", "--json", "shared/db", "app/db"];
        let done = Finished::sidekey(&args, setup.vars(), b"").await;
        let json: Value = serde_json::from_slice(&done.out).expect("the output must be JSON");
        (done.code, json["results"].clone())
    };
    let (code, results) = check().await;
    assert_eq!(code, Some(0), "{results}");
    assert_eq!((&results[0]["role"], results[1].get("role")), (&json!(READER), None));
    assert!(results[0]["arn"].as_str().is_some_and(|arn| arn.contains(THEIR_ACCOUNT)));

    fake.roles().allow_only(READER, &["nothing"]);
    let (code, results) = check().await;
    assert_eq!(code, Some(1), "{results}");
    let finding = &results[0]["findings"][0];
    assert_eq!((&finding["code"], &results[1]["ok"]), (&json!("denied"), &json!(true)));
    let grant = &finding["grant"]["Statement"][0];
    let secret = "arn:aws:secretsmanager:eu-north-1:210987654321:secret:shared/db-??????";
    assert_eq!(grant["Resource"], json!([secret]));

    fake.roles().remove(READER);
    let (code, results) = check().await;
    assert_eq!(code, Some(1), "{results}");
    let finding = &results[0]["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["permission"]),
        (&json!("role-denied"), &json!("sts:AssumeRole"))
    );
    assert_eq!(finding["grant"]["Statement"][0]["Resource"], json!([READER]));
}

/// moto assumes roles too, and its credentials of a role belong to the role's account.
#[tokio::test]
async fn role_of_another_account_reads_its_secret_from_moto() {
    let clients = match Clients::install() {
        Ok(clients) => clients,
        Err(missing) => return missing.skip_or_fail(),
    };
    let moto = Moto::start(&clients).await;
    moto.create_secret("shared/db", "own").await;
    moto.create_secret_as(READER, "shared/db", "theirs").await;
    let folder = TempFolder::new();
    let file =
        format!("[[role]]\narn = \"{READER}\"\nmatch = \"shared/*\"\nexternal_id = \"x:7\"\n");
    let setup = Setup::for_endpoint(&moto.endpoint(), &ManualClock::new());
    let own = setup.clone().start().await;
    assert_eq!(own.read("shared/db").await.value(), "own");
    assert_eq!(read_as(&own, "shared/db", READER).await.value(), "theirs");
    assert_eq!(own.read("shared/db").await.value(), "own");
    let configured = with_file(setup, &folder, &file).start().await;
    let theirs = configured.read("shared/db").await;
    assert_eq!(theirs.value(), "theirs");
    assert!(theirs.text().contains(THEIR_ACCOUNT), "{}", theirs.text());
}

/// The agent reads with 20 roles at most. The role that was unused longest goes with its values.
#[tokio::test]
async fn role_that_was_unused_longest_goes() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock).await;
    let role = |number: usize| format!("arn:aws:iam::210987654321:role/r{number:02}");
    (0..=20).for_each(|number| fake.roles().create(&role(number)));
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let read = async |number: usize| {
        sidekey.advance(SECOND);
        let answer = sidekey.read(&format!("shared/db&roleArn={}", role(number))).await;
        assert_eq!(answer.value(), "theirs");
        answer.cache().to_owned()
    };
    for number in 0..20 {
        assert_eq!(read(number).await, "miss");
    }
    assert_eq!(read(0).await, "hit");
    assert_eq!(read(20).await, "miss");
    assert_eq!(read(0).await, "hit");
    assert_eq!(read(1).await, "miss", "the role that was unused longest must be evicted");
    let evicted = sidekey.metrics().await.get("sidekey_evictions_total");
    assert!(evicted >= 2.0, "{evicted}");
}
