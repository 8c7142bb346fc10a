//! As much of IAM as the policies use: statements that allow, wildcards, and three operators of conditions.
//!
//! IAM User Guide, "IAM JSON policy elements reference". What is not known here allows nothing.

use serde_json::Value;

use crate::need::Need;

/// A policy document.
#[derive(Debug)]
pub(crate) struct Policy(Vec<Value>);

impl Policy {
    pub(crate) fn parse(text: &str) -> Policy {
        let document: Value = serde_json::from_str(text).expect("a policy is JSON");
        assert_eq!(document["Version"], "2012-10-17");
        let statements = document["Statement"].as_array().expect("a policy has statements").clone();
        assert!(statements.iter().all(|statement| statement["Effect"] == "Allow"));
        Policy(statements)
    }

    /// Every right: name of the statement, and action.
    pub(crate) fn rights(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|statement| {
            let sid = statement["Sid"].as_str().expect("a name");
            texts(&statement["Action"]).into_iter().map(move |action| (sid, action))
        })
    }

    /// Name of the statement that allows it; none when nothing does.
    pub(crate) fn allows(&self, need: &Need) -> Option<&str> {
        let allowing = self.0.iter().find(|statement| {
            texts(&statement["Action"]).contains(&need.action.as_str())
                && texts(&statement["Resource"]).iter().any(|pattern| is_like(&need.resource, pattern))
                && holds(&statement["Condition"], need)
        });
        allowing.and_then(|statement| statement["Sid"].as_str())
    }
}

fn holds(condition: &Value, need: &Need) -> bool {
    let Some(operators) = condition.as_object() else { return condition.is_null() };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().expect("keys and values").iter().all(|(key, allowed)| {
            let values = need.keys.get(key.as_str());
            let allowed = texts(allowed);
            match operator.as_str() {
                "StringEquals" => {
                    values.is_some_and(|values| values.iter().all(|value| allowed.contains(&value.as_str())))
                }
                "StringLike" => values.is_some_and(|values| {
                    values.iter().all(|value| allowed.iter().any(|pattern| is_like(value, pattern)))
                }),
                // Holds for no values, too.
                "ForAllValues:StringEquals" => {
                    values.is_none_or(|values| values.iter().all(|value| allowed.contains(&value.as_str())))
                }
                _ => false,
            }
        })
    })
}

/// One text, or several.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(all) => all.iter().map(|text| text.as_str().expect("text")).collect(),
        other => panic!("{other} is no text"),
    }
}

/// `*` is any number of characters, `?` is one.
fn is_like(text: &str, pattern: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => (0..=text.len()).any(|at| text.is_char_boundary(at) && is_like(&text[at..], &pattern[1..])),
        (Some('?'), Some(one)) => is_like(&text[one.len_utf8()..], &pattern[1..]),
        (Some(wanted), Some(one)) if wanted == one => is_like(&text[one.len_utf8()..], &pattern[wanted.len_utf8()..]),
        _ => false,
    }
}
