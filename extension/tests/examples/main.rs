//! The functions of `examples`, built as their pages describe. They run under AWS's runtime
//! interface emulator together with the extension.
//!
//! If a machine lacks a language's tools, the test is skipped and prints the reason. With `CI=true`
//! it fails instead.

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
