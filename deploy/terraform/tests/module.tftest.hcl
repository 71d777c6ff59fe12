# Run these tests with `tofu test` or `terraform test`, without AWS.

variables {
  account_id = "123456789012"
  region     = "eu-north-1"
}

run "the_listed_secrets_are_allowed_by_default" {
  command = plan
  variables {
    secrets = ["app/db#password", "ssm:/app/url"]
  }
  assert {
    condition     = output.environment == tomap({ SIDEKEY_SECRETS = "app/db ssm:/app/url", SIDEKEY_ALLOW = "app/db ssm:/app/url" })
    error_message = "The variables must contain the secrets without the selected field."
  }
  assert {
    condition     = jsondecode(output.policy_json).Statement[0].Resource == ["arn:aws:secretsmanager:eu-north-1:123456789012:secret:app/db-??????"]
    error_message = "The policy must allow the ARN of the secret, with six characters of a suffix."
  }
}

run "patterns_cover_the_listed_secrets" {
  command = plan
  variables {
    secrets = ["whatsapp-credentials/acme/support/twilio", "a.b"]
    allow   = ["whatsapp-credentials/*/[!x]*/twilio", "a.?"]
  }
  assert {
    condition     = output.environment["SIDEKEY_ALLOW"] == "whatsapp-credentials/*/[!x]*/twilio a.?"
    error_message = "The variables must contain the patterns."
  }
}

run "a_version_of_a_parameter_is_listed_but_not_a_pattern" {
  command = plan
  variables {
    secrets = ["ssm:/app/url:3", "ssm:/app/*"]
  }
  assert {
    condition     = output.environment["SIDEKEY_ALLOW"] == "ssm:/app/url ssm:/app/*"
    error_message = "The patterns must not contain the version."
  }
  assert {
    condition     = output.environment["SIDEKEY_SECRETS"] == "ssm:/app/url:3 ssm:/app/*"
    error_message = "The list must contain the version."
  }
}

run "a_wildcard_does_not_match_a_slash" {
  command = plan
  variables {
    secrets = ["app/a/b"]
    allow   = ["app/*"]
  }
  expect_failures = [output.environment]
}

run "a_dot_in_a_pattern_matches_only_a_dot" {
  command = plan
  variables {
    secrets = ["axb"]
    allow   = ["a.b"]
  }
  expect_failures = [output.environment]
}

run "something_must_be_allowed" {
  command         = plan
  expect_failures = [output.environment]
}

run "a_pattern_is_not_a_listed_secret" {
  command = plan
  variables {
    secrets = ["app/*"]
  }
  expect_failures = [var.secrets]
}

run "two_stars_are_an_error" {
  command = plan
  variables {
    allow = ["app/**"]
  }
  expect_failures = [var.allow]
}

run "a_token_does_not_enter_the_state" {
  command = plan
  variables {
    secrets  = ["app/db"]
    settings = { SIDEKEY_TOKEN = "token" }
  }
  expect_failures = [var.settings]
}

run "other_variables_are_not_settings_of_sidekey" {
  command = plan
  variables {
    secrets  = ["app/db"]
    settings = { PATH = "/" }
  }
  expect_failures = [var.settings]
}

run "the_sdk_calls_the_configured_port" {
  command = plan
  variables {
    secrets  = ["app/db"]
    settings = { SIDEKEY_PORT = "2774" }
  }
  assert {
    condition     = output.sdk_environment["AWS_ENDPOINT_URL_SSM"] == "http://127.0.0.1:2774"
    error_message = "The SDK must call Sidekey's port."
  }
}

run "a_sidecar_needs_a_token" {
  command = plan
  variables {
    secrets = ["app/db"]
    image   = "my-sidekey"
  }
  expect_failures = [output.container_definition]
}

run "the_sidecar_has_the_variables_and_the_token" {
  command = plan
  variables {
    secrets   = ["app/db"]
    image     = "my-sidekey"
    token_arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:token-AbCdEf"
  }
  assert {
    condition     = output.container_definition.secrets[0].name == "SIDEKEY_TOKEN" && length(output.container_definition.environment) == 2
    error_message = "The sidecar must have the variables of Sidekey and the token."
  }
}
