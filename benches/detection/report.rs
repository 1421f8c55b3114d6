//! Tables and percentiles.

/// A promise, and what was measured.
pub(crate) struct Budget {
    pub(crate) what: &'static str,
    pub(crate) budget: &'static str,
    pub(crate) measured: String,
    pub(crate) kept: bool,
}

pub(crate) fn budgets(budgets: &[Budget]) {
    println!("\n## Budgets\n\n| what | budget | measured | |\n|---|---|---|---|");
    for Budget {
        what,
        budget,
        measured,
        kept,
    } in budgets
    {
        let verdict = if *kept { "kept" } else { "MISSED" };
        println!("| {what} | {budget} | {measured} | {verdict} |");
    }
}

pub(crate) fn header(title: &str, columns: &[&str]) {
    println!("\n## {title}\n\n| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// The nearest rank, of values in any order; NaN of none.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1)).copied();
    value.unwrap_or(f64::NAN)
}

pub(crate) fn share(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    format!("{part}/{whole} ({percent:.1} %)")
}
