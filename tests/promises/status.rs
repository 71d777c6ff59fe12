//! Tests of `sidekey status`, which displays the cached secrets of a running agent.

use crate::clients::{killed_with_test, run};
use crate::port::Port;
use crate::support::agent::{Setup, Sidekey, TOKEN};
use crate::support::clock::ManualClock;
use crate::support::finished::Finished;
use crate::support::linters::Linters;
use crate::support::program::{Program, SIDEKEY};
use crate::support::{eventually, fake};
use fake_aws::{Fake, Fault, Match};
use serde_json::{Value, json};
use sidekey::convention::problem::Problem;
use sidekey::source::FetchErrorKind;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

type Vars = BTreeMap<String, String>;

const SCHEMA: &str = include_str!("../../docs/status.schema.json");

/// A Python script that checks the schema in its argument, and validates standard input against
/// this schema.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.loads(sys.argv[1])
Validator.check_schema(schema)
errors = list(Validator(schema).iter_errors(json.load(sys.stdin)))
print('\\n'.join(error.message for error in errors), file=sys.stderr)
sys.exit(len(errors) > 0)
";

/// A Python script that runs a shell command in a new pseudo-terminal.
const AT_A_TERMINAL: &str = "import pty, sys
pty.spawn(['sh', '-c', sys.argv[1]])";

/// A Python script that runs `PROGRAM status --watch` in a pseudo-terminal. The arguments are PROGRAM and
/// sizes such as `80x24`, to which the script changes the terminal while the program runs. Prints for
/// each size one line of JSON with the text of the first update after the change.
///
/// The program sleeps during a change, so that no text of the old size is left in the terminal. The
/// update that was interrupted by the sleep can still have the old width, so the script skips it.
const RESIZED: &str = r#"
import fcntl, json, os, pty, signal, struct, sys, termios
START, END = b"[?7l[H", b"[J[?7h"
program, *sizes = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program, [program, "status", "--watch=0.1"])
seen = b""
def update():
    global seen
    while START not in seen or END not in seen.split(START, 1)[1]:
        seen += os.read(terminal, 65536)
    text, seen = seen.split(START, 1)[1].split(END, 1)
    return text.decode()
def resize(size):
    columns, rows = map(int, size.split("x"))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
resize("80x24")
update()
for size in sizes:
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)
    os.set_blocking(terminal, False)
    try:
        while os.read(terminal, 65536):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(terminal, True)
    seen = b""
    resize(size)
    os.kill(pid, signal.SIGCONT)
    update()
    print(json.dumps(update()))
os.kill(pid, signal.SIGKILL)
"#;

