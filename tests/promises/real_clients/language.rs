//! The programming languages of the client programs, and the differences between them:
//! installation, start, error classes and numbers of attempts.

use crate::clients::{Clients, MissingTool, install_into_folder};
use tokio::process::Command;

/// The client program of one language, and what the tests expect from it.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) name: &'static str,
    program: Program,
    pub(crate) errors: Errors,
    pub(crate) parameter_errors: Errors,
    /// The number of attempts that AWS's SDK makes for a throttled call.
    pub(crate) attempts: u32,
    /// The number of reads that the client program makes at the same time.
    pub(crate) reads: u32,
    /// Whether the plain HTTP client reuses its connection.
    pub(crate) reuses_connections: bool,
    pub(crate) libraries: &'static [Library],
}

/// The exception classes of AWS's SDK in one language, for one AWS service.
#[derive(Debug)]
pub(crate) struct Errors {
    pub(crate) not_found: &'static str,
    /// The exception class for a version or label that does not exist.
    pub(crate) no_version: &'static str,
    pub(crate) denied: &'static str,
    pub(crate) throttled: &'static str,
    /// The exception class for a wrong token.
    pub(crate) wrong_token: &'static str,
    /// The exception class for an operation that Sidekey does not support.
    pub(crate) unsupported: &'static str,
}

impl Errors {
    /// Returns the exception classes of an SDK that has one class for all errors, except if a secret
    /// is missing.
    const fn untyped(not_found: &'static str, any_other: &'static str) -> Self {
        Self {
            not_found,
            no_version: not_found,
            denied: any_other,
            throttled: any_other,
            wrong_token: any_other,
            unsupported: any_other,
        }
    }
}

/// A library that is based on AWS's SDK.
#[derive(Debug)]
pub(crate) struct Library {
    pub(crate) name: &'static str,
    /// The exception class that the library raises for a missing secret.
    pub(crate) not_found: &'static str,
    /// The number of requests that the library makes for the first read of a secret.
    pub(crate) calls: u32,
}

#[derive(Debug)]
enum Program {
    /// A Python script that the tests' own Python runs.
    Python(&'static str),
    /// A folder with files, the commands that prepare the folder, and the command that runs the
    /// client program. Commands in the folder begin with `./`.
    Folder {
        name: &'static str,
        files: &'static [(&'static str, &'static str)],
        make: &'static [&'static [&'static str]],
        run: &'static [&'static str],
    },
}

impl Language {
    /// Returns the command that runs the client program. Installs the program if this has not been
    /// done yet.
    pub(crate) fn install(&self) -> Result<Command, MissingTool> {
        match self.program {
            Program::Python(script) => {
                let mut command = Command::new(Clients::install()?.python());
                command.args(["-c", script]);
                Ok(command)
            }
            Program::Folder { name, files, make, run } => {
                let folder = install_into_folder(name, files, make)
                    .map_err(|missing| missing.context(self.name))?;
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

/// The client program in Python: boto3, Powertools, AWS's caching library and urllib.
pub(crate) const PYTHON: Language = Language {
    name: "Python",
    program: Program::Python(include_str!("python/client.py")),
    errors: Errors::untyped("ResourceNotFoundException", "ClientError"),
    parameter_errors: Errors {
        not_found: "ParameterNotFound",
        no_version: "ParameterVersionNotFound",
        denied: "AccessDeniedException",
        throttled: "ThrottlingException",
        wrong_token: "ClientError",
        unsupported: "UnsupportedOperationException",
    },
    attempts: 3,
    reads: 100,
    reuses_connections: false,
    libraries: &[
        Library { name: "powertools", not_found: "GetParameterError", calls: 1 },
        Library { name: "caching", not_found: "ResourceNotFoundException", calls: 2 },
    ],
};

/// The client program in Shell: the AWS CLI and curl.
pub(crate) const SHELL: Language = Language {
    name: "shell",
    program: Program::Python(include_str!("shell/client.py")),
    errors: Errors::untyped("exit code 255", "exit code 255"),
    parameter_errors: Errors::untyped("exit code 255", "exit code 255"),
    attempts: 5,
    // Each read is a process, so there are few.
    reads: 3,
    reuses_connections: true,
    libraries: &[],
};

/// The client program in JavaScript for Node: AWS's SDK, Powertools, middy and fetch.
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
    errors: Errors::untyped("ResourceNotFoundException", "SecretsManagerServiceException"),
    parameter_errors: Errors {
        not_found: "ParameterNotFound",
        no_version: "ParameterVersionNotFound",
        denied: "AccessDeniedException",
        throttled: "ThrottlingException",
        wrong_token: "SSMServiceException",
        unsupported: "UnsupportedOperationException",
    },
    attempts: 3,
    reads: 100,
    reuses_connections: true,
    libraries: &[
        Library { name: "powertools", not_found: "GetParameterError", calls: 1 },
        Library { name: "middy", not_found: "Error", calls: 1 },
    ],
};

/// The client program in Go: AWS's SDK and net/http.
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
    errors: Errors::untyped("types.ResourceNotFoundException", "smithy.GenericAPIError"),
    parameter_errors: Errors {
        not_found: "types.ParameterNotFound",
        no_version: "types.ParameterVersionNotFound",
        denied: "types.AccessDeniedException",
        throttled: "types.ThrottlingException",
        wrong_token: "smithy.GenericAPIError",
        unsupported: "types.UnsupportedOperationException",
    },
    attempts: 3,
    reads: 100,
    reuses_connections: true,
    libraries: &[],
};

/// The client program in Java: AWS's SDK, AWS's caching library and HttpClient.
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
    errors: Errors::untyped("ResourceNotFoundException", "SecretsManagerException"),
    parameter_errors: Errors {
        not_found: "ParameterNotFoundException",
        no_version: "ParameterVersionNotFoundException",
        denied: "AccessDeniedException",
        throttled: "ThrottlingException",
        wrong_token: "SsmException",
        unsupported: "UnsupportedOperationException",
    },
    attempts: 4,
    reads: 100,
    reuses_connections: true,
    libraries: &[Library { name: "caching", not_found: "ResourceNotFoundException", calls: 2 }],
};
