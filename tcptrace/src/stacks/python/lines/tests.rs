//! Tables that real versions of Python made of one function, and what they themselves say of every instruction.

#![expect(clippy::unwrap_used, reason = "tests may stop at the first surprise")]

use proptest::prelude::*;

use super::*;

/// The table of a function, and the line of each instruction of two bytes, as (how many, line); 0: without a line.
struct Fixture {
    format: LineFormat,
    first_line: i32,
    table: &'static str,
    lines: &'static [(usize, u32)],
}

/// Python 3.8.18.
const PYTHON_3_8: Fixture = Fixture {
    format: LineFormat::Lnotab,
    first_line: 2,
    table: "00010c020401040102010601020102ff02ff04fe0a0710010401020102ff040222020a00040102ff06020601060102ff04010cff1c7f0050027f0019028000e7",
    lines: &[
        (6, 3),
        (2, 5),
        (2, 6),
        (1, 7),
        (3, 8),
        (1, 9),
        (1, 10),
        (1, 9),
        (2, 8),
        (5, 6),
        (8, 13),
        (2, 14),
        (1, 15),
        (1, 16),
        (2, 15),
        (17, 17),
        (7, 19),
        (1, 20),
        (3, 19),
        (3, 21),
        (3, 22),
        (1, 23),
        (2, 22),
        (6, 23),
        (14, 22),
        (1, 229),
        (1, 381),
        (2, 228),
    ],
};

/// Python 3.9.18.
const PYTHON_3_9: Fixture = Fixture {
    format: LineFormat::Lnotab,
    first_line: 2,
    table: "00010c020401040102010601020102ff02ff04fe0a070e010401020102ff04020c020e0102ff04fe1a020e0102ff140102ff06020601060102ff04010cff287f0050027f0019028000e7",
    lines: &[
        (6, 3),
        (2, 5),
        (2, 6),
        (1, 7),
        (3, 8),
        (1, 9),
        (1, 10),
        (1, 9),
        (2, 8),
        (5, 6),
        (7, 13),
        (2, 14),
        (1, 15),
        (1, 16),
        (2, 15),
        (6, 17),
        (7, 19),
        (1, 20),
        (2, 19),
        (13, 17),
        (7, 19),
        (1, 20),
        (10, 19),
        (1, 20),
        (3, 19),
        (3, 21),
        (3, 22),
        (1, 23),
        (2, 22),
        (6, 23),
        (20, 22),
        (1, 229),
        (1, 381),
        (2, 228),
    ],
};

/// Python 3.10.13.
const PYTHON_3_10: Fixture = Fixture {
    format: LineFormat::Linetable,
    first_line: 2,
    table: "0c0104020401020106010201020102ff04ff0afe0e0704010201020104ff0c020e02020106ff088002fa02f90e0d020114ff020106ff06020601020104ff0c0102ff26ff007f0251007f0219008104e6",
    lines: &[
        (6, 3),
        (2, 5),
        (2, 6),
        (1, 7),
        (3, 8),
        (1, 9),
        (1, 10),
        (1, 9),
        (2, 8),
        (5, 6),
        (7, 13),
        (2, 14),
        (1, 15),
        (1, 16),
        (2, 15),
        (6, 17),
        (7, 19),
        (1, 20),
        (3, 19),
        (4, 0),
        (1, 13),
        (1, 6),
        (7, 19),
        (1, 20),
        (10, 19),
        (1, 20),
        (3, 19),
        (3, 21),
        (3, 22),
        (1, 23),
        (2, 22),
        (6, 23),
        (1, 22),
        (19, 21),
        (1, 229),
        (1, 381),
        (2, 228),
    ],
};

