# Computes what a Lambda function or an ECS task with Sidekey needs: the variables, the IAM policy, and the
# definition of the container. The module has no provider and creates nothing, so `tofu test` and
# `terraform test` run it without AWS. The folder examples shows how to use it.

terraform {
  required_version = ">= 1.9"
}

locals {
  listed = [for secret in var.secrets : split("#", secret)[0]]
  # The names, paths and ARNs, without the stage or version that a reference selects.
  names = [
    for secret in local.listed : join(":", slice(split(":", secret), 0, min(
      length(split(":", secret)),
      startswith(secret, "ssm:") ? 2 : can(regex("^arn:[^:]*:ssm:", secret)) ? 6 : 7,
    )))
  ]
  allowed  = var.allow == null ? distinct(local.names) : var.allow
  arn_base = "arn:${var.partition}"

  # The patterns of `allow` as regular expressions, to check that they cover all secrets. In Sidekey, a
  # wildcard does not match `/`.
  expressions = [
    for pattern in local.allowed :
    format("^%s$", replace(replace(replace(replace(
    pattern, "/([.+^$(){}|])/", "\\$1"), "[!", "[^/"), "?", "[^/]"), "*", "[^/]*"))
  ]
  uncovered = [
    for secret in local.names : secret
    if !startswith(secret, "arn:") && !contains(local.allowed, secret) &&
    !anytrue([for expression in local.expressions : can(regex(expression, secret))]) &&
    !anytrue([for pattern in local.allowed : startswith(pattern, "arn:")])
  ]

  # A full ARN ends in a hyphen and six characters. Other ARNs and names get a pattern for them.
  parameters = [for name in local.allowed : name if can(regex("^(ssm|arn:[^:]*:ssm):", name))]
  secrets    = [for name in local.allowed : name if !contains(local.parameters, name)]
  secret_arns = sort(distinct([
    for name in local.secrets :
    !startswith(name, "arn:") ? "${local.arn_base}:secretsmanager:${var.region}:${var.account_id}:secret:${name}-??????" :
    can(regex("(-[A-Za-z0-9]{6}|[*?].*)$", name)) ? name : "${name}-??????"
  ]))

  parameter_names = [
    for name in local.parameters : trimprefix(trimprefix(name, "ssm:"), "/") if startswith(name, "ssm:")
  ]
  parameter_base = "${local.arn_base}:ssm:${var.region}:${var.account_id}:parameter"
  parameter_arns = sort(distinct(concat(
    [for name in local.parameter_names : "${local.parameter_base}/${name}"],
    [for name in local.parameters : name if startswith(name, "arn:")],
  )))
  path_arns = sort(distinct(flatten([
    for name in local.parameter_names :
    ["${local.parameter_base}/${trimsuffix(name, "/*")}", "${local.parameter_base}/${name}"]
    if endswith(name, "/*")
  ])))

  batch = contains(["batch", "auto"], lookup(var.settings, "SIDEKEY_PREFETCH", "get"))

  statements = concat(
    [
      for one in [
        { sid = "SidekeyGetSecretValue", action = "secretsmanager:GetSecretValue", resources = local.secret_arns },
        { sid = "SidekeyBatchGetSecretValue", action = "secretsmanager:BatchGetSecretValue", resources = local.batch ? ["*"] : [] },
        { sid = "SidekeyGetParameter", action = "ssm:GetParameter", resources = local.parameter_arns },
        { sid = "SidekeyGetParameters", action = "ssm:GetParameters", resources = local.parameter_arns },
        { sid = "SidekeyGetParametersByPath", action = "ssm:GetParametersByPath", resources = local.path_arns },
      ] : { Sid = one.sid, Effect = "Allow", Action = one.action, Resource = one.resources }
      if length(one.resources) > 0
    ],
    [
      for one in [
        { sid = "SidekeyDecrypt", service = "secretsmanager", used = local.secret_arns, context = {} },
        {
          sid     = "SidekeyDecryptParameters", service = "ssm", used = local.parameter_arns,
          context = { StringLike = { "kms:EncryptionContext:PARAMETER_ARN" = local.parameter_arns } }
        },
        ] : {
        Sid      = one.sid
        Effect   = "Allow"
        Action   = "kms:Decrypt"
        Resource = var.kms_key_arns
        Condition = merge(
          { StringEquals = { "kms:ViaService" = "${one.service}.${var.region}.${var.dns_suffix}" } },
          one.context,
        )
      }
      if length(one.used) > 0 && length(var.kms_key_arns) > 0
    ],
  )

  variables = tomap(merge(
    length(local.listed) > 0 ? { SIDEKEY_SECRETS = join(" ", local.listed) } : {},
    { SIDEKEY_ALLOW = join(" ", local.allowed) },
    var.settings,
  ))
}
