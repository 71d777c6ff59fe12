//! Builds the example functions in `examples`, which are written in several programming languages.

use crate::clients::{MissingTool, run, scratch};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    Go,
    Java,
    Rust,
}

/// The Maven plugin that copies the dependencies of the Java example. The test gives the version of
/// the plugin, so that `pom.xml` need not name the plugin.
const COPY_DEPENDENCIES: &str =
    "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

const PYTHON_RUNTIME: &str = include_str!("runtimes/bootstrap.py");
const NODE_RUNTIME: &str = include_str!("runtimes/bootstrap.mjs");

/// A script that starts the Node example. The script sets the agent's address for the AWS SDK,
/// because the agent's port is only known when the test runs.
const NODE_BOOTSTRAP: &str = "#!/bin/sh
export AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:$SIDEKEY_PORT
exec node /var/task/bootstrap.mjs
";

/// A script that starts the Java example with AWS's client for Lambda's runtime API, and with the
/// same Java option as on Lambda.
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

    /// Builds the example function, unless its files are unchanged since the last build. Returns
    /// the folder of the built function.
    pub(crate) fn build(self) -> Result<PathBuf, MissingTool> {
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
        let source = source.join(self.folder());
        let place = scratch().join("examples").join(self.folder());
        fs::create_dir_all(&place).expect("the folder for built examples must be writable");
        let lock = File::create(place.join("lock")).expect("the lock file must be writable");
        lock.lock().expect("the file system of the build folder must support file locks");

        let (task, stamp) = (place.join("task"), place.join("stamp"));
        let own = [PYTHON_RUNTIME, NODE_RUNTIME, NODE_BOOTSTRAP, JAVA_BOOTSTRAP].concat();
        let made_from = contents(&source) + &own;
        if fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == made_from) {
            return Ok(task);
        }
        let _ = fs::remove_file(&stamp);
        let _ = fs::remove_dir_all(&task);
        fs::create_dir(&task).expect("the folder for built examples must be writable");
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

/// Runs a compiler. All dependencies must be installed before, so that only a mistake in the
/// example can make the compilation fail.
///
/// # Panics
///
/// If the compilation fails.
fn compile(compiler: &mut Command) {
    if let Err(failure) = run(compiler) {
        panic!("the example function must compile: {failure:?}");
    }
}

/// Returns the contents of all files in a folder and in its subfolders, as one text.
fn contents(folder: &Path) -> String {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of the example must exist")
        .map(|entry| entry.expect("the folder of the example must be readable").path())
        .filter(|path| !["target", "node_modules"].iter().any(|built| path.ends_with(built)))
        .collect();
    paths.sort();
    let text = |path: PathBuf| match path.is_dir() {
        true => contents(&path),
        false => fs::read_to_string(path).expect("the files of the example must be UTF-8"),
    };
    paths.into_iter().map(text).collect()
}
