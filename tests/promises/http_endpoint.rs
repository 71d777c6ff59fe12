//! Tests with an AWS endpoint that uses plain HTTP on another host, such as an emulator of AWS in
//! Docker Compose.

use crate::support::agent::{Setup, read_request};
use crate::support::client::Connection;
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::program::Program;

/// `serve` refuses the endpoint, and names the variable that allows it. If this variable is set,
/// `serve` calls the endpoint and logs a warning.
#[tokio::test]
async fn http_endpoint_is_used_only_with_its_own_variable_and_a_warning() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    // Linux connects 0.0.0.0 to this machine, but Sidekey does not count it as a loopback address.
    let endpoint = fake.url().replace("127.0.0.1", "0.0.0.0");
    let setup = Setup::for_endpoint(&endpoint, &clock);

    let (code, output) = Program::start(&["serve"], setup.vars()).ended().await;
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("set SIDEKEY_ALLOW_HTTP_ENDPOINT=true"), "{output}");
    assert!(!output.contains("INSECURE"), "{output}");

    let setup = setup.with("SIDEKEY_ALLOW_HTTP_ENDPOINT", "true");
    let program = Program::start(&["serve"], setup.vars());
    let warning = program.line("INSECURE: SIDEKEY_ENDPOINT uses http").await;
    assert!(warning.contains("WARN"), "{warning}");
    let mut connection = Connection::open(program.address().await).await;
    assert_eq!(connection.exchange(read_request("app/db")).await.value(), "hunter2");
}
