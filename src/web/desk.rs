//! What the site does with viewers' choices and with share links: asks `rights`, the door and the store. The answers are
//! in `rights`.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use zeroize::Zeroizing;

use crate::analytics::query;
use crate::analytics::query::Question;
use crate::analytics::query::Tier;
use crate::audit::Action;
use crate::audit::Actor;
use crate::audit::Event;
use crate::audit::Purpose;
use crate::base::peer::PeerAddr;
use crate::rights::Shares;
use crate::telemetry::Limit;
use crate::web::api;
use crate::web::api::ConsentJson;
use crate::web::api::RecordJson;
use crate::web::api::ShareJson;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;
use crate::web::rights;
use crate::web::rights::Fields;
use crate::web::site::Site;

/// Days that a share may be about, or last.
const SHARE_DAYS: std::ops::RangeInclusive<u16> = 1..=366;
const DAY: Duration = Duration::from_secs(86_400);

impl Site {
    /// A viewer agrees, for the path of the form or for all.
    pub(super) async fn consent(&self, asked: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
        let form = Fields::read(body).await?;
        let path = match form.value(&asked.uri, "path") {
            Some(path) => Some(self.find(&path)?.name().to_string()),
            None => None,
        };
        let given = self.ctx.rights.give(path.clone()).await?;
        if !rights::wants_page(&asked.headers) {
            let notice = self.ctx.rights.notice();
            let shape = ConsentJson::new(&given, path.as_deref(), &notice);
            return Ok(api::json(StatusCode::CREATED, &shape));
        }
        Ok(rights::given(&given, &self.ctx.papers.get().streams_at))
    }

    /// And takes it back.
    pub(super) async fn withdraw(&self, asked: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
        let form = Fields::read(body).await?;
        let header = asked.headers.get("x-consent").and_then(|v| v.to_str().ok());
        let token = form.value(&asked.uri, "consent");
        let token = token.or_else(|| header.map(|text| Zeroizing::new(text.to_owned())));
        let erased = self.ctx.rights.withdraw(token.unwrap_or_default()).await?;
        Ok(rights::withdrawn(erased, &asked.headers))
    }

    /// Nobody of the asker's network is counted until midnight.
    pub(super) fn keep_out(&self, asked: &Parts, peer: &PeerAddr) -> Result<Response<Body>, Problem> {
        if !self.ctx.door.keep_out(self.raw(asked, peer)) {
            self.ctx.metrics.limit(Limit::NetworksKeptOut);
            return Err(Problem::no_more_kept());
        }
        let event = Event::new(Actor::Viewer, Action::NetworkKeptOut, Purpose::Rights);
        self.ctx.audit.note(event);
        Ok(rights::kept_out(&asked.headers))
    }

    /// See or erase the session of a receipt.
    pub(super) async fn receipt(
        &self,
        receipt: Zeroizing<String>,
        erase: bool,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Problem> {
        if erase {
            self.ctx.rights.erase(receipt).await?;
            return Ok(rights::erased(headers));
        }
        let record = self.ctx.rights.read(&receipt).await?;
        let zone = &self.ctx.rights.options().time_zone;
        Ok(rights::record(&RecordJson::new(record, zone), headers))
    }

    /// A report, to who has the link.
    pub(super) async fn share(
        &self,
        token: Zeroizing<String>,
        asked: &Parts,
    ) -> Result<Response<Body>, Problem> {
        let share = self.ctx.rights.share(token).await?;
        let question = Question {
            since: Some(share.since),
            until: Some(share.until),
            path: Some(share.path.clone()),
            tier: Tier::Published,
            now: self.ctx.clock.wall(),
        };
        let stats = query::stats(&self.ctx.store, &question).await.map_err(|error| {
            tracing::warn!(%error, "The statistics could not be read.");
            Problem::no_statistics()
        })?;
        let event = Event::new(Actor::Viewer, Action::ShareViewed, Purpose::Audience);
        self.ctx.audit.note(event.object(&share.path));
        Ok(rights::report(&share.path, &stats, &asked.headers))
    }

    /// The links that are in force.
    pub(super) async fn list_shares(&self, asked: &Parts) -> Result<Response<Body>, Problem> {
        let now = self.ctx.clock.wall();
        let shares = self.ctx.rights.shares(move |shares| shares.list(now)).await?;
        let event = Event::new(self.actor(asked), Action::SharesListed, Purpose::Audience);
        self.ctx.audit.note(event.amount(shares.len() as u64));
        Ok(api::json(StatusCode::OK, &ShareJson::list(&shares)))
    }

    /// A new link: `path`, `days` (7), `expires_days` (30).
    pub(super) async fn make_share(&self, asked: &Parts, body: Incoming) -> Result<Response<Body>, Problem> {
        let form = Fields::read(body).await?;
        let days = |name: &str, usual: u16| match form.value(&asked.uri, name) {
            None => Ok(usual),
            Some(text) => match text.parse() {
                Ok(days) if SHARE_DAYS.contains(&days) => Ok(days),
                _ => Err(Problem::bad_share()),
            },
        };
        let (days, expires) = (days("days", 7)?, days("expires_days", 30)?);
        let path = form.value(&asked.uri, "path").ok_or_else(Problem::bad_share)?;
        let path = self.find(&path)?.name().to_string();
        self.may_watch(asked, &path)?;
        let zone = self.ctx.rights.options().time_zone.clone();
        let (of, now) = (path.clone(), self.ctx.clock.wall());
        let lasts = DAY * u32::from(expires);
        let make = move |shares: &Shares| shares.make(&of, days, lasts, &zone, now);
        let (token, share) = self.ctx.rights.shares(make).await?;
        let event = Event::new(self.actor(asked), Action::ShareMade, Purpose::Audience);
        self.ctx.audit.note(event.object(&path).amount(u64::from(days)));
        Ok(api::json(
            StatusCode::CREATED,
            &ShareJson::new(&share, Some(&token)),
        ))
    }

    /// Ends a link.
    pub(super) async fn revoke_share(&self, id: String, asked: &Parts) -> Result<Response<Body>, Problem> {
        if !self.ctx.rights.shares(move |shares| shares.revoke(&id)).await? {
            return Err(Problem::nothing_of_that());
        }
        let event = Event::new(self.actor(asked), Action::ShareRevoked, Purpose::Audience);
        self.ctx.audit.note(event);
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }
}
