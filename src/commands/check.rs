//! `sidekey check`: checks that secrets are readable and complete.

mod candidates;
mod dynamo;
mod gateway_key;
mod input;
mod lenient;
mod output;
mod patterns;
mod reads;
mod report;
mod search;

use super::streams::{err, out, print_messages};
use super::{agent_file, beside_dev, policy};
use crate::clock::{Clock, SystemClock};
use crate::config::vars::{Environment, Overridden};
use crate::config::{self, Config, Host, Loaded, variables};
use crate::convention::Conventions;
use crate::hardening;
use crate::secret::key::Key;
use crate::secret::reference::{BadReferenceOrPath, Reference, SecretId};
use crate::secret::role::RoleArn;
use crate::secret::role_rules::RoleRules;
use crate::secret::scope::Home;
use crate::secret::secret_pattern::SecretPattern;
use crate::secret::service::Service;
use crate::source::aws::Aws;
use crate::tokens::Tokens;
use candidates::{Candidate, Candidates, TooMany};
use indicatif::{ProgressBar, ProgressDrawTarget};
use output::{Checked, as_json, as_text};
use reads::{Read, read_all};
use report::{Criteria, Report, account, report};
use search::{SearchError, Wanted};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The exit code of `sidekey check` if at least one secret has a problem.
const FINDINGS: u8 = 1;

/// The exit code of `sidekey check` if an argument or a setting is wrong.
const USAGE: u8 = 2;

/// The exit code of `sidekey check` after Ctrl-C: 128 plus 2, the number of the signal SIGINT.
/// Shells use the same number.
const INTERRUPTED: u8 = 130;

const MANY: usize = 20;

const ASSUME_ROLE: &str = "sts:AssumeRole";

const EXAMPLES: &str = "\
Examples:
  sidekey check whatsapp-credentials/acme/support/twilio openai-api-key/whatsapp
  sidekey check ssm:/app/url 'ssm:/app/db/*'
  sidekey check 'whatsapp-credentials/*/*/twilio' tag:channel=whatsapp
  sidekey check --config sidekey.toml
  aws dynamodb scan --table-name company-data-dev | sidekey check --from-json -
  sidekey check --from-json export/AWSDynamoDB --json | jq '.results[] | select(.ok | not)'

Each secret is read as the agent would read it, with SIDEKEY_ENDPOINT, SIDEKEY_REGION and AWS's own \
variables. The value of each secret is checked against its convention, which has the rules for this kind \
of secret. Values are never shown. The ROTATION column needs the permission \
secretsmanager:DescribeSecret, and shows 'unknown' without this permission. For parameters, the KIND \
column shows the type and the version.

A JSON file may be a message of your program, an event of SQS, the output of `aws dynamodb scan`, an \
export of a table to S3, or any other JSON: also several values one after another, and compressed with \
gzip. The command checks these strings in the file: strings at a path of SIDEKEY_RESOLVE_PATHS; strings \
that match the name pattern of a convention; ARNs of parameters, and strings that begin with ssm:/; and \
valueFrom in task definitions of ECS. JSON inside a string, such as the body of an SQS message, is searched too.

docs/check.schema.json describes the output of --json.

Exit codes: 0 no problems were found; 1 problems were found; 2 an argument or setting is wrong, a file \
cannot be searched, or the search for a pattern failed or found no secret.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Check these secrets, parameters, patterns and tags, optionally with #FIELD [default:
    /// SIDEKEY_SECRETS, and the secrets of the routes in SIDEKEY_CONFIG]
    #[arg(value_name = "REFERENCE")]
    references: Vec<String>,
    /// Check the secrets that this configuration file lists
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Read conventions (rules for names and values of secrets) from FILE [default:
    /// SIDEKEY_CONVENTIONS, else the built-in conventions]
    #[arg(long, value_name = "FILE")]
    conventions: Option<String>,
    /// Check all secrets named in a JSON file or folder; - reads stdin
    #[arg(long, value_name = "FILE")]
    from_json: Vec<PathBuf>,
    /// Report secrets whose names match no naming convention
    #[arg(long)]
    strict: bool,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
}

enum CannotCheck {
    /// Error messages for the user about wrong arguments, settings or files.
    Problems(Vec<String>),
    Interrupted,
}

