//! Checks that files of pure functions contain no input and output, and that certain words are only
//! in certain files.

use crate::repository::{File, begins_word, sources};

/// The files and folders of pure functions: functions without tasks, waits, files, connections and
/// logs.
#[rustfmt::skip]
const PURE: &[&str] = &[
    "src/secret.rs", "src/secret/", "src/convention.rs", "src/convention/", "src/message.rs", "src/message/",
    "src/broker.rs", "src/broker/",
    "src/cache/discovery.rs", "src/cache/failover.rs", "src/cache/freshness.rs", "src/cache/malformed.rs",
    "src/cache/plan.rs", "src/cache/policies.rs", "src/cache/snapshot.rs", "src/cache/predecessor.rs",
    "src/cache/rotation.rs", "src/cache/withheld.rs", "src/telemetry/emf/",
    "src/server/gate.rs", "src/server/head.rs", "src/server/operation.rs", "src/server/operation/",
    "src/server/parameter_name.rs", "src/server/plain_request.rs",
    "src/server/problem.rs", "src/server/request.rs", "src/server/resolving/", "src/server/route.rs",
    "src/config/cleaning.rs", "src/config/service_links.rs",
    "src/exec/variable.rs", "src/commands/check/dynamo.rs", "src/commands/check/candidates.rs",
    "src/commands/check/gateway_key.rs", "src/commands/check/lenient.rs", "src/commands/check/report.rs",
    "src/commands/check/search.rs", "src/commands/check/search/", "src/commands/policy/",
    "src/commands/status/", "src/commands/age.rs", "src/commands/dev/page/history.rs",
    "src/commands/dev/page/request.rs", "src/commands/scaffold/plan.rs", "src/commands/table.rs",
    "src/config/toml_place.rs",
];

/// Words that a file of pure functions must not contain.
const IMPURE: &[&str] = &["tokio", "async", "await", "std::fs", "std::net::Tcp", "tracing"];

/// The beginnings of the names of the crates of AWS's SDK.
#[rustfmt::skip]
const AWS_SDK: &[&str] = &[
    "aws_config", "aws_credential", "aws_runtime", "aws_sdk", "aws_sig", "aws_smithy", "aws_types",
];

/// Each row contains words, the only files that may contain these words, and advice for other
/// files. `clippy.toml` lists the functions that no file may call.
#[rustfmt::skip]
const PLACES: &[(&[&str], &[&str], &str)] = &[
    (AWS_SDK, &["src/source/aws.rs", "src/source/aws/"],
     "only `source::aws` may use AWS's SDK: use the trait `Source`"),
    (&["hyper", "http_body_util"],
     &["src/http1.rs", "src/outbound.rs", "src/outbound/", "src/broker/", "src/config/route_keys.rs", "src/server.rs", "src/server/", "src/source/aws/", "src/client.rs",
       "src/commands/dev/watch.rs", "src/commands/dev/page.rs", "src/commands/dev/page/", "extension/src/api.rs", "fake-aws/"],
     "only the server and the HTTP clients may use hyper: call their functions"),
    (&["snapshot.store("], &["src/cache/publisher.rs"],
     "only one file may replace the cache's snapshot: call `Writer::settle`"),
    (&[".expose("],
     &["src/secret/", "src/convention/check.rs", "src/broker/credential.rs", "src/server/dialect.rs", "src/server/dialect/",
       "src/server/resolving/credential.rs", "src/client/ready.rs", "src/client/route.rs", "src/client/secret.rs", "src/client/status.rs", "src/exec/",
       "src/commands/get/output.rs",
       "src/commands/check/gateway_key.rs", "src/commands/scaffold/aws_cli.rs"],
     "few files may read a secret's bytes: pass a `SecretValue` to them"),
    (&[".share()"],
     &["src/secret/value.rs", "src/server/response.rs", "src/server/resolving/answer.rs"],
     "few files may write a secret's bytes to a socket: pass a `SecretValue` to them"),
    // A flight, a batch of parameters, a writer, a draw of a random number, the start and end of a
    // connection, and a log line may take a lock. A cached read takes none.
    (&["Mutex", "RwLock"],
     &["src/cache/flight.rs", "src/cache/gather.rs", "src/cache/logged_versions.rs", "src/cache/marks.rs",
       "src/cache/negative_cache.rs", "src/cache/publisher.rs", "src/cache/replicas.rs", "src/cache/slots.rs", "src/cache/state.rs",
       "src/outbound/", "src/server/calls/replayed.rs", "src/server/connection_slots.rs", "src/server/renewal.rs", "src/source/", "src/tokens.rs",
       "src/clock.rs", "src/telemetry/log_limiter.rs", "src/telemetry/lines.rs", "fake-aws/"],
     "a cached read must take no lock: use an `ArcSwap`, an atomic or a `OnceLock`"),
    (&["tokio::spawn"], &["src/agent.rs"],
     "a detached task can outlive its data: spawn the task on a `TaskTracker`"),
];

