//! In which form statistics are answered: JSON, or CSV for who asks for it by `?format=csv` or `Accept: text/csv`.
//!
//! Not here: the numbers (`analytics::query`), their shapes (`web::api`), who may ask (`site`).

use hyper::HeaderMap;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderValue;

use crate::analytics::query::Stats;
use crate::web::api;
use crate::web::api::Breakdown;
use crate::web::problem::Problem;
use crate::web::reply;
use crate::web::reply::Body;
use crate::web::route::query_value;

/// What is wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    /// All of it, or one breakdown.
    Csv(Option<Breakdown>),
}

impl Form {
    /// The form that a request wishes; the URL counts more than `Accept`.
    pub(super) fn wished(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        let csv = match query_value(query, "format").as_deref() {
            Some("csv") => true,
            Some("json") => false,
            Some(_) => return Err(Problem::bad_form()),
            None => accepts_csv(headers),
        };
        let by = query_value(query, "by").map(|name| Breakdown::named(&name).ok_or_else(Problem::bad_form));
        match (csv, by.transpose()?) {
            (true, by) => Ok(Self::Csv(by)),
            (false, None) => Ok(Self::Json),
            (false, Some(_)) => Err(Problem::bad_form()), // JSON has all breakdowns, always
        }
    }
}

/// Statistics as an answer, and how many rows left when it is one to keep.
pub(super) fn answer(stats: &Stats, form: Form) -> (Response<Body>, Option<u64>) {
    let Form::Csv(by) = form else {
        let mut response = api::json(StatusCode::OK, &api::StatsJson::from(stats));
        vary(&mut response);
        return (response, None);
    };
    let table = api::stats_csv(stats, by);
    let rows = api::csv_rows(&table);
    let mut response = reply::whole(StatusCode::OK, api::CSV, table);
    let date = |at: jiff::Timestamp| {
        at.to_zoned(stats.time_zone.clone())
            .strftime("%Y-%m-%d")
            .to_string()
    };
    let name = format!(
        "attachment; filename=\"louver-{}-{}.csv\"",
        date(stats.from),
        date(stats.to)
    );
    let name = HeaderValue::from_str(&name).expect("dates are digits and dashes");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    vary(&mut response);
    (response, Some(rows))
}

fn vary(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
}

/// Whether `Accept` prefers CSV to JSON (RFC 9110 section 12.5.1). Who takes anything gets JSON.
fn accepts_csv(headers: &HeaderMap) -> bool {
    let all = headers.get_all(header::ACCEPT).iter();
    let ranges = all.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let (mut csv, mut json) = ((0, 0.0), (0, 0.0));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
        // The most exact range counts, whatever stands in others.
        let weigh = |of: &mut (u8, f32), exactness: u8| {
            if exactness > of.0 {
                *of = (exactness, weight);
            }
        };
        match range.as_str() {
            "text/csv" => weigh(&mut csv, 3),
            "text/*" => weigh(&mut csv, 2),
            "application/json" => weigh(&mut json, 3),
            "application/*" => weigh(&mut json, 2),
            "*/*" => {
                weigh(&mut csv, 1);
                weigh(&mut json, 1);
            }
            _ => {}
        }
    }
    csv.0 == 3 && csv.1 > 0.0 && (csv.1 > json.1 || json.0 < 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(query: &str, accept: &'static str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        Form::wished(Some(query), &headers).ok()
    }

    #[test]
    fn csv_is_for_who_asks_for_it() {
        let csv = Some(Form::Csv(None));
        for (query, accept, form) in [
            ("", "", Some(Form::Json)),
            ("", "*/*", Some(Form::Json)),
            ("", "text/html,application/xhtml+xml,*/*;q=0.8", Some(Form::Json)),
            ("", "text/*", Some(Form::Json)),
            ("", "text/csv", csv),
            ("", "Text/CSV;header=present, */*;q=0.1", csv),
            ("", "text/csv, application/json;q=0.9", csv),
            ("", "text/csv;q=0.5, application/json", Some(Form::Json)),
            ("", "text/csv;q=0", Some(Form::Json)),
            ("format=csv", "application/json", csv),
            ("format=json", "text/csv", Some(Form::Json)),
            ("format=xml", "", None),
            ("by=path", "text/csv", Some(Form::Csv(Some(Breakdown::Path)))),
            (
                "by=weekday_hour&format=csv",
                "",
                Some(Form::Csv(Some(Breakdown::WeekdayHour))),
            ),
            ("by=viewer&format=csv", "", None),
            ("by=path", "", None),
        ] {
            assert_eq!(wished(query, accept), form, "{query} {accept}");
        }
    }
}
