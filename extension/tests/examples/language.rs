//! The languages of the examples, and how a function in each is built from its folder.

use crate::clients::{MissingTool, run, scratch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The language of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Go,
    Java,
    Rust,
}

/// The Maven plugin that copies dependencies, in a pinned version. So a `pom.xml` need not declare
/// the plugin.
const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

const PYTHON_RUNTIME: &str = include_str!("runtimes/bootstrap.py");
const NODE_RUNTIME: &str = include_str!("runtimes/bootstrap.mjs");

/// A bootstrap script that starts Node. The agent's port is known only now, so the script sets the
/// SDK's endpoint.
const NODE_BOOTSTRAP: &str = "#!/bin/sh
export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:$SIDEKEY_PORT
exec node /var/task/bootstrap.mjs
";

/// A bootstrap script that starts AWS's own client of the runtime API, with the flag that Lambda's
/// Java runtime uses.
const JAVA_BOOTSTRAP: &str = "#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -cp '/var/task:/var/task/lib/*' \\
    com.amazonaws.services.lambda.runtime.api.client.AWSLambda Handler::handle
";

impl Language {
    fn folder(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Go => "go",
            Self::Java => "java",
            Self::Rust => "rust",
        }
    }

    /// Builds the example, unless it was built before from the same files. Returns the folder for
    /// `/var/task`.
    pub(crate) fn build(self) -> Result<PathBuf, MissingTool> {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
        let source = source.join(self.folder());
        let place = scratch().join("examples").join(self.folder());
        fs::create_dir_all(&place).expect("the folder for tests can be written");
        let lock = File::create(place.join("lock")).expect("the lock can be created");
        lock.lock().expect("the file system of the target folder has locks");

        let (task, stamp) = (place.join("task"), place.join("stamp"));
        let own = [PYTHON_RUNTIME, NODE_RUNTIME, NODE_BOOTSTRAP, JAVA_BOOTSTRAP].concat();
        let made_from = contents(&source) + &own;
        if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
            return Ok(task);
        }
        let _ = fs::remove_file(&stamp);
        let _ = fs::remove_dir_all(&task);
        fs::create_dir(&task).expect("the folder for tests can be written");
        self.make(&source, &place, &task)
            .map_err(|missing| missing.context(&format!("the example in {self:?}")))?;
        fs::write(stamp, made_from).map_err(MissingTool::new)?;
        Ok(task)
    }

    fn make(self, source: &Path, place: &Path, task: &Path) -> Result<(), MissingTool> {
        let write =
            |name: &str, text: &str| fs::write(task.join(name), text).map_err(MissingTool::new);
        let copy = |name: &str| {
            fs::copy(source.join(name), task.join(name)).map(drop).map_err(MissingTool::new)
        };
        match self {
            Self::Python => {
                copy("handler.py")?;
                write("bootstrap", PYTHON_RUNTIME)
            }
            Self::Node => {
                ["handler.mjs", "package.json", "package-lock.json"]
                    .into_iter()
                    .try_for_each(copy)?;
                write("bootstrap.mjs", NODE_RUNTIME)?;
                write("bootstrap", NODE_BOOTSTRAP)?;
                run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(task))
            }
            Self::Go => {
                let go = || {
                    let mut go = Command::new("go");
                    go.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=readonly").current_dir(source);
                    go
                };
                run(go().args(["mod", "download"]))?;
                let output = task.join("bootstrap");
                compile(go().args(["build", "-tags", "lambda.norpc", "-o"]).arg(output));
                Ok(())
            }
            Self::Java => {
                write("bootstrap", JAVA_BOOTSTRAP)?;
                let lib = task.join("lib");
                run(Command::new("mvn")
                    .args(["--batch-mode", "--quiet", COPY_DEPENDENCIES])
                    .arg(format!("-DoutputDirectory={}", lib.display()))
                    .current_dir(source))?;
                run(Command::new("javac").arg("-version"))?;
                let mut javac = Command::new("javac");
                javac.arg("-cp").arg(lib.join("*")).arg("-d").arg(task).arg("Handler.java");
                compile(javac.current_dir(source));
                Ok(())
            }
            Self::Rust => {
                let cargo = |command: &str| {
                    let mut cargo = Command::new(env!("CARGO"));
                    cargo.args([command, "--locked"]).current_dir(source);
                    cargo
                };
                run(&mut cargo("fetch"))?;
                let target = place.join("target");
                compile(cargo("build").arg("--offline").arg("--target-dir").arg(&target));
                let binary = target.join("debug/bootstrap");
                fs::copy(binary, task.join("bootstrap")).map(drop).map_err(MissingTool::new)
            }
        }
    }
}

/// Runs a compiler after all dependencies are installed.
///
/// # Panics
///
/// If the compilation fails, because then the example is wrong and no tool is missing.
fn compile(compiler: &mut Command) {
    if let Err(failure) = run(compiler) {
        panic!("the example does not compile: {failure:?}");
    }
}

/// Returns the contents of all files in a folder and in its subfolders, as one text.
fn contents(folder: &Path) -> String {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the example's folder exists")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| !["target", "node_modules"].iter().any(|built| path.ends_with(built)))
        .collect();
    paths.sort();
    let text = |path: PathBuf| match path.is_dir() {
        true => contents(&path),
        false => fs::read_to_string(path).expect("the example's files are UTF-8"),
    };
    paths.into_iter().map(text).collect()
}