/// Starts a fake AWS server with several secrets, and an agent whose clock only the test advances.
/// Returns both, and the environment variables of a program that calls the agent.
async fn start_agent(listed: &str) -> (Fake, Sidekey, Vars) {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    for (name, value) in
        [("app/db", "hunter2"), ("openai-api-key/sms", r#"{"ai_api_key":"PLACEHOLDER_hunter3"}"#)]
    {
        fake.secrets().create(name, value).expect("the fake AWS server must create the secret");
    }
    let setup = Setup::for_fake(&fake, &clock);
    let sidekey =
        setup.clone().with("SIDEKEY_SECRETS", listed).with("SIDEKEY_TTL", "100s").start().await;
    let vars = setup.with("SIDEKEY_PORT", sidekey.address.port()).vars().clone();
    (fake, sidekey, vars)
}

async fn status(args: &[&str], vars: &Vars) -> Finished {
    let done = Finished::sidekey(&[&["status"][..], args].concat(), vars, b"").await;
    for hidden in ["hunter", TOKEN] {
        assert!(!done.text().contains(hidden) && !done.err.contains(hidden), "{}", done.text());
    }
    done
}

async fn reported(vars: &Vars) -> Value {
    let done = status(&["--json"], vars).await;
    serde_json::from_str(done.text()).unwrap_or_else(|_| panic!("no JSON: {}", done.err))
}

/// A secret is read, refreshed, stale and malformed. The report in JSON contains all of this, and
/// follows its schema.
#[tokio::test]
async fn json_report_follows_its_schema() {
    let (fake, sidekey, vars) = start_agent("app/db openai-api-key/sms app/none").await;
    for _ in 0..3 {
        assert_eq!(sidekey.read("app/db").await.cache(), "hit");
    }
    let fresh = reported(&vars).await;
    fake.faults().always(Match::any(), Fault::InternalError);
    sidekey.advance(Duration::from_secs(200));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    eventually("the refresh fails", async || {
        (reported(&vars).await["agent"]["upstream"]["state"] == "failing").then_some(())
    })
    .await;
    let stale = reported(&vars).await;

    assert_eq!(fresh["ok"], false);
    let db = &fresh["secrets"][0];
    assert_eq!(
        (&db["name"], &db["reads"], &db["freshness"]),
        (&json!("app/db"), &json!(3), &json!("fresh"))
    );
    let next = db["nextRefreshSeconds"].as_u64().expect("a refresh must be planned");
    assert!((60..100).contains(&next), "{next}");
    assert_eq!(fresh["secrets"][1]["problems"][0]["code"], "placeholder");
    let missing = &fresh["missing"][0];
    assert_eq!((&missing["reference"], &missing["required"]), (&json!("app/none"), &json!(true)));
    assert_eq!(missing["lastError"]["kind"], "not_found");
    let agent = &fresh["agent"];
    assert_eq!(agent["address"], sidekey.address.to_string());
    assert_eq!(agent["reads"], json!({"hit": 3}));
    assert_eq!(agent["credentials"], json!({"expires": null, "rejected": false}));
    assert!(agent["uptimeSeconds"].is_u64() && agent["connections"].as_u64() >= Some(1));
    assert_eq!(stale["secrets"][0]["freshness"], "stale");
    assert_eq!(stale["secrets"][0]["lastError"]["kind"], "service");
    assert_eq!(stale["secrets"][0]["ageSeconds"], 200);

    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    for report in [fresh, stale] {
        let text = report.to_string();
        let done = linters.python(VALIDATE, &[SCHEMA], text.as_bytes()).await;
        assert_eq!((done.code, &*done.err), (Some(0), "\n"), "{text}");
    }
}

/// The schema lists every kind of error and every code of a problem.
#[test]
fn schema_lists_every_kind_and_code() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema must be JSON");
    let set = |value: &Value| {
        let names = value.as_array().expect("the enumeration must be an array").iter();
        names.map(|name| name.as_str().expect("a name is a string").to_owned()).collect()
    };
    let kinds: BTreeSet<String> = set(&schema["$defs"]["lastError"]["properties"]["kind"]["enum"]);
    let expected = FetchErrorKind::ALL.map(|kind| kind.label().to_owned());
    assert_eq!(kinds, BTreeSet::from(expected));
    let problems = &schema["$defs"]["secret"]["properties"]["problems"]["items"];
    let codes: BTreeSet<String> = set(&problems["properties"]["code"]["enum"]);
    assert_eq!(codes, Problem::CODES.map(str::to_owned).into());
}

/// The exit code is 1 only while a required secret is missing. The table names the secret.
#[tokio::test]
async fn exit_code_says_whether_a_required_secret_is_missing() {
    let (fake, sidekey, vars) = start_agent("app/db app/late").await;
    let done = status(&[], &vars).await;
    assert_eq!((done.code, &*done.err), (Some(1), ""));
    let rows: Vec<&str> = done.text().lines().filter(|line| line.contains("app/")).collect();
    assert!(rows[0].starts_with("missing  app/late") && rows[1].starts_with("fresh    app/db"));
    assert!(done.text().contains("not ready") && rows[0].contains("not_found: "), "{rows:?}");

    fake.secrets()
        .create("app/late", "hunter4")
        .expect("the fake AWS server must create the secret");
    sidekey.advance(Duration::from_secs(10));
    let done = eventually("the agent fetches the secret", async || {
        let done = status(&[], &vars).await;
        (done.code == Some(0)).then_some(done)
    })
    .await;
    assert!(done.text().contains(": ready, up for "), "{}", done.text());
    assert!(!done.text().contains("missing"), "{}", done.text());
}

/// If no agent answers, or the token is wrong, `status` says what to do.
#[tokio::test]
async fn unreachable_agents_and_wrong_tokens_are_explained() {
    let (_fake, _sidekey, vars) = start_agent("app/db").await;
    let with = |name: &str, value: String| {
        let mut vars = vars.clone();
        vars.insert(name.to_owned(), value);
        vars
    };
    let mut tokenless = vars.clone();
    tokenless.remove("SIDEKEY_TOKEN");
    let port = Port::reserve();
    for (vars, reported) in [
        (with("SIDEKEY_PORT", port.to_string()), "sidekey: no agent listens at 127.0.0.1:"),
        (with("SIDEKEY_PORT", "x".to_owned()), "sidekey: SIDEKEY_PORT: "),
        (
            with("SIDEKEY_TOKEN", "wrong-token".to_owned()),
            "sidekey: the agent refused the token of this command; set SIDEKEY_TOKEN",
        ),
        (tokenless, "sidekey: no token is configured; set SIDEKEY_TOKEN to the agent's token"),
    ] {
        let done = status(&[], &vars).await;
        assert_eq!((done.code, done.text()), (Some(2), ""), "{}", done.err);
        assert!(done.err.starts_with(reported) && done.err.lines().count() == 1, "{}", done.err);
    }
    let done = status(&["--watch=0"], &vars).await;
    assert_eq!(done.code, Some(2), "{}", done.err);
}

/// At a terminal, `--watch` redraws the table in colour and at the width of the terminal. In a pipe,
/// it writes one line of JSON for each update.
#[tokio::test]
async fn watch_redraws_the_table() {
    let mut python = killed_with_test("python3");
    if let Err(missing) = run(Command::new("python3").arg("--version")) {
        return missing.skip_or_fail();
    }
    let (fake, sidekey, vars) = start_agent("app/db").await;
    let script = format!("stty rows 30 cols 40; exec {SIDEKEY} status --watch=0.1");
    python.args(["-c", AT_A_TERMINAL, &script]);
    let screen = Program::run(python, &vars);
    let row = screen.line("app/db").await;
    assert!(row.contains("\u{1b}[32mfresh\u{1b}[0m"), "{row:?}");
    screen.line("Not displayed at this width: ").await;

    let mut command = killed_with_test(SIDEKEY);
    command.args(["status", "--watch=0.1", "--json"]);
    let lines = Program::run(command, &vars);
    fake.faults().always(Match::any(), Fault::Throttle);
    sidekey.advance(Duration::from_secs(200));
    assert_eq!(sidekey.read("app/db").await.cache(), "stale");
    screen.line("\u{1b}[33mstale\u{1b}[0m").await;
    let line = lines.line("\"freshness\":\"stale\"").await;
    assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");

    // Without an agent, the command continues, because an agent may start again.
    sidekey.agent.drain(Duration::ZERO).await;
    screen.line("no agent listens").await;
}

/// Returns the lines that a terminal shows after an update of `--watch`, without colours.
fn visible_lines(update: &str) -> Vec<String> {
    let Some((lines, _)) = update.rsplit_once("\x1b[K") else { return Vec::new() };
    let lines = lines.split("\x1b[K").map(|line| {
        let mut parts = line.trim_matches(['\r', '\n']).split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        // A colour ends with the letter `m`.
        let rest = parts.map(|part| part.split_once('m').map_or("", |(_, text)| text));
        first + &rest.collect::<String>()
    });
    lines.collect()
}

/// While `--watch` runs, a person changes the size of the terminal. Each update fits into the terminal,
/// and says what is left out.
#[tokio::test]
async fn watch_fits_each_size_of_the_terminal() {
    if let Err(missing) = run(Command::new("python3").arg("--version")) {
        return missing.skip_or_fail();
    }
    let (fake, _sidekey, vars) = start_agent("app/db openai-api-key/sms app/none").await;
    let sizes = [(200, 50), (120, 40), (80, 24), (60, 24), (40, 60), (80, 9), (80, 3), (200, 50)];
    let mut python = killed_with_test("python3");
    python.args(["-c", RESIZED, SIDEKEY]);
    python.args(sizes.map(|(columns, rows)| format!("{columns}x{rows}")));
    let done = Finished::run(python, &vars, b"").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let updates: Vec<String> = done
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("the script prints JSON"))
        .collect();
    assert_eq!(updates.len(), sizes.len());
    for ((columns, rows), update) in sizes.into_iter().zip(updates) {
        let lines = visible_lines(&update);
        let text = lines.join("\n");
        // The cursor is in the last row.
        assert!(lines.len() < rows, "{columns}x{rows}:\n{text}");
        for line in &lines {
            // Words are never divided. The terminal cuts them.
            let is_one_word = !line.trim().contains(' ');
            assert!(line.chars().count() <= columns || is_one_word, "{columns}x{rows}:\n{text}");
        }
        let is_cut =
            lines.last().is_some_and(|last| last.ends_with("do not fit into the terminal"));
        assert_eq!(is_cut, rows < 20, "{columns}x{rows}:\n{text}");
        let omits_columns = text.contains("Not displayed at this width");
        assert_eq!(omits_columns && !is_cut, columns < 120 && !is_cut, "{columns}x{rows}:\n{text}");
        if !is_cut {
            for name in ["app/db", "openai-api-key/sms", "app/none"] {
                assert!(text.contains(name), "{columns}x{rows}:\n{text}");
            }
        }
    }
    fake.stop().await;
}
