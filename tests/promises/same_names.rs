//! Tests with several secrets of the same name. A name always refers to the secret in the agent's
//! own account and region.

use crate::support::agent::{REGION, Setup};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::gateway::Gateway;
use fake_aws::Location;
use fake_aws::Operation::GetSecretValue;
use std::time::Duration;

const ACCOUNT: &str = "123456789012";

/// Secrets of the same name exist in another account and in another region. Each ARN returns its
/// own value, and the name returns the value in the agent's own account and region.
#[tokio::test]
async fn same_names_in_other_accounts_and_regions_stay_apart() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    let own = secrets.create("app/db", "own").expect("the fake AWS server must create the secret");
    let neighbour = Location::new("210987654321", REGION);
    let neighbour = secrets
        .create_in(&neighbour, "app/db", "neighbour")
        .expect("the fake AWS server must create the secret");
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = secrets
        .create_in(&abroad, "app/db", "abroad")
        .expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.regional_url(), &clock).start().await;

    let cases = [(&*abroad, "abroad"), (&neighbour, "neighbour"), ("app/db", "own"), (&own, "own")];
    for (id, value) in cases {
        assert_eq!(sidekey.read(id).await.value(), value, "cold, {id}");
    }
    assert_eq!(
        gateway.regions(),
        ["us-east-1", REGION, REGION],
        "the ARN of the agent's own secret must already be cached"
    );
    for (id, value) in cases {
        sidekey.advance(Duration::from_secs(1));
        let refreshed = sidekey.read(&format!("{id}&refreshNow=true")).await;
        assert_eq!((refreshed.value().as_str(), refreshed.cache()), (value, "refreshed"), "{id}");
        for (id, value) in cases {
            let cached = sidekey.read(id).await;
            assert_eq!((cached.value().as_str(), cached.cache()), (value, "hit"), "{id}");
        }
    }
}

/// A batch call returns secrets in any order. The agent must not confuse a secret of another
/// account with its own secret of the same name.
#[tokio::test]
async fn batch_keeps_secrets_of_the_same_name_apart() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    secrets.create("app/db", "own").expect("the fake AWS server must create the secret");
    // This ARN sorts before all others.
    let neighbour = Location::new("000000000001", REGION);
    let both = secrets
        .create_in(&neighbour, "app/db", "neighbour")
        .expect("the fake AWS server must create the secret");
    let only = secrets
        .create_in(&neighbour, "only/theirs", "neighbour")
        .expect("the fake AWS server must create the secret");
    let listed = format!("{both} app/db {only} only/theirs");
    let setup = Setup::for_fake(&fake, &clock).with("SIDEKEY_SECRETS", listed);
    let sidekey = setup.with("SIDEKEY_PREFETCH", "batch").start().await;

    for (id, value) in [("app/db", "own"), (&both, "neighbour"), (&only, "neighbour")] {
        assert_eq!(sidekey.read(id).await.value(), value, "{id}");
    }
    assert_eq!(
        sidekey.read("only/theirs").await.status,
        400,
        "the agent's own account must not have this secret"
    );
}

/// A secret is deleted, and created again with the same name and a new ARN. After the TTL, the name
/// returns the new secret.
#[tokio::test]
async fn name_follows_a_recreated_secret() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let first = fake
        .secrets()
        .create("app/db", "first")
        .expect("the fake AWS server must create the secret");
    let sidekey = Setup::for_fake(&fake, &clock).with("SIDEKEY_TTL", "1m").start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "first");
    fake.secrets().remove("app/db").expect("the secret exists");
    let second = fake.secrets().create("app/db", "second").expect("the name is free");
    assert_ne!(first, second);

    assert_eq!(
        sidekey.read("app/db").await.value(),
        "first",
        "the agent must serve the old secret within the TTL"
    );
    sidekey.advance(Duration::from_secs(60));
    assert_eq!(sidekey.read("app/db").await.value(), "second");
    assert_eq!(sidekey.read(&second).await.value(), "second");
}

