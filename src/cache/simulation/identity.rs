//! The identities of the simulated secrets: which secret a text means, and with which role the
//! cache reads the secret.
//!
//! A text is a name such as `s3`, a name that is read with a role such as `1@s3`, or an ARN. The
//! account in an ARN determines the role. The secret `1@s3` has the name `s3` in the account of the
//! first role, and the index 4.

use crate::secret::key::Key;
use crate::secret::reference::SecretId;
use crate::secret::role::RoleArn;
use crate::secret::selector::Selector;
use crate::secret::service::Service;

/// The AWS accounts of the simulated secrets: the agent's own account, and those of the roles.
const ACCOUNTS: [&str; 3] = ["123456789012", "210987654321", "111122223333"];

/// The number of simulated roles.
pub(super) const ROLES: usize = ACCOUNTS.len() - 1;

/// Splits a text such as `2@ssm:/s1` into the number of a simulated role (2) and the name or ARN of
/// a secret (`ssm:/s1`). An ARN without `@` gets the role of its account. The number 0 means no
/// role.
fn divided(text: &str) -> (usize, &str) {
    if let Some((number, name)) = text.split_once('@') {
        let number = number.parse().expect("the text before `@` must be the number of a role");
        return (number, name);
    }
    let account = text.split(':').nth(4);
    let role = ACCOUNTS.iter().position(|own| Some(*own) == account);
    (role.unwrap_or_default(), text)
}

/// Returns the number of the role with which the cache reads the secret: 2 for the text
/// `2@ssm:/s1`, and 0 for no role.
pub(super) fn role(text: &str) -> usize {
    divided(text).0
}

/// Returns the index of the simulated secret that a text such as `2@ssm:/s1` identifies.
pub(super) fn secret(text: &str) -> usize {
    let (role, id) = divided(text);
    let full_name = id.rsplit([':', '/']).next().expect("`rsplit` must return at least one part");
    let name = full_name.split('-').next().expect("`split` must return at least one part");
    let number: usize =
        name[1..].parse().expect("the name of a simulated secret must be a letter and a number");
    number + role
}

pub(super) fn account(text: &str) -> &'static str {
    ACCOUNTS[divided(text).0]
}

/// Returns the name or ARN in a text, without the role: `ssm:/s1` for `2@ssm:/s1`.
pub(super) fn plain(text: &str) -> &str {
    divided(text).1
}

/// Returns the cache key for a text such as `2@ssm:/s1` (the role 2 and the name `ssm:/s1`).
pub(super) fn key(text: &str) -> Key {
    let (role, id) = divided(text);
    let id = SecretId::parse(id).expect("the name or ARN in the test must be valid");
    let selector = match id.service() {
        Service::SecretsManager => Selector::current(),
        Service::ParameterStore => Selector::parameter(None, None, false),
    };
    Key { role: role_arn(role), id, selector }
}

fn role_arn(number: usize) -> Option<RoleArn> {
    let arn = format!("arn:aws:iam::{}:role/reader", ACCOUNTS[number]);
    (number > 0).then(|| RoleArn::parse(&arn).expect("the ARN of the role must be valid"))
}

/// Returns the text for a cache key, such as `2@ssm:/s1`: the inverse of [`key`].
///
/// If the key has an ARN and the role of another account, the text contains both, and so identifies
/// no simulated secret.
pub(super) fn text(key: &Key) -> String {
    let account = key.role.as_ref().map_or(ACCOUNTS[0], RoleArn::account);
    let role = ACCOUNTS.iter().position(|own| *own == account).unwrap_or_default();
    let id = key.id.as_str();
    match (role, divided(id).0) {
        (0, 0) => id.to_owned(),
        (role, of_arn) if key.id.is_arn() && role == of_arn => id.to_owned(),
        _ => format!("{role}@{id}"),
    }
}
