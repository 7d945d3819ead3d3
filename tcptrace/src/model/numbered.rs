//! Words that have a number in recordings or in the kernel. The number stands beside the word: one without a
//! number does not compile, and none is missing from the list.

/// Declares an enum with a number for each word, and with the list of all of them.
macro_rules! numbered {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$of_word:meta])* $word:ident = $number:literal,)*
        }
    ) => {
        $(#[$attribute])*
        $visibility enum $name {
            $($(#[$of_word])* $word = $number,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub(crate) const ALL: [Self; [$($number),*].len()] = [$(Self::$word),*];

            /// Its number: a promise.
            pub(crate) fn number(self) -> u8 {
                match self {
                    $(Self::$word => $number,)*
                }
            }

            /// The one with this number, if there is one.
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$word),)*
                    _ => None,
                }
            }
        }

        // The numbers run from 1, without a gap.
        const _: () = {
            let mut before = 0;
            while before < $name::ALL.len() {
                assert!($name::ALL[before] as usize == before + 1);
                before += 1;
            }
        };
    };
}

pub(crate) use numbered;

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::Serialize;

    use crate::model::{
        ended::EndedHow,
        found_by::{CallersBy, NamedBy},
        no_site::NoSiteBecause,
        owner::Evidence,
        state::State,
        task::OpenedHow,
        verdict::Verdict,
    };

    /// The numbers run from 1, because recordings say 0 for what is not known.
    fn round_trip<T: Copy + Debug + PartialEq>(
        all: &[T],
        number: impl Fn(T) -> u8,
        from_number: impl Fn(u8) -> Option<T>,
    ) {
        assert_eq!(from_number(0), None);
        for number_of in 0..=u8::MAX {
            let word = from_number(number_of);
            assert_eq!(word.is_some(), (1..=all.len()).contains(&usize::from(number_of)));
            assert_eq!(word.map_or(0, &number), if word.is_some() { number_of } else { 0 });
        }
        for word in all {
            assert_eq!(from_number(number(*word)), Some(*word));
        }
    }

    #[test]
    fn every_word_has_a_number_of_its_own() {
        round_trip(&State::ALL, State::number, State::from_number);
        round_trip(&Verdict::ALL, Verdict::number, Verdict::from_number);
        round_trip(&Evidence::ALL, Evidence::number, Evidence::from_number);
        round_trip(&EndedHow::ALL, EndedHow::number, EndedHow::from_number);
        round_trip(&OpenedHow::ALL, OpenedHow::number, OpenedHow::from_number);
        round_trip(&NoSiteBecause::ALL, NoSiteBecause::number, NoSiteBecause::from_number);
        round_trip(&CallersBy::ALL, CallersBy::number, CallersBy::from_number);
        round_trip(&NamedBy::ALL, NamedBy::number, NamedBy::from_number);
    }

    #[test]
    fn the_numbers_of_recordings_are_those_of_the_first_version() {
        use Verdict::{DataUnread, EofRead, EofUnread, HalfOpen, NeverAccepted, NoHolder};
        let verdicts = [EofRead, EofUnread, DataUnread, NeverAccepted, HalfOpen, NoHolder];
        assert_eq!(verdicts.map(Verdict::number), [1, 2, 3, 4, 5, 6]);
        let evidence = [
            Evidence::FdTable,
            Evidence::Listener,
            Evidence::Opened,
            Evidence::None,
            Evidence::InCall,
            Evidence::IoUring,
            Evidence::Mapped,
        ];
        assert_eq!(evidence.map(Evidence::number), [1, 2, 3, 4, 5, 6, 7]);
        let endings = [EndedHow::Closed, EndedHow::Reset, EndedHow::Destroyed, EndedHow::OwnerExited];
        assert_eq!(endings.map(EndedHow::number), [1, 2, 3, 4]);
        assert_eq!([OpenedHow::Accept, OpenedHow::Connect].map(OpenedHow::number), [1, 2]);
    }

    #[test]
    fn what_people_read_is_what_records_say() {
        fn spelled(word: impl Serialize) -> Option<String> {
            serde_json::to_value(word).ok()?.as_str().map(str::to_owned)
        }
        for state in State::ALL {
            assert_eq!(spelled(state).as_deref(), Some(state.name()));
        }
        for verdict in Verdict::ALL {
            assert_eq!(spelled(verdict).as_deref(), Some(verdict.name()));
        }
        for how in OpenedHow::ALL {
            assert_eq!(spelled(how).as_deref(), Some(how.name()));
        }
    }
}
