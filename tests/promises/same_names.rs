//! A plain name means the function's own secret, whatever else is read by ARN.

use crate::support::agent::{REGION, Setup};
use crate::support::clock::ManualClock;
use crate::support::fake;
use crate::support::gateway::Gateway;
use fake_aws::Location;
use fake_aws::Operation::GetSecretValue;
use std::time::Duration;

const ACCOUNT: &str = "123456789012";

/// Secrets of the same name in another account and another region are read by their ARNs, before
/// and after the own one, fresh and refreshed: each answers its own value and the name stays ours.
/// The region called is the ARN's.
#[tokio::test]
async fn same_names_in_other_accounts_and_regions_stay_apart() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    let own = secrets.create("app/db", "own").expect("a new name");
    let neighbour = Location::new("210987654321", REGION);
    let neighbour = secrets.create_in(&neighbour, "app/db", "neighbour").expect("a new name");
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = secrets.create_in(&abroad, "app/db", "abroad").expect("a new name");
    let gateway = Gateway::before(&fake).await;
    let sidekey = Setup::at(&gateway.url_of_regions(), &clock).start().await;

    let cases = [(&*abroad, "abroad"), (&neighbour, "neighbour"), ("app/db", "own"), (&own, "own")];
    for (id, value) in cases {
        assert_eq!(sidekey.read(id).await.value(), value, "cold, {id}");
    }
    assert_eq!(gateway.regions(), ["us-east-1", REGION, REGION], "the own ARN is held by then");
    for (id, value) in cases {
        sidekey.pass(Duration::from_secs(1));
        let refreshed = sidekey.read(&format!("{id}&refreshNow=true")).await;
        assert_eq!((refreshed.value().as_str(), refreshed.cache()), (value, "refreshed"), "{id}");
        for (id, value) in cases {
            let held = sidekey.read(id).await;
            assert_eq!((held.value().as_str(), held.cache()), (value, "hit"), "{id}");
        }
    }
}

/// A batch answers in no order, and by ARN. A neighbour's secret that is listed by its ARN does not
/// answer for the own one of the same name in it, not even where that does not exist.
#[tokio::test]
async fn batch_keeps_secrets_of_the_same_name_apart() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    secrets.create("app/db", "own").expect("a new name");
    // Its ARN is the first in any order of ARNs.
    let neighbour = Location::new("000000000001", REGION);
    let both = secrets.create_in(&neighbour, "app/db", "neighbour").expect("a new name");
    let only = secrets.create_in(&neighbour, "only/theirs", "neighbour").expect("a new name");
    let listed = format!("{both} app/db {only} only/theirs");
    let setup = Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", listed);
    let sidekey = setup.with("SIDEKEY_PREFETCH", "batch").start().await;

    for (id, value) in [("app/db", "own"), (&both, "neighbour"), (&only, "neighbour")] {
        assert_eq!(sidekey.read(id).await.value(), value, "{id}");
    }
    assert_eq!(sidekey.read("only/theirs").await.status, 400, "there is none of ours");
}

/// A secret that is deleted and made anew under its name has another ARN: once the time to live is
/// over the name answers the new one, although the old ARN is still held.
#[tokio::test]
async fn name_follows_a_recreated_secret() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let first = fake.secrets().create("app/db", "first").expect("a new name");
    let sidekey = Setup::of(&fake, &clock).with("SIDEKEY_TTL", "1m").start().await;
    assert_eq!(sidekey.read("app/db").await.value(), "first");
    fake.secrets().remove("app/db").expect("the secret is there");
    let second = fake.secrets().create("app/db", "second").expect("the name is free");
    assert_ne!(first, second);

    assert_eq!(sidekey.read("app/db").await.value(), "first", "within the time to live");
    sidekey.pass(Duration::from_secs(60));
    assert_eq!(sidekey.read("app/db").await.value(), "second");
    assert_eq!(sidekey.read(&second).await.value(), "second");
}

