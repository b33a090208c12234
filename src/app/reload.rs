//! SIGHUP: what the configuration says now takes effect, as far as that can be while others watch.
//!
//! Paths that stayed the same are not touched. Nothing changes when the file has a mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::Start;
use crate::app::hub_options;
use crate::app::listen::Bound;
use crate::app::papers;
use crate::app::rtsp_options;
use crate::app::rules;
use crate::app::sensitive;
use crate::app::sources::Sources;
use crate::app::web_options;
use crate::audit::Audit;
use crate::audit::Outcome;
use crate::base::clock::SharedClock;
use crate::base::live::Live;
use crate::base::tls::Identity;
use crate::config::Config;
use crate::config::credentials;
use crate::egress::rtsp;
use crate::hub::Hub;
use crate::privacy::Door;
use crate::proto::rtsp::auth::Users;
use crate::rights::Registry;
use crate::web;

/// What can be changed while the program runs.
pub(super) struct Running {
    /// As it was started: what cannot change is compared with this.
    pub(super) start: Start,
    pub(super) audit: Audit,
    /// Settings as the trail was told of them last.
    pub(super) told: BTreeMap<&'static str, String>,
    pub(super) bound: Bound,
    pub(super) sources: Sources,
    pub(super) hub: Arc<Hub>,
    pub(super) door: Arc<Door>,
    pub(super) users: Option<Arc<Users>>,
    pub(super) identity: Option<Arc<Identity>>,
    /// Tells connections that users or rules have changed.
    pub(super) recall: rtsp::Recall,
    pub(super) rtsp: Live<rtsp::Options>,
    pub(super) web: Live<web::Options>,
    /// What the notice is made of.
    pub(super) papers: Live<crate::papers::Options>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: SharedClock,
}

impl Running {
    /// Reads the configuration again and follows it.
    pub(super) fn reload(&mut self) {
        let config = match (self.start.reload)() {
            Ok(config) => config,
            Err(error) => {
                papers::note_reload(&self.audit, Outcome::Refused);
                return tracing::error!(
                    error,
                    "The configuration was not taken over; all stays as it was."
                );
            }
        };
        for key in self.start.config.fixed_keys_that_differ(&config) {
            tracing::warn!(key, "This key has changed; it takes effect at the next start.");
        }
        let users_stay = !self.users(&config);
        self.limits(&config);
        // Before a path that is sensitive now can be asked for.
        self.door.keep_silent_about(sensitive(&config));
        if let Err(error) = self.start.log.follow(config.log.as_deref()) {
            tracing::error!(%error, "What is logged stays as it was.");
        }
        self.certificate();
        self.sources.apply(&config);
        let notice = papers::follow(
            &self.start.config,
            &config,
            users_stay,
            &self.papers.get(),
            &self.clock,
        );
        self.registry.set_notice(notice.version());
        self.papers.set(notice);
        let mut settings = config.settings();
        if users_stay {
            settings.remove("auth.users");
        }
        papers::note_settings(&self.audit, &mut self.told, settings);
        papers::note_reload(&self.audit, Outcome::Done);
        tracing::info!(paths = config.paths.len(), "The configuration was read again.");
    }

    /// For new requests, on connections that are there too; who may not be there any more is sent away. False when the
    /// former users stay.
    fn users(&self, config: &Config) -> bool {
        let Some(users) = &self.users else {
            return true; // no listener asks for any
        };
        let mut asking = config.clone();
        // Listeners are those of the start, whatever the file says of them now.
        asking.rtsp.listen.clone_from(&self.start.config.rtsp.listen);
        asking.rtsps.listen.clone_from(&self.start.config.rtsps.listen);
        asking.http.listen.clone_from(&self.start.config.http.listen);
        asking.auth.required = self.start.config.auth.required;
        match credentials::of(&asking, &self.start.data_dir) {
            Ok(Some(now)) if now.new.is_none() => {
                users.replace(now.users, rules(config));
                self.recall.call();
                return true;
            }
            // A password is told at a start, and to nobody here: until then nobody comes in, as the file has it.
            Ok(_) => {
                users.replace(Vec::new(), rules(config));
                self.recall.call();
                tracing::warn!(
                    key = "[[auth.users]]",
                    "No user is left, so nobody comes in. `louver user add` adds one; a start without users makes a password."
                );
                return true;
            }
            Err(error) => tracing::error!(%error, "Users stay as they were."),
        }
        false
    }

    /// For those who come from now on; who is there stays.
    fn limits(&self, config: &Config) {
        let fixed = &self.start.config;
        let rtsp = rtsp_options(config);
        self.rtsp.set(rtsp::Options {
            multicast: self.rtsp.get().multicast,
            ..rtsp
        });
        self.web.set(web_options(config, &self.bound));
        let mut hub = hub_options(config);
        hub.k = fixed.privacy.k;
        self.hub.set_options(hub);
    }

    /// It may have been renewed.
    fn certificate(&self) {
        match self.identity.as_ref().map(|identity| identity.reload()) {
            None => {}
            Some(Ok(())) => tracing::info!("The certificate was read again."),
            Some(Err(error)) => tracing::error!(%error, "The certificate stays as it was."),
        }
    }
}
