//! When a site was last modified, as its publisher says: `--source-date`.

use std::{env, path::Path, process::Command, str::FromStr};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{BAD_CONFIGURATION, Stop};

/// The variable by which builds are told the time of their source (<https://reproducible-builds.org/specs/source-date-epoch/>).
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// A time that was said, in seconds since 1970 or as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceDate(OffsetDateTime);

impl FromStr for SourceDate {
    type Err = String;

    fn from_str(text: &str) -> Result<SourceDate, String> {
        let seconds = text.parse().ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let at = seconds.or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
        let at = at
            .ok_or_else(|| format!("`{text}` is neither seconds since 1970 nor a time such as 2026-11-21T12:00:00Z"))?;
        match at.year() {
            1980..=2107 => Ok(SourceDate(at)),
            year => Err(format!("`{text}` is in {year}: a zip knows the years 1980 to 2107")),
        }
    }
}

/// The time that was `said`; where none was, the one that the environment tells, or that of the last commit of the repository in
/// which `site` lies.
pub(super) fn found(said: Option<&SourceDate>, site: &Path) -> Result<OffsetDateTime, Stop> {
    if let Some(said) = said {
        return Ok(said.0);
    }
    let (from, text) = match env::var(VARIABLE) {
        Ok(text) => (VARIABLE.to_owned(), text),
        Err(_) => (format!("the last commit of {}", site.display()), last_commit(site)?),
    };
    let parsed = text.trim().parse::<SourceDate>();
    parsed.map(|at| at.0).map_err(|said| Stop::new(BAD_CONFIGURATION, format!("--source-date: {from}: {said}")))
}

/// Seconds since 1970 of the last commit, as git says it.
fn last_commit(site: &Path) -> Result<String, Stop> {
    let folder = if site.is_dir() {
        site
    } else {
        site.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
    };
    let said = Command::new("git").arg("-C").arg(folder).args(["log", "-1", "--format=%ct"]).output();
    let why = match said {
        Ok(output) if output.status.success() => return Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let cure = format!("say it: --source-date=2026-11-21T12:00:00Z, or set {VARIABLE}");
    Err(Stop::new(
        BAD_CONFIGURATION,
        format!("--source-date: asking git for the last commit of {}: {why}; {cure}", folder.display()),
    ))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn time_is_read_as_people_and_programs_write_it() {
        for (text, expected) in [
            ("1795262400", Some(datetime!(2026-11-21 12:00 UTC))),
            ("2026-11-21T12:00:00Z", Some(datetime!(2026-11-21 12:00 UTC))),
            ("2026-11-21T13:00:00+01:00", Some(datetime!(2026-11-21 12:00 UTC))),
            ("0", None),
            ("4354819200", None),
            ("99999999999999", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<SourceDate>().ok().map(|at| at.0), expected, "{text}");
        }
    }

    #[test]
    fn time_of_the_last_commit_is_that_of_git() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.arg("-C").arg(folder.path()).args(arguments).env("GIT_COMMITTER_DATE", "1795262400 +0000");
            git.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
                .output()
                .expect("git starts")
        };
        let missing = last_commit(folder.path()).expect_err("no repository");
        assert!(missing.code == BAD_CONFIGURATION && missing.said.contains("--source-date=2026"), "{}", missing.said);
        git(&["init", "-q"]);
        let who = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
        let made = git(&[&who[..], &["commit", "-q", "--allow-empty", "-m", "x"]].concat());
        assert!(made.status.success(), "{made:?}");
        let site = folder.path().join("public");
        std::fs::create_dir(&site).expect("made");
        assert_eq!(last_commit(&site).ok().as_deref(), Some("1795262400\n"));
        assert_eq!(last_commit(&folder.path().join("site.zip")).ok().as_deref(), Some("1795262400\n"));
    }
}
