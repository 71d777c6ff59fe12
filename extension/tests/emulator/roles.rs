//! Tests that Sidekey's extension reads secrets of another account with an assumed role.

use crate::emulator::Mode;
use crate::lambda::{LISTED, fake, start_or_skip};
use fake_aws::{Location, Operation};

const ROLE: &str = "arn:aws:iam::210987654321:role/reader";
const NAME: &str = "shared/db";

#[tokio::test]
async fn layer_reads_with_an_assumed_role() {
    let fake = fake().await;
    let theirs = Location::new("210987654321", "eu-north-1");
    fake.secrets().create_in(&theirs, NAME, "theirs").expect("the name must be new");
    fake.roles().create(ROLE);
    let lambda = start_or_skip!(Mode::OnDemand, fake, |environment| environment);
    // The emulator starts the environment at the first invocation.
    lambda.invoke(&LISTED[..1]).await;
    let path = format!("/secretsmanager/get?secretId={NAME}&roleArn={ROLE}");
    for _ in 0..2 {
        let page = lambda.page(&path).await;
        assert!(page.contains("\"SecretString\":\"theirs\""), "{page}");
    }
    assert_eq!(lambda.fake.calls().count(Operation::AssumeRole), 1);
    assert_eq!(lambda.calls_for(NAME), 1);
    lambda.shut_down().await;
}
