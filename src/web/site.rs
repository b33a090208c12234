//! Answers requests: who may, what is asked, which handler.
//!
//! The only file of the web server that meets a viewer's address and agent; both go into the privacy door at
//! once and nowhere else.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use jiff::Timestamp;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::analytics::Protocol;
use crate::analytics::Transport;
use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Stats;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Outcome;
use crate::audit::Purpose;
use crate::base::peer::PeerAddr;
use crate::base::tasks::Tasks;
use crate::egress::pictures;
use crate::hub::Path;
use crate::hub::PictureReader;
use crate::privacy::RawViewer;
use crate::privacy::Viewer;
use crate::telemetry::Metrics;
use crate::telemetry::Reason;
use crate::web::Context;
use crate::web::Options;
use crate::web::api;
use crate::web::auth;
use crate::web::host;
use crate::web::mjpeg;
use crate::web::paper;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;
use crate::web::report;
use crate::web::report::Form;
use crate::web::rights;
use crate::web::rights::Fields;
use crate::web::route;
use crate::web::route::Live;
use crate::web::route::Route;
use crate::web::route::query_value;
use crate::web::snapshot;
use crate::web::snapshot::Snapshots;

const INDEX: &str = include_str!("ui/index.html");
const STYLE: &str = include_str!("ui/style.css");
const SCRIPT: &str = include_str!("ui/app.js");
const ICON: &str = include_str!("ui/icon.svg");

const PRIVACY_RECEIPT: HeaderName = HeaderName::from_static("privacy-receipt");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The page's own files may be kept, but must be asked for again: a new version shows at once.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// A listener's site.
pub(super) struct Site {
    pub(super) ctx: Context,
    tasks: Tasks,
    snapshots: Snapshots,
    /// Anybody on this machine may read: browsers must not be lent to other sites (DNS rebinding).
    open_on_loopback: bool,
}