/// Python 3.11.7.
const PYTHON_3_11: Fixture = Fixture {
    format: LineFormat::Locations,
    first_line: 2,
    table: "f8f88000dd1318981191389438f00017050bf10017050b8807f0040f0913d8191d9f199a19d81014f002031912f000031912dd1f24d8181ff103012021f400012021f003031912f100031912f400031912f005001a23f100061a0ef400061a0e884a884af8f50e001017f000040915f000040915f000040915d80f16f000020d1bdd1620d81419f10301171bf40001171bf00001111be00c14884888488848e00c108f498a499064894f8c4f884f98549f5a9a5ad81011f103011e13f400011e13f000011e13f000011e13f8f8f8f8f00d040915f8f8f8f00f000d17f01a000d118f498a499064894f8c4f884f98549f5a9a5ad81011f103011e13f400011e13f000011e13f000011e13f888448f498a499064894f8c4f884f98549f5a9a5ad81011f103011e13f400011e13f000011e13f000011e13f8f8f8e00d17f00005090b9831d81314973692369826d81c20f103011b21f100011422f400011422f00203250af00003250af00003250af00003250af00003250af00304140bf00305090bf00005090bf00005090bf00005090bf10005090bf40005090bf00005090bf00005090bf00005090bf00005090bf00005090bf00005090bf00005090bf00005090bf8f8f8f00005090bf00005090bf00005090bf00005090bf10005090bf0600600090df0700400090df073045a020c06f0005a020506",
    lines: &[
        (2, 0),
        (1, 2),
        (18, 3),
        (1, 5),
        (12, 6),
        (1, 7),
        (2, 8),
        (6, 9),
        (1, 10),
        (7, 9),
        (8, 8),
        (10, 6),
        (1, 0),
        (9, 13),
        (2, 14),
        (6, 15),
        (1, 16),
        (8, 15),
        (4, 17),
        (33, 19),
        (1, 20),
        (9, 19),
        (4, 0),
        (1, 13),
        (3, 0),
        (1, 6),
        (33, 19),
        (1, 20),
        (9, 19),
        (1, 0),
        (33, 19),
        (1, 20),
        (9, 19),
        (3, 0),
        (3, 21),
        (13, 22),
        (1, 23),
        (9, 22),
        (5, 23),
        (1, 22),
        (19, 21),
        (3, 0),
        (6, 21),
        (1, 229),
        (1, 381),
        (2, 228),
    ],
};

/// Python 3.12.1.
const PYTHON_3_12: Fixture = Fixture {
    format: LineFormat::Locations,
    first_line: 2,
    table: "f98000dc131898119338f20017050b8807f0040f0913d8191d9f199919d81014e41f24d8181ff303012021f603031912d81a1b9241f203031912f005001a23f300061a0e894af01a000d118f49894990648c4f98549f5a995ad81011f403011e13e00d17f00005090b9831d81314973691369826d81c20f103011b21f300011422f40203250af00304140bf70305090bf30005090bf02517050bf0440700090df0700400090df073045a020c06f0005a020506f9f27906031912f8f40a001017f200040915d90f16dc1620d81419f30301171bf00001111be30c14e00c108f49894990648c4f98549f5a995ad81011f503011e13fbf00d040915fbf00c000d118f49894990648c4f98549f5a995ad81011f503011e13faf70405090bf00005090bfa",
    lines: &[
        (2, 0),
        (1, 2),
        (14, 3),
        (1, 5),
        (11, 6),
        (1, 7),
        (5, 9),
        (1, 10),
        (4, 9),
        (7, 8),
        (4, 9),
        (3, 8),
        (7, 6),
        (28, 19),
        (1, 20),
        (5, 19),
        (3, 21),
        (12, 22),
        (1, 23),
        (6, 22),
        (5, 23),
        (1, 22),
        (12, 21),
        (1, 3),
        (1, 229),
        (1, 381),
        (2, 228),
        (2, 0),
        (3, 8),
        (1, 0),
        (8, 13),
        (2, 14),
        (5, 15),
        (1, 16),
        (5, 15),
        (4, 17),
        (28, 19),
        (1, 20),
        (6, 19),
        (4, 0),
        (1, 13),
        (4, 0),
        (28, 19),
        (1, 20),
        (6, 19),
        (3, 0),
        (9, 21),
        (3, 0),
    ],
};

