//! Tests with AWS credentials that are missing, wrong, expired or replaced. The agent still serves
//! cached values, and uses new credentials without a restart.

use crate::clients::pause;
use crate::support::agent::{Setup, Sidekey, read_path};
use crate::support::client::{Answer, get, request};
use crate::support::clock::ManualClock;
use crate::support::container::{AUTHORIZATION, CredentialEndpoint};
use crate::support::gateway::Gateway;
use crate::support::program::Program;
use crate::support::{TempFolder, eventually, fake};
use fake_aws::Operation::{AssumeRoleWithWebIdentity, GetSecretValue};
use fake_aws::{Fake, Fault, Match};
use rustix::process::Signal;
use sidekey::cache::freshness::FAILING_MAX;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const TTL: Duration = Duration::from_secs(60);
const ROLE: &str = "arn:aws:iam::123456789012:role/app";

/// Starts a fake AWS server with one secret. The server accepts only the session token `token`.
async fn start_fake(clock: &Arc<ManualClock>, token: &str) -> Fake {
    let fake = fake(clock).await;
    fake.secrets().create("app/db", "old").expect("the fake AWS server must create the secret");
    fake.session_tokens().accept_only([token]);
    fake
}

/// Returns the settings of an agent without AWS credentials. Each test adds its own source of
/// credentials.
fn without_credentials(fake: &Fake, clock: &Arc<ManualClock>) -> Setup {
    Setup::for_fake(fake, clock)
        .with("SIDEKEY_TTL", format!("{}s", TTL.as_secs()))
        .without("AWS_ACCESS_KEY_ID")
        .without("AWS_SECRET_ACCESS_KEY")
}

fn in_container(setup: Setup, container: &CredentialEndpoint) -> Setup {
    setup
        .with("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url())
        .with("AWS_CONTAINER_AUTHORIZATION_TOKEN", AUTHORIZATION)
}

fn with_web_identity(setup: Setup, sts: &str, folder: &TempFolder) -> Setup {
    let identity = folder.write("token", "an identity");
    setup
        .with("AWS_ENDPOINT_URL_STS", sts)
        .with("AWS_ROLE_ARN", ROLE)
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", identity.display())
}

fn last_token(fake: &Fake) -> Option<String> {
    let calls = fake.calls().list();
    let of_secrets = calls.into_iter().rev().find(|call| call.operation == Some(GetSecretValue));
    of_secrets.expect("the fake AWS server must have received a call").security_token
}

/// Checks that a response is an error about AWS credentials and contains a hint.
#[track_caller]
fn assert_credentials_error(answer: &Answer, status: u16, kind: &str) {
    assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{}", answer.text());
    let hint = answer.json()["hint"].as_str().expect("the error must contain a hint").to_owned();
    assert!(
        hint.contains("check the role, the profile or the environment variables"),
        "the error has an unexpected hint: {hint}"
    );
}

/// Makes the agent's credentials expire early, and checks that the agent still serves cached
/// values. Then calls `replace`, and checks that the agent fetches new values with the new
/// credentials.
async fn check_replacement(sidekey: &Sidekey, fake: &Fake, replace: impl FnOnce()) {
    assert_eq!(sidekey.read("app/db").await.value(), "old");
    fake.session_tokens()
        .expire(&last_token(fake).expect("the fake STS must have issued a session token"));
    fake.secrets().put("app/db", "new").expect("the secret exists");

    sidekey.advance(TTL);
    let answer = sidekey.read("app/db").await;
    assert_eq!((answer.value().as_str(), answer.cache()), ("old", "stale"));
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_refreshes_total{outcome=\"credentials\"}"), 1.0);

    replace();
    sidekey.advance(FAILING_MAX);
    assert_eq!(sidekey.read("app/db").await.value(), "new");
}

