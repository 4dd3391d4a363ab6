//! Our quoting against the server's.

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use crate::ident::{Ident, Literal};
    use pgrx::prelude::*;

    /// `quote_ident()` leaves simple names bare; what it quotes must come out the same.
    #[pg_test]
    fn identifiers_are_quoted_as_the_server_quotes_them() {
        for name in ["we\"ird $$; drop", "Select", "a b", "ünï", "select", "1st"] {
            let theirs =
                Spi::get_one_with_args::<String>("SELECT quote_ident($1)", &[name.into()]).unwrap();
            assert_eq!(
                theirs.as_deref(),
                Some(Ident::new(name).to_string().as_str())
            );
        }
    }

    #[pg_test]
    fn literals_come_back_as_they_went_in() {
        for value in ["it's", "a\\b", "", "''", "\\'", "new\nline", "ünï"] {
            for conforming in ["on", "off"] {
                Spi::run(&format!(
                    "SET LOCAL standard_conforming_strings = {conforming}"
                ))
                .unwrap();
                let back =
                    Spi::get_one::<String>(&format!("SELECT {}::text", Literal(value))).unwrap();
                assert_eq!(back.as_deref(), Some(value));
            }
        }
    }
}
