//! Whether several sources fit into one target.

use crate::error::{Error, Result};
use crate::ident::{Ident, Literal};
use crate::model::layout::columns::{key_columns, target_columns};
use crate::model::layout::{Member, Scope, TargetColumn};
use crate::model::shape::TableColumn;

/// Checks that columns with the same name have the same type, and that all keys use the same target columns.
pub fn require_alike(members: &[Member], peers: &[&Member], scope: Option<&Scope>) -> Result<()> {
    let mut seen: Vec<(&Member, TargetColumn)> = Vec::new();
    let mut first_key: Option<Vec<Ident>> = None;
    for p in peers {
        let columns = target_columns(members, p, scope)?;
        let pk = p
            .shape
            .primary_key()
            .ok_or_else(|| Error::no_primary_key(p.shape.name.clone()))?;
        let key = key_columns(p, pk, &columns)?;
        let key: Vec<Ident> = key.into_iter().map(|k| k.target).collect();
        match &first_key {
            Some(first) if *first != key => {
                return Err(unfit(
                    peers,
                    format!(
                        "Their keys would be in different columns: ({}) and ({}).",
                        crate::ident::list(first),
                        crate::ident::list(&key)
                    ),
                    "Rename a key column: columns => '{\"new_name\": \"old_name\", \"old_name\": null}'.".into(),
                ));
            }
            Some(_) => {}
            None => first_key = Some(key),
        }
        for column in columns {
            let other = seen.iter().find(|(_, c)| c.name == column.name);
            if let Some((theirs, c)) = other.filter(|(_, c)| c.type_text != column.type_text) {
                let name = column.name.as_str();
                let in_key = first_key.iter().flatten().any(|k| *k == column.name);
                let convert = format!(
                    "Convert one of them: columns => '{{\"{name}\": {{\"up\": \"{name}::{}\", \"down\": \"{name}::{}\"}}}}'.",
                    c.type_text, column.type_text
                );
                return Err(unfit(
                    peers,
                    format!(
                        "Column \"{}\" has type {} in {} and {} in {}.",
                        column.name.as_str(),
                        c.type_text,
                        theirs.shape.name.plain(),
                        column.type_text,
                        p.shape.name.plain()
                    ),
                    match in_key {
                        true => format!(
                            "Give the rows of all of them new ids of one type: id_mode => 'remap', columns => '{{\"{name}\": \"gen_random_uuid()\"}}'."
                        ),
                        false => convert,
                    },
                ));
            }
            if other.is_some_and(|(_, c)| c.insert != column.insert) {
                return Err(unfit(
                    peers,
                    format!(
                        "Column \"{}\" is generated in one of them only.",
                        column.name.as_str()
                    ),
                    "Leave it out in one of them: columns => '{\"…\": null}'.".into(),
                ));
            }
            if other.is_none() {
                seen.push((p, column));
            }
        }
    }
    Ok(())
}

/// Returns the key column, where the source's key is a single column whose value the server generates.
pub fn generated_key<'a>(member: &'a Member) -> Option<&'a TableColumn> {
    match member.shape.key_columns().as_slice() {
        [only] => member.shape.column(only).filter(|c| c.is_surrogate()),
        _ => None,
    }
}

/// Checks that all sources that keep generated ids draw them from the same generator: otherwise two sources could draw the same
/// id.
pub fn require_one_generator(peers: &[&Member]) -> Result<()> {
    let drawing = |p: &&&Member| !p.remap && generated_key(p).is_some();
    let keeping: Vec<&&Member> = peers.iter().filter(drawing).collect();
    let Some(first) = keeping.first() else {
        return Ok(());
    };
    let other = keeping.iter().find(|p| generator(p) != generator(first));
    if let Some(other) = other {
        return Err(unfit(
            peers,
            format!(
                "The ids of {} and {} are drawn by different sequences, so rows of one would get ids of the other.",
                first.shape.name.plain(),
                other.shape.name.plain()
            ),
            format!(
                "Give one of them new ids: id_mode => 'remap'; or let both draw from one sequence, where they have no id in common: ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {};",
                other.shape.name,
                crate::ident::list(&other.shape.key_columns()),
                generator(first)
            ),
        ));
    }
    let leads = peers.first().is_some_and(|p| !p.remap);
    if !leads && generator(first) != RANDOM {
        return Err(unfit(
            peers,
            format!(
                "{} keeps its ids, and the target would draw others from a sequence of its own.",
                first.shape.name.plain()
            ),
            format!("Add {} first.", first.shape.name.plain()),
        ));
    }
    Ok(())
}

const RANDOM: &str = "gen_random_uuid()";

/// The generator of a source's ids.
fn generator(member: &Member) -> String {
    let Some(column) = generated_key(member) else {
        return String::new();
    };
    match (&column.identity, &column.default) {
        (Some(sequence), _) => format!("nextval({}::regclass)", Literal(&sequence.to_string())),
        (None, Some(default)) if default.starts_with("nextval(") => default.clone(),
        _ => RANDOM.to_owned(),
    }
}

pub fn unfit(peers: &[&Member], detail: String, hint: String) -> Error {
    let names: Vec<String> = peers.iter().map(|p| p.shape.name.plain()).collect();
    Error::invalid(
        format!(
            "{} do not fit into one target, {}",
            names.join(" and "),
            peers.first().map_or_else(String::new, |p| p.target.plain())
        ),
        detail,
        hint,
    )
}
