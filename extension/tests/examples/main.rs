//! Tests the Lambda functions in `examples`. Each function runs in AWS's Lambda runtime interface
//! emulator, together with Sidekey's extension.
//!
//! If a machine lacks the tools of a language, the test is skipped and prints the reason. If the
//! variable `CI` is `true`, the test fails instead.

#[path = "../../../tests/support/clients.rs"]
mod clients;
#[path = "../../../tests/support/emulator.rs"]
mod emulator;
#[path = "../../../tests/support/exchange.rs"]
mod exchange;
#[path = "../../../tests/support/port.rs"]
mod port;

mod language;
mod processor;

use language::Language;
use processor::{Channel, check_processor};

#[tokio::test]
async fn python() {
    check_processor(Language::Python, Channel::Whatsapp).await;
}

#[tokio::test]
async fn node() {
    check_processor(Language::Node, Channel::Sms).await;
}

#[tokio::test]
async fn go() {
    check_processor(Language::Go, Channel::Email).await;
}

#[tokio::test]
async fn java() {
    check_processor(Language::Java, Channel::Whatsapp).await;
}

#[tokio::test]
async fn rust() {
    check_processor(Language::Rust, Channel::Sms).await;
}
