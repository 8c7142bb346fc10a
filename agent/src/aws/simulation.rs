//! What a role may do, as IAM itself reckons it, without doing it (`iam:SimulatePrincipalPolicy`).

use std::collections::BTreeMap;

use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Aws,
    partition::Partition,
    signed::{Service, post},
};
use crate::fault::Fault;

/// IAM has one end point in each partition, whose signatures name one region.
const IAM: Service = Service {
    name: "iam",
    host: |region| Partition::of(region).iam.0.to_owned(),
    region: |region| Partition::of(region).iam.1.to_owned(),
};

/// A question to IAM: may this action be done on this resource?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Actions, such as `s3:GetObject`.
    pub actions: Vec<String>,
    /// ARN of the resource.
    pub resource: String,
    /// Values of condition keys.
    pub context: BTreeMap<String, Vec<String>>,
}

/// The actions of `question` that `role` (its ARN) may not carry out.
///
/// # Errors
/// What IAM refuses.
pub async fn denied(aws: &Aws, role: &str, question: &Question) -> Result<Vec<String>, Fault> {
    let doing = format!("asking IAM what {role} may do");
    let answer = post(aws, IAM, &doing, &[], "application/x-www-form-urlencoded", form(role, question)).await?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status.is_success() {
        return evaluated(&text).map_err(|said| Fault::retry(doing, said));
    }
    let (code, message) = error(&text).unwrap_or_default();
    let said = format!("{code}: {message}");
    Err(match code.as_str() {
        "AccessDenied" => {
            Fault::operator(doing, said, "allow iam:SimulatePrincipalPolicy: spothost policy --for operator")
        }
        "NoSuchEntity" => Fault::operator(doing, said, "name the role of the hosts: spothost doctor --role NAME"),
        _ => Fault::retry(doing, said),
    })
}

fn form(role: &str, question: &Question) -> String {
    let mut fields = vec![
        ("Action".to_owned(), "SimulatePrincipalPolicy"),
        ("Version".to_owned(), "2010-05-08"),
        ("PolicySourceArn".to_owned(), role),
        ("ResourceArns.member.1".to_owned(), &question.resource),
    ];
    for (number, action) in (1..).zip(&question.actions) {
        fields.push((format!("ActionNames.member.{number}"), action));
    }
    for (number, (key, values)) in (1..).zip(&question.context) {
        let entry = format!("ContextEntries.member.{number}");
        let kind = if values.len() == 1 { "string" } else { "stringList" };
        fields.push((format!("{entry}.ContextKeyName"), key));
        fields.push((format!("{entry}.ContextKeyType"), kind));
        for (number, value) in (1..).zip(values) {
            fields.push((format!("{entry}.ContextKeyValues.member.{number}"), value));
        }
    }
    let encoded = fields.iter().map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    encoded.collect::<Vec<_>>().join("&")
}

/// The actions whose decision is not `allowed`.
fn evaluated(text: &str) -> Result<Vec<String>, String> {
    let mut denied = Vec::new();
    let mut seen = 0;
    visit(text, "EvaluationResults", |results| {
        while let Some(mut member) = results.next_tag() {
            let mut action = String::new();
            let mut decision = String::new();
            while let Some(mut field) = member.next_tag() {
                let wanted = match field.start_el().local() {
                    "EvalActionName" => &mut action,
                    "EvalDecision" => &mut decision,
                    _ => continue,
                };
                *wanted = try_data(&mut field).map_err(|error| error.to_string())?.into_owned();
            }
            seen += 1;
            if decision != "allowed" {
                denied.push(action);
            }
        }
        Ok(())
    })?;
    match seen {
        0 => Err("an answer without results".to_owned()),
        _ => Ok(denied),
    }
}

fn error(text: &str) -> Result<(String, String), String> {
    let mut found = (String::new(), String::new());
    visit(text, "Error", |error| {
        while let Some(mut field) = error.next_tag() {
            let wanted = match field.start_el().local() {
                "Code" => &mut found.0,
                "Message" => &mut found.1,
                _ => continue,
            };
            *wanted = try_data(&mut field).map_err(|error| error.to_string())?.into_owned();
        }
        Ok(())
    })?;
    Ok(found)
}

/// Goes down to the element of that name and visits it.
fn visit(
    text: &str,
    name: &str,
    mut of: impl FnMut(&mut ScopedDecoder<'_, '_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut document = Document::new(text);
    let mut root = document.root_element().map_err(|error| error.to_string())?;
    if root.start_el().local() == name {
        return of(&mut root);
    }
    while let Some(mut child) = root.next_tag() {
        if child.start_el().local() == name {
            return of(&mut child);
        }
        while let Some(mut grandchild) = child.next_tag() {
            if grandchild.start_el().local() == name {
                return of(&mut grandchild);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
        <SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>\
        <member><EvalActionName>s3:GetObject</EvalActionName><EvalDecision>allowed</EvalDecision>\
        <EvalResourceName>x</EvalResourceName></member>\
        <member><MatchedStatements/><EvalDecision>implicitDeny</EvalDecision>\
        <EvalActionName>s3:PutObject</EvalActionName></member></EvaluationResults>\
        </SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>";

    #[test]
    fn denied_actions_are_read_from_the_answer() {
        assert_eq!(evaluated(ANSWER), Ok(vec!["s3:PutObject".to_owned()]));
        assert!(evaluated("<a/>").is_err());
        for end in 0..ANSWER.len() {
            let _ = evaluated(&ANSWER[..end]);
        }
        let refused = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        assert_eq!(error(refused), Ok(("AccessDenied".to_owned(), "no".to_owned())));
    }

    #[test]
    fn question_is_a_form_with_numbered_members() {
        let context = [("k:a".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into();
        let question = Question { actions: vec!["a:B".to_owned()], resource: "arn:x/*".to_owned(), context };
        let form = form("arn:role", &question);
        assert!(
            form.ends_with(
                "PolicySourceArn=arn%3Arole&ResourceArns.member.1=arn%3Ax%2F%2A&ActionNames.member.1=a%3AB\
             &ContextEntries.member.1.ContextKeyName=k%3Aa&ContextEntries.member.1.ContextKeyType=stringList\
             &ContextEntries.member.1.ContextKeyValues.member.1=1&ContextEntries.member.1.ContextKeyValues.member.2=2"
            ),
            "{form}"
        );
    }
}