impl CannotCheck {
    fn because(error: &impl ToString) -> Self {
        Self::Problems(vec![error.to_string()])
    }
}

impl From<TooMany> for CannotCheck {
    fn from(error: TooMany) -> Self {
        Self::because(&error)
    }
}

pub(super) async fn run(args: Args) -> ExitCode {
    // A failure is ignored: if the system cannot protect the memory of this process, the command
    // still works.
    let _ = hardening::harden();
    match check(&args).await {
        Ok(checked) => {
            out(&if args.json { as_json(&checked) } else { as_text(&checked) });
            print_messages(&checked.unsearched);
            match (checked.unsearched.is_empty(), checked.is_ok()) {
                (true, true) => ExitCode::SUCCESS,
                (true, false) => ExitCode::from(FINDINGS),
                (false, _) => ExitCode::from(USAGE),
            }
        }
        Err(CannotCheck::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(CannotCheck::Problems(problems)) => {
            print_messages(&problems);
            ExitCode::from(USAGE)
        }
    }
}

async fn check(args: &Args) -> Result<Checked, CannotCheck> {
    let (config, fake) = configuration(args)?;
    let conventions = config.cache.conventions.clone();
    let (mut candidates, mut unsearched) = candidates(args, &config, &conventions)?;
    let patterns = secret_patterns(args, &config)?;
    if candidates.is_empty() && patterns.is_empty() {
        if !unsearched.is_empty() {
            return Err(CannotCheck::Problems(unsearched));
        }
        let problem = match args.from_json.is_empty() {
            true => "there is nothing to check: name secrets as arguments, or set SIDEKEY_SECRETS",
            false => {
                "the JSON file names no secret and no parameter: set SIDEKEY_RESOLVE_PATHS to the paths of secret \
                 names in the file, or use --conventions to define patterns for secret names"
            }
        };
        return Err(CannotCheck::because(&problem));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let configured_account = config.account.map(String::from);
    let role_rules = config.role_rules;
    let own_ports = vec![config.listen.port];
    let tokens = Arc::new(Tokens::new(Vec::new()));
    let source = Aws::prepare(config.source, own_ports, tokens, clock.clone())
        .await
        .map_err(|no_region| CannotCheck::because(&no_region))?;
    let source = Arc::new(source);
    let home = Home {
        region: source.region().into(),
        account: configured_account.as_deref().map(Into::into),
    };
    let found = tokio::select! {
        found = patterns::find(&*source, &patterns, &config.cache.scope, &home) => found,
        Ok(()) = tokio::signal::ctrl_c() => return Err(CannotCheck::Interrupted),
    };
    unsearched.extend(found.problems);
    for name in found.names {
        candidates.add(&name)?;
    }
    if candidates.is_empty() {
        return Err(CannotCheck::Problems(unsearched));
    }
    let candidates = candidates.into_all();
    let references: Vec<Result<Reference, BadReferenceOrPath>> =
        candidates.iter().map(Candidate::reference).collect();
    let key = |reference: &Reference| key(reference, &role_rules);
    let keys = references.iter().flatten().map(key);
    let reads = tokio::select! {
        reads = read(&source, keys) => reads,
        // The command ends normally, so that it also ends a running `credential_process`.
        Ok(()) = tokio::signal::ctrl_c() => return Err(CannotCheck::Interrupted),
    };
    let own = reads.iter().filter(|(key, _)| key.role.is_none());
    let account = configured_account.or_else(|| account(own.map(|(key, read)| (&key.id, read))));
    let criteria = Criteria {
        conventions: &conventions,
        is_strict: args.strict,
        now: clock.now().wall,
        region: source.region(),
        account: account.as_deref(),
        role_rules: &role_rules,
    };
    let mut reports = Vec::new();
    for (candidate, reference) in candidates.into_iter().zip(&references) {
        let read = reference.as_ref().ok().and_then(|reference| reads.get(&key(reference)));
        reports.push(report(candidate, reference, read, &criteria));
    }
    let missing_policy = missing_policy(&reports, &criteria);
    Ok(Checked { reports, missing_policy, fake, unsearched })
}

/// Returns an IAM policy, as JSON, for the command's own role. The policy allows reading every
/// secret to which AWS denied access, and assuming every role that AWS did not let the command
/// assume. Returns `None` if AWS denied nothing.
fn missing_policy(reports: &[Report], criteria: &Criteria<'_>) -> Option<String> {
    let permissions = |report: &Report| {
        let granted = report.findings.iter().filter(|finding| finding.grant.is_some());
        granted.filter_map(|finding| finding.permission).collect::<Vec<_>>()
    };
    let own = reports.iter().filter(|report| report.role.is_none());
    let denied = own.filter(|report| !permissions(report).is_empty());
    let denied: Vec<&str> = denied.map(|report| &*report.reference).collect();
    let refused = reports.iter().filter(|report| permissions(report).contains(&ASSUME_ROLE));
    let refused = refused.filter_map(|report| RoleArn::parse(report.role.as_deref()?).ok());
    let roles: Vec<RoleArn> = refused.collect();
    if denied.is_empty() && roles.is_empty() {
        return None;
    }
    let policy = policy::least(denied, criteria.region, criteria.account, &roles).ok()?;
    Some(policy.json())
}

/// Loads Sidekey's configuration from the environment variables and from the arguments of
/// `sidekey check`. Also returns the URL of the fake Secrets Manager, if the command reads from the
/// fake and not from AWS.
fn configuration(args: &Args) -> Result<(Config, Option<String>), CannotCheck> {
    let mut vars = Overridden::new(&Environment);
    if let Some(path) = &args.config {
        vars.set(variables::CONFIG_FILE, path);
        // With `--config`, the command checks the secrets that the file lists. The variable
        // SIDEKEY_SECRETS would override that list, so the variable is ignored.
        vars.unset("SIDEKEY_SECRETS");
    }
    if let Some(path) = &args.conventions {
        vars.set(variables::CONVENTIONS_FILE, path);
    }
    let mut loaded = config::load(&vars, Host::Standalone);
    let fake = match beside_dev::is_fake_allowed(&vars) {
        true => agent_file::fake_endpoint(loaded.config.listen.port),
        false => None,
    };
    if let Some(endpoint) = &fake {
        err(&format!(
            "sidekey: `sidekey check` reads from the fake Secrets Manager of `sidekey dev` at {endpoint}; to read \
             from AWS, set AWS_PROFILE or stop `sidekey dev`\n"
        ));
        beside_dev::use_fake(&mut vars, endpoint);
        loaded = config::load(&vars, Host::Standalone);
    }
    let Loaded { config, mistakes, warnings } = loaded;
    print_messages(&warnings);
    match mistakes.is_empty() {
        true => Ok((config, fake)),
        false => Err(CannotCheck::Problems(mistakes.0.iter().map(ToString::to_string).collect())),
    }
}

/// Collects the names and ARNs of the secrets to check from the arguments, the JSON files and the
/// configuration. Also returns an error message for each file that cannot be searched.
fn candidates(
    args: &Args,
    config: &Config,
    conventions: &Conventions,
) -> Result<(Candidates, Vec<String>), CannotCheck> {
    let mut candidates = Candidates::default();
    for text in args.references.iter().filter(|text| !SecretPattern::is_pattern(text)) {
        candidates.add(text)?;
    }
    let wanted = Wanted { paths: &config.resolving.paths, conventions };
    let mut unsearched = Vec::new();
    for path in &args.from_json {
        let in_file = |path: &Path, error: &dyn Display| format!("{}: {error}", path.display());
        let files =
            input::files(path).map_err(|error| CannotCheck::because(&in_file(path, &error)))?;
        for file in &files {
            let searched = search_file(file, wanted, &mut candidates);
            match searched {
                Ok(()) => {}
                // DynamoDB exports a partition without items as an empty file.
                Err(SearchError::Empty) if path.is_dir() => {}
                Err(error) if path.is_dir() && !matches!(error, SearchError::TooMany(_)) => {
                    unsearched.push(in_file(file, &error));
                }
                Err(error) => return Err(CannotCheck::because(&in_file(file, &error))),
            }
        }
    }
    if checks_listed(args) {
        for key in &config.cache.listed {
            candidates.add(&reference_text(key))?;
        }
        for (route, secret) in config.calls.routes.own_secrets() {
            let mut fields = route.fields().peekable();
            if fields.peek().is_none() {
                candidates.add(secret)?;
            }
            for field in fields {
                candidates.add(&format!("{secret}#{field}"))?;
            }
        }
    }
    Ok((candidates, unsearched))
}

/// Returns whether the command checks the secrets in the configuration: the secrets in
/// `SIDEKEY_SECRETS`, and the secrets of routes (rules for calls to external APIs).
fn checks_listed(args: &Args) -> bool {
    args.config.is_some() || (args.references.is_empty() && args.from_json.is_empty())
}

/// Returns the patterns and tags in the arguments, which select secrets. If the command also checks
/// the secrets in the configuration, adds the patterns and tags in `SIDEKEY_SECRETS`.
fn secret_patterns(args: &Args, config: &Config) -> Result<Vec<SecretPattern>, CannotCheck> {
    let given = args.references.iter().filter(|text| SecretPattern::is_pattern(text));
    let mut patterns = Vec::new();
    for text in given {
        let pattern = SecretPattern::parse(text)
            .map_err(|bad| CannotCheck::because(&format!("{text}: {bad}")))?;
        patterns.push(pattern);
    }
    if checks_listed(args) {
        patterns.extend(config.cache.discovery.patterns.iter().cloned());
    }
    Ok(patterns)
}

fn search_file(
    path: &Path,
    wanted: Wanted<'_>,
    candidates: &mut Candidates,
) -> Result<(), SearchError> {
    let file = input::open(path).map_err(|error| SearchError::Unreadable(error.to_string()))?;
    search::search(file, &path.display().to_string(), wanted, candidates)
}

/// Returns the text with which a user refers to `key`: the name or ARN of a secret or parameter, or
/// a pattern such as `ssm:/app/*`. If `key` selects a certain version, the text ends in the
/// version, as in `ARN::AWSPREVIOUS:` or `ssm:/app/url:3`.
fn reference_text(key: &Key) -> String {
    let id = key.id.as_str();
    if let SecretId::Path(path) = &key.id {
        return path.pattern().to_owned();
    }
    if key.selector.is_current() {
        return id.to_owned();
    }
    let (stage, version) = (key.selector.stage(), key.selector.version());
    match key.id.service() {
        Service::SecretsManager => {
            format!("{id}::{}:{}", stage.unwrap_or_default(), version.unwrap_or_default())
        }
        Service::ParameterStore => format!("{id}:{}", stage.or(version).unwrap_or_default()),
    }
}

fn key(reference: &Reference, role_rules: &RoleRules) -> Key {
    let Reference { id, selector, .. } = reference.clone();
    Key { role: role_rules.role_of_id(&id).cloned(), id, selector }
}

/// Reads every secret once, even if `keys` contains a secret twice. Shows a progress bar on a
/// terminal if there are many secrets.
async fn read(source: &Arc<Aws>, keys: impl Iterator<Item = Key>) -> HashMap<Key, Read> {
    let mut seen = HashSet::new();
    let keys: Vec<Key> = keys.filter(|key| seen.insert(key.clone())).collect();
    // indicatif draws no progress bar if standard error is not a terminal.
    let target = match keys.len() < MANY {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr(),
    };
    let bar = ProgressBar::with_draw_target(Some(keys.len() as u64), target);
    let reads = read_all(source.clone(), keys, || bar.inc(1)).await;
    bar.finish_and_clear();
    reads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::parameter_path::ParameterPath;
    use crate::secret::selector::Selector;

    #[test]
    fn listed_secret_becomes_its_reference_again() {
        let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-AbC123";
        for text in [
            "app/db",
            arn,
            &format!("{arn}::AWSPREVIOUS:"),
            &format!("{arn}:::v1"),
            "ssm:/app/url",
            "ssm:/app/url:3",
            "ssm:/app/url:live",
        ] {
            let reference =
                Reference::parse(text).expect("the text must be a valid name or ARN of a secret");
            assert_eq!(reference_text(&key(&reference, &RoleRules::default())), text);
        }
        let path = SecretId::Path(ParameterPath::new("/app", false, None));
        let selector = Selector::parameter(None, None, false);
        assert_eq!(reference_text(&Key::own(path, selector)), "ssm:/app/*");
    }
}
