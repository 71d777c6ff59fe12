//! Build script: turns the TOML files in `presets/channel-processors` into Rust constants of
//! Sidekey. The files contain rules for the names and values of secrets, and some default settings.
//!
//! Sidekey does not parse these files at start, because parsing would take 7 % of the CPU
//! instructions of a cold start on Lambda. Unit tests check that the constants equal the parsed
//! files.

use std::error::Error;
use std::path::Path;
use std::{env, fs};
use toml::{Table, Value};

const CONVENTIONS: &str = "presets/channel-processors/conventions.toml";
const SETTINGS: &str = "presets/channel-processors/sidekey.toml";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo passes the folder for generated files in an environment variable"
)]
fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", CONVENTIONS, SETTINGS] {
        println!("cargo::rerun-if-changed={input}");
    }

    let file: Table = fs::read_to_string(CONVENTIONS)?.parse()?;
    let rows: Vec<String> = array(&file["convention"]).iter().map(row).collect();
    let folder = env::var_os("OUT_DIR").ok_or("cargo must set the environment variable OUT_DIR")?;
    fs::write(Path::new(&folder).join("conventions.rs"), format!("&[{}]", rows.join(", ")))?;

    let file: Table = fs::read_to_string(SETTINGS)?.parse()?;
    let paths = texts(&file["resolve_paths"]).join(",");
    // `cargo run` also sets this variable for the program, so its name must not begin with
    // SIDEKEY_: the program refuses unknown variables with this prefix.
    println!("cargo::rustc-env=BUILT_IN_RESOLVE_PATHS={paths}");
    Ok(())
}

/// Translates one `[[convention]]` table of the TOML file into Rust source text. The text
/// constructs the struct `Row` of `src/convention/built_in.rs`.
fn row(convention: &Value) -> String {
    let fields: Vec<String> = convention["fields"]
        .as_table()
        .expect("the key `fields` must be a TOML table")
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

/// Translates the TOML table `field`, which describes the field `name` of a secret's value, into
/// Rust source text. The text constructs the struct `RowField` of `src/convention/built_in.rs`.
fn row_field(name: &str, field: &Value) -> String {
    let field_type = text(&field["type"]);
    let is_secret =
        field["secret"].as_bool().expect("the key `secret` of a field must be true or false");
    let flag = |name: &str| field.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (is_optional, is_multiline) = (flag("optional"), flag("multiline"));
    format!(
        "RowField {{ name: {name:?}, field_type: {field_type:?}, is_secret: {is_secret}, \
         is_optional: {is_optional}, is_multiline: {is_multiline} }}"
    )
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("each list in the TOML file must be a TOML array")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("each name and type in the TOML file must be a string")
}

fn texts(value: &Value) -> Vec<&str> {
    array(value).iter().map(text).collect()
}
