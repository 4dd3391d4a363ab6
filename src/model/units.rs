//! Amounts with a unit, written as in postgresql.conf: `10 s`, `64 MB`.

const DURATIONS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZES: [(&str, i64); 5] = [
    ("B", 1),
    ("kB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
];

/// Returns milliseconds; None where the text is not a duration above zero.
pub fn duration(text: &str) -> Option<i64> {
    amount(text, &DURATIONS)
}

/// Returns bytes; None where the text is not a size above zero.
pub fn size(text: &str) -> Option<i64> {
    amount(text, &SIZES)
}

fn amount(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: i64 = text[..end].parse().ok()?;
    let unit = text[end..].trim_start();
    let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*worth).filter(|n| *n > 0)
}

/// Formats bytes in the largest unit with a whole part of at least 1.
pub fn text_of_size(bytes: i64) -> String {
    let fits = SIZES.iter().rev().find(|(_, worth)| bytes >= *worth);
    let (unit, worth) = fits.copied().unwrap_or(SIZES[0]);
    #[allow(clippy::cast_precision_loss, reason = "one digit is shown")]
    let number = bytes as f64 / worth as f64;
    format!("{number:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_postgresql_conf_takes() {
        assert_eq!(duration("500ms"), Some(500));
        assert_eq!(duration(" 10 s "), Some(10_000));
        assert_eq!(size("64 MB"), Some(64 << 20));
        for wrong in [
            "",
            "10",
            "s",
            "-1 s",
            "0 s",
            "1.5 s",
            "10 S",
            "9999999999999999 d",
        ] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tells_sizes_with_one_digit() {
        assert_eq!(text_of_size(0), "0.0 B");
        assert_eq!(text_of_size(1536 << 10), "1.5 MB");
    }
}