/// Where only ARNs are listed, `AWS_ACCOUNT_ID` says which account patterns of names are about. What
/// is listed or asked for by ARN does not say it: a neighbour's secret would open the neighbour's
/// others. An answer by name knows better than the variable.
#[tokio::test]
async fn own_account_comes_from_configuration_or_from_a_name() {
    const OTHER: &str = "210987654321";
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let secrets = fake.secrets();
    let own = secrets.create("app/db", "own").expect("a new name");
    let neighbour = Location::new(OTHER, REGION);
    let theirs = secrets.create_in(&neighbour, "app/db", "neighbour").expect("a new name");
    let shared = secrets.create_in(&neighbour, "shared/key", "neighbour").expect("a new name");
    let listed = format!("{shared} {own} {theirs}");
    let pattern = format!("app/* arn:aws:secretsmanager:{REGION}:{OTHER}:secret:shared/*");
    let setup =
        Setup::of(&fake, &clock).with("SIDEKEY_SECRETS", listed).with("SIDEKEY_ALLOW", pattern);

    let untold = setup.clone().start().await;
    let told = setup.clone().with("AWS_ACCOUNT_ID", ACCOUNT).start().await;
    let wrongly = setup.with("AWS_ACCOUNT_ID", OTHER).start().await;
    // Longer than the refusals of the prefetch are remembered.
    clock.pass(Duration::from_secs(4));
    for (sidekey, id, status) in [
        (&untold, &*shared, 200),
        (&untold, &own, 400),
        (&untold, &theirs, 400),
        (&told, &own, 200),
        (&told, &theirs, 400),
        (&wrongly, &own, 400),
    ] {
        assert_eq!(sidekey.read(id).await.status, status, "{id}");
    }
    for sidekey in [&untold, &wrongly] {
        assert_eq!(sidekey.read("app/db").await.value(), "own", "by name, which tells the account");
        // Longer than a refusal is remembered.
        sidekey.pass(Duration::from_secs(4));
        assert_eq!(sidekey.read(&own).await.value(), "own");
    }
}

/// With `SIDEKEY_REGION_ONLY` a secret of another region is refused with a typed error that names
/// the variable, and nobody is called for it.
#[tokio::test]
async fn other_regions_can_be_refused() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = fake.secrets().create_in(&abroad, "app/db", "abroad").expect("a new name");
    let gateway = Gateway::before(&fake).await;
    let sidekey = Setup::at(&gateway.url_of_regions(), &clock)
        .with("SIDEKEY_REGION_ONLY", true)
        .start()
        .await;
    let refused = sidekey.read(&abroad).await;
    assert_eq!((refused.status, refused.kind().as_str()), (400, "InvalidParameterException"));
    assert!(refused.text().contains("SIDEKEY_REGION_ONLY"), "{}", refused.text());
    assert_eq!(fake.calls().count(GetSecretValue), 0);
    assert!(gateway.regions().is_empty());
}

/// An ARN whose region is of another partition, or none, is refused before anybody is called: a
/// region becomes part of a host name.
#[tokio::test]
async fn unknown_region_is_refused_without_a_call() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let gateway = Gateway::before(&fake).await;
    let sidekey = Setup::at(&gateway.url_of_regions(), &clock).start().await;
    for region in ["cn-north-1", "evil.example.com%23", "evil", "us-east-1%2F..", ""] {
        let arn = format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:app/db-AbC123");
        let refused = sidekey.read(&arn).await;
        assert_eq!(refused.status, 400, "{region}: {}", refused.text());
    }
    assert!(gateway.regions().is_empty());
    assert_eq!(fake.connections(), 0);
}

/// Whoever invents regions, as a forged message may, keeps nobody from those there are.
#[tokio::test]
async fn invented_regions_do_not_block_real_ones() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let abroad = Location::new(ACCOUNT, "us-east-1");
    let abroad = fake.secrets().create_in(&abroad, "app/db", "abroad").expect("a new name");
    let gateway = Gateway::before(&fake).await;
    let sidekey = Setup::at(&gateway.url_of_regions(), &clock).start().await;
    for number in 0..20 {
        let arn = format!("arn:aws:secretsmanager:us-fake-{number}:{ACCOUNT}:secret:app/db-AbC123");
        assert_eq!(sidekey.read(&arn).await.kind(), "ResourceNotFoundException", "{number}");
    }
    assert_eq!(sidekey.read(&abroad).await.value(), "abroad");
    assert_eq!(gateway.regions().len(), 21);
}
