//! The protocol AWS JSON 1.1, which Secrets Manager and Parameter Store use: the bodies of requests
//! and responses are JSON objects.

use crate::error::AwsError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The result of an operation: the JSON body of the response, or AWS's error.
pub(crate) type Response = Result<Value, AwsError>;

/// Converts the JSON body of a request to the parameters of an operation. Ignores unknown JSON
/// members.
pub(crate) fn parse<T: DeserializeOwned>(body: Value) -> Result<T, AwsError> {
    serde_json::from_value(body).map_err(|_| AwsError::serialization())
}

/// Returns the value of a required parameter, or AWS's error if the value is missing. `member` is
/// the name of the parameter.
pub(crate) fn required<T>(member: &str, value: Option<T>) -> Result<T, AwsError> {
    value
        .ok_or_else(|| AwsError::broken_constraint(member, Some("null"), "Member must not be null"))
}

/// Converts a time to seconds since 1970, with milliseconds as the fraction. AWS's responses
/// contain times in this form.
pub(crate) fn epoch_seconds(time: SystemTime) -> f64 {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::new(since_epoch.as_secs(), since_epoch.subsec_millis() * 1_000_000).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_have_millisecond_precision() {
        let epoch = SystemTime::UNIX_EPOCH;
        let time = epoch + Duration::new(1_700_000_000, 123_999_999);
        assert_eq!(json!(epoch_seconds(time)).to_string(), "1700000000.123");
        assert_eq!(json!(epoch_seconds(epoch)).to_string(), "0.0");
    }
}
