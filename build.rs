//! Translates the built-in conventions and settings of the channel processors into Rust constants.
//! Channel processors are Lambda functions that send messages by WhatsApp, SMS and e-mail. A
//! convention is a set of rules for the names and values of one kind of secret.
//!
//! The files in `presets/channel-processors` are also documentation: users copy them and edit the
//! copies. Sidekey does not parse these files when it starts, because parsing the TOML would cost
//! the Lambda layer about 220,000 instructions, or 7 % of a cold start. So this script parses them
//! when Sidekey is built. Unit tests check that the constants equal the result of Sidekey's own
//! parsers.

use std::error::Error;
use std::path::Path;
use std::{env, fs};
use toml::{Table, Value};

const CONVENTIONS: &str = "presets/channel-processors/conventions.toml";
const SETTINGS: &str = "presets/channel-processors/sidekey.toml";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo passes the output folder in an environment variable"
)]
fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", CONVENTIONS, SETTINGS] {
        println!("cargo::rerun-if-changed={input}");
    }

    let file: Table = fs::read_to_string(CONVENTIONS)?.parse()?;
    let rows: Vec<String> = array(&file["convention"]).iter().map(row).collect();
    let folder = env::var_os("OUT_DIR").ok_or("cargo has not set OUT_DIR")?;
    fs::write(Path::new(&folder).join("conventions.rs"), format!("&[{}]", rows.join(", ")))?;

    let file: Table = fs::read_to_string(SETTINGS)?.parse()?;
    let paths = texts(&file["resolve_paths"]).join(",");
    println!("cargo::rustc-env=SIDEKEY_BUILT_IN_RESOLVE_PATHS={paths}");
    Ok(())
}

/// Returns the Rust source code of a `Row` (a struct in `src/convention/built_in.rs`) for one
/// `[[convention]]` table.
fn row(convention: &Value) -> String {
    let fields: Vec<String> = convention["fields"]
        .as_table()
        .expect("`fields` must be a table")
        .iter()
        .map(|(name, field)| row_field(name, field))
        .collect();
    format!(
        "Row {{ kind: {:?}, pattern: {:?}, service: {:?}, placeholders: &{:?}, fields: &[{}] }}",
        text(&convention["kind"]),
        text(&convention["pattern"]),
        text(&convention["service"]),
        texts(&convention["placeholders"]),
        fields.join(", "),
    )
}

/// Returns the Rust source code of a `RowField` (a struct in `src/convention/built_in.rs`) for one
/// field of a secret's value. Every field of a built-in convention states `type` and `secret`, so
/// these keys need no defaults.
fn row_field(name: &str, field: &Value) -> String {
    let field_type = text(&field["type"]);
    let is_secret = field["secret"].as_bool().expect("`secret` must be true or false");
    let flag = |name: &str| field.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (is_optional, is_multiline) = (flag("optional"), flag("multiline"));
    format!(
        "RowField {{ name: {name:?}, field_type: {field_type:?}, is_secret: {is_secret}, \
         is_optional: {is_optional}, is_multiline: {is_multiline} }}"
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("the value must be an array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("the value must be a string")
}

fn texts(value: &Value) -> Vec<&str> {
    array(value).iter().map(text).collect()
}