#[tokio::test]
async fn replaced_container_credentials_are_used() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let container = CredentialEndpoint::start("session-1").await;
    let setup = without_credentials(&fake, &clock);
    let sidekey = in_container(setup, &container).start().await;
    check_replacement(&sidekey, &fake, || {
        fake.session_tokens().accept_only(["session-2"]);
        container.rotate("session-2");
    })
    .await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-2"));
    assert_eq!(container.calls(), 2, "each set of credentials must cause one request");
}

#[tokio::test]
async fn expired_web_identity_session_is_renewed() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "none but those of STS").await;
    let folder = TempFolder::new();
    let setup = with_web_identity(without_credentials(&fake, &clock), &fake.url(), &folder);
    let sidekey = setup.start().await;
    check_replacement(&sidekey, &fake, || {}).await;
    assert_eq!(fake.calls().count(AssumeRoleWithWebIdentity), 2);
}

fn keys(token: &str) -> String {
    format!(
        "[default]\naws_access_key_id = ASIATESTS\naws_secret_access_key = of-{token}\n\
         aws_session_token = {token}\n"
    )
}

#[tokio::test]
async fn rewritten_credentials_file_is_read() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let path = folder.write("credentials", &keys("session-1"));
    let setup = without_credentials(&fake, &clock);
    let sidekey = setup.with("AWS_SHARED_CREDENTIALS_FILE", path.display()).start().await;
    check_replacement(&sidekey, &fake, || {
        fake.session_tokens().accept_only(["session-2"]);
        folder.write("credentials", &keys("session-2"));
    })
    .await;
}

#[tokio::test]
async fn credential_process_is_run_again() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let answer = |token: &str| {
        format!(
            "{{\"Version\":1,\"AccessKeyId\":\"ASIATESTS\",\"SecretAccessKey\":\"k\",\
             \"SessionToken\":\"{token}\"}}"
        )
    };
    let path = folder.write("answer", &answer("session-1"));
    let profile = format!("[default]\ncredential_process = cat {}\n", path.display());
    let sidekey = without_credentials(&fake, &clock)
        .with("AWS_CONFIG_FILE", folder.write("config", &profile).display())
        .start()
        .await;
    check_replacement(&sidekey, &fake, || {
        fake.session_tokens().accept_only(["session-2"]);
        folder.write("answer", &answer("session-2"));
    })
    .await;
}

/// STS fails. The agent uses its temporary credentials until they expire. Then it still serves
/// cached values, but other reads fail.
#[tokio::test]
async fn session_is_used_until_expiry_while_sts_fails() {
    const LIFE: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "none but those of STS").await;
    fake.secrets().create("app/mail", "old").expect("the fake AWS server must create the secret");
    let folder = TempFolder::new();
    let setup = with_web_identity(without_credentials(&fake, &clock), &fake.url(), &folder);
    let sidekey = setup.with("SIDEKEY_SECRETS", "app/db app/mail").start().await;
    assert_eq!(
        fake.calls().count(AssumeRoleWithWebIdentity),
        1,
        "the reads of both secrets must use the same session"
    );
    let sts = Match::operation(AssumeRoleWithWebIdentity);
    fake.faults().always(sts, Fault::InternalError);
    sidekey.advance(LIFE - MINUTE + Duration::from_secs(1));
    assert_eq!(
        sidekey.read("app/db").await.cache(),
        "miss",
        "the call must be signed with the session that is still valid"
    );
    assert_eq!(
        fake.calls().count(AssumeRoleWithWebIdentity),
        2,
        "the session must be refreshed a minute before its expiry"
    );

    sidekey.advance(MINUTE);
    let (served, missing) = tokio::join!(sidekey.read("app/db"), sidekey.read("app/none"));
    assert_eq!((served.value().as_str(), served.cache()), ("old", "stale"));
    assert_credentials_error(&missing, 500, "InternalFailure");
    assert!(
        missing.text().contains("the provider of the credentials failed"),
        "{}",
        missing.text()
    );
    assert_eq!(
        fake.calls().count(AssumeRoleWithWebIdentity),
        3,
        "both calls must share one request to STS"
    );
    for (wait, calls) in [(999, 3), (1, 4)] {
        sidekey.advance(Duration::from_millis(wait));
        assert_credentials_error(
            &sidekey.read(&format!("app/{calls}")).await,
            500,
            "InternalFailure",
        );
        assert_eq!(
            fake.calls().count(AssumeRoleWithWebIdentity),
            calls,
            "the agent must call STS at most once a second"
        );
    }
    fake.faults().clear();
    sidekey.advance(FAILING_MAX);
    assert_eq!(sidekey.read("app/db").await.cache(), "miss");
}

