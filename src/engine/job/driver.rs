//! The driver of a job: a worker, pg_cron, or the caller.

use crate::error::{Error, Result};
use crate::ident::Literal;
use crate::model::did_you_mean;
use crate::model::driver::Driver;
use crate::model::records::Migration;
use crate::pg::notice::notice;
use crate::pg::worker_launch::WorkerRole;
use crate::pg::{cron, spi, tx, worker_launch};
use crate::store::{job, log, migration};

/// Returns the driver of this name; None for any driver that is available.
pub fn parse_driver(name: &str) -> Result<Option<Driver>> {
    Driver::read(name).ok_or_else(|| {
        Error::invalid(
            format!("unknown driver \"{name}\""),
            "The drivers are auto, worker, pg_cron and manual.".into(),
            did_you_mean::hint(name, Driver::NAMES, '\'', || "Leave driver out.".into()),
        )
    })
}

/// Chooses a driver for the job: the requested one, or worker, pg_cron, the caller, in this order. A worker is started
/// when, and only when, the transaction commits.
pub fn start(m: &Migration, id: i64, asked: Option<Driver>) -> Result<()> {
    match asked {
        Some(Driver::Manual) => by_hand(m, id, None),
        Some(Driver::PgCron) => by_cron(m, id, None)?.map_or(Ok(()), |why| {
            Err(Error::not_supported(
                "driver pg_cron".into(),
                format!("{}.", capitalize(&why)),
                format!(
                    "Take another: SELECT mig_backfill({}, driver => 'auto');",
                    Literal(&m.name)
                ),
            ))
        }),
        Some(Driver::Worker) | None => by_worker(m, id),
    }
}

fn by_worker(m: &Migration, id: i64) -> Result<()> {
    if !may_log_in()? {
        let role = migration::current_role()?;
        // pg_cron would have to log in as well.
        return by_hand(m, id, Some(&format!("role {role} cannot log in")));
    }
    job::driven_by(id, Driver::Worker, None)?;
    let m = m.clone();
    worker_launch::at_commit(id, WorkerRole::Runs, &m.name.clone(), move || {
        if let Err(e) = tx::subtransaction(|| without_worker(&m, id)) {
            notice(&format!(
                "job {id} has no driver: {e}; {}",
                hint_to_drive(&m)
            ));
        }
    });
    Ok(())
}

/// Chooses another driver, at the end of a transaction that got no worker.
fn without_worker(m: &Migration, id: i64) -> Result<()> {
    // The job may belong to a savepoint that was rolled back.
    if job::by_id(id)?.is_none() {
        return Ok(());
    }
    let why = "no worker slot is free";
    match by_cron(m, id, Some(why))? {
        None => Ok(()),
        Some(missing) => by_hand(m, id, Some(&format!("{why}, and {missing}"))),
    }
}

/// Schedules the job with pg_cron. Returns why that failed; None if it is scheduled.
fn by_cron(m: &Migration, id: i64, why: Option<&str>) -> Result<Option<String>> {
    if let Some(missing) = cron::why_unavailable()? {
        return Ok(Some(missing));
    }
    let command = format!(
        "CALL mig.drive({}, '{} s', {id})",
        Literal(&m.name),
        seconds()?
    );
    if let Err(e) = tx::subtransaction(|| cron::schedule(id, &command)) {
        return Ok(Some(format!("pg_cron refuses: {e}")));
    }
    job::driven_by(id, Driver::PgCron, why)?;
    let text = format!("pg_cron runs job {id} from the next minute on");
    notice(&why.map_or_else(|| text.clone(), |why| format!("{why}: {text}")));
    if let Some(why) = why {
        log::write(&m.name, m.phase.as_str(), &format!("{text}: {why}"))?;
    }
    Ok(None)
}

fn by_hand(m: &Migration, id: i64, why: Option<&str>) -> Result<()> {
    job::driven_by(id, Driver::Manual, why)?;
    let text = hint_to_drive(m);
    notice(&why.map_or_else(|| text.clone(), |why| format!("{why}; {text}")));
    Ok(())
}

fn hint_to_drive(m: &Migration) -> String {
    format!(
        "drive the job yourself: SELECT mig_step({}) \\watch 1",
        Literal(&m.name)
    )
}

fn may_log_in() -> Result<bool> {
    let sql = "SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = current_user";
    Ok(spi::value::<bool>(sql, &[])? == Some(true))
}

/// Returns how long one run of pg_cron's job may take: it ends before the next one begins, and before the statement timeout
/// that the role's sessions start with.
fn seconds() -> Result<i64> {
    const A_MINUTE: i64 = 59;
    let milliseconds = spi::value::<i64>(
        "SELECT reset_val::bigint FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'",
        &[],
    )?;
    Ok(match milliseconds {
        Some(limit) if limit > 0 => (limit * 3 / 4 / 1000).clamp(1, A_MINUTE),
        _ => A_MINUTE,
    })
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(letters).collect())
}
