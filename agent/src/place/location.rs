//! A region and an account of AWS.

use std::{fmt, str::FromStr};

/// No name of a region is longer.
const LONGEST_REGION: usize = 24;

/// One region of one account of AWS: what one EC2 knows of, and where a fleet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

impl Location {
    /// Region and account; none, where either is not one.
    pub fn new(region: &str, account: &str) -> Option<Location> {
        let of_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let region_is_one = (1..=LONGEST_REGION).contains(&region.len()) && region.bytes().all(of_region);
        let account_is_one = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        (region_is_one && account_is_one).then(|| Location { region: region.to_owned(), account: account.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.account)
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Location, String> {
        let parts = text.split_once('/');
        let location = parts.and_then(|(region, account)| Location::new(region, account));
        location.ok_or_else(|| format!("{text} is no region and account, such as eu-central-1/123456789012"))
    }
}
