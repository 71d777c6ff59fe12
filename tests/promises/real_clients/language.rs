//! The languages, and in what their clients differ: how each is installed and run, what it calls an
//! error, and how often it tries.

use crate::clients::{Clients, Missing, furnish};
use tokio::process::Command;

/// What stands for a language.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) name: &'static str,
    program: Program,
    pub(crate) errors: Errors,
    /// How often the SDK tries a call that is throttled.
    pub(crate) attempts: u32,
    /// How many reads of one secret are tried together.
    pub(crate) reads: u32,
    /// Whether plain HTTP goes over a kept connection.
    pub(crate) keeps_connections: bool,
    pub(crate) on_top: &'static [OnTop],
}

/// What the SDK's error is an instance of.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) not_found: &'static str,
    /// Also any other error that is not in the model of Secrets Manager.
    pub(crate) denied: &'static str,
    pub(crate) throttled: &'static str,
}

/// A library that people put on top of the SDK.
#[derive(Debug)]
pub(crate) struct OnTop {
    pub(crate) name: &'static str,
    /// What its error is an instance of where a secret is not there.
    pub(crate) not_found: &'static str,
    /// How many calls it makes for the first read of a secret.
    pub(crate) calls: u32,
}

#[derive(Debug)]
enum Program {
    /// A script for the tests' own Python.
    Python(&'static str),
    /// Files, the commands that make them ready in a folder of their own, and the one that runs them.
    /// A program of that folder is written with `./`.
    Folder {
        name: &'static str,
        files: &'static [(&'static str, &'static str)],
        make: &'static [&'static [&'static str]],
        run: &'static [&'static str],
    },
}

impl Language {
    /// Installs what the program needs, where that is still to do, and returns how to run it.
    pub(crate) fn install(&self) -> Result<Command, Missing> {
        match self.program {
            Program::Python(script) => {
                let mut command = Command::new(Clients::install()?.python());
                command.args(["-c", script]);
                Ok(command)
            }
            Program::Folder { name, files, make, run } => {
                let folder = furnish(name, files, make).map_err(|missing| missing.of(self.name))?;
                let program = match run[0].strip_prefix("./") {
                    Some(own) => folder.join(own).into_os_string(),
                    None => run[0].into(),
                };
                let mut command = Command::new(program);
                command.args(&run[1..]).current_dir(folder);
                Ok(command)
            }
        }
    }
}

/// boto3, Powertools, AWS's caching library and urllib.
pub(crate) const PYTHON: Language = Language {
    name: "Python",
    program: Program::Python(include_str!("python/client.py")),
    errors: Errors {
        not_found: "ResourceNotFoundException",
        denied: "ClientError",
        throttled: "ClientError",
    },
    attempts: 3,
    reads: 100,
    keeps_connections: false,
    on_top: &[
        OnTop { name: "powertools", not_found: "GetParameterError", calls: 1 },
        OnTop { name: "caching", not_found: "ResourceNotFoundException", calls: 2 },
    ],
};

/// The AWS CLI and curl.
pub(crate) const SHELL: Language = Language {
    name: "shell",
    program: Program::Python(include_str!("shell/client.py")),
    errors: Errors {
        not_found: "exit code 255",
        denied: "exit code 255",
        throttled: "exit code 255",
    },
    attempts: 5,
    // Each is a process of its own.
    reads: 3,
    keeps_connections: true,
    on_top: &[],
};

/// AWS's SDK for JavaScript, Powertools, middy and fetch.
pub(crate) const NODE: Language = Language {
    name: "Node",
    program: Program::Folder {
        name: "node",
        files: &[
            ("client.mjs", include_str!("node/client.mjs")),
            ("package.json", include_str!("node/package.json")),
            ("package-lock.json", include_str!("node/package-lock.json")),
        ],
        make: &[&["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]],
        run: &["node", "client.mjs"],
    },
    errors: Errors {
        not_found: "ResourceNotFoundException",
        denied: "SecretsManagerServiceException",
        throttled: "SecretsManagerServiceException",
    },
    attempts: 3,
    reads: 100,
    keeps_connections: true,
    on_top: &[
        OnTop { name: "powertools", not_found: "GetParameterError", calls: 1 },
        OnTop { name: "middy", not_found: "Error", calls: 1 },
    ],
};

/// AWS's SDK for Go and net/http.
pub(crate) const GO: Language = Language {
    name: "Go",
    program: Program::Folder {
        name: "go",
        files: &[
            ("main.go", include_str!("go/main.go")),
            ("go.mod", include_str!("go/go.mod")),
            ("go.sum", include_str!("go/go.sum")),
        ],
        make: &[&["go", "build", "-mod=readonly", "-o", "client", "."]],
        run: &["./client"],
    },
    errors: Errors {
        not_found: "types.ResourceNotFoundException",
        denied: "smithy.GenericAPIError",
        throttled: "smithy.GenericAPIError",
    },
    attempts: 3,
    reads: 100,
    keeps_connections: true,
    on_top: &[],
};

/// AWS's SDK for Java, AWS's caching library and HttpClient.
pub(crate) const JAVA: Language = Language {
    name: "Java",
    program: Program::Folder {
        name: "java",
        files: &[
            ("Client.java", include_str!("java/Client.java")),
            ("pom.xml", include_str!("java/pom.xml")),
        ],
        make: &[
            &[
                "mvn",
                "--batch-mode",
                "--quiet",
                "org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies",
                "-DoutputDirectory=lib",
            ],
            &["javac", "-cp", "lib/*", "-d", "classes", "Client.java"],
        ],
        run: &["java", "-XX:TieredStopAtLevel=1", "-cp", "classes:lib/*", "Client"],
    },
    errors: Errors {
        not_found: "ResourceNotFoundException",
        denied: "SecretsManagerException",
        throttled: "SecretsManagerException",
    },
    attempts: 4,
    reads: 100,
    keeps_connections: true,
    on_top: &[OnTop { name: "caching", not_found: "ResourceNotFoundException", calls: 2 }],
};
