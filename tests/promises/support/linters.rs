//! Linters from PyPI, in pinned versions, that check policies, templates, JSON schemas and HCL.

use super::finished::Finished;
use crate::clients::{MissingTool, install_into_folder, killed_with_test};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The Python packages of the linters. parliament needs a version of setuptools that still includes
/// `pkg_resources`.
const PACKAGES: &str = "parliament==1.6.4\ncfn-lint==1.58.0\njsonschema==4.26.0\n\
                        python-hcl2==8.1.4\nsetuptools==80.9.0\n";

const INSTALL: &[&[&str]] = &[
    &["python3", "-m", "venv", "venv"],
    &[
        "sh",
        "-c",
        "venv/bin/python -m pip --quiet --disable-pip-version-check install -r requirements.txt",
    ],
];

/// The folder of the installed linters' programs.
#[derive(Debug)]
pub(crate) struct Linters(PathBuf);

impl Linters {
    /// Installs the linters on first use, and returns them.
    pub(crate) fn install() -> Result<Self, MissingTool> {
        let folder = install_into_folder("linters", &[("requirements.txt", PACKAGES)], INSTALL)?;
        Ok(Self(folder.join("venv/bin")))
    }

    /// Runs a linter with `stdin` as its standard input.
    pub(crate) async fn run(&self, name: &str, args: &[&str], stdin: &[u8]) -> Finished {
        let mut command = killed_with_test(self.0.join(name));
        command.args(args);
        Finished::run(command, &BTreeMap::new(), stdin).await
    }

    /// Runs a Python script that can import the linters' packages.
    pub(crate) async fn python(&self, script: &str, args: &[&str], stdin: &[u8]) -> Finished {
        self.run("python", &[&["-c", script][..], args].concat(), stdin).await
    }
}
