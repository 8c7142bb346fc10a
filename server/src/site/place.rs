//! For which host a rule of a package is, and where a request came.

use std::fmt;

/// Where a request came: by its scheme and name, rules for one host alone are obeyed or not.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// The name it came to, in lower case and without a port; empty if unknown.
    pub(crate) host: &'a str,
    /// Whether this is where the site is: at its own name, over TLS. Requests to other names that it has, and those without
    /// TLS, are sent there.
    pub(crate) canonical: bool,
    /// Whether a name is one that the site has.
    pub(crate) is_own: &'a dyn Fn(&str) -> bool,
}

impl Place<'_> {
    /// Nowhere in particular: no rule for one host is obeyed.
    pub(crate) fn unknown() -> Self {
        Self { secure: true, host: "", canonical: true, is_own: &|_| false }
    }

    /// Whether a URL with this path would lead a request for `path` back to where it came.
    pub(crate) fn is_same(&self, scheme: &str, host: &str) -> bool {
        let name = without_port(host);
        // Another port is another place: something else answers there.
        if !matches!((scheme, &host[name.len()..]), (_, "") | ("https", ":443") | ("http", ":80")) {
            return false;
        }
        let host = name.to_ascii_lowercase();
        if self.canonical { (self.is_own)(&host) } else { host == self.host && (scheme == "https") == self.secure }
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.host)
    }
}

/// The scheme and the host of a rule that is for one host alone, as in `https://old.example.org/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForHost {
    secure: bool,
    /// In lower case. A label that is `*`, or begins with a colon, stands for any one.
    host: Box<str>,
}

impl ForHost {
    /// Takes the scheme and the host off a path that begins with them; the path is `/` if there is none.
    ///
    /// # Errors
    /// The host is none.
    pub(crate) fn take(text: &str) -> Result<(Option<Self>, &str), &'static str> {
        let Some((secure, rest)) = scheme(text) else { return Ok((None, text)) };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = without_port(host).to_ascii_lowercase();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'*');
        if host.is_empty() || !host.bytes().all(is_allowed) {
            return Err("the target has no valid host; write one outside of ASCII in its form with xn--");
        }
        Ok((Some(Self { secure, host: host.into() }), if path.is_empty() { "/" } else { path }))
    }

    /// Whether the rule is for requests that came here.
    pub(crate) fn is_for(&self, place: &Place<'_>) -> bool {
        let mut wanted = self.host.split('.');
        let mut labels = place.host.split('.');
        let alike = |wanted: &str, label: &str| wanted == label || wanted == "*" || wanted.starts_with(':');
        loop {
            match (wanted.next(), labels.next()) {
                (None, None) => return self.secure == place.secure,
                (Some(wanted), Some(label)) if alike(wanted, label) => {}
                _ => return false,
            }
        }
    }

    /// The host, for people.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

/// Whether the text begins with `https://` or `http://`, and what follows.
pub(crate) fn scheme(text: &str) -> Option<(bool, &str)> {
    let is = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    match text {
        _ if is("https://") => Some((true, &text[8..])),
        _ if is("http://") => Some((false, &text[7..])),
        _ => None,
    }
}

/// The host of an authority.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_a_host_is_for_its_scheme_and_name_alone() {
        for (rule, secure, host, expected) in [
            ("https://old.example.org/*", true, "old.example.org", true),
            ("HTTPS://Old.Example.org:443/*", true, "old.example.org", true),
            ("https://old.example.org/*", false, "old.example.org", false),
            ("http://old.example.org/*", false, "old.example.org", true),
            ("https://old.example.org/*", true, "example.org", false),
            ("https://*.example.org/*", true, "a.example.org", true),
            ("https://*.example.org/*", true, "a.b.example.org", false),
            ("https://:version.:project.pages.dev/*", true, "a.b.pages.dev", true),
            ("https://old.example.org", true, "old.example.org", true),
            ("https://old.example.org/*", true, "", false),
        ] {
            let (rule, path) = ForHost::take(rule).unwrap();
            assert!(matches!(path, "/*" | "/"));
            let place = Place { secure, host, canonical: false, is_own: &|_| false };
            assert_eq!(rule.unwrap().is_for(&place), expected, "{place:?}");
        }
        assert_eq!(ForHost::take("/a").unwrap(), (None, "/a"));
        for wrong in ["https:///a", "https://m\u{fc}ller.example/a", "http://a b/"] {
            assert!(ForHost::take(wrong).is_err(), "{wrong}");
        }
    }
}
