# `just` lists the recipes. CI runs `.ci/run`, which installs the tools and runs `just ci`'s script.

default:
    @just --list

# Run what every change has to pass, the Lambda layer included (half an hour).
ci:
    .ci/checks

# Run the same without the Lambda layer.
quick:
    .ci/checks format lints documentation dependencies publication links tests

# Run single steps of `just ci`, such as `just check lints links`.
check +steps:
    .ci/checks {{ steps }}

# Run the tests, or some: `just test --test tidy`.
test *args:
    cargo test --workspace --locked {{ args }}

# Try random inputs on every parser. For one hour: `timeout 1h just fuzz 1000000000`.
fuzz cases="20000" *args:
    PROPTEST_CASES={{ cases }} cargo test --workspace --lib --bins --locked for_any {{ args }}

# Build the Lambda layer's zips in target/lambda, or one: `just layer arm64`.
layer *architectures:
    extension/layer/build {{ architectures }}

# Build the Lambda layers, check them, and run them under AWS's emulator.
layer-check *args:
    extension/layer/check {{ args }}

# Change the files that decide, one operator at a time, and expect a unit test to fail (one hour).
mutants *args:
    CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=false cargo mutants --package sidekey --jobs 1 --output target {{ args }}

# Run the benches, or some: `just bench --bench hot_path`.
bench *args:
    cargo bench --workspace --locked {{ args }}

# Run the agent with a fake Secrets Manager on http://127.0.0.1:2773.
dev *args:
    cargo run --locked -- dev {{ args }}
