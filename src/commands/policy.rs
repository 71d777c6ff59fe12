//! `sidekey policy`: writes the least-privilege policy, an IAM policy that allows only reading the
//! given secrets. Also compares an existing policy with the least-privilege policy.

mod arguments;
mod arn_pattern;
mod document;
mod iam_glob;
mod key_arn;
mod parse;
mod roles;
mod verdict_text;
mod verify;

use super::streams::{err, out, print_messages};
use crate::config::vars::Environment;
use crate::config::{self, Config, Host, Loaded, Mistakes};
use crate::secret::arn::partition_of;
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
pub(super) use arguments::region;
use arguments::{account, role, sid};
use arn_pattern::{BadTarget, Location, Needed, suffix_warning};
pub(super) use document::Document;
use document::{SAM_LOCATION, Statement, statements};
use key_arn::KeyArn;
use roles::Which;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use verdict_text::verdict_text;

/// The exit code of `sidekey policy --verify` if a needed permission is missing, or if the policy
/// grants an unneeded permission.
const FINDINGS: u8 = 1;

/// The exit code of `sidekey policy` if an argument is wrong.
const USAGE: u8 = 2;

/// The maximum size, in bytes, of the policy file that `sidekey policy --verify` reads. Policies
/// that IAM accepts are far smaller.
const POLICY_BYTES_MAX: u64 = 1024 * 1024;

const EXAMPLES: &str = "\
Examples:
  sidekey policy 'whatsapp-credentials/*/*/twilio' openai-api-key/whatsapp \\
      --account 123456789012 --region eu-north-1
  aws iam put-role-policy --role-name R --policy-name sidekey \\
      --policy-document \"$(sidekey policy app/db --account 123456789012 --region eu-north-1)\"
  sidekey policy 'shared/*' --role arn:aws:iam::210987654321:role/reader --write role \
      --region eu-north-1
  sidekey policy --terraform app/db ssm:/app/url 'ssm:/app/db/*'
  aws iam get-role-policy --role-name R --policy-name P |
      sidekey policy --verify - app/db --account 123456789012 --region eu-north-1

For a secret's name, the ARN in the policy ends in -??????, which matches exactly the suffix that \
Secrets Manager appends. In Sidekey, * matches within one path segment; in IAM, * also matches /. So a \
policy made from patterns may grant more than SIDEKEY_ALLOW permits. For a path of parameters such as \
ssm:/app/*, the policy also allows GetParametersByPath. For a tag, and for the patterns in \
SIDEKEY_SECRETS, it also allows ListSecrets and BatchGetSecretValue.

If secrets are read with a role, the policy allows sts:AssumeRole on the role instead of reading the \
secrets. --write role writes the policy of the assumed role, and --write trust its trust policy, with \
the external id as a condition.

--verify lists missing and unneeded permissions, and considers only the given policy. A permission also \
counts as missing if the policy grants it only under a condition, by NotAction or by NotResource, or if \
a Deny statement may deny it. Actions of services other than Secrets Manager and KMS are not checked, \
except, if parameters are given, the actions of Parameter Store.

Exit codes: 0 the policy was written, or grants exactly the needed permissions; 1 a permission is \
missing or unneeded; 2 an argument is wrong.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Allow reading these secrets and parameters: names, ARNs, patterns or tags [default:
    /// SIDEKEY_SECRETS, and the secrets of the routes in SIDEKEY_CONFIG]
    #[arg(value_name = "REFERENCE|PATTERN|TAG")]
    targets: Vec<String>,
    /// Set the account of secrets that you give by name [default: AWS_ACCOUNT_ID]
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// Set the region of secrets that you give by name [default: SIDEKEY_REGION, else AWS_REGION]
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// Allow decryption with this KMS key; repeatable
    #[arg(long = "kms-key", value_name = "ARN")]
    keys: Vec<KeyArn>,
    /// Allow BatchGetSecretValue, for SIDEKEY_PREFETCH=batch or SIDEKEY_PREFETCH=auto
    #[arg(long)]
    batch: bool,
    /// Allow the searches for patterns and tags of SIDEKEY_SECRETS
    #[arg(long)]
    search: bool,
    /// Write the policy as a Terraform data source
    #[arg(long, conflicts_with = "sam")]
    terraform: bool,
    /// Write the policy as the property `Policies` of a SAM function
    #[arg(long)]
    sam: bool,
    /// The role with which the secrets are read [default: the role in the configuration file]
    #[arg(long, value_name = "ARN", value_parser = role)]
    role: Option<RoleArn>,
    /// Write one of the policies that an assumed role needs
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    write: Which,
    /// Set Sidekey's own role, for the trust policy
    #[arg(long, value_name = "ARN", value_parser = role, required_if_eq("write", "trust"))]
    principal: Option<RoleArn>,
    /// Require this external id in the trust policy [default: external_id in the configuration file]
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Prefix of the statement ids, and label of the Terraform block
    #[arg(long, value_name = "SID", default_value = "Sidekey", value_parser = sid)]
    name: String,
    /// Verify the IAM policy in this file; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["terraform", "sam"])]
    verify: Option<PathBuf>,
    /// Write the result of --verify as JSON
    #[arg(long, requires = "verify")]
    json: bool,
}

