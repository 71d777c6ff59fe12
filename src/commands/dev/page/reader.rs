//! The reader of the page: reads all cached secrets again and again while a browser shows the page,
//! so that the user sees what programs get.

use super::stage::{PARAMETER, Read, Stage, epoch_millis};
use crate::client::Client;
use crate::commands::dev::secrets::path_of;
use futures_util::future::join_all;
use hyper::header::{ETAG, HeaderName};
use std::convert::Infallible;
use std::time::Duration;

/// The pause between two reads of the same secret.
const INTERVAL: Duration = Duration::from_millis(250);

/// The number of connections over which `sidekey dev` reads secrets for its page. While one
/// connection waits for AWS, the others continue.
const CONNECTIONS: usize = 8;

/// The HTTP header in which the agent says how its cache answered a read, such as `hit`.
const CACHE: HeaderName = HeaderName::from_static("x-sidekey-cache");

/// Reads secrets for the page again and again, until the caller drops the future.
pub(super) async fn run(stage: &Stage<'_>) -> Infallible {
    join_all((0..CONNECTIONS).map(|number| read_share(stage, number))).await;
    std::future::pending().await
}

/// Reads every eighth secret, beginning with the secret at the index `number`, again and again.
async fn read_share(stage: &Stage<'_>, number: usize) {
    let mut client = None;
    loop {
        for reference in stage.to_read().iter().skip(number).step_by(CONNECTIONS) {
            // A broken connection is replaced at the next read.
            client = match client.take() {
                Some(client) => Some(client),
                None => Client::connect(&stage.address, stage.token.as_ref()).await.ok(),
            };
            let Some(open) = &mut client else { continue };
            match read(stage, open, reference).await {
                Some(read) => stage.record(read),
                None => client = None,
            }
        }
        stage.clock.sleep(INTERVAL).await;
    }
}

/// Reads one secret. Returns `None` if the connection is broken.
async fn read(stage: &Stage<'_>, client: &mut Client, reference: &str) -> Option<Read> {
    let started = stage.clock.now();
    let answer = client.get(&path_of(reference)).await.ok()?;
    let took = stage.clock.now().since(started).unwrap_or_default();
    let header = |name| {
        let text = answer.headers.get(name)?.to_str().ok()?;
        Some(text.trim_matches('"').to_owned())
    };
    Some(Read {
        at: epoch_millis(started.wall),
        secret: reference.to_owned(),
        took: took.as_secs_f64() * 1000.0,
        status: answer.status.as_u16(),
        cache: header(CACHE),
        version: header(ETAG).map(|etag| version(reference, &etag).to_owned()),
    })
}

/// Returns the version that the `ETag` of an answer contains. The `ETag` of a parameter is the number
/// of its version, a hyphen, and the time of the change.
fn version<'a>(reference: &str, etag: &'a str) -> &'a str {
    match reference.starts_with(PARAMETER) {
        true => etag.split('-').next().unwrap_or_default(),
        false => etag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_parameter_is_its_number() {
        assert_eq!(version("ssm:/app/url", "12-1796018783"), "12");
        assert_eq!(version("app/db", "7f62-c368"), "7f62-c368");
    }
}
