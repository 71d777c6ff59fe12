//! The error for a text that is not a valid reference.

use super::arn::BadArn;
use super::name::PARAMETER_LEVELS_MAX;

/// The error for an invalid reference. A reference is a secret's name or ARN, with an optional
/// field and version.
///
/// Positions are counted in characters, from 1. The error messages contain no part of the
/// reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Error: the name or ARN of the secret is missing.
    #[error("expected the name or ARN of a secret or parameter, but the text is empty")]
    Empty,
    /// Error: the reference to a secret (its name or ARN, with an optional field and version) is
    /// too long.
    #[error("the reference to a secret must not be longer than {max} characters")]
    TooLong {
        /// The maximum number of characters in the reference to a secret.
        max: usize,
    },
    /// Error: the staging label or the version id of the requested secret is longer than Secrets
    /// Manager accepts.
    #[error("the {part} of the requested secret is longer than {max} characters")]
    PartTooLong {
        /// The part of the reference that is too long: `stage` or `version id`.
        part: &'static str,
        /// The maximum number of characters in a staging label or version id.
        max: usize,
    },
    /// Error: the reference to a secret contains a character that is not allowed.
    #[error("character {at} is not allowed; use only A-Za-z0-9/_+=.@!- in a secret's name")]
    Character {
        /// The position of the invalid character in the given text, counted in characters from 1.
        at: usize,
    },
    /// Error: the reference to a secret ends in `#`, but the name of a field must follow the `#`.
    #[error("expected a field's name after the '#' at character {at}")]
    NoField {
        /// The position of the `#`, which separates the secret's name from the field's name,
        /// counted in characters from 1.
        at: usize,
    },
    /// Error: the name of a parameter contains a character that is not allowed.
    #[error("character {at} is not allowed; use only A-Za-z0-9/_.- in a parameter's name")]
    ParameterCharacter {
        /// The position of the invalid character in the given text, counted in characters from 1.
        at: usize,
    },
    /// Error: the name of a parameter has too many parts between slashes.
    #[error("a parameter's name must have at most {PARAMETER_LEVELS_MAX} parts between slashes")]
    TooManyLevels,
    /// Error: an ARN follows `/aws/reference/secretsmanager/`, but not the ARN of a secret.
    #[error(
        "expected the name or ARN of a secret after '/aws/reference/secretsmanager/', but found \
         another ARN at character {at}"
    )]
    OtherArn {
        /// The position of the ARN in the given text, counted in characters from 1.
        at: usize,
    },
    /// Error: a second version follows the name or ARN of a parameter, as in `ssm:/app/url:3:4`.
    #[error(
        "expected the end of the reference after a parameter's version or label, but found another \
         ':' at character {at}"
    )]
    TooManyParameterParts {
        /// The position of the second colon, counted in characters from 1.
        at: usize,
    },
    /// Error: the caller sent a field, a staging label or a version id twice: together with the
    /// secret's name or ARN, and again separately.
    #[error("the {part} at character {at} is given twice; remove one of the two")]
    Twice {
        /// The part that the caller sent twice: `field`, `stage` or `version id`.
        part: &'static str,
        /// The position of this part in the text with the secret's name or ARN, counted in
        /// characters from 1: 5 for the field `user` in `app#user`.
        at: usize,
    },
    /// Error: more than three parts follow the ARN of a secret. Only a field, a staging label and a
    /// version id can follow.
    #[error(
        "expected only FIELD:STAGE:VERSION_ID after the ARN, but found another ':' at character \
         {at}"
    )]
    TooManyParts {
        /// The position of the first unexpected colon after the ARN, counted in characters from 1.
        at: usize,
    },
    /// Error: the reference begins with `arn:`, but is not the ARN of a secret or of a parameter.
    #[error(transparent)]
    Arn(#[from] BadArn),
}
