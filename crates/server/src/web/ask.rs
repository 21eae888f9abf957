//! A request on its way to its handler.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;

use super::answer::Refusal;
use super::table::Table;
use super::{Body, Incoming, WebState, body, query};
use crate::app::{AppError, ErrorKind};

/// Who sits at the other end of the connection, behind trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// The address.
    pub(super) address: IpAddr,
    /// Whether the request came over TLS.
    pub(super) https: bool,
}

/// A request that passed the guards and has a route.
pub(super) struct Ask {
    /// What the API stands on.
    pub(super) state: Arc<WebState>,
    /// Who asks.
    pub(super) client: Client,
    /// The `Host` it was sent to, with its port.
    pub(super) host: String,
    /// The headers.
    pub(super) headers: HeaderMap,
    table: Arc<Table>,
    params: Vec<(String, String)>,
    query: String,
    upgrade: Option<OnUpgrade>,
    body: Body,
    /// The form that was read from the body.
    form: Option<Bytes>,
}

impl Ask {
    pub(super) fn new(
        state: Arc<WebState>,
        table: Arc<Table>,
        params: Vec<(String, String)>,
        client: Client,
        host: String,
        incoming: Incoming,
    ) -> Self {
        let Incoming { headers, upgrade, body, query, .. } = incoming;
        Self { state, client, host, headers, table, params, query, upgrade, body, form: None }
    }

    /// The id in the path; `what` says what it is an id of. What is no id belongs to nothing: 404.
    pub(super) fn id<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, Refusal> {
        let text = self.param(name);
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            AppError::new(
                ErrorKind::NotFound,
                "not_found",
                format!("there is no {what} `{shown}`: that is not an id"),
            )
            .hint("an id is a UUID, such as 01900000-0000-7000-8000-000000000000")
            .into()
        })
    }

    /// A parameter of the path, as it stands there.
    pub(super) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(param, _)| param == name).map_or("", |(_, value)| value.as_str())
    }

    /// The query string.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        query::parse(&self.query)
    }

    /// The body, which is JSON.
    pub(super) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Refusal> {
        body::json(&self.headers, &mut self.body).await
    }

    /// The body, which is JSON; the default when there is none.
    pub(super) async fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T, Refusal> {
        body::json_or_default(&self.headers, &mut self.body).await
    }

    /// Whether the body is a form.
    pub(super) fn is_form(&self) -> bool {
        body::is_form(&self.headers)
    }

    /// The body, which is a form of ours. It can be read again.
    pub(super) async fn form(&mut self) -> Result<Bytes, Refusal> {
        if self.form.is_none() {
            self.form = Some(body::form(&self.headers, &mut self.body).await?);
        }
        Ok(self.form.clone().unwrap_or_default())
    }

    /// A field of the form that the body is; none where there is no form, no such field, or nothing in it.
    pub(super) async fn field(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        if !self.is_form() {
            return Ok(None);
        }
        let form = self.form().await?;
        let found =
            url::form_urlencoded::parse(&form).find(|(field, value)| field == name && !value.is_empty());
        Ok(found.map(|(_, value)| value.into_owned()))
    }

    /// The query string as it was sent.
    pub(super) fn query_text(&self) -> &str {
        &self.query
    }

    /// The connection, for a protocol of its own.
    pub(super) const fn upgrade(&mut self) -> Option<OnUpgrade> {
        self.upgrade.take()
    }

    /// The OpenAPI document of all routes.
    pub(super) fn document(&self) -> Bytes {
        self.table.document()
    }
}
