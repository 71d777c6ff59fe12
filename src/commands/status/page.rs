//! The page `/status` of an agent, as `sidekey status` reads and writes it.
//!
//! The names of the members are in `snake_case` on the page, and in `camelCase` in the output of
//! `sidekey status --json`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) version: String,
    pub(super) dialect: String,
    pub(super) ready: bool,
    pub(super) credentials: Option<Credentials>,
    pub(super) entries: Vec<Secret>,
    pub(super) missing: Vec<Missing>,
    /// The number of calls to AWS that run or wait.
    pub(super) flights: u64,
}

/// The agent's own AWS credentials.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Credentials {
    /// When the AWS credentials expire, in the format of RFC 3339. `None` if they never expire.
    pub(super) expires: Option<String>,
    /// Whether AWS has rejected a call with these credentials.
    pub(super) rejected: bool,
}

/// One cached version of a secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub(super) struct Secret {
    pub(super) name: String,
    pub(super) arn: String,
    /// The staging label with which the agent requested this version. `None` if the agent requested
    /// it by version id.
    pub(super) stage: Option<String>,
    pub(super) version_id: String,
    pub(super) version_stages: Vec<String>,
    /// The version that this version replaced in the cache. `None` if the cache contained no other
    /// version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous_version: Option<PreviousVersion>,
    /// When AWS created this version of the secret, in the format of RFC 3339.
    #[serde(rename(serialize = "createdDate"))]
    pub(super) created: Option<String>,
    pub(super) age_seconds: Option<u64>,
    pub(super) freshness: String,
    pub(super) ttl_seconds: f64,
    pub(super) refresh: String,
    /// In how many seconds the agent refreshes the secret by itself. `None` if the agent refreshes
    /// it only after a request has read it.
    pub(super) next_refresh_seconds: Option<u64>,
    pub(super) reads: u64,
    /// The AWS region that returned the value. `None` if the agent does not report regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<String>,
    /// The ARN of the IAM role with which the agent reads the secret. `None` if the agent uses its
    /// own credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    /// Why the last call for the secret failed. `None` if it succeeded.
    #[serde(rename(serialize = "lastError"))]
    pub(super) problem: Option<CallError>,
    pub(super) convention: Option<String>,
    pub(super) problems: Vec<ValueProblem>,
    /// Whether the agent refuses to return the secret's value, because the value breaks the
    /// convention for the secret's name.
    pub(super) withheld: bool,
}

/// A version of a secret that a newer version has replaced in the cache.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub(super) struct PreviousVersion {
    /// The first characters of the version id.
    pub(super) version_id: String,
    /// When the agent replaced the version, in the format of RFC 3339.
    pub(super) replaced: Option<String>,
    /// When the agent last returned the version to a caller, in the format of RFC 3339. `None` if
    /// no caller got the version.
    pub(super) last_read: Option<String>,
}

/// A secret of the setting `SIDEKEY_SECRETS` that the agent has not cached.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Missing {
    pub(super) reference: String,
    pub(super) required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<String>,
    #[serde(rename(serialize = "lastError"))]
    pub(super) problem: Option<CallError>,
}

/// Why a call to AWS for a secret failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CallError {
    pub(super) kind: String,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) hint: String,
    /// How many calls for the secret have failed one after another. `None` if the secret is not
    /// cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failures: Option<u32>,
}

/// One rule of a convention that a secret's value breaks. A convention has the rules for the values
/// of one kind of secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ValueProblem {
    pub(super) code: String,
    /// The field that has the problem. `None` if the whole value has the problem.
    pub(super) field: Option<String>,
    pub(super) message: String,
}
