//! The costs in infra/OPERATIONS.md, of a million events and of a flood, add up.

use super::documents::section;

/// Dollars in a cell, in cents.
fn cents(cell: &str) -> u32 {
    let (dollars, cents) = cell.trim_matches('*').split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{cell}");
    dollars.parse::<u32>().unwrap() * 100 + cents.parse::<u32>().unwrap()
}

/// Rows of the first table of a section whose header begins like that, without the header.
fn rows(section_title: &str) -> Vec<Vec<String>> {
    let text = section("infra/OPERATIONS.md", section_title);
    let table = text.split("| | arithmetic |").nth(1).unwrap();
    let cells =
        |line: &str| Some(line.strip_prefix("| ")?.split('|').map(|it| it.trim().to_owned()).collect());
    table.lines().skip(2).map_while(cells).collect()
}

fn assert_adds_up(rows: &[Vec<String>], parts_min: usize) {
    let (total, parts) = rows.split_last().unwrap();
    assert!(parts.len() >= parts_min, "{parts:?}");
    assert_eq!(total[0], "**together**");
    for column in [2, 3] {
        let sum: u32 = parts.iter().map(|row| cents(&row[column])).sum();
        assert_eq!(sum, cents(&total[column]), "column {column}");
    }
}

#[test]
fn the_rows_of_the_cost_table_are_its_totals() {
    assert_adds_up(&rows("Cost"), 8);
    assert_adds_up(&rows("What a flood costs"), 4);
}

/// Parts of the flood's table that tests/it/flood_cost.rs does not measure.
#[test]
fn a_flood_costs_what_its_limits_and_the_prices_make() {
    let price = |millions: f64, instances: f64| {
        let function = millions * 0.20 + millions * 1e6 * 0.011 * 0.25 * 0.000_013_3;
        let fetches = instances * 2_880.0 * 0.05 / 10_000.0;
        (format!("{function:.2}"), format!("{fetches:.2}"))
    };
    let (rows, of_fynapse, of_rightfoot) = (rows("What a flood costs"), price(86.4, 11.0), price(4.32, 1.0));
    assert_eq!((&rows[1][2], &rows[1][3]), (&of_fynapse.0, &of_rightfoot.0));
    assert_eq!((&rows[2][2], &rows[2][3]), (&of_fynapse.1, &of_rightfoot.1));
}
