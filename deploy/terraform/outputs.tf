output "environment" {
  description = "The variables of Sidekey, for a function or for the sidecar."
  value       = local.variables

  precondition {
    condition     = length(local.allowed) > 0
    error_message = "Give `secrets`, `allow` or both. Without them, the program could read nothing."
  }
  precondition {
    condition     = length(local.uncovered) == 0
    error_message = "No pattern of `allow` matches these items of `secrets`: ${join(", ", local.uncovered)}. Add patterns."
  }
}

output "sdk_environment" {
  description = "The variables that make AWS SDKs in the program read from Sidekey, without a change of code."
  value = {
    for service in ["SECRETS_MANAGER", "SSM"] :
    "AWS_ENDPOINT_URL_${service}" => "http://127.0.0.1:${lookup(var.settings, "SIDEKEY_PORT", "2773")}"
  }
}

output "policy_json" {
  description = "The least-privilege policy for the function's role or the task role, as `sidekey policy` writes it."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}

output "container_definition" {
  description = "The definition of the sidecar in an ECS task with the network mode awsvpc, or null if `image` is null."
  value = var.image == null ? null : merge(
    {
      name                   = "sidekey"
      image                  = var.image
      essential              = true
      readonlyRootFilesystem = true
      user                   = "65532:65532"
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      memoryReservation      = 32
      stopTimeout            = 30
      environment            = [for name, value in local.variables : { name = name, value = value }]
      secrets                = [{ name = "SIDEKEY_TOKEN", valueFrom = var.token_arn }]
      healthCheck = {
        command     = ["CMD", "/usr/local/bin/sidekey", "ping", "--ready"]
        interval    = 5
        timeout     = 3
        retries     = 3
        startPeriod = 10
      }
    },
    var.log_options == null ? {} : { logConfiguration = { logDriver = "awslogs", options = var.log_options } },
  )

  precondition {
    condition     = var.image == null || var.token_arn != null
    error_message = "A sidecar on ECS needs `token_arn`: Sidekey and the program must share a token."
  }
}
