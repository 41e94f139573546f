//! The cost of a million events in infra/OPERATIONS.md adds up.

use super::documents::section;

/// Dollars in a cell, in cents.
fn cents(cell: &str) -> u32 {
    let (dollars, cents) = cell.trim_matches('*').split_once('.').unwrap();
    assert_eq!(cents.len(), 2, "{cell}");
    dollars.parse::<u32>().unwrap() * 100 + cents.parse::<u32>().unwrap()
}

#[test]
fn the_rows_of_the_cost_table_are_its_totals() {
    let text = section("infra/OPERATIONS.md", "Cost");
    let table = text.split("| | arithmetic |").nth(1).unwrap();
    let rows: Vec<Vec<_>> = table
        .lines()
        .skip(2)
        .map_while(|line| Some(line.strip_prefix("| ")?.split('|').map(str::trim).collect()))
        .collect();
    let (total, parts) = rows.split_last().unwrap();
    assert!(parts.len() >= 8, "{parts:?}");
    assert_eq!(total[0], "**together**");
    for column in [2, 3] {
        let sum: u32 = parts.iter().map(|row| cents(row[column])).sum();
        assert_eq!(sum, cents(total[column]), "column {column}");
    }
}