impl Site {
    /// The site that `listener` serves.
    pub(super) fn new(ctx: Context, tasks: &Tasks, listener: &TcpListener) -> Self {
        let loopback = listener.local_addr().is_ok_and(|a| a.ip().is_loopback());
        Self {
            snapshots: Snapshots::new(tasks.clone(), ctx.options.get().picture_timeout),
            open_on_loopback: loopback && ctx.users.is_none(),
            tasks: tasks.clone(),
            ctx,
        }
    }
    /// Settings in force.
    pub(super) fn options(&self) -> Arc<Options> {
        self.ctx.options.get()
    }
    /// Where things are counted.
    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.ctx.metrics
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &PeerAddr) -> Response<Body> {
        let (asked, body) = request.into_parts();
        let answered = self.try_answer(&asked, body, peer).await;
        let mut response = answered.unwrap_or_else(Problem::into_response);
        reply::secure(response.headers_mut());
        response
    }

    async fn try_answer(
        &self,
        asked: &Parts,
        body: Incoming,
        peer: &PeerAddr,
    ) -> Result<Response<Body>, Problem> {
        let asks_for = Route::decode(asked.uri.path());
        if !asks_for.as_ref().is_some_and(Route::is_public) {
            self.check_who_asks(asked).await?;
        }
        let asks_for = asks_for.ok_or_else(Problem::no_such_page)?;
        if !asks_for.allows(&asked.method) {
            return Err(Problem::method_not_allowed(asks_for.methods()));
        }
        let reads = asked.method == Method::GET || asked.method == Method::HEAD;
        if asks_for.is_choice() {
            self.check_our_name(asked)?;
        }
        if !reads {
            rights::refuse_other_sites(&asked.uri, &asked.headers)?;
        }
        match asks_for {
            Route::Choices => Ok(rights::choices(self.ctx.rights.options())),
            Route::Consent => self.consent(asked, body).await,
            Route::Withdraw => self.withdraw(asked, body).await,
            Route::Network => self.keep_out(asked, peer),
            Route::Receipt(receipt) => self.receipt(receipt.into(), !reads, &asked.headers).await,
            Route::ReceiptForm => {
                let form = Fields::read(body).await?;
                let receipt = form.value(&asked.uri, "receipt").unwrap_or_default();
                let erase = form.value(&asked.uri, "do").is_some_and(|word| *word == "erase");
                self.receipt(receipt, erase, &asked.headers).await
            }
            Route::Share(token) => self.share(Zeroizing::new(token), asked).await,
            Route::Shares if reads => self.list_shares(asked).await,
            Route::Shares => self.make_share(asked, body).await,
            Route::OneShare(id) => self.revoke_share(id, asked).await,
            Route::Index => Ok(asset("text/html; charset=utf-8", INDEX)),
            Route::Style => Ok(asset("text/css; charset=utf-8", STYLE)),
            Route::Script => Ok(asset("text/javascript; charset=utf-8", SCRIPT)),
            Route::Icon => Ok(asset("image/svg+xml", ICON)),
            Route::Gpc => Ok(api::json(StatusCode::OK, &api::GpcJson::HONOURED)),
            Route::Health => Ok(reply::whole(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
            Route::Metrics => Ok(reply::whole(
                StatusCode::OK,
                api::OPENMETRICS,
                self.ctx.metrics.encode(),
            )),
            Route::Privacy(form) => Ok(paper::notice(&self.ctx.papers.get(), form, asked.uri.query())),
            Route::SecurityTxt => {
                let now = Timestamp::try_from(self.ctx.clock.wall()).unwrap_or_default();
                paper::security_txt(&self.ctx.papers.get(), now)
            }
            Route::Paths => Ok(self.paths(asked)),
            Route::Stats => self.stats(asked).await,
            Route::ToPlayer { path } => {
                let alias = route::is_alias(asked.uri.path());
                self.find(&path).map(|path| to_player(&path, alias))
            }
            Route::Live { path, what } => {
                let path = self.find(&path)?;
                self.may_watch(asked, path.name().as_str())?;
                self.live(&path, what, asked, peer).await
            }
        }
    }

    /// Credentials where the listener has users, and our own name where it is open.
    async fn check_who_asks(&self, asked: &Parts) -> Result<(), Problem> {
        if let Some(users) = &self.ctx.users
            && !auth::admits(users, &asked.headers)
        {
            self.ctx.metrics.lose(Reason::Unauthorized, 1);
            // Browsers ask without credentials first; that is no attempt. Guessing is slow; others wait for nothing of this.
            if asked.headers.contains_key(header::AUTHORIZATION) {
                let failed = Event::new(Actor::Stranger, Action::LoginFailed, Purpose::Security);
                self.ctx
                    .audit
                    .note(failed.object("http").outcome(Outcome::Refused));
                tokio::time::sleep(self.options().penalty).await;
            }
            return Err(Problem::unauthorized());
        }
        self.check_our_name(asked)
    }

    /// Our own name where the listener is open on loopback.
    fn check_our_name(&self, asked: &Parts) -> Result<(), Problem> {
        let host = host::host(&asked.uri, &asked.headers);
        let named = asked.uri.authority().is_some() || asked.headers.contains_key(header::HOST);
        if self.open_on_loopback && named && !host.is_some_and(|h| host::is_ours(&h)) {
            return Err(Problem::wrong_host());
        }
        Ok(())
    }

    /// Whether who asks may watch a path.
    pub(super) fn may_watch(&self, asked: &Parts, path: &str) -> Result<(), Problem> {
        if let Some(users) = &self.ctx.users
            && !auth::may_watch(users, &asked.headers, path)
        {
            self.ctx.metrics.lose(Reason::Unauthorized, 1);
            return Err(Problem::forbidden());
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &str) -> Result<Arc<Path>, Problem> {
        self.ctx.hub.find(path).ok_or_else(Problem::no_such_path)
    }

    async fn live(
        &self,
        path: &Arc<Path>,
        what: Live,
        asked: &Parts,
        peer: &PeerAddr,
    ) -> Result<Response<Body>, Problem> {
        let head_only = asked.method == Method::HEAD; // which must not start a camera
        match what {
            Live::Player => Ok(asset("text/html; charset=utf-8", INDEX)),
            Live::Mjpeg if head_only => Ok(head(mjpeg::CONTENT_TYPE)),
            Live::Mjpeg => Ok(self.mjpeg(path, asked, peer)),
            Live::Snapshot => {
                let width = snapshot::asked_width(asked.uri.query())?;
                if head_only {
                    return Ok(head("image/jpeg"));
                }
                let jpeg = self.snapshots.take(self.subscribe(path), width).await?;
                Ok(reply::whole(StatusCode::OK, "image/jpeg", jpeg))
            }
        }
    }

    fn mjpeg(&self, path: &Arc<Path>, asked: &Parts, peer: &PeerAddr) -> Response<Body> {
        let name = path.name().as_str();
        let viewer = self.admit(name, asked, peer);
        let receipt = viewer.as_ref().and_then(Viewer::receipt);
        let newcomer = mjpeg::Newcomer {
            attempt: self.ctx.recorder.attempt(
                viewer,
                path.name().shared(),
                Protocol::Mjpeg,
                Transport::Tcp,
                self.ctx.clock.now(),
            ),
            permit: self
                .ctx
                .users
                .as_ref()
                .and_then(|users| auth::permit(users, &asked.headers)),
        };
        let stream = mjpeg::Stream::new(
            self.subscribe(path),
            newcomer,
            Arc::clone(&self.ctx.clock),
            Arc::clone(&self.ctx.metrics),
            self.tasks.stopped(),
        );
        let mut response = reply::with_body(StatusCode::OK, mjpeg::CONTENT_TYPE, stream.boxed_unsync());
        if let Some(receipt) = receipt.and_then(|r| HeaderValue::from_str(&r.into_header()).ok()) {
            let headers = response.headers_mut();
            headers.insert(PRIVACY_RECEIPT, receipt);
            headers.insert(
                header::LINK,
                HeaderValue::from_static("</privacy>; rel=\"privacy-policy\""),
            );
        }
        response
    }

    /// Asks for pictures of a path; somebody makes them from now on.
    fn subscribe(&self, path: &Arc<Path>) -> PictureReader {
        let pictures = path.subscribe_pictures();
        pictures::make_while_wanted(&self.tasks, path, &self.ctx.clock);
        pictures
    }

    /// Takes a viewer through the privacy door.
    fn admit(&self, path: &str, asked: &Parts, peer: &PeerAddr) -> Option<Viewer> {
        self.ctx.door.admit_to(path, self.raw(asked, peer))
    }

    /// What the door may know of who asks.
    pub(super) fn raw(&self, asked: &Parts, peer: &PeerAddr) -> RawViewer {
        let agent = asked
            .headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok());
        let all = |name: HeaderName| {
            asked
                .headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap_or_default())
        };
        let peer = self
            .options()
            .proxies
            .behind(peer, all(X_FORWARDED_FOR), all(header::FORWARDED));
        let opted_out = opted_out(asked.uri.query(), &asked.headers) || route::is_alias(asked.uri.path());
        let query = query_value(asked.uri.query(), "consent");
        let header = || {
            let value = asked.headers.get(HeaderName::from_static("x-consent"));
            value.and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        RawViewer::new(peer, agent)
            .opt_out(opted_out)
            .consent(query.or_else(header))
    }

    fn paths(&self, asked: &Parts) -> Response<Body> {
        let host = host::host(&asked.uri, &asked.headers);
        let host = host.as_deref().unwrap_or("localhost");
        let port = self.ctx.options.get().rtsp_port;
        let paths = api::PathsJson::new(&self.ctx.hub.snapshot(), port, host);
        api::json(StatusCode::OK, &paths)
    }

    /// Who asks, for the audit trail.
    pub(super) fn actor(&self, asked: &Parts) -> Actor {
        match &self.ctx.users {
            None => Actor::Local,
            Some(_) => auth::name(&asked.headers).map_or(Actor::Stranger, |name| self.ctx.audit.user(&name)),
        }
    }

    /// Reads are in the audit trail too: who looked at which path, and how many rows left as a file. The name of a path
    /// that does not exist is not ours.
    fn note_view(&self, asked: &Parts, question: &Question, stats: &Stats, left: Option<u64>) {
        let actor = self.actor(asked);
        let path = question.path.as_deref();
        let known = path.map(|path| self.ctx.hub.find(path).map(|p| p.name().to_string()));
        let object = known.map_or_else(String::new, |name| name.unwrap_or_else(|| "other".to_owned()));
        // What was counted, not what was asked for: a page that asks again each minute asks the same.
        let until = question.until.map_or("now".to_owned(), |until| until.to_string());
        let action = match left {
            None => Action::ReportViewed,
            Some(_) => Action::Exported,
        };
        let view = Event::new(actor, action, Purpose::Audience)
            .object(&object)
            .amount(left.unwrap_or(0))
            .hidden(api::hidden_cells(stats))
            .params(format!("since={}&until={until}", stats.from));
        self.ctx.audit.note(view);
    }

    async fn stats(&self, asked: &Parts) -> Result<Response<Body>, Problem> {
        let question = api::question(asked.uri.query(), self.ctx.clock.wall())?;
        let form = Form::wished(asked.uri.query(), &asked.headers)?;
        match query::stats(&self.ctx.store, &question).await {
            Ok(stats) => {
                let (response, left) = report::answer(&stats, form);
                self.note_view(asked, &question, &stats, left);
                Ok(response)
            }
            Err(error) => {
                tracing::warn!(%error, "The statistics could not be read.");
                Err(Problem::no_statistics())
            }
        }
    }
}

/// One of the page's own files.
fn asset(content_type: &'static str, text: &'static str) -> Response<Body> {
    let mut response = reply::whole(StatusCode::OK, content_type, text);
    response.headers_mut().insert(header::CACHE_CONTROL, REVALIDATE);
    response
}

/// What HEAD gets of something that is made when asked for.
fn head(content_type: &'static str) -> Response<Body> {
    let mut response = reply::empty(StatusCode::OK);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Sends a browser to the page of a path; the name is the hub's, not the request's.
fn to_player(path: &Path, alias: bool) -> Response<Body> {
    let mut response = reply::empty(StatusCode::PERMANENT_REDIRECT);
    let alias = if alias { route::ALIAS } else { "" };
    let target = HeaderValue::from_str(&format!("/live/{alias}{}/", path.name()));
    response.headers_mut().insert(
        header::LOCATION,
        target.expect("path names are made of URL characters"),
    );
    response
}

/// Whether a viewer said not to be counted: `DNT: 1`, `Sec-GPC: 1`, `X-Stats: off` or `?stats=off`.
fn opted_out(query: Option<&str>, headers: &HeaderMap) -> bool {
    let says = |name: &'static str, value: &[u8]| {
        let mut all = headers.get_all(HeaderName::from_static(name)).iter();
        all.any(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(value))
    };
    says("dnt", b"1")
        || says("sec-gpc", b"1")
        || says("x-stats", b"off")
        || query_value(query, "stats").is_some_and(|v| v.eq_ignore_ascii_case("off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_signals_opt_out_and_nothing_else_does() {
        let headers = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(opted_out(None, &headers("dnt", "1")));
        assert!(opted_out(None, &headers("sec-gpc", " 1 ")));
        assert!(opted_out(None, &headers("x-stats", "Off")));
        assert!(opted_out(Some("width=3&stats=off"), &HeaderMap::new()));
        assert!(!opted_out(None, &headers("dnt", "0")));
        assert!(!opted_out(None, &headers("sec-gpc", "true")));
        assert!(!opted_out(Some("stats=on"), &HeaderMap::new()));
        assert!(!opted_out(Some("nostats=off"), &HeaderMap::new()));
    }
}
