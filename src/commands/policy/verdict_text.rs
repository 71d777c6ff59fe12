//! Describes the verdict about a policy as text for the terminal.

use super::parse::named;
use super::verify::Verdict;
use crate::commands::table::table;
use crate::commands::terminal::fitted;

/// Returns a table of the missing and the unneeded permissions, each with its reason.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let mut rows = Vec::new();
    for lack in &verdict.lacks {
        let (action, reason) = (lack.action.to_owned(), lack.reason.to_string());
        rows.push(vec!["missing".to_owned(), action, lack.resource.clone(), reason]);
    }
    for excess in &verdict.beyond {
        let condition = if excess.is_conditional { ", which has a condition" } else { "" };
        let statement = named(&excess.statement);
        let reason = format!("in {statement}{condition}: {}", excess.reason);
        rows.push(vec![
            "unneeded".to_owned(),
            excess.action.clone(),
            excess.resource.clone(),
            reason,
        ]);
    }
    let mut text = match rows.is_empty() {
        true => "The policy grants exactly the needed permissions.\n".to_owned(),
        false => fitted(&table(&["PERMISSION", "ACTION", "RESOURCE", "WHY"], &rows)),
    };
    if !verdict.not_judged.is_empty() {
        text += &format!(
            "Not checked, because these actions belong to other AWS services: {}\n",
            verdict.not_judged.join(", ")
        );
    }
    text
}