/// Two calls to AWS wait for one request for credentials, which never ends. When this request times
/// out, both calls fail.
#[tokio::test]
async fn calls_waiting_for_credentials_share_the_timeout() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "none but those of STS").await;
    let sts = Gateway::start(&fake).await;
    let folder = TempFolder::new();
    let setup = with_web_identity(without_credentials(&fake, &clock), &sts.url(), &folder);
    let sidekey = setup.with("SIDEKEY_READER_WAIT", "1h").start().await;
    sts.hold();
    let waiting = async {
        let is_waiting = || sidekey.agent.status().flights == 2 && sts.regions().len() == 1;
        eventually("two calls to AWS wait for credentials", async || is_waiting().then_some(()))
            .await;
        // The timeout of one call to AWS.
        sidekey.advance(Duration::from_secs(600));
    };
    let (one, other, ()) = tokio::join!(sidekey.read("app/db"), sidekey.read("app/mail"), waiting);
    for answer in [one, other] {
        assert_credentials_error(&answer, 500, "InternalFailure");
        assert!(answer.text().contains("in time"), "{}", answer.text());
    }
    assert_eq!(sts.regions().len(), 1);
}

/// The process is frozen, as in Lambda, while a read waits for STS. After the freeze, the agent
/// repeats the call to STS, and the read succeeds.
#[tokio::test]
async fn freeze_during_a_credentials_refresh_breaks_no_read() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "none but those of STS").await;
    let sts = Gateway::start(&fake).await;
    let folder = TempFolder::new();
    let setup = with_web_identity(without_credentials(&fake, &clock), &sts.url(), &folder);
    let sidekey = setup.start().await;
    sts.hold();
    let wait_for_sts = async |times| {
        eventually("STS receives the call", async || (sts.regions().len() == times).then_some(()))
            .await;
    };
    let frozen = async {
        wait_for_sts(1).await;
        sidekey.advance(Duration::from_secs(3600));
        wait_for_sts(2).await;
        sts.release();
    };
    let (answer, ()) = tokio::join!(sidekey.read("app/db"), frozen);
    assert_eq!(answer.value(), "old");
    let metrics = sidekey.metrics().await;
    let calls = |outcome: &str| {
        let operation = "operation=\"GetSecretValue\"";
        metrics
            .get(&format!("sidekey_upstream_requests_total{{{operation},outcome=\"{outcome}\"}}"))
    };
    assert_eq!((calls("cut"), calls("credentials"), calls("ok")), (1.0, 0.0, 1.0));
}

