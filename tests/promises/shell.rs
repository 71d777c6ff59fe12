//! Tests of `sidekey completions` and `sidekey manual`.

use crate::clients::scratch;
use crate::support::finished::Finished;
use crate::support::program::SIDEKEY;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// A script for bash that completes the command line in its arguments, and prints the candidates.
const COMPLETE: &str = r#"
source <("$1" completions bash)
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_sidekey sidekey "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo "${COMPREPLY[*]}"
"#;

#[tokio::test]
async fn bash_completes_commands_and_options() {
    let lines: [(&[&str], &str); 4] = [
        (&["sidekey", "po"], "policy"),
        (&["sidekey", "policy", "--ve"], "--verify"),
        (&["sidekey", "completions", ""], "bash fish zsh"),
        (&["sidekey", "ping", "--p"], "--port"),
    ];
    for (line, expected) in lines {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", COMPLETE, "bash", SIDEKEY]).args(line);
        let done = Finished::run(bash, &BTreeMap::new(), b"").await;
        assert!(done.text().contains(expected), "{line:?}: {}{}", done.text(), done.err);
    }
}

#[tokio::test]
async fn other_shells_have_a_script_with_all_commands() {
    for (shell, mark) in [("zsh", "#compdef sidekey"), ("fish", "complete -c sidekey")] {
        let done = Finished::sidekey(&["completions", shell], &BTreeMap::new(), b"").await;
        assert_eq!(done.code, Some(0), "{}", done.err);
        for part in [mark, "scaffold", "kms-key"] {
            assert!(done.text().contains(part), "{shell}: the script has no `{part}`");
        }
    }
    let done = Finished::sidekey(&["completions", "csh"], &BTreeMap::new(), b"").await;
    assert_eq!(done.code, Some(2), "the command must refuse a shell that it does not know");
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let folder = scratch().join("manual");
    let _ = fs::remove_dir_all(&folder);
    let path = folder.to_str().expect("the path must be UTF-8");
    let done = Finished::sidekey(&["manual", path], &BTreeMap::new(), b"").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let page = |name: &str| {
        fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert!(page("sidekey.1").contains("sidekey\\-exec(1)"), "{}", page("sidekey.1"));
    assert!(page("sidekey-serve.1").contains("SIDEKEY_STALE_IF_ERROR"), "a setting is missing");
    for command in ["dev", "exec", "ping", "check", "get", "policy", "scaffold", "manual"] {
        assert!(page(&format!("sidekey-{command}.1")).contains(".TH"), "{command}: no title");
    }

    fs::write(folder.join("file"), "").expect("the test must be able to write the file");
    let done =
        Finished::sidekey(&["manual", &format!("{path}/file/x")], &BTreeMap::new(), b"").await;
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("cannot create the folder"), "{}", done.err);
}