/// Finds words that files of pure functions must not contain.
fn impure(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in sources(files).filter(|file| file.is_in(PURE)) {
        for (at, line) in file.code().into_iter().enumerate() {
            for word in IMPURE.iter().chain(AWS_SDK).filter(|word| begins_word(line, word)) {
                problems.push(format!(
                    "{}:{}: a file of pure functions contains `{word}`",
                    file.path,
                    at + 1
                ));
            }
        }
    }
    problems
}

/// Finds words in files that must not contain these words.
fn misplaced(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for (words, places, remedy) in PLACES {
        for file in sources(files).filter(|file| !file.is_in(places)) {
            for (at, line) in file.code().into_iter().enumerate() {
                for word in words.iter().filter(|word| begins_word(line, word)) {
                    problems.push(format!("{}:{}: `{word}`: {remedy}", file.path, at + 1));
                }
            }
        }
    }
    problems
}

/// Finds files and folders in the tables of this file that do not exist.
fn missing(files: &[File]) -> Vec<String> {
    let places = PLACES.iter().flat_map(|(_, places, _)| *places).chain(PURE);
    let missing = places.filter(|place| !files.iter().any(|file| file.is_in(&[place])));
    missing.map(|place| format!("tests/tidy/purity.rs names {place}")).collect()
}

mod tests {
    use super::*;
    use crate::repository::{assert_finds, assert_none, repository};

    #[test]
    fn pure_files_only_decide() {
        assert_none(
            &impure(&repository()),
            "Pass the data that the pure function needs as an argument.",
        );
        let text = "async fn f() {}\nuse tokio::net;\nuse aws_config::Region;\nlet is_async = 1;";
        let planted = ["src/secret/planted.rs", "src/server/planted.rs"];
        let planted = planted.map(|path| File::new(path, text));
        assert_finds(&impure(&planted), &["secret/planted.rs:1", ":2", ":3"]);
    }

    #[test]
    fn libraries_locks_and_plaintext_stay_in_their_files() {
        assert_none(
            &misplaced(&repository()),
            "Move the code to an allowed file. Each problem above gives an alternative.",
        );
        for line in [
            "use aws_sdk_secretsmanager::Client;",
            "use hyper::Uri;",
            "self.0.snapshot.store(next);",
            "print(value.expose());",
            "send(value.share());",
            "lock: Mutex<u8>,",
            "tokio::spawn(work);",
        ] {
            let comment = format!("// {line}");
            let planted = [("src/x.rs", line), ("tests/x.rs", line), ("src/y.rs", &*comment)];
            let planted = planted.map(|(path, text)| File::new(path, text));
            assert_finds(&misplaced(&planted), &["src/x.rs:1"]);
        }
    }

    #[test]
    fn the_tables_name_files_that_exist() {
        assert_none(
            &missing(&repository()),
            "Change the file's name in the tables of tests/tidy/purity.rs, or remove the row.",
        );
        assert!(!missing(&[]).is_empty(), "a missing file is found");
    }
}
