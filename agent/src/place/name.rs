//! A host name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A host name: lower case, without the last dot, letters, digits and hyphens in labels (RFC 1123 §2.1). Or a wildcard for
/// all names one label longer: `*.` before such a name of at least two labels (RFC 9525 §6.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all names one label longer.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        text.parse()
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        let name = text.trim_end_matches('.').to_ascii_lowercase();
        let wrong = |reason: String| Err(format!("`{text}` is not a host name: {reason}"));
        if name.is_empty() || name.len() > 253 {
            return wrong("it has to be 1 to 253 characters long".to_owned());
        }
        let host = name.strip_prefix("*.").unwrap_or(&name);
        if host.len() < name.len() && !host.contains('.') {
            return wrong("a wildcard stands before a name of at least two labels".to_owned());
        }
        if let Some(other) = host.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.')) {
            let hint = if other.is_ascii() { "" } else { "; write it in its xn-- form (RFC 5890)" };
            return wrong(format!("`{other}` cannot stand in one{hint}"));
        }
        for label in host.split('.') {
            if label.is_empty() || label.len() > 63 {
                return wrong("between its dots have to be 1 to 63 characters".to_owned());
            }
            if label.starts_with('-') || label.ends_with('-') {
                return wrong(format!("`{label}` begins or ends with a hyphen"));
            }
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return wrong("it is an address".to_owned());
        }
        Ok(Name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_lower_case_and_has_no_last_dot() {
        let table = [
            ("WWW.Example.ORG.", "www.example.org"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("*.Example.org", "*.example.org"),
        ];
        for (text, name) in table {
            assert_eq!(text.parse::<Name>().expect(text).as_str(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let long = format!("{}.org", "a".repeat(64));
        let table = [
            ("", "1 to 253"),
            ("a..b", "between its dots"),
            (long.as_str(), "1 to 63"),
            ("bücher.example", "xn--"),
            ("a_b.example", "`_`"),
            ("*.org", "at least two labels"),
            ("a.*.example.org", "`*`"),
            ("*a.example.org", "`*`"),
            ("192.0.2.1", "it is an address"),
            ("a b", "` `"),
            ("-a.example", "hyphen"),
        ];
        for (text, reason) in table {
            let said = text.parse::<Name>().expect_err(text);
            assert!(said.contains(reason), "{said}");
        }
    }
}
