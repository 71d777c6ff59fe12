//! The URLs of AWS's own endpoints.

use crate::secret::arn::partition_of;

/// An AWS service that has an endpoint in each region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    /// The first part of the host name of the service's endpoints, such as `ssm`.
    prefix: &'static str,
    /// The AWS partitions (such as `aws-us-gov`) in which the host names of FIPS endpoints do not
    /// contain `-fips`.
    plain_fips_in: &'static [&'static str],
    /// The AWS partitions (such as `aws-cn`) in which endpoints with IPv6 have the same host names
    /// as endpoints without IPv6.
    plain_dual_stack_in: &'static [&'static str],
}

pub(super) const SECRETS_MANAGER: Service = Service {
    prefix: "secretsmanager",
    plain_fips_in: &[],
    plain_dual_stack_in: &["aws", "aws-cn", "aws-us-gov"],
};

pub(super) const PARAMETER_STORE: Service =
    Service { prefix: "ssm", plain_fips_in: &["aws-us-gov"], plain_dual_stack_in: &[] };

pub(super) const STS: Service =
    Service { prefix: "sts", plain_fips_in: &["aws-us-gov"], plain_dual_stack_in: &[] };

/// A variant of an AWS endpoint: with or without FIPS, and with or without IPv6. The variables
/// `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` choose the variant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variant {
    pub(super) is_fips: bool,
    /// Whether the endpoint has IPv6 addresses in addition to IPv4 addresses.
    pub(super) is_dual_stack: bool,
}

/// Returns the URL of AWS's own endpoint for `service` in `region`.
pub(super) fn public_url(service: Service, region: &str, variant: Variant) -> String {
    let partition = partition_of(region);
    let is_dual_stack = variant.is_dual_stack && !service.plain_dual_stack_in.contains(&partition);
    let is_plain_fips = service.plain_fips_in.contains(&partition) && !is_dual_stack;
    let fips = if variant.is_fips && !is_plain_fips { "-fips" } else { "" };
    let (suffix, dual_stack_suffix) = suffixes(partition);
    let suffix = if is_dual_stack { dual_stack_suffix } else { suffix };
    format!("https://{}{fips}.{region}.{suffix}", service.prefix)
}

/// Returns the domain of the endpoints in an AWS partition, such as `amazonaws.com`, and the domain
/// of the endpoints with IPv6, such as `api.aws`.
fn suffixes(partition: &str) -> (&'static str, &'static str) {
    match partition {
        "aws-cn" => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        "aws-iso" => ("c2s.ic.gov", "api.aws.ic.gov"),
        "aws-iso-b" => ("sc2s.sgov.gov", "api.aws.scloud"),
        "aws-iso-e" => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        "aws-iso-f" => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        "aws-eusc" => ("amazonaws.eu", "api.amazonwebservices.eu"),
        _ => ("amazonaws.com", "api.aws"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_secretsmanager::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};

    const VARIANTS: [Variant; 4] = [
        Variant { is_fips: false, is_dual_stack: false },
        Variant { is_fips: true, is_dual_stack: false },
        Variant { is_fips: false, is_dual_stack: true },
        Variant { is_fips: true, is_dual_stack: true },
    ];

    /// Checks the host names of the endpoints of Parameter Store and of STS in `region`. `expected`
    /// contains those of Parameter Store: the plain, the FIPS, the dual-stack and the dual-stack
    /// FIPS endpoint, in this order.
    #[track_caller]
    fn check(region: &str, expected: [&str; 4]) {
        for (variant, host) in VARIANTS.into_iter().zip(expected) {
            let url = public_url(PARAMETER_STORE, region, variant);
            assert_eq!(url, format!("https://{host}"), "{variant:?}");
            let of_sts = public_url(STS, region, variant);
            assert_eq!(of_sts, url.replacen("ssm", "sts", 1), "{variant:?}");
        }
    }

    #[test]
    fn endpoint_depends_on_the_partition_and_the_variant() {
        check(
            "eu-north-1",
            [
                "ssm.eu-north-1.amazonaws.com",
                "ssm-fips.eu-north-1.amazonaws.com",
                "ssm.eu-north-1.api.aws",
                "ssm-fips.eu-north-1.api.aws",
            ],
        );
        check(
            "us-gov-west-1",
            [
                "ssm.us-gov-west-1.amazonaws.com",
                "ssm.us-gov-west-1.amazonaws.com",
                "ssm.us-gov-west-1.api.aws",
                "ssm-fips.us-gov-west-1.api.aws",
            ],
        );
        for (region, expected) in [
            ("cn-north-1", "ssm.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", "ssm.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "ssm.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "ssm.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "ssm.us-isof-south-1.csp.hci.ic.gov"),
            ("eusc-de-east-1", "ssm.eusc-de-east-1.amazonaws.eu"),
        ] {
            let url = public_url(PARAMETER_STORE, region, Variant::default());
            assert_eq!(url, format!("https://{expected}"));
        }
    }

    /// Compares Sidekey's URLs of Secrets Manager with the URLs that the AWS SDK computes.
    #[tokio::test]
    async fn urls_equal_those_of_the_sdk() {
        let resolver = DefaultResolver::new();
        for region in [
            "eu-north-1",
            "us-gov-west-1",
            "cn-north-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "eu-isoe-west-1",
            "us-isof-south-1",
            "eusc-de-east-1",
        ] {
            // China has no FIPS endpoints. The SDK computes host names that do not exist.
            for variant in VARIANTS.into_iter().filter(|it| region != "cn-north-1" || !it.is_fips) {
                let params = Params::builder()
                    .region(region)
                    .use_fips(variant.is_fips)
                    .use_dual_stack(variant.is_dual_stack)
                    .build()
                    .expect("the SDK must accept the region and the variant of the endpoint");
                let endpoint = resolver.resolve_endpoint(&params).await;
                let endpoint = endpoint.expect("the SDK must find an endpoint for the region");
                let url = public_url(SECRETS_MANAGER, region, variant);
                assert_eq!(url, endpoint.url(), "{variant:?}");
            }
        }
    }
}