/// Without credentials, a read fails at once. If the metadata service does not respond, the read
/// fails after the timeout of a call to AWS.
#[tokio::test]
async fn missing_credentials_fail_at_once_with_a_hint() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let path = folder.path().join("credentials");
    let metadata = TcpListener::bind("127.0.0.1:0").await.expect("the test must find a free port");
    let address = metadata.local_addr().expect("the socket must have an address");
    let nowhere = without_credentials(&fake, &clock)
        .with("SIDEKEY_SECRETS", "app/db")
        .with("AWS_SHARED_CREDENTIALS_FILE", path.display());
    let sidekey = nowhere.clone().start().await;
    let answer = sidekey.read("app/db").await;
    assert_credentials_error(&answer, 500, "InternalFailure");
    assert!(answer.text().contains("no AWS credentials were found"), "{}", answer.text());
    assert_eq!(fake.calls().total(), 0, "the agent must not call AWS without credentials");

    // The kernel accepts these connections, but the test never reads from them.
    let silent = nowhere
        .without("AWS_EC2_METADATA_DISABLED")
        .with("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{address}"))
        .with("SIDEKEY_UPSTREAM_TIMEOUT", "500ms")
        .launch()
        .await;
    let passing = async {
        loop {
            pause().await;
            // The SDK's own timeout for an instance's metadata service is one second, longer than
            // these 250 ms.
            silent.advance(Duration::from_millis(250));
        }
    };
    let answer = tokio::select! {
        answer = silent.read("app/db") => answer,
        () = passing => unreachable!("the test must advance the clock until the response arrives"),
    };
    assert_credentials_error(&answer, 500, "InternalFailure");
    assert!(answer.text().contains("in time"), "{}", answer.text());

    folder.write("credentials", &keys("session-1"));
    for sidekey in [&sidekey, &silent] {
        sidekey.advance(FAILING_MAX);
        assert_eq!(sidekey.read("app/db").await.value(), "old");
    }
}

