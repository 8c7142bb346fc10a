//! `.app/Procfile`: the commands of an application, one process type a line (<https://devcenter.heroku.com/articles/procfile>).
//!
//! ```text
//! web: gunicorn project.wsgi
//! release: python manage.py migrate
//! ```

use super::note::Note;

/// Its name in the package.
pub(super) const FILE: &str = ".app/Procfile";

/// The commands that are used of a Procfile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Procfile {
    /// The command that answers requests.
    pub(super) web: Option<String>,
}

impl Procfile {
    /// Reads the file. What is not used of it is noted.
    pub(super) fn parse(text: &str, notes: &mut Vec<Note>) -> Self {
        let mut procfile = Self::default();
        for (before, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let number = before + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, command)) = process_type(line) else {
                notes.push(Note::fault(FILE, number, "is no process type and its command, such as web: ./server"));
                continue;
            };
            match name {
                "web" if procfile.web.is_some() => {
                    notes.push(Note::fault(FILE, number, "names web once more; the line before it is used"));
                }
                "web" => procfile.web = Some(command.to_owned()),
                "release" => notes.push(Note::hint(
                    FILE,
                    number,
                    "release is not run by this version: run it yourself before you publish",
                )),
                other => notes.push(Note::hint(FILE, number, format!("{other} is not run: only web is"))),
            }
        }
        procfile
    }
}

/// The process type and the command of a line.
fn process_type(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.split_once(':')?;
    let named =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let command = command.trim();
    (named && !command.is_empty()).then_some((name, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_is_used_and_the_rest_is_noted_line_by_line() {
        for (text, web, noted) in [
            ("", None, vec![]),
            ("\u{feff}# ours\r\n\r\nweb: gunicorn app:app\r\n", Some("gunicorn app:app"), vec![]),
            ("web:node server.js", Some("node server.js"), vec![]),
            ("web: a:b", Some("a:b"), vec![]),
            ("release: migrate\nweb: x", Some("x"), vec![".app/Procfile:1: release is not run"]),
            ("web: x\nworker-2: y", Some("x"), vec![".app/Procfile:2: worker-2 is not run: only web is"]),
            ("web: x\nweb: y", Some("x"), vec![".app/Procfile:2: names web once more"]),
            ("gunicorn app", None, vec![".app/Procfile:1: is no process type"]),
            ("web:", None, vec![".app/Procfile:1: is no process type"]),
            ("we b: x", None, vec![".app/Procfile:1: is no process type"]),
        ] {
            let mut notes = Vec::new();
            let procfile = Procfile::parse(text, &mut notes);
            assert_eq!(procfile.web.as_deref(), web, "{text:?}");
            assert_eq!(notes.len(), noted.len(), "{text:?}: {notes:?}");
            for (note, said) in notes.iter().zip(noted) {
                assert!(note.to_string().starts_with(said), "{text:?}: {note}");
            }
        }
    }
}
