//! Comparison of the two tables of a mapping, under one snapshot and as the tables' owner.

use crate::error::{Error, Result};
use crate::ident::QualifiedName;
use crate::model::phase::Phase;
use crate::model::records::{Mapping, Migration};
use crate::pg::document::JsonText;
use crate::pg::snapshot::Snapshot;
use crate::pg::tid::BlockSlice;
use crate::pg::{catalog, guc, role, spi, state};
use crate::sqlgen::checksum::{ComparedPair, Condition, Side};
use crate::sqlgen::id_map::{self, IdChoice};
use crate::store::{pending_rows, sides};
use pgrx::JsonB;
use pgrx::datum::DatumWithOid;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A mapping to compare, and the snapshot to read under.
pub struct Comparison<'a> {
    pub mapping: &'a Mapping,
    pub at: &'a Snapshot,
    target: &'a QualifiedName,
    pending: PendingRows,
}

/// Rows that are not copied yet. None once the backfill is done.
struct PendingRows {
    places: BlockSlice,
    leftovers: Value,
}

/// Number of differing rows, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DifferenceCounts {
    pub missing: i64,
    pub extra: i64,
    pub different: i64,
    /// Not copied yet.
    pub pending: i64,
}

impl DifferenceCounts {
    /// Rows that differ although they should be equal.
    pub fn wrong(&self) -> i64 {
        self.missing + self.extra + self.different
    }
}

/// Number of rows of one side, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HashSum {
    pub rows: i64,
    hash: i128,
}

/// A row that differs.
#[derive(Deserialize)]
pub struct DifferingRow {
    pub kind: String,
    /// Key in the source; null for a target row that never had a source row.
    pub key: Vec<Option<String>>,
    pub new_key: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct RowCount {
    rows: i64,
}

#[derive(Deserialize)]
struct HashedSide {
    rows: i64,
    hash: String,
}

#[derive(Deserialize)]
struct Bucket {
    bucket: i32,
    #[serde(flatten)]
    hashed: HashedSide,
}

/// About the memory in bytes that one row of each side takes in a join by key.
const ROW_BYTES: i64 = 128;
/// A join may spill to disk: up to this multiple of work_mem that does not matter.
const JOINED_MEMORIES: i64 = 8;

#[derive(Deserialize)]
struct KindCount {
    kind: String,
    rows: i64,
}

/// The rows of both sides to compare, and the value of `$1`.
pub struct RowChoice {
    pub condition: Condition,
    pub argument: ChoiceArgument,
}

pub enum ChoiceArgument {
    Buckets(Vec<i32>),
    Keys(Value),
}

impl RowChoice {
    pub fn all_rows() -> Self {
        Self {
            condition: Condition::on_both("true".into()),
            argument: ChoiceArgument::Buckets(Vec::new()),
        }
    }

    fn argument(&self) -> DatumWithOid<'static> {
        match &self.argument {
            ChoiceArgument::Buckets(numbers) => numbers.clone().into(),
            ChoiceArgument::Keys(keys) => JsonB(keys.clone()).into(),
        }
    }
}

impl<'a> Comparison<'a> {
    pub fn new(m: &Migration, mapping: &'a Mapping, at: &'a Snapshot) -> Result<Self> {
        Ok(Self {
            mapping,
            at,
            target: sides::target(mapping)?,
            pending: find_pending(m, mapping, at)?,
        })
    }

    /// A comparison without pending rows: every difference counts, also where a batch is still to come.
    pub fn without_pending(mapping: &'a Mapping, at: &'a Snapshot) -> Result<Self> {
        Ok(Self {
            mapping,
            at,
            target: sides::target(mapping)?,
            pending: PendingRows::empty()?,
        })
    }

