# A Lambda function that reads two secrets and a parameter from Sidekey.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
  }
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# snippet: module
module "sidekey" {
  source = "../.."

  secrets  = ["openai-api-key/whatsapp", "ssm:/app/url"]
  allow    = ["whatsapp-credentials/*/*/twilio", "openai-api-key/whatsapp", "ssm:/app/*"]
  settings = { SIDEKEY_TTL = "10m", SIDEKEY_STRICT = "true" }

  account_id = data.aws_caller_identity.current.account_id
  region     = data.aws_region.current.region
  partition  = data.aws_partition.current.partition
  dns_suffix = data.aws_partition.current.dns_suffix
}
# snippet: end

# Written by `extension/layer/build arm64`.
resource "aws_lambda_layer_version" "sidekey" {
  layer_name               = "sidekey"
  filename                 = "${path.module}/../../../../target/lambda/sidekey-layer-arm64.zip"
  source_code_hash         = filebase64sha256("${path.module}/../../../../target/lambda/sidekey-layer-arm64.zip")
  compatible_architectures = ["arm64"]
  license_info             = "Apache-2.0"
}

data "archive_file" "function" {
  type        = "zip"
  source_file = "${path.module}/../../../../examples/python/handler.py"
  output_path = "${path.module}/function.zip"
}

resource "aws_lambda_function" "processor" {
  function_name    = "sidekey-example"
  role             = aws_iam_role.processor.arn
  runtime          = "python3.13"
  architectures    = ["arm64"]
  handler          = "handler.handle"
  timeout          = 30
  filename         = data.archive_file.function.output_path
  source_code_hash = data.archive_file.function.output_base64sha256
  layers           = [aws_lambda_layer_version.sidekey.arn]

  environment {
    variables = merge(module.sidekey.environment, module.sidekey.sdk_environment)
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.processor.name
  }
}

resource "aws_cloudwatch_log_group" "processor" {
  name              = "/aws/lambda/sidekey-example"
  retention_in_days = 365
}

resource "aws_iam_role" "processor" {
  name = "sidekey-example"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "sidekey" {
  name   = "sidekey"
  role   = aws_iam_role.processor.name
  policy = module.sidekey.policy_json
}

resource "aws_iam_role_policy_attachment" "log" {
  role       = aws_iam_role.processor.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}
