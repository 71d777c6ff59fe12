//! The functions of `examples`, each built as its own page says and run under AWS's runtime interface
//! emulator with the extension beside it.
//!
//! A machine that lacks a language's tools skips its test with a line that says so; with `CI=true` it
//! fails.

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
use processor::{Channel, processes};

#[tokio::test]
async fn python() {
    processes(Language::Python, Channel::Whatsapp).await;
}

#[tokio::test]
async fn node() {
    processes(Language::Node, Channel::Sms).await;
}

#[tokio::test]
async fn go() {
    processes(Language::Go, Channel::Email).await;
}

#[tokio::test]
async fn java() {
    processes(Language::Java, Channel::Whatsapp).await;
}

#[tokio::test]
async fn rust() {
    processes(Language::Rust, Channel::Sms).await;
}
