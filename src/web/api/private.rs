//! Numbers with noise (`louver stats export --private`), as JSON and CSV. Both say what the noise is like.

use serde::Serialize;

use crate::analytics::private::BOUNDED_PATHS;
use crate::analytics::private::BOUNDED_SESSIONS;
use crate::analytics::private::BUDGET;
use crate::analytics::private::Export;
use crate::analytics::private::ExportedDay;
use crate::web::api::csv::line;

/// An export.
#[derive(Serialize)]
pub struct PrivateJson {
    table: &'static str,
    /// What numbers count: `"viewer_days"` or `"sessions"`.
    unit: &'static str,
    mechanism: &'static str,
    /// Whose presence the noise hides.
    protects: &'static str,
    /// By how much one viewer-day changes the numbers of a day, added up.
    sensitivity: u32,
    bounded: BoundedJson,
    /// What all tables of a day may cost together.
    budget_per_day: f64,
    days: Vec<DayJson>,
}

/// What counts of one viewer in one day; the rest does not.
#[derive(Serialize)]
struct BoundedJson {
    paths: u32,
    sessions: u32,
}

#[derive(Serialize)]
struct DayJson {
    day: String,
    epsilon: f64,
    /// Whether it was given out before, with the same numbers.
    again: bool,
    /// Nineteen of twenty numbers are at most so far from the truth.
    plus_minus: u32,
    /// Smaller numbers are left out; 0: none are. What the noise brought below zero is zero.
    least: u32,
    rows: Vec<RowJson>,
}

#[derive(Serialize)]
struct RowJson {
    value: String,
    number: u64,
}

impl From<&Export> for PrivateJson {
    fn from(export: &Export) -> Self {
        Self {
            table: export.table.name(),
            unit: export.table.unit(),
            mechanism: "discrete Laplace, exact",
            protects: "one viewer-day",
            sensitivity: export.table.sensitivity(),
            bounded: BoundedJson {
                paths: BOUNDED_PATHS,
                sessions: BOUNDED_SESSIONS,
            },
            budget_per_day: BUDGET.value(),
            days: export.days.iter().map(DayJson::from).collect(),
        }
    }
}

impl From<&ExportedDay> for DayJson {
    fn from(day: &ExportedDay) -> Self {
        let row = |(value, number): &(String, u64)| RowJson {
            value: value.clone(),
            number: *number,
        };
        Self {
            day: day.date.to_string(),
            epsilon: day.epsilon.value(),
            again: day.again,
            plus_minus: day.plus_minus,
            least: day.least,
            rows: day.rows.iter().map(row).collect(),
        }
    }
}

/// An export as a table.
pub fn private_csv(export: &Export) -> String {
    let mut table = String::new();
    let number = format!("{}_count", export.table.unit());
    line(
        &mut table,
        &[
            "day_date",
            export.table.name(),
            &number,
            "plus_minus_count",
            "least_count",
            "epsilon_per_day",
            "sensitivity_count",
        ],
    );
    let sensitivity = export.table.sensitivity().to_string();
    for day in &export.days {
        let (date, epsilon) = (day.date.to_string(), day.epsilon.to_string());
        let (plus_minus, least) = (day.plus_minus.to_string(), day.least.to_string());
        for (value, number) in &day.rows {
            let number = number.to_string();
            line(
                &mut table,
                &[&date, value, &number, &plus_minus, &least, &epsilon, &sensitivity],
            );
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::private::Epsilon;
    use crate::analytics::private::Table;

    fn export() -> Export {
        Export {
            table: Table::Path,
            days: vec![ExportedDay {
                date: "2026-11-20".parse().unwrap(),
                epsilon: Epsilon::parse("0.5").unwrap(),
                again: false,
                plus_minus: 18,
                least: 0,
                rows: vec![("door".to_owned(), 12), ("yard".to_owned(), 0)],
            }],
        }
    }

    #[test]
    fn an_export_says_what_its_noise_is_like() {
        let json = serde_json::to_value(PrivateJson::from(&export())).unwrap();
        assert_eq!(
            (&json["unit"], &json["sensitivity"]),
            (&"viewer_days".into(), &3.into())
        );
        assert_eq!(json["bounded"]["sessions"], 10);
        assert_eq!(json["days"][0]["epsilon"], 0.5);
        assert_eq!(json["days"][0]["rows"][1]["number"], 0);
    }

    #[test]
    fn a_row_of_the_table_stands_alone() {
        let expected = "\
            day_date,path,viewer_days_count,plus_minus_count,least_count,epsilon_per_day,sensitivity_count\r\n\
            2026-11-20,door,12,18,0,0.5,3\r\n\
            2026-11-20,yard,0,18,0,0.5,3\r\n";
        assert_eq!(private_csv(&export()), expected);
    }
}