/// Python 3.13.0.
const PYTHON_3_13: Fixture = Fixture {
    format: LineFormat::Locations,
    first_line: 2,
    table: "f98000dc1318981196388807f0040f0913d8191d9f199919d81014e41f24d8181ff403012021f303031912f10201202198219241f100012021f103031912f005001a23f000061a0e894af01a000d118f49894990648c4f98549f5a995ad81011f403011e13e10d179831d81314973691369826d81c20f103011b21f300011422f50203250af00304140bf703000e188b5af12500141cf0440700090df0700400090df073045a020c06f0005a020506f9f27906031912f8f40a001017f300040915de0f16dc1620d81419f30301171bf00001111be30c14e00c108f49894990648c4f98549f5a995ad81011f603011e13fbf00d040915fbf00c000d118f49894990648c4f98549f5a995ad81011f503011e13fae70d178f5afa",
    lines: &[
        (2, 0),
        (1, 2),
        (14, 3),
        (1, 5),
        (11, 6),
        (1, 7),
        (5, 9),
        (1, 10),
        (5, 9),
        (4, 8),
        (8, 9),
        (2, 8),
        (4, 6),
        (28, 19),
        (1, 20),
        (5, 19),
        (3, 21),
        (12, 22),
        (1, 23),
        (6, 22),
        (6, 23),
        (1, 22),
        (12, 21),
        (2, 3),
        (1, 229),
        (1, 381),
        (2, 228),
        (2, 0),
        (3, 8),
        (1, 0),
        (9, 13),
        (7, 14),
        (5, 15),
        (1, 16),
        (5, 15),
        (4, 17),
        (28, 19),
        (1, 20),
        (7, 19),
        (4, 0),
        (1, 13),
        (4, 0),
        (28, 19),
        (1, 20),
        (6, 19),
        (3, 0),
        (16, 21),
        (3, 0),
    ],
};

/// Python 3.14.10.
const PYTHON_3_14: Fixture = Fixture {
    format: LineFormat::Locations,
    first_line: 2,
    table: "f98000dc1318981196388807f0040f0913d8191d9f199919d81014e41f24d8181ff403012021f303031912f10201202198219241f100012021f103031912f005001a23f300061a0e894af01a000d118f49894990648c4f98549f5a995ad81011f403011e13e70d17895a9831d81314973691369826d81c20f503011b21f300011422f50203250af00304140bf703000e188c5af12500141cf0440700090df0700400090df073045a020c06f0005a020506f9f27906031912f8f40a001017f400040915df0f16dc1620d81419f30301171bf00001111be30c14e00c108f49894990648c4f98549f5a995ad81011f603011e13fbf00d040915fbf00c000d118f49894990648c4f98549f5a995ad81011f503011e13fae70d178f5a895afa",
    lines: &[
        (2, 0),
        (1, 2),
        (14, 3),
        (1, 5),
        (11, 6),
        (1, 7),
        (5, 9),
        (1, 10),
        (5, 9),
        (4, 8),
        (8, 9),
        (2, 8),
        (7, 6),
        (28, 19),
        (1, 20),
        (5, 19),
        (11, 21),
        (12, 22),
        (1, 23),
        (10, 22),
        (6, 23),
        (1, 22),
        (13, 21),
        (2, 3),
        (1, 229),
        (1, 381),
        (2, 228),
        (2, 0),
        (3, 8),
        (1, 0),
        (10, 13),
        (8, 14),
        (5, 15),
        (1, 16),
        (5, 15),
        (4, 17),
        (28, 19),
        (1, 20),
        (7, 19),
        (4, 0),
        (1, 13),
        (4, 0),
        (28, 19),
        (1, 20),
        (6, 19),
        (3, 0),
        (18, 21),
        (3, 0),
    ],
};

impl Fixture {
    fn table(&self) -> Vec<u8> {
        let digits = self.table.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    }
}

#[test]
fn every_instruction_has_the_line_that_python_says() {
    for (minor, fixture) in
        (8..).zip([PYTHON_3_8, PYTHON_3_9, PYTHON_3_10, PYTHON_3_11, PYTHON_3_12, PYTHON_3_13, PYTHON_3_14])
    {
        let table = fixture.table();
        let expected = fixture.lines.iter().flat_map(|(count, line)| std::iter::repeat_n(*line, *count));
        for (nth, expected) in (0..).zip(expected) {
            let found = line(fixture.format, &table, fixture.first_line, nth * 2);
            assert_eq!(found.unwrap_or(0), expected, "3.{minor}, instruction {nth}");
        }
    }
}

#[test]
fn beyond_the_table_nothing_is_known() {
    for fixture in [PYTHON_3_10, PYTHON_3_11, PYTHON_3_14] {
        assert_eq!(line(fixture.format, &fixture.table(), fixture.first_line, 100_000), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(
        table in proptest::collection::vec(any::<u8>(), 0..300),
        first_line: i32,
        offset in prop_oneof![0_u64..1000, any::<u64>()],
    ) {
        for format in [LineFormat::Lnotab, LineFormat::Linetable, LineFormat::Locations] {
            prop_assert!(line(format, &table, first_line, offset).is_none_or(|line| line > 0));
        }
    }
}
