//! Who hands out credentials to people: IAM Identity Center's portal and its OIDC, and the sign-in of the console.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::{
    Account,
    connection::{self, Handler, Outcome},
};

/// The token that the portal takes.
pub const TOKEN: &str = "token-of-the-session";

/// A service that gives out the keys of one account.
#[derive(Debug)]
pub struct SignIn {
    address: SocketAddr,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    account: Account,
    calls: Mutex<Vec<String>>,
}

impl SignIn {
    /// Starts one for that account.
    pub async fn of(account: &Account) -> SignIn {
        let desk = Arc::new(Desk { account: account.clone(), calls: Mutex::default() });
        SignIn { address: connection::serve(desk.clone(), None).await, desk }
    }

    /// The variables that lead the SDK to it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        ["SSO", "SSO_OIDC", "SIGNIN"].map(|service| (format!("AWS_ENDPOINT_URL_{service}"), endpoint.clone())).to_vec()
    }

    /// How often it was asked on that path.
    ///
    /// # Panics
    /// Never, as long as no test panics while it asks.
    pub fn count(&self, path: &str) -> usize {
        self.desk.calls.lock().expect("no holder panics").iter().filter(|call| *call == path).count()
    }
}

impl Desk {
    fn keys(&self) -> Value {
        json!({
            "accessKeyId": self.account.access_key,
            "secretAccessKey": self.account.secret_key,
            "sessionToken": self.account.session_token,
        })
    }

    fn answer(&self, path: &str, bearer: Option<&str>) -> (u16, Value) {
        match path {
            // Portal API reference, "GetRoleCredentials": the end in milliseconds since 1970.
            "/federation/credentials" if bearer == Some(TOKEN) => {
                let mut keys = self.keys();
                keys["expiration"] = json!(4_102_444_800_000_u64);
                (200, json!({ "roleCredentials": keys }))
            }
            "/federation/credentials" => (401, json!({ "message": "Session token not found or invalid" })),
            // OIDC API reference, "CreateToken".
            "/token" => {
                (200, json!({ "accessToken": TOKEN, "tokenType": "Bearer", "expiresIn": 3600, "refreshToken": "next" }))
            }
            // Sign-In API reference, "CreateOAuth2Token".
            "/v1/token" => {
                let answer = json!({ "accessToken": self.keys(), "tokenType": "aws_sigv4", "expiresIn": 900, "refreshToken": "next" });
                (200, answer)
            }
            _ => (404, json!({ "message": "not here" })),
        }
    }
}

impl Handler for Desk {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Outcome {
        let (parts, body) = request.into_parts();
        let _ = body.collect().await;
        let path = parts.uri.path();
        self.calls.lock().expect("no holder panics").push(path.to_owned());
        let bearer = parts.headers.get("x-amz-sso_bearer_token").and_then(|value| value.to_str().ok());
        let (status, answer) = self.answer(path, bearer);
        let mut response = Response::builder().status(status).header("content-type", "application/json");
        if status == 401 {
            response = response.header("x-amzn-errortype", "UnauthorizedException");
        }
        Outcome::Answer(response.body(Bytes::from(answer.to_string())).expect("a valid answer"))
    }
}
