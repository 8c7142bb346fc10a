//! What the callers of the world may do: what `spothost policy` prints for their configuration, as IAM would judge it.
//!
//! Every call that passes a proxy and is of a known configuration is judged before it reaches AWS, and answered as AWS words a
//! refusal where the policy does not allow it. The judge is a simulator that is not ours, with AWS's own reference of actions,
//! resources and condition keys as its data.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Call, Recorded, Service, command, connection, shared};

mod need;

pub use need::Need;

/// A policy document.
#[derive(Clone, Debug)]
pub struct Policy {
    document: Arc<Value>,
    /// What tells it from others.
    text: Arc<str>,
}

/// How one need was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The first statement that allows it.
    Allowed(String),
    /// None does.
    Denied,
}

/// What a proxy lets through.
#[derive(Clone, Debug, Default)]
pub(crate) enum Rights {
    /// What `spothost policy` prints for the configuration and the caller.
    #[default]
    Printed,
    /// What this policy allows.
    Given(Policy),
    /// Everything.
    Everything,
}

/// What a call is worth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// The need that nothing allows.
    pub(crate) denied: Option<Need>,
    /// Whether the caller may be told that a key of S3 is not there; none where no caller was judged.
    pub(crate) lists: Option<bool>,
}

impl Policy {
    /// Reads a policy document (JSON).
    ///
    /// # Panics
    /// When it is none whose statements have names.
    pub fn parse(text: &str) -> Policy {
        let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let statements = document["Statement"].as_array().expect("a policy has statements");
        assert!(statements.iter().all(|statement| statement["Sid"].is_string()), "statements have names: {text}");
        Policy { text: document.to_string().into(), document: Arc::new(document) }
    }

    /// What `spothost policy` prints for that configuration (TOML), with further arguments; none where it is not valid.
    pub async fn printed(configuration: &str, who: &str, further: &[&str]) -> Option<Policy> {
        type Known = HashMap<(String, String), Option<Policy>>;
        static KNOWN: LazyLock<tokio::sync::Mutex<Known>> = LazyLock::new(Default::default);
        let key = (configuration.to_owned(), format!("{who} {}", further.join(" ")));
        let mut known = KNOWN.lock().await;
        if let Some(policy) = known.get(&key) {
            return policy.clone();
        }
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("spothost.toml");
        fs::write(&path, configuration).expect("a file");
        let mut command = command::clean(&[]);
        command.args(["policy", "--for", who, "--account", "123456789012"]).args(further).arg("--config").arg(path);
        let ended = command.output().await.expect("the built program starts");
        let text = String::from_utf8_lossy(&ended.stdout);
        let policy = ended.status.success().then(|| Policy::parse(&text));
        known.insert(key, policy.clone());
        policy
    }

    /// The same without the statement of that name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn without(&self, sid: &str) -> Policy {
        let mut document = (*self.document).clone();
        let statements = document["Statement"].as_array_mut().expect("statements");
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != sid);
        assert_eq!(statements.len() + 1, before, "there is no statement {sid}");
        Policy::parse(&document.to_string())
    }

    /// Every right: name of the statement, and action.
    pub fn rights(&self) -> Vec<(String, String)> {
        let statements = self.document["Statement"].as_array().into_iter().flatten();
        let rights = statements.flat_map(|statement| {
            let sid = statement["Sid"].as_str().unwrap_or_default();
            let actions = statement["Action"].as_array().into_iter().flatten().filter_map(Value::as_str);
            actions.map(move |action| (sid.to_owned(), action.to_owned()))
        });
        rights.collect()
    }

    /// Judges each of the needs.
    ///
    /// # Panics
    /// When a need is a question that AWS's reference does not know, such as an action on a resource that it does not take.
    pub async fn judges(&self, needs: &[Need]) -> Vec<Judged> {
        type Known = HashMap<(Arc<str>, Need), Judged>;
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Default::default);
        let found = |need: &Need| {
            let known = KNOWN.lock().expect("no test panics while it holds this");
            known.get(&(self.text.clone(), need.clone())).cloned()
        };
        let unknown: Vec<&Need> = needs.iter().filter(|need| found(need).is_none()).collect();
        if !unknown.is_empty() {
            let answers = Simulator::shared().ask(&self.document, &unknown).await;
            let mut known = KNOWN.lock().expect("no test panics while it holds this");
            for (need, answer) in unknown.iter().zip(answers) {
                let judged = match answer {
                    Answer { error: Some(error), .. } => panic!("{need:?} is no question of IAM's: {error}"),
                    Answer { sid: Some(sid), .. } => Judged::Allowed(sid),
                    Answer { .. } => Judged::Denied,
                };
                known.insert((self.text.clone(), (*need).clone()), judged);
            }
        }
        needs.iter().map(|need| found(need).expect("it was judged")).collect()
    }
}