pub(super) fn run(args: Args) -> ExitCode {
    let Loaded { config, mistakes, .. } = config::load(&Environment, Host::Standalone);
    if args.write == Which::Trust {
        return write_trust(&args, &config);
    }
    match compute(&args, &config, &mistakes) {
        Ok(least) => match &args.verify {
            Some(path) => verify_file(path, &least, args.json),
            None => {
                write(&args, &least);
                ExitCode::SUCCESS
            }
        },
        Err(problems) => {
            print_messages(&problems);
            ExitCode::from(USAGE)
        }
    }
}

/// Returns the statements of an IAM policy that allows only reading the secrets that the user
/// named. If arguments are wrong, returns all error messages instead.
fn compute(
    args: &Args,
    config: &Config,
    mistakes: &Mistakes,
) -> Result<Vec<Statement>, Vec<String>> {
    let patterns = match args.targets.is_empty() {
        true => &config.cache.discovery.patterns[..],
        false => &[],
    };
    let targets: Vec<String> = match args.targets.is_empty() {
        true => {
            let listed = config.cache.listed.iter().map(|key| target_of(&key.id));
            let patterns = patterns.iter().map(|pattern| pattern.as_str().to_owned());
            let of_routes = config.calls.routes.own_secrets().map(|(_, own)| own.to_owned());
            listed.chain(patterns).chain(of_routes).collect()
        }
        false => args.targets.clone(),
    };
    if targets.is_empty() {
        // SIDEKEY_SECRETS may be empty because of a mistake in the configuration, so the error
        // lists these mistakes too.
        let mut problems: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        problems.push(
            "no secrets are given; name secrets, parameters or patterns as arguments, or set SIDEKEY_SECRETS"
                .to_owned(),
        );
        return Err(problems);
    }
    let location = location(args, config);
    let divided = roles::divided(&targets, args.role.as_ref(), &config.role_rules);
    let least = match args.write {
        Which::Role => {
            let (role, targets) =
                divided.only_role().map_err(|problem| vec![problem.to_owned()])?;
            let account = Some(role.account().to_owned());
            let needed = needed_with_replicas(targets, &Location { account, ..location }, config)?;
            statements(&args.name, needed, &args.keys, args.batch)
        }
        Which::Own | Which::Trust => {
            let mut needed = needed_with_replicas(&divided.own, &location, config)?;
            needed.is_search |= args.search || !patterns.is_empty();
            let mut least = statements(&args.name, needed, &args.keys, args.batch);
            let roles = divided.by_role.iter().map(|(role, _)| role.as_str().to_owned());
            least.extend(document::assume_role(&args.name, roles));
            least
        }
    };
    for warning in targets.iter().filter_map(|target| suffix_warning(target)) {
        err(&format!("sidekey: {warning}\n"));
    }
    Ok(least)
}

/// Writes the trust policy of the role that the user gave, or of the only role in the configuration.
fn write_trust(args: &Args, config: &Config) -> ExitCode {
    if args.terraform || args.sam || args.verify.is_some() {
        let problem = "--write trust writes only JSON; omit --terraform, --sam and --verify";
        print_messages(&[problem.to_owned()]);
        return ExitCode::from(USAGE);
    }
    let configured = config.source.roles.iter();
    let configured: Vec<_> = configured.map(|own| (&own.arn, own.external_id.as_deref())).collect();
    let external_id = match roles::external_id(args.role.as_ref(), &configured) {
        Ok(external_id) => external_id,
        Err(problem) => {
            print_messages(&[problem.to_owned()]);
            return ExitCode::from(USAGE);
        }
    };
    let external_id = args.external_id.as_deref().or(external_id);
    if let Some(principal) = &args.principal {
        out(&roles::trust(&args.name, principal, external_id));
    }
    ExitCode::SUCCESS
}

/// Returns the name, ARN or pattern that an entry of `SIDEKEY_SECRETS` contains, as a user would
/// write it as an argument of `sidekey policy`.
fn target_of(id: &SecretId) -> String {
    match id {
        SecretId::Path(path) => path.pattern().to_owned(),
        _ => id.as_str().to_owned(),
    }
}

/// Returns the least-privilege policy: an IAM policy that allows only reading the secrets
/// `targets`, and assuming the roles `roles`. If `account` is `None`, the policy allows reading
/// secrets with the given names in every AWS account.
pub(super) fn least<'a>(
    targets: impl IntoIterator<Item = &'a str>,
    region: &str,
    account: Option<&str>,
    roles: impl IntoIterator<Item = &'a RoleArn>,
) -> Result<Document, BadTarget> {
    // An unknown account may be a wildcard: AWS lets a role read a secret of another account only if
    // that account allows the read too.
    let location = Location {
        partition: Some(partition_of(region).to_owned()),
        region: Some(region.to_owned()),
        account: Some(account.unwrap_or("*").to_owned()),
    };
    let mut needed = Needed::default();
    for target in targets {
        needed.add(target, &location)?;
    }
    let mut least = statements("Sidekey", needed, &[], false);
    let roles = roles.into_iter().map(|role| role.as_str().to_owned());
    least.extend(document::assume_role("Sidekey", roles));
    Ok(Document::of(&least))
}