/// A Lambda snapshot is restored with expired credentials. The agent requests new credentials when
/// the restore hook is called, or when the wall clock jumps.
#[tokio::test]
async fn new_credentials_are_used_after_a_restore() {
    for has_restore_hook in [true, false] {
        let clock = ManualClock::new();
        let fake = start_fake(&clock, "session-1").await;
        let names: Vec<String> = (0..20).map(|number| format!("app/{number}")).collect();
        for name in &names {
            fake.secrets().create(name, "old").expect("the fake AWS server must create the secret");
        }
        let container = CredentialEndpoint::start("session-1").await;
        let setup = in_container(without_credentials(&fake, &clock), &container)
            .without("SIDEKEY_TOKEN")
            .with("SIDEKEY_SECRETS", names.join(","))
            .with("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
        let sidekey = setup.start().await;
        assert!(container.calls() < 6, "concurrent calls must share one request for credentials");
        let headers = [("X-Aws-Parameters-Secrets-Token", AUTHORIZATION)];
        let read = async || {
            let request = get(&read_path("app/0"), &headers);
            sidekey.connect().await.exchange(request).await
        };
        assert_eq!(read().await.cache(), "hit");

        fake.session_tokens().accept_only(["session-2"]);
        container.rotate("session-2");
        fake.secrets().put("app/0", "new").expect("the secret exists");
        if has_restore_hook {
            let hook = request("POST", "/restore", &headers, "");
            assert_eq!(sidekey.connect().await.exchange(hook).await.status, 204);
        } else {
            clock.advance_wall(Duration::from_secs(2));
        }
        let answer = read().await;
        assert_eq!(
            answer.value(),
            "new",
            "the read must use the new credentials (restore hook: {has_restore_hook})"
        );
        assert!(["hit", "miss"].contains(&answer.cache()), "{}", answer.cache());
        assert_eq!(last_token(&fake).as_deref(), Some("session-2"));
        let metrics = sidekey.metrics().await;
        let failed = metrics.get("sidekey_refreshes_total{outcome=\"credentials\"}");
        assert_eq!(failed, 0.0, "no call may be signed with the old credentials");

        for (token, is_let_in) in [("session-2", true), ("session-1", true), ("nobody's", false)] {
            let wait_for_sts = request(
                "POST",
                "/",
                &[
                    ("X-Amz-Target", "secretsmanager.GetSecretValue"),
                    ("X-Amz-Security-Token", token),
                ],
                "{\"SecretId\":\"app/0\"}",
            );
            let answer = sidekey.connect().await.exchange(wait_for_sts).await;
            let is_refused = answer.text().contains("UnrecognizedClientException");
            assert_eq!(!is_refused, is_let_in, "{token}: {}", answer.text());
        }
    }
}

/// Returns the output of a `credential_process`, which contains the session token `token`.
fn printed(token: &str) -> String {
    format!(
        "{{\"Version\":1,\"AccessKeyId\":\"ASIATESTS\",\"SecretAccessKey\":\"k\",\
         \"SessionToken\":\"{token}\"}}"
    )
}

/// Returns the settings of an agent whose default profile runs `command` to get credentials.
fn with_process(
    fake: &Fake,
    clock: &Arc<ManualClock>,
    folder: &TempFolder,
    command: &str,
) -> Setup {
    let script = folder.write("script", command);
    let profile = format!("[default]\ncredential_process = sh {}\n", script.display());
    without_credentials(fake, clock)
        .with("AWS_CONFIG_FILE", folder.write("config", &profile).display())
}

/// Returns whether a process is running. A killed process does not count, even if its parent has
/// not yet awaited it.
fn is_running(id: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = state.rsplit(')').next().unwrap_or_default();
    !state.is_empty() && !state.trim_start().starts_with('Z')
}

/// A `credential_process` and a program that it started never end. Sidekey kills both at its
/// deadline, and runs the `credential_process` again for the next read.
#[tokio::test]
async fn hanging_credential_process_is_killed_with_its_group() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let ids = folder.path().join("ids");
    let hang = format!("sleep 1000 &\necho $$ $! >> {}\nwait\n", ids.display());
    let sidekey = with_process(&fake, &clock, &folder, &hang)
        .with("SIDEKEY_CREDENTIAL_PROCESS_TIMEOUT", "30s")
        .start()
        .await;
    let runs = || fs::read_to_string(&ids).unwrap_or_default();
    let names: Vec<String> = (0..20).map(|number| format!("app/{number}")).collect();
    let deadline = async {
        let is_waiting = || sidekey.agent.status().flights == 20 && runs().ends_with('\n');
        eventually("all reads wait for the `credential_process`", async || {
            is_waiting().then_some(())
        })
        .await;
        sidekey.advance(Duration::from_secs(29));
        pause().await;
        assert!(runs().split_whitespace().all(is_running), "{}", runs());
        sidekey.advance(Duration::from_secs(1));
    };
    let reads = futures_util::future::join_all(names.iter().map(|name| sidekey.read(name)));
    let (answers, ()) = tokio::join!(reads, deadline);
    for answer in answers {
        assert_credentials_error(&answer, 500, "InternalFailure");
        assert!(answer.text().contains("did not end within 30s"), "{}", answer.text());
    }
    assert_eq!(
        runs().lines().count(),
        1,
        "all reads must wait for the same run of the program: {}",
        runs()
    );
    let is_ended = async || (!runs().split_whitespace().any(is_running)).then_some(());
    eventually("the processes are killed", is_ended).await;

    folder.write("script", &format!("echo '{}'", printed("session-1")));
    sidekey.advance(FAILING_MAX);
    assert_eq!(sidekey.read("app/db").await.value(), "old");
}

/// The source profile of the agent's profile gets credentials from a `credential_process`. The
/// agent uses these credentials to assume the role of its profile.
#[tokio::test]
async fn role_is_assumed_with_credentials_of_a_process() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "none but those of STS").await;
    let folder = TempFolder::new();
    let output = folder.write("output", &printed("session-1"));
    let profiles = format!(
        "[default]\nrole_arn = {ROLE}\nsource_profile = base\n\
         [profile base]\ncredential_process = cat {}\n",
        output.display()
    );
    let sidekey = without_credentials(&fake, &clock)
        .with("AWS_CONFIG_FILE", folder.write("config", &profiles).display())
        .with("AWS_ENDPOINT_URL_STS", fake.url())
        .start()
        .await;
    sidekey.read("app/db").await;
    let calls = fake.calls().list();
    let to_sts = calls.iter().find(|call| call.operation != Some(GetSecretValue));
    let signed_with = to_sts.and_then(|call| call.security_token.as_deref());
    assert_eq!(signed_with, Some("session-1"), "{calls:?}");
}

