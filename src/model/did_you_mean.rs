//! "Did you mean": finds the allowed name nearest to an unknown one.

/// Returns the candidate with the smallest edit distance to `name`, if it is near enough to be a typing error: at most a third
/// of the candidate's length, or 2.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().take(MOST + 1).count();
    let near = candidates.into_iter().filter_map(|c| {
        let slip = (c.len() / 3).max(2);
        // The comparison costs the product of both lengths, so long names and very different lengths are skipped.
        let other = c.chars().take(MOST + 1).count();
        let close = length.max(other) <= MOST && length.abs_diff(other) <= slip;
        let far = close.then(|| distance(name, c));
        far.filter(|d| *d <= slip).map(|d| (d, c))
    });
    near.min().map(|(_, c)| c)
}

/// Longest name that is compared, in characters; PostgreSQL's own names have at most 63 bytes.
const MOST: usize = 200;

/// Returns the hint for an unknown name: the nearest known name between `quote`s, or the result of `otherwise`.
pub fn hint<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    quote: char,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(name, candidates) {
        Some(near) => format!("Did you mean {quote}{near}{quote}?"),
        None => otherwise(),
    }
}

/// Levenshtein distance, in the two-row form (Wagner & Fischer 1974).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let above = row[j + 1];
            let substitute = diagonal + usize::from(ca != *cb);
            row[j + 1] = substitute.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_and_refuses_a_stranger() {
        let names = ["batch_rows", "delay_ms", "lock_timeout_ms"];
        assert_eq!(nearest("batchrows", names), Some("batch_rows"));
        assert_eq!(nearest("dealy_ms", names), Some("delay_ms"));
        assert_eq!(nearest("colour", names), None);
    }

    #[test]
    fn a_name_of_any_length_is_answered_at_once() {
        let long = "x".repeat(10_000_000);
        assert_eq!(nearest(&long, ["batch_rows", &long]), None);
        assert_eq!(nearest("batch_rows", [long.as_str()]), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