impl Rights {
    /// Judges a call under `configuration`, and records what it needs.
    pub(crate) async fn judge(&self, call: &Call, configuration: &str) -> Verdict {
        let who = call.app.clone().unwrap_or_else(|| "host".to_owned());
        if call.service == Service::Acme {
            return Verdict::default();
        }
        let needs = need::needs(call).await;
        // What the AWS command line may do is not spothost's to say.
        if who == "aws-cli" {
            return Verdict::default();
        }
        // Where everything is allowed, what is printed has nothing to say of the call.
        if matches!(self, Rights::Everything) {
            return Verdict::default();
        }
        let recorded = Recorded { configuration: configuration.to_owned(), who, ground: None, needs };
        recorded.write();
        let Recorded { who, needs, .. } = recorded;
        let policy = match self {
            Rights::Printed => Policy::printed(configuration, &who, &[]).await,
            Rights::Given(policy) => Some(policy.clone()),
            Rights::Everything => None,
        };
        let Some(policy) = policy else { return Verdict::default() };
        let judged = policy.judges(&needs).await;
        let denied = needs.into_iter().zip(judged).find(|(_, judged)| *judged == Judged::Denied).map(|(need, _)| need);
        let lists = match Need::to_list(call) {
            Some(need) => Some(policy.judges(&[need]).await != [Judged::Denied]),
            None => None,
        };
        Verdict { denied, lists }
    }
}

impl Verdict {
    /// Status, code and message with which the service refuses it.
    pub(crate) fn refusal(&self, call: &Call) -> Option<(u16, &'static str, String)> {
        let Need { action, resource, .. } = self.denied.as_ref()?;
        let who = call.app.as_deref().unwrap_or("host");
        let said = format!(
            "User: arn:aws:sts::123456789012:assumed-role/{who}/i-0 is not authorized to perform: {action} on resource: \
             {resource} because no identity-based policy allows the {action} action"
        );
        Some(match call.service {
            Service::Ec2 => {
                (403, "UnauthorizedOperation", format!("You are not authorized to perform this operation. {said}"))
            }
            Service::SecretsManager | Service::ServiceQuotas => (400, "AccessDeniedException", said),
            _ => (403, "AccessDenied", said),
        })
    }
}

/// The process that answers for IAM, for all tests of one binary.
#[derive(Debug)]
struct Simulator {
    // Its standard input is what keeps it alive.
    _process: Child,
    address: SocketAddr,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

impl Simulator {
    /// The one of this process, started by the first that asks.
    fn shared() -> &'static Simulator {
        static SHARED: OnceLock<Simulator> = OnceLock::new();
        SHARED.get_or_init(Simulator::start)
    }

    fn start() -> Simulator {
        let folder = shared::tools().join("simulator");
        assert!(folder.join("stamp").exists(), "{} is missing: tests/run sets it up", folder.display());
        let mut process = Command::new(folder.join("node"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/world/rights/simulator.mjs"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the simulator starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the simulator says something");
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the simulator did not start; see above"));
        Simulator { _process: process, address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    async fn ask(&self, policy: &Value, needs: &[&Need]) -> Vec<Answer> {
        let body = json!({ "policy": policy, "needs": needs }).to_string();
        let request = Request::post(format!("http://{}/", self.address)).body(Full::new(Bytes::from(body)));
        let request = request.expect("a valid request");
        let answer = connection::plain_client().request(request).await.expect("the simulator answers");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("the whole answer").to_bytes();
        assert!(status.is_success(), "the simulator: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("an answer for each need")
    }
}
