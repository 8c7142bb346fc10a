//! Requests of one visitor over one connection.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::{
    Visitor,
    visitor::{Answer, Line},
};

/// How long an answer may take.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// A connection of a visitor, and another one once the server has ended it.
pub struct Talk {
    visitor: Visitor,
    h2: bool,
    line: Option<Line>,
}

impl Talk {
    pub(crate) fn of(visitor: Visitor, h2: bool) -> Talk {
        Talk { visitor, h2, line: None }
    }

    /// Sends that request, whose URI is a path; the authority is added.
    ///
    /// # Errors
    /// What went wrong, when there was no whole answer.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Answer, String> {
        let sent = tokio::time::timeout(LONGEST_ANSWER, self.send_over(request)).await;
        sent.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn send_over(&mut self, request: Request<Bytes>) -> Result<Answer, String> {
        let request = self.addressed(request)?;
        let kept = match self.line.take() {
            Some(mut kept) => kept.ready().await.then_some(kept),
            None => None,
        };
        let mut line = match kept {
            Some(kept) => kept,
            None => self.visitor.connect(self.h2).await?.0,
        };
        let answer = line.send(request).await?;
        self.line = Some(line);
        Ok(answer)
    }

    fn addressed(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, String> {
        let (mut parts, content) = request.into_parts();
        let authority = self.visitor.authority();
        if self.h2 {
            parts.uri = format!("https://{authority}{}", parts.uri).parse().map_err(|error| format!("{error}"))?;
        } else {
            parts.headers.insert(http::header::HOST, authority.parse().map_err(|error| format!("{error}"))?);
        }
        Ok(Request::from_parts(parts, Full::new(content)))
    }
}
