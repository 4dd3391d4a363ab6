//! The throttle: holds a job back for lagging standbys, too much WAL, or a query of the operator. Checked before each
//! slice. What cannot be read counts as too much: a throttle without data waits.

use crate::error::{About, Result};
use crate::model::records::{Job, Migration};
use crate::model::throttle::ThrottleState;
use crate::model::units;
use crate::pg::{guc, role, spi, tx};
use crate::settings::{self, ThrottleLimit};
use crate::store::job;
use pgrx::pg_sys::Oid;
use serde::Deserialize;

/// Why a job waits, and when it checks again.
pub struct Pressure {
    pub why: String,
    pub pause_ms: i64,
}

const LOOK_EVERY_MS: i64 = 200;

impl Pressure {
    fn hold_back(why: String) -> Option<Self> {
        Some(Self {
            why,
            pause_ms: LOOK_EVERY_MS,
        })
    }
}

#[derive(Deserialize)]
struct Standby {
    name: String,
    hidden: bool,
    replayed: Option<i64>,
}

/// The server's clock and its WAL position.
#[derive(Deserialize)]
struct ServerClock {
    ms: i64,
    place: i64,
}

/// Returns what holds the job back; None if it may continue.
pub fn find_pressure(m: &Migration, of: &Job) -> Result<Option<Pressure>> {
    let (lag, rate) = (settings::max_replication_lag(m), settings::max_wal_rate(m));
    if lag.is_set() || rate.is_set() {
        let mut seen = job::load_seen(of.id)?;
        let before = seen.clone();
        let held = by_wal(&mut seen, &lag, &rate)?;
        if seen != before {
            job::set_seen(of.id, &seen)?;
        }
        if held.is_some() {
            return Ok(held);
        }
    }
    match settings::throttle_query(m) {
        Some(query) => by_query(m, &query),
        None => Ok(None),
    }
}

fn by_wal(
    seen: &mut ThrottleState,
    lag: &ThrottleLimit,
    rate: &ThrottleLimit,
) -> Result<Option<Pressure>> {
    let now: Option<ServerClock> = spi::first(
        "SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint AS ms, \
         pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint AS place",
        &[],
    )?;
    let Some(now) = now else { return Ok(None) };
    let behind = match lag {
        ThrottleLimit::None => None,
        ThrottleLimit::Unreadable(text) => unreadable("max_replication_lag", text),
        ThrottleLimit::Of(limit) => by_standbys(seen, &now, *limit)?,
    };
    let fast = match rate {
        ThrottleLimit::None => None,
        ThrottleLimit::Unreadable(text) => unreadable("max_wal_rate", text),
        ThrottleLimit::Of(rate) => {
            let wait = seen.wait_for_rate(now.ms, now.place, *rate);
            (wait > 0).then(|| Pressure {
                why: format!(
                    "max_wal_rate: {} of WAL more than {} a second",
                    units::text_of_size(wait.saturating_mul(*rate) / 1000),
                    units::text_of_size(*rate)
                ),
                pause_ms: wait.min(1000),
            })
        }
    };
    Ok(behind.or(fast))
}

fn unreadable(option: &str, text: &str) -> Option<Pressure> {
    Pressure::hold_back(format!("{option}: \"{text}\" cannot be read"))
}

fn by_standbys(
    seen: &mut ThrottleState,
    now: &ServerClock,
    limit: i64,
) -> Result<Option<Pressure>> {
    let standbys: Vec<Standby> = spi::rows(include_str!("../../../sql/query/standbys.sql"), &[])?;
    if standbys.iter().any(|s| s.hidden) {
        return Ok(Pressure::hold_back(format!(
            "max_replication_lag: the lag is not visible; GRANT pg_monitor TO {}",
            role::name(role::current())
        )));
    }
    let slowest = standbys.iter().min_by_key(|s| s.replayed);
    let Some((standby, replayed)) = slowest.and_then(|s| Some((s, s.replayed?))) else {
        return Ok(Pressure::hold_back(
            "max_replication_lag: no standby is connected".into(),
        ));
    };
    let lag = seen.lag(now.ms, now.place, replayed, limit);
    if lag <= limit {
        return Ok(None);
    }
    Ok(Pressure::hold_back(format!(
        "max_replication_lag: {} is {:.1} s behind, the limit is {:.1} s",
        standby.name,
        seconds(lag),
        seconds(limit)
    )))
}

#[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Runs the query as the migration's owner, who gave it, whichever role runs the job. The query may only read.
fn by_query(m: &Migration, query: &str) -> Result<Option<Pressure>> {
    let asked = tx::subtransaction(|| {
        let _owner = role::confine_reading(Oid::from(m.owner))?;
        let _own = guc::lock_timeout(settings::lock_timeout_ms(m));
        spi::read_only(query)
    });
    Ok(match asked {
        Ok(Some(false)) => None,
        Ok(Some(true)) => Pressure::hold_back("throttle_query: it returned true".into()),
        Ok(None) => Pressure::hold_back("throttle_query: it returned no row, or null".into()),
        Err(e) if e.code() == pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED => return Err(e),
        Err(e) if e.about() == About::Option => {
            let why = e.detail().unwrap_or_else(|| e.message());
            Pressure::hold_back(format!("throttle_query: {why}"))
        }
        Err(e) => Pressure::hold_back(format!("throttle_query: {e}")),
    })
}
