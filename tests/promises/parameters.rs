//! Reads of parameters: by callers of AWS's Lambda extension, and by SDKs that use Sidekey as their
//! endpoint. Responses are compared byte for byte.

use crate::support::agent::{Setup, Sidekey, TOKEN, TOKEN_HEADER};
use crate::support::client::{Answer, get, request};
use crate::support::clock::ManualClock;
use crate::support::{eventually, fake};
use fake_aws::Operation::{GetParameter, GetParameters, GetParametersByPath, GetSecretValue};
use fake_aws::{Fake, Fault, Match, ParameterValue};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const ARN: &str = "arn:aws:ssm:eu-north-1:123456789012:parameter";
const DIALECTS: [&str; 2] = ["agent", "extension"];
const FAILED: &str = "an unexpected error occurred while executing request: ";
const SECRET: &str = "/aws/reference/secretsmanager/app/db";
const SESSION: (&str, &str) = ("X-Amz-Security-Token", TOKEN);

/// Starts a fake AWS server with some parameters, and an agent with the settings `vars`, at a fixed
/// time of day.
async fn start_agent(vars: &[(&str, &str)]) -> (Fake, Sidekey) {
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_millis(1_668_586_960_362));
    let fake = fake(&clock).await;
    let parameters = fake.parameters();
    for (name, value) in [
        ("/app/url", ParameterValue::from("one")),
        ("/app/url", ParameterValue::from(r#"{"user":"<ann> & co"}"#)),
        ("/app/hosts", ParameterValue::list(["a", "b"])),
        ("/app/password", ParameterValue::secure("hunter2")),
        ("/app/locked", ParameterValue::secure("hunter2")),
        ("/app/denied", ParameterValue::from("hunter2")),
        ("/aws/service/list/regions", ParameterValue::from("eu-north-1")),
    ] {
        parameters.put(name, value).expect("the name is valid");
    }
    parameters.move_label("/app/url", "live", 1).expect("the version exists");
    fake.secrets().create("app/db", r#"{"user":"ann"}"#).expect("the secret name is unused");
    let setup = Setup::for_fake(&fake, &clock);
    let setup = vars.iter().fold(setup, |setup, (name, value)| setup.with(name, value));
    (fake, setup.start().await)
}

async fn start_with_dialect(dialect: &str) -> (Fake, Sidekey) {
    start_agent(&[("SIDEKEY_DIALECT", dialect)]).await
}

/// Reads a parameter. `query` follows `name=` in the URL.
async fn read(sidekey: &Sidekey, query: &str) -> Answer {
    sidekey.get(&format!("/systemsmanager/parameters/get?name={query}")).await
}

/// Calls an operation of Parameter Store, as an SDK does.
async fn call(sidekey: &Sidekey, operation: &str, body: &Value) -> Answer {
    let target = format!("AmazonSSM.{operation}");
    let headers = [("X-Amz-Target", &*target), SESSION];
    sidekey.connect().await.exchange(request("POST", "/", &headers, &body.to_string())).await
}

/// Returns the body of AWS's extension for a parameter with these members. `value` and `selector`
/// are JSON.
fn body(name: &str, selector: &str, kind: &str, value: &str, version: u64) -> String {
    let arn = match name.starts_with("/aws/service/") {
        true => format!("{}{name}", ARN.replace("123456789012", "")),
        false => format!("{ARN}{name}"),
    };
    format!(
        r#"{{"Parameter":{{"ARN":"{arn}","DataType":"text","LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"{name}","Selector":{selector},"SourceResult":null,"Type":"{kind}","Value":{value},"Version":{version}}},"ResultMetadata":{{}}}}"#
    )
}

/// In both dialects, bodies equal those of AWS's extension byte for byte: for all types of
/// parameters, labels, versions, ARNs and public parameters. The second read is answered from the
/// cache.
#[tokio::test]
async fn bodies_equal_those_of_awss_extension() {
    let object = r#""{\"user\":\"\u003cann\u003e \u0026 co\"}""#;
    let newest = body("/app/url", "null", "String", object, 2);
    let first = |selector| body("/app/url", selector, "String", r#""one""#, 1);
    let hosts = body("/app/hosts", "null", "StringList", r#""a,b""#, 1);
    let password = body("/app/password", "null", "SecureString", r#""hunter2""#, 1);
    let regions = body("/aws/service/list/regions", "null", "String", r#""eu-north-1""#, 1);
    let arn = format!("{ARN}/app/url");
    for dialect in DIALECTS {
        let (fake, sidekey) = start_with_dialect(dialect).await;
        for (query, expected) in [
            ("/app/url", newest.clone()),
            ("%2Fapp%2Furl&withDecryption=true", newest.clone()),
            (&arn, newest.clone()),
            ("/app/url:1", first(r#"":1""#)),
            ("/app/url&version=1", first(r#"":1""#)),
            ("/app/url&version=1&label=none", first(r#"":1""#)),
            ("/app/url&label=live", first(r#"":live""#)),
            ("/app/url&label=live&version=9", first(r#"":live""#)),
            ("/app/hosts&withDecryption=false", hosts.clone()),
            ("/app/password&withDecryption=true", password.clone()),
            ("/aws/service/list/regions", regions.clone()),
        ] {
            for is_repeated in [false, true] {
                let answer = read(&sidekey, query).await;
                assert_eq!((answer.status, answer.text()), (200, &*expected), "{query}");
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert!(!is_repeated || answer.cache() == "hit", "{query}: {}", answer.cache());
            }
        }
        let calls = fake.calls().total();
        let path = "/systemsmanager/parameters/get/?name=/app/url";
        assert_eq!(sidekey.get(path).await.text(), newest);
        for path in ["/v1/ssm:/app/url", "/secretsmanager/get?secretId=ssm:/app/url"] {
            assert_eq!(sidekey.get(path).await.text(), newest, "{path}");
        }
        assert_eq!(fake.calls().total(), calls, "these reads must be answered from the cache");
    }
}

/// The ciphertext and the decrypted value of a `SecureString` are two entries, and each is cached.
#[tokio::test]
async fn ciphertext_and_decrypted_value_are_separate() {
    let (fake, sidekey) = start_agent(&[]).await;
    let encrypted = read(&sidekey, "/app/password").await;
    let ciphertext = encrypted.json()["Parameter"]["Value"].as_str().unwrap_or_default().to_owned();
    assert!(ciphertext.starts_with("AQICAH"), "{ciphertext}");
    let value = format!(r#""{ciphertext}""#);
    assert_eq!(encrypted.text(), body("/app/password", "null", "SecureString", &value, 1));
    for (query, value) in [("", &*ciphertext), ("&withDecryption=1", "hunter2")] {
        for _ in 0..2 {
            let answer = read(&sidekey, &format!("/app/password{query}")).await;
            assert_eq!(answer.json()["Parameter"]["Value"], value);
        }
    }
    assert_eq!(fake.calls().total(), 2);
}

/// A secret that is named as a parameter has the form that Parameter Store gives it, and shares the
/// call and the cache entry with reads of the secret. No call of Parameter Store is made.
#[tokio::test]
async fn secret_is_read_as_a_parameter_from_its_own_entry() {
    for dialect in DIALECTS {
        let (fake, sidekey) = start_with_dialect(dialect).await;
        let arn = fake.secrets().arn("app/db").expect("the secret exists");
        let id = fake.secrets().version_id("app/db", "AWSCURRENT").expect("the secret exists");
        assert_eq!(sidekey.read("app/db").await.status, 200);
        let value = r#""{\"user\":\"ann\"}""#;
        let source = format!(
            r#"{{\"ARN\":\"{arn}\",\"name\":\"app/db\",\"versionId\":\"{id}\",\"secretString\":\"{{\\\"user\\\":\\\"ann\\\"}}\",\"versionStages\":[\"AWSCURRENT\"],\"createdDate\":\"Nov 16, 2022, 8:22:40 AM\"}}"#
        );
        let expected = |selector: &str| {
            format!(
                r#"{{"Parameter":{{"ARN":"{arn}","DataType":null,"LastModifiedDate":"2022-11-16T08:22:40.362Z","Name":"{SECRET}","Selector":{selector},"SourceResult":"{source}","Type":"SecureString","Value":{value},"Version":0}},"ResultMetadata":{{}}}}"#
            )
        };
        let by_id = format!(r#"":{id}""#);
        for (end, selector) in [
            ("", "null"),
            ("&label=AWSCURRENT", r#"":AWSCURRENT""#),
            (":AWSCURRENT", r#"":AWSCURRENT""#),
            (&format!("&version={id}"), &by_id),
            (&format!(":{id}"), &by_id),
        ] {
            let answer = read(&sidekey, &format!("{SECRET}{end}&withDecryption=true")).await;
            assert_eq!((answer.status, answer.text()), (200, &*expected(selector)), "{end}");
            assert_eq!(answer.cache(), "hit");
        }
        let field = read(&sidekey, &format!("{SECRET}&withDecryption=true&field=user")).await;
        assert_eq!((field.status, field.text()), (200, "ann"));
        let named = json!({"Name": SECRET, "WithDecryption": true});
        let called = call(&sidekey, "GetParameter", &named).await;
        let called = called.json()["Parameter"].take();
        assert_eq!(
            (&called["Value"], &called["Version"]),
            (&json!(r#"{"user":"ann"}"#), &json!(0))
        );
        assert_eq!(
            called["SourceResult"],
            serde_json::from_str::<Value>(&format!("\"{source}\"")).expect("the text is JSON")
        );
        assert_eq!((fake.calls().total(), fake.calls().count(GetSecretValue)), (1, 1));

        fake.secrets().create("app/bytes", vec![0, 255]).expect("the secret name is unused");
        let name = SECRET.replace("app/db", "app/bytes");
        let binary = read(&sidekey, &format!("{name}&withDecryption=true")).await.json();
        let parameter = &binary["Parameter"];
        assert_eq!(
            (&parameter["Value"], &parameter["Type"]),
            (&Value::Null, &json!("SecureString"))
        );
        let source = parameter["SourceResult"].as_str().unwrap_or_default();
        assert!(source.contains(r#""secretBinary":{"hb":[0,255]}"#), "{source}");
    }
}

/// Fields, entity tags, long polls, forced refreshes and stale answers work for parameters as for
/// secrets.
#[tokio::test]
async fn additions_of_sidekey_work_for_parameters() {
    let (fake, sidekey) = start_agent(&[("SIDEKEY_TTL", "10")]).await;
    let field = read(&sidekey, "/app/url&field=user").await;
    assert_eq!((field.status, field.text()), (200, "<ann> & co"));
    assert_eq!(field.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(read(&sidekey, "/app/url%23user").await.text(), "<ann> & co");
    let etag = field.header("etag").expect("a parameter has an entity tag").to_owned();
    assert_eq!(etag, "\"2-1668586960362\"");
    assert_eq!(field.header("age"), Some("0"));
    let path = "/systemsmanager/parameters/get?name=/app/url";
    let unchanged = get(path, &[TOKEN_HEADER, ("If-None-Match", &etag)]);
    assert_eq!(sidekey.connect().await.exchange(unchanged).await.status, 304);

    let wait = get(&format!("{path}&wait=20"), &[TOKEN_HEADER, ("If-None-Match", &etag)]);
    let mut waiting = sidekey.connect().await;
    waiting.send(&wait).await;
    fake.parameters().put("/app/url", "three").expect("the name is valid");
    sidekey.advance(Duration::from_secs(2));
    let refreshed = read(&sidekey, "/app/url&refreshNow=true").await;
    assert_eq!(refreshed.json()["Parameter"]["Value"], "three");
    assert_eq!(refreshed.cache(), "refreshed");
    let changed = waiting.receive().await;
    assert_eq!((changed.status, &changed.json()["Parameter"]["Version"]), (200, &json!(3)));

    fake.faults().always(Match::any(), Fault::Throttle);
    sidekey.advance(Duration::from_secs(11));
    let stale = read(&sidekey, "/app/url").await;
    assert_eq!((stale.status, stale.cache()), (200, "stale"));
    assert_eq!(stale.json()["Parameter"]["Version"], 3);
}

/// The operations `GetParameter` and `GetParameters` return the JSON of Parameter Store byte for
/// byte. After the first read of a parameter, they cause no call.
#[tokio::test]
async fn calls_of_the_aws_api_are_answered_from_the_cache() {
    let (fake, sidekey) = start_agent(&[]).await;
    let parameter = |name: &str, selector: &str, kind: &str, value: &str, version: u64| {
        format!(
            r#"{{"ARN":"{ARN}{name}","DataType":"text","LastModifiedDate":1668586960.362,"Name":"{name}",{selector}"Type":"{kind}","Value":"{value}","Version":{version}}}"#
        )
    };
    let url = parameter("/app/url", "", "String", r#"{\"user\":\"<ann> & co\"}"#, 2);
    let live = parameter("/app/url", r#""Selector":":live","#, "String", "one", 1);
    let password = parameter("/app/password", "", "SecureString", "hunter2", 1);
    for (name, expected) in
        [("/app/url", &url), ("/app/url:live", &live), ("/app/password", &password)]
    {
        for cache in ["miss", "hit"] {
            let body = json!({"Name": name, "WithDecryption": true});
            let answer = call(&sidekey, "GetParameter", &body).await;
            let expected = format!(r#"{{"Parameter":{expected}}}"#);
            assert_eq!((answer.status, answer.text(), answer.cache()), (200, &*expected, cache));
            assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
        }
    }
    assert_eq!(fake.calls().total(), 3);
    let names = json!([
        "/app/password",
        "/app/none",
        "/app/url",
        "/app/url:live",
        "/app/url",
        "/app/url:9",
        "/app/url:none",
        "/app/a b",
    ]);
    let body = json!({"Names": names, "WithDecryption": true});
    let many = call(&sidekey, "GetParameters", &body).await;
    let expected = format!(
        r#"{{"Parameters":[{password},{url},{live}],"InvalidParameters":["/app/none","/app/url:9","/app/url:none","/app/a b"]}}"#
    );
    assert_eq!((many.status, many.text()), (200, &*expected));
    let calls = fake.calls().total();
    let cached = json!({"Names": ["/app/password", "/app/url"], "WithDecryption": true});
    assert_eq!(call(&sidekey, "GetParameters", &cached).await.status, 200);
    assert_eq!(fake.calls().total(), calls);
}

/// One `GetParameters` call of Sidekey reads the uncached parameters of a caller's call.
#[tokio::test]
async fn uncached_parameters_of_a_call_share_one_call() {
    let (fake, sidekey) = start_agent(&[]).await;
    let body =
        json!({"Names": ["/app/password", "/app/url", "/app/hosts"], "WithDecryption": true});
    let answer = call(&sidekey, "GetParameters", &body).await;
    assert_eq!(answer.json()["Parameters"].as_array().map(Vec::len), Some(3));
    assert_eq!((fake.calls().count(GetParameters), fake.calls().total()), (1, 1));
}

/// `GetParametersByPath` returns pages of a cached list. The parameters of the list answer later
/// reads by name. If the list changes, the token of the next page is refused.
#[tokio::test]
async fn path_is_listed_page_by_page_from_the_cache() {
    let (fake, sidekey) = start_agent(&[("SIDEKEY_TTL", "10")]).await;
    for number in 10..35 {
        let name = format!("/many/{number}");
        fake.parameters().put(&name, name.as_str()).expect("the name is valid");
    }
    for _ in 0..2 {
        let (mut names, mut sizes, mut token) = (Vec::new(), Vec::new(), Value::Null);
        loop {
            let body = json!({"Path": "/many/", "WithDecryption": true, "NextToken": token});
            let answer = call(&sidekey, "GetParametersByPath", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer = answer.json();
            let page = answer["Parameters"].as_array().expect("the page is a list").clone();
            sizes.push(page.len());
            names.extend(page.iter().map(|it| it["Name"].as_str().unwrap_or_default().to_owned()));
            token = answer["NextToken"].clone();
            if token.is_null() {
                break;
            }
        }
        let expected: Vec<String> = (10..35).map(|number| format!("/many/{number}")).collect();
        assert_eq!((names, sizes), (expected, vec![10, 10, 5]));
        assert_eq!(fake.calls().count(GetParametersByPath), 3);
    }
    let by_name = read(&sidekey, "/many/20&withDecryption=true").await;
    assert_eq!((by_name.cache(), fake.calls().count(GetParameter)), ("hit", 0));

    let first = json!({"Path": "/many", "WithDecryption": true, "MaxResults": 2});
    let first = call(&sidekey, "GetParametersByPath", &first).await.json();
    assert_eq!(first["Parameters"].as_array().map(Vec::len), Some(2));
    fake.parameters().put("/many/20", "changed").expect("the name is valid");
    sidekey.advance(Duration::from_secs(60));
    let next = json!({"Path": "/many", "WithDecryption": true, "NextToken": first["NextToken"]});
    // The pages continue although the list has changed.
    let second = eventually("the list is fetched again", async || {
        let answer = call(&sidekey, "GetParametersByPath", &next).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().contains("changed").then(|| answer.json())
    })
    .await;
    let names: Vec<String> = (12..22).map(|number| format!("/many/{number}")).collect();
    let found = second["Parameters"].as_array().expect("the page is a list");
    assert!(found.iter().map(|parameter| &parameter["Name"]).eq(&names), "{found:?}");
    let other = json!({"Path": "/app", "WithDecryption": true, "NextToken": first["NextToken"]});
    let refused = call(&sidekey, "GetParametersByPath", &other).await;
    assert_eq!((refused.status, refused.kind().as_str()), (400, "InvalidNextToken"));

    let filter = json!([{"Key": "Type", "Values": ["SecureString"]}]);
    let body = json!({"Path": "/", "Recursive": true, "ParameterFilters": filter});
    let secure = call(&sidekey, "GetParametersByPath", &body).await.json();
    let names: Vec<&Value> = secure["Parameters"]
        .as_array()
        .expect("the page is a list")
        .iter()
        .map(|parameter| &parameter["Name"])
        .collect();
    assert_eq!(names, ["/app/locked", "/app/password"]);
}

/// Makes the fake AWS server deny one parameter, disable the KMS key of another, and throttle the
/// calls for a third.
fn break_parameters(fake: &Fake) {
    fake.faults().deny_parameter("/app/denied");
    fake.faults().break_parameter_key("/app/locked", true);
    fake.faults().always(Match::parameter("/app/slow"), Fault::Throttle);
}

/// Each failure of a read is a typed error: text in the format of AWS's extension, or JSON in the
/// format of AWS's agent.
#[tokio::test]
async fn failures_are_typed_errors() {
    let long = "x".repeat(2049);
    for dialect in DIALECTS {
        let (fake, sidekey) =
            start_agent(&[("SIDEKEY_DIALECT", dialect), ("SIDEKEY_ALLOW", "ssm:/app/*, app/*")])
                .await;
        break_parameters(&fake);
        for (query, kind, text) in [
            ("/app/none", "ParameterNotFound", ""),
            ("/app/denied", "AccessDeniedException", "User: arn:aws:sts::"),
            ("/app/url&version=9", "ParameterVersionNotFound", "Systems Manager could not find"),
            ("/app/url&label=none", "ParameterVersionNotFound", "Systems Manager could not find"),
            ("/app/locked&withDecryption=true", "InvalidKeyId", "arn:aws:kms:"),
            ("/app/slow", "ThrottlingException", "Rate exceeded"),
            ("/other", "AccessDeniedException", "Sidekey refused this read"),
            (
                "/app/url:1&version=2",
                "ValidationException",
                "ssm:NAME: the version at character 14",
            ),
            ("/app/url:1:2", "ValidationException", "ssm:NAME: expected the end"),
            ("/app/hosts&field=x", "FieldNotFoundException", "the secret is not a JSON object"),
            (
                "/aws/reference/secretsmanager/app/none&withDecryption=true",
                "ParameterNotFound",
                "An error occurred (ParameterNotFound) when referencing Secrets Manager: ",
            ),
        ] {
            let answer = read(&sidekey, query).await;
            assert_eq!(answer.status, 400, "{query}");
            match dialect {
                "agent" => {
                    let (found, json) = (answer.kind(), answer.json());
                    let message = json["message"].as_str().unwrap_or_default();
                    assert_eq!(found, kind, "{query}: {message}");
                    assert!(message.starts_with(text), "{query}: {message}");
                    assert!(json["hint"].as_str().is_some_and(|hint| !hint.is_empty()));
                }
                _ => {
                    assert_eq!(answer.header("x-amzn-errortype"), Some(kind), "{query}");
                    let expected = format!("{FAILED}{kind}: {text}");
                    assert!(answer.text().starts_with(&expected), "{}", answer.text());
                }
            }
        }
        for (query, text) in [
            ("", "missing parameter name"),
            ("&label=live", "missing parameter name"),
            (&*long, "the query parameter 'name' must not be longer than 2048 characters"),
            ("/app/url&withDecryption=maybe", "invalid withDecryption value"),
            (SECRET, "WithDecryption flag must be True for retrieving a Secret Manager secret."),
            ("arn:aws:s3:::x", "name: expected the name or ARN of a parameter"),
        ] {
            let answer = read(&sidekey, query).await;
            assert_eq!(answer.status, 400, "{query}");
            let start = match dialect {
                "agent" => text.to_owned(),
                _ => format!("{FAILED}ValidationException: {text}"),
            };
            assert!(answer.text().starts_with(&start), "{query}: {}", answer.text());
        }
    }
}

/// SDKs get their own exceptions in one attempt: the status is 400, except if a retry may help.
#[tokio::test]
async fn failures_of_calls_are_typed_for_sdks() {
    let (fake, sidekey) = start_agent(&[]).await;
    break_parameters(&fake);
    let one = |name: &str| json!({"Name": name, "WithDecryption": true});
    let many = |names: &[&str]| json!({"Names": names, "WithDecryption": true});
    let eleven = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    for (operation, body, kind) in [
        ("GetParameter", one("/app/none"), "ParameterNotFound"),
        ("GetParameter", one("/app/url:9"), "ParameterVersionNotFound"),
        ("GetParameter", one("/app/url:none"), "ParameterVersionNotFound"),
        ("GetParameter", one("/app/denied"), "AccessDeniedException"),
        ("GetParameter", one("/app/locked"), "InvalidKeyId"),
        ("GetParameter", one("/app/slow"), "ThrottlingException"),
        ("GetParameter", one(&"x".repeat(2049)), "ValidationException"),
        ("GetParameter", one(&SECRET.replace("db", "none")), "ParameterNotFound"),
        ("GetParameter", json!({"Name": SECRET}), "ValidationException"),
        ("GetParameter", json!({}), "ValidationException"),
        ("GetParameters", many(&["/app/url", "/app/denied"]), "AccessDeniedException"),
        ("GetParameters", many(&["/app/url", "/app/locked"]), "InvalidKeyId"),
        ("GetParameters", many(&eleven), "ValidationException"),
        ("GetParametersByPath", json!({"Path": "app"}), "ValidationException"),
        ("GetParametersByPath", json!({"Path": "/app", "MaxResults": 11}), "ValidationException"),
        ("GetParametersByPath", json!({"Path": "/app", "NextToken": "x"}), "InvalidNextToken"),
        ("PutParameter", json!({}), "UnsupportedOperationException"),
    ] {
        let answer = call(&sidekey, operation, &body).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, kind), "{operation} {body}");
        assert_eq!(answer.header("content-type"), Some("application/x-amz-json-1.1"));
    }
    let put = call(&sidekey, "PutParameter", &json!({})).await.json();
    let message = put["message"].as_str().unwrap_or_default();
    assert!(message.contains("GetParametersByPath") && message.contains("AWS_ENDPOINT_URL_SSM"));
    let headers = [("X-Amz-Target", "secretsmanager.GetSecretValue"), SESSION];
    for id in ["ssm:/app/url", &format!("{ARN}/app/url")] {
        let body = json!({"SecretId": id}).to_string();
        let sent = request("POST", "/", &headers, &body);
        let answer = sidekey.connect().await.exchange(sent).await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "ValidationException"));
        assert!(answer.text().contains("call GetParameter"), "{}", answer.text());
    }
}

/// A parameter that is cached stays cached and is served, whatever fails: calls for other
/// parameters, versions and labels, a forced refresh, and AWS itself.
#[tokio::test]
async fn failures_leave_cached_parameters_unchanged() {
    let (fake, sidekey) = start_agent(&[]).await;
    let cached = read(&sidekey, "/app/url").await;
    assert_eq!(read(&sidekey, "/app/hosts").await.status, 200);
    break_parameters(&fake);
    for query in [
        "/app/none",
        "/app/denied",
        "/app/url&version=9",
        "/app/url&label=none",
        "/app/locked&withDecryption=true",
        "/app/slow",
        "/app/url&field=nope",
    ] {
        assert_eq!(read(&sidekey, query).await.status, 400, "{query}");
    }
    fake.faults().always(Match::any(), Fault::Throttle);
    sidekey.advance(Duration::from_secs(2));
    assert_eq!(read(&sidekey, "/app/hosts&refreshNow=true").await.status, 400);
    let calls = fake.calls().total();
    for query in ["/app/url", "/app/hosts"] {
        let answer = read(&sidekey, query).await;
        assert_eq!((answer.status, answer.cache()), (200, "hit"), "{query}");
    }
    assert_eq!(read(&sidekey, "/app/url").await.text(), cached.text());
    assert_eq!(fake.calls().total(), calls);
    let metrics = sidekey.metrics().await;
    assert!(metrics.get("sidekey_reads_total{result=\"hit\"}") >= 3.0);
}
