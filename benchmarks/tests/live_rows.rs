//! The memory of a live row, held to its bound. Alone in its program, because it reads what the whole
//! process takes.

use benchmarks::live_rows::bytes_a_row;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[test]
fn a_live_row_of_orders_takes_200_bytes_at_most() {
    let bytes = bytes_a_row(100_000, 600_000).unwrap();
    assert!((100.0..=200.0).contains(&bytes), "{bytes:.0} bytes a row");
}
