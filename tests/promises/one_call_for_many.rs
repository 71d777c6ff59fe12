//! Tests that many readers of one secret cause only one call to AWS.

use crate::support::agent::{Setup, read_request};
use crate::support::clock::ManualClock;
use crate::support::gateway::Gateway;
use crate::support::{eventually, fake};
use fake_aws::Operation::GetSecretValue;

const READERS: usize = 64;

/// 64 callers read an uncached secret at the same time. The agent makes one call to AWS, and all
/// callers get the same response.
#[tokio::test]
async fn readers_of_an_uncached_secret_share_one_call() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.url(), &clock).start().await;

    gateway.hold();
    let mut readers = Vec::new();
    for number in 0..READERS {
        let stage = if number % 2 == 0 { "" } else { "&versionStage=AWSCURRENT" };
        let mut reader = sidekey.connect().await;
        reader.send(read_request(&format!("app/db{stage}"))).await;
        readers.push(reader);
    }
    let others = (READERS - 1) as f64;
    eventually("all readers wait for the call to AWS", async || {
        let metrics = sidekey.metrics().await;
        (metrics.get("sidekey_flights_joined_total") == others).then_some(())
    })
    .await;
    gateway.release();

    let first = readers[0].receive().await;
    assert_eq!((first.value().as_str(), first.cache()), ("hunter2", "miss"));
    for reader in &mut readers[1..] {
        assert_eq!(reader.receive().await.body, first.body);
    }
    assert_eq!(fake.calls().count(GetSecretValue), 1);
    let metrics = sidekey.metrics().await;
    assert_eq!(metrics.get("sidekey_reads_total{result=\"miss\"}"), READERS as f64);
}

/// A secret that was read by its name is also cached under its full ARN. A partial ARN needs one
/// more call, because only AWS can find its secret.
#[tokio::test]
async fn name_and_arn_share_one_entry() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    let arn = fake
        .secrets()
        .create("app/db", "hunter2")
        .expect("the fake AWS server must create the secret");
    let partial = &arn[..arn.len() - "-AbC123".len()];
    let sidekey = Setup::for_fake(&fake, &clock).start().await;
    let mut connection = sidekey.connect().await;

    let by_name = connection.exchange(read_request("app/db")).await;
    assert_eq!(by_name.cache(), "miss");
    let by_arn = connection.exchange(read_request(&arn)).await;
    assert_eq!((by_arn.cache(), &by_arn.body), ("hit", &by_name.body));
    assert_eq!(fake.calls().count(GetSecretValue), 1);

    let by_partial = connection.exchange(read_request(partial)).await;
    assert_eq!((by_partial.cache(), &by_partial.body), ("miss", &by_name.body));
    assert_eq!(fake.calls().count(GetSecretValue), 2);

    for id in ["app/db", "app/db&versionStage=AWSCURRENT", &arn, partial] {
        assert_eq!(connection.exchange(read_request(id)).await.cache(), "hit", "{id}");
    }
    assert_eq!(fake.calls().count(GetSecretValue), 2);
    assert_eq!(sidekey.metrics().await.get("sidekey_entries"), 1.0);
}

/// With `SIDEKEY_TTL=0`, every read calls AWS, but reads at the same time share one call.
#[tokio::test]
async fn concurrent_readers_share_a_call_without_a_cache() {
    let clock = ManualClock::new();
    let fake = fake(&clock).await;
    fake.secrets().create("app/db", "hunter2").expect("the fake AWS server must create the secret");
    let gateway = Gateway::start(&fake).await;
    let sidekey = Setup::for_endpoint(&gateway.url(), &clock).with("SIDEKEY_TTL", 0).start().await;

    for calls in 1..=3 {
        let answer = sidekey.read("app/db").await;
        assert_eq!((answer.value().as_str(), answer.cache()), ("hunter2", "miss"));
        assert_eq!(fake.calls().count(GetSecretValue), calls);
    }
    gateway.hold();
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = sidekey.connect().await;
        reader.send(read_request("app/db")).await;
        readers.push(reader);
    }
    eventually("all readers wait for the call to AWS", async || {
        let metrics = sidekey.metrics().await;
        (metrics.get("sidekey_flights_joined_total") == 7.0).then_some(())
    })
    .await;
    gateway.release();
    for reader in &mut readers {
        assert_eq!(reader.receive().await.value(), "hunter2");
    }
    assert_eq!(fake.calls().count(GetSecretValue), 4);
    assert_eq!(sidekey.metrics().await.get("sidekey_entries"), 0.0);
}