/// The agent learns its own account id from `AWS_ACCOUNT_ID`, or from AWS's response to a read by
/// name. It never uses the account id of a requested ARN.
#[tokio::test]
async fn own_account_comes_from_configuration_or_from_a_name() {
    const OTHER: &str = "210987654321";
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    let own = secrets.create("app/db", "own").expect("the fake AWS server must create the secret");
    let neighbour = Location::new(OTHER, REGION);
    let theirs = secrets
        .create_in(&neighbour, "app/db", "neighbour")
        .expect("the fake AWS server must create the secret");
    let shared = secrets
        .create_in(&neighbour, "shared/key", "neighbour")
        .expect("the fake AWS server must create the secret");
    let listed = format!("{shared} {own} {theirs}");
    let pattern = format!("app/* arn:aws:secretsmanager:{REGION}:{OTHER}:secret:shared/*");
    let setup = Setup::for_fake(&fake, &clock)
        .with("SIDEKEY_SECRETS", listed)
        .with("SIDEKEY_ALLOW", pattern);

    let without_account = setup.clone().start().await;
    let with_account = setup.clone().with("AWS_ACCOUNT_ID", ACCOUNT).start().await;
    let with_wrong_account = setup.with("AWS_ACCOUNT_ID", OTHER).start().await;
    // Four seconds are longer than the agent caches the refusals of the prefetch.
    clock.advance(Duration::from_secs(4));
    for (sidekey, id, status) in [
        (&without_account, &*shared, 200),
        (&without_account, &own, 400),
        (&without_account, &theirs, 400),
        (&with_account, &own, 200),
        (&with_account, &theirs, 400),
        (&with_wrong_account, &own, 400),
    ] {
        assert_eq!(sidekey.read(id).await.status, status, "{id}");
    }
    for sidekey in [&without_account, &with_wrong_account] {
        assert_eq!(
            sidekey.read("app/db").await.value(),
            "own",
            "the agent must learn its account from a read by name"
        );
        // Four seconds are longer than the agent caches a refusal.
        sidekey.advance(Duration::from_secs(4));
        assert_eq!(sidekey.read(&own).await.value(), "own");
    }
}

/// With `SIDEKEY_REGION_ONLY`, the agent refuses secrets of other regions without a call to AWS.
#[tokio::test]
async fn other_regions_can_be_refused() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = fake
        .secrets()
        .create_in(&abroad, "app/db", "abroad")
        .expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.regional_url(), &clock)
        .with("SIDEKEY_REGION_ONLY", true)
        .start()
        .await;
    let refused = sidekey.read(&abroad).await;
    assert_eq!((refused.status, refused.kind().as_str()), (400, "InvalidParameterException"));
    assert!(refused.text().contains("SIDEKEY_REGION_ONLY"), "{}", refused.text());
    assert_eq!(fake.calls().count(GetSecretValue), 0);
    assert!(gateway.regions().is_empty());
}

/// The agent refuses an ARN with an unknown region, because the region becomes part of a host name.
#[tokio::test]
async fn unknown_region_is_refused_without_a_call() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.regional_url(), &clock).start().await;
    for region in ["cn-north-1", "evil.example.com%23", "evil", "us-east-1%2F..", ""] {
        let arn = format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:app/db-AbC123");
        let refused = sidekey.read(&arn).await;
        assert_eq!(refused.status, 400, "{region}: {}", refused.text());
    }
    assert!(gateway.regions().is_empty());
    assert_eq!(fake.connections(), 0);
}

/// Requests with many invented regions do not prevent reads from real regions.
#[tokio::test]
async fn invented_regions_do_not_block_real_ones() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = fake
        .secrets()
        .create_in(&abroad, "app/db", "abroad")
        .expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.regional_url(), &clock).start().await;
    for number in 0..20 {
        let arn = format!("arn:aws:secretsmanager:us-fake-{number}:{ACCOUNT}:secret:app/db-AbC123");
        assert_eq!(sidekey.read(&arn).await.kind(), "ResourceNotFoundException", "{number}");
    }
    assert_eq!(sidekey.read(&abroad).await.value(), "abroad");
    assert_eq!(gateway.regions().len(), 21);
}
