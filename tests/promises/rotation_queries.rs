//! Checks the CloudFormation template with the queries of CloudWatch Logs Insights.

use crate::support::linters::Linters;

const TEMPLATE: &str = "deploy/monitoring/rotation-queries.yaml";

/// The linter cfn-lint accepts the template.
#[tokio::test]
async fn template_is_valid() {
    let linters = match Linters::install() {
        Ok(linters) => linters,
        Err(missing) => return missing.skip_or_fail(),
    };
    let path = format!("{}/{TEMPLATE}", env!("CARGO_MANIFEST_DIR"));
    let done = linters.run("cfn-lint", &["--template", &path], b"").await;
    assert_eq!((done.code, done.text(), &*done.err), (Some(0), "", ""));
}

/// The documentation shows a query of the template, with the name of a secret.
#[test]
fn documented_query_is_that_of_the_template() {
    let template = include_str!("../../deploy/monitoring/rotation-queries.yaml");
    let page = include_str!("../../docs/observability.md");
    let (_, query) =
        template.split_once("QueryString: !Sub |\n").expect("the template has a query");
    let query = query.lines().map(str::trim).take_while(|line| !line.is_empty());
    for line in query {
        let line = line.replace("${Secret}", r"app\/db");
        assert!(page.contains(&line), "docs/observability.md does not contain the line {line}");
    }
}
