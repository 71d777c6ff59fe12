//! Tests problems at the start of the extension, such as a port in use. By default, the function
//! runs in spite of the problem, and gets an error if it reads a secret.

use crate::emulator::Mode;
use crate::lambda::{LISTED, fake, start_or_skip};
use fake_aws::{Fault, Match};
use serde_json::json;

#[tokio::test]
async fn configuration_mistakes_are_answered_and_not_fatal() {
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment
            .env("SIDEKEY_TTL", "soon")
            .env("SIDEKEY_CACHE_SIZE", "many")
            .env("SIDEKEY_ALLOW", "a/**")
            .env("SIDEKEY_SECRET", "only a warning")
    });
    let answer = lambda.invoke(&LISTED[..1]).await;
    assert_eq!(answer["init"]["status"], 400, "{answer}");
    assert_eq!(answer["reads"][0]["status"], 400, "{answer}");
    let page = lambda.page(&format!("/secretsmanager/get?secretId={}", LISTED[0])).await;
    assert!(page.contains("InvalidConfigurationException"), "{page}");
    for name in ["SIDEKEY_TTL", "SIDEKEY_CACHE_SIZE", "SIDEKEY_ALLOW"] {
        assert!(page.contains(name), "the error must name {name}: {page}");
        assert!(lambda.emulator.log().contains(name), "{}", lambda.emulator.log());
    }
    let ready = lambda.page("/ready").await;
    assert!(ready.contains("\"ready\":false"), "{ready}");
    assert!(
        !page.contains("SIDEKEY_SECRET:"),
        "the agent must not refuse reads because of the unknown variable SIDEKEY_SECRET: {page}"
    );
    assert_eq!(lambda.fake.calls().total(), 0);
    lambda.shut_down().await;
}

#[tokio::test]
async fn failed_prefetch_leaves_the_function_running_and_is_retried() {
    let fake = fake().await;
    fake.faults().always(Match::any(), Fault::InternalError);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| environment);
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 400, "{answer}");
    lambda.fake.faults().clear();
    let mut tries = 0;
    while lambda.invoke(&LISTED).await["reads"][0]["status"] != json!(200) {
        tries += 1;
        assert!(tries < 10_000, "{}", lambda.emulator.log());
    }
    lambda.shut_down().await;
}

/// If a secret cannot be prefetched and `SIDEKEY_ON_INIT_FAILURE` is `fail`, the extension makes
/// Lambda's start of the function fail.
#[tokio::test]
async fn start_fails_if_so_configured() {
    let fake = fake().await;
    fake.faults().deny_secret(LISTED[1]);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| {
        environment.env("SIDEKEY_ON_INIT_FAILURE", "fail")
    });
    let event = json!({"references": [LISTED[0]]});
    let _ = lambda.emulator.try_invoke(&event).await;
    let line = lambda.emulator.log_line("Sidekey makes the start of the function fail").await;
    assert!(line.contains(LISTED[1]) && line.contains("AccessDeniedException"), "{line}");
    assert_eq!(lambda.emulator.exit_codes().first(), Some(&1));
}

#[tokio::test]
async fn port_in_use_leaves_the_function_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port must be available");
    let port = taken.local_addr().expect("the socket must be bound").port();
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment
            .set_override("SIDEKEY_PORT", Some(&port.to_string()))
            .env("FUNCTION_INIT_SECRET", "")
    });
    let event = json!({});
    let (status, answer) = lambda.emulator.invoke(&event).await;
    assert_eq!(status, 200, "{answer}");
    let line = lambda.emulator.log_line("the agent cannot start").await;
    assert!(line.contains("by another process"), "{line}");
    lambda.shut_down().await;
}

#[tokio::test]
async fn one_failed_listener_leaves_the_others_serving() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port must be available");
    let taken = taken.local_addr().expect("the socket must be bound").to_string();
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment.env("SIDEKEY_METRICS_LISTEN", &taken).env("SIDEKEY_SOCKET", "/proc/nowhere/s")
    });
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 200, "{answer}");
    for name in [&*taken, "/proc/nowhere"] {
        let line = lambda.emulator.log_line(name).await;
        assert!(line.contains("the agent cannot listen"), "{line}");
    }
    lambda.shut_down().await;
}

/// The extension has the same variables as the function, and these variables send AWS SDKs to the
/// agent. The agent must ignore them, because it would otherwise call itself.
#[tokio::test]
async fn endpoint_variables_of_the_function_are_ignored() {
    let lambda = start_or_skip!(Mode::OnDemand, fake().await, |environment| {
        environment
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://localhost:2773")
            .env("AWS_ENDPOINT_URL", "http://localhost:2773")
    });
    let answer = lambda.invoke(&LISTED).await;
    assert_eq!(answer["init"]["status"], 200, "{answer}");
    for name in LISTED {
        assert_eq!(lambda.calls_for(name), 1, "{name}");
    }
    lambda.shut_down().await;
}
