# An ECS task with Sidekey as a sidecar of a program.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

variable "sidekey_image" {
  description = "The sidecar's image, which `extension/layer/Containerfile` builds."
  type        = string
}

variable "app_image" {
  description = "The program's image."
  type        = string
}

variable "token_arn" {
  description = "The ARN of a secret with a long random text, which Sidekey and the program share."
  type        = string
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

module "sidekey" {
  source = "../.."

  secrets = ["app/db"]
  allow   = ["app/*"]
  image   = var.sidekey_image

  token_arn = var.token_arn
  log_options = {
    awslogs-group         = aws_cloudwatch_log_group.task.name
    awslogs-region        = data.aws_region.current.region
    awslogs-stream-prefix = "sidekey"
  }

  account_id = data.aws_caller_identity.current.account_id
  region     = data.aws_region.current.region
  partition  = data.aws_partition.current.partition
  dns_suffix = data.aws_partition.current.dns_suffix
}

resource "aws_ecs_task_definition" "app" {
  family                   = "sidekey-example"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 256
  memory                   = 512
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([
    module.sidekey.container_definition,
    {
      name                   = "app"
      image                  = var.app_image
      essential              = true
      readonlyRootFilesystem = true
      dependsOn              = [{ containerName = "sidekey", condition = "HEALTHY" }]
      environment            = [for name, value in module.sidekey.sdk_environment : { name = name, value = value }]
      secrets                = [{ name = "SIDEKEY_TOKEN", valueFrom = var.token_arn }]
    },
  ])
}

resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/sidekey-example"
  retention_in_days = 365
}

locals {
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
}

# The role of the containers. Sidekey reads the secrets with it.
resource "aws_iam_role" "task" {
  name               = "sidekey-example-task"
  assume_role_policy = local.assume_role_policy
}

resource "aws_iam_role_policy" "sidekey" {
  name   = "sidekey"
  role   = aws_iam_role.task.name
  policy = module.sidekey.policy_json
}

# The role of ECS, which reads the token, pulls the images and writes the log.
resource "aws_iam_role" "execution" {
  name               = "sidekey-example-execution"
  assume_role_policy = local.assume_role_policy
}

resource "aws_iam_role_policy" "token" {
  name = "token"
  role = aws_iam_role.execution.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "secretsmanager:GetSecretValue"
      Resource = var.token_arn
    }]
  })
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}
