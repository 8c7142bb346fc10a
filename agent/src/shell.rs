//! Command lines that people are told to run.

use std::path::Path;

/// The path as a word of a shell's command line (POSIX.1-2017, Shell Command Language, §2.2.2).
pub fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_in_a_command_line_is_one_word() {
        for (path, expected) in [
            ("/home/me/ca.pem", "/home/me/ca.pem"),
            ("/home/my self/ca.pem", "'/home/my self/ca.pem'"),
            ("/a'b;c", r"'/a'\''b;c'"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
