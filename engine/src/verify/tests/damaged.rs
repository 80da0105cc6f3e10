//! A silver file that cannot be read: its table is built again from bronze, and nothing else is.

use super::shop::Shop;
use super::{broken, newest_file, told};

#[test]
fn a_damaged_silver_file_is_built_again_from_bronze() {
    let shop = Shop::filled();
    let rows = shop.cells().len();
    let file = newest_file(&shop.lake, "silver/orders", "parquet", "");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.iter_mut().skip(4).for_each(|byte| *byte = !*byte);
    std::fs::write(&file, &bytes).unwrap();
    let mut shop = shop.restart();
    assert_eq!(shop.cells().len(), rows);
    shop.flush();
    let report = shop.verify(true);
    assert!(broken(&report).is_empty(), "{}", told(&report));
}
