//! What others judge a policy, a template and JSON by, in pinned versions from PyPI.

use super::finished::Finished;
use crate::clients::{Missing, furnish, tethered};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// parliament asks for setuptools, of a version that still has `pkg_resources`.
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

/// The installed linters.
#[derive(Debug)]
pub(crate) struct Linters(PathBuf);

impl Linters {
    /// Returns them, installing them first if that is still to do.
    pub(crate) fn install() -> Result<Self, Missing> {
        let folder = furnish("linters", &[("requirements.txt", PACKAGES)], INSTALL)?;
        Ok(Self(folder.join("venv/bin")))
    }

    /// Runs one of them with something on its standard input.
    pub(crate) async fn run(&self, name: &str, args: &[&str], stdin: &[u8]) -> Finished {
        let mut command = tethered(self.0.join(name));
        command.args(args);
        Finished::run(command, &BTreeMap::new(), stdin).await
    }

    /// Runs a script of Python that has them at hand.
    pub(crate) async fn python(&self, script: &str, args: &[&str], stdin: &[u8]) -> Finished {
        self.run("python", &[&["-c", script][..], args].concat(), stdin).await
    }
}
