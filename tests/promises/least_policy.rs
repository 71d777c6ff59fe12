//! Tests of `sidekey policy`, which writes IAM policies with the least permissions, and reports
//! missing and excess permissions of a policy.

use crate::support::TempFolder;
use crate::support::finished::Finished;
use crate::support::linters::Linters;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The patterns of the secret names for which these tests write policies.
const READS: [&str; 2] = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp"];

/// The command-line options that select the account and the region of the secrets.
const HERE: [&str; 4] = ["--account", "123456789012", "--region", "eu-north-1"];

const KEY: &str = "arn:aws:kms:eu-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// A Python script that parses a Terraform file and prints its declarations.
const PARSE_TERRAFORM: &str = "
import hcl2, json, sys
print(json.dumps(hcl2.loads(sys.stdin.read())))
";

async fn policy(args: &[&str]) -> Finished {
    Finished::sidekey(&[&["policy"][..], args].concat(), &BTreeMap::new(), b"").await
}

/// Runs `sidekey policy`, which must succeed without an error message, and returns its output.
async fn write_policy(args: &[&str]) -> String {
    let done = policy(args).await;
    assert_eq!((done.code, &*done.err), (Some(0), ""));
    done.text().to_owned()
}

/// The policy linter parliament accepts the policy, and finds the unknown action in a changed copy
/// of the policy.
#[tokio::test]
async fn document_passes_a_validator() {
    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let parameters = ["ssm:/app/url", "ssm:/app/db/*"];
    let options = ["--batch", "--kms-key", KEY];
    let all = [&READS[..], &parameters, &HERE, &options].concat();
    let document = write_policy(&all).await;
    let judged = async |document: &str| {
        let args = ["--json", "--minimum_severity", "INFO"];
        let done = linters.run("parliament", &args, document.as_bytes()).await;
        // Only standard output is compared, because the tool's packaging prints a warning to
        // standard error.
        (done.code, done.text().to_owned())
    };
    assert_eq!(judged(&document).await, (Some(0), String::new()));
    let corrupted = document.replace("GetSecretValue\"", "GetSecretValues\"");
    let (code, reported) = judged(&corrupted).await;
    assert!(code == Some(1) && reported.contains("UNKNOWN_ACTION"), "{reported}");
}

/// The linter cfn-lint accepts the CloudFormation output in a SAM function and in a role, and
/// reports an error in a changed copy.
#[tokio::test]
async fn cloudformation_form_passes_a_linter() {
    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let fragment =
        write_policy(&[&READS[..], &["--sam", "--batch", "--kms-key", KEY]].concat()).await;
    let folder = TempFolder::new();
    let judged = async |name: &str, template: &str| {
        let path = folder.write(name, template).display().to_string();
        let done = linters.run("cfn-lint", &["--template", &path], b"").await;
        (done.code, done.text().to_owned(), done.err)
    };
    let good = (Some(0), String::new(), String::new());
    assert_eq!(judged("sam.yaml", &function_template(&fragment)).await, good);
    assert_eq!(judged("role.yaml", &role_template(&fragment)).await, good);
    let corrupted = role_template(&fragment).replace("${AWS::AccountId}", "${AWS::Account}");
    let (code, reported, _) = judged("corrupted.yaml", &corrupted).await;
    assert!(code != Some(0) && reported.contains("'AWS::Account' is not one of"), "{reported}");
}

/// Returns a CloudFormation template with a SAM function that has the policies in `fragment`.
fn function_template(fragment: &str) -> String {
    let begin = "AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\n\
                 Resources:\n  Function:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
                 Runtime: provided.al2023\n      Handler: bootstrap\n      CodeUri: .\n";
    let lines = fragment.lines().map(|line| format!("      {line}\n"));
    begin.to_owned() + &lines.collect::<String>()
}

/// Returns a CloudFormation template with an IAM role that has the policies in `fragment`.
fn role_template(fragment: &str) -> String {
    let begin = "AWSTemplateFormatVersion: '2010-09-09'\nResources:\n  Role:\n    \
                 Type: AWS::IAM::Role\n    Properties:\n      AssumeRolePolicyDocument:\n        \
                 Version: '2012-10-17'\n        Statement:\n          - Effect: Allow\n            \
                 Action: sts:AssumeRole\n            Principal:\n              \
                 Service: lambda.amazonaws.com\n      Policies:\n        - PolicyName: sidekey\n          \
                 PolicyDocument:\n";
    // Skips the line `Policies:` and the list dash of its only document.
    let lines = fragment.lines().skip(1).map(|line| format!("            {}\n", &line[4..]));
    begin.to_owned() + &lines.collect::<String>()
}