    pub fn pair(&self) -> Result<ComparedPair<'_>> {
        Ok(ComparedPair::new(
            self.mapping.id,
            self.target,
            sides::layout(self.mapping)?,
        ))
    }

    /// Returns the number of chosen rows on one side.
    pub fn count(&self, side: Side, choice: &RowChoice) -> Result<i64> {
        let sql = self.pair()?.count(side, &choice.condition);
        let found: Option<RowCount> =
            self.as_owner(|| self.at.first(&sql, &[choice.argument()]))?;
        Ok(found.map_or(0, |c| c.rows))
    }

    /// Returns row count and hash sum of one side, or of a slice of it.
    pub fn sum(&self, side: Side, slice: Option<&BlockSlice>) -> Result<HashSum> {
        let sql = self.pair()?.total(side, slice.is_some());
        let found: Option<HashedSide> = self.as_owner(|| match slice {
            Some(slice) => self.at.first(&sql, &slice.args()),
            None => self.at.first(&sql, &[]),
        })?;
        found.map_or(Ok(HashSum::default()), |h| h.sum())
    }

    /// Returns where the differences must be, for sides whose sums differ: all rows if a join of them is affordable,
    /// otherwise the buckets whose sums differ.
    pub fn narrow_down(&self, rows: i64) -> Result<RowChoice> {
        let pair = self.pair()?;
        if rows * ROW_BYTES <= JOINED_MEMORIES * guc::work_mem() {
            return Ok(RowChoice::all_rows());
        }
        let (source, target) = (self.buckets(Side::Source)?, self.buckets(Side::Target)?);
        let both: BTreeSet<i32> = source.keys().chain(target.keys()).copied().collect();
        let unequal = both.into_iter().filter(|b| source.get(b) != target.get(b));
        Ok(RowChoice {
            condition: pair.in_buckets(),
            argument: ChoiceArgument::Buckets(unequal.collect()),
        })
    }

    fn buckets(&self, side: Side) -> Result<BTreeMap<i32, HashSum>> {
        let sql = self.pair()?.buckets(side);
        let found: Vec<Bucket> = self.as_owner(|| self.at.rows(&sql, &[]))?;
        let sums = found.into_iter().map(|b| Ok((b.bucket, b.hashed.sum()?)));
        sums.collect()
    }

    /// Counts the chosen rows that differ, by kind.
    pub fn kinds(&self, choice: &RowChoice) -> Result<DifferenceCounts> {
        let sql = self.pair()?.count_differing(&choice.condition);
        let found: Vec<KindCount> =
            self.as_owner(|| self.at.rows(&sql, &self.arguments(choice, None)))?;
        let of = |kind: &str| {
            found
                .iter()
                .filter(|k| k.kind == kind)
                .map(|k| k.rows)
                .sum()
        };
        Ok(DifferenceCounts {
            missing: of("missing"),
            extra: of("extra"),
            different: of("different"),
            pending: of("pending"),
        })
    }

    /// Returns the first `limit` differing rows, by key.
    pub fn list(&self, choice: &RowChoice, limit: i64) -> Result<Vec<DifferingRow>> {
        let sql = self.pair()?.list_differing(&choice.condition);
        self.as_owner(|| self.at.rows(&sql, &self.arguments(choice, Some(limit))))
    }

    /// Returns the first `limit` keys that several rows of the target have: a table inherits from it, or its unique index is broken. A
    /// comparison by key sees no difference there.
    pub fn repeated_keys(&self, limit: i64) -> Result<Vec<Vec<String>>> {
        #[derive(Deserialize)]
        struct RepeatedKey {
            key: Vec<String>,
        }
        let sql = self.pair()?.list_repeated(Side::Target);
        let found: Vec<RepeatedKey> = self.as_owner(|| self.at.rows(&sql, &[limit.into()]))?;
        Ok(found.into_iter().map(|r| r.key).collect())
    }

    /// Lists the keys of all differing rows as pending rows.
    pub fn list_as_pending(&self, choice: &RowChoice) -> Result<()> {
        /// Number of keys held in memory at a time.
        const LOT: i64 = 10_000;
        let sql = self.pair()?.list_keys_to_note(&choice.condition);
        let owner = sides::owner(self.mapping)?;
        // A target row that was written past the mirrors has no source key to list, so it gets one first.
        let back = sides::reverse(self.mapping)?;
        for sql in back
            .iter()
            .flat_map(|flow| id_map::give(flow, IdChoice::All))
        {
            let _owner = role::confine(owner)?;
            let _exact = guc::pin(&guc::EXACT);
            spi::run(&sql, &[])?;
        }
        let reader = || {
            let reader = role::confine_reading(owner)?;
            Ok((guc::pin(&guc::EXACT), reader)) as Result<_>
        };
        let arguments = self.arguments(choice, None);
        // A new snapshot: the one of the comparison does not see the ids given above.
        Snapshot::take().in_lots(&sql, &arguments, LOT, reader, |keys: Vec<Vec<String>>| {
            pending_rows::add(self.mapping.id, &keys)
        })
    }

    /// Returns the key of a differing row as JSON, the row as the target should hold it, and the row that the target holds.
    pub fn rows(
        &self,
        of: &DifferingRow,
    ) -> Result<(Option<JsonText>, Option<JsonText>, Option<JsonText>)> {
        #[derive(Deserialize)]
        struct RowWithKey {
            row: JsonText,
            key: JsonText,
        }
        let pair = self.pair()?;
        let known = of.key.iter().all(Option::is_some);
        let (given, key) = match known {
            true => (Side::Source, &of.key),
            false => (Side::Target, &of.new_key),
        };
        let one = |side| -> Result<Option<RowWithKey>> {
            self.as_owner(|| self.at.first(&pair.row(side, given), &[key.clone().into()]))
        };
        let (source, target) = (one(Side::Source)?, one(Side::Target)?);
        let known = source.as_ref().or(target.as_ref());
        let known = known.map(|r| r.key.clone());
        Ok((known, source.map(|r| r.row), target.map(|r| r.row)))
    }

    pub fn as_owner<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let _owner = role::confine_reading(sides::owner(self.mapping)?)?;
        let _exact = guc::pin(&guc::EXACT);
        f()
    }

    fn arguments<'b>(&'b self, choice: &RowChoice, limit: Option<i64>) -> Vec<DatumWithOid<'b>> {
        let [from, to] = self.pending.places.args();
        let all = [
            choice.argument(),
            from,
            to,
            JsonB(self.pending.leftovers.clone()).into(),
        ];
        all.into_iter().chain(limit.map(Into::into)).collect()
    }
}

