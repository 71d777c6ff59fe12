//! Tests of calls: requests to `/to/{route}/{path}`, which the agent passes on with a credential.

use crate::port::Port;
use crate::support::agent::{Setup, TOKEN, TOKEN_HEADER};
use crate::support::client::{Connection, get};
use crate::support::clock::ManualClock;
use crate::support::scene::{BEARER, KEY, SECRET, Scene, crm, ok, value};
use crate::support::upstream::{Seen, Upstream, answer};
use crate::support::{TempFolder, eventually, fake};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fake_aws::Operation::GetSecretValue;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn call_gets_the_credential_and_passes_unchanged() {
    let upstream = Upstream::start(|_| {
        answer(201, &[("x-answer", "1"), ("set-cookie", "a"), ("set-cookie", "b")], "created")
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let headers = [
        TOKEN_HEADER,
        ("X-Vault-Token", TOKEN),
        ("Accept", "text/plain"),
        ("X-Custom", "custom"),
        ("Connection", "X-Hop"),
        ("X-Hop", "1"),
        ("X-Sidekey-Other", "1"),
    ];
    let path = "/to/crm/v2/contacts/a%20b?q=1&q=%2F";
    let found = scene.call("PATCH", path, &headers, "{\"name\":\"x\"}").await;
    assert_eq!((found.status, found.text()), (201, "created"));
    assert_eq!(found.header("x-answer"), Some("1"));
    assert_eq!(found.header("x-sidekey-retried"), None);
    let seen = upstream.last();
    assert_eq!(seen.method, "PATCH");
    assert_eq!(seen.target, "/v2/contacts/a%20b?q=1&q=%2F");
    assert_eq!(seen.body, "{\"name\":\"x\"}");
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {KEY}")));
    assert_eq!(seen.header("host"), Some(&*upstream.address.to_string()));
    assert_eq!(
        (seen.header("accept"), seen.header("x-custom")),
        (Some("text/plain"), Some("custom"))
    );
    for removed in ["x-aws-parameters-secrets-token", "x-vault-token", "x-hop", "x-sidekey-other"] {
        assert_eq!(seen.header(removed), None, "{removed}");
    }
}

#[tokio::test]
async fn empty_body_has_a_length_and_a_chunked_body_passes_with_every_method() {
    let upstream = ok().await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    for (method, expected) in [("POST", Some("0")), ("PUT", Some("0")), ("GET", None)] {
        assert_eq!(scene.call(method, "/to/crm/x", &[TOKEN_HEADER], "").await.status, 200);
        let seen = upstream.last();
        assert_eq!((seen.header("content-length"), &*seen.body), (expected, &b""[..]), "{method}");
    }
    for method in ["GET", "POST"] {
        let (name, token) = TOKEN_HEADER;
        let call = format!(
            "{method} /to/crm/x HTTP/1.1\r\nHost: localhost\r\n{name}: {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nquery\r\n0\r\n\r\n"
        );
        let found = scene.sidekey.connect().await.exchange(call).await;
        assert_eq!(found.status, 200, "{}", found.text());
        let seen = upstream.last();
        assert_eq!((seen.method.as_str(), &*seen.body), (method, &b"query"[..]));
    }
}

#[tokio::test]
async fn authorization_of_the_caller_passes_if_another_header_has_the_phantom_token() {
    let upstream = ok().await;
    let header = "header = { name = \"X-Api-Key\", value = \"#api_key\" }";
    let scene = Scene::start(&crm(&upstream, header)).await;
    let phantom = scene.phantom("crm").await;
    let headers = [("X-Api-Key", &*phantom), ("Authorization", "Bearer user-session")];
    assert_eq!(scene.call("GET", "/to/crm/x", &headers, "").await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.header("x-api-key"), Some(KEY));
    assert_eq!(seen.header("authorization"), Some("Bearer user-session"));
}

#[tokio::test]
async fn phantom_token_opens_its_route_wherever_libraries_send_it() {
    let upstream = ok().await;
    let header = "header = { name = \"X-Api-Key\", value = \"Key #api_key\" }";
    let basic = "basic = [\"#user\", \"#api_key\"]";
    for (credential, expected_header, expected) in [
        (BEARER, "authorization", format!("Bearer {KEY}")),
        (basic, "authorization", format!("Basic {}", STANDARD.encode(format!("user-1:{KEY}")))),
        (header, "x-api-key", format!("Key {KEY}")),
    ] {
        let scene = Scene::start(&crm(&upstream, credential)).await;
        let phantom = scene.phantom("crm").await;
        let basic = format!("Basic {}", STANDARD.encode(format!("anything:{phantom}")));
        let bearer = format!("Bearer {phantom}");
        for (name, sent) in
            [("Authorization", &bearer), ("Authorization", &basic), ("X-Api-Key", &phantom)]
        {
            let is_filled = name.eq_ignore_ascii_case(expected_header) || name == "Authorization";
            let found = scene.call("GET", "/to/crm/v2", &[(name, sent)], "").await;
            assert_eq!(found.status, if is_filled { 200 } else { 403 }, "{credential} {sent}");
            if is_filled {
                let seen = upstream.last();
                assert_eq!(seen.header(expected_header), Some(&*expected));
                let texts = format!("{:?}", seen.headers);
                assert!(!texts.contains(&phantom), "the phantom token must not leave: {texts}");
            }
        }
        for wrong in ["wrong", TOKEN, ""] {
            let bearer = format!("Bearer {wrong}");
            let found = scene.call("GET", "/to/crm/v2", &[("Authorization", &bearer)], "").await;
            assert_eq!((found.status, found.kind().as_str()), (403, "AccessDeniedException"));
        }
        let found = scene.call("GET", "/to/openai/v1", &[("Authorization", &bearer)], "").await;
        assert_eq!(found.status, 403, "a phantom token must open only its own route");
        let read = [("X-Aws-Parameters-Secrets-Token", &*phantom)];
        let path = format!("/secretsmanager/get?secretId={SECRET}");
        let found = scene.call("GET", &path, &read, "").await;
        assert_eq!(found.status, 403, "a phantom token must read no secret");
        let found = scene.call("GET", "/to/crm", &[("Authorization", &bearer)], "").await;
        assert_eq!(found.status, 403, "only the ordinary token gets a phantom token");
    }
}

#[tokio::test]
async fn configured_phantom_token_is_used() {
    let upstream = ok().await;
    let tokens = TempFolder::new();
    let path = tokens.write("token", "configured-phantom\n");
    let toml = crm(&upstream, &format!("{BEARER}\ntoken = \"file://{}\"", path.display()));
    let scene = Scene::start(&toml).await;
    let headers = [("Authorization", "Bearer configured-phantom")];
    assert_eq!(scene.call("GET", "/to/crm/x", &headers, "").await.status, 200);
    assert_eq!(scene.phantom("crm").await, "configured-phantom");
    assert!(scene.folder.path().exists());
}

#[tokio::test]
async fn description_of_a_route_says_how_to_use_it() {
    let upstream = ok().await;
    let rest = format!("{BEARER}\nmethods = [\"GET\"]\npaths = [\"/v2/*\"]\nbase_path = \"/v2\"");
    let scene = Scene::start(&crm(&upstream, &rest)).await;
    let found = scene.get("/to/crm").await;
    assert_eq!(found.header("cache-control"), Some("no-store"));
    let found = found.json();
    assert_eq!(found["route"], "crm");
    assert_eq!(found["baseUrl"], format!("http://{}/to/crm/v2", scene.sidekey.address));
    assert_eq!(found["methods"], serde_json::json!(["GET"]));
    assert_eq!(found["paths"], serde_json::json!(["/v2/*"]));
    let with_secret = scene.get("/to/openai@openai-api-key%2Fsms").await.json();
    let expected = format!("http://{}/to/openai@openai-api-key%2Fsms/v1", scene.sidekey.address);
    assert_eq!(with_secret["baseUrl"], expected);
}

#[tokio::test]
async fn calls_that_are_not_made_have_typed_errors() {
    let upstream = ok().await;
    let rest = format!("{BEARER}\nmethods = [\"GET\"]\npaths = [\"/v2/*\"]");
    let toml = crm(&upstream, &rest)
        + "[[route]]\nname = \"empty\"\nupstream = \"http://127.0.0.1:1\"\nsecret = \"app/missing\"\nbearer = \"#x\"\n"
        + "[[route]]\nname = \"field\"\nupstream = \"http://127.0.0.1:1\"\nsecret = \"crm-key/production\"\nbearer = \"#other\"\n"
        + "[[route]]\nname = \"down\"\nupstream = \"http://127.0.0.1:1\"\nsecret = \"crm-key/production\"\nbearer = \"#api_key\"\n";
    let scene =
        Scene::with(&toml, |setup| setup.with("SIDEKEY_ALLOW", "crm-key/* app/* openai-api-key/*"))
            .await;
    let placeholder = r#"{"ai_api_key":"PLACEHOLDER_SMS"}"#;
    let created = scene.fake.secrets().create("openai-api-key/sms", placeholder);
    created.expect("the fake must create the secret");
    for (path, status, kind, part) in [
        ("/to/unknown/x", 404, "RouteNotFoundException", "openai, sendgrid, twilio, crm, empty"),
        ("/to/crm/v1/x", 403, "AccessDeniedException", "'paths'"),
        ("/to/crm@app%2Fdb/v2/x", 400, "ValidationException", "secret of its own"),
        ("/to/openai/v1/models", 400, "ValidationException", "names no secret"),
        (
            "/to/openai@app%2Fdb/v1/models",
            403,
            "AccessDeniedException",
            "does not match the route's convention",
        ),
        ("/to/openai@openai-api-key%2Fwhatsapp/v1", 424, "ResourceNotFoundException", "can't find"),
        ("/to/openai@openai-api-key%2Fsms/v1", 424, "CredentialException", "placeholder"),
        ("/to/empty/x", 424, "ResourceNotFoundException", "can't find"),
        ("/to/field/x", 424, "CredentialException", "no field 'other'"),
        (
            "/to/twilio@sms-credentials%2Fa%2Fb%2Ftwilio/x",
            403,
            "AccessDeniedException",
            "SIDEKEY_ALLOW",
        ),
        ("/to/down/x", 502, "UpstreamException", "refused"),
        ("/to/crm/v2/../admin", 400, "BadTargetException", "'..'"),
    ] {
        let found = scene.get(path).await;
        assert_eq!(
            (found.status, found.kind().as_str()),
            (status, kind),
            "{path}: {}",
            found.text()
        );
        let json = found.json();
        let message = json["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{path}: {message}");
        assert!(json["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{path}");
        assert!(!found.text().contains(KEY), "{path}");
    }
    let posted = scene.call("POST", "/to/crm/v2/x", &[TOKEN_HEADER], "{}").await;
    assert_eq!((posted.status, posted.kind().as_str()), (405, "MethodNotAllowedException"));
    let twice = [TOKEN_HEADER, ("X-Sidekey-Reference", "openai-api-key/sms")];
    let found = scene.call("GET", "/to/openai@openai-api-key%2Fsms/v1", &twice, "").await;
    assert_eq!(found.kind(), "ValidationException");
    assert_eq!(upstream.connections(), 0, "no call may be made");
    let port = Port::reserve();
    let toml = format!(
        "[[route]]\nname = \"own\"\nupstream = \"http://127.0.0.1:{port}\"\n\
         secret = \"{SECRET}\"\n{BEARER}\n"
    );
    let scene = Scene::with(&toml, |setup| setup.with("SIDEKEY_PORT", &port)).await;
    let found = scene.get("/to/own/ping").await;
    assert_eq!((found.status, found.kind().as_str()), (502, "UpstreamException"));
}

#[tokio::test]
async fn error_of_the_server_passes_untouched() {
    let upstream = Upstream::start(|_| {
        answer(429, &[("retry-after", "7"), ("content-type", "application/json")], "{\"error\":1}")
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let found = scene.get("/to/crm/x").await;
    assert_eq!((found.status, found.text()), (429, "{\"error\":1}"));
    assert_eq!(found.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let other = ok().await;
    let location = format!("{}/x", other.url());
    let to = location.clone();
    let upstream = Upstream::start(move |_| answer(307, &[("location", &to)], "")).await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let found = scene.get("/to/crm/x").await;
    assert_eq!((found.status, found.header("location")), (307, Some(&*location)));
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn reference_names_the_secret_and_fields_fill_the_path() {
    let upstream = ok().await;
    let toml = format!("[[route]]\nname = \"twilio\"\nupstream = \"{}\"\n", upstream.url());
    let scene = Scene::start(&toml).await;
    for (name, sid) in [("acme", "AC1"), ("other", "AC2")] {
        let secret = format!(
            r#"{{"twilio_account_sid":"{sid}","twilio_auth_token":"token-of-{name}","twilio_template_sid":"T"}}"#
        );
        let created = scene
            .fake
            .secrets()
            .create(&format!("whatsapp-credentials/{name}/support/twilio"), secret);
        created.expect("the fake must create the secret");
    }
    let path = "/2010-04-01/Accounts/%7Btwilio_account_sid%7D/Messages.json";
    let in_path = format!("/to/twilio@whatsapp-credentials%2Facme%2Fsupport%2Ftwilio{path}");
    assert_eq!(scene.get(&in_path).await.status, 200);
    let seen = upstream.last();
    assert_eq!(seen.target, "/2010-04-01/Accounts/AC1/Messages.json");
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    assert_eq!(seen.header("authorization"), Some(&*basic("AC1:token-of-acme")));
    let reference = ("X-Sidekey-Reference", "whatsapp-credentials/other/support/twilio");
    let path = format!("/to/twilio{path}");
    assert_eq!(scene.call("GET", &path, &[TOKEN_HEADER, reference], "").await.status, 200);
    assert_eq!(upstream.last().header("authorization"), Some(&*basic("AC2:token-of-other")));
}

#[tokio::test]
async fn tenant_of_a_call_is_checked() {
    let upstream = ok().await;
    let toml = format!(
        "[[route]]\nname = \"twilio\"\nupstream = \"{}\"\n\
         [resolve.tenant]\ncompany_name = \"company_data.company_name\"\n",
        upstream.url()
    );
    let scene = Scene::start(&toml).await;
    let secret = r#"{"twilio_account_sid":"AC1","twilio_auth_token":"token-of-acme","twilio_template_sid":"T"}"#;
    let created = scene.fake.secrets().create("sms-credentials/acme/support/twilio", secret);
    created.expect("the fake must create the secret");
    let path = "/to/twilio@sms-credentials%2Facme%2Fsupport%2Ftwilio/x";
    for (tenant, expected) in
        [(Some("company_name=acme"), 200), (Some("company_name=evil"), 403), (None, 403)]
    {
        let headers: Vec<_> = [TOKEN_HEADER]
            .into_iter()
            .chain(tenant.map(|tenant| ("X-Sidekey-Tenant", tenant)))
            .collect();
        let found = scene.call("GET", path, &headers, "").await;
        assert_eq!(found.status, expected, "{tenant:?}: {}", found.text());
    }
}

#[tokio::test]
async fn only_listed_secret_of_a_convention_is_the_default() {
    let upstream = ok().await;
    let toml = format!("[[route]]\nname = \"openai\"\nupstream = \"{}\"\n", upstream.url());
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let created =
        fake.secrets().create("openai-api-key/whatsapp", r#"{"ai_api_key":"sk-openai-1"}"#);
    created.expect("the fake must create the secret");
    let folder = TempFolder::new();
    let path = folder.write("sidekey.toml", &toml);
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_CONFIG", path.display());
    let sidekey = setup.with("SIDEKEY_SECRETS", "openai-api-key/whatsapp").start().await;
    assert_eq!(sidekey.get("/to/openai/v1/models").await.status, 200);
    let seen: Seen = upstream.last();
    assert_eq!(
        (&*seen.target, seen.header("authorization")),
        ("/v1/models", Some("Bearer sk-openai-1"))
    );
}

#[tokio::test]
async fn server_that_does_not_answer_is_a_timeout() {
    let upstream =
        Upstream::streaming(|_| async { std::future::pending::<hyper::Response<_>>().await }).await;
    let scene = Scene::start(&crm(&upstream, &format!("{BEARER}\nanswer_timeout = \"7s\""))).await;
    let advancing = async {
        eventually("the call arrives", async || (upstream.connections() > 0).then_some(())).await;
        loop {
            scene.clock.advance(Duration::from_secs(8));
            crate::clients::pause().await;
        }
    };
    let found = tokio::select! {
        found = scene.get("/to/crm/x") => found,
        () = advancing => unreachable!("the loop never ends"),
    };
    assert_eq!((found.status, found.kind().as_str()), (504, "UpstreamTimeoutException"));
}

#[tokio::test]
async fn echoed_credential_is_redacted() {
    let upstream = Upstream::start(|seen| {
        let authorization = seen.header("authorization").unwrap_or_default().to_owned();
        let large = if seen.target == "/large" { "x".repeat(100_000) } else { String::new() };
        let body = format!("{{\"echo\":\"{authorization}\",\"rest\":\"{large}\"}}");
        answer(200, &[("x-echo", &authorization)], body)
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let found = scene.get("/to/crm/x").await;
    let hidden = "Bearer [redacted by sidekey]";
    assert_eq!(found.header("x-echo"), Some(hidden));
    assert_eq!(found.text(), format!("{{\"echo\":\"{hidden}\",\"rest\":\"\"}}"));
    let metrics = scene.sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_call_redactions_total{route=\"crm\"}"), 2.0);
    let mut connection = scene.sidekey.connect().await;
    connection.send(get("/to/crm/large", &[TOKEN_HEADER])).await;
    let received = connection.receive_until(b"\r\n0\r\n\r\n").await;
    let received = String::from_utf8_lossy(&received);
    assert!(!received.contains(KEY) && received.contains(hidden), "the key must be replaced");
}

#[tokio::test]
async fn rotated_secret_is_fetched_and_the_call_is_made_once_more() {
    let valid = Arc::new(std::sync::Mutex::new(KEY.to_owned()));
    let checked = valid.clone();
    let upstream = Upstream::start(move |seen| {
        let key = checked.lock().expect("no thread may panic while it holds the lock").clone();
        match seen.header("authorization") == Some(&*format!("Bearer {key}")) {
            true => answer(200, &[], seen.body.clone()),
            false => answer(401, &[], "wrong key"),
        }
    })
    .await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    assert_eq!(scene.get("/to/crm/x").await.status, 200);
    let new = "sk-crm-fedcba9876543210";
    *valid.lock().expect("no thread may panic while it holds the lock") = new.to_owned();
    scene.fake.secrets().put(SECRET, value(new)).expect("the secret exists");
    scene.clock.advance(Duration::from_secs(2));
    let found = scene.call("POST", "/to/crm/x", &[TOKEN_HEADER], "the body").await;
    assert_eq!((found.status, found.text()), (200, "the body"));
    assert_eq!(found.header("x-sidekey-retried"), Some("1"));
    assert_eq!(scene.fake.calls().count(GetSecretValue), 2);
    let found = scene.get("/to/crm/x").await;
    assert_eq!((found.status, found.header("x-sidekey-retried")), (200, None));
    // Without a new version, the caller gets the answer of the server.
    *valid.lock().expect("no thread may panic while it holds the lock") = "other".to_owned();
    scene.clock.advance(Duration::from_secs(2));
    let found = scene.get("/to/crm/x").await;
    assert_eq!((found.status, found.text()), (401, "wrong key"));
    assert_eq!(scene.fake.calls().count(GetSecretValue), 3);
    let metrics = scene.sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_call_retries_total{route=\"crm\"}"), 1.0);
    assert_eq!(metrics.get("sidekey_calls_total{route=\"crm\",status=\"4xx\"}"), 1.0);
}

#[tokio::test]
async fn secret_for_use_only_is_refused_everywhere_else() {
    let upstream = ok().await;
    let scene =
        Scene::with(&crm(&upstream, BEARER), |setup| setup.with("SIDEKEY_USE_ONLY", "crm-key/*"))
            .await;
    let arn =
        scene.fake.secrets().create("app/db", "open").expect("the fake must create the secret");
    drop(arn);
    assert_eq!(scene.get("/to/crm/x").await.status, 200);
    scene.clock.advance(Duration::from_secs(2));
    for path in [
        format!("/secretsmanager/get?secretId={SECRET}"),
        format!("/secretsmanager/get?secretId={SECRET}&field=api_key"),
        format!("/secretsmanager/get?secretId={SECRET}&refreshNow=true"),
        format!("/v1/{SECRET}"),
    ] {
        let found = scene.get(&path).await;
        assert_eq!(
            (found.status, found.kind().as_str()),
            (400, "UseOnlySecretException"),
            "{path}"
        );
        assert!(found.text().contains("/to/crm"), "{}", found.text());
    }
    let list = format!("{{\"references\":[\"{SECRET}\",\"app/db\"]}}");
    let resolved = scene.call("POST", "/resolve", &[TOKEN_HEADER], &list).await;
    assert!(resolved.text().contains("UseOnlySecretException"), "{}", resolved.text());
    assert!(resolved.text().contains("open") && !resolved.text().contains(KEY));
    let aws = [
        ("secretsmanager.GetSecretValue", format!("{{\"SecretId\":\"{SECRET}\"}}")),
        ("secretsmanager.BatchGetSecretValue", format!("{{\"SecretIdList\":[\"{SECRET}\"]}}")),
        (
            "AmazonSSM.GetParameter",
            format!(
                "{{\"Name\":\"/aws/reference/secretsmanager/{SECRET}\",\"WithDecryption\":true}}"
            ),
        ),
    ];
    for (operation, body) in aws {
        let headers = [("X-Amz-Security-Token", TOKEN), ("X-Amz-Target", operation)];
        let found = scene.call("POST", "/", &headers, &body).await;
        assert!(found.text().contains("UseOnlySecretException"), "{operation}: {}", found.text());
        assert!(!found.text().contains(KEY), "{operation}");
    }
    assert_eq!(scene.get("/secretsmanager/get?secretId=app/db").await.value(), "open");
    assert_eq!(scene.get("/to/crm/x").await.status, 200);
}

#[tokio::test]
async fn connection_to_the_server_is_reused() {
    let upstream = ok().await;
    let scene = Scene::start(&crm(&upstream, BEARER)).await;
    let mut connection: Connection = scene.sidekey.connect().await;
    for _ in 0..5 {
        let found = connection.exchange(get("/to/crm/x", &[TOKEN_HEADER])).await;
        assert_eq!(found.status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}