/// Prints the least-privilege policy. Warns the user if the policy is longer than IAM allows.
fn write(args: &Args, least: &[Statement]) {
    let document = Document::of(least);
    let label = args.name.to_ascii_lowercase();
    match (args.terraform, args.sam) {
        (true, _) => out(&document::terraform(least, &label)),
        (_, true) => out(&document::sam(least)),
        _ => out(&document.json()),
    }
    let expressions =
        if args.terraform { terraform_expressions(&label) } else { sam_expressions() };
    if let Some(warning) = document.size_warning(&expressions) {
        err(&format!("sidekey: {warning}\n"));
    }
}

fn verify_file(path: &Path, least: &[Statement], is_json: bool) -> ExitCode {
    let policy = read(path)
        .map_err(|error| error.to_string())
        .and_then(|text| parse::parse(&text).map_err(|bad| bad.to_string()));
    let verdict = match policy {
        Ok(policy) => verify::verify(&policy, least),
        Err(problem) => {
            err(&format!("sidekey: {}: {problem}\n", path.display()));
            return ExitCode::from(USAGE);
        }
    };
    out(&match is_json {
        true => {
            serde_json::to_string_pretty(&verdict)
                .expect("the differences between policies must be serializable as JSON")
                + "\n"
        }
        false => verdict_text(&verdict),
    });
    if verdict.is_exact() { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) }
}

/// Returns the AWS partition, region and account for the ARNs of secrets that the user gives by
/// name. In a Terraform or SAM template, an unknown part is an expression such as `${AWS::Region}`.
fn location(args: &Args, config: &Config) -> Location {
    let expressions = match (args.terraform, args.sam) {
        (true, _) => Some(terraform_expressions(&args.name.to_ascii_lowercase())),
        (_, true) => Some(sam_expressions()),
        _ => None,
    };
    let given_partition = args.region.as_deref().map(|region| partition_of(region).to_owned());
    match expressions {
        Some([(partition, _), (region, _), (account, _)]) => Location {
            partition: Some(given_partition.unwrap_or(partition)),
            region: Some(args.region.clone().unwrap_or(region)),
            account: Some(args.account.clone().unwrap_or(account)),
        },
        None => {
            let region = args.region.clone().or_else(|| configured_region(config));
            Location {
                partition: region.as_deref().map(|region| partition_of(region).to_owned()),
                region,
                account: args.account.clone().or_else(|| config.account.clone().map(Into::into)),
            }
        }
    }
}

fn configured_region(config: &Config) -> Option<String> {
    let variable = |name: &str| config.source.environment.get(name).cloned();
    config
        .source
        .region
        .clone()
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
}

/// The expressions of a Terraform or SAM template for the partition, region and account of an ARN.
/// Each expression has an example value, from which Sidekey estimates the length of the policy.
type Expressions = [(String, &'static str); 3];

fn sam_expressions() -> Expressions {
    SAM_LOCATION.map(|(expression, sample)| (expression.to_owned(), sample))
}

/// Returns the Terraform expressions for partition, region and account, such as
/// `${data.aws_region.LABEL.id}`.
fn terraform_expressions(label: &str) -> Expressions {
    [
        (format!("${{data.aws_partition.{label}.partition}}"), "aws"),
        // `id` is the only attribute that contains the region's name in both version 5 and version
        // 6 of Terraform's AWS provider.
        (format!("${{data.aws_region.{label}.id}}"), "eu-north-1"),
        (format!("${{data.aws_caller_identity.{label}.account_id}}"), "123456789012"),
    ]
}

fn needed(targets: &[String], location: &Location) -> Result<Needed, Vec<String>> {
    let (mut needed, mut problems) = (Needed::default(), Vec::new());
    for target in targets {
        if let Err(bad) = needed.add(target, location) {
            problems.push(format!("'{target}': {bad}"));
        }
    }
    if problems.is_empty() { Ok(needed) } else { Err(problems) }
}

/// Returns the ARN patterns that a policy must allow for reading `targets`. If a failover region is
/// configured, adds the ARN patterns of the secrets' replicas in this region.
fn needed_with_replicas(
    targets: &[String],
    location: &Location,
    config: &Config,
) -> Result<Needed, Vec<String>> {
    let mut needed = needed(targets, location)?;
    if let (Some(home), Some(failover)) = (&location.region, &config.source.failover_region) {
        needed.add_replicas(home, failover);
    }
    Ok(needed)
}

/// Reads a policy file, or standard input if the path is `-`.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let stream: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    stream.take(POLICY_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > POLICY_BYTES_MAX {
        let problem = format!("the policy file is longer than {POLICY_BYTES_MAX} bytes");
        return Err(io::Error::other(problem));
    }
    Ok(text)
}
