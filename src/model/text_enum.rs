//! Enums whose values are words: in our tables, in arguments, in the columns of views.

/// Declares an enum with one word for each value: `as_str`, `parse`, `ALL`, `Display` and serde read and write the words.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$note:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $($(#[$note])* #[serde(rename = $word)] $value,)+
        }

        #[allow(dead_code)]
        impl $name {
            $vis const ALL: &'static [Self] = &[$(Self::$value),+];

            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }

            $vis fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    text_enum! {
        enum Hand {
            Left = "left",
            Right = "right_hand",
        }
    }

    #[test]
    fn a_word_is_read_as_it_is_written() {
        assert_eq!(Hand::parse(Hand::Right.as_str()), Some(Hand::Right));
        assert_eq!(Hand::parse("Left"), None);
        let json = serde_json::to_string(&Hand::Right).unwrap();
        assert_eq!(json, "\"right_hand\"");
        assert_eq!(serde_json::from_str::<Hand>(&json).unwrap(), Hand::Right);
        assert_eq!(Hand::Left.to_string(), "left");
    }
}