impl HashedSide {
    fn sum(&self) -> Result<HashSum> {
        let hash = self.hash.parse();
        Ok(HashSum {
            rows: self.rows,
            hash: hash.map_err(|_| Error::internal("a hash sum is a number".into()))?,
        })
    }
}

impl std::ops::AddAssign for HashSum {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

impl PendingRows {
    fn empty() -> Result<Self> {
        Ok(Self {
            places: BlockSlice::new(0, 0)?,
            leftovers: json!([]),
        })
    }
}

/// Mappings that are merged into the same rows as `p`.
fn merge_partners(p: &Mapping) -> Vec<i32> {
    p.merge().map_or_else(Vec::new, |m| m.mappings().collect())
}

/// Finds the rows that are not copied yet. Until the backfill is done these are the rows in blocks between the checkpoint
/// and the bound, and the pending rows. All other rows have been copied, or were written with the mirror in place.
fn find_pending(m: &Migration, p: &Mapping, at: &Snapshot) -> Result<PendingRows> {
    const ALL: i64 = u32::MAX as i64;
    #[derive(Deserialize)]
    struct BackfillPosition {
        bound_blocks: Option<i64>,
        next_block: i64,
        filenode: Option<i64>,
        copied: bool,
        /// A merge partner is not copied yet.
        others_come: bool,
        leftovers: Value,
    }
    if m.phase != Phase::DualWrite {
        return PendingRows::empty();
    }
    let now: Option<BackfillPosition> = state::first_at(
        at,
        "SELECT p.bound_blocks, p.next_block, p.filenode::bigint AS filenode, p.copied, \
         EXISTS (SELECT FROM mig.mapping o WHERE o.id = ANY ($2) AND NOT o.copied) AS others_come, \
         (SELECT coalesce(pg_catalog.jsonb_agg(k.key), '[]') FROM (SELECT l.key FROM mig.leftover l WHERE l.mapping = p.id OR l.mapping = ANY ($2) \
          UNION ALL SELECT e.key FROM mig.row_error e WHERE e.mapping = p.id OR e.mapping = ANY ($2)) k) AS leftovers FROM mig.mapping p WHERE p.id = $1",
        &[p.id.into(), merge_partners(p).into()],
    )?;
    let now = now.ok_or_else(|| Error::internal("the mapping is gone".into()))?;
    let rewritten = catalog::extent(p.source)?.map(|e| e.filenode) != now.filenode;
    let places = match now.bound_blocks {
        None => BlockSlice::new(0, ALL)?,
        Some(_) if now.others_come => BlockSlice::new(0, ALL)?,
        Some(_) if now.copied => BlockSlice::new(0, 0)?,
        Some(_) if rewritten => BlockSlice::new(0, ALL)?,
        Some(bound) => BlockSlice::new(now.next_block, bound)?,
    };
    Ok(PendingRows {
        places,
        leftovers: now.leftovers,
    })
}
