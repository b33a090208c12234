//! The privacy notice and `security.txt` over HTTP: for everybody, made of the settings in force.

use hyper::Response;
use hyper::StatusCode;
use jiff::Timestamp;
use jiff::ToSpan;

use crate::papers;
use crate::papers::Lang;
use crate::papers::Options;
use crate::web::api;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;
use crate::web::route::Paper;
use crate::web::route::query_value;

/// `/privacy`, `/privacy.json`, `/privacy.md`; `?lang=fr`. Languages that there are none of get English.
pub(super) fn notice(options: &Options, paper: Paper, query: Option<&str>) -> Response<Body> {
    let lang = query_value(query, "lang").and_then(|text| Lang::parse(&text));
    let document = papers::notice(options, lang.unwrap_or_default());
    match paper {
        Paper::Page => reply::whole(StatusCode::OK, "text/html; charset=utf-8", document.html()),
        Paper::Markdown => reply::whole(
            StatusCode::OK,
            "text/markdown; charset=utf-8",
            document.markdown(),
        ),
        Paper::Json => api::json(
            StatusCode::OK,
            &api::DocumentJson::new(&document, options.version()),
        ),
    }
}

/// RFC 9116; there is none unless the configuration names a contact.
pub(super) fn security_txt(options: &Options, now: Timestamp) -> Result<Response<Body>, Problem> {
    if options.security_contact.is_empty() {
        return Err(Problem::no_such_page());
    }
    // It expires, so that a stale copy is not believed; each answer is fresh.
    let expires = now.checked_add((24 * 180).hours()).unwrap_or(now);
    let text = format!(
        "Contact: {}\nExpires: {}\nPreferred-Languages: en, fr\n",
        options.security_contact,
        expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    );
    Ok(reply::whole(StatusCode::OK, "text/plain; charset=utf-8", text))
}
