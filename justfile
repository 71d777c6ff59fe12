# `just` lists the recipes. CI runs `just ci` and `just layer-check`.

default:
    @just --list

# Everything that a change has to pass.
ci: fmt-check clippy test doc deny

fmt-check:
    cargo fmt --all -- --check

# The layer is built without the host's features, so it is looked at without them too.
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --package sidekey --lib --no-default-features --locked -- -D warnings

# Unit tests, scenarios, and the house rules of tests/tidy.rs. `just test --test tidy` runs those alone.
test *args:
    cargo test --workspace --locked {{ args }}

# Tries that many random inputs on each parser, until a property fails. `timeout 1h just fuzz 1000000000`
# goes on for an hour.
fuzz cases="20000" *args:
    PROPTEST_CASES={{ cases }} cargo test --workspace --lib --bins --locked for_any {{ args }}

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# Advisories are a daily job of their own: `cargo deny check advisories`.
deny:
    cargo deny --all-features check bans licenses sources

# The Lambda layer's zips, in target/lambda. `just layer arm64` builds one of them.
layer *architectures:
    extension/layer/build {{ architectures }}

# Builds the layers, looks into them, and runs them under AWS's emulator. `--twice` compares two builds.
layer-check *args:
    extension/layer/check {{ args }}

# Changes the files that decide, one operator at a time: a unit test has to fail. A weekly job; an hour.
mutants *args:
    CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=false cargo mutants --package sidekey --jobs 1 --output target {{ args }}

bench *args:
    cargo bench --workspace --locked {{ args }}

# The agent in front of an embedded Secrets Manager, on http://127.0.0.1:2773.
dev *args:
    cargo run --locked -- dev {{ args }}
