//! A small client of Lambda's runtime API, which receives events and sends responses in a loop.
//! Unlike the crate `lambda_runtime`, it needs no async runtime.

use serde_json::Value;

/// Handles invocations until the Lambda environment ends.
pub fn serve(handle: impl Fn(&Value) -> Value) -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let api = format!("http://{address}/2018-06-01/runtime/invocation");
    // No timeout, because the next event may arrive after hours.
    let client = ureq::Agent::config_builder().proxy(None).build().new_agent();
    loop {
        let mut next = client.get(format!("{api}/next")).call()?;
        let id = next.headers()["lambda-runtime-aws-request-id"].to_str()?.to_owned();
        let event = serde_json::from_reader(next.body_mut().as_reader())?;
        client.post(format!("{api}/{id}/response")).send(handle(&event).to_string())?;
    }
}
