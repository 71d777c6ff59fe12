//! The names of AWS's regions, to recognise a misspelt name.

/// The regions of AWS, in all partitions, as of November 2026.
///
/// AWS adds regions, so a name that is not in this list is no error. Sidekey only mentions the most
/// similar name in the list.
const REGIONS: [&str; 46] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// Returns the AWS region whose name is most similar to `region`. Returns `None` if `region` is
/// itself a known region.
pub(crate) fn nearest_if_unknown(region: &str) -> Option<&'static str> {
    if REGIONS.contains(&region) {
        return None;
    }
    REGIONS.into_iter().min_by_key(|known| strsim::damerau_levenshtein(region, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::arn::is_region;

    #[test]
    fn misspelt_region_gets_the_most_similar_name() {
        for (misspelt, expected) in [
            ("eu-wset-1", "eu-west-1"),
            ("eu-nort-1", "eu-north-1"),
            ("us-esat-1", "us-east-1"),
            ("eu-west1", "eu-west-1"),
        ] {
            assert_eq!(nearest_if_unknown(misspelt), Some(expected), "{misspelt}");
        }
        for known in REGIONS {
            assert!(is_region(known) && nearest_if_unknown(known).is_none(), "{known}");
        }
    }
}