#[tokio::test]
async fn terraform_form_is_parsed() {
    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let text = write_policy(&[&READS[..], &["--terraform", "--kms-key", KEY]].concat()).await;
    let parsed = linters.python(PARSE_TERRAFORM, &[], text.as_bytes()).await;
    assert_eq!(parsed.code, Some(0), "{}", parsed.err);
    for name in ["aws_caller_identity", "aws_partition", "aws_region", "aws_iam_policy_document"] {
        assert!(parsed.text().contains(name), "{name}: {}", parsed.text());
    }
    let arn = "arn:${data.aws_partition.sidekey.partition}:secretsmanager:\
               ${data.aws_region.sidekey.id}:${data.aws_caller_identity.sidekey.account_id}:secret:\
               openai-api-key/whatsapp-??????";
    assert!(parsed.text().contains(arn), "{}", parsed.text());
    let corrupted = text.replacen('{', "", 1);
    assert_ne!(linters.python(PARSE_TERRAFORM, &[], corrupted.as_bytes()).await.code, Some(0));
}

/// Compares the written policy with a policy that a person might write. The command reports the
/// excess permissions of the second policy.
#[tokio::test]
async fn least_policy_lies_within_the_designed_one() {
    let document = write_policy(&[&READS[..], &HERE].concat()).await;
    let arn = |end: &str| format!("arn:aws:secretsmanager:eu-north-1:123456789012:secret:{end}");
    let designed = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"],
        "Resource": [arn("whatsapp-credentials/*/*/twilio-*"), arn("openai-api-key/whatsapp-*")],
    }]});
    let folder = TempFolder::new();
    let judged = async |name: &str, text: &str| {
        let path = folder.write(name, text).display().to_string();
        let args = [&READS[..], &HERE, &["--json", "--verify", &path]].concat();
        let done = policy(&args).await;
        let verdict: Value = serde_json::from_str(done.text()).expect("the text is JSON");
        (done.code, verdict)
    };
    let (code, verdict) = judged("designed.json", &designed.to_string()).await;
    assert_eq!((code, &verdict["lacks"]), (Some(1), &json!([])));
    let beyond = verdict["beyond"].as_array().expect("the JSON value must be an array");
    let whys: Vec<&Value> = beyond.iter().map(|one| &one["why"]).collect();
    assert_eq!(whys, ["loose_suffix", "loose_suffix"]);

    let printed = json!({"RoleName": "r", "PolicyName": "p", "PolicyDocument": document});
    let exact = json!({"lacks": [], "beyond": [], "not_judged": []});
    assert_eq!(judged("own.json", &printed.to_string()).await, (Some(0), exact));
}

/// The policy lacks one permission and has one excess permission. The command must report both.
#[tokio::test]
async fn missing_and_excess_permissions_are_reported() {
    let policy = json!({"Statement": {"Sid": "All", "Effect": "Allow",
        "Action": ["secretsmanager:*", "logs:PutLogEvents"],
        "Resource": "arn:aws:secretsmanager:eu-north-1:123456789012:secret:openai-api-key/*"}});
    let args = [&["policy"][..], &READS, &HERE, &["--verify", "-"]].concat();
    let done = Finished::sidekey(&args, &BTreeMap::new(), policy.to_string().as_bytes()).await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    let lines: Vec<Vec<&str>> =
        done.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..2], ["missing", "secretsmanager:GetSecretValue"]);
    assert!(lines[1][2].ends_with(":secret:whatsapp-credentials/*/*/twilio-??????"), "{lines:?}");
    assert_eq!(lines[2][..2], ["unneeded", "secretsmanager:*"]);
    assert_eq!(
        lines[3].join(" "),
        "Not checked, because these actions belong to other AWS services: logs:putlogevents"
    );
}

#[tokio::test]
async fn mistakes_are_reported_at_once() {
    let done = policy(&["a b", "app/[x]", "app/db"]).await;
    assert_eq!((done.code, done.text()), (Some(2), ""));
    for part in [
        "'a b': character 2",
        "'app/[x]': IAM does not support [...]",
        "'app/db': the region of this secret is unknown",
    ] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    let done = policy(&["--region", "eu-north-1", "app/db"]).await;
    assert!(done.code == Some(2) && done.err.contains("use --account"), "{}", done.err);
    for args in
        [&[][..], &["--account", "1", "a"], &["--kms-key", "alias/x", "a"], &["--json", "a"]]
    {
        assert_eq!(policy(args).await.code, Some(2), "{args:?}");
    }
}
