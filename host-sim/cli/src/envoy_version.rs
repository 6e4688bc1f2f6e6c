//! `--envoy-version`: what the filter does as one Envoy's own routes do and another's do not.

use istio_config::filter_config::RepeatedHeaders;

/// From this minor version of Envoy 1 on, each value of a repeated header is compared alone.
const EACH_SINCE: u32 = 39;

/// How the routes of this version, such as `1.38` or `1.38.2`, compare a header that comes more than once.
///
/// # Errors
///
/// It is no version of Envoy.
pub(crate) fn repeated_headers(version: &str) -> Result<RepeatedHeaders, String> {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor)), None | Some(Ok(_)), None) if minor < EACH_SINCE => Ok(RepeatedHeaders::Joined),
        (Some(Ok(1)), Some(Ok(_)), None | Some(Ok(_)), None) => Ok(RepeatedHeaders::Each),
        _ => Err(format!("`{version}` is no version of Envoy: write 1.38 or 1.38.2")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_joined_up_to_1_38() {
        for (version, expected) in [
            ("1.36.4", RepeatedHeaders::Joined),
            ("1.38", RepeatedHeaders::Joined),
            ("1.39", RepeatedHeaders::Each),
            ("1.40.0", RepeatedHeaders::Each),
        ] {
            assert_eq!(repeated_headers(version), Ok(expected), "{version}");
        }
        for nonsense in ["", "1", "2.0", "1.x", "1.38.2.1", "v1.38"] {
            assert!(repeated_headers(nonsense).is_err(), "{nonsense}");
        }
    }
}