/// The shared credentials file changes before AWS rejects the old credentials. The agent signs the
/// next call to AWS with the new credentials.
#[tokio::test]
async fn changed_credentials_file_is_noticed_before_the_next_call() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    fake.session_tokens().accept_only(["session-1", "session-two", "session-three"]);
    let folder = TempFolder::new();
    let path = folder.write("credentials", &keys("session-1"));
    let setup = without_credentials(&fake, &clock);
    let sidekey = setup.with("AWS_SHARED_CREDENTIALS_FILE", path.display()).start().await;
    sidekey.read("app/db").await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-1"));

    folder.write("credentials", &keys("session-two"));
    sidekey.read("app/overwritten").await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-two"));

    let replacement = folder.write("replacement", &keys("session-three"));
    fs::rename(replacement, &path).expect("the file can be replaced");
    sidekey.read("app/replaced").await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-three"));

    // A file without credentials, as while it is written, does not replace valid credentials.
    folder.write("credentials", "[default]\n");
    sidekey.read("app/half-written").await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-three"));
}

#[tokio::test]
async fn credentials_file_that_changes_before_the_first_call_is_noticed() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    fake.session_tokens().accept_only(["session-1", "session-two"]);
    let folder = TempFolder::new();
    let path = folder.write("credentials", &keys("session-1"));
    let setup = without_credentials(&fake, &clock);
    let sidekey = setup.with("AWS_SHARED_CREDENTIALS_FILE", path.display()).start().await;
    folder.write("credentials", &keys("session-two"));
    sidekey.read("app/db").await;
    assert_eq!(last_token(&fake).as_deref(), Some("session-two"));
}

/// A `credential_process` is added to the profile while the agent runs, and takes longer than a
/// call to AWS may take. The agent runs it only once.
#[tokio::test]
async fn slow_credential_process_that_is_added_later_runs_once() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let runs = folder.path().join("runs");
    let config = folder.write("config", "[default]\n");
    let setup = without_credentials(&fake, &clock);
    let sidekey = setup.with("AWS_CONFIG_FILE", config.display()).start().await;
    let script = format!("echo run >> {}\nexec sleep 1000\n", runs.display());
    with_process(&fake, &clock, &folder, &script);
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let deadline = async {
        eventually("the program runs", async || (count() == 1).then_some(())).await;
        sidekey.advance(Duration::from_secs(30));
    };
    let (answer, ()) = tokio::join!(sidekey.read("app/db"), deadline);
    assert_credentials_error(&answer, 500, "InternalFailure");
    assert!(answer.text().contains("did not end within 30s"), "{}", answer.text());
    assert_eq!(count(), 1, "the agent must not repeat the call");
}

/// `sidekey check` waits for a `credential_process` that never ends. Ctrl-C ends both processes.
#[tokio::test]
async fn interrupted_command_ends_its_credential_process() {
    let clock = ManualClock::new();
    let fake = start_fake(&clock, "session-1").await;
    let folder = TempFolder::new();
    let ids = folder.path().join("ids");
    let hang = format!("sleep 1000 &\necho $$ $! >> {}\nwait\n", ids.display());
    let setup = with_process(&fake, &clock, &folder, &hang);
    let program = Program::start(&["check", "app/db"], setup.without("SIDEKEY_PORT").vars());
    let runs = || fs::read_to_string(&ids).unwrap_or_default();
    eventually("the program runs", async || runs().ends_with('\n').then_some(())).await;
    program.signal(Signal::INT);
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(130), "{output}");
    let is_ended = async || (!runs().split_whitespace().any(is_running)).then_some(());
    eventually("the processes are killed", is_ended).await;
}
