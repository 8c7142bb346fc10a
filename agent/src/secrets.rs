//! Values that an application is given, and that nobody else sees: held in memory, and shown by nothing.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use spothost_server::{is_reserved_name, secret_name};
use zeroize::Zeroizing;

/// The most values, and the most bytes of their names and values together: with the rest of a command they fit into one message to a
/// runner.
const MOST: usize = 100;
const MOST_BYTES: usize = 24 << 10;

/// A value. It is shown by nothing, and wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(Zeroizing<String>);

/// Values by the names of the variables that they become.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretSet(BTreeMap<String, SecretText>);

/// By which a set is known without being told: its SHA-256 behind a drawn key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    key: String,
    digest: String,
}

impl SecretText {
    /// That value.
    pub fn new(text: impl Into<String>) -> SecretText {
        SecretText(Zeroizing::new(text.into()))
    }

    /// The value, to be handed to the process that it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for SecretSet {
    /// Its names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SecretSet {
    /// The members of a JSON object: texts, whole numbers, and booleans.
    ///
    /// # Errors
    /// What is wrong with it, in words that have names and places of it, and no values.
    pub fn parse(text: &str) -> Result<SecretSet, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| {
            // What serde says may have a part of the value.
            format!("it is no JSON object: what stands in line {}, column {} is no JSON", error.line(), error.column())
        })?;
        let Value::Object(members) = value else {
            return Err(format!("it is {}, and no JSON object of names and values", kind(&value)));
        };
        let mut values = BTreeMap::new();
        for (name, value) in members {
            let text = match value {
                Value::String(text) => text,
                // A fraction, or a larger number, would not be written again as it was.
                Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
                Value::Bool(is) => is.to_string(),
                other => return Err(format!("{} is {}: write it as text, in quotes", shown(&name), kind(&other))),
            };
            values.insert(name, SecretText::new(text));
        }
        SecretSet::checked(values)
    }

    /// These values. Those that no application can need, as the host sets the variable of that name itself, are left out.
    ///
    /// # Errors
    /// Which name, character or size is not allowed, in words without values.
    pub fn checked(mut values: BTreeMap<String, SecretText>) -> Result<SecretSet, String> {
        values.retain(|name, _| !is_reserved_name(name));
        for (name, value) in &values {
            secret_name(name).map_err(|why| format!("{} {why}", shown(name)))?;
            if value.expose().chars().any(|one| one.is_control() && !matches!(one, '\t' | '\n' | '\r')) {
                return Err(format!("{name} holds a control character: write it in base64, or as hexadecimal digits"));
            }
        }
        let bytes: usize = values.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
        if values.len() > MOST || bytes > MOST_BYTES {
            return Err(format!(
                "it has {} values of {bytes} bytes with their names; {MOST} of {MOST_BYTES} bytes are allowed",
                values.len()
            ));
        }
        Ok(SecretSet(values))
    }

    /// These values, of which those that no variable can have are left out.
    pub fn of_environment(values: impl IntoIterator<Item = (String, String)>) -> SecretSet {
        let allowed = values.into_iter().filter(|(name, _)| secret_name(name).is_ok());
        SecretSet(allowed.map(|(name, value)| (name, SecretText::new(value))).collect())
    }

    /// The same, and those of `others` whose names it does not have.
    #[must_use]
    pub fn or(mut self, others: SecretSet) -> SecretSet {
        for (name, value) in others.0 {
            self.0.entry(name).or_insert(value);
        }
        self
    }

    /// Those of these names.
    ///
    /// # Errors
    /// The names that it does not have.
    pub fn only<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<SecretSet, Vec<String>> {
        let (mut values, mut missing) = (BTreeMap::new(), Vec::new());
        for name in names {
            match self.0.get(name) {
                Some(value) => drop(values.insert(name.clone(), value.clone())),
                None => missing.push(name.clone()),
            }
        }
        if missing.is_empty() { Ok(SecretSet(values)) } else { Err(missing) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Names and values, to be handed to the process that they are for.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// Its seal, with a key that is drawn now; none without randomness, and for an empty set.
    pub fn sealed(&self) -> Option<Seal> {
        let mut key = [0; 32];
        if self.is_empty() || rand::fill(&mut key).is_err() {
            return None;
        }
        let key = hex::encode(key);
        Some(Seal { digest: self.digest(&key), key })
    }

    fn digest(&self, key: &str) -> String {
        let mut digest = Sha256::new().chain_update(key);
        for part in self.expose().flat_map(|(name, value)| [name, value]) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        hex::encode(digest.finalize())
    }
}

impl Seal {
    /// Whether it is the seal of these.
    pub fn is_of(&self, set: &SecretSet) -> bool {
        set.digest(&self.key) == self.digest
    }
}

/// A name as it is shown: whole if a variable may have it. Any other may be a value in the wrong place, of which three characters are told.
fn shown(name: &str) -> String {
    if secret_name(name).is_ok() {
        return name.to_owned();
    }
    let mut characters = name.chars();
    let begin: String = characters.by_ref().take(3).collect();
    if characters.next().is_none() { format!("{begin:?}") } else { format!("{begin:?}…") }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-7f3a";

    #[test]
    fn members_are_texts_and_what_is_written_like_one() {
        let set = SecretSet::parse(r#"{"A": "x\ny", "B": -125, "C": true, "D": "", "PORT": "1", "LD_PRELOAD": "x"}"#)
            .expect("valid");
        assert_eq!(set.expose().collect::<Vec<_>>(), [("A", "x\ny"), ("B", "-125"), ("C", "true"), ("D", "")]);
        assert_eq!(SecretSet::parse("{}"), Ok(SecretSet::default()));
    }

    #[test]
    fn what_is_none_is_said_to_be_with_names_and_without_values() {
        let many = (0..=MOST).map(|number| format!("\"V{number}\": \"{CANARY}\"")).collect::<Vec<_>>().join(",");
        let much = format!("{{\"A\": \"{}\"}}", CANARY.repeat(MOST_BYTES / CANARY.len() + 1));
        for (text, says) in [
            (CANARY, "it is no JSON object: what stands in line 1, column 1"),
            (&format!("\"{CANARY}\""), "it is a text, and no JSON object"),
            (&format!("{{\"A\": \"{CANARY}"), "line 1, column 18"),
            ("", "line 1, column 0"),
            (&format!("[\"{CANARY}\"]"), "it is a list"),
            (&format!("{{\"A\": [\"{CANARY}\"]}}"), "A is a list: write it as text"),
            (&format!("{{\"A\": {{\"B\": \"{CANARY}\"}}}}"), "A is an object"),
            ("{\"A\": null}", "A is null"),
            ("{\"A\": 1.10}", "A is a number: write it as text"),
            ("{\"A\": 18446744073709551616}", "A is a number: write it as text"),
            (&format!("{{\"{CANARY}\": \"PASSWORD\"}}"), "\"can\"… is no name of a variable"),
            (&format!("{{\"A-B\": \"{CANARY}\"}}"), "\"A-B\" is no name of a variable"),
            (&format!("{{\"A\": \"{CANARY}\\u0000\"}}"), "A holds a control character"),
            (&format!("{{{many}}}"), "it has 101 values"),
            (&much, "24576 bytes are allowed"),
        ] {
            let said = SecretSet::parse(text).expect_err(text);
            assert!(said.contains(says) && !said.contains(CANARY), "{text}: {said}");
        }
    }

    #[test]
    fn nothing_shows_a_value() {
        let set = SecretSet::parse(&format!("{{\"A\": \"{CANARY}\"}}")).expect("valid");
        assert_eq!(format!("{set:?}"), "{\"A\"}");
        assert_eq!(format!("{:?}", SecretText::new(CANARY)), "…");
        assert!(!format!("{:?}", set.sealed()).contains(CANARY));
    }

    #[test]
    fn seal_is_of_the_same_names_and_values_and_is_never_drawn_twice() {
        let parsed = |text: &str| SecretSet::parse(text).expect("valid");
        let set = parsed(r#"{"A": "b", "C": "d"}"#);
        let seal = set.sealed().expect("drawn");
        assert!(seal.is_of(&parsed(r#"{"C": "d", "A": "b"}"#)));
        for other in [r#"{"A": "b"}"#, r#"{"A": "b", "C": "e"}"#, r#"{"A": "bC", "": "d"}"#, r#"{"AbC": "d"}"#, "{}"] {
            assert!(!SecretSet::parse(other).is_ok_and(|other| seal.is_of(&other)), "{other}");
        }
        assert_ne!(set.sealed(), Some(seal));
        assert_eq!(SecretSet::default().sealed(), None);
    }

    #[test]
    fn those_that_are_needed_are_there_or_named() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let set = SecretSet::parse(r#"{"A": "1", "B": "2"}"#).expect("valid");
        assert_eq!(set.only(&names(&["B"])).expect("there").expose().collect::<Vec<_>>(), [("B", "2")]);
        assert_eq!(set.only(&names(&["C", "A", "D"])), Err(names(&["C", "D"])));
        let environment =
            [("B", "3"), ("C", "4"), ("A-B", "5")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let both = set.or(SecretSet::of_environment(environment));
        assert_eq!(both.expose().collect::<Vec<_>>(), [("A", "1"), ("B", "2"), ("C", "4")]);
    }
}
