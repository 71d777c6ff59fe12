//! Tests of the page of `sidekey dev`, over HTTP and in a real browser.

use crate::clients::{MissingTool, install_into_folder, killed_with_test, path, pause, run};
use crate::support::TempFolder;
use crate::support::client::{Answer, Connection};
use crate::support::program::Program;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

/// The secrets that `sidekey dev` serves in these tests.
const SECRETS: &str =
    r#"{"app/db": {"password": "hunter2"}, "ssm:/app/url": "https://hunter2.example"}"#;

/// A running `sidekey dev` with a page.
struct Running {
    program: Program,
    /// The URL of the page, with its key.
    url: String,
    home: TempFolder,
}

impl Running {
    /// Starts `sidekey dev` with these options and variables. `home` is its home folder.
    async fn start(home: TempFolder, options: &[&str], vars: &[(&str, &str)]) -> Self {
        let mut vars: BTreeMap<String, String> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        vars.insert("HOME".to_owned(), home.path().display().to_string());
        let program = Program::start(&[&["dev", "--port", "0"], options].concat(), &vars);
        let line = program.line("make AWS fail, open ").await;
        let url = line.rsplit(' ').next().unwrap_or_default().to_owned();
        Self { program, url, home }
    }

    async fn with_secrets() -> Self {
        let home = TempFolder::new();
        let file = home.write("secrets.json", SECRETS).display().to_string();
        let vars = [("SIDEKEY_TTL", "2s"), ("SIDEKEY_LOG", "error")];
        Self::start(home, &["--secrets", &file, "--latency", "5ms"], &vars).await
    }

    fn address(&self) -> SocketAddr {
        let rest = self.url.strip_prefix("http://").expect("the URL must begin with http://");
        let (address, _) = rest.split_once('/').expect("the URL must have a path");
        address.parse().expect("the URL must contain an address")
    }

    fn key(&self) -> &str {
        self.url.split_once('#').expect("the URL must contain the key").1
    }

    /// Sends a request to the page. Each line of `headers` ends with CR and LF.
    async fn request(&self, request: &str, headers: &str) -> Answer {
        let text = format!("{request} HTTP/1.1\r\n{headers}\r\n");
        Connection::open(self.address()).await.exchange(text).await
    }

    /// Sends a request with the right `Host` header and the right key.
    async fn admitted(&self, request: &str) -> Answer {
        let headers = format!("Host: {}\r\nX-Sidekey-Page-Key: {}\r\n", self.address(), self.key());
        self.request(request, &headers).await
    }
}

/// Installs Playwright, and runs the browser script with `arguments`.
fn browser(home: &TempFolder, arguments: &[&str]) -> Result<Program, MissingTool> {
    let missing = |missing: MissingTool| missing.context("the page in a real browser");
    run(Command::new("/usr/bin/chromium").arg("--version")).map_err(missing)?;
    let files = [
        ("browser.mjs", include_str!("page/browser.mjs")),
        ("package.json", include_str!("page/package.json")),
        ("package-lock.json", include_str!("page/package-lock.json")),
    ];
    let install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    let folder = install_into_folder("page", &files, &[&install]).map_err(missing)?;
    let mut node = killed_with_test("node");
    node.arg("browser.mjs").args(arguments).current_dir(folder);
    let vars = [("HOME", home.path().as_os_str().to_owned()), ("PATH", path())];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned()));
    Ok(Program::run(node, &BTreeMap::from(vars)))
}

#[tokio::test]
async fn page_works_in_a_real_browser() {
    let running = Running::with_secrets().await;
    let program = match browser(&running.home, &["check", &running.url, "hunter2"]) {
        Ok(program) => program,
        Err(missing) => return missing.skip_or_fail(),
    };
    for step in ["loads", "updates", "rotates", "fails", "keyboard", "dark", "quiet", "protected"] {
        let line = program.line(&format!("{step}: ")).await;
        assert_eq!(line, format!("{step}: ok"));
    }
    assert_eq!(program.ended().await.0, Some(0));
    running.program.signal(Signal::INT);
    let (code, output) = running.program.ended().await;
    assert_eq!(code, Some(0), "{output}");
}

/// Writes the screenshot of the README. Needs Chromium and pngquant:
/// `cargo test --test promises -- --ignored screenshot_of_the_page`.
#[tokio::test]
#[ignore = "it takes a minute, and changes a file of the repository"]
async fn screenshot_of_the_page() {
    let running = Running::start(TempFolder::new(), &[], &[("SIDEKEY_LOG", "error")]).await;
    let large = running.home.path().join("page.png").display().to_string();
    let program = match browser(&running.home, &["screenshot", &running.url, &large]) {
        Ok(program) => program,
        Err(missing) => return missing.skip_or_fail(),
    };
    let (code, output) = program.ended().await;
    assert_eq!(code, Some(0), "{output}");
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dev_page.png");
    let mut pngquant = Command::new("pngquant");
    pngquant.args(["--force", "--strip", "--speed", "1", "--output", target, "64", &large]);
    if let Err(missing) = run(&mut pngquant) {
        missing.skip_or_fail();
    }
}

#[tokio::test]
async fn page_needs_its_key_and_shows_no_value() {
    let running = Running::with_secrets().await;
    let host = format!("Host: {}\r\n", running.address());
    let html = running.request("GET /", &host).await;
    assert_eq!(html.status, 200);
    let policy = html.header("content-security-policy").expect("the page must have a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!html.text().contains(running.key()) && !html.text().contains("{{nonce}}"));

    let state = "GET /state?calls=0&reads=0&changes=0";
    let refused = running.request(state, &host).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let foreign = format!("Host: evil.example\r\nX-Sidekey-Page-Key: {}\r\n", running.key());
    for request in ["GET /", state, "POST /upstream?state=fail"] {
        assert_eq!(running.request(request, &foreign).await.status, 403, "{request}");
    }

    let answer = running.admitted(state).await;
    let state = answer.json();
    let names: Vec<&str> = state["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["reference"].as_str())
        .collect();
    assert_eq!(names, ["app/db", "ssm:/app/url"], "{state}");
    assert_eq!(state["upstream"], "normal");
    assert!(state["calls"]["total"].as_u64() > Some(0), "{state}");
    assert!(!answer.text().contains("hunter2"), "{state}");
}

#[tokio::test]
async fn buttons_change_secrets_and_calls() {
    let running = Running::with_secrets().await;
    for reference in ["app/db", "ssm:/app/url"] {
        let answer = running.admitted(&format!("POST /rotate?secret={reference}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        running.program.line(&format!("Sidekey now serves a new version of {reference}")).await;
    }
    assert_eq!(running.admitted("POST /rotate?secret=absent").await.status, 404);
    assert_eq!(running.admitted("POST /upstream?state=fail").await.status, 200);
    loop {
        let state = running.admitted("GET /state?calls=0&reads=0&changes=0").await.json();
        assert_eq!(state["upstream"], "fail");
        let mut calls = state["calls"]["events"].as_array().into_iter().flatten();
        if calls.any(|call| call["error"] == "InternalServiceError") {
            assert_eq!(state["changes"]["total"], 3, "{state}");
            return;
        }
        pause().await;
    }
}

#[tokio::test]
async fn no_page_is_served_with_the_option() {
    let home = TempFolder::new();
    let vars = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]);
    let program = Program::start(&["dev", "--port", "0", "--no-page"], &vars);
    program.line("Press Ctrl-C to stop").await;
    assert!(!program.output().contains("make AWS fail"), "{}", program.output());
}
