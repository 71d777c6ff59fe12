variable "secrets" {
  description = "The secrets and parameters that Sidekey prefetches: names or ARNs. `ssm:NAME` is a parameter, and `ssm:/app/*` means all parameters directly under `/app`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for secret in var.secrets : !can(regex("[\\s,]", secret)) && secret != ""])
    error_message = "Each item of `secrets` must be one name: without spaces and commas, and not empty."
  }
  validation {
    condition     = alltrue([for secret in var.secrets : !can(regex("[*?]", secret)) || can(regex("^ssm:/[^*?]*/\\*$", secret))])
    error_message = "A pattern is allowed only in `allow`, except a path of parameters such as `ssm:/app/*`."
  }
}

variable "allow" {
  description = "The patterns of the secrets and parameters that the program may read. In Sidekey, `*` matches any characters except `/`; in the IAM policy, `*` also matches `/`. If null, the program may read the secrets in `secrets`."
  type        = list(string)
  default     = null

  validation {
    condition     = var.allow == null ? true : length(var.allow) > 0 && alltrue([for pattern in var.allow : !can(regex("[\\s,]", pattern)) && pattern != ""])
    error_message = "`allow` must have at least one pattern, and each pattern must be without spaces and commas."
  }
  validation {
    condition     = var.allow == null ? true : alltrue([for pattern in var.allow : !strcontains(pattern, "**")])
    error_message = "`**` is not supported in `allow`: write one `*` for each segment of the path."
  }
}

variable "settings" {
  description = "Other variables of Sidekey, such as `{ SIDEKEY_TTL = \"10m\" }`. docs/configuration.md lists all variables."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^SIDEKEY_[A-Z_]+$", name))])
    error_message = "`settings` contains a name that is not a variable of Sidekey. Set other variables on the function or the container."
  }
  validation {
    condition     = length(setintersection(keys(var.settings), ["SIDEKEY_SECRETS", "SIDEKEY_ALLOW"])) == 0
    error_message = "Use the variables `secrets` and `allow` of this module instead of SIDEKEY_SECRETS and SIDEKEY_ALLOW."
  }
  validation {
    condition     = !contains(keys(var.settings), "SIDEKEY_TOKEN")
    error_message = "SIDEKEY_TOKEN must not be in the state of Terraform. Pass it to the container with `token_arn`."
  }
}

variable "kms_key_arns" {
  description = "The ARNs of the customer managed keys that encrypt the secrets and parameters."
  type        = list(string)
  default     = []
}

variable "region" {
  description = "The region of the secrets, such as `data.aws_region.current.region`."
  type        = string
}

variable "account_id" {
  description = "The account of the secrets, such as `data.aws_caller_identity.current.account_id`."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has 12 digits."
  }
}

variable "partition" {
  description = "The partition of the region."
  type        = string
  default     = "aws"
}

variable "dns_suffix" {
  description = "The end of the host names of AWS services in the partition."
  type        = string
  default     = "amazonaws.com"
}

variable "image" {
  description = "The image of the sidecar, for the output `container_definition`. If null, the output is null."
  type        = string
  default     = null
}

variable "token_arn" {
  description = "The ARN of the secret or parameter that contains the token, which the sidecar and the program share on ECS."
  type        = string
  default     = null
}

variable "log_options" {
  description = "The options of the awslogs driver for the sidecar. If null, the container has no log configuration."
  type        = map(string)
  default     = null
}
